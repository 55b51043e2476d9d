//! JSON shapes of wallets.

use super::model::{Settings, Topup};
use crate::error::Result;
use crate::features::ledger::model::{CURRENCY, Entry};
use crate::money::Micros;
use crate::page::{List, Page, PageQuery};
use crate::time::At;
use crate::web::extract::Patch;
use crate::web::openapi::dollars;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A wallet as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct WalletResponse {
    /// What can be spent.
    pub balance: Micros,
    /// `usd`.
    pub currency: &'static str,
    /// Set aside for payouts on their way.
    pub held: Micros,
    /// Owed to us after a payment was taken back; the next top-up repays it first.
    pub owed: Micros,
    /// Whether money ever came in.
    pub funded: bool,
    /// Topping up by itself.
    pub auto_topup: AutoTopup,
    /// What metered calls may cost in a UTC month; null for no cap.
    pub monthly_spend_cap: Option<Micros>,
    /// What they cost this month so far.
    pub spent_this_month: Micros,
    /// How top-ups are paid: `sandbox` or `stripe`.
    pub provider: &'static str,
}

/// Topping up by itself: once the balance falls below `threshold`, `amount` is added.
#[derive(Debug, Serialize, ToSchema)]
pub struct AutoTopup {
    /// Whether it is on.
    pub enabled: bool,
    /// Below this balance…
    pub threshold: Option<Micros>,
    /// …this much is added.
    pub amount: Option<Micros>,
}

impl From<Settings> for AutoTopup {
    fn from(settings: Settings) -> Self {
        Self {
            enabled: settings.auto_topup_amount_micros.is_some(),
            threshold: settings.auto_topup_threshold_micros,
            amount: settings.auto_topup_amount_micros,
        }
    }
}

/// How much to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopupRequest {
    /// US dollars: 5 to 500 in steps of 5.
    #[schema(schema_with = topup_amount)]
    pub amount: Micros,
    /// `x402` pays within the request; left out, the payment provider is asked.
    #[serde(default)]
    pub payment: Option<TopupPayment>,
}

/// Another way to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TopupPayment {
    /// By a stablecoin payment within the request.
    X402,
}

fn topup_amount() -> Object {
    dollars("US dollars: 5 to 500 in steps of 5.", 5, 500, 20).multiple_of(Some(5)).build()
}

/// A payment into the wallet.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopupResponse {
    /// Its id.
    pub id: Uuid,
    /// How much.
    pub amount: Micros,
    /// `usd`.
    pub currency: &'static str,
    /// `pending` until it is paid, then `paid`; `failed`; `expired` when the checkout page was left unused.
    pub status: String,
    /// `sandbox`, `stripe` or `x402`.
    pub provider: String,
    /// True when no real money moved.
    pub sandbox: bool,
    /// Where a person pays with a card; the wallet is credited once that is done.
    pub checkout_url: Option<String>,
    /// How much went back since.
    pub refunded: Micros,
    /// Started by the wallet itself.
    pub automatic: bool,
    /// The wallet's balance now.
    pub balance: Micros,
    /// When it was started.
    pub created_at: At,
}

impl TopupResponse {
    /// With the balance beside it.
    pub fn of(topup: Topup, balance: Micros) -> Self {
        Self {
            id: topup.id.uuid(),
            amount: topup.amount_micros,
            currency: CURRENCY,
            status: topup.status,
            sandbox: topup.provider == "sandbox",
            provider: topup.provider,
            checkout_url: topup.checkout_url,
            refunded: topup.refunded_micros,
            automatic: topup.automatic,
            balance,
            created_at: topup.created_at.into(),
        }
    }
}

/// Which transactions to list.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TransactionsQuery {
    /// Page, from 1: `page` times `per_page` is 10,000 at most, go on by cursor.
    #[param(minimum = 1, maximum = 10000, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
    /// `pagination.next_cursor` of the page before, instead of `page`.
    #[param(pattern = "^[A-Za-z0-9_-]{44}$")]
    pub cursor: Option<String>,
    /// Only these.
    #[param(inline)]
    pub r#type: Option<TransactionType>,
}

impl TransactionsQuery {
    /// The page asked for.
    pub fn page(&self) -> Result<Page> {
        PageQuery { page: self.page, per_page: self.per_page }
            .checked_from(self.cursor.as_deref(), List::Transactions.order())
    }
}

/// The direction of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionType {
    /// Money went out.
    Debit,
    /// Money came in.
    Credit,
}

/// One movement of the wallet.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransactionResponse {
    /// The transfer's id in the ledger.
    pub id: Uuid,
    /// `debit` took from the wallet, `credit` added to it.
    pub r#type: TransactionType,
    /// What for: `topup`, `clicks`, `conversion`, `matching_request`, `pro`, `payout`, …
    pub kind: String,
    /// How much, always positive.
    pub amount: Micros,
    /// `usd`.
    pub currency: &'static str,
    /// How many, for what is metered.
    pub quantity: Option<i64>,
    /// The price of one, for what is metered.
    pub unit_price: Option<Micros>,
    /// The id of what it was for.
    pub reference: String,
    /// The wallet's balance after it.
    pub balance_after: Micros,
    /// When.
    pub created_at: At,
}

impl From<Entry> for TransactionResponse {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id.uuid(),
            r#type: if entry.is_debit { TransactionType::Debit } else { TransactionType::Credit },
            kind: entry.kind,
            amount: entry.amount_micros,
            currency: CURRENCY,
            quantity: entry.quantity,
            unit_price: entry.unit_micros,
            reference: entry.reference,
            balance_after: entry.balance_micros,
            created_at: entry.created_at.into(),
        }
    }
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeWalletRequest {
    /// Topping up by itself; `null` turns it off.
    #[serde(default)]
    #[schema(value_type = Option<AutoTopupRequest>)]
    pub auto_topup: Patch<AutoTopupRequest>,
    /// What metered calls may cost in a UTC month, 0 to 1,000,000; `null` lifts the cap.
    #[serde(default)]
    #[schema(schema_with = spend_cap)]
    pub monthly_spend_cap: Patch<Micros>,
}

fn spend_cap() -> Object {
    let about = "What metered calls may cost in a UTC month, 0 to 1,000,000; `null` lifts the cap.";
    dollars(about, 0, 1_000_000, 50).schema_type(SchemaType::from_iter([Type::Number, Type::Null])).build()
}

fn threshold() -> Object {
    dollars("Top up once the balance is below this: 0 to 500.", 0, 500, 5).build()
}

/// When to top up, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AutoTopupRequest {
    /// Top up once the balance is below this: 0 to 500.
    #[schema(schema_with = threshold)]
    pub threshold: Micros,
    /// By this much: 5 to 500 in steps of 5.
    #[schema(schema_with = topup_amount)]
    pub amount: Micros,
}
