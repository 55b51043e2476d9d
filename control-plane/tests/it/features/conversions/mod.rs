//! Conversions and what they earn.

mod clicks;
mod decide;
mod list;
mod sums;
mod track;
