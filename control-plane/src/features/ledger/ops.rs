//! Moving money and looking at accounts. The caller owns the transaction.

use super::model::{Account, Entry, Posted, Posting, Side, Standing};
use super::queries;
use crate::error::{Error, Result};
use crate::money::Micros;
use crate::page::Page;
use chrono::{DateTime, Utc};
use shared::id::AgentId;
use sqlx::PgConnection;
use std::collections::HashMap;

/// Moves money once, or says what is missing.
pub async fn post(conn: &mut PgConnection, now: DateTime<Utc>, posting: &Posting) -> Result<Posted> {
    let posted = post_all(conn, now, std::slice::from_ref(posting)).await?;
    posted.first().copied().ok_or_else(|| Error::bug(anyhow::anyhow!("a posting had no outcome")))
}

/// Moves money for each posting in turn; one that its account cannot cover is skipped, the others are not.
/// A caller that wants all or nothing lets its transaction go when one is [`Posted::Short`].
pub async fn post_all(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    postings: &[Posting],
) -> Result<Vec<Posted>> {
    if postings.is_empty() {
        return Ok(Vec::new());
    }
    let posted = queries::post(conn, now, postings).await?;
    if posted.len() != postings.len() {
        return Err(Error::bug(anyhow::anyhow!("{} postings, {} outcomes", postings.len(), posted.len())));
    }
    Ok(posted)
}

/// How an account stands; empty when it was never used.
pub async fn standing(conn: &mut PgConnection, account: Account) -> Result<Standing> {
    Ok(queries::find_standing(conn, account).await?.unwrap_or_default())
}

/// What an account holds.
pub async fn balance(conn: &mut PgConnection, account: Account) -> Result<Micros> {
    Ok(standing(conn, account).await?.balance_micros)
}

/// An account's transfers, newest first, and how many there are.
pub async fn list_entries(
    conn: &mut PgConnection,
    account: Account,
    side: Side,
    page: Page,
) -> Result<(Vec<Entry>, i64)> {
    let total = match page.total() {
        Some(total) => total,
        None => queries::count_entries(conn, account, side).await?,
    };
    Ok((queries::list_entries(conn, account, side, page).await?, total))
}

/// Locks these agents' wallets in the order of their ids and says what they hold. A caller that bills from
/// them posts afterwards; the only other accounts it may touch are the agents' own fee accounts, which
/// nobody locks without the agent's usage row.
pub async fn lock_wallets(conn: &mut PgConnection, owners: &[AgentId]) -> Result<HashMap<AgentId, Micros>> {
    if owners.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(queries::lock_wallets(conn, owners).await?.into_iter().collect())
}
