//! The signature of a webhook: `Stripe-Signature: t=UNIX_SECONDS,v1=HEX,v1=HEX…`, each `v1` an HMAC-SHA256 of
//! `t.body` under one of the endpoint's secrets. Pure.
//!
//! Must stay true: the bytes checked are the bytes received; a signature is good for [`TOLERANCE_SECONDS`] on
//! either side of its time, so that a recorded request cannot be sent again later.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::fmt;

/// How far a signature's time may be from ours. Clocks and queues need minutes, a thief would like days.
pub const TOLERANCE_SECONDS: i64 = 300;
/// Signatures looked at: an endpoint in the middle of a roll sends two.
const SIGNATURES_MAX: usize = 8;

/// Why a request is not Stripe's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// No header, or one that cannot be read.
    Malformed,
    /// None of the signatures is right.
    Mismatch,
    /// Right, but too old or of the future.
    Stale,
}

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the Stripe-Signature header is missing or cannot be read",
            Self::Mismatch => "no signature matches the body",
            Self::Stale => "the signature's time is more than 300 seconds away",
        })
    }
}

/// Checks the signature of a body at `now`, in Unix seconds.
pub fn verify(header: &str, body: &[u8], secrets: &[SecretString], now: i64) -> Result<(), Forged> {
    let (mut at, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        let (name, value) = part.trim().split_once('=').ok_or(Forged::Malformed)?;
        match name {
            "t" => at = Some(value),
            "v1" if signatures.len() < SIGNATURES_MAX => signatures.extend(hex::decode(value).ok()),
            // Schemes we do not know, such as the v0 of test mode.
            _ => {}
        }
    }
    let at = at.ok_or(Forged::Malformed)?;
    let seconds: i64 = at.parse().map_err(|_| Forged::Malformed)?;
    if signatures.is_empty() {
        return Err(Forged::Malformed);
    }
    let is_ours = |secret: &SecretString| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes());
        let mac = mac.expect("HMAC takes any key").chain_update(at).chain_update(b".").chain_update(body);
        // Every comparison is in constant time.
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    };
    if !secrets.iter().any(is_ours) {
        return Err(Forged::Mismatch);
    }
    let fresh =
        now.checked_sub(seconds).is_some_and(|age| age.unsigned_abs() <= TOLERANCE_SECONDS.unsigned_abs());
    if fresh { Ok(()) } else { Err(Forged::Stale) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const NOW: i64 = 1_800_000_000;

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    fn sign(secret: &str, at: &str) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let mac = mac.chain_update(at).chain_update(b".").chain_update(BODY);
        hex::encode(mac.finalize().into_bytes())
    }

    #[test]
    fn a_good_signature_is_good() {
        let header = format!("t={NOW},v1={}", sign("whsec_one", "1800000000"));
        assert_eq!(verify(&header, BODY, &[secret("whsec_one")], NOW), Ok(()));
    }

    #[test]
    fn any_of_several_signatures_and_any_of_several_secrets() {
        let good = sign("whsec_new", "1800000000");
        let header = format!("t={NOW},v1={},v1={good},v0=ffff", sign("whsec_gone", "1800000000"));
        assert_eq!(verify(&header, BODY, &[secret("whsec_old"), secret("whsec_new")], NOW), Ok(()));
        assert_eq!(verify(&header, BODY, &[secret("whsec_old")], NOW), Err(Forged::Mismatch));
    }

    #[test]
    fn three_hundred_seconds_and_no_more() {
        let secrets = [secret("whsec_one")];
        for (age, expected) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(Forged::Stale)),
            (-301, Err(Forged::Stale)),
        ] {
            let at = (NOW - age).to_string();
            let header = format!("t={at},v1={}", sign("whsec_one", &at));
            assert_eq!(verify(&header, BODY, &secrets, NOW), expected, "{age} s old");
        }
    }

    #[test]
    fn what_is_changed_does_not_verify() {
        let secrets = [secret("whsec_one")];
        let good = sign("whsec_one", "1800000000");
        for header in [
            format!("t=1800000001,v1={good}"),
            format!("t={NOW},v1={}", sign("whsec_two", "1800000000")),
            format!("t={NOW},v1={}00", good.get(2..).unwrap()),
        ] {
            assert_eq!(verify(&header, BODY, &secrets, NOW), Err(Forged::Mismatch), "{header}");
        }
        let header = format!("t={NOW},v1={good}");
        assert_eq!(verify(&header, br#"{"id":"evt_2"}"#, &secrets, NOW), Err(Forged::Mismatch));
        for header in [
            "",
            "nonsense",
            "t=1,v1",
            "v1=00",
            "t=x,v1=00",
            "t=1800000000",
            "t=1800000000,v1=zz",
            "t=9223372036854775807,v0=00",
        ] {
            assert_eq!(verify(header, BODY, &secrets, NOW), Err(Forged::Malformed), "{header}");
        }
    }
}
