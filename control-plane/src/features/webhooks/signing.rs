//! Signing secrets, and the headers of a delivery.
//!
//! Two signatures of the same bytes: `X-AffiliateOS-Signature`, the hex HMAC-SHA256 of the body keyed with
//! the secret's text, and `webhook-signature` of the Standard Webhooks specification, which also covers id
//! and time, so that a recorded delivery cannot be played again. A text that starts with `whsec_` is base64
//! of the second one's key, as that specification has it; of any other text the bytes are the key.

use super::event::EventType;
use crate::error::{Error, Result};
use crate::seal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use shared::Secret;
use shared::id::{DeliveryId, EventId, WebhookId};

const PREFIX: &str = "whsec_";
/// Shorter secrets can be guessed.
const KEY_LEN_MIN: usize = 24;
const KEY_LEN_MAX: usize = 64;
const TEXT_LEN_MAX: usize = 128;
const GENERATED_LEN: usize = 32;

/// A signing secret.
#[derive(Clone)]
pub struct SigningSecret {
    text: SecretString,
    key: Vec<u8>,
}

impl SigningSecret {
    /// A new one.
    pub fn generate() -> Self {
        let mut key = vec![0; GENERATED_LEN];
        getrandom::fill(&mut key).expect("the operating system has randomness");
        Self { text: format!("{PREFIX}{}", STANDARD.encode(&key)).into(), key }
    }

    /// One that a client chose.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let refuse = |what: &str| {
            Error::invalid(
                field,
                format!("`{field}` {what}."),
                format!(
                    "Leave `{field}` out and get a generated one, or send 24 to 128 visible ASCII characters; one that starts with `whsec_` goes on with base64 of 24 to 64 random bytes."
                ),
            )
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse("contains characters other than visible ASCII"));
        }
        if text.len() > TEXT_LEN_MAX {
            return Err(refuse("is too long"));
        }
        let key = match text.strip_prefix(PREFIX) {
            None => text.as_bytes().to_vec(),
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| refuse("is not base64 behind `whsec_`"))?,
        };
        if key.len() < KEY_LEN_MIN {
            return Err(refuse("is too short to be safe"));
        }
        if text.starts_with(PREFIX) && key.len() > KEY_LEN_MAX {
            return Err(refuse("is too long"));
        }
        Ok(Self { text: text.to_owned().into(), key })
    }

    /// The text, for the reply that shows it once.
    pub fn reveal(&self) -> &str {
        self.text.expose_secret()
    }

    /// As it is stored for an endpoint.
    pub fn seal(&self, deployment: &Secret, endpoint: WebhookId) -> Vec<u8> {
        seal::seal(&seal_key(deployment, endpoint), self.reveal().as_bytes())
    }

    /// From how it is stored; `None` when the deployment's secret is another one now.
    pub fn open(deployment: &Secret, endpoint: WebhookId, sealed: &[u8]) -> Option<Self> {
        let text = String::from_utf8(seal::open(&seal_key(deployment, endpoint), sealed)?).ok()?;
        Self::parse("secret", &text).ok()
    }

    /// The document's signature: hex HMAC-SHA256 of the body.
    pub fn sign_body(&self, body: &[u8]) -> String {
        hex::encode(hmac(self.reveal().as_bytes(), &[body]))
    }

    /// The Standard Webhooks signature of id, time and body.
    pub fn sign_message(&self, id: EventId, unix_seconds: i64, body: &[u8]) -> String {
        let head = format!("{id}.{unix_seconds}.");
        format!("v1,{}", STANDARD.encode(hmac(&self.key, &[head.as_bytes(), body])))
    }
}

/// A key for each endpoint: a sealed secret does not open in another row.
fn seal_key(deployment: &Secret, endpoint: WebhookId) -> [u8; 32] {
    deployment.derive(&format!("webhook secret v1 {endpoint}"))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// What a delivery is signed with: the current secret, and for a day the one before it.
pub struct Secrets {
    /// Signs everything.
    pub current: SigningSecret,
    /// Signs as well, in headers of its own or behind the other.
    pub previous: Option<SigningSecret>,
}

/// The headers of one try.
pub fn headers(
    secrets: &Secrets,
    delivery: DeliveryId,
    event: EventId,
    event_type: EventType,
    unix_seconds: i64,
    body: &[u8],
) -> HeaderMap {
    let text =
        |text: &str| HeaderValue::from_str(text).expect("ids, digits, hex and base64 are visible ASCII");
    let mut signatures = secrets.current.sign_message(event, unix_seconds, body);
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("AffiliateOS/", env!("CARGO_PKG_VERSION"))));
    // Nothing unpacks an answer, so none should be packed.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let ours = |name| HeaderName::from_static(name);
    headers.insert(ours("x-affiliateos-event"), HeaderValue::from_static(event_type.as_str()));
    headers.insert(ours("x-affiliateos-delivery"), text(&delivery.to_string()));
    headers.insert(ours("x-affiliateos-signature"), text(&secrets.current.sign_body(body)));
    if let Some(previous) = &secrets.previous {
        headers.insert(ours("x-affiliateos-signature-previous"), text(&previous.sign_body(body)));
        signatures.push(' ');
        signatures.push_str(&previous.sign_message(event, unix_seconds, body));
    }
    headers.insert(ours("webhook-id"), text(&event.to_string()));
    headers.insert(ours("webhook-timestamp"), HeaderValue::from(unix_seconds));
    headers.insert(ours("webhook-signature"), text(&signatures));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_own_example_verifies() {
        let secret = SigningSecret::parse("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let head = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.";
        let signed = STANDARD.encode(hmac(&secret.key, &[head.as_bytes(), br#"{"test": 2432232314}"#]));
        assert_eq!(signed, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn generated_ones_are_good_and_weak_ones_are_refused() {
        let generated = SigningSecret::generate();
        assert!(SigningSecret::parse("secret", generated.reveal()).is_ok());
        assert!(SigningSecret::parse("secret", "correct-horse-battery-staple").is_ok());
        for weak in [
            "",
            "short",
            "with blanks in it, and long enough",
            "ümlaute-sind-hier-nicht-erlaubt",
            "whsec_",
            "whsec_not base64 at all!",
            "whsec_c2hvcnQ=",
            &"x".repeat(129),
            &format!("whsec_{}", STANDARD.encode([7; 65])),
        ] {
            assert!(SigningSecret::parse("secret", weak).is_err(), "{weak}");
        }
    }

    #[test]
    fn a_stored_secret_opens_for_its_own_endpoint() {
        let deployment = Secret::from_bytes([3; 32]);
        let (mine, other) = (WebhookId::generate(), WebhookId::generate());
        let secret = SigningSecret::generate();
        let sealed = secret.seal(&deployment, mine);
        assert_eq!(SigningSecret::open(&deployment, mine, &sealed).unwrap().reveal(), secret.reveal());
        assert!(SigningSecret::open(&deployment, other, &sealed).is_none());
        assert!(SigningSecret::open(&Secret::from_bytes([4; 32]), mine, &sealed).is_none());
    }
}
