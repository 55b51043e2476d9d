//! A stored click, as others see it. Pure.

use chrono::{DateTime, Utc};
use shared::ClickClass;
use shared::id::AgentId;

/// Whose clicks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Those on links of an advertiser's programs, by its account number.
    Advertiser(i32),
    /// Those on an affiliate's links.
    Affiliate(AgentId),
}

/// A click that has just arrived.
#[derive(Clone, PartialEq, Eq, Debug, sqlx::FromRow)]
pub struct LiveClick {
    /// The click.
    #[sqlx(flatten)]
    pub click: StoredClick,
    /// With `seq` it names the click among those of the moment.
    pub spool_tag: i32,
    /// Its number in the spool.
    pub seq: i64,
    /// Where its link leads.
    pub destination_url: String,
    /// The program.
    pub program_name: String,
}

/// A click in the table.
#[derive(Clone, PartialEq, Eq, Debug, sqlx::FromRow)]
pub struct StoredClick {
    /// When, by the edge's clock, kept within a week back and five minutes ahead of its arrival.
    pub at: DateTime<Utc>,
    /// The advertiser's account number.
    pub advertiser: i32,
    class: i16,
    flags: i16,
    country: i16,
    notes: Option<Vec<u8>>,
}

impl StoredClick {
    /// What made it.
    pub fn class(&self) -> Option<ClickClass> {
        u8::try_from(self.class).ok().and_then(ClickClass::from_u8)
    }

    /// Whether it is metered.
    pub const fn billable(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether the edge's clock was out of range.
    pub const fn is_time_corrected(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Whether its month was closed when it came, so that it counts in a later one.
    pub const fn is_late(&self) -> bool {
        self.flags & 4 != 0
    }

    /// Two capital letters, when the country is known.
    pub fn country(&self) -> Option<String> {
        let letters = self.country.to_be_bytes();
        letters
            .iter()
            .all(u8::is_ascii_uppercase)
            .then(|| letters.iter().map(|&letter| char::from(letter)).collect())
    }

    /// Sub ids and referrer host: kind (`shared::click::note`) and text.
    pub fn notes(&self) -> Vec<(u8, String)> {
        let notes = self.notes.as_deref().unwrap_or_default();
        let click = shared::Click {
            at_ms: 0,
            link: shared::LinkKey(0),
            advertiser: 0,
            visitor: 0,
            class: ClickClass::Human,
            flags: 0,
            country: [0; 2],
            notes,
        };
        click.notes().map(|(kind, value)| (kind, String::from_utf8_lossy(value).into_owned())).collect()
    }
}
