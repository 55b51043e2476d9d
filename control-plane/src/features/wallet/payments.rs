//! What providers say of payments: they are paid, they are not, their money goes back.
//! The caller owns the transaction.
//!
//! A payment taken back (refund, dispute) is taken out of the wallet as far as that reaches. The rest is
//! owed: the ledger has it on the agent's `arrears`, and whatever comes into the wallet repays it first,
//! at once when it is a top-up, within seconds when it is a payout. So no wallet is ever negative, and
//! nobody spends new money while old money is missing.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::model::{Opening, Provider, Topup};
use super::queries::{self, NewTopup};
use crate::app::App;
use crate::error::{Error, Result};
use crate::features::ledger::model::{Account, AccountKind, Posted, Posting, TransferKind};
use crate::features::ledger::ops as ledger;
use crate::money::Micros;
use crate::web::idempotency::KEPT_FOR;
use crate::workers::jobs::Turn;
use chrono::{DateTime, Utc};
use shared::Clock;
use shared::id::{AgentId, TopupId, TransferId};
use sqlx::PgConnection;

/// Starts a top-up that is paid elsewhere, or finds the one that this request or this payment started.
pub async fn open(conn: &mut PgConnection, clock: &dyn Clock, opening: &Opening<'_>) -> Result<Topup> {
    let now = clock.now();
    if let Some(request) = opening.request {
        let forgotten = now.checked_sub_signed(KEPT_FOR).unwrap_or(now);
        queries::release_request(conn, opening.agent, request, forgotten).await?;
    }
    let new = NewTopup {
        agent: opening.agent,
        provider: opening.provider,
        amount: opening.amount,
        status: "pending",
        automatic: false,
        request: opening.request,
        provider_ref: opening.provider_ref,
    };
    if let Some(topup) = queries::insert_topup(conn, &new, now).await? {
        return Ok(topup);
    }
    let known = match (opening.request, opening.provider_ref) {
        (Some(request), _) => queries::find_topup_of_request(conn, opening.agent, request).await?,
        (None, Some(provider_ref)) => {
            queries::lock_topup_by_ref(conn, opening.provider, provider_ref).await?
        }
        (None, None) => None,
    };
    known.ok_or_else(|| Error::bug(anyhow::anyhow!("a top-up exists and cannot be found")))
}

/// The top-up behind an id that a provider sent back, locked.
pub async fn lock(conn: &mut PgConnection, id: TopupId) -> Result<Option<Topup>> {
    queries::lock_topup(conn, id).await
}

/// The top-up behind a provider's own name, locked.
pub async fn lock_by_ref(
    conn: &mut PgConnection,
    provider: Provider,
    provider_ref: &str,
) -> Result<Option<Topup>> {
    queries::lock_topup_by_ref(conn, provider, provider_ref).await
}

