//! What each role may do, asked of a real Postgres, and that nothing is left without a decision.

use crate::harness::{Process, TestApp};
use control_plane::db::grants::{self, APP, DRAIN, PAYOUTS, READONLY, ROLES, TABLES};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// What Postgres says to somebody who may not.
const FORBIDDEN: &str = "42501";
/// What it says when the role may, and a trigger forbids.
const REFUSED_BY_A_TRIGGER: &str = "23001";

/// Whether the role may run a statement that changes nothing; any other refusal is a mistake in the test.
async fn may(conn: &mut PgConnection, role: &str, statement: &str) -> bool {
    let mut tx = conn.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE {role}"))).execute(&mut *tx).await.unwrap();
    let outcome = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await;
    tx.rollback().await.unwrap();
    match outcome {
        Ok(_) => true,
        Err(sqlx::Error::Database(error)) => match error.code().as_deref() {
            Some(FORBIDDEN) => false,
            Some(REFUSED_BY_A_TRIGGER) => true,
            _ => panic!("{role}: {statement}: {error}"),
        },
        Err(error) => panic!("{role}: {statement}: {error}"),
    }
}

#[tokio::test]
async fn every_table_has_a_decision_and_every_decision_a_table() {
    let app = TestApp::start().await.with_roles().await;
    let mut conn = app.connect().await;
    assert_eq!(grants::apply(&mut conn).await.unwrap().undecided, [""; 0], "decide in db/grants.rs");
    let tables: BTreeSet<String> =
        sqlx::query_scalar("SELECT relname::TEXT FROM pg_class WHERE relnamespace = 'public'::REGNAMESPACE AND relkind IN ('r', 'p')")
            .fetch_all(&mut conn)
            .await
            .unwrap()
            .into_iter()
            .collect();
    let gone: Vec<_> = TABLES.iter().filter(|(table, _)| !tables.contains(*table)).collect();
    assert!(gone.is_empty(), "decided about tables that are not there: {gone:?}");
}

