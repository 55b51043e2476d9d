//! Public keys of AI agents that sign their requests (Web Bot Auth), as a directory lists them.
//!
//! The control plane fetches directories and publishes them under [`crate::keys::Keys::agent_keys`]; edges
//! read that and the operator's own file. Both are the JSON of the HTTP Message Signatures Directory draft,
//! a JSON Web Key Set: `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"…","nbf":…,"exp":…}]}`.
//!
//! A key's name is its JWK thumbprint (RFC 7638, RFC 8037 appendix A.3), which is what a signature calls
//! `keyid`; a `kid` that says otherwise is not looked at. Only Ed25519 is taken; other keys are left out.
//! Limits: [`LEN_MAX`] bytes, [`KEYS_MAX`] keys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of a directory at most.
pub const LEN_MAX: usize = 256 * 1024;
/// Keys of a directory at most.
pub const KEYS_MAX: usize = 1000;
/// `nbf` and `exp` are seconds in the draft and milliseconds in some directories: larger ones are those.
const SECONDS_MAX: f64 = 1e11;

/// A key of an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentKey {
    /// Its thumbprint, as `keyid` has it.
    pub id: String,
    /// The Ed25519 public key.
    pub public: [u8; 32],
    /// Not valid before, in seconds since the Unix epoch.
    pub not_before: i64,
    /// Not valid from then on.
    pub expires: i64,
}

/// Why a text is no directory.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// More than [`LEN_MAX`] bytes.
    #[error("a directory has at most {LEN_MAX} bytes")]
    TooLong,
    /// More than [`KEYS_MAX`] keys.
    #[error("a directory has at most {KEYS_MAX} keys")]
    TooMany,
    /// Not JSON, or without `keys`.
    #[error("not a key directory: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Directory<K> {
    keys: Vec<K>,
}

#[derive(Deserialize)]
struct AnyKey {
    #[serde(default)]
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    nbf: Option<f64>,
    exp: Option<f64>,
}

/// A key as [`write()`] puts it.
#[derive(Serialize)]
struct Listed<'a> {
    kty: &'static str,
    crv: &'static str,
    kid: &'a str,
    x: String,
    #[serde(rename = "use")]
    usage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

/// Reads a directory; keys that are of no use are left out.
pub fn read(text: &[u8]) -> Result<Vec<AgentKey>, DirectoryError> {
    if text.len() > LEN_MAX {
        return Err(DirectoryError::TooLong);
    }
    let directory: Directory<serde_json::Value> = serde_json::from_slice(text)?;
    if directory.keys.len() > KEYS_MAX {
        return Err(DirectoryError::TooMany);
    }
    // One odd key must not hide the others.
    Ok(directory.keys.into_iter().filter_map(|key| read_key(serde_json::from_value(key).ok()?)).collect())
}

fn read_key(key: AnyKey) -> Option<AgentKey> {
    let signs = key.usage.is_none_or(|usage| usage == "sig");
    if key.kty != "OKP" || key.crv != "Ed25519" || !signs {
        return None;
    }
    let public: [u8; 32] = URL_SAFE_NO_PAD.decode(key.x.as_bytes()).ok()?.try_into().ok()?;
    let seconds = |number: f64| if number.abs() > SECONDS_MAX { number / 1000.0 } else { number } as i64;
    Some(AgentKey {
        id: thumbprint(&public),
        public,
        not_before: key.nbf.map_or(i64::MIN, seconds),
        expires: key.exp.map_or(i64::MAX, seconds),
    })
}

/// The thumbprint of an Ed25519 key.
pub fn thumbprint(public: &[u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

/// Writes a directory that [`read`] reads back.
pub fn write(keys: &[AgentKey]) -> String {
    let listed = keys.iter().map(|key| Listed {
        kty: "OKP",
        crv: "Ed25519",
        kid: &key.id,
        x: URL_SAFE_NO_PAD.encode(key.public),
        usage: "sig",
        nbf: Some(key.not_before).filter(|at| *at != i64::MIN),
        exp: Some(key.expires).filter(|at| *at != i64::MAX),
    });
    serde_json::to_string(&Directory { keys: listed.collect() }).expect("texts and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The key of RFC 9421, appendix B.1.4, and its name in the Web Bot Auth draft.
    const TEST_KEY: &str = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs";
    const TEST_KEY_ID: &str = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";

    fn read_one(members: &str) -> Vec<AgentKey> {
        read(format!(r#"{{"keys":[{{{members}}}]}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint_whatever_it_calls_itself() {
        let keys =
            read_one(&format!(r#""kty":"OKP","crv":"Ed25519","kid":"test-key-ed25519","x":"{TEST_KEY}""#));
        assert_eq!(keys[0].id, TEST_KEY_ID);
        assert_eq!((keys[0].not_before, keys[0].expires), (i64::MIN, i64::MAX));
    }

    #[test]
    fn times_are_seconds_or_milliseconds() {
        for (nbf, exp) in [("1712793600", "1715385600"), ("1712793600000", "1715385600000.0")] {
            let keys = read_one(&format!(
                r#""kty":"OKP","crv":"Ed25519","x":"{TEST_KEY}","use":"sig","nbf":{nbf},"exp":{exp}"#
            ));
            assert_eq!((keys[0].not_before, keys[0].expires), (1_712_793_600, 1_715_385_600));
        }
    }

    #[test]
    fn keys_of_no_use_are_left_out() {
        for members in [
            String::new(),
            r#""kty":"RSA","n":"x","e":"AQAB""#.to_owned(),
            format!(r#""kty":"OKP","crv":"X25519","x":"{TEST_KEY}""#),
            format!(r#""kty":"OKP","crv":"Ed25519","use":"enc","x":"{TEST_KEY}""#),
            r#""kty":"OKP","crv":"Ed25519","x":"short""#.to_owned(),
            format!(r#""kty":"OKP","crv":"Ed25519","x":"{TEST_KEY}=""#),
            format!(r#""kty":7,"crv":"Ed25519","x":"{TEST_KEY}""#),
        ] {
            assert_eq!(read_one(&members), [], "{members}");
        }
        assert!(read(b"{}").is_err() && read(b"[]").is_err() && read(b"").is_err());
        assert!(matches!(read(&vec![b' '; LEN_MAX + 1]), Err(DirectoryError::TooLong)));
        let many = format!(r#"{{"keys":[{}1]}}"#, "1,".repeat(KEYS_MAX));
        assert!(matches!(read(many.as_bytes()), Err(DirectoryError::TooMany)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(public: [u8; 32], nbf in prop::option::of(0i64..4e9 as i64), exp in prop::option::of(0i64..4e9 as i64)) {
            let key = AgentKey {
                id: thumbprint(&public),
                public,
                not_before: nbf.unwrap_or(i64::MIN),
                expires: exp.unwrap_or(i64::MAX),
            };
            let keys = [key.clone(), key];
            prop_assert_eq!(read(write(&keys).as_bytes()).unwrap(), keys);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&bytes));
        }
    }
}
