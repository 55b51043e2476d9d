//! A spool folder that holds anything at all: recovery panics at nothing, and doing it twice finds the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tracker_edge::fuzzing::recover;

/// The golden segment's name: its records are only believed under it.
const NAMES: [&str; 3] = [
    "6a09e667f3bcc908b2fb1366ea957d3e-00000002.seg",
    "6a09e667f3bcc908b2fb1366ea957d3e-00000003.seg",
    "bb67ae8584caa73b6a09e667f3bcc908-00000000.seg",
];

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let folder = fuzz::folder().join("spool");
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let write = |nth: usize, bytes: &[u8]| {
        std::fs::write(folder.join(NAMES[nth % NAMES.len()]), bytes).expect("the folder can be written");
    };
    let kind = usize::from(*kind);
    let cut = rest.len() * (kind >> 2) / 64;
    let (one, other) = rest.split_at(cut.min(rest.len()));
    if kind & 2 == 0 {
        write(kind, rest);
    } else {
        write(kind, one);
        write(kind + 1, other);
    }
    let first = recover(&folder).expect("a folder can be recovered");
    let second = recover(&folder).expect("and again");
    assert_eq!(first, second, "what was found once is found again");
});
