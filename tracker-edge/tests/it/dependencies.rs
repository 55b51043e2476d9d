//! The edge's dependency tree keeps within its budget.

use std::collections::BTreeSet;
use std::process::Command;

/// What must never be in the tree: SQL, frameworks, HTTP clients, a second TLS stack or provider. TLS itself,
/// for Redis and for visitors, is rustls with ring through tokio-rustls.
const FORBIDDEN: &[&str] = &[
    "sqlx",
    "sqlx-core",
    "tokio-postgres",
    "axum",
    "axum-core",
    "tower-http",
    "reqwest",
    "openssl",
    "openssl-sys",
    "native-tls",
    "aws-lc-rs",
    "aws-lc-sys",
];

#[test]
fn the_tree_has_no_sql_no_framework_and_one_tls_stack() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "tracker-edge",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{lib}",
        ])
        .args(["--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    let found: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.replace('_', "-"))
        .collect();
    assert!(found.contains("hyper") && found.contains("redis"), "{found:?}");
    let forbidden: Vec<_> = FORBIDDEN.iter().filter(|name| found.contains(**name)).collect();
    assert!(forbidden.is_empty(), "in the tree: {forbidden:?}");
}