#[tokio::test]
async fn a_role_may_do_what_is_decided_and_nothing_else() {
    let app = TestApp::start().await.with_roles().await;
    let mut conn = app.connect().await;
    // A column of each table that can be given a value.
    let columns: BTreeMap<String, String> = sqlx::query_as(
        "SELECT DISTINCT ON (relname) relname::TEXT, quote_ident(attname)
           FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
          WHERE relnamespace = 'public'::REGNAMESPACE AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
            AND attidentity = '' AND attgenerated = ''
          ORDER BY relname, attnum",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let mut wrong = Vec::new();
    for (table, letters) in TABLES {
        let column = &columns[*table];
        let statements = [
            ('r', format!("SELECT FROM {table} LIMIT 0")),
            ('a', format!("INSERT INTO {table} ({column}) SELECT NULL WHERE FALSE")),
            ('w', format!("UPDATE {table} SET {column} = NULL WHERE FALSE")),
            ('d', format!("DELETE FROM {table} WHERE FALSE")),
            ('D', format!("TRUNCATE {table} CASCADE")),
        ];
        for (role, letters) in ROLES.into_iter().zip(letters) {
            for (letter, statement) in &statements {
                // What has a condition reads the table.
                let decided = letters.contains(*letter);
                if may(&mut conn, role, statement).await != decided {
                    wrong.push(format!("{role}, decided: {decided}: {statement}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn books_keys_and_tables_are_out_of_reach() {
    let app = TestApp::start().await.with_roles().await;
    let mut conn = app.connect().await;
    for (role, statement) in [
        (APP, "UPDATE ledger_transfers SET amount_micros = 1"),
        (APP, "DELETE FROM ledger_transfers"),
        (APP, "DELETE FROM ledger_accounts"),
        (APP, "DELETE FROM payouts"),
        (APP, "INSERT INTO usdc_transfers DEFAULT VALUES"),
        (APP, "UPDATE _sqlx_migrations SET success = FALSE"),
        (APP, "CREATE TABLE mine ()"),
        (APP, "DROP TABLE clicks"),
        (APP, "ALTER TABLE ledger_transfers DISABLE TRIGGER ALL"),
        (APP, "CREATE FUNCTION refuse_change() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"),
        (DRAIN, "UPDATE payouts SET status = 'paid'"),
        (DRAIN, "SELECT FROM payouts"),
        (DRAIN, "SELECT FROM api_keys"),
        (DRAIN, "INSERT INTO ledger_transfers DEFAULT VALUES"),
        (DRAIN, "DELETE FROM clicks"),
        (PAYOUTS, "INSERT INTO payouts DEFAULT VALUES"),
        (PAYOUTS, "UPDATE ledger_transfers SET amount_micros = 1"),
        (PAYOUTS, "SELECT FROM api_keys"),
        (PAYOUTS, "SELECT FROM webhook_endpoints"),
        (READONLY, "SELECT FROM api_keys"),
        (READONLY, "SELECT FROM dashboard_sessions"),
        (READONLY, "SELECT FROM idempotency_keys"),
        (READONLY, "SELECT FROM webhook_endpoints"),
        (READONLY, "INSERT INTO agents DEFAULT VALUES"),
        (READONLY, "SELECT nextval('link_record_version')"),
        (READONLY, "SELECT drop_click_partition('2026-01-01', now())"),
        (DRAIN, "SELECT drop_click_partition('2026-01-01', now())"),
        (PAYOUTS, "SELECT ensure_click_partitions('2026-01-01', '2026-01-01')"),
    ] {
        assert!(!may(&mut conn, role, statement).await, "{role} may: {statement}");
    }
    for (role, statement) in [
        (APP, "SELECT ensure_click_partitions('2031-01-01', '2031-01-02')"),
        (APP, "SELECT nextval('link_record_version'), nextval('server_click_seq')"),
        (READONLY, "SELECT count(*) FROM clicks"),
        (READONLY, "SELECT FROM ledger_transfers"),
    ] {
        assert!(may(&mut conn, role, statement).await, "{role} may not: {statement}");
    }
}

#[tokio::test]
async fn applying_again_changes_nothing_and_mends_what_is_off() {
    let app = TestApp::start().await.with_roles().await;
    let mut conn = app.connect().await;
    assert_eq!(grants::apply(&mut conn).await.unwrap().changes, [""; 0]);
    sqlx::raw_sql(
        "CREATE TABLE undecided (n INT);
         GRANT SELECT ON undecided TO affiliateos_readonly;
         GRANT UPDATE, DELETE ON ledger_transfers TO affiliateos_app;
         REVOKE INSERT ON clicks FROM affiliateos_drain;
         GRANT USAGE ON SEQUENCE link_record_version TO affiliateos_readonly;
         GRANT EXECUTE ON FUNCTION drop_click_partition(DATE, TIMESTAMPTZ) TO PUBLIC;
         ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO affiliateos_app",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let applied = grants::apply(&mut conn).await.unwrap();
    assert_eq!(applied.undecided, ["undecided"]);
    assert_eq!(
        applied.changes,
        [
            "REVOKE UPDATE, DELETE ON \"ledger_transfers\" FROM affiliateos_app",
            "GRANT INSERT ON \"clicks\" TO affiliateos_drain",
            "REVOKE SELECT ON \"undecided\" FROM affiliateos_readonly",
            "REVOKE ALL ON SEQUENCE \"link_record_version\" FROM affiliateos_readonly",
            "ALTER FUNCTION drop_click_partition(DATE, TIMESTAMPTZ) SECURITY DEFINER SET search_path = public, pg_temp; \
             REVOKE EXECUTE ON FUNCTION drop_click_partition(DATE, TIMESTAMPTZ) FROM PUBLIC; \
             GRANT EXECUTE ON FUNCTION drop_click_partition(DATE, TIMESTAMPTZ) TO affiliateos_app",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM affiliateos_app",
        ]
    );
    assert_eq!(grants::apply(&mut conn).await.unwrap().changes, [""; 0]);
}

/// The words behind every `word` in a text.
fn named_behind<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let rests = text.split(word).skip(1).map(str::trim_start);
    rests.map(|rest| rest.split(|c| !is_name(c)).next().unwrap_or_default()).collect()
}

fn sources(folder: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            all.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn what_the_programs_write_is_granted() {
    let mut texts = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut texts);
    let mut refused = BTreeSet::new();
    let mut seen = 0;
    for text in &texts {
        for (word, letter) in [("INSERT INTO ", 'a'), ("UPDATE ", 'w'), ("DELETE FROM ", 'd'), ("COPY ", 'a')]
        {
            for table in named_behind(text, word) {
                if TABLES.iter().any(|(name, _)| *name == table) {
                    seen += 1;
                    let who = if table.starts_with("usdc_") { PAYOUTS } else { APP };
                    if !grants::decided(who, table).contains(letter) {
                        refused.insert(format!("{who}: {word}{table}"));
                    }
                }
            }
        }
    }
    assert!(seen > 100, "the statements were not found");
    assert!(refused.is_empty(), "{refused:#?}");
}

#[tokio::test]
async fn a_drainer_of_its_own_role_stores_clicks() {
    let app = TestApp::start().await.with_roles().await;
    let spool = app.spool(7);
    spool.ship(&spool.frame(0, 100)).await;
    let _drain = Process::start_as(&app, "drain", DRAIN).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while spool.next_seq().await != Some(100) {
        assert!(tokio::time::Instant::now() < deadline, "the drainer does not store clicks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.count("SELECT count(*) FROM clicks").await, 100);
}
