//! `migrate` beside requests that are in its way, and what the schema promises to whoever spreads it over machines.

use crate::harness::TestDatabase;
use control_plane::db::{MIGRATOR, grants, migrate};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use std::time::Duration;

/// Takes locks of conversions, links and programs, in this order; an API takes those of programs first.
const IN_ANOTHER_ORDER: i64 = 20_261_121_050_000;
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until a connection waits for a lock of this table.
async fn waits_for(watching: &mut PgConnection, pid: i32, table: &str) {
    let waiting = async {
        loop {
            let waits: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND relation = to_regclass($2) AND NOT granted)",
            )
            .bind(pid)
            .bind(table)
            .fetch_one(&mut *watching)
            .await
            .unwrap();
            if waits {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("nobody waits for {table}"));
}

async fn pid(conn: &mut PgConnection) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(conn).await.unwrap()
}

/// Everything that migrations make, a line each.
async fn schema(database: &TestDatabase) -> Vec<String> {
    let mut conn = database.connect().await;
    sqlx::query_scalar(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
         UNION ALL
         SELECT concat_ws(' ', attrelid::REGCLASS, attname, format_type(atttypid, atttypmod), attnotnull,
                          pg_get_expr(adbin, adrelid))
           FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
          WHERE relnamespace = 'public'::REGNAMESPACE AND attnum > 0 AND NOT attisdropped
         UNION ALL
         SELECT concat_ws(' ', conrelid::REGCLASS, conname, pg_get_constraintdef(oid), convalidated)
           FROM pg_constraint WHERE connamespace = 'public'::REGNAMESPACE
         UNION ALL
         SELECT concat_ws(' ', version, success, encode(checksum, 'hex')) FROM _sqlx_migrations
         ORDER BY 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap()
}

/// The migration holds conversions and waits for programs, a request holds programs and waits for conversions.
/// Everybody waits as long as it takes, and only the migration's session looks for deadlocks: it is the victim.
#[tokio::test]
async fn a_migration_that_loses_a_deadlock_comes_again_and_leaves_the_schema_whole() {
    let database = TestDatabase::empty().await;
    let mut migrating = database.connect().await;
    MIGRATOR.run_to(IN_ANOTHER_ORDER - 1, &mut migrating).await.unwrap();
    let mut request = database.connect().await;
    request.execute("SET deadlock_timeout = '1h'").await.unwrap();
    let (migrator, requester) = (pid(&mut migrating).await, pid(&mut request).await);
    let (mut between, mut watching) = (database.connect().await, database.connect().await);

    let mut held = request.begin().await.unwrap();
    held.execute("LOCK TABLE programs IN ACCESS SHARE MODE").await.unwrap();
    // Stops the migration when it has conversions and not programs yet.
    let mut stopping = between.begin().await.unwrap();
    stopping.execute("LOCK TABLE links IN ACCESS SHARE MODE").await.unwrap();
    let deadlock = async {
        waits_for(&mut watching, migrator, "links").await;
        let crossed = async {
            held.execute("LOCK TABLE conversions IN ACCESS SHARE MODE").await.unwrap();
            held.commit().await.unwrap();
        };
        let release = async {
            waits_for(&mut watching, requester, "conversions").await;
            stopping.commit().await.unwrap();
        };
        tokio::join!(crossed, release)
    };
    let (tries, _) = tokio::join!(migrate::run(&mut migrating), deadlock);

    assert_eq!(tries.unwrap(), 2, "the first lost the deadlock, the second had no rival");
    assert_eq!(schema(&database).await, schema(&TestDatabase::create().await).await);
}

#[tokio::test]
async fn a_migration_that_does_not_get_its_lock_comes_again() {
    let database = TestDatabase::empty().await;
    let mut migrating = database.connect().await;
    MIGRATOR.run_to(IN_ANOTHER_ORDER - 1, &mut migrating).await.unwrap();
    migrating.execute("SET lock_timeout = '100ms'").await.unwrap();
    let mut request = database.connect().await;
    let mut held = request.begin().await.unwrap();
    held.execute("LOCK TABLE programs IN ACCESS SHARE MODE").await.unwrap();
    let mut watching = database.connect().await;
    let migrator = pid(&mut migrating).await;
    let leave = async {
        // Once for the first try, and once when the second has begun: the first has given up by then.
        for table in ["programs", "programs"] {
            waits_for(&mut watching, migrator, table).await;
            until_at_rest(&mut watching, migrator).await;
        }
        held.commit().await.unwrap();
    };
    let (tries, ()) = tokio::join!(migrate::run(&mut migrating), leave);
    assert!(tries.unwrap() >= 3, "two tries at least were in vain");
    assert_eq!(schema(&database).await, schema(&TestDatabase::create().await).await);
}

/// Waits until a connection waits for nothing.
async fn until_at_rest(watching: &mut PgConnection, pid: i32) {
    let resting = async {
        loop {
            let waits: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)")
                    .bind(pid)
                    .fetch_one(&mut *watching)
                    .await
                    .unwrap();
            if !waits {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, resting).await.expect("it gives up");
}

/// A table as `deploy/citus.md` decides about it.
struct Placed {
    table: &'static str,
    /// `spread`, `ready` or `local`.
    how: &'static str,
    /// The column that says where a row goes.
    by: Option<&'static str>,
}

/// What `deploy/citus.md` says of every table.
fn placed() -> Vec<Placed> {
    let text = include_str!("../../../../deploy/citus.md");
    let (_, rows) = text.split_once("|---|---|---|---|\n").expect("the table of all tables");
    let mut placed = Vec::new();
    for row in rows.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, tables, how, by, why, _] = cells[..] else { panic!("four cells: {row}") };
        assert!(!why.is_empty(), "a reason: {row}");
        let by = by.split('`').nth(1);
        for table in tables.split('`').skip(1).step_by(2) {
            placed.push(Placed { table, how, by });
        }
    }
    placed
}

