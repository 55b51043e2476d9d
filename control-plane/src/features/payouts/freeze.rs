//! Payouts wait in a database that was restored or failed over.
//!
//! Such a database may have forgotten payouts that were already sent, and would send them again. So every
//! step that moves money asks first whether this is still the incarnation (cluster and timeline) in which
//! payouts were last known to be right. It is not after a promotion or a restore; then an operator compares
//! the payouts listed with what the payment provider did, by payout id, and says so with
//! `control-plane payouts thaw`. Recording what happened elsewhere (mark-paid, mark-failed) goes on.

use super::queries;
use crate::error::{Code, Error, Result};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// When a caller may look again.
const LOOK_AGAIN_SECONDS: u32 = 300;

/// Whether payouts wait.
pub async fn is_frozen(conn: &mut PgConnection) -> Result<bool> {
    Ok(!queries::is_known_incarnation(conn).await?)
}

/// Refuses while payouts wait.
pub async fn refuse_if_frozen(conn: &mut PgConnection) -> Result<()> {
    if !is_frozen(conn).await? {
        return Ok(());
    }
    let mut error = Error::new(
        Code::PayoutsFrozen,
        "Payouts wait: the database was restored, and payouts sent before may be missing in it.",
        "Send the same request again later; nothing is lost. The operator compares payouts and releases them.",
    );
    error.retry_after = Some(LOOK_AGAIN_SECONDS);
    Err(error)
}

/// Payouts may go on in this incarnation: somebody has compared them.
pub async fn thaw(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<()> {
    queries::save_incarnation(conn, now).await
}
