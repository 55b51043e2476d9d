//! `control-plane parked list|replay|drop`.

use super::{Outcome, table};
use crate::config::ParkedAction;
use crate::workers::drainer::parked::{self, ReplayError};
use sqlx::PgConnection;

/// Frames read at once.
const PAGE: i64 = 500;

/// Runs the command.
pub async fn run(conn: &mut PgConnection, action: &ParkedAction) -> sqlx::Result<Outcome> {
    match action {
        ParkedAction::List => list(conn).await,
        ParkedAction::Replay { ids } if ids.is_empty() => {
            let all = every(conn).await?;
            let ids: Vec<_> = all.iter().filter(|frame| frame.counted > 0).map(|frame| frame.id).collect();
            replay(conn, &ids).await
        }
        ParkedAction::Replay { ids } => replay(conn, ids).await,
        ParkedAction::Drop { ids } => discard(conn, ids).await,
    }
}

async fn every(conn: &mut PgConnection) -> sqlx::Result<Vec<parked::ParkedFrame>> {
    let mut all: Vec<parked::ParkedFrame> = Vec::new();
    loop {
        let page = parked::list(conn, all.last().map_or(i64::MIN, |frame| frame.id), PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

async fn list(conn: &mut PgConnection) -> sqlx::Result<Outcome> {
    let frames = every(conn).await?;
    if frames.is_empty() {
        return Ok(Outcome { text: "No frames are parked.".to_owned(), well: true });
    }
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<_> = frames
        .iter()
        .map(|frame| {
            vec![
                frame.id.to_string(),
                frame.created_at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
                frame.reason.clone(),
                or_dash(frame.spool.map(|spool| spool.simple().to_string())),
                or_dash(frame.first_seq.map(|first_seq| first_seq.to_string())),
                frame.clicks.to_string(),
                frame.counted.to_string(),
                frame.size_bytes.to_string(),
            ]
        })
        .collect();
    let head = ["id", "parked at", "reason", "spool", "first", "clicks", "counted", "bytes"];
    Ok(Outcome { text: table(&head, &rows), well: true })
}

async fn replay(conn: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Outcome> {
    let mut lines = Vec::new();
    let mut well = true;
    for id in ids {
        match parked::replay(conn, *id).await {
            Ok(clicks) => lines.push(format!("{id}: {clicks} clicks stored")),
            Err(ReplayError::Refused(error)) if crate::db::is_unavailable(&error) => return Err(error),
            Err(error) => {
                well = false;
                lines.push(format!("{id}: {error}"));
            }
        }
    }
    if lines.is_empty() {
        lines.push("No parked frame stands for a click.".to_owned());
    }
    Ok(Outcome { text: lines.join("\n"), well })
}

async fn discard(conn: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Outcome> {
    let mut lines = Vec::new();
    let mut well = true;
    for id in ids {
        match parked::discard(conn, *id).await? {
            Some(clicks) => lines.push(format!("{id}: dropped; {clicks} clicks are declared lost")),
            None => {
                well = false;
                lines.push(format!("{id}: there is no parked frame {id}"));
            }
        }
    }
    Ok(Outcome { text: lines.join("\n"), well })
}
