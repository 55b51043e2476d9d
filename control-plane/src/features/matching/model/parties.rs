//! Who could promote a program: the other direction of the same likeness.

use super::likeness::{Likeness, Other, Rarity};
use super::{NEW_FOR, Profile, Stems};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The parts and what each adds at most; together 1.
mod weight {
    pub(super) const NICHE: f64 = 0.40;
    pub(super) const WORDS: f64 = 0.30;
    pub(super) const AUDIENCE: f64 = 0.12;
    pub(super) const RECORD: f64 = 0.18;
}

/// Approved sales and leads after which the record is worth half of what it can be.
const RECORD_HALF: f64 = 5.0;
/// Who is new is given the benefit of the doubt.
const RECORD_NEW: f64 = 0.35;
/// Nothing is known of who is not on the network.
const RECORD_UNKNOWN: f64 = 0.2;

/// Somebody who could promote a program.
#[derive(Clone, Debug)]
pub struct Party {
    /// Not on the network yet.
    pub external: bool,
    /// An agent's id or a prospect's.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// An agent's handle.
    pub handle: Option<String>,
    /// Its field.
    pub niche: Option<String>,
    /// Whom it reaches.
    pub audience_type: Option<String>,
    /// Its site.
    pub website_url: Option<String>,
    /// Where a prospect is reached.
    pub contact: Option<String>,
    /// Approved sales and leads of the last 90 days, counted as far as it matters.
    pub sales: i64,
    /// When it came.
    pub since: DateTime<Utc>,
    /// The stems it has of the program's.
    pub shared: Vec<String>,
}

/// A party with its score.
#[derive(Clone, Debug)]
pub struct Likely {
    /// Who.
    pub party: Party,
    /// 0 to 1.
    pub score: f64,
    /// Why, in words; never empty.
    pub reasons: Vec<String>,
}

/// Scores everybody for a program and puts the likeliest first; those of one score stay in the order of
/// their ids.
pub fn rank_parties(
    program: &Profile,
    stems: &Stems,
    parties: Vec<Party>,
    now: DateTime<Utc>,
) -> Vec<Likely> {
    let rarity = Rarity::of(parties.iter().map(|party| party.shared.as_slice()));
    let mut ranked: Vec<Likely> = parties
        .into_iter()
        .map(|party| {
            let (score, reasons) = judge(program, stems, &party, &rarity, now);
            Likely { party, score, reasons }
        })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.party.id.cmp(&b.party.id)));
    ranked
}

fn judge(
    program: &Profile,
    stems: &Stems,
    party: &Party,
    rarity: &Rarity,
    now: DateTime<Utc>,
) -> (f64, Vec<String>) {
    let mut reasons = Vec::new();
    let other = Other {
        niche: party.niche.as_deref(),
        audience_type: party.audience_type.as_deref(),
        shared: &party.shared,
    };
    let likeness = Likeness::of(program, stems, other, rarity, &mut reasons);
    let sales = party.sales.max(0) as f64;
    let record = if party.external {
        reasons.push("Not on the network yet".to_owned());
        RECORD_UNKNOWN
    } else if sales > 0.0 {
        reasons.push("Has brought approved sales or leads in the last 90 days".to_owned());
        (sales / (sales + RECORD_HALF)).max(RECORD_NEW)
    } else if now - party.since < NEW_FOR {
        reasons.push("New on the network".to_owned());
        RECORD_NEW
    } else {
        0.0
    };
    if reasons.is_empty() {
        reasons.push("Open to programs".to_owned());
    }
    let score = weight::NICHE * likeness.niche
        + weight::WORDS * likeness.words
        + weight::AUDIENCE * likeness.audience
        + weight::RECORD * record;
    (score.clamp(0.0, 1.0), reasons)
}
