//! HTTP plumbing without product words: reading requests, writing replies, serving connections.

pub mod client_address;
pub mod cors;
pub mod decode;
pub mod egress;
pub mod extract;
pub mod idempotency;
pub mod known_routes;
pub mod middleware;
pub mod no_query;
pub mod openapi;
pub mod own_words;
pub mod public_posts;
pub mod rate_limit;
pub mod respond;
pub mod retry;
pub mod router;
pub mod server;
pub mod x402;
