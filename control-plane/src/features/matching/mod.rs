//! Matching: which program suits which agent, and the other way round.
//!
//! Owns tables `match_suggestions`, `match_requests`, `match_outbox`, `prospects`. Must stay true: nobody is shown a program of its own, one it has joined or one it has declined;
//! no place in a ranking can be bought; a query is charged once in ten minutes, and only when it finds
//! something. Suggestions are made in the sign-up itself (quickstart) or by [`suggest::job`], which takes what
//! triggers have written down about new and changed agents and programs.
//! Others may call: [`ops::pending`] and [`suggest::to_agent`].
//! Limit: at most 550 candidates are scored, however many programs there are: 100 of the field by earnings and
//! 100 by age, 200 by shared words, 100 by earnings and 50 by age of all.

pub mod model;
pub mod ops;
pub mod outreach;
pub(crate) mod queries;
pub mod rank;
pub mod routes;
pub mod suggest;
pub mod wire;
