//! JSON shapes of subscriptions.

use super::model::{PRICE, Source, Status, Subscription};
use crate::features::ledger::model::CURRENCY;
use crate::money::Micros;
use crate::time::At;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// How to pay for Pro. An empty object is fine.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// `wallet` pays each month from the wallet's balance; left out, the payment provider is asked.
    pub payment: Option<Payment>,
}

/// Another way to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Payment {
    /// From the wallet.
    Wallet,
}

/// A subscription, or the lack of one.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionResponse {
    /// Its id; null when there never was one.
    pub id: Option<Uuid>,
    /// The plan in force: `free` or `pro`.
    pub plan: &'static str,
    /// `none`, `pending`, `active`, `past_due`, `canceled`.
    pub status: &'static str,
    /// What a month costs.
    pub price: Micros,
    /// `usd`.
    pub currency: &'static str,
    /// Always `month`.
    pub interval: &'static str,
    /// How it is paid.
    pub payment: Option<Source>,
    /// True when no real money moves.
    pub sandbox: bool,
    /// When it was started.
    pub started_at: Option<At>,
    /// What is paid now: from…
    pub current_period_start: Option<At>,
    /// …to.
    pub current_period_end: Option<At>,
    /// Whether it ends there.
    pub cancel_at_period_end: bool,
    /// After a failed renewal: Pro stays until then.
    pub grace_until: Option<At>,
    /// When it ended.
    pub ended_at: Option<At>,
    /// Where a person pays with a card; Pro begins once that is done.
    pub checkout_url: Option<String>,
    /// What to call to get Pro, when it is not in force.
    pub upgrade_url: Option<&'static str>,
}

impl SubscriptionResponse {
    /// As it stands.
    pub fn of(subscription: Option<Subscription>) -> Self {
        let Some(kept) = subscription else {
            return Self {
                id: None,
                plan: "free",
                status: "none",
                price: PRICE,
                currency: CURRENCY,
                interval: "month",
                payment: None,
                sandbox: false,
                started_at: None,
                current_period_start: None,
                current_period_end: None,
                cancel_at_period_end: false,
                grace_until: None,
                ended_at: None,
                checkout_url: None,
                upgrade_url: Some("POST /api/subscription/pro"),
            };
        };
        let pro = matches!(kept.status, Status::Active | Status::PastDue);
        Self {
            id: Some(kept.id.uuid()),
            plan: if pro { "pro" } else { "free" },
            status: kept.status.as_str(),
            price: kept.price_micros,
            currency: CURRENCY,
            interval: "month",
            payment: Some(kept.source),
            sandbox: kept.source == Source::Sandbox,
            started_at: kept.anchor_at.map(At),
            current_period_start: kept.current_period_start.map(At),
            current_period_end: kept.current_period_end.map(At),
            cancel_at_period_end: kept.cancel_at_period_end,
            grace_until: kept.grace_until.map(At),
            ended_at: kept.ended_at.map(At),
            checkout_url: kept.checkout_url.filter(|_| kept.status == Status::Pending),
            upgrade_url: (!pro).then_some("POST /api/subscription/pro"),
        }
    }
}
