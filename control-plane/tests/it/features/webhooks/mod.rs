//! Events and webhooks.

mod deliveries;
mod endpoints;
mod events;
mod fairness;
mod receivers;
