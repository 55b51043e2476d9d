//! Other doors into the same features. They translate words and shapes; they own no rule and no SQL.

pub mod attribution_v1;
pub mod dashboard;
pub mod docs;
pub mod front;
pub mod mcp;
pub mod site;
