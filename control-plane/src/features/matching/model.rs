//! How well a program and an agent suit each other: a score from 0 to 1 and its reasons in words. Pure.
//!
//! The score is a sum of parts whose weights are below. What both sides say of themselves (field, audience,
//! words) weighs most; what the program has paid so far comes second. Nothing else goes in: no part can be
//! bought, and `sponsored` is not among the inputs.
//! Reasons repeat only words that both sides have used, so neither can speak through them.

use crate::error::{Code, Error, Result};
use crate::money::Micros;
use crate::named::named;
use chrono::{DateTime, TimeDelta, Utc};
use shared::id::{AgentId, ProgramId, SuggestionId};
use std::collections::BTreeSet;

mod likeness;
mod parties;

use likeness::{Likeness, Other, Rarity};
pub use parties::{Likely, Party, rank_parties};

named! {
    /// What became of a suggestion.
    SuggestionStatus {
        /// Waits for an answer.
        Pending = "pending",
        /// The agent has joined the program through it.
        Accepted = "accepted",
        /// The agent does not want it; it does not come back.
        Declined = "declined",
    }
}

named! {
    /// The answer to a suggestion.
    Decision as MatchDecision {
        /// Join the program.
        Accept = "accept",
        /// Never show it again.
        Decline = "decline",
    }
}

/// A program that was suggested to an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// Its id.
    pub id: SuggestionId,
    /// To whom it was made.
    pub agent_id: AgentId,
    /// The program.
    pub program_id: ProgramId,
    /// 0 to 1, as it was then.
    pub score: f64,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// What became of it.
    pub status: SuggestionStatus,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was answered.
    pub responded_at: Option<DateTime<Utc>>,
}

impl Suggestion {
    /// Whether this answer still has an effect: not when it was given before. One that was answered otherwise
    /// is refused.
    pub fn takes(&self, decision: Decision) -> Result<bool> {
        let (repeats, fix) = match self.status {
            SuggestionStatus::Pending => return Ok(true),
            SuggestionStatus::Accepted => (
                decision == Decision::Accept,
                "You have joined the program; to leave it: PATCH /api/partnerships/:id with {\"status\":\"cancelled\"}.",
            ),
            SuggestionStatus::Declined => (
                decision == Decision::Decline,
                "To join the program all the same: POST /api/network/join/:program_id.",
            ),
        };
        if repeats {
            return Ok(false);
        }
        let message = format!("The suggestion was {} before.", self.status);
        Err(Error::new(Code::InvalidState, message, fix).with("status", self.status.as_str()))
    }
}

/// The parts and what each adds at most; together 1.
mod weight {
    pub(super) const NICHE: f64 = 0.34;
    pub(super) const WORDS: f64 = 0.26;
    pub(super) const AUDIENCE: f64 = 0.10;
    pub(super) const EARNINGS: f64 = 0.18;
    pub(super) const APPROVAL: f64 = 0.05;
    pub(super) const SPEED: f64 = 0.03;
    pub(super) const FUNDED: f64 = 0.02;
    pub(super) const OPEN: f64 = 0.02;
}

/// Words of a text that are looked at; the rest of a long description says little new.
pub const WORDS_MAX: usize = 24;
/// Letters of a word: shorter ones say nothing, longer ones are no words.
const WORD_LEN: std::ops::RangeInclusive<usize> = 2..=40;
/// Of so many places one goes to a program nobody has measured yet: else nobody ever would.
const EXPLORE_EVERY: usize = 5;
/// A program is new for so long.
const NEW_FOR: TimeDelta = TimeDelta::days(30);
/// Payment after so many days is worth half as much as at once.
const HALF_SPEED_DAYS: f64 = 14.0;

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its field.
    pub niche: Option<String>,
    /// Whom it reaches.
    pub audience_type: Option<String>,
    /// The words of its name, field and description, each once, in small letters.
    pub words: Vec<String>,
}

