//! For every rule a sample that breaks it and one that keeps it.

use super::{Broken, File, LINES_MAX, RULES};

/// Runs one rule on sample files.
fn run(rule: &str, files: &[(&str, &str)]) -> Vec<Broken> {
    let (_, rule) = RULES.iter().find(|(name, _)| *name == rule).expect("a rule of this name");
    let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, text)).collect();
    rule(&files)
}

/// The rule fires exactly at these places.
#[track_caller]
fn breaks(rule: &str, files: &[(&str, &str)], places: &[(&str, usize)]) {
    let broken = run(rule, files);
    let found: Vec<(&str, usize)> = broken.iter().map(|broken| (broken.path.as_str(), broken.line)).collect();
    assert_eq!(found, places, "{rule}: {broken:#?}");
}

#[track_caller]
fn keeps(rule: &str, files: &[(&str, &str)]) {
    breaks(rule, files, &[]);
}

#[test]
fn a_failure_names_file_line_and_rule() {
    let broken = run("file_doc", &[("shared/src/a.rs", "pub fn a() {}")]);
    assert_eq!(
        broken[0].to_string(),
        "shared/src/a.rs:1: every .rs file starts with //! (say what it owns and what must stay true)"
    );
}

#[test]
fn file_doc() {
    breaks("file_doc", &[("a/src/b.rs", "use std::fs;\n//! Late.\n")], &[("a/src/b.rs", 1)]);
    keeps("file_doc", &[("a/src/b.rs", "//! Owns b.\n"), ("a/Cargo.toml", "[package]\n")]);
}

#[test]
fn file_length() {
    let long = "//! Long.\n".to_owned() + &"fn f() {}\n".repeat(LINES_MAX);
    let tested =
        "//! Short.\n#[cfg(test)]\nmod tests {\n".to_owned() + &"fn f() {}\n".repeat(LINES_MAX) + "}\n";
    breaks("file_length", &[("a/src/b.rs", &long)], &[("a/src/b.rs", LINES_MAX + 1)]);
    keeps("file_length", &[("a/src/b.rs", &tested), ("a/tests/it/b.rs", &long), ("a/src/b/tests.rs", &long)]);
}

#[test]
fn todo() {
    breaks("todo", &[("a/src/b.rs", "//! B.\n// TODO: later\n")], &[("a/src/b.rs", 2)]);
    breaks("todo", &[("a/b.sql", "-- FIXME\n")], &[("a/b.sql", 1)]);
    keeps(
        "todo",
        &[("a/src/b.rs", "// TODO(ann): faster, https://example.com/issues/1\nlet a = \"TODO\";\n")],
    );
    keeps("todo", &[("a/src/b.rs", "// A `TODO` is only spoken of here.\n")]);
}

#[test]
fn vague_name() {
    breaks(
        "vague_name",
        &[("a/src/utils.rs", ""), ("a/src/common/b.rs", "")],
        &[("a/src/utils.rs", 1), ("a/src/common/b.rs", 1)],
    );
    keeps("vague_name", &[("a/src/money.rs", ""), ("a/data/names.md", "")]);
}

#[test]
fn links() {
    let path = "deploy/README.md";
    breaks("links", &[(path, "Deploy.\n[a](../ABSENT.md) and [b](units/)\n")], &[(path, 2), (path, 2)]);
    keeps(
        "links",
        &[
            (path, "[a](../README.md#run) [b](https://example.com) [c](#here) [d](units) [e](../LICENSE)"),
            ("README.md", "[a](deploy/)"),
            ("deploy/units/edge.toml", ""),
        ],
    );
}

