//! The API as a client uses it, and the cast of a run: an advertiser, an affiliate, a program, a link.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// A client with a key.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    origin: String,
    key: Option<String>,
}

/// Who plays in a run.
#[derive(Clone)]
pub(crate) struct Cast {
    /// Owns the program.
    pub(crate) advertiser: Api,
    /// Promotes it.
    pub(crate) affiliate: Api,
    /// The program.
    pub(crate) program: String,
    /// The affiliate's place in it.
    pub(crate) partnership: String,
    /// The affiliate's id.
    pub(crate) affiliate_id: String,
    /// The tracking link's token.
    pub(crate) token: String,
    /// Where the link leads.
    pub(crate) destination: String,
}

impl Api {
    /// A client without a key.
    pub(crate) fn new(origin: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { http, origin: origin.to_owned(), key: None })
    }

    /// The key it calls with.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The same client with this key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// Sends a request; any status but 2xx is an error that shows the reply.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut request = self.http.request(method.parse()?, format!("{}{path}", self.origin));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let reply = request.send().await.with_context(|| format!("{method} {path} got no reply"))?;
        let (status, text) = (reply.status(), reply.text().await?);
        ensure!(status.is_success(), "{method} {path} answered {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{method} {path} answered no JSON: {text}"))
    }

    /// Sends a request; gives the status and the reply whatever they are. `None` when there was none.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let mut request = self.http.request(method.parse().ok()?, format!("{}{path}", self.origin));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let reply = request.send().await.ok()?;
        Some((reply.status().as_u16(), reply.json().await.unwrap_or_default()))
    }

    /// A POST as bytes, for a connection of one's own.
    pub(crate) fn raw_post(&self, path: &str, idempotency_key: &str, body: &Value) -> String {
        let body = body.to_string();
        format!(
            "POST {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {idempotency_key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.key.as_deref().unwrap_or_default(),
            body.len()
        )
    }

    /// Signs up; gives the client with its key, and the id.
    pub(crate) async fn sign_up(&self, name: &str) -> anyhow::Result<(Self, String)> {
        let account = self.call("POST", "/api/auth/signup", Some(json!({"name": name}))).await?;
        let key = text(&account, "api_key")?;
        Ok((self.with_key(&key), text(&account, "id")?))
    }

    /// Signs both sides up and makes a link that is ready to be clicked.
    pub(crate) async fn cast(&self) -> anyhow::Result<Cast> {
        let (advertiser, _) = self.sign_up("Load Advertiser").await?;
        let (affiliate, affiliate_id) = self.sign_up("Load Affiliate").await?;
        let program = json!({"name": "Load", "commission_type": "percentage", "commission_value": 20, "approval_mode": "auto"});
        let program = text(&advertiser.call("POST", "/api/programs", Some(program)).await?, "id")?;
        let joined = affiliate.call("POST", &format!("/api/network/join/{program}"), Some(json!({}))).await?;
        let partnership = text(&joined, "id")?;
        let destination = "https://shop.example/pricing?plan=pro".to_owned();
        let link = affiliate
            .call(
                "POST",
                &format!("/api/partnerships/{partnership}/links"),
                Some(json!({"destination_url": destination})),
            )
            .await?;
        Ok(Cast {
            token: text(&link, "token")?,
            advertiser,
            affiliate,
            program,
            partnership,
            affiliate_id,
            destination,
        })
    }
}

/// A member that must be a text.
pub(crate) fn text(value: &Value, member: &str) -> anyhow::Result<String> {
    value[member].as_str().map(str::to_owned).with_context(|| format!("{member} is missing in {value}"))
}
