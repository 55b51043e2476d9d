//! Who may do what: the roles of `deploy/postgres/roles.sql`, a decision for each table, applied after each migration.
//!
//! What must stay true: a table without a decision is nobody's but its owner's; what is booked is never changed or
//! taken away by the application; keys, sessions and stored replies are read by the application alone. Applying
//! changes only what is off, so that it is safe again and again, also while everything runs. Roles that do not
//! exist are left out: without them, whoever owns the tables does everything.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use std::collections::{BTreeMap, BTreeSet};

/// The control plane: API, jobs, and the drainer unless it runs apart.
pub const APP: &str = "affiliateos_app";
/// `control-plane drain`, where it runs apart: clicks and nothing else.
pub const DRAIN: &str = "affiliateos_drain";
/// `payouts-evm`: its own tables, and what a payout touches.
pub const PAYOUTS: &str = "affiliateos_payouts";
/// People and reports: no keys, no writes.
pub const READONLY: &str = "affiliateos_readonly";

/// In the order of the decisions.
pub const ROLES: [&str; 4] = [APP, DRAIN, PAYOUTS, READONLY];

/// A decision: what each role may do, in the letters of `\dp`: `r`ead, `a`ppend, `w`rite (change), `d`elete. Locking a
/// row takes `w`.
type Decision = (&'static str, [&'static str; 4]);

/// By table. Partitions go by their parent, and by themselves where one is named.
#[rustfmt::skip]
pub const TABLES: &[Decision] = &[
    //                        app     drain  payouts readonly
    ("_sqlx_migrations",     ["r",    "r",   "r",    "r"]),
    // Keys of accounts at certificate authorities and of certificates, sealed.
    ("acme_accounts",        ["rad",  "",    "",     ""]),
    ("agent_directories",    ["raw",  "",    "r",    "r"]),
    ("agents",               ["raw",  "r",   "r",    "r"]),
    // Digests of keys: who can read them can look for a match, who can write them is everybody.
    ("api_keys",             ["raw",  "",    "",     ""]),
    ("attribution_events",   ["ra",   "",    "r",    "r"]),
    ("click_days_dropped",   ["r",    "",    "r",    "r"]),
    ("click_deltas",         ["rawd", "ra",  "r",    "r"]),
    ("clicks",               ["ra",   "ra",  "r",    "r"]),
    ("clicks_default",       ["r",    "",    "",     "r"]),
    ("commissions",          ["raw",  "",    "rw",   "r"]),
    ("conversions",          ["raw",  "",    "rw",   "r"]),
    ("dashboard_sessions",   ["rad",  "",    "",     ""]),
    ("domains",              ["rawd", "",    "",     ""]),
    ("drain_leases",         ["rawd", "rawd", "r",   "r"]),
    ("drain_workers",        ["rawd", "rawd", "r",   "r"]),
    ("dropped_clicks",       ["r",    "",    "r",    "r"]),
    ("event_feed",           ["rad",  "",    "r",    "r"]),
    ("event_objects",        ["raw",  "",    "raw",  "r"]),
    ("event_outbox",         ["rawd", "",    "ra",   "r"]),
    ("events",               ["rawd", "",    "ra",   "r"]),
    ("idempotency_keys",     ["rawd", "",    "",     ""]),
    ("ledger_accounts",      ["raw",  "",    "raw",  "r"]),
    // What is booked stays booked; a trigger says so to the owner as well.
    ("ledger_transfers",     ["ra",   "",    "ra",   "r"]),
    ("link_charges",         ["rawd", "",    "r",    "r"]),
    ("link_hours",           ["raw",  "",    "r",    "r"]),
    ("link_outbox",          ["rawd", "",    "r",    "r"]),
    ("link_sources",         ["raw",  "",    "r",    "r"]),
    ("links",                ["raw",  "r",   "r",    "r"]),
    ("links_published",      ["ra",   "",    "",     "r"]),
    ("match_outbox",         ["rawd", "",    "r",    "r"]),
    ("match_requests",       ["rawd", "",    "r",    "r"]),
    ("match_suggestions",    ["rawd", "",    "r",    "r"]),
    ("network_trade",        ["raw",  "",    "r",    "r"]),
    ("parked_frames",        ["rawd", "ra",  "r",    "r"]),
    ("partnerships",         ["rawd", "",    "r",    "r"]),
    ("payout_addresses",     ["raw",  "",    "r",    "r"]),
    ("payout_guard",         ["raw",  "",    "r",    "r"]),
    ("payouts",              ["raw",  "",    "rw",   "r"]),
    ("programs",             ["rawd", "",    "r",    "r"]),
    ("prospects",            ["raw",  "",    "",     "r"]),
    ("refunds",              ["ra",   "",    "r",    "r"]),
    ("spend_caps",           ["rawd", "",    "r",    "r"]),
    ("spools",               ["raw",  "raw", "r",    "r"]),
    ("stripe_customers",     ["ra",   "",    "",     "r"]),
    ("stripe_events",        ["rawd", "",    "",     "r"]),
    ("stripe_invoices",      ["raw",  "",    "",     "r"]),
    ("stripe_payments",      ["raw",  "",    "",     "r"]),
    ("stripe_reversals",     ["raw",  "",    "",     "r"]),
    ("stripe_subscriptions", ["raw",  "",    "",     "r"]),
    ("subscriptions",        ["raw",  "",    "r",    "r"]),
    ("topups",               ["raw",  "",    "r",    "r"]),
    ("trade_deltas",         ["rawd", "",    "ra",   "r"]),
    ("trade_hours",          ["raw",  "",    "r",    "r"]),
    ("trade_sums",           ["raw",  "",    "r",    "r"]),
    ("usage_closed",         ["rw",   "r",   "r",    "r"]),
    ("usage_months",         ["raw",  "",    "r",    "r"]),
    // Sent by payouts-evm alone: the application shows them, and can make nobody pay.
    ("usdc_senders",         ["r",    "",    "raw",  "r"]),
    ("usdc_transactions",    ["r",    "",    "raw",  "r"]),
    ("usdc_transfers",       ["r",    "",    "raw",  "r"]),
    ("verifications",        ["raw",  "",    "r",    "r"]),
    ("wallets",              ["raw",  "",    "r",    "r"]),
    ("webhook_attempts",     ["rawd", "",    "",     "r"]),
    ("webhook_deliveries",   ["rawd", "",    "",     "r"]),
    // Sealed secrets of receivers.
    ("webhook_endpoints",    ["raw",  "",    "",     ""]),
    ("x402_payments",        ["raw",  "",    "",     "r"]),
];