#[test]
fn sql() {
    let path = "control-plane/src/features/links/ops.rs";
    breaks("sql", &[(path, "fn f() {\n sqlx::query(text);\n}")], &[(path, 2)]);
    breaks("sql", &[(path, "query_scalar::<_, i64>(TEXT)")], &[(path, 1)]);
    breaks("sql", &[(path, "query!(TEXT)")], &[(path, 1)]);
    breaks("sql", &[(path, "const A: &str =\n \"\n  SELECT 1\";")], &[(path, 2)]);
    breaks(
        "sql",
        &[("tracker-edge/src/main.rs", "r#\"DELETE FROM clicks\"#")],
        &[("tracker-edge/src/main.rs", 1)],
    );
    keeps(
        "sql",
        &[
            ("control-plane/src/features/links/queries.rs", "sqlx::query(\"SELECT 1\")"),
            ("control-plane/src/db.rs", "sqlx::query(\"SELECT 1\")"),
            ("control-plane/tests/it/a.rs", "sqlx::query(\"SELECT 1\")"),
            (path, "let a = url.query(); let b = \"Select a plan\"; // SELECT a FROM b\n"),
            (path, "#[cfg(test)]\nmod tests { fn f() { sqlx::query(\"SELECT 1\"); } }"),
        ],
    );
}

#[test]
fn axum() {
    let inner = [
        "features/links/ops.rs",
        "features/links/model/code.rs",
        "features/links/queries.rs",
        "workers/fold.rs",
    ];
    for path in inner.map(|path| format!("control-plane/src/{path}")) {
        breaks("axum", &[(&path, "//! A.\nuse axum::http::StatusCode;")], &[(&path, 2)]);
    }
    keeps("axum", &[("control-plane/src/features/links/routes.rs", "use axum::extract::State;")]);
}

#[test]
fn pure_model() {
    let path = "control-plane/src/features/commissions/rules.rs";
    breaks(
        "pure_model",
        &[(path, "fn f(conn: &mut PgConnection) {}\nlet now = Utc::now();")],
        &[(path, 1), (path, 2)],
    );
    keeps(
        "pure_model",
        &[
            (path, "#[derive(sqlx::FromRow)]\nstruct A;"),
            ("control-plane/src/features/commissions/ops.rs", "fn f(conn: &mut PgConnection) {}"),
            ("control-plane/src/features/attribution/ops.rs", "fn f(conn: &mut PgConnection) {}"),
        ],
    );
}

#[test]
fn error_status() {
    let path = "control-plane/src/features/links/routes.rs";
    breaks("error_status", &[(path, "return StatusCode::NOT_FOUND;")], &[(path, 1)]);
    keeps(
        "error_status",
        &[
            (path, "return StatusCode::CREATED;"),
            (path, "let late = reply.status() == StatusCode::GATEWAY_TIMEOUT;"),
            ("control-plane/src/web/respond.rs", "StatusCode::NOT_FOUND"),
            ("control-plane/src/surfaces/attribution_v1/error.rs", "StatusCode::NOT_FOUND"),
            ("tracker-edge/src/redirect.rs", "StatusCode::NOT_FOUND"),
        ],
    );
}

#[test]
fn feature_calls() {
    let path = "control-plane/src/features/programs/ops.rs";
    breaks("feature_calls", &[(path, "//! P.\nuse crate::features::links::ops;")], &[(path, 2)]);
    breaks(
        "feature_calls",
        &[(path, "use crate::{\n db,\n features::{agents, payouts::{a, b}},\n};")],
        &[(path, 3)],
    );
    breaks("feature_calls", &[(path, "use super::super::clicks;")], &[(path, 1)]);
    let module = "control-plane/src/features/programs/mod.rs";
    breaks("feature_calls", &[(module, "use super::stats;")], &[(module, 1)]);
    let new = "control-plane/src/features/surveys/mod.rs";
    breaks("feature_calls", &[(new, "//! S.")], &[(new, 1)]);
    keeps(
        "feature_calls",
        &[
            (
                path,
                "use crate::features::agents::{Agent, ops};\nuse crate::features::webhooks::emit;\nuse super::model;",
            ),
            (path, "use crate::features::programs::model::Program;"),
            ("control-plane/src/features/mod.rs", "pub mod links;"),
            ("control-plane/src/web/router.rs", "use crate::features::{links, stats};"),
        ],
    );
}

