//! `Idempotency-Key`: one effect and one answer per key, however often a request is sent.
//!
//! The key's row and the answer are written in the transaction of the effect, so a crash leaves both or
//! neither. A second request with the same key waits for the first (on the row's lock) and then gets its
//! answer. Only answers of requests that took effect are kept: a refusal changed nothing, and the same
//! request may do better later. Kept for 24 h.
//!
//! Some answers show a key that is shown once. So rows hold neither key nor answer: the row is found by a
//! keyed digest of scope and key, and the answer is sealed under a key made from scope, `Idempotency-Key`,
//! method, path and body. Who has a copy of the database, even with the deployment's secret, cannot open it
//! without guessing the `Idempotency-Key`; who sends the same key with another body cannot either.
//!
//! The scope keeps callers apart: the agent's id or, where there is no agent yet (sign-up), a keyed hash of
//! the client's network. Without it, two strangers who send a copied example (same key, same body) would
//! share one account. The price: a sign-up repeated from another network makes a second account.

use crate::app::App;
use crate::db::Tx;
use crate::error::{Code, Error, Result};
use crate::seal;
use crate::web::extract::Payload;
use crate::web::respond::{self, ApiError, Reply};
use crate::workers::jobs::Turn;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::Secret;
use sqlx::PgConnection;
use std::ops::{Deref, DerefMut};

/// How long an answer is kept.
pub const KEPT_FOR: TimeDelta = TimeDelta::hours(24);

/// The transaction of one request and the answer it will leave behind.
pub struct Unit {
    tx: Tx,
    slot: Option<Slot>,
}

/// Where an answer is kept and what opens it.
struct Slot {
    scope: String,
    row: String,
    fingerprint: Vec<u8>,
    seal: [u8; 32],
}

impl Deref for Unit {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for Unit {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

impl Payload {
    /// Opens the request's transaction. With an `Idempotency-Key` that already has its answer, the answer
    /// is returned as the error, which ends the handler. `scope` keeps callers' keys apart: the agent's id.
    pub async fn unit(&self, app: &App, scope: &str) -> Result<Unit, ApiError> {
        let mut tx = app.begin().await?;
        let Some(key) = &self.idempotency_key else {
            return Ok(Unit { tx, slot: None });
        };
        let slot = Slot::new(&app.config().secret, scope, key, self.fingerprint());
        if claim(&mut tx, &slot, app.clock().now()).await? {
            return Ok(Unit { tx, slot: Some(slot) });
        }
        let kept = stored(&mut tx, &slot).await?;
        Err(slot.answer(kept)?)
    }

    /// For requests that ask somebody else before their own transaction: the answer the key already has, as
    /// the error that ends the handler.
    pub async fn replayed(&self, app: &App, scope: &str) -> Result<(), ApiError> {
        let Some(key) = &self.idempotency_key else { return Ok(()) };
        let slot = Slot::new(&app.config().secret, scope, key, self.fingerprint());
        let mut conn = app.write().await.map_err(Error::from)?;
        match find(&mut conn, &slot, app.clock().now()).await? {
            Some(kept) => Err(slot.answer(kept)?),
            None => Ok(()),
        }
    }

    /// Names this request: the same one sent again has the same name, any other another. None without a key.
    pub fn request_name(&self, app: &App, scope: &str) -> Option<String> {
        let key = self.idempotency_key.as_ref()?;
        let slot = Slot::new(&app.config().secret, scope, key, self.fingerprint());
        let digest = Sha256::new().chain_update(&slot.row).chain_update(&slot.fingerprint).finalize();
        Some(hex::encode(digest))
    }

    fn fingerprint(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        for part in [self.method.as_str().as_bytes(), self.path.as_bytes(), self.raw()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().to_vec()
    }
}

impl Slot {
    fn new(secret: &Secret, scope: &str, key: &str, fingerprint: Vec<u8>) -> Self {
        let digest = |label: &str, parts: &[&[u8]]| -> [u8; 32] {
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret.derive(label)).expect("HMAC takes any key");
            for part in parts {
                mac.update(&(part.len() as u64).to_le_bytes());
                mac.update(part);
            }
            mac.finalize().into_bytes().into()
        };
        let row = digest("idempotency row v1", &[scope.as_bytes(), key.as_bytes()]);
        let seal = digest("idempotency answer v1", &[scope.as_bytes(), key.as_bytes(), &fingerprint]);
        Self { scope: scope.to_owned(), row: hex::encode(row), fingerprint, seal }
    }