/// Sequences that statements name; those of identity columns go by their table.
pub const SEQUENCES: &[&str] = &["domain_record_version", "link_record_version", "server_click_seq"];

/// Days of clicks are made and dropped as their owner, by these functions alone, and called by these roles.
const OWNERS_FUNCTIONS: [(&str, &[&str]); 2] = [
    ("ensure_click_partitions(DATE, DATE)", &[APP, DRAIN]),
    ("drop_click_partition(DATE, TIMESTAMPTZ)", &[APP]),
];

/// All that can be granted on a table.
const PRIVILEGES: [(char, &str); 7] = [
    ('r', "SELECT"),
    ('a', "INSERT"),
    ('w', "UPDATE"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
];

/// What applying did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Roles of ours that there are.
    pub roles: Vec<String>,
    /// Statements that gave or took something.
    pub changes: Vec<String>,
    /// Tables nobody has decided about.
    pub undecided: Vec<String>,
}

/// Gives every role what is decided for it, and takes the rest. As the owner of the tables.
pub async fn apply(conn: &mut PgConnection) -> Result<Applied, sqlx::Error> {
    let mut tx = conn.begin().await?;
    let roles: Vec<String> =
        sqlx::query_scalar("SELECT rolname::TEXT FROM pg_roles WHERE rolname = ANY ($1) ORDER BY rolname")
            .bind(ROLES.as_slice())
            .fetch_all(&mut *tx)
            .await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::TEXT FROM pg_class
          WHERE relnamespace = 'public'::REGNAMESPACE AND relkind IN ('r', 'p', 'v', 'm', 'f')
            AND (NOT relispartition OR relname = ANY ($1))
          ORDER BY relname",
    )
    .bind(TABLES.iter().map(|(table, _)| *table).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    let undecided: Vec<_> =
        tables.iter().filter(|table| TABLES.iter().all(|(name, _)| name != table)).cloned().collect();
    let mut statements = Vec::new();
    if !roles.is_empty() {
        let on_tables = held(&mut tx, false).await?;
        let on_sequences = held(&mut tx, true).await?;
        for role in &roles {
            settle_tables(role, &tables, &on_tables, &mut statements);
            settle_sequences(role, &on_sequences, &mut statements);
        }
        settle_functions(&mut tx, &roles, &mut statements).await?;
        settle_defaults(&mut tx, &mut statements).await?;
    }
    for statement in &statements {
        sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Applied { roles, changes: statements, undecided })
}

/// Role and relation, and the names of the privileges.
type Held = BTreeMap<(String, String), BTreeSet<String>>;

/// What our roles have now, on tables (partitions too) or on sequences.
async fn held(conn: &mut PgConnection, sequences: bool) -> Result<Held, sqlx::Error> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT rolname::TEXT, relname::TEXT, privilege_type
           FROM pg_class
          CROSS JOIN LATERAL aclexplode(relacl) AS acl
           JOIN pg_roles ON pg_roles.oid = acl.grantee
          WHERE relnamespace = 'public'::REGNAMESPACE AND rolname = ANY ($1) AND (relkind = 'S') = $2",
    )
    .bind(ROLES.as_slice())
    .bind(sequences)
    .fetch_all(conn)
    .await?;
    let mut held = Held::new();
    for (role, relation, privilege) in rows {
        held.entry((role, relation)).or_default().insert(privilege);
    }
    Ok(held)
}

