//! What Postgres did for a request: the plans it wrote to its log, read for scans of whole big tables.

use crate::stack::Stack;
use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::collections::{BTreeSet, HashSet};
use std::io::{Read, Seek, SeekFrom};

/// A table with more rows is big: reading all of it is not a plan.
const ROWS_MAX: i64 = 5_000;

/// The plans of a run.
pub(super) struct Plans {
    log: std::path::PathBuf,
    read_to: u64,
    big_tables: HashSet<String>,
}

impl Plans {
    /// Has every plan written to the log from the next connection on.
    pub(super) async fn watch(stack: &Stack) -> anyhow::Result<Self> {
        set(stack, "session_preload_libraries = 'auto_explain'").await?;
        for setting in ["auto_explain.log_min_duration = 0", "auto_explain.log_nested_statements = on"] {
            set(stack, setting).await?;
        }
        let mut conn = sqlx::PgConnection::connect(&stack.postgres.url()).await?;
        let big_tables: Vec<String> = sqlx::query_scalar(
            "SELECT relname::TEXT FROM pg_class WHERE relkind = 'r' AND reltuples > $1 AND relnamespace = 'public'::regnamespace",
        )
        .bind(ROWS_MAX as f32)
        .fetch_all(&mut conn)
        .await?;
        Ok(Self {
            log: stack.postgres.log().to_owned(),
            read_to: 0,
            big_tables: big_tables.into_iter().collect(),
        })
    }

    /// Stops writing plans, from the next connection on.
    pub(super) async fn stop_watching(stack: &Stack) -> anyhow::Result<()> {
        let mut conn = sqlx::PgConnection::connect(&stack.postgres.url()).await?;
        conn.execute("ALTER DATABASE postgres RESET ALL").await?;
        Ok(())
    }

    /// The big tables that were read whole since the last call.
    pub(super) fn read_whole(&mut self) -> anyhow::Result<BTreeSet<String>> {
        let mut file = std::fs::File::open(&self.log).context("Postgres has no log")?;
        file.seek(SeekFrom::Start(self.read_to))?;
        let mut text = Vec::new();
        self.read_to += file.read_to_end(&mut text)? as u64;
        let text = String::from_utf8_lossy(&text);
        let scans = text.lines().filter_map(|line| line.split("Seq Scan on ").nth(1));
        let tables = scans.filter_map(|rest| rest.split_whitespace().next());
        Ok(tables.filter(|table| self.big_tables.contains(*table)).map(str::to_owned).collect())
    }
}

async fn set(stack: &Stack, setting: &str) -> anyhow::Result<()> {
    let mut conn = sqlx::PgConnection::connect(&stack.postgres.url()).await?;
    conn.execute(AssertSqlSafe(format!("ALTER DATABASE postgres SET {setting}"))).await?;
    Ok(())
}
