//! Rules about things that are listed once: metrics, variables, events, error codes, jobs, migrations.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{Broken, File};

/// Our programs, and how their metric families begin.
const PROGRAMS: &[(&str, &str)] = &[("control-plane", "cp_"), ("tracker-edge", "edge_")];
const MIGRATIONS: &str = "control-plane/migrations/";

/// A string in shipped code.
struct Literal<'a> {
    file: &'a File,
    line: usize,
    text: &'a str,
}

fn literals(file: &File) -> impl Iterator<Item = Literal<'_>> {
    file.shipped()
        .flat_map(move |(line, content)| content.strings.iter().map(move |text| Literal { file, line, text }))
}

/// Source files of a crate.
fn sources<'a>(files: &'a [File], package: &str) -> impl Iterator<Item = &'a File> {
    let folder = format!("{package}/src/");
    files.iter().filter(move |file| file.path.starts_with(&folder))
}

/// Every second and later occurrence of a text.
fn repeated(literals: &[Literal<'_>], rule: &'static str) -> Vec<Broken> {
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    let mut broken = Vec::new();
    for literal in literals {
        let place = format!("{}:{}", literal.file.path, literal.line);
        match first.get(literal.text) {
            Some(earlier) => {
                let detail = format!("`{}` is also in {earlier}", literal.text);
                broken.push(literal.file.breaks(literal.line, rule, detail));
            }
            None => drop(first.insert(literal.text, place)),
        }
    }
    broken
}

/// Whether a text is made of these characters and has some.
fn is_made_of(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

fn is_snake(text: &str) -> bool {
    is_made_of(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Each family is declared with its help text, once, in a `metrics.rs`; nothing else is counted.
pub(super) fn metrics(files: &[File]) -> Vec<Broken> {
    let mut broken = Vec::new();
    for (package, prefix) in PROGRAMS {
        let is_family = |text: &str| text.starts_with(prefix) && text.len() > prefix.len() && is_snake(text);
        let mut declared = Vec::new();
        for file in sources(files, package).filter(|file| file.name() == "metrics.rs") {
            let all: Vec<Literal<'_>> = literals(file).collect();
            // A declaration is a name followed by words.
            let pairs = all.iter().zip(all.iter().skip(1));
            declared.extend(
                pairs
                    .filter(|(name, help)| is_family(name.text) && help.text.contains(' '))
                    .map(|(name, _)| Literal { file, line: name.line, text: name.text }),
            );
        }
        broken.extend(repeated(&declared, "a metric family is declared once"));
        for literal in sources(files, package).flat_map(literals).filter(|literal| is_family(literal.text)) {
            if !declared.iter().any(|known| known.text == literal.text) {
                let rule = "a metric family is declared in metrics.rs, with its help text";
                broken.push(literal.file.breaks(literal.line, rule, literal.text));
            }
        }
    }
    broken
}

/// Each variable is declared with its doc comment, once, in a `config.rs`, and shown in the examples.
pub(super) fn variables(files: &[File]) -> Vec<Broken> {
    let is_variable = |text: &str| {
        text.strip_prefix("AOS_").is_some_and(|rest| {
            is_made_of(rest, |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        })
    };
    let mut broken = Vec::new();
    for (package, _) in PROGRAMS {
        let mut declared = Vec::new();
        for file in sources(files, package).filter(|file| file.name() == "config.rs") {
            declared.extend(
                literals(file)
                    .filter(|literal| is_variable(literal.text))
                    .filter(|literal| file.lines[literal.line - 1].code.contains("env =")),
            );
        }
        broken.extend(repeated(&declared, "a variable is declared once"));
        let undocumented = declared.iter().filter(|literal| !has_doc_above(literal.file, literal.line));
        broken.extend(undocumented.map(|literal| {
            literal.file.breaks(
                literal.line,
                "a variable has a doc comment, which --help shows",
                literal.text,
            )
        }));
        for literal in sources(files, package).flat_map(literals).filter(|literal| is_variable(literal.text))
        {
            if !declared.iter().any(|known| known.text == literal.text) {
                let rule = "a variable is declared in config.rs";
                broken.push(literal.file.breaks(literal.line, rule, literal.text));
            }
        }
        let example = format!("deploy/env/{package}.env.example");
        if let Some(example) = files.iter().find(|file| file.path == example) {
            let missing =
                declared.iter().filter(|literal| !example.text.contains(&format!("{}=", literal.text)));
            broken.extend(missing.map(|literal| {
                example.breaks(1, "deploy/env lists every variable", format!("{} is missing", literal.text))
            }));
        }
    }
    broken
}

/// Whether a doc comment ends right above a line, attributes aside.
fn has_doc_above(file: &File, line: usize) -> bool {
    let above = file.lines.get(..line - 1).unwrap_or_default().iter().rev();
    let mut above =
        above.skip_while(|line| line.code.trim_start().starts_with("#[") && line.comment.is_empty());
    above.next().is_some_and(|line| line.comment.starts_with("///"))
}

/// Each event type is written once.
pub(super) fn event_types(files: &[File]) -> Vec<Broken> {
    let is_event =
        |text: &str| text.split_once('.').is_some_and(|(noun, verb)| is_snake(noun) && is_snake(verb));
    let list = "control-plane/src/features/webhooks/event.rs";
    let Some(file) = files.iter().find(|file| file.path == list) else { return Vec::new() };
    let declared: Vec<Literal<'_>> = literals(file).filter(|literal| is_event(literal.text)).collect();
    let mut broken = repeated(&declared, "an event type is listed once");
    let elsewhere = sources(files, "control-plane").filter(|file| file.path != list).flat_map(literals);
    broken.extend(elsewhere.filter(|literal| declared.iter().any(|known| known.text == literal.text)).map(
        |literal| {
            literal.file.breaks(literal.line, "event types are named only in webhooks/event.rs", literal.text)
        },
    ));
    broken
}

/// Each error code is listed once, with its meaning.
pub(super) fn error_codes(files: &[File]) -> Vec<Broken> {
    let Some(file) = files.iter().find(|file| file.path == "control-plane/src/error.rs") else {
        return Vec::new();
    };
    // `Name = "code", Class;`
    let declared: Vec<Literal<'_>> = literals(file)
        .filter(|literal| is_snake(literal.text) && file.lines[literal.line - 1].code.contains(" = \"\", "))
        .collect();
    let mut broken = repeated(&declared, "an error code is listed once");
    let undocumented = declared.iter().filter(|literal| !has_doc_above(file, literal.line));
    broken.extend(undocumented.map(|literal| {
        file.breaks(literal.line, "an error code has a doc comment that says what it means", literal.text)
    }));
    broken
}

/// Each periodic job is listed once.
pub(super) fn jobs(files: &[File]) -> Vec<Broken> {
    let list = "control-plane/src/workers/jobs/schedule.rs";
    let Some(file) = files.iter().find(|file| file.path == list) else { return Vec::new() };
    let declared: Vec<Literal<'_>> = literals(file).filter(|literal| is_snake(literal.text)).collect();
    repeated(&declared, "a periodic job is listed once")
}

/// A migration's first line says why, and its name says when and what.
pub(super) fn migrations(files: &[File]) -> Vec<Broken> {
    let mut broken = Vec::new();
    for file in migration_files(files) {
        if !file.text.starts_with("-- ") {
            broken.push(file.breaks(
                1,
                "a migration begins with a comment",
                "which feature, why, and why it is safe",
            ));
        }
        let name = file.name().strip_suffix(".sql").unwrap_or_default();
        let well_named = name.split_once('_').is_some_and(|(time, what)| {
            time.len() == 14 && is_made_of(time, |c| c.is_ascii_digit()) && is_snake(what)
        });
        if !well_named {
            broken.push(file.breaks(1, "a migration is named YYYYMMDDHHMMSS_verb_object.sql", file.name()));
        }
    }
    broken
}

/// A released migration never changes, and none is put before it. `checksums.sha256` lists those
/// released, as `sha256sum` prints them; a release adds its own.
pub(super) fn migration_checksums(files: &[File]) -> Vec<Broken> {
    let Some(list) = files.iter().find(|file| file.path == format!("{MIGRATIONS}checksums.sha256")) else {
        return Vec::new();
    };
    let mut broken = Vec::new();
    let mut last_released = "";
    for (at, line) in list.text.lines().enumerate() {
        let Some((sum, name)) = line.split_once("  ") else {
            broken.push(list.breaks(at + 1, "a checksum line is `SHA256  FILE`", line));
            continue;
        };
        last_released = last_released.max(name);
        let found = migration_files(files).find(|file| file.name() == name).map(|file| sha256(&file.text));
        if found.as_deref() != Some(sum) {
            broken.push(list.breaks(at + 1, "a released migration never changes", name));
        }
    }
    let listed = |name: &str| list.text.lines().any(|line| line.ends_with(&format!("  {name}")));
    let late = migration_files(files).filter(|file| file.name() < last_released && !listed(file.name()));
    broken.extend(
        late.map(|file| file.breaks(1, "a new migration comes after every released one", file.name())),
    );
    broken
}

fn migration_files(files: &[File]) -> impl Iterator<Item = &File> {
    // `schema.sql` is generated.
    files.iter().filter(|file| {
        file.path.starts_with(MIGRATIONS) && file.has_ending("sql") && file.name() != "schema.sql"
    })
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes every byte");
        hex
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn sums_are_those_of_sha256sum() {
        assert_eq!(super::sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
