//! The rules of the house that a machine can check, checked on every file of the repository.
//!
//! A rule is a function from the tree to what breaks it. Each has a sample in `samples.rs` that shows
//! it fires; a rule about a folder that does not exist yet holds until it appears. What is allowed
//! where is data, at the top of this file: to allow more, add a line with its reason.

mod layers;
mod lists;
mod samples;
mod source;
mod text;

use std::fmt;
use std::fs;
use std::path::Path;

use source::Line;

/// Files and folders outside `queries.rs` that hold SQL, each for its reason.
const SQL_ALLOWED: &[&str] = &[
    // Session settings, locks and the migrations themselves.
    "control-plane/src/db.rs",
    "control-plane/src/db/requests.rs",
    // Who may use which table: no rows are read.
    "control-plane/src/db/grants.rs",
    // Stored replies: plumbing of every POST, no feature's table.
    "control-plane/src/web/idempotency.rs",
    // Claiming jobs and keeping what could not be stored are the workers' own tables.
    "control-plane/src/workers/jobs/queue.rs",
    "control-plane/src/workers/drainer/parked.rs",
    // The referee of a run counts rows itself, to owe nothing to the code it judges.
    "loadtest/src/",
];

/// Files that name error statuses: one for `/api`, one for each other surface (`surfaces/*/error.rs`).
const ERROR_STATUS_ALLOWED: &[&str] = &["control-plane/src/web/respond.rs"];

/// Which feature may call which: itself and those named behind it. A row names only rows above it,
/// so there are no cycles; `stats` reads other features' tables, and nobody calls it.
const FEATURE_CALLS: &[(&str, &[&str])] = &[
    ("ledger", &[]),
    ("webhooks", &[]),
    ("audit", &[]),
    ("trade", &[]),
    ("link_outbox", &[]),
    ("usage", &["ledger", "webhooks"]),
    ("wallet", &["ledger", "usage"]),
    ("agents", &["usage"]),
    ("keys", &["agents"]),
    ("subscriptions", &["agents", "usage", "ledger", "webhooks"]),
    ("payments", &["wallet", "ledger", "subscriptions"]),
    ("programs", &["agents", "link_outbox", "subscriptions", "webhooks"]),
    ("partnerships", &["agents", "link_outbox", "programs", "subscriptions", "webhooks"]),
    ("links", &["agents", "link_outbox", "usage", "programs", "partnerships", "subscriptions", "webhooks"]),
    ("domains", &["programs", "links"]),
    ("clicks", &["links", "usage"]),
    ("commissions", &["programs", "partnerships", "ledger", "trade", "webhooks"]),
    ("conversions", &["agents", "programs", "links", "clicks", "commissions", "usage", "webhooks"]),
    ("explain", &["clicks", "commissions", "conversions", "usage"]),
    ("attribution", &["agents", "programs", "partnerships", "links", "commissions", "conversions"]),
    ("payouts", &["agents", "commissions", "ledger", "webhooks"]),
    ("network", &["agents", "programs", "partnerships", "subscriptions", "webhooks"]),
    ("matching", &["agents", "usage", "programs", "partnerships", "network", "webhooks"]),
    ("accounts", &["agents", "programs", "partnerships", "matching"]),
    ("stats", &["ledger", "trade", "usage"]),
    ("signers", &[]),
];

/// Where money is: no floats.
const MONEY: &[&str] = &[
    "control-plane/src/money.rs",
    "control-plane/src/money/",
    "control-plane/src/features/commissions/",
    "control-plane/src/features/ledger/",
    "control-plane/src/features/payments/",
    "control-plane/src/features/payouts/",
    "control-plane/src/features/subscriptions/",
    "control-plane/src/features/trade/",
    "control-plane/src/features/usage/",
    "control-plane/src/features/wallet/",
    "control-plane/src/stripe/",
    "control-plane/src/x402/",
];

