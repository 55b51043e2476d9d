//! Steps on payouts. The caller owns the transaction.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::address::Address;
use super::freeze;
use super::model::{ADDRESS_HOLD, Due, LeftReason, Method, Payout, Plan, Status};
use super::queries::{self, NewPayout, Program};
use crate::error::{Code, Error, Result};
use crate::features::commissions::claims::{self, Scope};
use crate::features::ledger::model::{Account, AccountKind, Posted, Posting, TransferKind};
use crate::features::ledger::ops as ledger;
use crate::features::webhooks::{self, event::Event, event::PayoutAddressObject};
use crate::money::Micros;
use crate::text;
use chrono::{DateTime, Utc};
use shared::Clock;
use shared::id::{AgentId, CommissionId, PayoutId, ProgramId};
use sqlx::PgConnection;
use std::collections::HashMap;

/// What to pay.
#[derive(Clone, Debug)]
pub struct Order {
    /// The program that owes.
    pub program: Program,
    /// How.
    pub method: Method,
    /// One affiliate, or all.
    pub affiliate: Option<AgentId>,
}

/// Who gets what, and for usdc where.
#[derive(Debug)]
pub struct Planned {
    /// Who gets what.
    pub plan: Plan,
    /// Where to, and from when.
    pub addresses: HashMap<AgentId, (String, DateTime<Utc>)>,
    /// Names exactly this.
    pub token: String,
}

/// A program that pays, if the caller owns it.
pub async fn load_program(conn: &mut PgConnection, caller: AgentId, id: ProgramId) -> Result<Program> {
    let program = queries::find_program(conn, id).await?.ok_or_else(|| {
        Error::not_found("program", "Send the `id` of a program of yours; GET /api/programs lists programs.")
    })?;
    if program.advertiser_id != caller {
        return Err(Error::new(
            Code::NotOwner,
            "Only the program's advertiser pays its affiliates.",
            "Use the advertiser's key; as affiliate, see what you earned with GET /api/agents/:id/earnings.",
        ));
    }
    Ok(program)
}

impl Order {
    const fn scope(&self, now: DateTime<Utc>) -> Scope {
        Scope { program: self.program.id, affiliate: self.affiliate, now }
    }
}

/// What paying would do now. Reads only.
pub async fn preview(conn: &mut PgConnection, clock: &dyn Clock, order: &Order) -> Result<Planned> {
    let payable = claims::list_payable(conn, order.scope(clock.now())).await?;
    plan(conn, order, Plan::of(&payable, order.program.min_payout_micros).map_err(Error::bug)?).await
}

async fn plan(conn: &mut PgConnection, order: &Order, mut plan: Plan) -> Result<Planned> {
    let mut addresses = HashMap::new();
    if order.method == Method::Usdc {
        let affiliates: Vec<_> = plan.due.iter().map(|due| due.affiliate).collect();
        addresses = queries::list_addresses(conn, &affiliates).await?;
        plan.leave(|affiliate| (!addresses.contains_key(&affiliate)).then_some(LeftReason::NoAddress));
    }
    let token = plan.token(order.program.id, order.method);
    Ok(Planned { plan, addresses, token })
}

/// What the wallet lacks to pay a plan, and what it holds.
pub async fn funding(conn: &mut PgConnection, order: &Order, plan: &Plan) -> Result<(Micros, Micros)> {
    let balance = ledger::balance(conn, Account::wallet(order.program.advertiser_id)).await?;
    if order.method == Method::External {
        return Ok((Micros::ZERO, balance));
    }
    let missing = plan.total().and_then(|total| total.minus(balance)).map_err(Error::bug)?;
    Ok((missing.max(Micros::ZERO), balance))
}

