//! Tests of what crosses crates: `alerts`, the alerts, their runbook and the dashboards; `settings`, the examples of
//! `deploy/env`; `tidy`, the rules that every file of the repository keeps.

mod alerts;
mod settings;
mod tidy;
