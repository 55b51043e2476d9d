//! Round trips, the golden bytes, refusals, and no panic on any bytes.

use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

fn key() -> DomainKey {
    DomainKey::new(&Secret::from_bytes([7; 32]))
}

fn golden_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/domain_record/golden/v1.hex")
}

fn example() -> DomainRecord {
    DomainRecord {
        host: "go.xn--bcher-kva.example".to_owned(),
        owner: 41,
        version: 0x0102_0304_0506_0708,
        removed: false,
        certificate: Some(Certificate {
            chain_pem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            key_pem: Zeroizing::new(
                "-----BEGIN PRIVATE KEY-----\nBBBB\n-----END PRIVATE KEY-----\n".to_owned(),
            ),
            not_after_unix: 1_803_000_000,
        }),
    }
}

#[test]
fn the_golden_bytes_are_written_and_read_for_ever() {
    let bytes = example().encode_with(&key(), [9; NONCE_LEN]);
    assert_eq!(FORMAT, 1, "a new version needs golden bytes of its own, beside these");
    let golden = std::fs::read_to_string(golden_path()).expect("the golden file is part of the repository");
    let golden = hex::decode(golden.split_whitespace().collect::<String>()).unwrap();
    assert_eq!(hex::encode(bytes), hex::encode(&golden), "the bytes of version 1 changed");
    assert_eq!(DomainRecord::decode(&golden, &key()), Ok(example()));
}

#[test]
fn a_private_key_is_neither_in_the_bytes_nor_in_the_debug_text() {
    let bytes = example().encode(&key());
    assert!(!bytes.windows(4).any(|window| window == b"BBBB"));
    assert!(bytes.windows(4).any(|window| window == b"AAAA"), "the chain is no secret");
    assert!(!format!("{:?}", example()).contains("BBBB"));
    assert_ne!(bytes, example().encode(&key()), "the nonce is fresh");
}

#[test]
fn another_secret_opens_nothing() {
    let other = DomainKey::new(&Secret::from_bytes([8; 32]));
    let bare = DomainRecord { certificate: None, ..example() };
    for record in [example(), bare] {
        let bytes = record.encode(&key());
        assert_eq!(DomainRecord::decode(&bytes, &other), Err(DomainRecordError::NotSealedByUs));
    }
}

#[test]
fn no_single_bit_can_be_changed() {
    for record in [example(), DomainRecord { certificate: None, removed: true, ..example() }] {
        let bytes = record.encode(&key());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(DomainRecord::decode(&changed, &key()).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(DomainRecord::decode(&bytes[..len], &key()).is_err(), "cut to {len}");
        }
        assert!(DomainRecord::decode(&[&bytes[..], b"x"].concat(), &key()).is_err(), "longer");
    }
}

prop_compose! {
    fn any_record()(host in "[a-z0-9-]{1,40}(\\.[a-z0-9-]{1,40}){1,4}", owner: u32, version: u64, removed: bool,
                    certificate in prop::option::of(("[ -~\\n]{0,3000}", "[ -~\\n]{0,300}", any::<i64>())))
        -> DomainRecord {
        let certificate = certificate.map(|(chain_pem, private, not_after_unix)| Certificate {
            chain_pem,
            key_pem: Zeroizing::new(private),
            not_after_unix,
        });
        DomainRecord { host, owner, version, removed, certificate }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(record in any_record()) {
        let bytes = record.encode(&key());
        prop_assert_eq!(&bytes[8..16], &record.version.to_be_bytes());
        prop_assert_eq!(DomainRecord::version_of(&bytes), Some(record.version));
        prop_assert_eq!(DomainRecord::decode(&bytes, &key()), Ok(record));
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), lengths: Option<(u8, u8)>) {
        if let Some(first) = bytes.first_mut() { *first = FORMAT; }
        // With lengths that add up, the bytes get as far as the cipher.
        if let (Some((host, chain)), true) = (lengths, bytes.len() > HEADER_LEN) {
            let rest = bytes.len() - HEADER_LEN;
            let host = usize::from(host) % rest;
            let chain = usize::from(chain) % (rest - host);
            bytes[2] = host as u8;
            bytes[24..28].copy_from_slice(&(chain as u32).to_le_bytes());
            bytes[28..32].copy_from_slice(&((rest - host - chain) as u32).to_le_bytes());
            bytes[HEADER_LEN..HEADER_LEN + host].fill(b'a');
            bytes[1] &= 3;
            bytes[3] = 0;
        }
        prop_assert!(DomainRecord::decode(&bytes, &key()).is_err());
    }
}
