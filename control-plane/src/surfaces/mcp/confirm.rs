//! Asking before money moves or something is destroyed.
//!
//! The first call of such a tool changes nothing: it answers with what would happen and a token. The token
//! is a MAC over the tool, its arguments, the caller's key and the time, so it confirms this and nothing
//! else, on any node, for ten minutes. The confirmed call carries the MAC as its `Idempotency-Key`, so a
//! token used twice acts once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use serde_json::{Map, Value, json};
use sha2::Sha256;

/// How long a token is good for, in seconds.
const GOOD_FOR_SECONDS: i64 = 600;

/// What is shown before the act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// The reply to GET of this path.
    At(String),
    /// The reply to the operation itself with `"dry_run": true`; it names a `preview_token` to pass on.
    DryRun,
}

/// Operations that must be confirmed, and what is shown first; every DELETE must be.
const CONFIRMED: &[(&str, &str)] = &[
    ("cancel_subscription", "/api/subscription"),
    ("change_wallet", "/api/wallet"),
    ("mark_payout_failed", "/api/payouts/{id}"),
    ("mark_payout_paid", "/api/payouts/{id}"),
    ("refund_conversion", "/api/conversions/{id}"),
    ("regenerate_key", "/api/agents/{id}"),
    ("rotate_key", "/api/agents/{id}"),
    ("rotate_webhook_secret", "/api/webhooks/{id}"),
    ("set_payout_address", "/api/agents/{id}/payout-address"),
    ("start_pro", "/api/subscription"),
    ("topup_wallet", "/api/wallet"),
];

/// What to look at before this operation, if it must be confirmed.
pub(super) fn look(id: &str, method: &Method, path: &str) -> Option<Look> {
    if id == "process_payouts" {
        return Some(Look::DryRun);
    }
    if let Some((_, at)) = CONFIRMED.iter().find(|(confirmed, _)| *confirmed == id) {
        return Some(Look::At((*at).to_owned()));
    }
    // A key cannot be read by itself; its list can.
    let at = path.strip_suffix("/{key_id}").unwrap_or(path);
    (*method == Method::DELETE).then(|| Look::At(at.to_owned()))
}

/// The shape of an answer that asks.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "description": "Nothing was done yet: this is what would be acted on.",
        "required": ["confirmation_required", "confirmation_token", "expires_at", "next", "preview"],
        "properties": {
            "confirmation_required": {"const": true},
            "confirmation_token": {"type": "string", "description": "Confirms this call and no other."},
            "expires_at": {"type": "string", "format": "date-time"},
            "next": {"type": "string", "description": "What to do to go on."},
            "preview": {"type": "object", "description": "What it is about, as it stands now."},
        },
    })
}

/// Makes and checks tokens.
pub(super) struct Confirmations {
    key: [u8; 32],
}

/// A checked token.
pub(super) struct Confirmed {
    /// The same for the same token.
    pub(super) idempotency_key: String,
    /// What the dry run wanted passed on.
    pub(super) preview_token: Option<String>,
}

/// Why a token confirms nothing.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Refused {
    /// Older than ten minutes.
    Expired,
    /// Not ours, or for another call.
    Foreign,
}

impl Confirmations {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A token for one call, and until when it is good.
    pub(super) fn make(
        &self,
        call: &Call<'_>,
        preview_token: Option<&str>,
        now: DateTime<Utc>,
    ) -> (String, DateTime<Utc>) {
        let until = now + TimeDelta::seconds(GOOD_FOR_SECONDS);
        let passed_on = preview_token.unwrap_or_default();
        let stamp = u32::try_from(until.timestamp()).unwrap_or(u32::MAX).to_be_bytes();
        let mac = self.mac(call, stamp, passed_on);
        let token = URL_SAFE_NO_PAD.encode([&stamp[..], &mac].concat());
        (if passed_on.is_empty() { token } else { format!("{token}.{passed_on}") }, until)
    }

    /// Whether a token confirms this call, now.
    pub(super) fn check(
        &self,
        call: &Call<'_>,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Confirmed, Refused> {
        let (token, passed_on) = token.split_once('.').unwrap_or((token, ""));
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Refused::Foreign)?;
        let (stamp, mac) = bytes.split_first_chunk::<4>().ok_or(Refused::Foreign)?;
        let expected = self.mac(call, *stamp, passed_on);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], mac)) {
            return Err(Refused::Foreign);
        }
        if now.timestamp() > i64::from(u32::from_be_bytes(*stamp)) {
            return Err(Refused::Expired);
        }
        Ok(Confirmed {
            idempotency_key: format!("mcp-{}", hex::encode(mac)),
            preview_token: (!passed_on.is_empty()).then(|| passed_on.to_owned()),
        })
    }

    fn mac(&self, call: &Call<'_>, stamp: [u8; 4], passed_on: &str) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        // Object members are kept sorted, so the same arguments have the same text. As JSON, the parts
        // cannot run into each other.
        let parts = json!([call.operation, call.caller, call.arguments, passed_on]);
        mac.update(&stamp);
        mac.update(parts.to_string().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        short
    }
}

/// What a token is about.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) operation: &'a str,
    /// The `Authorization` header.
    pub(super) caller: &'a str,
    /// Without the token.
    pub(super) arguments: &'a Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_confirms_one_call_of_one_caller_for_ten_minutes() {
        let confirmations = Confirmations::new([7; 32]);
        let Value::Object(arguments) = json!({"id": "1", "amount": 5}) else { panic!("an object") };
        let call = Call { operation: "refund_conversion", caller: "Bearer a", arguments: &arguments };
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (token, until) = confirmations.make(&call, None, now);
        assert_eq!(until - now, TimeDelta::seconds(600));
        let first = confirmations.check(&call, &token, now).ok().unwrap();
        let again = confirmations.check(&call, &token, until).ok().unwrap();
        assert_eq!(first.idempotency_key, again.idempotency_key, "used twice, it acts once");
        assert_eq!(first.preview_token, None);

        let refused = |call: &Call<'_>, token: &str, now| confirmations.check(call, token, now).err();
        assert_eq!(refused(&call, &token, until + TimeDelta::seconds(1)), Some(Refused::Expired));
        assert_eq!(refused(&Call { operation: "topup_wallet", ..call }, &token, now), Some(Refused::Foreign));
        assert_eq!(refused(&Call { caller: "Bearer b", ..call }, &token, now), Some(Refused::Foreign));
        let Value::Object(more) = json!({"id": "1", "amount": 50}) else { panic!("an object") };
        assert_eq!(refused(&Call { arguments: &more, ..call }, &token, now), Some(Refused::Foreign));
        for junk in ["", ".", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAA", "not base64!", &format!("{token}.x")] {
            assert_eq!(refused(&call, junk, now), Some(Refused::Foreign), "{junk}");
        }
        let other = Confirmations::new([8; 32]);
        assert_eq!(other.check(&call, &token, now).err(), Some(Refused::Foreign));
    }

    #[test]
    fn what_the_dry_run_wanted_passed_on_is_part_of_the_token() {
        let confirmations = Confirmations::new([7; 32]);
        let arguments = Map::new();
        let call = Call { operation: "process_payouts", caller: "Bearer a", arguments: &arguments };
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (token, _) = confirmations.make(&call, Some("pv_abc"), now);
        let confirmed = confirmations.check(&call, &token, now).ok().unwrap();
        assert_eq!(confirmed.preview_token.as_deref(), Some("pv_abc"));
        let other = token.replace("pv_abc", "pv_abd");
        assert_eq!(confirmations.check(&call, &other, now).err(), Some(Refused::Foreign));
    }
}
