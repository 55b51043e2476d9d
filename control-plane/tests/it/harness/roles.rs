//! The roles of `deploy/`, on a test's own database: the server's roles are shared by all tests and stay.

use super::TestApp;
use super::database::server;
use control_plane::db::grants;
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use std::str::FromStr;

/// Roles belong to the server: one test at a time makes them.
const ROLES_LOCK: i64 = 0x0a05_401e;
const ROLES: &str = include_str!("../../../../deploy/postgres/roles.sql");

impl TestApp {
    /// Makes the roles and gives them what they may do on this test's database, as a deployment does.
    pub(crate) async fn with_roles(self) -> Self {
        let mut lock = server().connect().await.unwrap();
        sqlx::query("SELECT pg_advisory_lock($1)").bind(ROLES_LOCK).execute(&mut lock).await.unwrap();
        let mut conn = self.connect().await;
        let script: Vec<_> = ROLES.lines().filter(|line| !line.starts_with('\\')).collect();
        sqlx::raw_sql(sqlx::AssertSqlSafe(script.join("\n"))).execute(&mut conn).await.unwrap();
        lock.close().await.unwrap();
        grants::apply(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        self
    }

    /// A connection of its own, as whoever the tests are.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.app.config().database_url.expose_secret()).await.unwrap()
    }

    /// Connections that may do what a role may.
    pub(crate) fn pool_as(&self, role: &str) -> PgPool {
        let options = PgConnectOptions::from_str(self.app.config().database_url.expose_secret()).unwrap();
        PgPoolOptions::new().max_connections(4).connect_lazy_with(options.options([("role", role)]))
    }

    /// The address of this test's database for a program that may do what a role may.
    pub(crate) fn url_as(&self, role: &str) -> String {
        let mut url = url::Url::parse(self.app.config().database_url.expose_secret()).unwrap();
        url.query_pairs_mut().append_pair("options", &format!("-c role={role}"));
        url.into()
    }
}
