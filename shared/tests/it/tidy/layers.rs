//! Rules about who may use what: SQL, HTTP, other features, floats, the environment.

use super::source::{has_word, word_positions};
use super::{Broken, CRATE_CALLS, ERROR_STATUS_ALLOWED, FEATURE_CALLS, File, MONEY, SQL_ALLOWED};

const FEATURES: &str = "control-plane/src/features/";

/// Calls that take SQL.
const SQL_CALLS: &[&str] = &[
    "query",
    "query_as",
    "query_scalar",
    "query_as_with",
    "query_with",
    "query_scalar_with",
    "raw_sql",
    "QueryBuilder",
    "copy_in_raw",
    "copy_out_raw",
    "pg_copy_in_raw",
];
/// How a statement begins.
const SQL_STARTS: &[&str] = &[
    "SELECT ",
    "SELECT\n",
    "INSERT INTO ",
    "UPDATE ",
    "DELETE FROM ",
    "COPY ",
    "WITH ",
    "CREATE ",
    "ALTER ",
    "DROP ",
    "TRUNCATE ",
    "LOCK TABLE ",
    "SET LOCAL ",
    "SET TRANSACTION ",
];

/// All SQL of a feature is in one file, and reviewers know where to look.
pub(super) fn sql(files: &[File]) -> Vec<Broken> {
    let mut broken = Vec::new();
    let allowed = |file: &File| {
        file.name() == "queries.rs" || SQL_ALLOWED.iter().any(|place| file.path.starts_with(place))
    };
    for file in files.iter().filter(|file| !allowed(file)) {
        for (number, line) in file.shipped() {
            let call = SQL_CALLS
                .iter()
                .find(|call| word_positions(&line.code, call).any(|at| is_sqlx(&line.code, at, call)));
            let statement = line.strings.iter().find(|text| is_statement(text));
            let detail = match (call, statement) {
                (Some(call), _) => format!("`{call}`"),
                (_, Some(text)) => text.chars().take(40).collect(),
                _ => continue,
            };
            broken.push(file.breaks(number, "SQL only in queries.rs", detail));
        }
    }
    broken
}

/// Whether a word in the code is a call into sqlx. `query` alone is many things (`url.query()`, a
/// field): it counts behind `sqlx::` and as a macro.
fn is_sqlx(code: &str, at: usize, call: &str) -> bool {
    let before = code.get(..at).unwrap_or_default();
    let after = code.get(at + call.len()..).unwrap_or_default();
    call != "query" || before.ends_with("sqlx::") || after.starts_with('!')
}

fn is_statement(text: &str) -> bool {
    let text = text.trim_start();
    SQL_STARTS.iter().any(|start| text.starts_with(start))
}

/// Rules and operations can be tested without a server.
pub(super) fn axum(files: &[File]) -> Vec<Broken> {
    let inner = |file: &&File| {
        let in_feature = file.path.starts_with(FEATURES)
            && ["model", "ops", "queries"].iter().any(|part| is_part(&file.path, part));
        in_feature || file.path.starts_with("control-plane/src/workers/")
    };
    uses(files, inner, &["axum"], "no axum in model, ops, queries and workers")
}

/// Whether a path is the module `part` of its feature, or lies in that module's folder.
fn is_part(path: &str, part: &str) -> bool {
    let inside =
        path.strip_prefix(FEATURES).and_then(|path| path.split_once('/')).map_or("", |(_, rest)| rest);
    inside.split('/').any(|segment| segment == part || segment.strip_suffix(".rs") == Some(part))
}

/// What decides is arithmetic on values: it fits a table of cases.
pub(super) fn pure_model(files: &[File]) -> Vec<Broken> {
    let pure = |file: &&File| {
        file.path.starts_with(FEATURES)
            && ["model", "rules", "terms", "matching", "attribution"]
                .iter()
                .any(|part| is_part(&file.path, part))
    };
    let words = ["tokio", "redis", "PgConnection", "PgPool", "Utc::now", "SystemClock"];
    uses(files, pure, &words, "no I/O and no clock in model, rules, terms, matching and attribution")
}

/// Statuses of errors come from their class, in one place. Looking at somebody else's is no answer.
pub(super) fn error_status(files: &[File]) -> Vec<Broken> {
    const STATUSES: &[&str] = &[
        "BAD_REQUEST",
        "UNAUTHORIZED",
        "PAYMENT_REQUIRED",
        "FORBIDDEN",
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
        "CONFLICT",
        "GONE",
        "PAYLOAD_TOO_LARGE",
        "UNSUPPORTED_MEDIA_TYPE",
        "UNPROCESSABLE_ENTITY",
        "TOO_MANY_REQUESTS",
        "INTERNAL_SERVER_ERROR",
        "NOT_IMPLEMENTED",
        "BAD_GATEWAY",
        "GATEWAY_TIMEOUT",
    ];
    let elsewhere = |file: &&File| {
        let surface = file.path.starts_with("control-plane/src/surfaces/") && file.name() == "error.rs";
        file.path.starts_with("control-plane/src/")
            && !surface
            && !ERROR_STATUS_ALLOWED.contains(&file.path.as_str())
    };
    let is_answer = |code: &str, at: usize| {
        let before = code.get(..at).unwrap_or_default().trim_end_matches("http::").trim_end();
        !before.ends_with("==") && !before.ends_with("!=")
    };
    let find = |code: &str| {
        let named = |status: &&&str| {
            let word = format!("StatusCode::{status}");
            word_positions(code, &word).any(|at| is_answer(code, at))
        };
        STATUSES.iter().find(named).copied()
    };
    lines_with(files, elsewhere, find, "error statuses only in web/respond.rs and surfaces' error.rs")
}

