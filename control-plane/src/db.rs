//! Postgres: pools, migrations, and what its errors mean.
//!
//! Every session works in UTC with time-outs set on the server side: sqlx has none of its own, and a
//! client that goes away must not leave a lock behind.

pub mod grants;
pub mod migrate;
pub mod requests;

pub use requests::{Conn, Requests};

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// The schema, applied by `control-plane migrate`.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A transaction on our database.
pub type Tx = sqlx::Transaction<'static, sqlx::Postgres>;

/// Session settings of one kind of work.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Shown in `pg_stat_activity`.
    pub name: &'static str,
    /// Connections at most.
    pub connections_max: u32,
    /// A single statement's limit.
    pub statement_timeout: Duration,
    /// Waiting for one lock.
    pub lock_timeout: Duration,
    /// A transaction that says nothing: its process is frozen or gone.
    pub idle_in_transaction_timeout: Duration,
    /// Whether statements are planned for their values each time. Lists have filters that may be absent,
    /// and only a plan that knows which are can use their indexes.
    pub plans_by_value: bool,
    /// Whether nothing is ever changed.
    pub only_reads: bool,
}

impl PoolSettings {
    /// Requests that write: short, and they must not wait for each other for long.
    pub const fn api(connections_max: u32) -> Self {
        Self {
            name: "control-plane api",
            connections_max,
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(5),
            plans_by_value: false,
            only_reads: false,
        }
    }

    /// Requests that only read; a slow one must not take money's connections.
    pub const fn read(connections_max: u32) -> Self {
        Self {
            name: "control-plane read",
            plans_by_value: true,
            only_reads: true,
            ..Self::api(connections_max)
        }
    }

    /// The drainer and the jobs. A frozen drainer lets go of its row locks after two seconds.
    pub const fn worker(connections_max: u32) -> Self {
        Self {
            name: "control-plane worker",
            connections_max,
            statement_timeout: Duration::from_mins(1),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(2),
            plans_by_value: false,
            only_reads: false,
        }
    }

    /// Parameters of Postgres for such work.
    fn parameters(self) -> Vec<(&'static str, String)> {
        let ms = |duration: Duration| duration.as_millis().to_string();
        let mut all = vec![
            ("timezone", "UTC".to_owned()),
            // Whatever the database's default is: what we acknowledge must not be lost.
            ("synchronous_commit", "on".to_owned()),
            ("statement_timeout", ms(self.statement_timeout)),
            ("lock_timeout", ms(self.lock_timeout)),
            ("idle_in_transaction_session_timeout", ms(self.idle_in_transaction_timeout)),
            ("plan_cache_mode", if self.plans_by_value { "force_custom_plan" } else { "auto" }.to_owned()),
        ];
        if self.plans_by_value {
            // Lists are read from indexes that cover them and are in memory: a page of one costs what a page of the
            // table costs, and a plan that reads the table whole, or with helpers to be started first, never pays: it
            // is taken where nothing else is possible.
            all.extend([
                ("random_page_cost", "1.1".to_owned()),
                ("enable_seqscan", "off".to_owned()),
                // What is forbidden counts as very dear, and a query that looks dear is compiled first, for longer
                // than it runs.
                ("jit", "off".to_owned()),
                ("max_parallel_workers_per_gather", "0".to_owned()),
            ]);
        }
        all
    }
}

/// A pool that connects when it is first used.
pub fn pool(url: &str, settings: PoolSettings) -> Result<PgPool, sqlx::Error> {
    Ok(pool_of(options(url, settings)?.options(settings.parameters()), settings))
}

fn options(url: &str, settings: PoolSettings) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(PgConnectOptions::from_str(url)?.application_name(settings.name))
}

fn pool_of(options: PgConnectOptions, settings: PoolSettings) -> PgPool {
    PgPoolOptions::new()
        .max_connections(settings.connections_max)
        .acquire_timeout(Duration::from_secs(3))
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(options)
}

/// What sqlx makes of a connection that is closed before its first answer.
const CLOSED_AT_ONCE: &str = "unexpected response from SSLRequest: 0x00";

/// Whether the database could not be reached or could not answer now, as opposed to refusing what we said.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Whoever stands before Postgres took the connection and had nowhere to lead it.
        sqlx::Error::Protocol(said) => said.starts_with(CLOSED_AT_ONCE),
        // 08 connection, 53 resources, 57P administrator stop, 57014 statement time-out, 55P03 lock time-out,
        // 25P03 idle time-out, 25006 read-only standby
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P")
                || ["57014", "55P03", "25P03", "25006"].contains(&&*code)
        }),
        _ => false,
    }
}

/// Whether a transaction lost a race and would do well on a second try: serialization failure, deadlock.
pub fn is_retryable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database)
        if database.code().is_some_and(|code| code == "40001" || code == "40P01"))
}

/// Whether a statement gave up waiting for a lock.
pub fn is_lock_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().is_some_and(|code| code == "55P03"))
}

/// Settings without which a Postgres may lose what it has acknowledged, and that are off.
pub async fn unsafe_settings(url: &str) -> Result<Vec<String>, sqlx::Error> {
    let mut conn = PgConnection::connect(url).await?;
    let off = sqlx::query_scalar(
        "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name",
    )
    .fetch_all(&mut conn)
    .await?;
    conn.close().await?;
    Ok(off)
}

/// The name of the constraint that was violated.
pub fn violated(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(database) => database.constraint(),
        _ => None,
    }
}

/// Asks the database whether it is there.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    // By no name: it may be behind a pooler.
    sqlx::raw_sql("SELECT 1").execute(pool).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_closed_at_once_is_a_database_that_is_away() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://nobody@{}/none", listener.local_addr().unwrap());
        let closing = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The request is read first, so that what comes is an end and no reset.
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await.unwrap();
        });
        let error = PgConnection::connect(&url).await.err().unwrap();
        closing.await.unwrap();
        assert!(is_unavailable(&error), "{error:?}");
    }
}
