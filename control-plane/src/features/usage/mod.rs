//! Usage: what accounts used of what is metered, and what it cost them.
//!
//! Owns tables `usage_months`, `usage_closed`, `spend_caps`, `link_charges`. Must stay true: a unit is metered in the transaction of its
//! effect, once, in one UTC month; allowance first, then wallet; what neither covers is refused
//! (conversions, matching requests) or kept as over the limit and not billed (clicks, because a visitor
//! is never shown a billing matter). Clicks of a link that suddenly bills far above its mean are capped: kept, not
//! billed ([`hammered`]). `used = included + billed + over_limit + capped`, and what was billed is what
//! the ledger moved.
//!
//! Lock order: the row of `usage_closed`, usage rows by (advertiser, month, metric), then spend caps by advertiser, then the ledger,
//! then rows of `link_charges`, which belong to usage rows already locked.

pub mod hammered;
pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod report;
pub mod routes;
pub mod wire;
