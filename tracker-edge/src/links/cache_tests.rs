//! The map against a plain `HashMap`, under growth, eviction and concurrent readers.

use super::*;
use crate::links::stored::WORDS_MAX;
use proptest::prelude::*;
use shared::TestClock;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

fn cache(budget: usize) -> (Cache, Arc<TestClock>) {
    let clock = Arc::new(TestClock::at(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
    (Cache::new(budget, clock.clone()), clock)
}

fn record(link: u64, version: u64, destination: &str) -> LinkRecord<'_> {
    LinkRecord {
        link: LinkKey(link),
        version,
        status: LinkStatus::Active,
        advertiser: (link % 7) as u32,
        program: (link % 11) as u32,
        affiliate: link as u32,
        pay_classes: ClassSet::DEFAULT,
        dedup_seconds: 10,
        click_id_param: "",
        has_macros: false,
        destination,
    }
}

fn destination_of(cache: &Cache, link: u64) -> Option<String> {
    let mut scratch = [0; WORDS_MAX * 4];
    let found = cache.get(LinkKey(link), cache.clock.now_ms(), &mut scratch)?;
    Some(format!("{}{}", found.origin, std::str::from_utf8(found.rest).unwrap()))
}

proptest! {
    #[test]
    fn it_agrees_with_a_map_that_keeps_the_highest_version(
        puts in prop::collection::vec((1u64..40, 0u64..20, "[a-z]{0,40}", 0usize..4), 1..400),
    ) {
        let (cache, _) = cache(64 << 20);
        let mut model = HashMap::<u64, (u64, String)>::new();
        for (link, version, path, host) in puts {
            let destination = format!("https://host{host}.example/{path}");
            let put = cache.put(&record(link, version, &destination));
            let expected = match model.get(&link) {
                None => Put::Inserted,
                Some((known, _)) if *known >= version => Put::Stale,
                Some(_) => Put::Updated,
            };
            prop_assert_eq!(put, expected);
            if put != Put::Stale {
                model.insert(link, (version, destination));
            }
        }
        prop_assert_eq!(cache.size().links, model.len());
        for (link, (_, destination)) in &model {
            let found = destination_of(&cache, *link);
            prop_assert_eq!(found.as_ref(), Some(destination));
        }
        let mut seen = HashMap::new();
        for shard in 0..SHARDS {
            cache.for_each_in(shard, |record| {
                seen.insert(record.link.0, (record.version, record.destination.to_owned()));
            });
        }
        prop_assert_eq!(seen, model);
    }
}

#[test]
fn a_hundred_thousand_links_keep_every_field() {
    let (cache, _) = cache(64 << 20);
    for link in 1..=100_000 {
        let destination = format!("https://shop{}.example/p/{link}?a=b", link % 50);
        let offered = LinkRecord {
            click_id_param: "cid",
            has_macros: link % 2 == 0,
            ..record(link, link, &destination)
        };
        assert_eq!(cache.put(&offered), Put::Inserted);
    }
    let size = cache.size();
    assert_eq!(size.links, 100_000);
    assert!(size.bytes < 100_000 * 80 + SHARDS * 65_536, "{size:?}");
    let mut count = 0;
    for shard in 0..SHARDS {
        cache.for_each_in(shard, |found| {
            let link = found.link.0;
            let destination = format!("https://shop{}.example/p/{link}?a=b", link % 50);
            let expected = LinkRecord {
                click_id_param: "cid",
                has_macros: link % 2 == 0,
                ..record(link, link, &destination)
            };
            assert_eq!(*found, expected);
            count += 1;
        });
    }
    assert_eq!(count, 100_000);
}

#[test]
fn the_longest_destination_fits_and_updates_do_not_grow_without_end() {
    let (cache, _) = cache(64 << 20);
    let long = format!("https://h.example/{}", "x".repeat(2048 - 18));
    for version in 1..=20_000 {
        assert_ne!(cache.put(&record(9, version, &long)), Put::Refused);
    }
    assert_eq!(destination_of(&cache, 9), Some(long));
    let size = cache.size();
    assert!(size.bytes < 1 << 20, "20,000 versions of one link take {} bytes", size.bytes);
}

#[test]
fn beyond_the_budget_clicked_links_stay() {
    let budget = 16 << 20;
    let (cache, _) = cache(budget);
    let mut hot = Vec::new();
    for link in 1..=400_000u64 {
        cache.put(&record(link, 1, &format!("https://shop.example/product/{link:020}")));
        if link <= 1000 {
            hot.push(link);
        }
        if link % 10_000 == 0 {
            for link in &hot {
                destination_of(&cache, *link);
            }
        }
    }
    let size = cache.size();
    assert!(size.bytes <= budget, "{size:?}");
    assert!(size.evicted > 100_000, "{size:?}");
    let kept = hot.iter().filter(|link| destination_of(&cache, **link).is_some()).count();
    assert_eq!(kept, hot.len(), "links that are clicked between evictions stay");
}

#[test]
fn a_check_is_asked_for_once_when_the_record_is_old() {
    let (cache, clock) = cache(64 << 20);
    cache.put(&record(5, 1, "https://a.example/"));
    let due = || {
        let mut scratch = [0; WORDS_MAX * 4];
        cache.get(LinkKey(5), clock.now_ms(), &mut scratch).unwrap().check_due
    };
    assert!(!due());
    clock.advance(chrono::TimeDelta::minutes(6));
    assert_eq!((due(), due()), (true, false));
    assert_eq!(cache.unchecked_in(shard::shard_of(shard::hash(LinkKey(5))), 5), []);
    clock.advance(chrono::TimeDelta::minutes(6));
    assert_eq!(cache.unchecked_in(shard::shard_of(shard::hash(LinkKey(5))), 5), [LinkKey(5)]);
    cache.checked(LinkKey(5));
    assert!(!due());
}

#[test]
fn readers_see_whole_records_while_a_writer_replaces_them() {
    let (cache, _) = cache(64 << 20);
    let text = |link: u64, version: u64| {
        let letter = char::from(b'a' + (version % 26) as u8);
        format!("https://h{}.example/{}", link % 5, letter.to_string().repeat((version % 90) as usize + 1))
    };
    for link in 1..=200 {
        cache.put(&record(link, 0, &text(link, 0)));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut scratch = [0; WORDS_MAX * 4];
                while !done.load(Ordering::Relaxed) {
                    for link in 1..=200 {
                        let found = cache.get(LinkKey(link), 0, &mut scratch).unwrap();
                        assert_eq!(found.origin, format!("https://h{}.example", link % 5));
                        let path = found.rest.strip_prefix(b"/").unwrap();
                        assert!(path.iter().all(|byte| *byte == path[0]), "torn: {path:?}");
                    }
                }
            });
        }
        for version in 1..=300 {
            for link in 1..=200 {
                assert_eq!(cache.put(&record(link, version, &text(link, version))), Put::Updated);
            }
        }
        for link in 1000..30_000 {
            cache.put(&record(link, 0, "https://h1.example/filler"));
        }
        done.store(true, Ordering::Relaxed);
    });
}
