//! The real programs in processes of their own: killed in the middle, and taken on the documented tour.

mod crash;
mod tour;
