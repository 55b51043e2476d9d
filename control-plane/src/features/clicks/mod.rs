//! Clicks: what the drainer stored, and what the fold makes of it.
//!
//! Owns tables `clicks`, `click_deltas`, `link_hours`, `link_sources` (the drainer writes the first two, in its transaction).
//! Must stay true: a delta is folded once: its counts are in `link_hours` and in the usage of its
//! advertiser exactly when its row is gone. Others may call: `ops::count_by_link`, `ops::find`.

pub mod closing;
pub mod fold;
pub mod measure;
pub mod model;
pub mod ops;
pub mod partitions;
pub(crate) mod queries;
pub(crate) mod sources;
