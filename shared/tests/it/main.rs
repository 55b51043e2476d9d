//! Tests of what crosses crates: `tidy`, the rules that every file of the repository keeps.

mod tidy;
