//! Measures one append to the spool, as a worker does it.
//!
//! `cargo run --release -p tracker-edge --example spool_append -- FOLDER [CLICKS]`
//!
//! Appends are 8 µs apart, about what a core spends on a click, on a folder of a real disk, with both upkeep
//! threads at work. The clock's own cost is measured first and is part of each figure.

use hdrhistogram::Histogram;
use shared::click::{note, push_note};
use shared::token::LinkKey;
use shared::{Click, ClickClass};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracker_edge::clicks::spool::{Appended, SpoolConfig, SpoolSet};

const PACE: Duration = Duration::from_micros(8);
const CLICKS: u64 = 2_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let folder = PathBuf::from(args.next().ok_or("usage: spool_append FOLDER [CLICKS]")?);
    let clicks = match args.next() {
        Some(clicks) => clicks.to_str().ok_or("CLICKS is a number")?.parse()?,
        None => CLICKS,
    };
    report("the clock alone", &measure(clicks / 10, || {}));
    for segment_mib in [8, 16, 64] {
        for noted in [false, true] {
            let config = SpoolConfig {
                segment_bytes: segment_mib << 20,
                ..SpoolConfig::new(folder.join(format!("{segment_mib}-{noted}")))
            };
            let set = SpoolSet::open(config)?;
            let mut writer = set.writer();
            let mut notes = Vec::new();
            if noted {
                push_note(&mut notes, note::SUB1, "spring-sale");
                push_note(&mut notes, note::REFERRER_HOST, "blog.example.com");
            }
            let (mut n, mut lost) = (0u64, 0u64);
            let taken = measure(clicks, || {
                n += 1;
                let click = Click {
                    at_ms: 1_795_000_000_000 + n as i64,
                    link: LinkKey(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
                    advertiser: 7,
                    visitor: n << 7,
                    class: ClickClass::Human,
                    flags: 1,
                    country: *b"DE",
                    notes: &notes,
                };
                lost += u64::from(writer.append(&click) == Appended::Lost);
            });
            let kind = if noted { "two notes" } else { "no notes" };
            report(&format!("{segment_mib} MiB segments, {kind}, {lost} lost"), &taken);
            drop(writer);
            set.close();
            std::fs::remove_dir_all(folder.join(format!("{segment_mib}-{noted}")))?;
        }
    }
    Ok(())
}

/// Nanoseconds of each of so many calls, a pace apart.
fn measure(count: u64, mut call: impl FnMut()) -> Histogram<u64> {
    let mut taken =
        Histogram::new_with_max(60_000_000_000, 3).expect("a minute in three digits is within its limits");
    let mut next = Instant::now();
    for _ in 0..count {
        while Instant::now() < next {
            std::hint::spin_loop();
        }
        let from = Instant::now();
        call();
        taken.saturating_record(from.elapsed().as_nanos() as u64);
        next = from + PACE;
    }
    taken
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn report(what: &str, taken: &Histogram<u64>) {
    let at = |quantile| taken.value_at_quantile(quantile);
    println!(
        "{what:45} avg {:4.0} p50 {:4} p99 {:5} p99.9 {:6} max {:9} ns",
        taken.mean(),
        at(0.5),
        at(0.99),
        at(0.999),
        taken.max()
    );
}
