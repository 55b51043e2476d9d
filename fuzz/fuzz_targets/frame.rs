//! A frame of clicks: nothing panics; what is read is, written again, the same clicks; a peek agrees with it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::Click;
use shared::frame::{self, FrameHeader};

fn check(bytes: &[u8]) {
    let peek = frame::peek(bytes);
    let Ok(read) = frame::decode(bytes) else { return };
    let peek = peek.expect("what is read can be peeked at");
    assert!(peek.intact && peek.header == read.header && peek.clicks as usize == read.clicks.len());
    let FrameHeader { first_seq, lost_before, .. } = read.header;
    assert!(lost_before <= first_seq);
    let mut again = Vec::new();
    frame::encode(&read.header, &read.clicks, &mut again);
    let again = frame::decode(&again).expect("what we write can be read");
    assert!(again.header == read.header && again.clicks.len() == read.clicks.len());
    let first = read.clicks.first().map_or(0, |click| click.at_ms);
    for (again, read) in again.clicks.iter().zip(&read.clicks) {
        // We write distances to the first click; another base may have had room for more of them.
        let near = [i32::MIN, i32::MAX].map(|end| first.saturating_add(end.into()));
        let at_ms = read.at_ms.clamp(near[0], near[1]);
        assert!(*again == Click { at_ms, ..*read }, "{again:?} {read:?}");
    }
    for next in [0, first_seq, first_seq.saturating_add(1), u64::MAX] {
        read.header.fit(read.clicks.len(), next);
    }
}

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&fuzz::summed(data));
    // A seed is a whole frame: changed, with a sum that holds.
    if let Some((body, _)) = data.split_last_chunk::<8>() {
        check(&fuzz::summed(body));
    }
});
