//! What `tracker-edge` and `control-plane` would otherwise disagree about.
//!
//! A thing belongs here when one program writes it and the other reads it: tokens, link records,
//! click frames, click ids, Redis key names, the secret they are keyed with. Everything else lives
//! with its owner. No SQL, no HTTP, no money.
//!
//! Encodings are append-only. A new version is a new module, and the golden bytes of every version
//! ever shipped (`golden/` beside each) must decode for ever.

pub mod agent_keys;
pub mod click;
pub mod click_id;
pub mod clock;
pub mod domain_record;
pub mod frame;
pub mod id;
pub mod keys;
pub mod link_record;
pub mod redis_url;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
pub mod token;

pub use click::{ClassSet, Click, ClickClass};
pub use click_id::ClickId;
pub use clock::{Clock, SystemClock, TestClock};
pub use domain_record::{DomainKey, DomainRecord};
pub use link_record::{LinkRecord, LinkStatus};
pub use secret::Secret;
pub use token::{LinkKey, Token, TokenKey};