/// Which of our crates a crate may depend on.
const CRATE_CALLS: &[(&str, &[&str])] = &[
    ("shared", &[]),
    ("tracker-edge", &["shared"]),
    ("control-plane", &["shared"]),
    ("payouts-evm", &["shared", "control-plane"]),
    ("loadtest", &["shared"]),
    ("xtask", &[]),
];

/// Lines of a file that are not tests. The aim is 100 to 250.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const VAGUE_NAMES: &[&str] = &[
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "manager",
    "processor",
    "data",
    "info",
    "types",
];

/// A file of the repository.
#[derive(Clone, Debug)]
struct File {
    /// From the root, with slashes.
    path: String,
    text: String,
    /// The scanned text of a Rust file; empty otherwise.
    lines: Vec<Line>,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        let mut file = Self { path: path.to_owned(), text: text.to_owned(), lines: Vec::new() };
        if file.is_rust() {
            file.lines = source::scan(text);
        }
        file
    }

    /// `ops.rs`
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    fn has_ending(&self, ending: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == ending)
    }

    fn is_rust(&self) -> bool {
        self.has_ending("rs")
    }

    /// Tests and benchmarks as a whole.
    fn is_test(&self) -> bool {
        let inside = |folder: &str| self.path.split('/').any(|part| part == folder);
        inside("tests") || inside("benches") || self.name() == "tests.rs"
    }

    /// Lines that ship, with their numbers.
    fn shipped(&self) -> impl Iterator<Item = (usize, &Line)> {
        let whole_file = self.is_test();
        self.lines
            .iter()
            .enumerate()
            .filter(move |(_, line)| !whole_file && !line.test)
            .map(|(at, line)| (at + 1, line))
    }

    fn breaks(&self, line: usize, rule: &'static str, detail: impl Into<String>) -> Broken {
        Broken { path: self.path.clone(), line, rule, detail: detail.into() }
    }
}

/// A rule that is broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Broken {
    path: String,
    line: usize,
    rule: &'static str,
    detail: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} ({})", self.path, self.line, self.rule, self.detail)
    }
}

/// A rule.
type Rule = fn(&[File]) -> Vec<Broken>;

/// All of them, with the names under which `samples.rs` shows them at work.
const RULES: &[(&str, Rule)] = &[
    ("file_doc", text::file_doc),
    ("file_length", text::file_length),
    ("todo", text::todo),
    ("vague_name", text::vague_name),
    ("links", text::links),
    ("sql", layers::sql),
    ("axum", layers::axum),
    ("pure_model", layers::pure_model),
    ("error_status", layers::error_status),
    ("feature_calls", layers::feature_calls),
    ("crate_calls", layers::crate_calls),
    ("money_floats", layers::money_floats),
    ("keyed_maps", layers::keyed_maps),
    ("environment", layers::environment),
    ("metrics", lists::metrics),
    ("variables", lists::variables),
    ("event_types", lists::event_types),
    ("error_codes", lists::error_codes),
    ("jobs", lists::jobs),
    ("migrations", lists::migrations),
    ("migration_checksums", lists::migration_checksums),
];

#[test]
fn the_repository_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let files = read_tree(root);
    assert!(files.iter().any(|file| file.path == "shared/src/lib.rs"), "the walk found the tree");
    let broken: Vec<String> =
        RULES.iter().flat_map(|(_, rule)| rule(&files)).map(|broken| broken.to_string()).collect();
    assert!(broken.is_empty(), "{} rules broken:\n{}\n", broken.len(), broken.join("\n"));
}

/// Reads every text file we write. Hidden folders and build output are not ours to judge.
fn read_tree(root: &Path) -> Vec<File> {
    const ENDINGS: [&str; 6] = ["rs", "toml", "sql", "md", "example", "sha256"];
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || ["target", "node_modules"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| ENDINGS.contains(&end.to_string_lossy().as_ref())) {
                let relative =
                    path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                files.push(File::new(&relative, &fs::read_to_string(&path).expect("a text file")));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
