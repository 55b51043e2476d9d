//! The demo accounts: an advertiser with a program, an affiliate with a link, made through the
//! public API like anybody's.
//!
//! Each step is written down before the next, so a seeding that was cut short goes on where it
//! stopped, and nothing is made twice.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http;
use crate::interrupt::Interrupt;
use crate::layout::{self, Layout};
use crate::progress::{Step, note};
use crate::stack::Ports;

/// Where the demo link leads.
const DESTINATION: &str = "https://example.com/pricing";

/// Ids and keys of the demo accounts.
#[derive(Clone, Debug)]
pub struct Demo {
    pub advertiser_key: String,
    pub affiliate_key: String,
    pub token: String,
    pub tracking_url: String,
}

/// What is made so far; the file `demo.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Made {
    advertiser_id: Option<String>,
    advertiser_key: Option<String>,
    affiliate_id: Option<String>,
    affiliate_key: Option<String>,
    program_id: Option<String>,
    partnership_id: Option<String>,
    link_id: Option<String>,
    token: Option<String>,
    tracking_url: Option<String>,
}

impl Demo {
    /// Finds the demo accounts, or makes what is missing of them.
    pub fn ensure(layout: &Layout, ports: &Ports, interrupt: &Interrupt) -> Result<Self> {
        let path = layout.state.join("demo.json");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut made: Made = serde_json::from_str(&text).unwrap_or_default();
        if let Some(key) = &made.advertiser_key {
            let reply = http::send(ports.api, "GET", "/api/agents/me", &[bearer(key).as_header()], None)?;
            if reply.status == 401 {
                note("  ! the demo accounts are not in this database: making new ones");
                made = Made::default();
            }
        }
        if let Some(demo) = made.complete(ports) {
            return Ok(demo);
        }
        let step = Step::start("Seeding a demo advertiser, affiliate, program and link");
        while made.complete(ports).is_none() {
            interrupt.check()?;
            made.next(&Api { port: ports.api })?;
            let text =
                serde_json::to_string_pretty(&made).context("cannot write the demo accounts as JSON")?;
            layout::write_private(&path, &text)?;
        }
        step.done("");
        made.complete(ports).context("the demo is not complete")
    }
}

impl Made {
    fn complete(&self, ports: &Ports) -> Option<Demo> {
        let token = self.token.clone()?;
        Some(Demo {
            advertiser_key: self.advertiser_key.clone()?,
            affiliate_key: self.affiliate_key.clone()?,
            // Not the address of the day it was made: the ports may have changed since.
            tracking_url: format!("http://127.0.0.1:{}/api/track/{token}", ports.edge),
            token,
        })
    }

    /// Makes the first thing that is missing.
    fn next(&mut self, api: &Api) -> Result<()> {
        match (&self.advertiser_key, &self.affiliate_key, &self.program_id, &self.partnership_id) {
            (None, ..) => {
                let agent = api.post("/api/auth/signup", None, &json!({"name": "Demo Advertiser"}))?;
                self.advertiser_id = Some(text(&agent, "id")?);
                self.advertiser_key = Some(text(&agent, "api_key")?);
            }
            (_, None, ..) => {
                let agent = api.post("/api/auth/signup", None, &json!({"name": "Demo Affiliate"}))?;
                self.affiliate_id = Some(text(&agent, "id")?);
                self.affiliate_key = Some(text(&agent, "api_key")?);
            }
            (Some(key), _, None, _) => {
                let program = json!({
                    "name": "Demo Program",
                    "niche": "saas",
                    "commission_type": "percentage",
                    "commission_value": 20,
                    "approval_mode": "auto",
                });
                let program = api.post("/api/programs", Some(key), &program)?;
                self.program_id = Some(text(&program, "id")?);
            }
            (_, Some(key), Some(program), None) => {
                let path = format!("/api/network/join/{program}");
                let partnership =
                    api.post(&path, Some(key), &json!({"message": "I can promote this to AI founders"}))?;
                self.partnership_id = Some(text(&partnership, "id")?);
            }
            (_, Some(key), _, Some(partnership)) => {
                let path = format!("/api/partnerships/{partnership}/links");
                let link = api.post(&path, Some(key), &json!({"destination_url": DESTINATION}))?;
                self.link_id = Some(text(&link, "id")?);
                self.tracking_url = Some(text(&link, "tracking_url")?);
                self.token = Some(text(&link, "token")?);
            }
        }
        Ok(())
    }
}

struct Api {
    port: u16,
}

impl Api {
    fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Result<Value> {
        let bearer = key.map(bearer);
        let headers: Vec<_> = bearer.iter().map(Bearer::as_header).collect();
        let reply = http::send(self.port, "POST", path, &headers, Some(&body.to_string()))?;
        if reply.status != 201 {
            bail!("POST {path} answered {}: {}", reply.status, reply.body);
        }
        serde_json::from_str(&reply.body).with_context(|| format!("POST {path} did not answer with JSON"))
    }
}

struct Bearer(String);

fn bearer(key: &str) -> Bearer {
    Bearer(format!("Bearer {key}"))
}

impl Bearer {
    fn as_header(&self) -> (&'static str, &str) {
        ("authorization", &self.0)
    }
}

/// A field that must be text.
fn text(object: &Value, field: &str) -> Result<String> {
    let value = object.get(field).and_then(Value::as_str);
    value.map(str::to_owned).with_context(|| format!("the reply has no text `{field}`: {object}"))
}
