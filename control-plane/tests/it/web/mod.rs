//! What holds for every route: idempotency keys, limits, origins, malformed requests.

mod cors;
mod docs;
mod error_codes;
mod idempotency;
mod leaving;
mod matrix;
mod rate_limit;
mod retry;
mod typos;
mod unreadable;
mod wrong_queries;
