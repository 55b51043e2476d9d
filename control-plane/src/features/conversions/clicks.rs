//! Server-side clicks: those that could not go through the redirect.
//!
//! Stored and metered as an edge's: the row in `clicks` and its counters in `click_deltas` commit together,
//! and the fold does the rest. They have no spool; spool tag 0 stands for all of them.

use super::model::Tracked;
use super::queries;
use crate::error::{Code, Error, Result};
use crate::web::rate_limit::{Limit, WithoutRedis};
use shared::click_id::ClickIdKey;
use shared::id::AgentId;
use shared::{ClickClass, ClickId, Clock, LinkKey};
use sqlx::PgConnection;

/// The spool tag that no edge has.
pub const SPOOL_TAG: u32 = 0;
/// How many an account may report. Each can cost the advertiser money, and its affiliates report them too.
pub const LIMIT: Limit =
    Limit { name: "track-click", max: 1000, window_seconds: 60, without_redis: WithoutRedis::CountLocally };
/// The client declared itself an agent by its key.
pub const CLASS: ClickClass = ClickClass::Agent;

/// A recorded click.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its id.
    pub click_id: String,
    /// What it says.
    pub click: ClickId,
    /// Whether the program counts its class, and so it is metered.
    pub counted: bool,
}

/// The link's two sides may report clicks on it, and nobody else.
pub fn must_be_party(tracked: &Tracked, caller: AgentId) -> Result<()> {
    if caller == tracked.advertiser_id || caller == tracked.affiliate_id {
        return Ok(());
    }
    Err(Error::new(
        Code::NotOwner,
        "The tracking link is neither yours nor your program's.",
        "Use the key of the link's affiliate or of its program's advertiser.",
    ))
}

/// Records a click on a link that counts clicks now.
pub async fn record(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    ids: &ClickIdKey,
    (key, tracked): (LinkKey, &Tracked),
) -> Result<Recorded> {
    tracked.must_be_creditable()?;
    if tracked.program_status != "active" || tracked.link_deleted {
        return Err(Error::new(
            Code::InvalidState,
            "The link does not count clicks: its program is paused or it was deleted.",
            "Resume the program with POST /api/programs/:id/activate, or use another link.",
        )
        .with("program_status", tracked.program_status.as_str()));
    }
    let now = clock.now();
    let seq = queries::next_click_seq(conn).await?;
    let click = ClickId { at_ms: now.timestamp_millis(), spool_tag: SPOOL_TAG, seq, link: key };
    let counted = tracked.pay_classes.contains(CLASS);
    queries::insert_click(conn, &click, tracked.advertiser_number, (CLASS, counted), now).await?;
    let text = ids.mint(&click);
    let click_id = std::str::from_utf8(&text).map_err(Error::bug)?.to_owned();
    Ok(Recorded { click_id, click, counted })
}
