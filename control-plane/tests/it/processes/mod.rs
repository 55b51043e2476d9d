//! The real programs in processes of their own: killed in the middle, taken on the documented tour,
//! put behind a pooler, and traced.

mod crash;
mod pooler;
mod tour;
mod traces;
