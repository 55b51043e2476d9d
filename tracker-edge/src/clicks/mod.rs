//! A click's way from the request to the Redis stream.
//!
//! [`Recorder::begin`] says what a click is (its class, its visitor, its place in the spool, and with
//! that its id); [`Recorder::finish`] puts it into the spool, before its redirect is written. Neither
//! waits, and neither can fail the redirect: a click there is no room for is counted as lost by the
//! spool. [`ship`] takes it from there.

pub(crate) mod classes;
pub(crate) mod countries;
pub(crate) mod duplicates;
pub(crate) mod event;
pub mod ship;
pub(crate) mod signatures;
pub mod spool;
pub(crate) mod visitors;

use crate::links::cache::Found;
use classes::{Classes, Known};
use countries::Countries;
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
    /// Whether an agent has proved that it is one.
    pub(crate) signed: bool,
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
    countries: Arc<Countries>,
    notes: Vec<u8>,
}

/// What the recorders of all workers share.
#[derive(Clone)]
pub(crate) struct Knowledge {
    pub(crate) classes: Arc<Classes>,
    pub(crate) countries: Arc<Countries>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) duplicates: Arc<Duplicates>,
}

impl Recorder {
    pub(crate) fn new(writer: Writer, ids: ClickIdKey, knowledge: Knowledge) -> Self {
        let Knowledge { classes, countries, visitors, duplicates } = knowledge;
        Self {
            writer,
            ids,
            known: Known::new(classes),
            hasher: Hasher::new(),
            visitors,
            duplicates,
            countries,
            notes: Vec::with_capacity(shared::click::note::NOTES_LEN_MAX),
        }
    }

    /// Decides what a click is. Its id is its place: the next [`Self::finish`] must be for it.
    #[inline]
    pub(crate) fn begin(&mut self, link: LinkKey, found: &Found<'_>, seen: &Seen<'_>) -> Begun {
        self.hasher.refresh(&self.visitors, seen.at_ms);
        let hash = self.hasher.user_agent(seen.user_agent);
        let visitor = self.hasher.visitor(seen.address, hash);
        let mut class = self.known.class_of(hash, seen.user_agent);
        if seen.signed && is_raised(class) {
            class = ClickClass::AgentVerified;
        }
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
            country: self.countries.of(seen.address),
            notes: &self.notes,
        })
    }

    /// Resolves when the last click is as durable as the spool promises before an answer.
    pub(crate) fn commit(&self) -> impl Future<Output = spool::Durability> + Send + use<> {
        self.writer.commit()
    }
}

/// Whether a signature makes an agent of this class. Who signs and calls itself a crawler, an unfurler or a
/// scanner is believed that too: nobody pays for those.
const fn is_raised(class: ClickClass) -> bool {
    matches!(class, ClickClass::Human | ClickClass::Agent | ClickClass::Tool)
}

/// Whether a repeat of this class is a duplicate. Crawlers and their like come again by nature, and
/// their class says more than "duplicate" would.
const fn repeats_matter(class: ClickClass) -> bool {
    matches!(class, ClickClass::Human | ClickClass::Agent | ClickClass::AgentVerified | ClickClass::Tool)
}
