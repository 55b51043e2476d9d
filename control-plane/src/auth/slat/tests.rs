//! Genuine tokens come back; nothing else is accepted.

use super::*;
use proptest::prelude::*;

fn keys(current: u16) -> SlatKeys {
    SlatKeys::new(&Secret::from_bytes([7; 32]), current)
}

fn claims(issued_at: i64) -> Claims {
    Claims {
        issued_at,
        valid_for: WINDOW_SECONDS_DEFAULT,
        event: AttributionEventId::from_uuid(Uuid::from_u128(1)),
        merchant: AgentId::from_uuid(Uuid::from_u128(2)),
        program: ProgramId::from_uuid(Uuid::from_u128(3)),
        publisher: AgentId::from_uuid(Uuid::from_u128(4)),
        nonce: Uuid::from_u128(5),
    }
}

#[test]
fn the_window_is_exact() {
    let token = keys(1).sign(&claims(1_000_000));
    let at = |age: i64| keys(1).verify(&token, 1_000_000 + age);
    assert_eq!(at(0), Ok(claims(1_000_000)));
    assert_eq!(at(86_399), Ok(claims(1_000_000)));
    assert_eq!(at(86_400), Ok(claims(1_000_000)));
    assert_eq!(at(86_401), Err(Refusal::Expired { age: 86_401, max_age: 86_400 }));
    assert_eq!(at(-60), Ok(claims(1_000_000)));
    assert_eq!(at(-61), Err(Refusal::Invalid));
}

#[test]
fn a_rotated_key_is_accepted_once_more() {
    let token = keys(1).sign(&claims(0));
    assert!(keys(2).open(&token).is_ok());
    assert_eq!(keys(3).open(&token), Err(Refusal::Invalid));
    let early = keys(2).sign(&claims(0));
    assert_eq!(keys(1).open(&early), Err(Refusal::Invalid), "the next key signs nothing yet");
}

#[test]
fn another_deployment_is_refused() {
    let theirs = SlatKeys::new(&Secret::from_bytes([8; 32]), 1).sign(&claims(0));
    assert_eq!(keys(1).open(&theirs), Err(Refusal::Invalid));
}

#[test]
fn a_hundred_thousand_forgeries_are_refused() {
    let keys = keys(1);
    let token = keys.sign(&claims(0)).into_bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let old: Vec<_> = (1..200).map(|issued_at| keys.sign(&claims(issued_at * 1000))).collect();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.";
    for _ in 0..100_000 {
        let mut forged = token.clone();
        match random() % 5 {
            0 => forged.truncate(random() % token.len()),
            // The signature of one over the payload of another, and genuine ones that are too old.
            4 => {
                let other = &old[random() % old.len()];
                assert!(matches!(keys.verify(other, 3_000_000), Err(Refusal::Expired { .. })));
                // Behind the time, by which the two differ.
                let at = 30 + random() % (token.len() - 31);
                forged.splice(at.., other.bytes().skip(at));
            }
            1 => forged.push(letters[random() % letters.len()]),
            _ => {
                for _ in 0..=random() % 3 {
                    let at = random() % forged.len();
                    forged[at] = letters[random() % letters.len()];
                }
            }
        }
        if forged != token {
            assert_eq!(keys.open(std::str::from_utf8(&forged).unwrap()), Err(Refusal::Invalid));
        }
    }
}

proptest! {
    #[test]
    fn every_token_comes_back(issued_at in 0i64..4_000_000_000, valid_for: u32, ids: [u128; 5]) {
        let claims = Claims {
            issued_at,
            valid_for,
            event: AttributionEventId::from_uuid(Uuid::from_u128(ids[0])),
            merchant: AgentId::from_uuid(Uuid::from_u128(ids[1])),
            program: ProgramId::from_uuid(Uuid::from_u128(ids[2])),
            publisher: AgentId::from_uuid(Uuid::from_u128(ids[3])),
            nonce: Uuid::from_u128(ids[4]),
        };
        let token = keys(9).sign(&claims);
        prop_assert!(token.len() <= 512);
        prop_assert_eq!(keys(9).open(&token), Ok(claims));
    }

    #[test]
    fn no_text_panics(text in ".{0,300}") {
        prop_assert_eq!(keys(1).open(&text), Err(Refusal::Invalid));
    }
}
