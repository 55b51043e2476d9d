//! What linear probing suffers from: keys that come in order, and keys that all lie at one end.

use super::*;

const LINKS: u64 = 50_000;
/// Slots in use side by side, at 85 of 100: some hundreds come by chance.
const RUN_MAX: usize = 5_000;

fn put(shard: &Shard, link: u64, budget: usize) {
    let hash = hash(LinkKey(link));
    let mut bytes = Vec::new();
    let record = shared::LinkRecord {
        link: LinkKey(link),
        version: 1,
        status: shared::LinkStatus::Active,
        advertiser: 1,
        program: 1,
        affiliate: 1,
        pay_classes: shared::ClassSet::DEFAULT,
        dedup_seconds: 10,
        click_id_param: "",
        has_macros: false,
        destination: "",
    };
    stored::encode(&record, 0, "/products/1234567?utm_source=partner", &mut bytes);
    shard.put(hash, LinkKey(link), 1, &bytes, 0, budget);
}

fn longest_run(shard: &Shard) -> usize {
    let table = shard.table.load();
    let used = table.slots.iter().map(|slot| slot.key.load(Ordering::Relaxed) != 0);
    let runs = used.scan(0, |run, used| {
        *run = if used { *run + 1 } else { 0 };
        Some(*run)
    });
    runs.max().unwrap_or(0)
}

fn keys(shard: &Shard) -> Vec<u64> {
    let mut keys = Vec::new();
    shard.for_each(|key, _, _| keys.push(key.0));
    keys
}

#[test]
fn what_one_map_wrote_in_its_order_another_takes_without_long_walks() {
    let (saved, loaded) = (Shard::new(), Shard::new());
    (1..=LINKS).for_each(|link| put(&saved, link, usize::MAX));
    for (nth, link) in keys(&saved).into_iter().enumerate() {
        put(&loaded, link, usize::MAX);
        if nth % 2_500 == 0 {
            assert!(longest_run(&loaded) < RUN_MAX, "after {nth} links");
        }
    }
    assert_eq!(loaded.size().0 as u64, LINKS);
}

#[test]
fn what_stays_within_the_budget_lies_everywhere() {
    let shard = Shard::new();
    // Room for a fifth.
    let budget = 64 * LINKS as usize / 5;
    for link in 1..=LINKS {
        put(&shard, link, budget);
        if link % 2_500 == 0 {
            assert!(longest_run(&shard) < RUN_MAX, "after {link} links");
        }
    }
    let kept = keys(&shard);
    assert!(kept.len() as u64 > LINKS / 20, "{}", kept.len());
    let low = kept.iter().filter(|key| hash(LinkKey(**key)) << SHARD_BITS < u64::MAX / 2).count();
    let share = low as f64 / kept.len() as f64;
    assert!((0.4..0.6).contains(&share), "{share} of what stayed has a low hash");
}
