//! Accounts, and postings as they are asked for.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use crate::money::Micros;
use chrono::NaiveDate;
use shared::id::{AgentId, TransferId};

/// The ledger's one currency. Amounts in others are settled outside of it.
pub const CURRENCY: &str = "usd";

macro_rules! words {
    ($(#[$doc:meta])* $enum:ident { $($(#[$variant_doc:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $enum { $($(#[$variant_doc])* $name,)* }

        impl $enum {
            /// The column value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

words! {
    /// What an account is for. Every account belongs to an agent.
    AccountKind {
        /// What the agent can spend.
        Wallet = "wallet",
        /// Set aside for a payout on its way.
        Held = "held",
        /// Paid to us for clicks.
        Clicks = "clicks",
        /// Paid to us for conversions.
        Conversions = "conversions",
        /// Paid to us for matching requests.
        MatchingRequests = "matching_requests",
        /// Paid to us for Pro.
        Pro = "pro",
        /// Sent to affiliates' addresses.
        PaidOut = "paid_out",
        /// Came in through the sandbox: money of no worth.
        Sandbox = "sandbox",
        /// Came in through Stripe.
        Stripe = "stripe",
        /// Came in through x402.
        X402 = "x402",
        /// What the agent owes us after a payment was taken back.
        Arrears = "arrears",
    }
}

words! {
    /// What a transfer is for.
    TransferKind {
        /// Money came in.
        Topup = "topup",
        /// Money that came in went back.
        TopupRefund = "topup_refund",
        /// The part of a refund that the wallet could not cover.
        TopupRefundOwed = "topup_refund_owed",
        /// Money that had gone back came again: a dispute won, a refund that failed.
        TopupReinstated = "topup_reinstated",
        /// A debt repaid out of the wallet.
        ArrearsPaid = "arrears_paid",
        /// Metered clicks.
        Clicks = "clicks",
        /// A metered conversion.
        Conversion = "conversion",
        /// A metered matching request.
        MatchingRequest = "matching_request",
        /// A month of Pro.
        Pro = "pro",
        /// Money paid for Pro went back: a refund or a dispute of its charge.
        ProRefund = "pro_refund",
        /// It came again: a dispute won, a refund that failed.
        ProReinstated = "pro_reinstated",
        /// From the advertiser's wallet to the affiliate's.
        Payout = "payout",
        /// Set aside for a payout.
        PayoutHeld = "payout_held",
        /// What was set aside comes back.
        PayoutReturned = "payout_returned",
        /// What was set aside has left.
        PayoutSent = "payout_sent",
    }
}

/// One account.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Account {
    /// Whose.
    pub owner: AgentId,
    /// What for.
    pub kind: AccountKind,
}

impl Account {
    /// The account of this agent and kind.
    pub const fn of(owner: AgentId, kind: AccountKind) -> Self {
        Self { owner, kind }
    }

    /// What the agent can spend.
    pub const fn wallet(owner: AgentId) -> Self {
        Self::of(owner, AccountKind::Wallet)
    }
}

/// How many of what is metered, at what price, in which month.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metered {
    /// How many.
    pub quantity: i64,
    /// The price of one.
    pub unit: Micros,
    /// The first day of the month they count in.
    pub month: NaiveDate,
}

/// A transfer to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posting {
    /// Where from.
    pub debit: Account,
    /// Where to.
    pub credit: Account,
    /// How much; more than nothing.
    pub amount: Micros,
    /// What for.
    pub kind: TransferKind,
    /// With the kind it names the transfer: the same name twice moves money once.
    pub reference: String,
    /// For what is metered.
    pub metered: Option<Metered>,
}

/// What became of a posting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Posted {
    /// Money moved.
    Done(TransferId),
    /// It had moved before; nothing happened now.
    Repeated(TransferId),
    /// The debited account lacks this much; nothing happened.
    Short(Micros),
}

/// A transfer as one of its accounts sees it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Entry {
    /// The transfer.
    pub id: TransferId,
    /// Its number among the account's transfers, from 1.
    pub version: i64,
    /// Whether it took from the account.
    pub is_debit: bool,
    /// How much.
    pub amount_micros: Micros,
    /// What for.
    pub kind: String,
    /// The other half of its name.
    pub reference: String,
    /// How many, for what is metered.
    pub quantity: Option<i64>,
    /// At what price.
    pub unit_micros: Option<Micros>,
    /// The balance after it.
    pub balance_micros: Micros,
    /// When.
    pub created_at: chrono::DateTime<chrono::Utc>,
}

/// Which entries of an account to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Both.
    Any,
    /// What it took.
    Debit,
    /// What it got.
    Credit,
}

/// An account as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Standing {
    /// Credits minus debits.
    pub balance_micros: Micros,
    /// Transfers so far.
    pub version: i64,
}
