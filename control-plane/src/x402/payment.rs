//! A payment as a client shows it: a signed authorization to move tokens. Pure.
//!
//! The signature is the facilitator's to check. What is checked here is that the money would be ours: the
//! right token on the right chain, to our address, the amount we asked for, still valid for a while.

use super::Terms;
use crate::money::Micros;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// Bytes of a payment header at most.
const HEADER_LEN_MAX: usize = 16 * 1024;
/// What a payment must still be valid for: a settlement takes seconds.
const LEFT_SECONDS_MIN: i64 = 10;

/// A payment that was shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Payment {
    /// Version of the protocol: 1 or 2.
    pub version: u8,
    /// All of it, for the facilitator.
    pub payload: Value,
    /// Who pays, in small letters.
    pub payer: String,
    /// How much.
    pub amount: Micros,
    /// Until when, in Unix seconds.
    pub valid_before: i64,
    /// Makes it different from every other of this payer: 32 bytes in small hex.
    pub nonce: String,
}

impl Payment {
    /// Reads a header's value of this version and checks it against our terms at `now`, in Unix seconds.
    pub fn read(header: &str, terms: &Terms, now: i64) -> Result<Self, &'static str> {
        let payload = decode(header).ok_or("the payment header is not base64 of a JSON object")?;
        let version = match payload.get("x402Version").and_then(Value::as_u64) {
            Some(1) => 1,
            Some(2) => 2,
            _ => return Err("x402Version is neither 1 nor 2"),
        };
        let accepted =
            if version == 2 { payload.get("accepted").ok_or("`accepted` is missing")? } else { &payload };
        if text(accepted, "/scheme") != Some("exact") {
            return Err("the scheme is not `exact`");
        }
        let network =
            if version == 2 { Some(terms.network()) } else { terms.network_v1().map(str::to_owned) };
        if network.is_none() || text(accepted, "/network") != network.as_deref() {
            return Err("it is for another network");
        }
        if version == 2 && !same(text(accepted, "/asset"), &terms.asset) {
            return Err("it is in another token");
        }
        let field = |name: &str| text(&payload, &format!("/payload/authorization/{name}"));
        if !same(field("to"), &terms.pay_to) {
            return Err("it goes to another address");
        }
        let payer = field("from").and_then(|payer| hex_of(payer, 20)).ok_or("`from` is not an address")?;
        let nonce = field("nonce").and_then(|nonce| hex_of(nonce, 32)).ok_or("`nonce` is not 32 bytes")?;
        let number = |name: &str| field(name).and_then(|text| text.parse::<i64>().ok()).filter(|n| *n >= 0);
        let amount = number("value").ok_or("`value` is not an amount")?;
        let valid_after = number("validAfter").ok_or("`validAfter` is not a time")?;
        let valid_before = number("validBefore").ok_or("`validBefore` is not a time")?;
        if valid_after > now {
            return Err("it is not valid yet");
        }
        if valid_before < now.saturating_add(LEFT_SECONDS_MIN) {
            return Err("it is no longer valid");
        }
        Ok(Self { version, payer, amount: Micros(amount), valid_before, nonce, payload })
    }

    /// Names this payment among all there are.
    pub fn reference(&self, terms: &Terms) -> String {
        format!("{}:{}:{}:{}", terms.network(), terms.asset.to_ascii_lowercase(), self.payer, self.nonce)
    }
}

fn decode(header: &str) -> Option<Value> {
    let header = header.trim();
    if header.len() > HEADER_LEN_MAX {
        return None;
    }
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD];
    let bytes = engines.iter().find_map(|engine| engine.decode(header).ok())?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn same(given: Option<&str>, ours: &str) -> bool {
    given.is_some_and(|given| given.eq_ignore_ascii_case(ours))
}

/// `0x` and so many bytes in hex, in small letters.
fn hex_of(text: &str, bytes: usize) -> Option<String> {
    let digits = text.strip_prefix("0x")?;
    (digits.len() == bytes * 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn terms() -> Terms {
        Terms {
            facilitator: "http://127.0.0.1:1".to_owned(),
            facilitator_token: None,
            rpc_url: "http://127.0.0.1:2".to_owned().into(),
            chain_id: 84532,
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".to_owned(),
            asset_domain: ("USDC".to_owned(), "2".to_owned()),
            pay_to: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".to_owned(),
        }
    }

    fn shown() -> Value {
        json!({
            "x402Version": 2,
            "accepted": terms().requirements(Micros(5_000_000)),
            "payload": {"signature": "0x00", "authorization": {
                "from": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "to": terms().pay_to,
                "value": "5000000", "validAfter": "0", "validBefore": (NOW + 300).to_string(),
                "nonce": format!("0x{}", "ab".repeat(32)),
            }},
        })
    }

    fn read(shown: &Value) -> Result<Payment, &'static str> {
        Payment::read(&STANDARD.encode(shown.to_string()), &terms(), NOW)
    }

    #[test]
    fn a_payment_of_either_version_is_read_and_has_one_name() {
        let payment = read(&shown()).unwrap();
        assert_eq!((payment.version, payment.amount), (2, Micros(5_000_000)));
        let mut old = shown();
        old["x402Version"] = json!(1);
        old["scheme"] = json!("exact");
        old["network"] = json!("base-sepolia");
        let old = read(&old).unwrap();
        assert_eq!((old.version, old.reference(&terms())), (1, payment.reference(&terms())));
    }

    #[test]
    fn money_that_would_not_be_ours_is_refused() {
        assert!(Payment::read("%%%", &terms(), NOW).is_err());
        assert!(Payment::read(&STANDARD.encode("[]"), &terms(), NOW).is_err());
        for (pointer, value) in [
            ("/x402Version", json!(3)),
            ("/accepted/scheme", json!("upto")),
            ("/accepted/network", json!("eip155:1")),
            ("/accepted/asset", json!(terms().pay_to)),
            ("/payload/authorization/to", json!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")),
            ("/payload/authorization/from", json!("0x7")),
            ("/payload/authorization/nonce", json!("0x00")),
            ("/payload/authorization/value", json!("-1")),
            ("/payload/authorization/value", json!("99999999999999999999")),
            ("/payload/authorization/value", json!(5_000_000)),
            ("/payload/authorization/validAfter", json!((NOW + 1).to_string())),
            ("/payload/authorization/validBefore", json!((NOW + 9).to_string())),
        ] {
            let mut changed = shown();
            *changed.pointer_mut(pointer).unwrap() = value.clone();
            assert!(read(&changed).is_err(), "{pointer} = {value}");
        }
    }
}
