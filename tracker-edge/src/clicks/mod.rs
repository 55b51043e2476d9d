//! A click's way from the request to the Redis stream.
//!
//! [`Recorder::begin`] says what a click is (its class, its visitor, its place in the spool, and with
//! that its id); [`Recorder::finish`] puts it into the spool, before its redirect is written. Neither
//! waits, and neither can fail the redirect: a click there is no room for is counted as lost by the
//! spool. [`ship`] takes it from there.

pub(crate) mod classes;
pub(crate) mod duplicates;
pub(crate) mod event;
pub mod ship;
pub mod spool;
pub(crate) mod visitors;

use crate::links::cache::Found;
use classes::Known;
use duplicates::Duplicates;
use event::Subs;
use shared::click::FLAG_BILLABLE;
use shared::click_id::{CLICK_ID_LEN, ClickIdKey};
use shared::{Click, ClickClass, ClickId, LinkKey};
use spool::{Appended, Writer};
use std::net::IpAddr;
use std::sync::Arc;
use visitors::{Hasher, Visitors};

/// What of a request matters to its click.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) at_ms: i64,
    pub(crate) address: IpAddr,
    pub(crate) user_agent: &'a [u8],
    pub(crate) referrer: &'a [u8],
    pub(crate) subs: &'a Subs,
}

/// A click about to be recorded.
pub(crate) struct Begun {
    link: LinkKey,
    visitor: u64,
    /// What made it.
    pub(crate) class: ClickClass,
    id: ClickId,
}

/// Records the clicks of one worker.
pub(crate) struct Recorder {
    writer: Writer,
    ids: ClickIdKey,
    known: Known,
    hasher: Hasher,
    visitors: Arc<Visitors>,
    duplicates: Arc<Duplicates>,
    notes: Vec<u8>,
}

impl Recorder {
    pub(crate) fn new(
        writer: Writer,
        ids: ClickIdKey,
        visitors: Arc<Visitors>,
        duplicates: Arc<Duplicates>,
    ) -> Self {
        let notes = Vec::with_capacity(shared::click::note::NOTES_LEN_MAX);
        Self { writer, ids, known: Known::new(), hasher: Hasher::new(), visitors, duplicates, notes }
    }

    /// Decides what a click is. Its id is its place: the next [`Self::finish`] must be for it.
    #[inline]
    pub(crate) fn begin(&mut self, link: LinkKey, found: &Found<'_>, seen: &Seen<'_>) -> Begun {
        self.hasher.refresh(&self.visitors, seen.at_ms);
        let hash = self.hasher.user_agent(seen.user_agent);
        let visitor = self.hasher.visitor(seen.address, hash);
        let mut class = self.known.class_of(hash, seen.user_agent);
        let window_ms = u32::from(found.dedup_seconds) * 1000;
        if window_ms > 0
            && repeats_matter(class)
            && self.duplicates.seen(visitor, link, seen.at_ms, window_ms)
        {
            class = ClickClass::Duplicate;
        }
        let place = self.writer.next();
        let id = ClickId { at_ms: seen.at_ms, spool_tag: place.spool_tag, seq: place.seq, link };
        Begun { link, visitor, class, id }
    }

    /// The id's text; only made for destinations that want it.
    pub(crate) fn id_text(&self, begun: &Begun) -> [u8; CLICK_ID_LEN] {
        self.ids.mint(&begun.id)
    }

    /// Puts the click into the spool.
    #[inline]
    pub(crate) fn finish(&mut self, begun: &Begun, found: &Found<'_>, seen: &Seen<'_>) -> Appended {
        self.notes.clear();
        seen.subs.push_notes(&mut self.notes);
        event::push_referrer(seen.referrer, &mut self.notes);
        let billable = found.pay_classes.contains(begun.class);
        self.writer.append(&Click {
            at_ms: seen.at_ms,
            link: begun.link,
            advertiser: found.advertiser,
            visitor: begun.visitor,
            class: begun.class,
            flags: if billable { FLAG_BILLABLE } else { 0 },
            country: [0; 2],
            notes: &self.notes,
        })
    }

    /// Resolves when the last click is as durable as the spool promises before an answer.
    pub(crate) fn commit(&self) -> impl Future<Output = spool::Durability> + Send + use<> {
        self.writer.commit()
    }
}

/// Whether a repeat of this class is a duplicate. Crawlers and their like come again by nature, and
/// their class says more than "duplicate" would.
const fn repeats_matter(class: ClickClass) -> bool {
    matches!(class, ClickClass::Human | ClickClass::Agent | ClickClass::AgentVerified | ClickClass::Tool)
}
