//! The real programs in processes of their own: killed in the middle, taken on the documented tour, and
//! put behind a pooler.

mod crash;
mod pooler;
mod tour;
