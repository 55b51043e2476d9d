//! A snapshot of the link map: nothing panics, and nothing unsummed is believed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tracker_edge::fuzzing::load_snapshot;

fuzz_target!(|data: &[u8]| {
    let path = fuzz::folder().join("links.snapshot");
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("the folder can be written");
        load_snapshot(&path)
    };
    let body = data.split_last_chunk::<8>().map_or(data, |(body, _)| body);
    if let Some((links, in_map)) = load(&fuzz::summed(body)) {
        assert!(in_map <= links);
    }
    let mut damaged = fuzz::summed(body);
    if let Some(last) = damaged.last_mut() {
        *last ^= 1;
    }
    assert_eq!(load(&damaged), None);
});
