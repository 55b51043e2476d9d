//! No bytes but those we sealed are a custom domain's record.
//!
//! The input is either a record as it is, or a record whose lengths are made to add up, so that it gets as far
//! as the cipher, or changes to a genuine one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{DomainKey, DomainRecord, Secret};
use std::sync::LazyLock;

static GENUINE: LazyLock<(DomainKey, Vec<u8>)> = LazyLock::new(|| {
    let key = DomainKey::new(&Secret::from_bytes([7; 32]));
    let record =
        DomainRecord { host: "go.example.com".into(), owner: 3, version: 9, removed: false, certificate: None };
    let bytes = record.encode(&key);
    (key, bytes)
});

fuzz_target!(|data: &[u8]| {
    let (key, genuine) = &*GENUINE;
    let Some((kind, rest)) = data.split_first() else { return };
    let mut bytes = match kind % 3 {
        2 => genuine.clone(),
        _ => rest.to_vec(),
    };
    match kind % 3 {
        1 if bytes.len() > 60 => {
            let over = bytes.len() - 32;
            let host = 1 + usize::from(bytes[2]) % (over - 28).min(200);
            let chain = usize::from(bytes[24]) % (over - host - 27);
            (bytes[0], bytes[1], bytes[2], bytes[3]) = (1, bytes[1] & 3, host as u8, 0);
            bytes[24..28].copy_from_slice(&(chain as u32).to_le_bytes());
            bytes[28..32].copy_from_slice(&((over - host - chain) as u32).to_le_bytes());
            bytes[32..32 + host].fill(b'a');
        }
        2 => {
            for change in rest.chunks_exact(3) {
                let at = usize::from(change[1]) % bytes.len().max(1);
                match change[0] % 4 {
                    0 => bytes.truncate(at),
                    1 => bytes.push(change[2]),
                    _ if at < bytes.len() => bytes[at] = change[2],
                    _ => {}
                }
            }
        }
        _ => {}
    }
    let opened = DomainRecord::decode(&bytes, key);
    assert_eq!(opened.is_ok(), bytes == *genuine);
});
