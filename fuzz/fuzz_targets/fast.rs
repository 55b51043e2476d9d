//! What the fast path answers, hyper would have read alike, answered with the same bytes and waited for more.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tracker_edge::fuzzing::{answered_by_hyper, answered_fast};

fuzz_target!(|bytes: &[u8]| {
    let (fast, len) = answered_fast(bytes);
    if len > 0 {
        assert_eq!(Some(fast), answered_by_hyper(&bytes[..len]));
    }
});
