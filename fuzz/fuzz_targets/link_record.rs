//! A link's record: nothing panics; what is read is, written again, the same bytes' record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::LinkRecord;

fuzz_target!(|data: &[u8]| {
    let Ok(record) = LinkRecord::decode(data) else { return };
    let again = record.encode();
    assert_eq!(LinkRecord::decode(&again).as_ref(), Ok(&record));
    // It goes into a header as it is.
    assert!(record.destination.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
    assert!(http::HeaderValue::from_str(record.destination).is_ok());
});
