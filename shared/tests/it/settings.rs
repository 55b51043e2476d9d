//! Every setting of a program stands in its example under `deploy/env`, and nothing else does.

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names such as `AOS_ADDR` and `OTEL_SERVICE_NAME` that follow `before`.
fn names(text: &str, before: &str) -> BTreeSet<String> {
    text.match_indices(before)
        .filter_map(|(at, _)| text.get(at + before.len()..))
        .map(|rest| {
            rest.chars()
                .take_while(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || *letter == '_')
                .collect()
        })
        .filter(|name: &String| ["AOS_", "OTEL_"].iter().any(|ours| name.starts_with(ours)))
        .collect()
}

/// Settings of traces are declared once, for every program that sends spans.
const TRACES: &str = "control-plane/src/config/tracing.rs";

fn check(program: &str, further: &[&str]) {
    let mut settings = names(&read(&format!("{program}/src/config.rs")), "env = \"");
    for file in further {
        settings.extend(names(&read(file), "env = \""));
    }
    let example = read(&format!("deploy/env/{program}.env.example"));
    let example: Vec<&str> = example.lines().map(|line| line.trim_start_matches('#')).collect();
    let example = format!("\n{}", example.join("\n"));
    assert!(settings.len() > 10, "{program} has settings: {settings:?}");
    assert_eq!(
        settings,
        names(&example, "\n"),
        "deploy/env/{program}.env.example lists other settings than {program}"
    );
}

#[test]
fn every_setting_of_the_edge_is_in_its_example() {
    check("tracker-edge", &[]);
}

#[test]
fn every_setting_of_the_control_plane_is_in_its_example() {
    check("control-plane", &[TRACES]);
}

#[test]
fn every_setting_of_the_payouts_is_in_its_example() {
    check("payouts-evm", &[TRACES]);
}
