//! Subscriptions: Infrastructure Pro, month by month.
//!
//! Owns table `subscriptions` and the column `agents.tier`. Must stay true: an agent has one subscription
//! at a time; it is on Pro exactly while one is active or in grace; each month is paid once. Cancelled, it
//! runs to the end of what was paid; a renewal that fails keeps Pro for a week and is tried again daily.
//! What was used in a month stays used whatever the plan.
//!
//! Lock order: subscription, agent, then the ledger.

pub mod model;
pub mod months;
pub mod ops;
pub(crate) mod queries;
pub mod renewal;
pub mod routes;
pub mod wire;
