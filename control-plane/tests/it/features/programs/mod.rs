//! Programs.

mod create;
mod delete;
mod list;
mod states;
mod update;
