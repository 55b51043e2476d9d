//! Measures the map of links by itself: memory, look-ups at rest and while links change, start from a snapshot,
//! and what stays when the budget is reached.
//!
//! `cargo run --profile dist -p tracker-edge --example link_map -- FOLDER [LINKS]`
//!
//! Links are like real ones: destinations of 70 bytes, 5,000 programs on 200 hosts, 20,000 affiliates. A look-up
//! finds the link and copies its destination out. Clicks follow Zipf's law; "spread evenly" is the worst case, in
//! which no cache of the processor helps. The clock's own cost is measured first and taken off.

use hdrhistogram::Histogram;
use shared::{ClassSet, LinkKey, LinkRecord, LinkStatus};
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tracker_edge::LinkMap;

/// As the edge: figures of another allocator would be another program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LINKS: u64 = 10_000_000;
const LOOK_UPS: u64 = 4_000_000;
const MIB: f64 = (1 << 20) as f64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let folder = PathBuf::from(args.next().ok_or("usage: link_map FOLDER [LINKS]")?);
    let links = match args.next() {
        Some(links) => links.to_str().ok_or("LINKS is a number")?.parse()?,
        None => LINKS,
    };
    let clock = clock_ns();
    let before = resident();
    let map = LinkMap::new(4 << 30);
    let (filled, ()) = timed(|| fill(&map, 0..links, 1));
    let size = map.size();
    say(&format!(
        "{links} links: {:.0} MiB resident more, {:.0} MiB in the map, {:.1} bytes a link, filled in {filled:.1} s",
        (resident() - before) / MIB,
        size.bytes as f64 / MIB,
        size.bytes as f64 / size.links as f64
    ));
    report("look-ups by Zipf's law", &look_up(&map, links, zipf, LOOK_UPS, clock));
    report("look-ups spread evenly", &look_up(&map, links, evenly, LOOK_UPS, clock));
    say(&format!("at rest: {:.0} MiB resident more", (resident() - before) / MIB));
    let stop = AtomicBool::new(false);
    let changed = AtomicU64::new(0);
    let busy = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut version = 2;
            while !stop.load(Ordering::Relaxed) {
                let first = mix(version) % links;
                fill(&map, first..(first + 1000).min(links), version);
                changed.fetch_add(1000, Ordering::Relaxed);
                version += 1;
            }
        });
        let busy = look_up(&map, links, zipf, LOOK_UPS, clock);
        stop.store(true, Ordering::Relaxed);
        busy
    });
    report(&format!("while {} links changed", changed.load(Ordering::Relaxed)), &busy);
    let after = map.size();
    say(&format!("after the changes: {} links, {:.0} MiB in the map", after.links, after.bytes as f64 / MIB));

    let path = folder.join("links.snapshot");
    let (saved, links_saved) = timed(|| map.save(&path));
    drop(map);
    let fresh = LinkMap::new(4 << 30);
    let (loaded, links_loaded) = timed(|| fresh.load(&path));
    let len = std::fs::metadata(&path)?.len();
    std::fs::remove_file(&path)?;
    say(&format!(
        "snapshot of {:.0} MiB: saved in {saved:.1} s ({} links), loaded in {loaded:.1} s ({} links)",
        len as f64 / MIB,
        links_saved?,
        links_loaded?
    ));
    drop(fresh);

    // A tenth of the room that all would need; the hot tenth of a thousandth is clicked all the while.
    let budget = size.bytes / 10;
    let small = LinkMap::new(budget);
    let hot = links / 10_000;
    let mut reader = small.reader();
    for first in (0..links).step_by(1000) {
        fill(&small, first..(first + 1000).min(links), 1);
        for link in 0..hot.min(first + 1000) {
            black_box(reader.destination_len(key(link)));
        }
    }
    let kept = (0..hot).filter(|link| reader.destination_len(key(*link)).is_some()).count();
    let size = small.size();
    say(&format!(
        "budget of {:.0} MiB: {:.0} MiB used, {} links kept, {} evicted; of {hot} hot ones {kept} are there",
        budget as f64 / MIB,
        size.bytes as f64 / MIB,
        size.links,
        size.evicted
    ));
    Ok(())
}

fn fill(map: &LinkMap, links: std::ops::Range<u64>, version: u64) {
    let mut destination = String::new();
    for link in links {
        destination.clear();
        // A string takes everything.
        let host = link % 200;
        write!(destination, "https://shop{host:03}.example/products/{link:07}?utm_source=partner&utm_id=aff")
            .ok();
        map.put(&LinkRecord {
            link: key(link),
            version,
            status: LinkStatus::Active,
            advertiser: (link % 1000) as u32 + 1,
            program: (link % 5000) as u32 + 1,
            affiliate: (link % 20_000) as u32 + 1,
            pay_classes: ClassSet::DEFAULT,
            dedup_seconds: 10,
            click_id_param: "",
            has_macros: false,
            destination: &destination,
        });
    }
}

/// Nanoseconds of each look-up, the clock's cost taken off.
fn look_up(map: &LinkMap, links: u64, next: fn(u64, u64) -> u64, count: u64, clock: u64) -> Histogram<u64> {
    let mut taken =
        Histogram::new_with_max(60_000_000_000, 3).expect("a minute in three digits is within its limits");
    let mut reader = map.reader();
    for nth in 0..count {
        let link = key(next(nth, links));
        let from = Instant::now();
        let found = black_box(reader.destination_len(black_box(link)));
        let took = from.elapsed().as_nanos() as u64;
        assert!(found.is_some(), "every link is there");
        taken.saturating_record(took.saturating_sub(clock));
    }
    taken
}

/// What reading the clock twice costs.
fn clock_ns() -> u64 {
    let mut taken = Histogram::<u64>::new(3).expect("three digits are within its limits");
    for _ in 0..1_000_000 {
        let from = Instant::now();
        taken.saturating_record(from.elapsed().as_nanos() as u64);
    }
    taken.value_at_quantile(0.5)
}

fn zipf(nth: u64, links: u64) -> u64 {
    let even = (mix(nth) >> 11) as f64 / (1u64 << 53) as f64;
    ((links as f64 + 1.0).powf(even) as u64).clamp(1, links) - 1
}

fn evenly(nth: u64, links: u64) -> u64 {
    mix(nth ^ 0x5eed) % links
}

fn key(link: u64) -> LinkKey {
    LinkKey(mix(link + 1))
}

/// SplitMix64's output function.
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Seconds of some work, and what came of it.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let from = Instant::now();
    let out = work();
    (from.elapsed().as_secs_f64(), out)
}

/// Bytes this process holds.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0
}

fn report(what: &str, taken: &Histogram<u64>) {
    let at = |quantile| taken.value_at_quantile(quantile);
    say(&format!(
        "{what}: avg {:.0} ns, p50 {}, p99 {}, p99.9 {}",
        taken.mean(),
        at(0.5),
        at(0.99),
        at(0.999)
    ));
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn say(line: &str) {
    println!("{line}");
}
