//! What others ask of clicks. The caller owns the connection.

use super::model::StoredClick;
pub use super::model::{LiveClick, Whose};
use super::queries;
use crate::error::Result;
use chrono::{DateTime, Utc};
use shared::{ClickId, LinkKey};
use sqlx::PgConnection;
use std::collections::HashMap;

/// Clicks of each link, of every class, also those not folded yet. Links never clicked are left out.
pub async fn count_by_link(conn: &mut PgConnection, links: &[LinkKey]) -> Result<HashMap<LinkKey, i64>> {
    if links.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<i64> = links.iter().map(|link| link.to_i64()).collect();
    let counts = queries::count_by_link(conn, &keys).await?;
    Ok(counts.into_iter().map(|(key, clicks)| (LinkKey::from_i64(key), clicks)).collect())
}

/// The stored click behind an id; `None` until the drainer has stored it, or after its day was dropped.
pub async fn find(conn: &mut PgConnection, id: &ClickId) -> Result<Option<StoredClick>> {
    queries::find_click(conn, id).await
}

/// The newest clicks since an instant, with where they lead. Reads all clicks since then: ask for seconds.
pub async fn latest(
    conn: &mut PgConnection,
    whose: Whose,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<LiveClick>> {
    match whose {
        Whose::Advertiser(number) => queries::list_latest_of_advertiser(conn, number, since, limit).await,
        Whose::Affiliate(agent) => queries::list_latest_of_affiliate(conn, agent, since, limit).await,
    }
}