#[test]
fn feature_calls_have_no_cycles() {
    for (row, (name, allowed)) in super::FEATURE_CALLS.iter().enumerate() {
        for callee in *allowed {
            let above = super::FEATURE_CALLS.iter().position(|(known, _)| known == callee);
            assert!(above.is_some_and(|above| above < row), "{name} names {callee}, which is not above it");
        }
    }
}

#[test]
fn crate_calls() {
    let path = "tracker-edge/Cargo.toml";
    breaks(
        "crate_calls",
        &[(path, "[dependencies]\ncontrol-plane = { path = \"../control-plane\" }\n")],
        &[(path, 2)],
    );
    breaks("crate_calls", &[("shared/Cargo.toml", "xtask.workspace = true")], &[("shared/Cargo.toml", 1)]);
    keeps(
        "crate_calls",
        &[(path, "[package]\nname = \"tracker-edge\"\n[dependencies]\nshared.workspace = true\n")],
    );
}

#[test]
fn money_floats() {
    for path in
        ["money.rs", "features/ledger/ops.rs", "features/payouts/model.rs", "features/commissions/rules.rs"]
    {
        let path = format!("control-plane/src/{path}");
        breaks("money_floats", &[(&path, "//! A.\nlet a: f64 = 0.1;")], &[(&path, 2)]);
    }
    keeps(
        "money_floats",
        &[
            ("control-plane/src/metrics.rs", "let a: f64 = 0.1;"),
            ("control-plane/src/money.rs", "let a = \"f64\"; // never f64\n"),
        ],
    );
}

#[test]
fn keyed_maps() {
    let map = "let map = DashMap::with_hasher(Quick::default());";
    breaks("keyed_maps", &[("tracker-edge/src/a.rs", map)], &[("tracker-edge/src/a.rs", 1)]);
    keeps("keyed_maps", &[("tracker-edge/src/a.rs", "let map: DashMap<IpAddr, u32> = DashMap::new();")]);
}

#[test]
fn environment() {
    breaks("environment", &[("a/src/b.rs", "let a = std::env::var(\"A\");")], &[("a/src/b.rs", 1)]);
    keeps(
        "environment",
        &[
            ("a/src/config.rs", "std::env::var(\"A\")"),
            ("a/tests/it/harness.rs", "std::env::var(\"A\")"),
            ("a/src/b.rs", "let a = env!(\"CARGO_MANIFEST_DIR\"); let b = std::env::current_exe();"),
        ],
    );
}

#[test]
fn metrics() {
    let path = "control-plane/src/metrics.rs";
    let list =
        "const FAMILIES: A = &[\n(\"cp_a_total\", \"How many\"),\n(\"cp_a_total\", \"Again that\"),\n];";
    breaks("metrics", &[(path, list)], &[(path, 3)]);
    let path = "tracker-edge/src/links/miss.rs";
    breaks("metrics", &[(path, "counter!(\"edge_unlisted_total\")")], &[(path, 1)]);
    let spool = "tracker-edge/src/clicks/spool/metrics.rs";
    keeps(
        "metrics",
        &[
            (spool, "describe_counter!(\n\"edge_a_total\",\n\"How many\"\n);\ncounter!(\"edge_a_total\");"),
            (path, "counter!(\"edge_a_total\"); let b = \"edge case\"; let c = \"edge_\";"),
        ],
    );
}