/// Pays what is due: all of it, or nothing and an error.
pub async fn process(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    order: &Order,
    preview_token: Option<&str>,
) -> Result<(Vec<Payout>, Plan)> {
    freeze::refuse_if_frozen(conn).await?;
    let now = clock.now();
    let payable = claims::lock_payable(conn, order.scope(now)).await?;
    let planned =
        plan(conn, order, Plan::of(&payable, order.program.min_payout_micros).map_err(Error::bug)?).await?;
    if preview_token.is_some_and(|token| token != planned.token) {
        return Err(Error::new(
            Code::InvalidState,
            "What is payable has changed since the dry run.",
            "Send the call once more with \"dry_run\":true, look at it, and send its new `preview_token`.",
        )
        .on_field("preview_token"));
    }
    let status = match order.method {
        Method::Wallet => Status::Paid,
        Method::External | Method::Usdc => Status::Pending,
    };
    let new: Vec<_> = planned
        .plan
        .due
        .iter()
        .map(|due| new_payout(&order.program, order.method, due, &planned.addresses, status, now))
        .collect();
    store(conn, &new, &planned.plan.due, now).await?;
    let postings: Vec<_> = new.iter().filter_map(posting).collect();
    let mut short = Micros::ZERO;
    for (posted, posting) in ledger::post_all(conn, now, &postings).await?.iter().zip(&postings) {
        match posted {
            Posted::Done(_) => {}
            Posted::Short(_) => short = short.plus(posting.amount).map_err(Error::bug)?,
            Posted::Repeated(_) => return Err(Error::bug(anyhow::anyhow!("a new payout was paid before"))),
        }
    }
    if short > Micros::ZERO {
        let rest = ledger::balance(conn, Account::wallet(order.program.advertiser_id)).await?;
        return Err(not_covered(short.minus(rest).map_err(Error::bug)?));
    }
    let ids: Vec<_> = new.iter().map(|payout| payout.id).collect();
    if status == Status::Paid {
        claims::settle(conn, &ids, now).await?;
    }
    Ok((announce(conn, clock, &ids).await?, planned.plan))
}

/// Tells both sides how payouts stand now, and gives them.
async fn announce(conn: &mut PgConnection, clock: &dyn Clock, ids: &[PayoutId]) -> Result<Vec<Payout>> {
    let payouts = queries::list_by_ids(conn, ids).await?;
    let events: Vec<_> = payouts.iter().map(|payout| Event::PayoutProcessed(payout.as_event())).collect();
    webhooks::ops::emit_all(conn, clock, &events).await?;
    Ok(payouts)
}

/// The same for one.
async fn announce_one(conn: &mut PgConnection, clock: &dyn Clock, id: PayoutId) -> Result<Payout> {
    announce(conn, clock, &[id]).await?.pop().ok_or_else(not_found)
}

fn not_covered(missing: Micros) -> Error {
    Error::new(
        Code::InsufficientCredits,
        format!("The wallet lacks ${missing} to pay what is due; nothing was paid."),
        "Add money with POST /api/wallet/topup, pay one affiliate with `affiliate_id`, or pay elsewhere with \"method\":\"external\".",
    )
    .with("missing", missing.to_json())
    .lacking(missing)
}

fn new_payout(
    program: &Program,
    method: Method,
    due: &Due,
    addresses: &HashMap<AgentId, (String, DateTime<Utc>)>,
    status: Status,
    now: DateTime<Utc>,
) -> NewPayout {
    let address = addresses.get(&due.affiliate);
    NewPayout {
        id: PayoutId::generate(),
        advertiser_id: program.advertiser_id,
        program_id: program.id,
        affiliate_id: due.affiliate,
        amount: due.amount,
        method,
        status,
        address: address.map(|(address, _)| address.clone()),
        not_before: address.map(|(_, usable_at)| *usable_at).filter(|usable_at| *usable_at > now),
        requested: false,
    }
}

/// Stores payouts and puts their commissions into them.
async fn store(conn: &mut PgConnection, new: &[NewPayout], due: &[Due], now: DateTime<Utc>) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    queries::insert_payouts(conn, new, now).await?;
    let claimed: Vec<(CommissionId, PayoutId)> = new
        .iter()
        .zip(due)
        .flat_map(|(payout, due)| due.commissions.iter().map(|commission| (*commission, payout.id)))
        .collect();
    claims::claim(conn, &claimed, now).await
}

/// The movement of money a new payout begins with.
fn posting(payout: &NewPayout) -> Option<Posting> {
    let (credit, kind) = match payout.method {
        Method::External => return None,
        Method::Wallet => (Account::wallet(payout.affiliate_id), TransferKind::Payout),
        Method::Usdc => (Account::of(payout.advertiser_id, AccountKind::Held), TransferKind::PayoutHeld),
    };
    Some(Posting {
        debit: Account::wallet(payout.advertiser_id),
        credit,
        amount: payout.amount,
        kind,
        reference: payout.id.to_string(),
        metered: None,
    })
}

