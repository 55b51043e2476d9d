//! Taking a payment: check, keep, settle, credit. Calls to others are made between transactions.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::queries::{self, Kept, NewPayment};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::features::wallet::model::{self, Opening, Provider, Topup};
use crate::features::wallet::payments as wallet;
use crate::money::Micros;
use crate::workers::jobs::Turn;
use crate::x402::chain::{self, Fate};
use crate::x402::facilitator::{self, Settlement, Verdict};
use crate::x402::payment::Payment;
use crate::x402::terms::{Resource, Terms};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::id::{AgentId, TopupId};
use std::time::Duration;

/// Who settles a payment keeps it for this long: the settlement and both looks at the chain.
const LEASE: TimeDelta = TimeDelta::seconds(75);
/// A payment that is still open is looked at again after this.
const LOOK_AFTER: TimeDelta = TimeDelta::seconds(15);
/// The same payment shown twice at once: the second waits for the first.
const WAIT_FOR: Duration = Duration::from_secs(40);
const WAIT_STEP: Duration = Duration::from_millis(100);

/// A payment that is credited.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Its top-up.
    pub topup: Topup,
    /// Where it moved.
    pub transaction: String,
    /// Who paid.
    pub payer: String,
    /// Version of the protocol it was shown in.
    pub version: u8,
}

impl Settled {
    /// What the payer's client is told.
    pub fn receipt(&self, terms: &Terms) -> Value {
        let network = match self.version {
            1 => terms.network_v1().map(str::to_owned).unwrap_or_default(),
            _ => terms.network(),
        };
        json!({"success": true, "transaction": self.transaction, "network": network, "payer": self.payer})
    }
}

/// What a request shows beside its body.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The value of the payment header.
    pub header: &'a str,
    /// The request's own URL.
    pub url: &'a str,
    /// The reference and the publisher of its attribution header.
    pub attribution: (Option<&'a str>, Option<&'a str>),
}

/// A payment that cannot be taken, and what would be taken instead.
fn refused(reason: &str, wanted: Option<Micros>) -> Error {
    Error::new(
        Code::PaymentRequired,
        format!("The payment was not taken: {reason}."),
        "Sign a new payment for exactly what `accepts` and the PAYMENT-REQUIRED header ask for, and send the request again with it.",
    )
    .lacking(wanted.unwrap_or(model::TOPUP_STEP))
    .with("reason", reason)
}

/// Takes the payment that a request shows, for the wallet of `agent`. `wanted`: the one amount that will do;
/// else any amount a top-up can have.
pub async fn take(
    app: &App,
    terms: &Terms,
    agent: AgentId,
    wanted: Option<Micros>,
    shown: Shown<'_>,
) -> Result<Settled> {
    let now = app.clock().now();
    let payment =
        Payment::read(shown.header, terms, now.timestamp()).map_err(|reason| refused(reason, wanted))?;
    let fits = wanted.is_none_or(|wanted| wanted == payment.amount)
        && model::topup_amount("amount", payment.amount).is_ok();
    let reference = payment.reference(terms);
    let mut conn = app.write().await?;
    let known = queries::find(&mut conn, &reference).await?;
    drop(conn);
    if let Some(kept) = known {
        return again(app, terms, agent, &payment, kept).await;
    }
    if !fits {
        return Err(refused("it is for another amount", wanted));
    }
    let requirements = requirements(terms, &payment, shown.url);
    let verdict = facilitator::verify(app.services(), terms, &payment, &requirements).await;
    if let Verdict::Bad(reason) = verdict.map_err(away)? {
        return Err(refused(&reason, wanted));
    }
    // Nothing of it can be in an earlier block: what is looked for later is looked for from here on.
    let from_block = chain::height(app.services(), terms).await.map_err(away)?;
    let mut tx = app.begin().await?;
    let opening = Opening {
        agent,
        provider: Provider::X402,
        amount: payment.amount,
        request: None,
        provider_ref: Some(&reference),
    };
    let topup = wallet::open(&mut tx, app.clock(), &opening).await?;
    let new = NewPayment {
        topup: topup.id,
        agent,
        reference: &reference,
        payload: &payment.payload,
        requirements: &requirements,
        from_block,
        lease_until: now.checked_add_signed(LEASE).unwrap_or(now),
        attribution: shown.attribution,
    };
    let first = queries::insert(&mut tx, &new, now).await?;
    let kept = queries::find(&mut tx, &reference).await?;
    tx.commit().await?;
    let kept = kept.ok_or_else(|| Error::bug(anyhow::anyhow!("a payment was kept and cannot be found")))?;
    if first {
        carry_out(app, terms, &payment, &kept).await
    } else {
        again(app, terms, agent, &payment, kept).await
    }
}

