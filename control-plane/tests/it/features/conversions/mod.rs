//! Conversions and what they earn.

mod clicks;
mod decide;
mod list;
mod refunds;
mod sums;
mod track;
