//! No bytes make the meter of HTTP/2 frames panic, and where a connection is cut changes nothing it finds.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tracker-edge/src/http2/meter.rs"]
mod meter;
use meter::Meter;

fuzz_target!(|bytes: &[u8]| {
    // A socket never gives nothing: it is at its end then.
    let Some((&size, bytes)) = bytes.split_first().filter(|(_, rest)| !rest.is_empty()) else { return };
    let (mut whole, mut cut) = (Meter::new(0), Meter::new(0));
    whole.received(bytes, 1);
    bytes.chunks(usize::from(size.max(1))).for_each(|part| cut.received(part, 1));
    assert_eq!(whole, cut);
    whole.sent(bytes);
    bytes.chunks(usize::from(size.max(1))).for_each(|part| cut.sent(part));
    assert_eq!(whole, cut);
    assert_eq!((whole.is_flood(), whole.unfinished()), (cut.is_flood(), cut.unfinished()));
});
