//! Metrics that only the database knows: how far clicks and links have come, and whether the sum holds.

use super::queries;
use crate::app::App;
use crate::error::Result;
use crate::workers::jobs::Turn;
use chrono::{DateTime, Utc};

/// The job.
pub async fn job(app: App) -> Result<Turn> {
    let now = app.clock().now();
    let mut conn = app.db_worker().acquire().await?;
    let row = queries::load_pipeline(&mut conn).await?;
    let age =
        |since: Option<DateTime<Utc>>| since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0));
    for (name, value) in [
        ("cp_stored_clicks", row.stored),
        ("cp_parked_clicks", row.parked),
        ("cp_declared_loss_clicks", row.declared_loss),
        ("cp_unaccounted_clicks", row.off),
        ("cp_parked_frames", row.parked_frames),
        ("cp_fold_waiting_batches", row.waiting_batches),
        ("cp_outbox_rows", row.outbox),
        ("cp_undated_clicks", i64::from(row.undated)),
    ] {
        metrics::gauge!(name).set(value as f64);
    }
    metrics::gauge!("cp_fold_waiting_age").set(age(row.waiting_since));
    metrics::gauge!("cp_outbox_age").set(age(row.outbox_since));
    if row.off > 0 {
        tracing::error!(clicks = row.off, "clicks are unaccounted for; see `control-plane reconcile`");
    }
    Ok(Turn::Idle)
}
