//! The facilitator: asks whether a payment is good, has it carried out.
//!
//! A settlement whose answer is lost may have happened; what the chain says then decides, not a second answer.

use super::Terms;
use super::payment::Payment;
use crate::web::egress::{Call, Egress};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::time::Duration;

/// Checking a signature.
const VERIFY_FOR: Duration = Duration::from_secs(10);
/// Settling waits for a block.
const SETTLE_FOR: Duration = Duration::from_secs(30);
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// What the facilitator says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would work.
    Good,
    /// It would not, for this reason.
    Bad(String),
}

/// What became of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The money has moved in this transaction.
    Done(String),
    /// The facilitator says it has not; the chain may know better.
    Failed(String),
    /// Nobody knows.
    Unknown(String),
}

/// Asks whether a payment is good.
pub async fn verify(
    egress: &Egress,
    terms: &Terms,
    payment: &Payment,
    requirements: &Value,
) -> anyhow::Result<Verdict> {
    let answer = ask(egress, terms, "/verify", payment, requirements, VERIFY_FOR).await?;
    match answer.get("isValid").and_then(Value::as_bool) {
        Some(true) => Ok(Verdict::Good),
        Some(false) => Ok(Verdict::Bad(reason(&answer, "invalidReason"))),
        None => anyhow::bail!("the facilitator's answer says nothing of isValid"),
    }
}

/// Has a payment carried out.
pub async fn settle(egress: &Egress, terms: &Terms, payment: &Payment, requirements: &Value) -> Settlement {
    let answer = match ask(egress, terms, "/settle", payment, requirements, SETTLE_FOR).await {
        Ok(answer) => answer,
        Err(error) => return Settlement::Unknown(format!("{error:#}")),
    };
    match (answer.get("success").and_then(Value::as_bool), answer.get("transaction").and_then(Value::as_str))
    {
        (Some(true), Some(transaction)) if !transaction.is_empty() => {
            Settlement::Done(transaction.to_owned())
        }
        (Some(false), _) => Settlement::Failed(reason(&answer, "errorReason")),
        _ => Settlement::Unknown("an answer without an outcome".to_owned()),
    }
}

/// A word of the protocol, shown to the payer: kept short and plain.
fn reason(answer: &Value, name: &str) -> String {
    let word = answer.get(name).and_then(Value::as_str).unwrap_or("unknown_reason");
    word.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "_- :".contains(*letter))
        .take(80)
        .collect()
}

async fn ask(
    egress: &Egress,
    terms: &Terms,
    path: &str,
    payment: &Payment,
    requirements: &Value,
    deadline: Duration,
) -> anyhow::Result<Value> {
    let body = json!({
        "x402Version": payment.version,
        "paymentPayload": payment.payload,
        "paymentRequirements": requirements,
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = &terms.facilitator_token {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    let answer = egress
        .fetch(Call {
            method: Method::POST,
            url: format!("{}{path}", terms.facilitator),
            headers,
            body: Bytes::from(body.to_string()),
            deadline,
            answer_len_max: ANSWER_LEN_MAX,
        })
        .await
        .map_err(|failure| anyhow::anyhow!("no answer from the facilitator: {failure:?}"))?;
    let said = serde_json::from_slice(&answer.body);
    // Some answer a payment that is not good with a 4xx and the same words.
    match said {
        Ok(said) if answer.status.is_success() || answer.status.is_client_error() => Ok(said),
        _ => anyhow::bail!("the facilitator answered {}", answer.status.as_u16()),
    }
}