impl Profile {
    /// Takes the words out of these texts.
    pub fn new(niche: Option<&str>, audience_type: Option<&str>, texts: &[Option<&str>]) -> Self {
        let texts = std::iter::once(niche).chain(texts.iter().copied()).flatten();
        Self {
            niche: niche.map(str::to_owned),
            audience_type: audience_type.map(str::to_owned),
            words: words_of(texts),
        }
    }

    /// What the agent could say to be matched better.
    pub fn hint(&self) -> Option<&'static str> {
        (self.niche.is_none() || self.audience_type.is_none()).then_some(
            "Set `niche`, `audience_type` and `description` with PATCH /api/agents/YOUR_ID for better matches.",
        )
    }
}

/// The words of texts, each once, in small letters, the first [`WORDS_MAX`].
fn words_of<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts
        .flat_map(|text| text.split(|letter: char| !letter.is_alphanumeric()))
        .filter(|word| WORD_LEN.contains(&word.chars().count()))
        .map(str::to_lowercase)
        .filter(|word| seen.insert(word.clone()))
        .take(WORDS_MAX)
        .collect()
}

/// What a program is and how it has done.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The program.
    pub id: ProgramId,
    /// Its field.
    pub niche: Option<String>,
    /// Whom it is for.
    pub audience_type: Option<String>,
    /// Percent or dollars.
    pub commission: Micros,
    /// Whether that is percent.
    pub percentage: bool,
    /// What a counted click earns on average, once there are enough.
    pub epc: Option<Micros>,
    /// Decided conversions that were not rejected, in hundredths of a percent.
    pub approval_bp: Option<i32>,
    /// From a commission to its payment, in tenths of a day.
    pub days_to_pay_tenths: Option<i32>,
    /// The advertiser's wallet covers what it owes.
    pub funded: bool,
    /// Affiliates are let in at once.
    pub open: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The stems that it has of those asked for.
    pub shared: Vec<String>,
}

/// A candidate with its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The program.
    pub id: ProgramId,
    /// 0 to 1.
    pub score: f64,
    /// Why, in words; never empty.
    pub reasons: Vec<String>,
    /// It has its place because nobody has measured it yet, not by its score alone.
    pub exploration: bool,
}

/// The words an agent is looked for by: their stems, and the word behind each.
#[derive(Clone, Debug, Default)]
pub struct Stems(pub Vec<(String, String)>);

