//! What a test sees of the database beside the replies: the outbox of links, and how tables were read.

use super::TestApp;
use sqlx::Row;
use std::collections::BTreeMap;
use uuid::Uuid;

impl TestApp {
    /// Takes what the publisher would, oldest first: subject and id.
    pub(crate) async fn take_outbox(&self) -> Vec<(String, String)> {
        let rows = sqlx::query_as::<_, (String, Uuid, i64)>(
            "DELETE FROM link_outbox RETURNING subject, subject_id, id",
        );
        let mut rows = rows.fetch_all(self.app.db()).await.unwrap();
        rows.sort_by_key(|row| row.2);
        rows.into_iter().map(|(subject, id, _)| (subject, id.to_string())).collect()
    }

    /// Rows read by sequential scans so far, by table; those of every pooled connection.
    pub(crate) async fn scanned_rows(&self) -> BTreeMap<String, i64> {
        for (pool, connections) in [
            (self.app.db(), self.app.config().db_api_connections),
            (self.app.db_read(), self.app.config().db_read_connections),
            (self.app.db_worker(), self.app.config().db_worker_connections),
        ] {
            // Every connection at once, or one would be asked twice and another not at all.
            let mut held = Vec::new();
            for _ in 0..connections {
                held.push(pool.acquire().await.unwrap());
            }
            for connection in &mut held {
                sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut **connection).await.unwrap();
            }
        }
        let rows = sqlx::query("SELECT relname, seq_tup_read FROM pg_stat_user_tables")
            .fetch_all(self.app.db_worker())
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get::<Option<i64>, _>(1).unwrap_or_default())).collect()
    }

    /// Brings the planner's figures up to date, as autovacuum would.
    pub(crate) async fn analyze(&self) {
        sqlx::query("VACUUM ANALYZE").execute(self.app.db_worker()).await.unwrap();
    }
}
