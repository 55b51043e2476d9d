//! Metering. The caller owns the transaction.

use super::queries;
use crate::error::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Meters one conversion of an advertiser. Last in its transaction: it locks the account's month.
pub async fn charge_conversion(
    conn: &mut PgConnection,
    advertiser_number: i32,
    now: DateTime<Utc>,
) -> Result<()> {
    queries::add_included(conn, advertiser_number, "conversions", 1, now).await
}