/// An affiliate asks for everything it is owed, by every program. What an advertiser's wallet cannot cover
/// waits in `awaiting_funds`. Empty when nothing is due.
pub async fn request(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    affiliate: AgentId,
    method: Method,
) -> Result<Vec<Payout>> {
    let now = clock.now();
    if method == Method::External {
        return Err(Error::invalid(
            "method",
            "Only the advertiser can pay elsewhere.",
            "Send \"method\":\"wallet\", or \"method\":\"usdc\" with an `address`.",
        ));
    }
    freeze::refuse_if_frozen(conn).await?;
    let mut addresses = HashMap::new();
    if method == Method::Usdc {
        addresses = queries::list_addresses(conn, &[affiliate]).await?;
        if addresses.is_empty() {
            return Err(Error::invalid(
                "address",
                "No payout address is set.",
                "Send `address`, an EIP-55 address of yours.",
            ));
        }
    }
    let mut new = Vec::new();
    let mut dues = Vec::new();
    // Every row is locked before the ledger is touched: see the lock order of this feature.
    for program in queries::list_owing_programs(conn, affiliate, now).await? {
        let scope = Scope { program: program.id, affiliate: Some(affiliate), now };
        let payable = claims::lock_payable(conn, scope).await?;
        let plan = Plan::of(&payable, program.min_payout_micros).map_err(Error::bug)?;
        for due in plan.due {
            let payout = new_payout(&program, method, &due, &addresses, Status::AwaitingFunds, now);
            new.push(NewPayout { requested: true, ..payout });
            dues.push(due);
        }
    }
    store(conn, &new, &dues, now).await?;
    let postings: Vec<_> = new.iter().filter_map(posting).collect();
    let posted = ledger::post_all(conn, now, &postings).await?;
    let funded: Vec<_> = new
        .iter()
        .zip(posted)
        .filter(|(_, posted)| matches!(posted, Posted::Done(_)))
        .map(|(payout, _)| payout.id)
        .collect();
    after_funding(conn, &funded, method, now).await?;
    let ids: Vec<_> = new.iter().map(|payout| payout.id).collect();
    announce(conn, clock, &ids).await
}

/// Moves payouts on whose money has just left the advertiser's wallet.
async fn after_funding(
    conn: &mut PgConnection,
    funded: &[PayoutId],
    method: Method,
    now: DateTime<Utc>,
) -> Result<()> {
    if method == Method::Wallet {
        claims::settle(conn, funded, now).await?;
        queries::set_status(conn, funded, Status::Paid, None, None, now).await
    } else {
        queries::set_status(conn, funded, Status::Pending, None, None, now).await
    }
}

/// Takes one payout that waits for money its advertiser has by now, and moves it on; `false` when none is
/// left to try after `after`.
pub async fn fund_next(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    after: Option<PayoutId>,
) -> Result<Option<PayoutId>> {
    let now = clock.now();
    let Some(payout) = queries::lock_fundable(conn, after).await? else { return Ok(None) };
    claims::lock(conn, payout.id).await?;
    let new = NewPayout {
        id: payout.id,
        advertiser_id: payout.advertiser_id,
        program_id: payout.program_id,
        affiliate_id: payout.affiliate_id,
        amount: payout.amount_micros,
        method: payout.method,
        status: payout.status,
        address: None,
        not_before: None,
        requested: payout.requested,
    };
    if let Some(posting) = posting(&new)
        && let Posted::Done(_) = ledger::post(conn, now, &posting).await?
    {
        after_funding(conn, &[payout.id], payout.method, now).await?;
        announce_one(conn, clock, payout.id).await?;
    }
    Ok(Some(payout.id))
}

/// Moves a locked payout on, and tells both sides.
pub(super) async fn set_status(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    payout: &Payout,
    status: Status,
    reference: Option<&str>,
) -> Result<Payout> {
    let status = payout.status.become_next(status)?;
    queries::set_status(conn, &[payout.id], status, reference, None, clock.now()).await?;
    announce_one(conn, clock, payout.id).await
}

pub(crate) fn not_found() -> Error {
    Error::not_found("payout", "List yours with GET /api/payouts.")
}

