//! Audit: what must always be true of the stored rows, as questions whose right answer is no row.
//!
//! Owns nothing, reads any table, writes none. `control-plane reconcile` prints what it finds, and the
//! property tests end with it. A check that finds a row is a bug or a tampered database, never a normal state.

pub mod ops;
pub(crate) mod queries;

mod causes {
    pub(super) mod queries;
}
mod pipeline {
    pub(super) mod queries;
}
mod sums {
    pub(super) mod queries;
}
