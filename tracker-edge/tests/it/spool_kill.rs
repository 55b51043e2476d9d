//! `kill -9` of a real process in the middle of appending: whatever it acknowledged is there.

use crate::ship_redis::PATIENCE;
use shared::token::LinkKey;
use shared::{Click, ClickClass};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;
use tracker_edge::clicks::spool::{Appended, SpoolConfig, SpoolSet};

/// Tells the child that it is one, and where to write.
const CHILD_DIR: &str = "AOS_TEST_SPOOL_CHILD_DIR";
/// Small enough that kills hit segments being changed.
const SEGMENT_BYTES: u64 = 256 << 10;

#[test]
fn f1_what_was_acknowledged_survives_kill_9() {
    if let Some(dir) = child_dir() {
        append_and_acknowledge(&dir);
    }
    let dir = TempDir::new().unwrap();
    let (mut acknowledged, mut lost) = (0, 0);
    for round in 0..20u32 {
        let (stored, declared) = run_and_kill(dir.path(), 2000 + round * 731);
        acknowledged += stored;
        lost += declared;
    }
    let set = SpoolSet::open(config(dir.path())).unwrap();
    let reports = set.report();
    assert_eq!(reports.len(), 20);
    let accepted: u64 = reports.iter().map(|report| report.accepted).sum();
    // Killed between appending and acknowledging, a click is there that nobody heard of: one per kill.
    let all = acknowledged + lost;
    assert!((all..=all + 20).contains(&accepted), "{accepted} kept, {all} acknowledged");
    set.close();
}

/// Runs a child until it has acknowledged so many clicks, kills it, and checks that its spool says so.
fn run_and_kill(dir: &Path, after: u32) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool_kill::f1_what_was_acknowledged_survives_kill_9", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (mut stored, mut lost) = (0, 0);
    let until = Instant::now() + PATIENCE;
    let mut count = |line: String| match line.as_str() {
        "stored" => stored += 1,
        "lost" => lost += 1,
        _ => {}
    };
    for line in lines.by_ref().take(after as usize) {
        assert!(Instant::now() < until, "the child is too slow");
        count(line);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lines.for_each(count);
    assert!(stored > 0);
    (stored, lost)
}

#[expect(clippy::disallowed_methods, reason = "the child learns from its environment that it is one")]
fn child_dir() -> Option<PathBuf> {
    std::env::var(CHILD_DIR).ok().map(PathBuf::from)
}

fn config(dir: &Path) -> SpoolConfig {
    SpoolConfig { segment_bytes: SEGMENT_BYTES, ..SpoolConfig::new(dir.join("spool")) }
}

/// The child: appends and says so, until it is killed.
fn append_and_acknowledge(dir: &Path) -> ! {
    let set: Arc<SpoolSet> = SpoolSet::open(config(dir)).unwrap();
    let mut writer = set.writer();
    let mut out = std::io::stdout().lock();
    for n in 0.. {
        let notes = [b'n'; 200];
        let click = Click {
            at_ms: n as i64,
            link: LinkKey(n + 1),
            advertiser: 7,
            visitor: n,
            class: ClickClass::Human,
            flags: 1,
            country: *b"DE",
            notes: &notes[..(n % 200) as usize],
        };
        let line: &[u8] = match writer.append(&click) {
            Appended::Stored => b"stored\n",
            Appended::Lost => b"lost\n",
        };
        out.write_all(line).unwrap();
        out.flush().unwrap();
    }
    unreachable!("the parent kills first")
}