/// Payments that have been pending since before `before`, at most `limit`.
pub async fn pending(
    conn: &mut PgConnection,
    provider: Provider,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Topup>> {
    queries::list_pending(conn, provider, before, limit).await
}

/// Remembers what the provider calls a top-up and where it is paid.
pub async fn bind(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: TopupId,
    provider_ref: &str,
    checkout_url: Option<&str>,
) -> Result<()> {
    queries::save_checkout(conn, id, provider_ref, checkout_url, clock.now()).await
}

/// The provider has the money: the wallet gets it, once. Also when the top-up had been given up, since the
/// money is there. Says whether this call did it.
pub async fn paid(conn: &mut PgConnection, clock: &dyn Clock, topup: &Topup) -> Result<bool> {
    if topup.status == "paid" {
        return Ok(false);
    }
    let provider = Provider::parse(&topup.provider)
        .ok_or_else(|| Error::bug(anyhow::anyhow!("unknown provider of top-up {}", topup.id)))?;
    queries::save_topup_status(conn, topup.id, "paid", clock.now()).await?;
    credit(conn, clock, topup, provider).await?;
    Ok(true)
}

/// It will not be paid: `failed` or `expired`. One that was paid stays so.
pub async fn given_up(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    topup: &Topup,
    status: &'static str,
) -> Result<()> {
    if topup.status != "pending" {
        return Ok(());
    }
    queries::save_topup_status(conn, topup.id, status, clock.now()).await
}

/// Moves a paid top-up into the wallet, once, and repays what is owed out of it.
pub(super) async fn credit(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    topup: &Topup,
    provider: Provider,
) -> Result<()> {
    let now = clock.now();
    queries::lock_debts(conn, topup.agent_id, now).await?;
    let mut postings = vec![Posting {
        debit: Account::of(topup.agent_id, provider.source()),
        credit: Account::wallet(topup.agent_id),
        amount: topup.amount_micros,
        kind: TransferKind::Topup,
        reference: topup.id.to_string(),
        metered: None,
    }];
    let owed = owed(conn, topup.agent_id).await?;
    postings.extend(repayment(topup.agent_id, owed.min(topup.amount_micros), topup.id.to_string()));
    post_all(conn, now, &postings).await
}

/// Makes that much of a top-up be back with its payer: takes what is missing, gives what is too much.
/// Never more than the top-up, nothing of one that was not paid. Says whether anything moved.
pub async fn reverse(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    topup: &Topup,
    wanted: Micros,
) -> Result<bool> {
    let (now, agent) = (clock.now(), topup.agent_id);
    let wanted = wanted.clamp(Micros::ZERO, topup.amount_micros);
    if topup.status != "paid" || wanted == topup.refunded_micros {
        return Ok(false);
    }
    let provider = Provider::parse(&topup.provider)
        .ok_or_else(|| Error::bug(anyhow::anyhow!("unknown provider of top-up {}", topup.id)))?;
    queries::lock_debts(conn, agent, now).await?;
    let source = Account::of(agent, provider.source());
    let reference = format!("{}:{}", topup.id, topup.adjustments.saturating_add(1));
    let change = wanted.minus(topup.refunded_micros).map_err(Error::bug)?;
    let posting = |debit, credit, amount, kind| Posting {
        debit,
        credit,
        amount,
        kind,
        reference: reference.clone(),
        metered: None,
    };
    let mut postings = Vec::new();
    if change > Micros::ZERO {
        let holds = ledger::lock_wallets(conn, &[agent]).await?.get(&agent).copied().unwrap_or_default();
        let covered = change.min(holds);
        let missing = change.minus(covered).map_err(Error::bug)?;
        let arrears = Account::of(agent, AccountKind::Arrears);
        for (from, amount, kind) in [
            (Account::wallet(agent), covered, TransferKind::TopupRefund),
            (arrears, missing, TransferKind::TopupRefundOwed),
        ] {
            if amount > Micros::ZERO {
                postings.push(posting(from, source, amount, kind));
            }
        }
    } else {
        let back = topup.refunded_micros.minus(wanted).map_err(Error::bug)?;
        postings.push(posting(source, Account::wallet(agent), back, TransferKind::TopupReinstated));
        let owed = owed(conn, agent).await?;
        postings.extend(repayment(agent, owed.min(back), reference.clone()));
    }
    post_all(conn, now, &postings).await?;
    queries::save_refunded(conn, topup.id, wanted, now).await?;
    Ok(true)
}

/// What the agent owes. Exact while the caller holds its debts.
async fn owed(conn: &mut PgConnection, agent: AgentId) -> Result<Micros> {
    let arrears = ledger::balance(conn, Account::of(agent, AccountKind::Arrears)).await?;
    Micros::ZERO.minus(arrears).map_err(Error::bug)
}

fn repayment(agent: AgentId, amount: Micros, reference: String) -> Option<Posting> {
    (amount > Micros::ZERO).then(|| Posting {
        debit: Account::wallet(agent),
        credit: Account::of(agent, AccountKind::Arrears),
        amount,
        kind: TransferKind::ArrearsPaid,
        reference,
        metered: None,
    })
}

async fn post_all(conn: &mut PgConnection, now: DateTime<Utc>, postings: &[Posting]) -> Result<()> {
    let posted = ledger::post_all(conn, now, postings).await?;
    match posted.iter().find(|posted| !matches!(posted, Posted::Done(_))) {
        None => Ok(()),
        Some(other) => Err(Error::bug(anyhow::anyhow!("a payment was not posted as computed: {other:?}"))),
    }
}

/// Repays one agent's debt out of what came into its wallet; `None` when nobody can repay anything.
pub async fn collect_next(conn: &mut PgConnection, clock: &dyn Clock) -> Result<Option<AgentId>> {
    let Some(agent) = queries::lock_debtor(conn).await? else { return Ok(None) };
    let holds = ledger::lock_wallets(conn, &[agent]).await?.get(&agent).copied().unwrap_or_default();
    let amount = owed(conn, agent).await?.min(holds);
    let posting = repayment(agent, amount, TransferId::generate().to_string());
    post_all(conn, clock.now(), posting.as_slice()).await?;
    Ok(Some(agent))
}

/// The job: one debtor a turn.
pub async fn collect_job(app: App) -> Result<Turn> {
    let mut tx = app.db_worker().begin().await?;
    let collected = collect_next(&mut tx, app.clock()).await?;
    tx.commit().await?;
    Ok(if collected.is_some() { Turn::Again } else { Turn::Idle })
}
