//! Signers: the public keys of AI agents that sign their requests (Web Bot Auth).
//!
//! Owns table `agent_directories`. Fetches the directories the operator names, through the guard that every
//! call to others goes through, and publishes their keys in Redis for the edges, which never call anybody.
//! Nothing a visitor sends can make us fetch anything. Must stay true: what was fetched once stays in force
//! while its origin does not answer, for [`ops::KEEP_DAYS`] days; a key that a directory no longer lists is
//! gone with the next fetch. Limits: those of `shared::agent_keys`.

pub mod ops;
mod queries;
