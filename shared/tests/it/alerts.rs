//! Every alert has its section in the runbook, is caused in a test, and speaks of metrics that exist.
//!
//! The files are read as text, line by line: they are ours, and `promtool` reads them as YAML.

use std::collections::BTreeSet;
use std::path::Path;

const RUNBOOK: &str = "https://github.com/affiliateos/affiliateos/blob/main/deploy/RUNBOOK.md#";
const DASHBOARDS: [&str; 4] = [
    "deploy/grafana/dashboards/clicks.json",
    "deploy/grafana/dashboards/control-plane.json",
    "deploy/grafana/dashboards/money.json",
    "deploy/grafana/dashboards/stores.json",
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An alert's name and the section its `runbook_url` leads to.
fn alerts() -> Vec<(String, String)> {
    let text = read("deploy/prometheus/alerts.yml");
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            found.push((name.to_owned(), String::new()));
        } else if let Some(url) = line.strip_prefix("runbook_url: ") {
            let anchor = url.trim_matches('\'').strip_prefix(RUNBOOK).expect("a link into the runbook");
            anchor.clone_into(&mut found.last_mut().expect("an alert above").1);
        }
    }
    assert!(found.len() > 50, "the alerts were read: {found:?}");
    found
}

/// The anchor that a heading gets: small letters, digits and `_`, with `-` for spaces.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || "_- ".contains(*letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// What stands between backquotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Names that begin with one of our prefixes; anchors of the runbook have lost their punctuation and are none.
fn metrics(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.contains(RUNBOOK))
        .flat_map(|line| line.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')))
        .filter(|word| word.starts_with("cp_") || word.starts_with("edge_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned())
        .collect()
}

#[test]
fn every_alert_has_its_section_with_three_commands() {
    let runbook = read("deploy/RUNBOOK.md");
    let mut told = BTreeSet::new();
    for section in runbook.split("\n## ").skip(1) {
        let (heading, body) = section.split_once('\n').expect("a heading and more");
        let Some(line) = body.lines().next().filter(|line| line.starts_with("Alert")) else { continue };
        for name in quoted(line) {
            assert!(told.insert((name.to_owned(), anchor(heading))), "{name} is told twice");
        }
        let steps = ["\n1. ", "\n2. ", "\n3. "].iter().filter(|step| body.contains(**step)).count();
        assert_eq!(steps, 3, "`{heading}` has three steps");
    }
    let alerts: BTreeSet<(String, String)> = alerts().into_iter().collect();
    let missing: Vec<_> = alerts.difference(&told).collect();
    assert!(missing.is_empty(), "alerts whose section does not name them: {missing:?}");
    let unknown: Vec<_> = told.difference(&alerts).collect();
    assert!(unknown.is_empty(), "the runbook names alerts that lead elsewhere or nowhere: {unknown:?}");
}

#[test]
fn every_alert_is_caused_in_a_test() {
    let tests = read("deploy/prometheus/alerts_test.yml");
    for (name, _) in alerts() {
        let fired = tests
            .split("\n  - name: ")
            .any(|test| test.starts_with(&format!("{name}\n")) && test.contains("exp_labels:"));
        assert!(fired, "alerts_test.yml does not cause {name}");
    }
}

#[test]
fn alerts_and_dashboards_speak_of_metrics_that_exist() {
    let declared = metrics(
        &(read("control-plane/src/metrics.rs")
            + &read("tracker-edge/src/metrics.rs")
            + &read("tracker-edge/src/clicks/spool/metrics.rs")),
    );
    assert!(declared.len() > 80, "the families were read: {declared:?}");
    let alerts = ["deploy/prometheus/alerts.yml", "deploy/prometheus/alerts_test.yml"];
    for file in alerts.into_iter().chain(DASHBOARDS) {
        let used = metrics(&read(file));
        let invented: Vec<_> = used.difference(&declared).collect();
        assert!(invented.is_empty(), "{file} speaks of {invented:?}");
    }
}

#[test]
fn dashboards_lead_to_sections_of_the_runbook() {
    let runbook = read("deploy/RUNBOOK.md");
    let sections: BTreeSet<String> =
        runbook.split("\n## ").skip(1).filter_map(|section| section.lines().next()).map(anchor).collect();
    for file in DASHBOARDS {
        let text = read(file);
        let led: BTreeSet<String> = text
            .split(RUNBOOK)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(ToOwned::to_owned)
            .collect();
        assert!(led.len() > 5, "{file}: the links were read: {led:?}");
        let nowhere: Vec<_> = led.difference(&sections).collect();
        assert!(nowhere.is_empty(), "{file} leads nowhere: {nowhere:?}");
    }
}
