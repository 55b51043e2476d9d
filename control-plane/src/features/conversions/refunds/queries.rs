//! SQL of refunds.

use crate::error::Result;
use crate::features::conversions::model::Conversion;
use crate::money::Micros;
use chrono::{DateTime, Utc};
use shared::id::{CommissionId, ConversionId, RefundId};
use sqlx::PgConnection;

/// What a refund stores.
pub(super) struct NewRefund<'a> {
    pub(super) id: RefundId,
    pub(super) amount: Micros,
    pub(super) commission: Micros,
    pub(super) reversal: Option<CommissionId>,
    pub(super) reason: Option<&'a str>,
    pub(super) external_refund_id: Option<&'a str>,
    pub(super) now: DateTime<Utc>,
}

/// Inserts a refund; `false` when its `external_refund_id` is taken in the program.
pub(super) async fn insert_refund(
    conn: &mut PgConnection,
    conversion: &Conversion,
    new: &NewRefund<'_>,
) -> Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO refunds (id, advertiser_id, conversion_id, program_id, amount_micros, currency,
                              commission_micros, reversal_id, reason, external_refund_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (advertiser_id, program_id, external_refund_id) WHERE external_refund_id IS NOT NULL DO NOTHING",
    )
    .bind(new.id)
    .bind(conversion.advertiser_id)
    .bind(conversion.id)
    .bind(conversion.program_id)
    .bind(new.amount)
    .bind(&conversion.currency)
    .bind(new.commission)
    .bind(new.reversal)
    .bind(new.reason)
    .bind(new.external_refund_id)
    .bind(new.now)
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The refund that has an `external_refund_id` in the conversion's program.
pub(super) async fn find_refund(
    conn: &mut PgConnection,
    conversion: &Conversion,
    external_refund_id: &str,
) -> Result<Option<RefundId>> {
    Ok(sqlx::query_scalar(
        "SELECT id FROM refunds WHERE advertiser_id = $1 AND program_id = $2 AND external_refund_id = $3",
    )
    .bind(conversion.advertiser_id)
    .bind(conversion.program_id)
    .bind(external_refund_id)
    .fetch_optional(conn)
    .await?)
}

/// Records how much of a locked sale went back.
pub(super) async fn update_refunded(
    conn: &mut PgConnection,
    id: ConversionId,
    refunded: Micros,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("UPDATE conversions SET refunded_micros = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(refunded)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}
