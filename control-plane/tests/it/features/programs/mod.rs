//! Programs.

mod create;
