//! A database per test: cloned from a template that is migrated once per schema, dropped at the end.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::thread::JoinHandle;

/// Serializes the making of templates over all test processes.
const TEMPLATE_LOCK: i64 = 0x0a05_7e57;

pub(crate) struct TestDatabase {
    name: String,
}

#[expect(clippy::disallowed_methods, reason = "tests are told where their servers are")]
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
}

pub(super) fn server() -> PgConnectOptions {
    PgConnectOptions::from_str(&setting("AOS_TEST_DATABASE_URL"))
        .expect("AOS_TEST_DATABASE_URL is a Postgres address")
}

fn template_name() -> String {
    let mut hasher = DefaultHasher::new();
    for migration in control_plane::db::MIGRATOR.iter() {
        migration.checksum.hash(&mut hasher);
    }
    format!("aos_template_{:016x}", hasher.finish())
}

async fn run(conn: &mut PgConnection, sql: String) {
    conn.execute(AssertSqlSafe(sql)).await.unwrap();
}

impl TestDatabase {
    /// One with the schema of this version.
    pub(crate) async fn create() -> Self {
        let mut conn = server().connect().await.expect("the test Postgres answers");
        let template = template_name();
        sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut conn).await.unwrap();
        let exists: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)",
        )
        .bind(&template)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        if !exists {
            run(&mut conn, format!("DROP DATABASE IF EXISTS {template}")).await;
            run(&mut conn, format!("CREATE DATABASE {template}")).await;
            let mut migrating = server().database(&template).connect().await.unwrap();
            control_plane::db::MIGRATOR.run(&mut migrating).await.unwrap();
            migrating.close().await.unwrap();
            run(&mut conn, format!("ALTER DATABASE {template} WITH is_template true")).await;
        }
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(TEMPLATE_LOCK).execute(&mut conn).await.unwrap();
        let name = format!("aos_test_{}", shared::id::EventId::generate().uuid().simple());
        run(&mut conn, format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log")).await;
        conn.close().await.unwrap();
        Self { name }
    }

    /// One with nothing in it.
    pub(crate) async fn empty() -> Self {
        let mut conn = server().connect().await.expect("the test Postgres answers");
        let name = format!("aos_test_{}", shared::id::EventId::generate().uuid().simple());
        run(&mut conn, format!("CREATE DATABASE {name}")).await;
        conn.close().await.unwrap();
        Self { name }
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        server().database(&self.name).connect().await.unwrap()
    }

    pub(super) fn url(&self) -> String {
        let mut url = url::Url::parse(&setting("AOS_TEST_DATABASE_URL")).unwrap();
        url.set_path(&self.name);
        url.into()
    }
}

impl Drop for TestDatabase {
    /// Drops the database; one whose test failed is kept, and its name is shown.
    ///
    /// Nothing waits here: this may be the thread that drives the test's connections, and DROP DATABASE waits for
    /// every backend, one that is asking for a password too. Those two would wait for each other for a minute.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test's database is kept as {}", self.name);
            return;
        }
        let name = self.name.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut conn = server().connect().await.unwrap();
                run(&mut conn, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            });
        });
        DROPPING.with_borrow_mut(|all| all.0.push(dropping));
    }
}

/// Databases being dropped, for which the test's thread waits at its very end, when its runtime is gone.
#[derive(Default)]
struct Dropping(Vec<JoinHandle<()>>);

thread_local! {
    static DROPPING: RefCell<Dropping> = RefCell::default();
}

impl Drop for Dropping {
    fn drop(&mut self) {
        // One that failed has said why.
        self.0.drain(..).for_each(|dropping| drop(dropping.join()));
    }
}
