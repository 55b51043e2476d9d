//! The connections that requests of the API work on, on Postgres itself or through a pooler in transaction mode, such
//! as PgBouncer.
//!
//! Behind a pooler a server connection is ours from BEGIN to COMMIT and somebody else's afterwards. So nothing is said
//! outside a transaction there, and whatever else a connection would keep comes with its BEGIN: settings that hold for
//! the transaction alone, and no statements under names that others have left. (sqlx prepares a statement by name in
//! one exchange and runs it in the next; within a transaction both meet the same server.) What needs a session (locks
//! that outlive transactions, LISTEN, the drainer, `migrate`) goes to Postgres itself.
//!
//! What must stay true: handlers come by their connections through [`Requests`] alone. Limits: the pooler must pass
//! the names of statements on as they are (PgBouncer 1.21 and later: `max_prepared_statements = 0`).

use super::{PoolSettings, Tx, options};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Postgres};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Connections of one kind of request.
#[derive(Clone, Debug)]
pub struct Requests {
    pool: PgPool,
    /// What begins a transaction behind a pooler.
    begin: Option<Arc<str>>,
}

impl Requests {
    /// Connections to Postgres itself; none is made yet.
    pub fn direct(url: &str, settings: PoolSettings) -> Result<Self, sqlx::Error> {
        Ok(Self { pool: super::pool(url, settings)?, begin: None })
    }

    /// Connections to a pooler; none is made yet.
    pub fn pooled(url: &str, settings: PoolSettings) -> Result<Self, sqlx::Error> {
        let options = options(url, settings)?
            .statement_cache_capacity(0)
            // The only parameter of a session's start that PgBouncer does not know. Floats are exact without it.
            .extra_float_digits(None);
        Ok(Self { pool: super::pool_of(options, settings), begin: Some(begin(settings).into()) })
    }

    /// The connections as such: to count and to close them.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction.
    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        match &self.begin {
            Some(begin) => self.pool.begin_with(AssertSqlSafe(Arc::clone(begin))).await,
            None => self.pool.begin().await,
        }
    }

    /// A connection for statements that belong to no transaction.
    pub async fn acquire(&self) -> Result<Conn, sqlx::Error> {
        Ok(match &self.begin {
            Some(_) => Conn::Within(self.begin().await?),
            None => Conn::Own(self.pool.acquire().await?),
        })
    }
}

/// A connection. What is changed on it may be lost unless [`Conn::keep`] is called.
pub enum Conn {
    /// Each statement is a transaction of its own.
    Own(PoolConnection<Postgres>),
    /// Behind a pooler: all of them are one.
    Within(Tx),
}

impl Conn {
    /// Makes sure that what was changed is kept.
    pub async fn keep(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Own(_) => Ok(()),
            Self::Within(tx) => tx.commit().await,
        }
    }
}

impl Deref for Conn {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Own(conn) => conn,
            Self::Within(tx) => tx,
        }
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(conn) => conn,
            Self::Within(tx) => tx,
        }
    }
}

/// All in one exchange: it takes no longer than BEGIN.
fn begin(settings: PoolSettings) -> String {
    let begin = if settings.only_reads { "BEGIN READ ONLY" } else { "BEGIN" };
    let mut words = vec!["DEALLOCATE ALL".to_owned(), begin.to_owned()];
    // Values are numbers and words of ours.
    words.extend(settings.parameters().iter().map(|(name, value)| format!("SET LOCAL {name} = '{value}'")));
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_transaction_brings_its_settings() {
        let text = begin(PoolSettings::read(1));
        assert!(text.starts_with("DEALLOCATE ALL; BEGIN READ ONLY; SET LOCAL timezone = 'UTC'; "), "{text}");
        assert!(
            text.contains("; SET LOCAL synchronous_commit = 'on'; SET LOCAL statement_timeout = '10000'; ")
        );
        assert!(text.ends_with("; SET LOCAL max_parallel_workers_per_gather = '0'"), "{text}");
        assert!(begin(PoolSettings::api(1)).starts_with("DEALLOCATE ALL; BEGIN; SET LOCAL "));
    }

    fn sources(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, visit);
            } else {
                visit(&path, &std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// A statement on the bare pool would work until a pooler stands there.
    #[test]
    fn no_handler_uses_the_bare_pools() {
        let mut seen = 0;
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |path, text| {
            seen += 1;
            let bare = [".db()", ".db_read()"].iter().any(|pool| text.contains(pool));
            assert!(
                !bare || path.ends_with("db/requests.rs"),
                "{}: use App::{{begin, write, read}}",
                path.display()
            );
        });
        assert!(seen > 100);
    }
}
