//! Conversions: leads and sales that advertisers report, and clicks they report server to server.
//!
//! Owns tables `conversions` and `refunds`. Must stay true: an `external_id` names one conversion per
//! program and kind of event; a conversion, its commission and its metering commit together; states move
//! only as `model::Status` allows. Others may call: everything in `ops` and `clicks`.

pub mod clicks;
pub mod model;
pub mod ops;
pub(crate) mod queries;
pub mod refunds;
pub mod routes;
pub mod wire;
