//! Explaining a conversion. The caller owns the connection.

use super::model::{ConversionExplanation, Reason, Step};
use super::queries;
use crate::app::App;
use crate::error::{Error, Result};
use crate::features::commissions::rules::Terms;
use crate::features::conversions::model::{Conversion, Status};
use crate::features::conversions::ops::{self, APPROVED_BY_ITSELF};
use crate::money::Micros;
use crate::time::At;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, ConversionId};
use sqlx::PgConnection;

/// Explains a conversion to one of its two sides.
pub(super) async fn explain(
    conn: &mut PgConnection,
    app: &App,
    caller: AgentId,
    id: ConversionId,
) -> Result<ConversionExplanation> {
    let conversion = ops::load_for(conn, caller, id).await?;
    let now = app.clock().now();
    let mut steps =
        vec![credited(conn, &conversion).await?, attributed(&conversion), commission(&conversion)?];
    if caller == conversion.advertiser_id {
        steps.push(metered(conn, &conversion).await?);
    }
    steps.extend(refunds(conn, &conversion).await?);
    steps.push(decided(&conversion));
    steps.push(payout(conn, &conversion, now).await?);
    Ok(ConversionExplanation {
        conversion_id: id.uuid(),
        program_id: conversion.program_id.uuid(),
        affiliate_id: conversion.affiliate_id.uuid(),
        advertiser_id: conversion.advertiser_id.uuid(),
        status: conversion.status,
        commission_amount: conversion.commission.amount,
        currency: conversion.currency,
        steps,
    })
}

async fn credited(conn: &mut PgConnection, conversion: &Conversion) -> Result<Step> {
    let what = conversion.event_type.as_str();
    let step = if queries::is_verified(conn, conversion.id).await? {
        let text =
            format!("The merchant verified an attribution under /v1, so the {what} is its publisher's.");
        Step::new("credited", Reason::CreditedByToken, text)
    } else {
        let text = format!(
            "The advertiser reported a {what} on tracking_token {}, so it is that link's affiliate's.",
            conversion.tracking_token
        );
        Step::new("credited", Reason::CreditedByLink, text)
    };
    Ok(step
        .with("affiliate_id", conversion.affiliate_id.to_string())
        .with("link_id", conversion.link_id.to_string())
        .at(conversion.created_at))
}

fn attributed(conversion: &Conversion) -> Step {
    let (Some(click_id), Some(clicked_at)) = (&conversion.click_id, conversion.clicked_at) else {
        let text = "The report named no click, so no attribution window applies: the link alone decides.";
        return Step::new("attributed", Reason::NoClickNamed, text);
    };
    let seconds = (conversion.created_at - clicked_at).num_seconds();
    let text = format!(
        "The report named a click on the same link {seconds} seconds before, within the program's attribution_days: GET /api/clicks/{click_id}/explain."
    );
    Step::new("attributed", Reason::ClickInWindow, text)
        .with("click_id", click_id.as_str())
        .with("seconds_after_click", seconds)
        .at(clicked_at)
}

fn commission(conversion: &Conversion) -> Result<Step> {
    let terms = conversion.commission.terms;
    let earned = terms.earn(conversion.revenue).map_err(Error::bug)?;
    let step = match (terms, conversion.revenue) {
        (Terms::Percentage { .. }, Some(revenue)) => {
            let text = format!("{}% of the sale of ${revenue} is ${earned}.", terms.value());
            Step::new("commission", Reason::PercentageOfSale, text).amount("revenue_amount", revenue)
        }
        (Terms::Percentage { .. }, None) => {
            let text = "The program pays a percentage of sales: a lead earns nothing.";
            Step::new("commission", Reason::LeadEarnsNothing, text)
        }
        (Terms::Fixed { .. }, _) => {
            let text = format!("The program pays ${earned} for each lead or sale.");
            Step::new("commission", Reason::FixedAmount, text)
        }
    };
    Ok(step
        .with("commission_type", terms.name())
        .amount("commission_value", terms.value())
        .amount("earned", earned)
        .at(conversion.created_at))
}

async fn metered(conn: &mut PgConnection, conversion: &Conversion) -> Result<Step> {
    Ok(match queries::find_charge(conn, conversion.id).await? {
        Some((price, at)) => {
            let text = format!("The month's allowance was used up: ${price} was paid from your wallet.");
            Step::new("metered", Reason::PaidFromWallet, text).amount("price", price).at(at)
        }
        None => {
            let text = "It was within the month's allowance: it cost you nothing.";
            Step::new("metered", Reason::WithinAllowance, text).at(conversion.created_at)
        }
    })
}

