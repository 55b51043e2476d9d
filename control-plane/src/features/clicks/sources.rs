//! Where clicks came from: counts by country and by first sub id, a row per link and day. Pure.
//!
//! A sub id is whatever a visitor's query says, so nobody may fill a table with them: beyond [`NAMES_MAX`] of
//! a link and day they are counted together, under the empty name.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Sub ids of one link and day that are told apart.
pub(crate) const NAMES_MAX: i64 = 500;
/// A source that is a sub id; the others are countries, of which there are few.
const SUB_ID: i16 = 1;

/// Sources of one delta row, column by column.
#[derive(sqlx::FromRow, Debug, Default)]
pub(crate) struct SourceDelta {
    #[sqlx(rename = "source_advertisers")]
    pub(crate) advertisers: Vec<i32>,
    #[sqlx(rename = "source_link_keys")]
    pub(crate) link_keys: Vec<i64>,
    #[sqlx(rename = "source_days")]
    pub(crate) days: Vec<i32>,
    #[sqlx(rename = "source_kinds")]
    pub(crate) kinds: Vec<i16>,
    #[sqlx(rename = "source_names")]
    pub(crate) names: Vec<String>,
    #[sqlx(rename = "source_counts")]
    pub(crate) counts: Vec<i32>,
}

/// Key of `link_sources`, in the order of its rows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SourceKey {
    pub(crate) advertiser: i32,
    pub(crate) link_key: i64,
    pub(crate) day: i32,
    pub(crate) kind: i16,
    pub(crate) name: String,
}

/// Adds sources up, sorted by key. Of one turn, too, no link and day gets more names than the limit.
pub(crate) fn sum<'a>(deltas: impl Iterator<Item = &'a SourceDelta>) -> Result<BTreeMap<SourceKey, i64>> {
    let mut sums: BTreeMap<SourceKey, i64> = BTreeMap::new();
    for delta in deltas {
        let lengths = [
            delta.link_keys.len(),
            delta.days.len(),
            delta.kinds.len(),
            delta.names.len(),
            delta.counts.len(),
        ];
        if lengths.iter().any(|length| *length != delta.advertisers.len()) {
            return Err(Error::bug(anyhow::anyhow!("a delta row's sources differ in length")));
        }
        for at in 0..delta.counts.len() {
            let key = SourceKey {
                advertiser: delta.advertisers[at],
                link_key: delta.link_keys[at],
                day: delta.days[at],
                kind: delta.kinds[at],
                name: delta.names[at].clone(),
            };
            *sums.entry(key).or_default() += i64::from(delta.counts[at]);
        }
    }
    Ok(limited(sums))
}

fn limited(sums: BTreeMap<SourceKey, i64>) -> BTreeMap<SourceKey, i64> {
    let mut kept: BTreeMap<SourceKey, i64> = BTreeMap::new();
    let (mut of, mut names) = (None, 0);
    for (mut key, count) in sums {
        let group = (key.advertiser, key.link_key, key.day, key.kind);
        if of != Some(group) {
            (of, names) = (Some(group), 0);
        }
        names += 1;
        if key.kind == SUB_ID && names > NAMES_MAX {
            key.name.clear();
        }
        *kept.entry(key).or_default() += count;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(names: &[&str], kind: i16) -> SourceDelta {
        SourceDelta {
            advertisers: vec![7; names.len()],
            link_keys: vec![1; names.len()],
            days: vec![3; names.len()],
            kinds: vec![kind; names.len()],
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            counts: vec![2; names.len()],
        }
    }

    #[test]
    fn the_same_source_is_one_row() {
        let deltas = [delta(&["a", "b"], 1), delta(&["b"], 1), delta(&["b"], 0)];
        let sums = sum(deltas.iter()).unwrap();
        let rows: Vec<_> = sums.iter().map(|(key, count)| (key.kind, key.name.as_str(), *count)).collect();
        assert_eq!(rows, [(0, "b", 2), (1, "a", 2), (1, "b", 4)]);
    }

    #[test]
    fn sub_ids_beyond_the_limit_count_together() {
        let names: Vec<String> = (0..600).map(|number| format!("{number:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sums = sum([delta(&names, 1)].iter()).unwrap();
        assert_eq!(sums.len() as i64, NAMES_MAX + 1);
        assert_eq!(sums.values().sum::<i64>(), 1200);
        assert_eq!(sums.iter().find(|(key, _)| key.name.is_empty()).unwrap().1, &200);
    }

    #[test]
    fn columns_of_different_length_are_a_bug() {
        let mut odd = delta(&["a"], 1);
        odd.counts.clear();
        odd.advertisers.clear();
        assert!(sum([odd].iter()).is_err());
    }
}