/// A payout, if the caller is one of its two sides.
pub async fn load_for(conn: &mut PgConnection, caller: AgentId, id: PayoutId) -> Result<Payout> {
    let payout = queries::find_payout(conn, id).await?.ok_or_else(not_found)?;
    if caller != payout.advertiser_id && caller != payout.affiliate_id {
        return Err(not_found());
    }
    Ok(payout)
}

/// A payout, if the caller pays it; its payee may know of it, but not change it.
pub async fn load_own(conn: &mut PgConnection, caller: AgentId, id: PayoutId) -> Result<Payout> {
    let payout = load_for(conn, caller, id).await?;
    if caller == payout.advertiser_id {
        return Ok(payout);
    }
    Err(Error::new(
        Code::NotOwner,
        "Only the advertiser says whether it has paid.",
        "Use the advertiser's key; as affiliate, read it with GET /api/payouts/:id.",
    ))
}

/// Locks a payout that is paid elsewhere, to decide about it.
async fn lock_external(conn: &mut PgConnection, id: PayoutId) -> Result<Payout> {
    let payout = queries::lock_payout(conn, id).await?.ok_or_else(not_found)?;
    if payout.method != Method::External {
        return Err(Error::new(
            Code::InvalidState,
            format!("A payout by {} moves on by itself.", payout.method.as_str()),
            "Nothing is left to do: GET /api/payouts/:id shows it. Only payouts with \"method\":\"external\" are marked.",
        )
        .with("method", payout.method.as_str()));
    }
    Ok(payout)
}

/// The advertiser has paid elsewhere.
pub async fn mark_paid(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: PayoutId,
    reference: &str,
) -> Result<Payout> {
    let reference = text::line("reference", reference, 200)?;
    let payout = lock_external(conn, id).await?;
    payout.status.become_next(Status::Paid)?;
    let now = clock.now();
    claims::settle(conn, &[id], now).await?;
    queries::set_status(conn, &[id], Status::Paid, Some(&reference), None, now).await?;
    announce_one(conn, clock, id).await
}

/// The advertiser will not pay this way: the commissions are free for another payout.
pub async fn mark_failed(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: PayoutId,
    reason: &str,
) -> Result<Payout> {
    let reason = text::line("reason", reason, 200)?;
    let payout = lock_external(conn, id).await?;
    fail(conn, clock, &payout, &reason).await
}

/// Ends a locked payout that did not arrive: its commissions are free again, and money set aside for it
/// is back in the advertiser's wallet.
pub async fn fail(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    payout: &Payout,
    reason: &str,
) -> Result<Payout> {
    payout.status.become_next(Status::Failed)?;
    let now = clock.now();
    claims::release(conn, payout.id, now).await?;
    if payout.method == Method::Usdc && payout.status != Status::AwaitingFunds {
        let posting = Posting {
            debit: Account::of(payout.advertiser_id, AccountKind::Held),
            credit: Account::wallet(payout.advertiser_id),
            amount: payout.amount_micros,
            kind: TransferKind::PayoutReturned,
            reference: payout.id.to_string(),
            metered: None,
        };
        if !matches!(ledger::post(conn, now, &posting).await?, Posted::Done(_)) {
            return Err(Error::bug(anyhow::anyhow!("payout {} was not set aside", payout.id)));
        }
    }
    queries::set_status(conn, &[payout.id], Status::Failed, None, Some(reason), now).await?;
    announce_one(conn, clock, payout.id).await
}

/// Where an agent's usdc payouts go, and from when.
pub async fn address(conn: &mut PgConnection, agent: AgentId) -> Result<Option<(String, DateTime<Utc>)>> {
    Ok(queries::list_addresses(conn, &[agent]).await?.remove(&agent))
}

/// Sets where usdc payouts go. The first address is good at once, a changed one after 72 hours, and its
/// owner is told: whoever took the key must not empty the account unnoticed.
pub async fn set_address(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: AgentId,
    address: &Address,
) -> Result<(String, DateTime<Utc>)> {
    let now = clock.now();
    let later = now.checked_add_signed(ADDRESS_HOLD).unwrap_or(now);
    let (address, usable_at, changed) =
        queries::save_address(conn, agent, address.as_str(), now, later).await?;
    if changed {
        let object = PayoutAddressObject { id: agent, address: address.clone(), usable_at: usable_at.into() };
        webhooks::ops::emit(conn, clock, &Event::PayoutAddressChanged(object)).await?;
    }
    Ok((address, usable_at))
}
