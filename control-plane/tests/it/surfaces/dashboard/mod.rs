//! `/my-dashboard`: signing in and out, what its pages say, and what they must not.

mod browser;
mod hostile;
mod pages;
mod sessions;

use crate::harness::{Client, Reply, TestApp};
use std::time::Duration;

/// Nothing that is watched takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser without scripts: it has a session, and reads pages.
pub(crate) struct Browser {
    anyone: Client,
    cookie: String,
}

impl Browser {
    /// Signs in with an agent's key.
    pub(crate) async fn of(app: &TestApp, agent: &Client) -> Self {
        let reply = app.anyone().get(&format!("/my-dashboard?key={}", agent.key())).await;
        assert_eq!(reply.status, 303, "{reply}");
        Self { anyone: app.anyone(), cookie: cookie_of(&reply) }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.anyone.send(self.anyone.request("GET", path).header("cookie", &self.cookie)).await
    }

    /// A page that is there.
    pub(crate) async fn page(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {reply}");
        reply.text
    }

    /// Watches events.
    pub(crate) async fn watch(&self, path: &str) -> Watching {
        let request = self.anyone.request("GET", path).header("cookie", &self.cookie);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Watching(response)
    }

    /// Sends a form as a page of ours does, with the token of the overview.
    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let page = self.page("/my-dashboard").await;
        let token =
            page.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        self.send_with(token, path, fields).await
    }

    pub(crate) async fn send_with(&self, token: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        let fields = fields.iter().copied().chain([("token", token)]);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.anyone.request("POST", path).header("cookie", &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.anyone.send(request.header("sec-fetch-site", "same-origin").body(body)).await
    }
}

/// A stream of events that is read.
pub(crate) struct Watching(reqwest::Response);

impl Watching {
    /// What it said when this was in it.
    pub(crate) async fn until(mut self, wanted: &str) -> String {
        let mut said = String::new();
        let reading = async {
            while let Some(chunk) = self.0.chunk().await.unwrap() {
                said.push_str(&String::from_utf8_lossy(&chunk));
                if said.contains(wanted) {
                    return said;
                }
            }
            panic!("it ended with: {said}");
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it says so in time")
    }

    /// Reads to its end.
    pub(crate) async fn ends(mut self) {
        let reading = async { while self.0.chunk().await.unwrap().is_some() {} };
        tokio::time::timeout(PATIENCE, reading).await.expect("it ends in time");
    }
}

/// The session a reply hands out, as it is sent back.
fn cookie_of(reply: &Reply) -> String {
    let cookie = reply.headers["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}
