//! What others ask of clicks. The caller owns the connection.

use super::model::StoredClick;
use super::queries;
use crate::error::Result;
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
