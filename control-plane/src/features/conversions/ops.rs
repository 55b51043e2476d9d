//! Steps on conversions. The caller owns the transaction.

use super::model::{Conversion, Decision, EventType, REVENUE_MAX, Status, Tracked};
use super::queries::{self, NewConversion};
use super::wire::{TrackRequest, TrackedEvent};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::features::commissions;
use crate::features::usage;
use crate::features::webhooks::{self, event::Event};
use crate::money::Micros;
use crate::text;
use crate::workers::jobs::Turn;
use chrono::TimeDelta;
use shared::click_id::ClickIdKey;
use shared::id::{AgentId, ConversionId};
use shared::{ClickId, Clock, LinkKey, TokenKey};
use sqlx::PgConnection;

/// Conversions approved by themselves in one transaction.
const OVERDUE_MAX: i64 = 100;

/// The reason of conversions that nobody decided in time.
pub const APPROVED_BY_ITSELF: &str = "approved by itself: left pending too long";

/// The only currency so far: wallets and payouts are in dollars.
pub const CURRENCY: &str = "usd";

/// A lead or sale as it is reported, checked as far as it can be without a look-up.
#[derive(Clone, Debug)]
pub struct Report {
    /// Lead or sale.
    pub event_type: EventType,
    /// A sale's amount.
    pub revenue: Option<Micros>,
    /// The advertiser's own name for it.
    pub external_id: Option<String>,
    /// The click that led to it, as text and as what it says.
    pub click: Option<(String, ClickId)>,
}

impl Report {
    /// Checks a request; `None` when it reports a click.
    pub fn from_request(request: &TrackRequest, clicks: &ClickIdKey) -> Result<Option<Self>> {
        let event_type = match request.event_type {
            TrackedEvent::Lead => Some(EventType::Lead),
            TrackedEvent::Sale => Some(EventType::Sale),
            TrackedEvent::Click => None,
        };
        match (event_type, request.revenue_amount) {
            (Some(EventType::Sale), None) => {
                return Err(Error::missing(
                    "revenue_amount",
                    "Add `revenue_amount`, the sale's amount in dollars, such as 99.00; or send \"event_type\":\"lead\".",
                ));
            }
            (Some(EventType::Sale), Some(revenue)) => check_revenue("revenue_amount", revenue)?,
            (_, Some(_)) => {
                return Err(Error::invalid(
                    "revenue_amount",
                    "Only a sale has an amount.",
                    "Leave out `revenue_amount`, or send \"event_type\":\"sale\".",
                ));
            }
            (_, None) => {}
        }
        let currency = request.currency.as_deref().unwrap_or(CURRENCY);
        if !currency.eq_ignore_ascii_case(CURRENCY) {
            return Err(Error::invalid(
                "currency",
                "Amounts are in US dollars only.",
                "Convert the amount to dollars and send \"currency\":\"usd\", or leave `currency` out.",
            ));
        }
        let external_id =
            request.external_id.as_deref().map(|id| text::line("external_id", id, 255)).transpose()?;
        let click = request.click_id.as_deref().map(|text| parse_click_id(clicks, text)).transpose()?;
        let Some(event_type) = event_type else { return Ok(None) };
        Ok(Some(Self { event_type, revenue: request.revenue_amount, external_id, click }))
    }
}

/// Checks an amount of money that came with a sale or a refund.
pub fn check_revenue(field: &str, amount: Micros) -> Result<()> {
    if amount <= Micros::ZERO || amount > REVENUE_MAX || amount.whole_cents().is_none() {
        return Err(Error::invalid(
            field,
            format!("`{field}` is {amount}."),
            format!(
                "Send `{field}` in dollars, more than 0 and at most 10000000, with at most two decimals."
            ),
        ));
    }
    Ok(())
}

fn parse_click_id(clicks: &ClickIdKey, text: &str) -> Result<(String, ClickId)> {
    let click = clicks.parse(text).ok_or_else(|| {
        Error::invalid(
            "click_id",
            "`click_id` is not the id of a click of ours.",
            "Send the 43 characters that came with the click: `{click_id}` in the destination, the program's click_id_param, or the reply of POST /api/conversions/track-click.",
        )
    })?;
    Ok((text.to_owned(), click))
}

/// The link behind a token and its key.
pub async fn load_tracked(
    conn: &mut PgConnection,
    tokens: &TokenKey,
    token: &str,
) -> Result<(LinkKey, Tracked)> {
    let unknown = || {
        Error::not_found(
            "tracking link",
            "Send the last part of the tracking URL, 16 letters and digits, as `tracking_token`; GET /api/partnerships/:id/links lists links.",
        )
        .on_field("tracking_token")
    };
    let key = tokens.parse(token.as_bytes()).ok_or_else(unknown)?;
    let tracked = queries::find_tracked(conn, key).await?.ok_or_else(unknown)?;
    Ok((key, tracked))
}

