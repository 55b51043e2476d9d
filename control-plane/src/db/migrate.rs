//! Bringing the schema to this version while programs of the version before go on.
//!
//! What must stay true: a migration never makes requests wait for long, and one that had to give way comes again. It
//! gives way to a lock it does not get in time, and to a deadlock in which Postgres chose it: requests take locks in
//! an order of their own. Each migration is a transaction, so what gave way has left nothing behind.

use super::{MIGRATOR, is_lock_timeout, is_retryable};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// What waits for a lock during a migration makes everybody behind it wait too: it gives up and comes again.
pub const LOCK_FOR: &str = "2s";
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Applies what is missing; gives how many tries it took. The connection says how long one waits for a lock.
pub async fn run(conn: &mut PgConnection) -> Result<u32, MigrateError> {
    let mut tries = 1;
    while let Err(error) = MIGRATOR.run(&mut *conn).await {
        if !gave_way(&error) || tries == TRIES {
            return Err(error);
        }
        tracing::info!(tries, cause = %error, "a table is in use; trying again");
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(tries)
}

fn gave_way(error: &MigrateError) -> bool {
    matches!(error, MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)
        if is_lock_timeout(cause) || is_retryable(cause))
}
