//! The account of a run: which acknowledged clicks are stored, once, and counted.

use crate::stack::Stack;
use anyhow::Context;
use sqlx::PgPool;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long the pipeline may take to catch up after the last click.
const CATCH_UP_FOR: Duration = Duration::from_mins(2);
/// Nothing moved for so long: it has caught up.
const STILL_FOR: Duration = Duration::from_secs(2);
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// What Postgres says about the clicks.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Clicks below the spools' watermarks: what the edge accepted and Postgres answered for.
    pub(crate) accepted: u64,
    /// Rows.
    pub(crate) stored: u64,
    /// Clicks in parked frames.
    pub(crate) parked: u64,
    /// Clicks the edge declared lost.
    pub(crate) declared_loss: u64,
    /// Clicks in the month's usage, over the limit or not.
    pub(crate) used: u64,
    /// Acknowledged clicks without a row.
    pub(crate) lost: u64,
    /// Clicks with more than one row.
    pub(crate) doubled: u64,
    /// From the last click to the last row.
    pub(crate) caught_up_in: Duration,
}

/// Waits until the pipeline stands still, then compares click by click.
pub(crate) async fn take(stack: &Stack, acknowledged: &[u64]) -> anyhow::Result<Account> {
    compare(&stack.database().await?, acknowledged).await
}

/// The same on any database.
pub(crate) async fn compare(database: &PgPool, acknowledged: &[u64]) -> anyhow::Result<Account> {
    let started = Instant::now();
    let mut last = (-1i64, -1i64);
    let mut moved = Instant::now();
    loop {
        let now: (i64, i64) =
            sqlx::query_as("SELECT (SELECT count(*) FROM clicks), (SELECT count(*) FROM click_deltas)")
                .fetch_one(database)
                .await?;
        if now != last {
            (last, moved) = (now, Instant::now());
        }
        let all_there = now.0 as usize >= acknowledged.len() && now.1 == 0;
        if (all_there && moved.elapsed() > STILL_FOR) || started.elapsed() > CATCH_UP_FOR {
            break;
        }
        tokio::time::sleep(POLL_PAUSE).await;
    }
    let caught_up_in = moved.saturating_duration_since(started);
    let notes: Vec<Option<Vec<u8>>> =
        sqlx::query_scalar("SELECT notes FROM clicks").fetch_all(database).await?;
    let mut rows: HashMap<u64, u64> = HashMap::new();
    for notes in &notes {
        *rows.entry(number(notes.as_deref().unwrap_or_default())?).or_default() += 1;
    }
    let (accepted, parked, declared_loss, used): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(watermark), 0)::BIGINT,
                coalesce(sum(parked), 0)::BIGINT,
                coalesce(sum(declared_loss), 0)::BIGINT,
                (SELECT coalesce(sum(used), 0) FROM usage_months WHERE metric = 'clicks')::BIGINT
           FROM spools",
    )
    .fetch_one(database)
    .await?;
    Ok(Account {
        accepted: accepted as u64,
        stored: notes.len() as u64,
        parked: parked as u64,
        declared_loss: declared_loss as u64,
        used: used as u64,
        lost: acknowledged.iter().filter(|number| !rows.contains_key(number)).count() as u64,
        doubled: rows.values().filter(|count| **count > 1).count() as u64,
        caught_up_in,
    })
}

/// The number a click was sent with, from its `sub1`.
fn number(notes: &[u8]) -> anyhow::Result<u64> {
    let mut rest = notes;
    while let [kind, len, tail @ ..] = rest {
        let (value, tail) = tail.split_at_checked(*len as usize).context("a note is cut short")?;
        if *kind == shared::click::note::SUB1 {
            return Ok(std::str::from_utf8(value)?.parse()?);
        }
        rest = tail;
    }
    anyhow::bail!("a click has no sub1")
}
