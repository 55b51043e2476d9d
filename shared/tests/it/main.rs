//! Tests of what crosses crates: `settings`, the examples of `deploy/env`; `tidy`, the rules that every file of the repository keeps.

mod settings;
mod tidy;
