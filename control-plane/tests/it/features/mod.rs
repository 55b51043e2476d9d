//! Endpoints by feature.

mod agents;
