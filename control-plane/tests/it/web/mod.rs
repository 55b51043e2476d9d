//! What holds for every route: idempotency keys, limits, origins, malformed requests.

mod cors;
mod docs;
mod idempotency;
mod rate_limit;
mod retry;
