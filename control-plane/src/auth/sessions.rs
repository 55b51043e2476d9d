//! Sessions of people in a browser: begun with an agent key, which is then no longer needed.
//!
//! A session is 32 random bytes in a cookie; only their SHA-256 is stored. It ends [`KEPT_FOR`] after it
//! began, when it is signed out, and with its key: a revoked key's sessions are over on every node at once,
//! because both are looked up on every request. Limit: [`PER_KEY_MAX`] of one key, the oldest gives way.

use super::api_keys::{Digest, Kind};
use super::extract::{Agent, key_holder};
use super::queries;
use crate::app::App;
use crate::error::Result;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

/// How long a session lasts.
pub const KEPT_FOR: TimeDelta = TimeDelta::hours(12);
/// Sessions of one key at most.
pub const PER_KEY_MAX: i64 = 10;
const TOKEN_LEN: usize = 64;

/// What the cookie holds.
#[derive(Clone)]
pub struct SessionToken(SecretString);

impl SessionToken {
    fn generate() -> Self {
        let mut bytes = [0u8; TOKEN_LEN / 2];
        getrandom::fill(&mut bytes).expect("the operating system has randomness");
        Self(hex::encode(bytes).into())
    }

    /// Reads a cookie's value; nothing when it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == TOKEN_LEN && hex).then(|| Self(text.to_owned().into()))
    }

    /// The cookie's value.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// What forms of this session carry, to show that they come from its own pages. Says nothing of the token.
    pub fn form_token(&self) -> String {
        hex::encode(Sha256::new().chain_update("dashboard form v1 ").chain_update(self.reveal()).finalize())
    }

    fn digest(&self) -> Digest {
        Digest::of(self.reveal())
    }
}

/// Begins a session with an agent key; any other text is refused like a bad bearer key.
pub async fn begin(app: &App, key: &str) -> Result<SessionToken> {
    let agent = key_holder(app, key, Kind::Agent).await?;
    let token = SessionToken::generate();
    let now = app.clock().now();
    let mut tx = app.begin().await?;
    queries::lock_keys(&mut tx, agent.id).await?;
    queries::delete_surplus_sessions(&mut tx, agent.key_id, PER_KEY_MAX - 1, now).await?;
    queries::insert_session(&mut tx, &token.digest(), agent.key_id, now, now + KEPT_FOR).await?;
    tx.commit().await?;
    Ok(token)
}

/// Whose session it is, while it lasts.
pub async fn find(app: &App, token: &SessionToken) -> Result<Option<Agent>> {
    let mut conn = app.write().await?;
    queries::find_session(&mut conn, &token.digest(), app.clock().now()).await
}

/// Ends a session.
pub async fn end(app: &App, token: &SessionToken) -> Result<()> {
    let mut conn = app.write().await?;
    queries::delete_session(&mut conn, &token.digest()).await?;
    Ok(conn.keep().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_ours_or_nothing() {
        let token = SessionToken::generate();
        assert_eq!(SessionToken::parse(token.reveal()).expect("it is ours").reveal(), token.reveal());
        for bad in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert!(SessionToken::parse(bad).is_none(), "{bad}");
        }
        assert!(!token.form_token().contains(token.reveal()));
    }
}
