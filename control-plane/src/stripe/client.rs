//! Calls to Stripe's REST API: form-encoded, pinned to one version, each POST with an idempotency key.
//!
//! Must stay true: a POST whose outcome is unknown (no answer, 5xx, 409, 429) is only ever sent again with
//! the same key, so that it happens once; what is given up as unknown may have happened.
//! Limits: 8 s a try, three tries, pauses of half a second and more between them; 1 MiB of an answer.

use super::{Account, VERSION};
use crate::web::egress::{Call, Egress, Failure as NoAnswer, Fetched};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::fmt;
use std::time::Duration;
use url::form_urlencoded;

const TRY_FOR: Duration = Duration::from_secs(8);
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const ANSWER_LEN_MAX: usize = 1024 * 1024;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Stripe said no; nothing happened, and the same call will be refused again.
    Refused {
        /// Its status.
        status: u16,
        /// Its code, such as `resource_missing` or `card_declined`.
        code: String,
    },
    /// Nobody knows whether it happened; the same call with the same key may be made again.
    Unknown(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, code } => write!(f, "Stripe refused with {status} {code}"),
            Self::Unknown(what) => write!(f, "no answer from Stripe: {what}"),
        }
    }
}

impl std::error::Error for Failure {}

/// A form: names as Stripe nests them (`metadata[topup_id]`) and their values.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// With one field more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    fn encode(&self) -> Bytes {
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(&self.0);
        out.finish().into()
    }
}

/// Speaks to Stripe for one account.
#[derive(Clone, Copy)]
pub struct Stripe<'a> {
    account: &'a Account,
    egress: &'a Egress,
}

impl<'a> Stripe<'a> {
    /// A client over this road.
    pub const fn new(account: &'a Account, egress: &'a Egress) -> Self {
        Self { account, egress }
    }

    /// The account.
    pub const fn account(&self) -> &'a Account {
        self.account
    }

    /// Creates or changes something; the same key again is the same call again.
    pub async fn post(&self, path: &str, key: &str, form: &Form) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(key), form).await
    }

    /// Ends something.
    pub async fn delete(&self, path: &str, key: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, Some(key), &Form::default()).await
    }

    /// Looks at something.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None, &Form::default()).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        form: &Form,
    ) -> Result<Value, Failure> {
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            let outcome = self.once(method.clone(), path, key, form).await;
            let Err((failure, again)) = outcome else { return outcome.map_err(|(failure, _)| failure) };
            count(&failure);
            if !again || tries >= TRIES {
                return Err(failure);
            }
            tokio::time::sleep(crate::workers::backoff::jittered(pause / 2, pause)).await;
            pause *= 3;
            tries += 1;
        }
    }

    /// One try; with a failure, whether another makes sense.
    async fn once(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        form: &Form,
    ) -> Result<Value, (Failure, bool)> {
        let headers = self.headers(key).map_err(|what| (Failure::Unknown(what), false))?;
        let answer = self
            .egress
            .fetch(Call {
                method,
                url: format!("{}{path}", self.account.api_base),
                headers,
                body: form.encode(),
                deadline: TRY_FOR,
                answer_len_max: ANSWER_LEN_MAX,
            })
            .await;
        match answer {
            Ok(answer) => read(&answer),
            Err(NoAnswer::Refused(refusal)) => {
                Err((Failure::Unknown(format!("its address {refusal}")), false))
            }
            Err(other) => Err((Failure::Unknown(format!("{other:?}")), true)),
        }
    }

    fn headers(&self, key: Option<&str>) -> Result<HeaderMap, String> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| "not a header".to_owned());
        let mut bearer = value(&format!("Bearer {}", self.account.secret_key.expose_secret()))?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert("stripe-version", HeaderValue::from_static(VERSION));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("affiliateos"));
        if let Some(key) = key {
            headers.insert("idempotency-key", value(key)?);
        }
        Ok(headers)
    }
}

/// What an answer says, and whether the call should be made again.
fn read(answer: &Fetched) -> Result<Value, (Failure, bool)> {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if answer.status.is_success() {
        // Done, but what was done cannot be read: only the same call again can tell.
        return body.ok_or((Failure::Unknown("an answer that is not JSON".to_owned()), true));
    }
    let code = body.as_ref().and_then(|body| {
        let error = body.get("error")?;
        error.get("code").or_else(|| error.get("type"))?.as_str().map(str::to_owned)
    });
    let told = answer.headers.get("stripe-should-retry").map(|value| value.as_bytes() == b"true");
    // 409: the same key is in use at this moment, or a lock could not be had. 429: too many calls.
    let status = answer.status.as_u16();
    let passing = answer.status.is_server_error() || [409, 429].contains(&status);
    if passing {
        return Err((Failure::Unknown(format!("status {status}")), told.unwrap_or(true)));
    }
    Err((Failure::Refused { status, code: code.unwrap_or_default() }, told.unwrap_or(false)))
}

fn count(failure: &Failure) {
    let outcome = match failure {
        Failure::Refused { .. } => "refused",
        Failure::Unknown(_) => "unknown",
    };
    metrics::counter!("cp_payment_call_failures_total", "provider" => "stripe", "outcome" => outcome)
        .increment(1);
}
