//! Running the checks.

use super::queries;
use crate::error::Result;
use sqlx::{PgConnection, PgPool};
use std::fmt;

/// A row that breaks an invariant.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Which invariant.
    pub check: &'static str,
    /// What must be true.
    pub rule: &'static str,
    /// The row.
    pub row: serde_json::Value,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.check, self.rule, self.row)
    }
}

/// What the checks are called.
pub fn names() -> Vec<&'static str> {
    queries::all().map(|check| check.name).collect()
}

/// Every row that breaks an invariant at one moment, whatever else is being written.
pub async fn broken_in_snapshot(pool: &PgPool) -> Result<Vec<Broken>> {
    let mut tx = pool.begin().await?;
    queries::take_snapshot(&mut tx).await?;
    broken(&mut tx).await
}

/// Every row that breaks an invariant, at most 100 of each. The connection is in one snapshot: a
/// repeatable-read transaction, or nothing else is writing.
pub async fn broken(conn: &mut PgConnection) -> Result<Vec<Broken>> {
    let mut found = Vec::new();
    for check in queries::all() {
        let rows = queries::rows(conn, check.sql).await?;
        found.extend(rows.into_iter().map(|row| Broken { check: check.name, rule: check.rule, row }));
    }
    Ok(found)
}