/// The letters a role is to have on a table.
#[must_use]
pub fn decided(role: &str, table: &str) -> &'static str {
    let nth = ROLES.iter().position(|name| *name == role);
    let row = TABLES.iter().find(|(name, _)| *name == table);
    nth.zip(row).and_then(|(nth, (_, letters))| letters.get(nth)).copied().unwrap_or_default()
}

fn settle_tables(role: &str, tables: &[String], held: &Held, statements: &mut Vec<String>) {
    // Tables that need the same are named in one statement.
    let mut wanted: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    let partitions = held.keys().filter(|(of, _)| of == role).map(|(_, relation)| relation);
    let known: BTreeSet<&String> = tables.iter().chain(partitions).collect();
    for table in known {
        let has = held.get(&(role.to_owned(), table.clone())).cloned().unwrap_or_default();
        let letters = decided(role, table);
        let list = |give: bool| {
            let differs = |(letter, name): &(char, &str)| {
                letters.contains(*letter) == give && has.contains(*name) != give
            };
            let names: Vec<_> = PRIVILEGES.iter().filter(|one| differs(one)).map(|(_, name)| *name).collect();
            names.join(", ")
        };
        for give in [true, false] {
            let privileges = list(give);
            if !privileges.is_empty() {
                wanted.entry((give, privileges)).or_default().push(quoted(table));
            }
        }
    }
    for ((give, privileges), tables) in wanted {
        let tables = tables.join(", ");
        statements.push(if give {
            format!("GRANT {privileges} ON {tables} TO {role}")
        } else {
            format!("REVOKE {privileges} ON {tables} FROM {role}")
        });
    }
}

fn settle_sequences(role: &str, held: &Held, statements: &mut Vec<String>) {
    for name in SEQUENCES {
        let has = held.get(&(role.to_owned(), (*name).to_owned()));
        if role == APP && !has.is_some_and(|has| has.contains("USAGE")) {
            statements.push(format!("GRANT USAGE ON SEQUENCE {name} TO {role}"));
        }
    }
    let ours = |name: &str| role == APP && SEQUENCES.contains(&name);
    for (_, name) in held.keys().filter(|(of, name)| of == role && !ours(name)) {
        statements.push(format!("REVOKE ALL ON SEQUENCE {} FROM {role}", quoted(name)));
    }
}

/// Functions that work as their owner are called by those they are for.
async fn settle_functions(
    conn: &mut PgConnection,
    roles: &[String],
    statements: &mut Vec<String>,
) -> Result<(), sqlx::Error> {
    // A control plane of another name goes on as it did.
    if !roles.iter().any(|role| role == APP) {
        return Ok(());
    }
    for (function, callers) in OWNERS_FUNCTIONS {
        let callers: Vec<&str> =
            callers.iter().copied().filter(|caller| roles.iter().any(|role| role == caller)).collect();
        let settled: bool = sqlx::query_scalar(
            "SELECT prosecdef AND NOT has_function_privilege('public', oid, 'EXECUTE')
                    AND (SELECT bool_and(has_function_privilege(caller, oid, 'EXECUTE')) FROM unnest($2) AS caller)
               FROM pg_proc
              WHERE oid = $1::REGPROCEDURE",
        )
        .bind(function)
        .bind(&callers)
        .fetch_one(&mut *conn)
        .await?;
        if !settled {
            statements.push(format!(
                "ALTER FUNCTION {function} SECURITY DEFINER SET search_path = public, pg_temp; \
                 REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC; GRANT EXECUTE ON FUNCTION {function} TO {}",
                callers.join(", ")
            ));
        }
    }
    Ok(())
}

/// What is not there yet is nobody's: nothing is given in advance.
async fn settle_defaults(conn: &mut PgConnection, statements: &mut Vec<String>) -> Result<(), sqlx::Error> {
    let given: Vec<(String, String)> = sqlx::query_as(
        "SELECT DISTINCT rolname::TEXT, CASE defaclobjtype WHEN 'r' THEN 'TABLES' ELSE 'SEQUENCES' END
           FROM pg_default_acl
          CROSS JOIN LATERAL aclexplode(defaclacl) AS acl
           JOIN pg_roles ON pg_roles.oid = acl.grantee
          WHERE defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND defaclobjtype IN ('r', 'S')
            AND defaclnamespace = 'public'::REGNAMESPACE AND rolname = ANY ($1)
          ORDER BY 1, 2",
    )
    .bind(ROLES.as_slice())
    .fetch_all(conn)
    .await?;
    for (role, what) in given {
        statements
            .push(format!("ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON {what} FROM {role}"));
    }
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
