//! JSON-RPC over HTTP, with a limit on everything a node can make us wait for or hold.
//!
//! Ours, because the one thing that matters here is what a failure means: [`ChainError::Refused`] is a
//! node's answer, [`ChainError::Lost`] is none, after which the call may have taken effect.

use control_plane::features::payouts::usdc::chain::{ChainError, ChainResult};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// A call and its reply; a node that takes longer is asked again at the next turn.
const CALL_FOR: Duration = Duration::from_secs(10);
const CONNECT_FOR: Duration = Duration::from_secs(3);
/// The largest reply we ask for is a block without its transactions' bodies: some hundred kilobytes.
const REPLY_LEN_MAX: usize = 4 << 20;
/// Of a node's words, in logs and reasons.
const MESSAGE_LEN_MAX: usize = 200;

/// A node.
#[derive(Debug)]
pub struct Rpc {
    http: Client,
    /// May carry a key in its path: never shown.
    url: SecretString,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

impl Rpc {
    /// A node at this URL; nothing is connected yet.
    pub fn new(url: SecretString) -> anyhow::Result<Self> {
        let http = Client::builder()
            .timeout(CALL_FOR)
            .connect_timeout(CONNECT_FOR)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, url })
    }

    /// Calls a method; `null` is a result like others.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> ChainResult<T> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let sent = self.http.post(self.url.expose_secret()).json(&body).send().await;
        let mut response = sent.map_err(|error| lost(method, &error.without_url()))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(method, &error.without_url()))? {
            if bytes.len() + chunk.len() > REPLY_LEN_MAX {
                return Err(ChainError::Lost(format!("{method}: the reply is too long")));
            }
            bytes.extend_from_slice(&chunk);
        }
        // A gateway's error page is no answer of the node, whatever its status.
        let reply: Reply = serde_json::from_slice(&bytes)
            .map_err(|_| ChainError::Lost(format!("{method}: status {}, not JSON-RPC", response.status())))?;
        if let Some(refusal) = reply.error {
            let message = refusal.message.chars().filter(|c| !c.is_control()).take(MESSAGE_LEN_MAX).collect();
            return Err(ChainError::Refused { code: refusal.code, message });
        }
        serde_json::from_value(reply.result.unwrap_or(Value::Null))
            .map_err(|error| ChainError::Lost(format!("{method}: {error}")))
    }
}

fn lost(method: &str, error: &reqwest::Error) -> ChainError {
    let mut text = format!("{method}: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    ChainError::Lost(text)
}