fn requirements(terms: &Terms, payment: &Payment, url: &str) -> Value {
    let resource = Resource { url, description: DESCRIPTION };
    match payment.version {
        1 => terms.requirements_v1(payment.amount, resource).unwrap_or_default(),
        _ => terms.requirements(payment.amount),
    }
}

/// What is paid for, in words.
pub const DESCRIPTION: &str = "AffiliateOS wallet top-up";

/// A payment that was shown before: it is what became of it.
async fn again(app: &App, terms: &Terms, agent: AgentId, payment: &Payment, kept: Kept) -> Result<Settled> {
    if kept.agent_id != agent {
        return Err(Error::new(
            Code::InvalidState,
            "This payment was already used by another account.",
            "Sign a new payment: each is credited once, to the account that showed it first.",
        ));
    }
    let deadline = tokio::time::Instant::now().checked_add(WAIT_FOR);
    loop {
        let mut conn = app.write().await?;
        let Some(kept) = queries::find(&mut conn, &payment.reference(terms)).await? else {
            return Err(Error::bug(anyhow::anyhow!("a payment is gone")));
        };
        match (kept.state.as_str(), &kept.transaction) {
            ("settled", Some(transaction)) => {
                let topup = crate::features::wallet::ops::load_topup(&mut conn, agent, kept.topup_id).await?;
                return Ok(settled(topup, payment, transaction.clone()));
            }
            ("failed", _) => return Err(refused(kept.failure.as_deref().unwrap_or("it failed"), None)),
            _ => {}
        }
        let now = app.clock().now();
        let until = now.checked_add_signed(LEASE).unwrap_or(now);
        let taken = queries::take(&mut conn, kept.topup_id, now, until).await?;
        conn.keep().await?;
        if taken {
            return carry_out(app, terms, payment, &kept).await;
        }
        if deadline.is_none_or(|deadline| tokio::time::Instant::now() > deadline) {
            return Err(unsettled("another request is settling it"));
        }
        tokio::time::sleep(WAIT_STEP).await;
    }
}

fn settled(topup: Topup, payment: &Payment, transaction: String) -> Settled {
    Settled { topup, transaction, payer: payment.payer.clone(), version: payment.version }
}

/// Has a payment carried out that this caller holds. The chain is asked whenever the facilitator's answer is not
/// a yes: its no may come from a settlement of before, whose answer was lost.
async fn carry_out(app: &App, terms: &Terms, payment: &Payment, kept: &Kept) -> Result<Settled> {
    let settlement = facilitator::settle(app.services(), terms, payment, &kept.requirements).await;
    let (reason, unknown) = match settlement {
        Settlement::Done(transaction) => return credit(app, payment, kept, &transaction).await,
        Settlement::Failed(reason) => (reason, false),
        Settlement::Unknown(cause) => {
            tracing::warn!(topup.id = %kept.topup_id, cause, "the outcome of a settlement is unknown");
            metrics::counter!("cp_payment_call_failures_total", "provider" => "x402", "outcome" => "unknown")
                .increment(1);
            ("the facilitator did not say what became of it".to_owned(), true)
        }
    };
    match chain::look(app.services(), terms, payment, kept.from_block).await {
        Ok(Fate::Paid(transaction)) => credit(app, payment, kept, &transaction).await,
        Ok(Fate::Lapsed) => {
            fail(app, kept.topup_id, &reason).await?;
            Err(refused(&reason, Some(payment.amount)))
        }
        fate => {
            let now = app.clock().now();
            let next = if unknown { now } else { now.checked_add_signed(LOOK_AFTER).unwrap_or(now) };
            leave_open(app, kept.topup_id, &reason, next).await?;
            if unknown || fate.is_err() {
                Err(unsettled(&reason))
            } else {
                Err(refused(&reason, Some(payment.amount)))
            }
        }
    }
}