#[test]
fn variables() {
    let path = "tracker-edge/src/config.rs";
    let one = "/// A.\n#[arg(long, env = \"AOS_A\")]\na: String,\n";
    let again = format!("{one}/// B.\n#[arg(env = \"AOS_A\")]\nb: String,\n");
    breaks("variables", &[(path, &again)], &[(path, 5)]);
    breaks("variables", &[(path, "a: A,\n#[arg(env = \"AOS_A\")]\nb: B,\n")], &[(path, 2)]);
    let other = "tracker-edge/src/admin.rs";
    breaks("variables", &[(path, one), (other, "let a = \"AOS_B\";")], &[(other, 1)]);
    let example = "deploy/env/tracker-edge.env.example";
    breaks("variables", &[(path, one), (example, "# AOS_A\n")], &[(example, 1)]);
    keeps("variables", &[(path, one), (example, "AOS_A=1\n"), (other, "let a = \"AOS_A\";")]);
}

#[test]
fn event_types() {
    let path = "control-plane/src/features/webhooks/event.rs";
    let list = "Self::A => \"affiliate.joined\",\nSelf::B => \"affiliate.joined\",";
    breaks("event_types", &[(path, list)], &[(path, 2)]);
    let other = "control-plane/src/features/links/ops.rs";
    let list = "Self::A => \"affiliate.joined\",";
    breaks("event_types", &[(path, list), (other, "emit(\"affiliate.joined\")")], &[(other, 1)]);
    keeps("event_types", &[(path, list), (other, "emit(Event::A); let b = \"a.b\";")]);
}

#[test]
fn error_codes() {
    let path = "control-plane/src/error.rs";
    let list = "/// Gone\nA = \"not_found\", NotFound;\n/// Gone again\nB = \"not_found\", NotFound;\n";
    breaks("error_codes", &[(path, list)], &[(path, 4)]);
    breaks("error_codes", &[(path, "codes! {\nA = \"not_found\", NotFound;\n}")], &[(path, 2)]);
    keeps(
        "error_codes",
        &[(path, "/// Gone\nA = \"not_found\", NotFound;\n/// Bad\nB = \"bad\", Invalid;\n")],
    );
}

#[test]
fn jobs() {
    let path = "control-plane/src/workers/jobs/schedule.rs";
    breaks("jobs", &[(path, "job(\"fold\", a),\njob(\"fold\", b),")], &[(path, 2)]);
    keeps("jobs", &[(path, "job(\"fold\", a),\njob(\"publish\", b),")]);
}

#[test]
fn migrations() {
    let path = "control-plane/migrations/20261121000001_create_accounts.sql";
    breaks("migrations", &[(path, "CREATE TABLE a ();\n-- Late.")], &[(path, 1)]);
    let odd = "control-plane/migrations/1_Accounts.sql";
    breaks("migrations", &[(odd, "-- Accounts.\n")], &[(odd, 1)]);
    keeps(
        "migrations",
        &[(path, "-- Accounts.\nCREATE TABLE a ();"), ("control-plane/migrations/schema.sql", "CREATE")],
    );
}

#[test]
fn migration_checksums() {
    let list = "control-plane/migrations/checksums.sha256";
    // The sum of `abc`.
    let sums = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  20260101000002_b.sql\n";
    let released = "control-plane/migrations/20260101000002_b.sql";
    breaks("migration_checksums", &[(list, sums), (released, "changed")], &[(list, 1)]);
    breaks("migration_checksums", &[(list, sums)], &[(list, 1)]);
    breaks("migration_checksums", &[(list, "nonsense\n")], &[(list, 1)]);
    let late = "control-plane/migrations/20260101000001_a.sql";
    breaks("migration_checksums", &[(list, sums), (released, "abc"), (late, "-- A")], &[(late, 1)]);
    let next = "control-plane/migrations/20260101000003_c.sql";
    keeps("migration_checksums", &[(list, sums), (released, "abc"), (next, "-- C")]);
}

#[test]
fn every_rule_has_its_sample() {
    let samples = include_str!("samples.rs");
    for (name, _) in RULES {
        assert!(samples.contains(&format!("fn {name}() {{")), "no sample for the rule {name}");
    }
}
