//! Events that never came: payments that have been pending for long are looked up.

use super::apply;
use crate::app::App;
use crate::error::{Error, Result};
use crate::features::wallet::model::{Provider, Topup};
use crate::features::wallet::payments as wallet;
use crate::stripe::client::{Failure, Stripe};
use crate::stripe::event::Session;
use crate::workers::jobs::Turn;
use chrono::TimeDelta;

/// An event takes seconds; a person takes minutes. Looking costs a call each.
const LOOK_AFTER: TimeDelta = TimeDelta::minutes(10);
/// Pages to pay on live for a day; one that we never got is over then too.
const OVER_AFTER: TimeDelta = TimeDelta::hours(25);
const LOOKS_MAX: i64 = 20;

/// The job: looks at the payments that have waited longest.
pub async fn job(app: App) -> Result<Turn> {
    let Some(account) = &app.config().stripe else { return Ok(Turn::Idle) };
    let now = app.clock().now();
    let mut conn = app.db_worker().acquire().await?;
    let waiting = wallet::pending(&mut conn, Provider::Stripe, now - LOOK_AFTER, LOOKS_MAX).await?;
    drop(conn);
    let stripe = Stripe::new(account, app.services());
    for topup in &waiting {
        look(&app, stripe, topup).await?;
    }
    Ok(Turn::Idle)
}

async fn look(app: &App, stripe: Stripe<'_>, topup: &Topup) -> Result<()> {
    let session = match &topup.provider_ref {
        None => None,
        Some(name) => match stripe.get(&format!("/v1/checkout/sessions/{name}")).await {
            Ok(found) => Session::read(&found),
            Err(Failure::Refused { .. }) => None,
            Err(failure) => return Err(Error::unavailable(failure)),
        },
    };
    let now = app.clock().now();
    let mut tx = app.db_worker().begin().await?;
    let ending = match &session {
        Some(session) => (session.status.as_deref() == Some("expired")).then_some("expired"),
        None => (now - topup.created_at > OVER_AFTER).then_some("expired"),
    };
    match session {
        Some(session) if session.paid || ending.is_some() => {
            apply::checkout(&mut tx, app.clock(), &session, ending, now).await?;
        }
        Some(session) => {
            // Looked at: the next look is as far away as this one was.
            wallet::bind(&mut tx, app.clock(), topup.id, &session.id, None).await?;
        }
        None => {
            if let (Some(status), Some(kept)) = (ending, wallet::lock(&mut tx, topup.id).await?) {
                wallet::given_up(&mut tx, app.clock(), &kept, status).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}