impl Stems {
    /// Each stem once.
    pub fn all(&self) -> Vec<String> {
        self.0.iter().map(|(_, stem)| stem.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The first word that has this stem.
    fn word<'a>(&'a self, stem: &'a str) -> &'a str {
        self.0.iter().find(|(_, known)| known == stem).map_or(stem, |(word, _)| word)
    }
}

/// What the pool of candidates has in common: what is much or little shows only beside the others.
struct Pool {
    rarity: Rarity,
    epc_median: f64,
    percentages: Vec<i64>,
    fixed: Vec<i64>,
}

impl Pool {
    fn of(candidates: &[Candidate]) -> Self {
        let mut epcs: Vec<i64> = candidates.iter().filter_map(|one| one.epc.map(|epc| epc.0)).collect();
        epcs.sort_unstable();
        let sorted = |percentage: bool| {
            let of_type = candidates.iter().filter(|one| one.percentage == percentage);
            let mut values: Vec<i64> = of_type.map(|one| one.commission.0).collect();
            values.sort_unstable();
            values
        };
        Self {
            rarity: Rarity::of(candidates.iter().map(|one| one.shared.as_slice())),
            epc_median: epcs.get(epcs.len() / 2).map_or(0.0, |&epc| epc as f64).max(1.0),
            percentages: sorted(true),
            fixed: sorted(false),
        }
    }

    /// 0 to 1: measured earnings beside the median; unmeasured ones are guessed from the commission, near
    /// the middle.
    fn earnings(&self, one: &Candidate) -> f64 {
        if let Some(epc) = one.epc {
            let epc = epc.0.max(0) as f64;
            return epc / (epc + self.epc_median);
        }
        let values = if one.percentage { &self.percentages } else { &self.fixed };
        let below = values.partition_point(|value| *value < one.commission.0);
        0.35 + 0.3 * below as f64 / values.len().max(1) as f64
    }
}

/// Scores every candidate for a profile and puts the best first; candidates of one score stay in the order
/// of their ids, so that the same question has the same answer.
pub fn rank(profile: &Profile, stems: &Stems, candidates: &[Candidate], now: DateTime<Utc>) -> Vec<Match> {
    let pool = Pool::of(candidates);
    let mut found: Vec<(Match, bool)> = candidates
        .iter()
        .map(|one| {
            let (score, reasons) = judge(profile, stems, one, &pool, now);
            (Match { id: one.id, score, reasons, exploration: false }, one.epc.is_none())
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score).then(a.id.uuid().cmp(&b.id.uuid())));
    explore(found)
}

/// Score and reasons of one candidate.
fn judge(
    profile: &Profile,
    stems: &Stems,
    one: &Candidate,
    pool: &Pool,
    now: DateTime<Utc>,
) -> (f64, Vec<String>) {
    let mut reasons = Vec::new();
    let other = Other {
        niche: one.niche.as_deref(),
        audience_type: one.audience_type.as_deref(),
        shared: &one.shared,
    };
    let likeness = Likeness::of(profile, stems, other, &pool.rarity, &mut reasons);
    let mut score = weight::NICHE * likeness.niche
        + weight::WORDS * likeness.words
        + weight::AUDIENCE * likeness.audience;
    score += weight::EARNINGS * pool.earnings(one);
    match one.epc {
        Some(epc) if epc > Micros::ZERO => reasons.push(format!("A click earns ${epc} on average")),
        None if now - one.created_at < NEW_FOR => {
            reasons.push("New: too few clicks yet to say what one earns".to_owned());
        }
        _ => {}
    }
    score += weight::APPROVAL * one.approval_bp.map_or(0.7, |bp| f64::from(bp) / 10_000.0);
    if let Some(bp) = one.approval_bp.filter(|bp| *bp >= 8_000) {
        reasons.push(format!("{}% of decided conversions are approved", bp / 100));
    }
    let days = one.days_to_pay_tenths.map(|tenths| f64::from(tenths) / 10.0);
    score += weight::SPEED * days.map_or(0.4, |days| HALF_SPEED_DAYS / (HALF_SPEED_DAYS + days));
    if let Some(days) = days.filter(|days| *days <= HALF_SPEED_DAYS) {
        reasons.push(format!("Pays after {days:.1} days on average"));
    }
    if one.funded {
        score += weight::FUNDED;
        reasons.push("The advertiser's wallet covers what it owes".to_owned());
    }
    if one.open {
        score += weight::OPEN;
        reasons.push("You can start at once: affiliates are approved automatically".to_owned());
    }
    if reasons.is_empty() {
        reasons.push("Open to everybody".to_owned());
    }
    (score.clamp(0.0, 1.0), reasons)
}

/// Gives the last of every [`EXPLORE_EVERY`] places to the best unmeasured candidate, when none of the
/// places before it has one.
fn explore(found: Vec<(Match, bool)>) -> Vec<Match> {
    let mut rest: std::collections::VecDeque<(Match, bool)> = found.into();
    let mut ordered = Vec::with_capacity(rest.len());
    let mut measured = 0;
    while let Some((next, unmeasured)) = rest.pop_front() {
        if unmeasured {
            measured = 0;
        } else {
            measured += 1;
        }
        if measured == EXPLORE_EVERY {
            measured = 0;
            if let Some(at) = rest.iter().position(|(_, unmeasured)| *unmeasured)
                && let Some((mut new, _)) = rest.remove(at)
            {
                new.exploration = true;
                new.reasons.push("Shown so that it gets known".to_owned());
                ordered.push(new);
                rest.push_front((next, false));
                continue;
            }
        }
        ordered.push(next);
    }
    ordered
}

#[cfg(test)]
#[path = "model/tests.rs"]
mod tests;
