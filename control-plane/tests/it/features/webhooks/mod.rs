//! Events and webhooks.

mod events;
