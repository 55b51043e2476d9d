//! What the chain says of an authorization: the last word on a payment whose settlement is unknown.
//!
//! An authorization moves money at most once, and the token tells when: `AuthorizationUsed(payer, nonce)`
//! beside the `Transfer` to us. One that was cancelled by its payer tells something else.

use super::Terms;
use super::payment::Payment;
use crate::web::egress::{Call, Egress};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::time::Duration;

const ANSWER_FOR: Duration = Duration::from_secs(10);
const ANSWER_LEN_MAX: usize = 1024 * 1024;
/// `keccak256("AuthorizationUsed(address,bytes32)")`
const AUTHORIZATION_USED: &str = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5";
/// `keccak256("Transfer(address,address,uint256)")`
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// Seconds the chain must be past a payment's end before it is given up: a block may still be replaced.
const SETTLED_AFTER: i64 = 120;

/// What became of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The money came to us in this transaction.
    Paid(String),
    /// Nothing yet; it still can.
    Open,
    /// Nothing, and it no longer can.
    Lapsed,
}

/// The number of the newest block.
pub async fn height(egress: &Egress, terms: &Terms) -> anyhow::Result<i64> {
    number(&call(egress, terms, "eth_blockNumber", json!([])).await?)
}

/// Looks a payment up, from the block on at which it was first seen.
pub async fn look(egress: &Egress, terms: &Terms, payment: &Payment, from: i64) -> anyhow::Result<Fate> {
    // First the time, then the logs: what is not in them by then is not in any earlier block.
    let newest = call(egress, terms, "eth_getBlockByNumber", json!(["latest", false])).await?;
    let time = number(newest.get("timestamp").unwrap_or(&Value::Null))?;
    let filter = json!([{
        "address": terms.asset,
        "fromBlock": format!("0x{from:x}"),
        "toBlock": "latest",
        "topics": [AUTHORIZATION_USED, word(&payment.payer), payment.nonce],
    }]);
    let logs = call(egress, terms, "eth_getLogs", filter).await?;
    for log in logs.as_array().into_iter().flatten() {
        let Some(hash) = log.get("transactionHash").and_then(Value::as_str) else { continue };
        let receipt = call(egress, terms, "eth_getTransactionReceipt", json!([hash])).await?;
        if pays(&receipt, terms, payment) {
            return Ok(Fate::Paid(hash.to_owned()));
        }
    }
    Ok(if time > payment.valid_before.saturating_add(SETTLED_AFTER) { Fate::Lapsed } else { Fate::Open })
}

/// Whether a transaction moved exactly this payment to us.
fn pays(receipt: &Value, terms: &Terms, payment: &Payment) -> bool {
    let worked = receipt.get("status").and_then(Value::as_str) == Some("0x1");
    let wanted = [TRANSFER.to_owned(), word(&payment.payer), word(&terms.pay_to)];
    let amount = format!("0x{:064x}", payment.amount.0);
    let is_it = |log: &Value| {
        let text =
            |name: &str| log.get(name).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        let topics = log.get("topics").and_then(Value::as_array).into_iter().flatten();
        let topics: Vec<String> =
            topics.filter_map(|topic| topic.as_str().map(str::to_ascii_lowercase)).collect();
        text("address") == terms.asset.to_ascii_lowercase() && topics == wanted && text("data") == amount
    };
    worked && receipt.get("logs").and_then(Value::as_array).is_some_and(|logs| logs.iter().any(is_it))
}

/// An address as a topic.
fn word(address: &str) -> String {
    let digits = address.strip_prefix("0x").unwrap_or(address).to_ascii_lowercase();
    format!("0x{digits:0>64}")
}

fn number(value: &Value) -> anyhow::Result<i64> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    Ok(i64::from_str_radix(digits.unwrap_or("not hexadecimal"), 16)?)
}

async fn call(egress: &Egress, terms: &Terms, method: &str, params: Value) -> anyhow::Result<Value> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = egress
        .fetch(Call {
            method: Method::POST,
            url: terms.rpc_url.expose_secret().to_owned(),
            headers,
            body: Bytes::from(body.to_string()),
            deadline: ANSWER_FOR,
            answer_len_max: ANSWER_LEN_MAX,
        })
        .await
        .map_err(|failure| anyhow::anyhow!("no answer from the chain's node: {failure:?}"))?;
    let mut answer: Value = serde_json::from_slice(&answer.body)?;
    anyhow::ensure!(answer.get("error").is_none(), "the chain's node refused {method}");
    Ok(answer.get_mut("result").map(Value::take).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha3::{Digest, Keccak256};

    #[test]
    fn topics_are_the_digests_of_what_they_stand_for() {
        for (event, topic) in [
            ("AuthorizationUsed(address,bytes32)", AUTHORIZATION_USED),
            ("Transfer(address,address,uint256)", TRANSFER),
        ] {
            assert_eq!(format!("0x{}", hex::encode(Keccak256::digest(event))), topic, "{event}");
        }
    }
}
