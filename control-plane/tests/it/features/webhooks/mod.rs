//! Events and webhooks.

mod deliveries;
mod endpoints;
mod events;
