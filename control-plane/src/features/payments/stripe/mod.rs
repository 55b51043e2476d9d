//! Payments through Stripe: its events ([`apply`]), money that goes back ([`reversals`]), Pro's months
//! ([`months`]), and looking things up when an event was lost ([`recover`]).

pub mod apply;
pub mod model;
pub mod months;
pub(crate) mod queries;
pub mod recover;
pub mod reversals;
