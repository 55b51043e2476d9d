//! What Postgres did for a request: the plans it wrote to its log, read for scans of whole big tables.
//!
//! Jobs run beside the lists, and some of them read everything on purpose: every line of the log says whose
//! connection it is of, and only the plans of requests are judged.

use crate::stack::Stack;
use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::collections::{BTreeSet, HashSet};
use std::io::{Read, Seek, SeekFrom};

/// A table with more rows is big: reading all of it is not a plan.
const ROWS_MAX: i64 = 5_000;

/// What every line of the log begins with: whose connection it is of.
pub(super) const LOG_LINE_PREFIX: &str = "log_line_prefix=[%a] ";
/// The connections that requests use.
const OF_REQUESTS: [&str; 2] = ["[control-plane read]", "[control-plane api]"];

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
        Ok(scanned(&text).filter(|table| self.big_tables.contains(*table)).map(str::to_owned).collect())
    }
}

/// The tables that requests read whole. An entry's further lines begin with a tab.
fn scanned(log: &str) -> impl Iterator<Item = &str> {
    let mut of_a_request = false;
    log.lines().filter_map(move |line| {
        if !line.starts_with('\t') {
            of_a_request = OF_REQUESTS.iter().any(|name| line.starts_with(name));
        }
        let (_, table) = line.split_once("Seq Scan on ").filter(|_| of_a_request)?;
        table.split_whitespace().next()
    })
}

async fn set(stack: &Stack, setting: &str) -> anyhow::Result<()> {
    let mut conn = sqlx::PgConnection::connect(&stack.postgres.url()).await?;
    conn.execute(AssertSqlSafe(format!("ALTER DATABASE postgres SET {setting}"))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plans_of_requests_are_judged() {
        let log = "\
            [control-plane worker] LOG:  duration: 9.1 ms  plan:\n\
            \tQuery Text: SELECT\n\
            \t  ->  Seq Scan on agents  (cost=0.00..1.00 rows=5000 width=8)\n\
            [control-plane read] LOG:  duration: 0.1 ms  plan:\n\
            \tAggregate  (cost=0.00..1.00 rows=1 width=8)\n\
            \t  ->  Parallel Seq Scan on conversions  (cost=0.00..1.00 rows=1 width=8)\n\
            [] LOG:  checkpoint starting\n\
            \tSeq Scan on links\n\
            [control-plane api] LOG:  duration: 0.1 ms  plan:\n\
            \tSeq Scan on programs offers  (cost=0.00..1.00 rows=1 width=8)\n";
        assert_eq!(scanned(log).collect::<Vec<_>>(), ["conversions", "programs"]);
    }
}