/// The money is there: the wallet gets it.
async fn credit(app: &App, payment: &Payment, kept: &Kept, transaction: &str) -> Result<Settled> {
    let mut tx = app.begin().await?;
    let topup = wallet::lock(&mut tx, kept.topup_id).await?;
    let topup = topup.ok_or_else(|| Error::bug(anyhow::anyhow!("the top-up of a payment is gone")))?;
    wallet::paid(&mut tx, app.clock(), &topup).await?;
    queries::save_end(&mut tx, kept.topup_id, Ok(transaction), app.clock().now()).await?;
    let topup = crate::features::wallet::ops::load_topup(&mut tx, kept.agent_id, kept.topup_id).await?;
    tx.commit().await?;
    tracing::info!(topup.id = %topup.id, "a top-up was paid over x402");
    Ok(settled(topup, payment, transaction.to_owned()))
}

/// It can no longer be paid.
async fn fail(app: &App, topup: TopupId, reason: &str) -> Result<()> {
    let mut tx = app.begin().await?;
    if let Some(topup) = wallet::lock(&mut tx, topup).await? {
        wallet::given_up(&mut tx, app.clock(), &topup, "failed").await?;
    }
    queries::save_end(&mut tx, topup, Err(reason), app.clock().now()).await?;
    tx.commit().await?;
    Ok(())
}

async fn leave_open(app: &App, topup: TopupId, reason: &str, next: DateTime<Utc>) -> Result<()> {
    let mut conn = app.write().await?;
    queries::save_open(&mut conn, topup, reason, next).await?;
    Ok(conn.keep().await?)
}

fn unsettled(reason: &str) -> Error {
    let mut error = Error::unavailable(anyhow::anyhow!("{reason}"));
    error.message = String::from("What became of the payment is not known yet; it is not lost.");
    error.fix = String::from(
        "Send the same request with the same payment again after Retry-After: it is credited once. It is also looked up without you.",
    );
    error.retry_after = Some(5);
    error
}

fn away(cause: anyhow::Error) -> Error {
    let mut error = Error::unavailable(cause);
    error.message = String::from("The payment could not be checked for the moment; nothing was charged.");
    error.retry_after = Some(5);
    error
}

/// The job: looks at one open payment a turn, and has it carried out again while it can be.
pub async fn job(app: App) -> Result<Turn> {
    let Some(terms) = &app.config().x402 else { return Ok(Turn::Idle) };
    let now = app.clock().now();
    let until = now.checked_add_signed(LEASE).unwrap_or(now);
    let mut conn = app.db_worker().acquire().await?;
    let taken = queries::take_next(&mut conn, now, until).await?;
    drop(conn);
    let Some(kept) = taken else { return Ok(Turn::Idle) };
    let Some(payment) = reread(&kept) else {
        return Err(Error::bug(anyhow::anyhow!("the payment of top-up {} cannot be read", kept.topup_id)));
    };
    match chain::look(app.services(), terms, &payment, kept.from_block).await.map_err(away)? {
        Fate::Paid(transaction) => drop(credit(&app, &payment, &kept, &transaction).await?),
        Fate::Lapsed => fail(&app, kept.topup_id, kept.failure.as_deref().unwrap_or("it lapsed")).await?,
        Fate::Open if payment.valid_before > now.timestamp() => {
            // Whatever it comes to is kept; the payer hears it when it asks again.
            return match carry_out(&app, terms, &payment, &kept).await {
                Err(error) if error.code == Code::Internal => Err(error),
                Err(_) => Ok(Turn::Idle),
                Ok(_) => Ok(Turn::Again),
            };
        }
        Fate::Open => {
            let reason = kept.failure.as_deref().unwrap_or("it lapsed");
            leave_open(&app, kept.topup_id, reason, now.checked_add_signed(LOOK_AFTER).unwrap_or(now))
                .await?;
        }
    }
    Ok(Turn::Again)
}

/// The payment as it was shown, whatever the time is now.
fn reread(kept: &Kept) -> Option<Payment> {
    let field = |name: &str| kept.payload.pointer(&format!("/payload/authorization/{name}"))?.as_str();
    Some(Payment {
        version: if kept.payload.get("x402Version")?.as_u64() == Some(1) { 1 } else { 2 },
        payer: field("from")?.to_ascii_lowercase(),
        amount: Micros(field("value")?.parse().ok()?),
        valid_before: field("validBefore")?.parse().ok()?,
        nonce: field("nonce")?.to_ascii_lowercase(),
        payload: kept.payload.clone(),
    })
}
