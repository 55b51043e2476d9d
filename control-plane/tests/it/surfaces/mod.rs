//! The other doors.

mod attribution_v1;
mod mcp;
