//! Metering: allowance, then wallet, then refusal or over the limit.

mod charge;
mod clicks;
mod conversions;
mod edge;
mod hammered;
