//! `control-plane payouts status|thaw`.

use super::{Outcome, table};
use crate::config::PayoutsAction;
use crate::error::Result;
use crate::features::payouts::{freeze, queries};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Payouts shown to be compared.
const SHOWN_MAX: i64 = 200;

/// Runs the command.
pub async fn run(conn: &mut PgConnection, action: &PayoutsAction, now: DateTime<Utc>) -> Result<Outcome> {
    match action {
        PayoutsAction::Status => status(conn).await,
        PayoutsAction::Thaw => {
            freeze::thaw(conn, now).await?;
            Ok(Outcome { text: "Payouts go on.".to_owned(), well: true })
        }
    }
}

/// What to compare with the payment provider, by payout id: what is on its way, and what was made last.
async fn status(conn: &mut PgConnection) -> Result<Outcome> {
    let frozen = freeze::is_frozen(conn).await?;
    let payouts = queries::list_to_compare(conn, SHOWN_MAX).await?;
    let rows: Vec<_> = payouts
        .iter()
        .map(|payout| {
            vec![
                payout.id.to_string(),
                payout.method.as_str().to_owned(),
                payout.status.as_str().to_owned(),
                payout.amount_micros.to_string(),
                payout.reference.clone().unwrap_or_else(|| "-".to_owned()),
                payout.created_at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ]
        })
        .collect();
    let shown = table(&["payout", "method", "status", "amount", "reference", "created"], &rows);
    let said = if frozen {
        "FROZEN: this database was restored or failed over. Compare these, and what the payment provider sent \
         after the last of them, by payout id; then run `control-plane payouts thaw`."
    } else {
        "Payouts go on."
    };
    Ok(Outcome { text: format!("{shown}\n\n{said}"), well: !frozen })
}