async fn refunds(conn: &mut PgConnection, conversion: &Conversion) -> Result<Vec<Step>> {
    let refunds = queries::list_refunds(conn, conversion.id).await?;
    let steps = refunds.into_iter().map(|refund| {
        let (reason, effect) = if refund.reversed {
            (Reason::RefundReversed, "is netted off the next payout")
        } else {
            (Reason::RefundShrank, "was taken off the commission")
        };
        let text = format!(
            "${} went back to the customer: ${} {effect}.",
            refund.amount_micros, refund.commission_micros
        );
        let step = Step::new("refunded", reason, text)
            .amount("amount", refund.amount_micros)
            .amount("commission_amount", refund.commission_micros);
        match refund.reason {
            Some(words) => step.with("reason", words),
            None => step,
        }
        .at(refund.created_at)
    });
    Ok(steps.collect())
}

fn decided(conversion: &Conversion) -> Step {
    let decided_at = conversion.decided_at.unwrap_or(conversion.updated_at);
    let by_itself = conversion.reason.as_deref() == Some(APPROVED_BY_ITSELF);
    let whole = conversion.refunded > Micros::ZERO && conversion.revenue == Some(conversion.refunded);
    let step = match conversion.status {
        Status::Pending => {
            let text = format!(
                "The advertiser has not decided. It is approved by itself at {}.",
                At(conversion.auto_approve_at)
            );
            Step::new("decided", Reason::AwaitingDecision, text).at(conversion.auto_approve_at)
        }
        Status::Approved | Status::Paid if by_itself => {
            let text = "It was left pending for auto_approve_days, so it approved itself.";
            Step::new("decided", Reason::ApprovedByItself, text).at(decided_at)
        }
        Status::Approved | Status::Paid => {
            Step::new("decided", Reason::ApprovedByAdvertiser, "The advertiser approved it.").at(decided_at)
        }
        Status::Rejected if !whole => {
            Step::new("decided", Reason::RejectedByAdvertiser, "The advertiser rejected it.").at(decided_at)
        }
        Status::Rejected | Status::Reversed => {
            Step::new("decided", Reason::RefundedInFull, "The sale went back in full.")
                .at(conversion.updated_at)
        }
    };
    match &conversion.reason {
        Some(words) if !by_itself => step.with("reason", words.as_str()),
        _ => step,
    }
}

/// What is left to happen until the affiliate has its money.
async fn payout(conn: &mut PgConnection, conversion: &Conversion, now: DateTime<Utc>) -> Result<Step> {
    let commission = &conversion.commission;
    let step = |reason, text: String| Step::new("payout", reason, text);
    if let Some(id) = commission.payout_id
        && let Some((method, status, at)) = queries::find_payout(conn, id).await?
    {
        let step = if status == "paid" {
            step(Reason::PaidOut, format!("It was paid with payout {id}, by {method}."))
        } else {
            step(Reason::InPayout, format!("Payout {id}, by {method}, has taken it and is {status}."))
        };
        let step = step.with("payout_id", id.to_string()).with("method", method);
        return Ok(step.with("payout_status", status).at(at));
    }
    if conversion.status == Status::Pending {
        let text = "Nothing is paid before it is approved.".to_owned();
        return Ok(step(Reason::NotApproved, text));
    }
    if conversion.status != Status::Approved || commission.amount == Micros::ZERO {
        return Ok(step(Reason::NothingOwed, "It earns nothing, so there is nothing to pay.".to_owned()));
    }
    if commission.payable_at > now {
        let text = format!(
            "The program's hold_days end at {}: no payout takes it before.",
            At(commission.payable_at)
        );
        return Ok(step(Reason::OnHold, text).at(commission.payable_at));
    }
    let (minimum, gathered) =
        queries::load_gathered(conn, conversion.program_id, conversion.affiliate_id, now).await?;
    let (reason, text) = if gathered < minimum {
        let text = format!("The program pays out from ${minimum} on, and ${gathered} is payable so far.");
        (Reason::BelowMinimum, text)
    } else {
        let text = "The advertiser's next POST /api/payouts/process takes it.".to_owned();
        (Reason::Payable, text)
    };
    let step = step(reason, text).amount("min_payout", minimum).amount("payable", gathered);
    Ok(step.at(commission.payable_at))
}