#[test]
fn every_table_has_its_place_and_the_statements_spread_what_is_to_be_spread() {
    let placed = placed();
    let mut named: Vec<_> = placed.iter().map(|placed| placed.table).collect();
    named.sort_unstable();
    let all: Vec<_> = grants::TABLES.iter().map(|(table, _)| *table).collect();
    assert_eq!(named, all, "deploy/citus.md, and the tables there are");
    let text = include_str!("../../../../deploy/citus.md");
    let statements = text.lines().filter_map(|line| line.strip_prefix("SELECT create_distributed_table("));
    let spread: Vec<_> = statements
        .map(|arguments| {
            let mut quoted = arguments.split('\'').skip(1).step_by(2);
            (quoted.next().expect("a table"), quoted.next())
        })
        .collect();
    let decided: Vec<_> = placed
        .iter()
        .filter(|placed| placed.how == "spread")
        .map(|placed| (placed.table, placed.by))
        .collect();
    assert_eq!(spread, decided);
    for Placed { table, how, by } in placed {
        assert!(["spread", "ready", "local"].contains(&how), "{table} is {how}");
        assert_eq!(by.is_none(), how == "local", "{table}");
    }
}

#[tokio::test]
async fn every_unique_key_of_a_large_table_has_its_owner_in_it() {
    let database = TestDatabase::create().await;
    let mut conn = database.connect().await;
    let mut keys = 0;
    for Placed { table, how, by } in placed() {
        let Some(column) = by else { continue };
        let not_null: bool = sqlx::query_scalar(
            "SELECT attnotnull FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2",
        )
        .bind(table)
        .bind(column)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert!(not_null, "{table}.{column} decides where a row goes, and may be absent");
        // Of the table and of its partitions: unique indexes, whether a constraint made them or not, and exclusions.
        let unique: Vec<(String, bool)> = sqlx::query_as(
            "SELECT indexrelid::REGCLASS::TEXT,
                    EXISTS (SELECT FROM pg_attribute
                             WHERE attrelid = indrelid AND attname = $2
                               AND attnum = ANY ((indkey::SMALLINT[])[0:indnkeyatts - 1]))
               FROM pg_index
              WHERE (indrelid = to_regclass($1) OR indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass($1)))
                AND (indisunique OR indisexclusion)",
        )
        .bind(table)
        .bind(column)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        keys += unique.len();
        let without: Vec<_> = unique.iter().filter(|(_, has)| !has).map(|(name, _)| name).collect();
        assert!(without.is_empty(), "{table}: unique keys without {column}: {without:?}");
        let foreign: Vec<String> = sqlx::query_scalar(
            "SELECT conname::TEXT FROM pg_constraint
              WHERE contype = 'f' AND (conrelid = to_regclass($1) OR confrelid = to_regclass($1))",
        )
        .bind(table)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        assert!(
            how == "ready" || foreign.is_empty(),
            "{table}: keys that lead to other machines: {foreign:?}"
        );
    }
    assert!(keys > 10, "keys were found: {keys}");
}
