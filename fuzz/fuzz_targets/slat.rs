//! No bytes but those we signed are a SLAT token.
//!
//! The input is either a text as it is, or changes to a genuine token: of its bytes, under the base64, or
//! of its letters. Whatever it is, the token opens exactly when it is a genuine one, letter by letter.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use shared::Secret;
use shared::id::{AgentId, AttributionEventId, ProgramId};
use slat::{Claims, PREFIX, SlatKeys};
use std::sync::LazyLock;
use uuid::Uuid;

// The very file the service is built from; alone it builds in seconds.
#[path = "../../control-plane/src/auth/slat.rs"]
#[expect(dead_code, reason = "the service uses the rest")]
mod slat;

/// Keys, and two tokens of theirs: with two, parts of one can be put into the other.
static GENUINE: LazyLock<(SlatKeys, [String; 2])> = LazyLock::new(|| {
    let keys = SlatKeys::new(&Secret::from_bytes([7; 32]), 1);
    let token = |number: u128| {
        keys.sign(&Claims {
            issued_at: 1_775_001_600 + number as i64,
            valid_for: 86_400,
            event: AttributionEventId::from_uuid(Uuid::from_u128(number)),
            merchant: AgentId::from_uuid(Uuid::from_u128(number << 32)),
            program: ProgramId::from_uuid(Uuid::from_u128(number << 64)),
            publisher: AgentId::from_uuid(Uuid::from_u128(number << 96)),
            nonce: Uuid::from_u128(!number),
        })
    };
    let tokens = [token(1), token(2)];
    (keys, tokens)
});

/// Changes bytes in place, three bytes of input each: where, and what to; then cuts or lengthens.
fn change(bytes: &mut Vec<u8>, changes: &[u8]) {
    for change in changes.chunks_exact(3) {
        let [kind, at, value] = [change[0], change[1], change[2]];
        let at = usize::from(at) % bytes.len().max(1);
        match kind % 8 {
            0 => bytes.truncate(at),
            1 => bytes.push(value),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = value,
            _ => {}
        }
    }
}

fn check(token: &str) {
    let (keys, genuine) = &*GENUINE;
    assert_eq!(keys.open(token).is_ok(), genuine.iter().any(|one| one == token), "{token}");
    // Nor does an old one pass, however it is spelt.
    assert!(keys.verify(token, 1_775_001_600 + 86_400 + 3).is_err(), "{token}");
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let (_, genuine) = &*GENUINE;
    let token = &genuine[usize::from(kind >> 7)];
    match kind % 4 {
        0 => check(&String::from_utf8_lossy(rest)),
        1 => check(&format!("{PREFIX}{}", String::from_utf8_lossy(rest))),
        2 => {
            let mut raw = URL_SAFE_NO_PAD.decode(token.trim_start_matches(PREFIX)).expect("it is genuine");
            change(&mut raw, rest);
            check(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(raw)));
        }
        _ => {
            let mut letters = token.clone().into_bytes();
            change(&mut letters, rest);
            check(&String::from_utf8_lossy(&letters));
        }
    }
});
