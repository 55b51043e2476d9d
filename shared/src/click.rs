//! A click, as both programs see it.

use crate::token::LinkKey;

/// What made a click. Every click has one, kept and reported, never dropped.
///
/// The numbers are wire format and column values: they never change meaning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ClickClass {
    /// A person in a browser or an in-app browser.
    Human = 0,
    /// An AI agent's fetcher or client, declared by its user agent.
    Agent = 1,
    /// An AI agent whose Web Bot Auth signature (RFC 9421) verified.
    AgentVerified = 2,
    /// A link unfurler: chat and social previews.
    Preview = 3,
    /// A search engine or archive crawler.
    Crawler = 4,
    /// A security or uptime scanner.
    Scanner = 5,
    /// An HTTP library or command-line client.
    Tool = 6,
    /// A prefetch that reached us as a click all the same.
    Prefetch = 7,
    /// The same visitor on the same link within the program's `dedup_seconds`.
    Duplicate = 8,
}

impl ClickClass {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Human,
        Self::Agent,
        Self::AgentVerified,
        Self::Preview,
        Self::Crawler,
        Self::Scanner,
        Self::Tool,
        Self::Prefetch,
        Self::Duplicate,
    ];

    /// The class of a wire number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// The name the API uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::AgentVerified => "agent_verified",
            Self::Preview => "preview",
            Self::Crawler => "crawler",
            Self::Scanner => "scanner",
            Self::Tool => "tool",
            Self::Prefetch => "prefetch",
            Self::Duplicate => "duplicate",
        }
    }

    /// The class of an API name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// A set of classes: which ones a program pays for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassSet(pub u16);

impl ClassSet {
    /// No class.
    pub const NONE: Self = Self(0);
    /// What a program pays for unless it says otherwise: people and agents, who are our users.
    pub const DEFAULT: Self = Self::NONE
        .with(ClickClass::Human)
        .with(ClickClass::Agent)
        .with(ClickClass::AgentVerified)
        .with(ClickClass::Tool);

    /// This set and one more class.
    #[must_use]
    pub const fn with(self, class: ClickClass) -> Self {
        Self(self.0 | 1 << class as u16)
    }

    /// Whether the class is in the set.
    pub const fn contains(self, class: ClickClass) -> bool {
        self.0 & (1 << class as u16) != 0
    }

    /// The classes in the set.
    pub fn iter(self) -> impl Iterator<Item = ClickClass> {
        ClickClass::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

/// Kinds of variable-length notes a click may carry. The numbers are wire format.
pub mod note {
    /// `sub1` of the query; `sub2` to `sub5` follow as 2 to 5.
    pub const SUB1: u8 = 1;
    /// The last sub id.
    pub const SUB5: u8 = 5;
    /// The host of the `Referer` header, lower case.
    pub const REFERRER_HOST: u8 = 6;
    /// Bytes of one note's value at most; longer ones are cut at a character boundary.
    pub const VALUE_LEN_MAX: usize = 100;
    /// Bytes of all notes of a click at most: six values, each with kind and length.
    pub const NOTES_LEN_MAX: usize = 6 * (VALUE_LEN_MAX + 2);
}

/// Whether a click counts for metering, decided at the edge from the program's `pay_classes`.
pub const FLAG_BILLABLE: u8 = 1;

/// One recorded click. Its place in its spool (spool id and sequence) is not part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Click<'a> {
    /// Wall clock of the edge, milliseconds since the Unix epoch. Orders nothing.
    pub at_ms: i64,
    /// The link that was clicked.
    pub link: LinkKey,
    /// Who pays: the advertiser's account number.
    pub advertiser: u32,
    /// Keyed hash of address and user agent; the key changes daily. Zero when unknown.
    pub visitor: u64,
    /// What made the click.
    pub class: ClickClass,
    /// `FLAG_*` bits.
    pub flags: u8,
    /// ISO 3166-1 alpha-2 in upper case, or two zero bytes.
    pub country: [u8; 2],
    /// Notes, each `kind: u8, len: u8, bytes`; at most [`note::NOTES_LEN_MAX`] bytes.
    pub notes: &'a [u8],
}

impl<'a> Click<'a> {
    /// Whether the click is metered.
    pub const fn billable(&self) -> bool {
        self.flags & FLAG_BILLABLE != 0
    }

    /// The notes, as kind and value. Stops at the first malformed one.
    pub fn notes(&self) -> Notes<'a> {
        Notes(self.notes)
    }
}

/// Iterator over a click's notes.
pub struct Notes<'a>(&'a [u8]);

impl<'a> Iterator for Notes<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.0.split_first()?;
        let (&len, rest) = rest.split_first()?;
        let (value, rest) = rest.split_at_checked(len as usize)?;
        self.0 = rest;
        Some((kind, value))
    }
}

/// Appends one note, cut to [`note::VALUE_LEN_MAX`] bytes at a UTF-8 boundary. Empty values are left out.
pub fn push_note(notes: &mut Vec<u8>, kind: u8, value: &str) {
    let mut len = value.len().min(note::VALUE_LEN_MAX);
    while !value.is_char_boundary(len) {
        len -= 1;
    }
    if len > 0 {
        notes.extend_from_slice(&[kind, len as u8]);
        notes.extend_from_slice(&value.as_bytes()[..len]);
    }
}