/// Features form a hierarchy; what two of them need is a third thing or an event.
pub(super) fn feature_calls(files: &[File]) -> Vec<Broken> {
    let mut broken = Vec::new();
    for file in files {
        let Some(caller) = feature_of(&file.path) else { continue };
        let Some((_, allowed)) = FEATURE_CALLS.iter().find(|(name, _)| *name == caller) else {
            broken.push(file.breaks(1, "every feature has its row in FEATURE_CALLS", caller));
            continue;
        };
        for (number, callee) in called_features(file) {
            let known = FEATURE_CALLS.iter().any(|(name, _)| *name == callee);
            if known && callee != caller && !allowed.contains(&callee.as_str()) {
                let detail = format!("{caller} may not call {callee}");
                broken.push(file.breaks(number, "a feature calls only those FEATURE_CALLS allows", detail));
            }
        }
    }
    broken
}

/// `programs`, for everything in `features/programs/` and for `features/programs.rs`.
fn feature_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(FEATURES)?;
    let first = rest.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "mod").then_some(name)
}

/// Names behind `features::` in shipped code, with their lines; `features::{a, b::{c, d}}` has two.
fn called_features(file: &File) -> Vec<(usize, String)> {
    let mut code = String::new();
    let mut starts = Vec::new();
    for (number, line) in file.shipped() {
        starts.push((code.len(), number));
        code.push_str(&line.code);
        code.push('\n');
    }
    let line_at =
        |at: usize| starts.iter().rev().find(|(start, _)| *start <= at).map_or(1, |(_, number)| *number);
    let mut calls = Vec::new();
    // From `features/a/ops.rs`, `super::super` is `features` too; from `features/a/mod.rs`, `super` is.
    let nested = if file.name() == "mod.rs" { "super::" } else { "super::super::" };
    for prefix in ["features::", nested] {
        for (at, _) in code.match_indices(prefix) {
            if prefix == "super::" && code.get(..at).is_some_and(|before| before.ends_with("super::")) {
                continue;
            }
            let rest = code.get(at + prefix.len()..).unwrap_or_default();
            calls.extend(first_names(rest).into_iter().map(|name| (line_at(at), name)));
        }
    }
    calls
}

/// The first segments of the paths at the beginning of the text: one, or those of a `{…}` group.
fn first_names(text: &str) -> Vec<String> {
    let name_of = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = text.strip_prefix('{') else { return vec![name_of(text)] };
    let (mut names, mut depth, mut item) = (Vec::new(), 1_usize, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            names.push(name_of(&item));
            item.clear();
        } else {
            item.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Edge and control plane meet only in what `shared` defines.
pub(super) fn crate_calls(files: &[File]) -> Vec<Broken> {
    let mut broken = Vec::new();
    for (name, allowed) in CRATE_CALLS {
        let manifest = format!("{name}/Cargo.toml");
        let Some(file) = files.iter().find(|file| file.path == manifest) else { continue };
        for (at, line) in file.text.lines().enumerate() {
            let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let ours = CRATE_CALLS.iter().any(|(known, _)| *known == key);
            if ours && key != *name && !allowed.contains(&key) {
                let detail = format!("{name} may not depend on {key}");
                broken.push(file.breaks(
                    at + 1,
                    "crates depend on each other only as CRATE_CALLS allows",
                    detail,
                ));
            }
        }
    }
    broken
}

/// Money is whole numbers of millionths.
pub(super) fn money_floats(files: &[File]) -> Vec<Broken> {
    let money = |file: &&File| MONEY.iter().any(|place| file.path.starts_with(place));
    uses(files, money, &["f32", "f64"], "no floats near money")
}

/// Maps that strangers fill keep the standard library's randomly keyed hasher: with any other one, keys that
/// collide can be made.
pub(super) fn keyed_maps(files: &[File]) -> Vec<Broken> {
    let ours = |file: &&File| file.path.contains("/src/") && !file.path.starts_with("loadtest/");
    let words = ["with_hasher", "with_capacity_and_hasher", "BuildHasherDefault"];
    uses(files, ours, &words, "maps keep the randomly keyed hasher")
}

/// Settings are read once, checked together and listed by `--help`.
pub(super) fn environment(files: &[File]) -> Vec<Broken> {
    let elsewhere = |file: &&File| file.name() != "config.rs";
    let words = ["env::var", "env::var_os", "env::vars", "env::vars_os"];
    uses(files, elsewhere, &words, "the environment is read only in config.rs")
}

/// Lines of the chosen files that use one of the words.
fn uses(
    files: &[File],
    chosen: impl Fn(&&File) -> bool,
    words: &[&'static str],
    rule: &'static str,
) -> Vec<Broken> {
    lines_with(files, chosen, |code| words.iter().find(|word| has_word(code, word)).copied(), rule)
}

/// Lines of the chosen files in whose code something is found.
fn lines_with(
    files: &[File],
    chosen: impl Fn(&&File) -> bool,
    find: impl Fn(&str) -> Option<&'static str>,
    rule: &'static str,
) -> Vec<Broken> {
    let mut broken = Vec::new();
    for file in files.iter().filter(chosen) {
        for (number, line) in file.shipped() {
            if let Some(found) = find(&line.code) {
                broken.push(file.breaks(number, rule, format!("`{found}`")));
            }
        }
    }
    broken
}