/// Records a lead or sale: conversion, commission and metering, all or nothing.
pub async fn record(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    (key, tracked): (LinkKey, &Tracked),
    report: &Report,
) -> Result<Conversion> {
    tracked.must_be_creditable()?;
    let now = clock.now();
    let clicked_at = match &report.click {
        Some((_, click)) => Some(tracked.attribute(click, key, now)?),
        None => None,
    };
    let id = ConversionId::generate();
    let new = NewConversion {
        id,
        event_type: report.event_type,
        revenue: report.revenue,
        currency: CURRENCY,
        external_id: report.external_id.as_deref(),
        click_id: report.click.as_ref().map(|(text, _)| text.as_str()),
        clicked_at,
        auto_approve_at: now + TimeDelta::days(tracked.auto_approve_days.into()),
        now,
    };
    if !queries::insert_conversion(conn, tracked, &new).await? {
        return Err(duplicate(conn, tracked, report).await);
    }
    let commission = commissions::ops::New {
        advertiser_id: tracked.advertiser_id,
        conversion_id: id,
        program_id: tracked.program_id,
        partnership_id: tracked.partnership_id,
        affiliate_id: tracked.affiliate_id,
        amount: tracked.terms.earn(report.revenue).map_err(Error::bug)?,
        currency: CURRENCY.to_owned(),
        terms: tracked.terms,
        status: Status::Pending.as_str(),
        reversal: false,
        payable_at: now + TimeDelta::days(tracked.hold_days.into()),
        now,
    };
    commissions::ops::insert(conn, &commission).await?;
    let conversion = load(conn, id).await?;
    webhooks::ops::emit(conn, clock, &Event::ConversionCreated(conversion.as_event())).await?;
    // Last: it locks the account's usage until the commit.
    usage::ops::charge_conversion(conn, tracked.advertiser_number, id, now).await?;
    Ok(conversion)
}

async fn duplicate(conn: &mut PgConnection, tracked: &Tracked, report: &Report) -> Error {
    let external_id = report.external_id.as_deref().unwrap_or_default();
    match queries::find_by_external_id(conn, tracked, report.event_type, external_id).await {
        Ok(Some(existing)) => Error::new(
            Code::DuplicateConversion,
            "A conversion with this external_id was reported already.",
            format!(
                "Nothing is left to do: GET /api/conversions/{existing} shows it. Send another external_id for another {}.",
                report.event_type.as_str()
            ),
        )
        .on_field("external_id")
        .with("conversion_id", existing.to_string()),
        Ok(None) => Error::bug(anyhow::anyhow!("an external_id is taken and nobody has it")),
        Err(error) => error,
    }
}

/// A conversion that must exist.
pub async fn load(conn: &mut PgConnection, id: ConversionId) -> Result<Conversion> {
    queries::find_conversion(conn, id).await?.ok_or_else(not_found)
}

pub(crate) fn not_found() -> Error {
    Error::not_found(
        "conversion",
        "List yours with GET /api/agents/:id/conversions or GET /api/programs/:id/conversions.",
    )
}

/// A conversion, if the caller is one of its two sides.
pub async fn load_for(conn: &mut PgConnection, caller: AgentId, id: ConversionId) -> Result<Conversion> {
    let conversion = load(conn, id).await?;
    if caller != conversion.advertiser_id && caller != conversion.affiliate_id {
        return Err(not_found());
    }
    Ok(conversion)
}

/// A conversion, if the caller is its advertiser; its affiliate may know of it, but not change it.
pub async fn load_own(conn: &mut PgConnection, caller: AgentId, id: ConversionId) -> Result<Conversion> {
    must_own(load_for(conn, caller, id).await?, caller)
}

fn must_own(conversion: Conversion, caller: AgentId) -> Result<Conversion> {
    if caller == conversion.advertiser_id {
        return Ok(conversion);
    }
    Err(Error::new(
        Code::NotOwner,
        "Only the program's advertiser decides about its conversions.",
        "Use the advertiser's key; as affiliate, read it with GET /api/conversions/:id.",
    ))
}

/// Approves or rejects a conversion.
pub async fn decide(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: ConversionId,
    decision: Decision,
    reason: Option<&str>,
) -> Result<Conversion> {
    let conversion = queries::lock_conversion(conn, id).await?.ok_or_else(not_found)?;
    let commission = &conversion.commission;
    // A payout that failed gives its commissions back; one that was refunded meanwhile is settled by refunds alone.
    let in_payout = commission.payout_id.is_some() || commissions::ops::taken_back(conn, id).await?.is_some();
    let status = conversion.status.decide(decision, in_payout)?;
    let now = clock.now();
    commissions::ops::update(conn, commission.id, status.as_str(), commission.amount, now).await?;
    queries::update_status(conn, id, status, reason, now).await?;
    let conversion = load(conn, id).await?;
    let event = match decision {
        Decision::Approved => Event::ConversionApproved(conversion.as_event()),
        Decision::Rejected => Event::ConversionRejected(conversion.as_event()),
    };
    webhooks::ops::emit(conn, clock, &event).await?;
    Ok(conversion)
}

/// Approves conversions that were left pending too long, at most `limit` of them; says how many.
pub async fn approve_overdue(conn: &mut PgConnection, clock: &dyn Clock, limit: i64) -> Result<usize> {
    let overdue = queries::lock_overdue(conn, clock.now(), limit).await?;
    for id in &overdue {
        decide(conn, clock, *id, Decision::Approved, Some(APPROVED_BY_ITSELF)).await?;
    }
    Ok(overdue.len())
}

/// The job: approves a batch of what was left pending, again at once while there is more.
pub async fn approve_job(app: App) -> Result<Turn> {
    let mut tx = app.db_worker().begin().await?;
    let approved = approve_overdue(&mut tx, app.clock(), OVERDUE_MAX).await?;
    tx.commit().await?;
    Ok(if approved as i64 == OVERDUE_MAX { Turn::Again } else { Turn::Idle })
}
