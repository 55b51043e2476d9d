//! A custom domain's record: nothing panics, and nothing we did not seal is opened.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::Secret;
use shared::domain_record::{DomainKey, DomainRecord};
use std::sync::LazyLock;

static KEY: LazyLock<DomainKey> = LazyLock::new(|| DomainKey::new(&Secret::from_bytes([7; 32])));
/// Sealed once: every input is a change to it, or stands for itself.
static GENUINE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let record = DomainRecord {
        host: "go.example".to_owned(),
        owner: 7,
        version: 8,
        removed: false,
        certificate: None,
    };
    record.encode(&KEY)
});

fuzz_target!(|data: &[u8]| {
    assert!(DomainRecord::decode(data, &KEY).is_err());
    let mut changed = GENUINE.clone();
    for change in data.chunks_exact(2) {
        let at = usize::from(change[0]) % changed.len();
        changed[at] ^= change[1];
    }
    assert_eq!(DomainRecord::decode(&changed, &KEY).is_ok(), changed == *GENUINE);
    DomainRecord::version_of(data);
});
