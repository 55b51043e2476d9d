//! Refunds: money that went back to the customer takes its share of the commission with it.
//!
//! Before a payout has taken the commission it shrinks; afterwards a negative commission is made, which the
//! next payout nets off. A payout that fails gives the commission back, and what was taken back by negative ones
//! stays so: from then on there are only more of them. What is left depends on the refunded total alone, so refunds that add up to the
//! sale take back exactly the commission.

mod queries;

use super::model::{Conversion, Status};
use super::ops::{check_revenue, load, not_found};
use super::queries as conversions;
use super::wire::RefundRequest;
use crate::error::{Code, Error, Result};
use crate::features::commissions;
use crate::features::commissions::rules::left_after_refunds;
use crate::features::webhooks;
use crate::features::webhooks::event::Event;
use crate::money::Micros;
use crate::text;
use queries::NewRefund;
use shared::Clock;
use shared::id::{ConversionId, RefundId};
use sqlx::PgConnection;

/// What a refund did.
#[derive(Clone, Debug)]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// How much went back to the customer; nothing for a lead.
    pub amount: Micros,
    /// How much commission it took back.
    pub commission: Micros,
    /// The conversion as it is now.
    pub conversion: Conversion,
}

/// Refunds a sale, in part or in what is left of it, or takes a lead back.
pub async fn refund(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: ConversionId,
    request: &RefundRequest,
) -> Result<Refund> {
    let reason = request.reason.as_deref().map(|text| text::paragraph("reason", text, 500)).transpose()?;
    let external = request
        .external_refund_id
        .as_deref()
        .map(|id| text::line("external_refund_id", id, 255))
        .transpose()?;
    if let Some(amount) = request.amount {
        check_revenue("amount", amount)?;
    }
    let conversion = conversions::lock_conversion(conn, id).await?.ok_or_else(not_found)?;
    if let Some(external) = &external
        && let Some(existing) = queries::find_refund(conn, &conversion, external).await?
    {
        return Err(duplicate(existing));
    }
    let taken_before = commissions::ops::taken_back(conn, id).await?;
    let amount = amount_of(&conversion, request.amount, taken_before)?;
    let refunded = conversion.refunded.plus(amount).map_err(Error::bug)?;
    let left_in = |refunded| match conversion.revenue {
        Some(revenue) => {
            let earned = conversion.commission.terms.earn(Some(revenue))?;
            left_after_refunds(earned, revenue, refunded)
        }
        None => Ok(Micros::ZERO),
    };
    let before = match conversion.revenue {
        Some(_) => left_in(conversion.refunded).map_err(Error::bug)?,
        None => conversion.commission.amount,
    };
    let was_claimed = conversion.commission.payout_id.is_some() || taken_before.is_some();
    let left = left_in(refunded).map_err(Error::bug)?;
    let taken_back = before.minus(left).map_err(Error::bug)?;
    let whole = conversion.revenue.is_none_or(|revenue| revenue == refunded);
    let now = clock.now();
    let commission = &conversion.commission;
    let mut reversal = None;
    let status = if was_claimed {
        if taken_back > Micros::ZERO {
            reversal = Some(reverse(conn, &conversion, taken_back, now).await?);
        }
        if whole && conversion.status == Status::Paid { Status::Reversed } else { conversion.status }
    } else {
        let status = if whole { Status::Rejected } else { conversion.status };
        commissions::ops::update(conn, commission.id, status.as_str(), left, now).await?;
        status
    };
    let new = NewRefund {
        id: RefundId::generate(),
        amount,
        commission: taken_back,
        reversal,
        reason: reason.as_deref(),
        external_refund_id: external.as_deref(),
        now,
    };
    if !queries::insert_refund(conn, &conversion, &new).await? {
        return match queries::find_refund(conn, &conversion, external.as_deref().unwrap_or_default()).await? {
            Some(existing) => Err(duplicate(existing)),
            None => Err(Error::bug(anyhow::anyhow!("a refund is refused and there is no other"))),
        };
    }
    queries::update_refunded(conn, id, refunded, now).await?;
    if status != conversion.status {
        conversions::update_status(conn, id, status, reason.as_deref(), now).await?;
    }
    let refunded = load(conn, id).await?;
    if status == Status::Rejected {
        webhooks::ops::emit(conn, clock, &Event::ConversionRejected(refunded.as_event())).await?;
    }
    Ok(Refund { id: new.id, amount, commission: taken_back, conversion: refunded })
}

/// How much goes back: what was asked for, or all that is left.
fn amount_of(conversion: &Conversion, asked: Option<Micros>, taken_before: Option<Micros>) -> Result<Micros> {
    let lead_taken_back = conversion.revenue.is_none() && taken_before.is_some();
    if lead_taken_back {
        return Err(Error::new(
            Code::InvalidState,
            "The lead was taken back already.",
            "Nothing is left to do: GET /api/conversions/:id shows it.",
        )
        .with("status", conversion.status.as_str()));
    }
    if matches!(conversion.status, Status::Rejected | Status::Reversed) {
        return Err(Error::new(
            Code::InvalidState,
            format!("The conversion is {}: there is nothing to take back.", conversion.status.as_str()),
            "Nothing is left to do: GET /api/conversions/:id shows it.",
        )
        .with("status", conversion.status.as_str()));
    }
    let Some(revenue) = conversion.revenue else {
        return match asked {
            None => Ok(Micros::ZERO),
            Some(_) => Err(Error::invalid(
                "amount",
                "A lead has no amount.",
                "Leave out `amount` to take the lead back as a whole.",
            )),
        };
    };
    let left = revenue.minus(conversion.refunded).map_err(Error::bug)?;
    let amount = asked.unwrap_or(left);
    if left <= Micros::ZERO {
        return Err(Error::new(
            Code::InvalidState,
            "The sale was refunded as a whole already.",
            "Nothing is left to do: GET /api/conversions/:id shows it.",
        )
        .with("status", conversion.status.as_str()));
    }
    if amount > left {
        return Err(Error::invalid(
            "amount",
            format!("`amount` is {amount}, and {left} of the sale is left."),
            format!("Send `amount` of at most {left}, or leave it out to refund what is left."),
        ));
    }
    Ok(amount)
}

async fn reverse(
    conn: &mut PgConnection,
    conversion: &Conversion,
    taken_back: Micros,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<shared::id::CommissionId> {
    let new = commissions::ops::New {
        advertiser_id: conversion.advertiser_id,
        conversion_id: conversion.id,
        program_id: conversion.program_id,
        partnership_id: conversion.partnership_id,
        affiliate_id: conversion.affiliate_id,
        amount: Micros::ZERO.minus(taken_back).map_err(Error::bug)?,
        currency: conversion.currency.clone(),
        terms: conversion.commission.terms,
        status: Status::Approved.as_str(),
        reversal: true,
        payable_at: now,
        now,
    };
    commissions::ops::insert(conn, &new).await
}

fn duplicate(existing: RefundId) -> Error {
    Error::new(
        Code::DuplicateRefund,
        "A refund with this external_refund_id was reported already.",
        "Nothing is left to do. Send another external_refund_id for another refund.",
    )
    .on_field("external_refund_id")
    .with("refund_id", existing.to_string())
}