    /// What the key's row answers to this request.
    fn answer(&self, (theirs, status, body): Kept) -> Result<ApiError> {
        if theirs != self.fingerprint {
            return Err(Error::new(
                Code::IdempotencyKeyReused,
                "This Idempotency-Key was used with another request.",
                "Send a new Idempotency-Key for a new request; repeat a request with exactly the same method, path and body.",
            ));
        }
        let body = body.and_then(|sealed| seal::open(&self.seal, &sealed));
        Ok(ApiError::Replay(Box::new(replay(status, body)?)))
    }
}

impl Unit {
    /// Commits the effect together with the answer, and gives the answer.
    pub async fn finish<T: Serialize>(mut self, status: StatusCode, body: &T) -> Reply {
        let bytes = serde_json::to_vec(body).map_err(Error::bug)?;
        if let Some(slot) = &self.slot {
            store(&mut self.tx, slot, status, &seal::seal(&slot.seal, &bytes)).await?;
        }
        self.tx.commit().await?;
        Ok(respond::json_bytes(status, bytes))
    }

    /// 201 with what was made.
    pub async fn created<T: Serialize>(self, body: &T) -> Reply {
        self.finish(StatusCode::CREATED, body).await
    }

    /// 200 with how it is now.
    pub async fn ok<T: Serialize>(self, body: &T) -> Reply {
        self.finish(StatusCode::OK, body).await
    }
}

fn replay(status: Option<i16>, body: Option<Vec<u8>>) -> Result<Response> {
    let status = status.and_then(|status| StatusCode::from_u16(status.unsigned_abs()).ok());
    let (Some(status), Some(body)) = (status, body) else {
        return Err(Error::bug(anyhow::anyhow!("an idempotency key was committed without its answer")));
    };
    let mut response = respond::json_bytes(status, body);
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

/// Takes the key for this request; `false` when another request has it. Waits for one in flight.
async fn claim(conn: &mut PgConnection, slot: &Slot, now: DateTime<Utc>) -> Result<bool> {
    let claimed = sqlx::query(
        "INSERT INTO idempotency_keys AS kept (scope, key, fingerprint, created_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (scope, key) DO UPDATE
            SET fingerprint = EXCLUDED.fingerprint, status = NULL, body = NULL, created_at = EXCLUDED.created_at
          WHERE kept.created_at <= $5",
    )
    .bind(&slot.scope)
    .bind(&slot.row)
    .bind(&slot.fingerprint)
    .bind(now)
    .bind(now - KEPT_FOR)
    .execute(conn)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// A key's row: the request it belongs to, the status and the sealed body of its answer.
type Kept = (Vec<u8>, Option<i16>, Option<Vec<u8>>);

/// The row of a key that is still kept.
async fn find(conn: &mut PgConnection, slot: &Slot, now: DateTime<Utc>) -> Result<Option<Kept>> {
    Ok(sqlx::query_as(
        "SELECT fingerprint, status, body
           FROM idempotency_keys
          WHERE scope = $1 AND key = $2 AND created_at > $3",
    )
    .bind(&slot.scope)
    .bind(&slot.row)
    .bind(now - KEPT_FOR)
    .fetch_optional(conn)
    .await?)
}

async fn stored(conn: &mut PgConnection, slot: &Slot) -> Result<Kept> {
    Ok(sqlx::query_as(
        "SELECT fingerprint, status, body
           FROM idempotency_keys
          WHERE scope = $1 AND key = $2",
    )
    .bind(&slot.scope)
    .bind(&slot.row)
    .fetch_one(conn)
    .await?)
}

async fn store(conn: &mut PgConnection, slot: &Slot, status: StatusCode, sealed: &[u8]) -> Result<()> {
    sqlx::query(
        "UPDATE idempotency_keys
            SET status = $3, body = $4
          WHERE scope = $1 AND key = $2",
    )
    .bind(&slot.scope)
    .bind(&slot.row)
    .bind(status.as_u16() as i16)
    .bind(sealed)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets answers that are no longer given, at most `limit`; says how many.
pub async fn forget_old(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<u64> {
    let forgotten = sqlx::query(
        "DELETE FROM idempotency_keys
          WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM idempotency_keys WHERE created_at <= $1 ORDER BY created_at LIMIT $2
                   FOR UPDATE SKIP LOCKED))",
    )
    .bind(now - KEPT_FOR)
    .bind(limit)
    .execute(conn)
    .await?;
    Ok(forgotten.rows_affected())
}

/// Rows forgotten in one turn.
const FORGET_MAX: i64 = 1000;

/// The job: forgets a batch, again at once while there is more.
pub async fn forget_job(app: App) -> Result<Turn> {
    let mut conn = app.db_worker().acquire().await?;
    let forgotten = forget_old(&mut conn, app.clock().now(), FORGET_MAX).await?;
    Ok(if forgotten == FORGET_MAX.unsigned_abs() { Turn::Again } else { Turn::Idle })
}
