//! The other doors.

mod attribution_v1;
mod dashboard;
mod front;
mod mcp;
