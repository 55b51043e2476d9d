//! Finding PostgreSQL 15+ and Redis 7+ on the machine.
//!
//! A server counts only if it runs and says a version that will do; a broken or old one is passed
//! over, so that a newer one further down the list is found.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::layout::Layout;

/// `MERGE`, generated columns and ICU as the control plane uses them.
const POSTGRES_MIN: u32 = 15;
/// Functions and `XADD` as the publisher and the drainer use them.
const REDIS_MIN: u32 = 7;

/// A server's programs: they lie together in one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub directory: PathBuf,
    /// The version as it says it, for people.
    pub version: String,
    /// Its major version.
    pub major: u32,
}

impl Program {
    /// One of the programs in the directory.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The directories to look in: those given, or PATH, the private packages and the places where
/// distributions keep versioned servers off PATH.
pub fn places(given: &[PathBuf], path: &OsStr, layout: &Layout) -> Vec<PathBuf> {
    let mut places = vec![layout.packages().join("bin")];
    if !given.is_empty() {
        places.splice(0..0, given.iter().cloned());
        return places;
    }
    places.splice(0..0, std::env::split_paths(path));
    for parent in ["/usr/lib/postgresql", "/usr/local/lib/postgresql"] {
        places.extend(subdirectories(Path::new(parent)).into_iter().map(|version| version.join("bin")));
    }
    places.extend(["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin", "/usr/sbin"].map(PathBuf::from));
    places
}

/// The newest PostgreSQL that will do.
pub fn postgres(places: &[PathBuf]) -> Option<Program> {
    candidates(places, "postgres")
        .into_iter()
        .filter(|directory| ["initdb", "createdb", "psql"].iter().all(|tool| directory.join(tool).is_file()))
        .filter_map(|directory| version(directory, "postgres"))
        .filter(|program| program.major >= POSTGRES_MIN)
        .max_by_key(|program| program.major)
}

/// The first Redis that will do.
pub fn redis(places: &[PathBuf]) -> Option<Program> {
    candidates(places, "redis-server")
        .into_iter()
        .filter_map(|directory| version(directory, "redis-server"))
        .find(|program| program.major >= REDIS_MIN)
}

/// Directories that hold a program of this name, each once.
fn candidates(places: &[PathBuf], name: &str) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    places
        .iter()
        .filter(|place| place.is_absolute() && place.join(name).is_file() && seen.insert((*place).clone()))
        .cloned()
        .collect()
}

/// Asks a server for its version.
fn version(directory: PathBuf, name: &str) -> Option<Program> {
    let output = Command::new(directory.join(name)).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = parse_version(&text)?;
    let major = version.split('.').next()?.parse().ok()?;
    Some(Program { directory, version: version.to_owned(), major })
}

/// The version in `postgres (PostgreSQL) 15.18 (Debian …)`, `postgres (PostgreSQL) 18beta1` or
/// `Redis server v=7.0.15 sha=…`.
fn parse_version(text: &str) -> Option<&str> {
    text.split_whitespace().map(|word| word.strip_prefix("v=").unwrap_or(word)).find_map(|word| {
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        word.get(..end).filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn subdirectories(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn versions_as_the_servers_print_them() {
        for (text, version) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some("15.18")),
            ("postgres (PostgreSQL) 18beta1", Some("18")),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", Some("7.0.15")),
            ("command not found", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }

    fn fake(directory: &Path, name: &str, says: &str) {
        fs::create_dir_all(directory).unwrap();
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn old_and_incomplete_servers_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let [old, bare, good, newer] =
            ["old", "bare", "good", "newer"].map(|name| directory.path().join(name));
        fake(&old, "redis-server", "Redis server v=6.2.1");
        fake(&old, "postgres", "postgres (PostgreSQL) 13.2");
        fake(&bare, "postgres", "postgres (PostgreSQL) 17.1");
        for (place, version) in [(&good, "15.4"), (&newer, "16.1")] {
            fake(place, "postgres", &format!("postgres (PostgreSQL) {version}"));
            for tool in ["initdb", "createdb", "psql"] {
                fake(place, tool, "");
            }
        }
        fake(&newer, "redis-server", "Redis server v=7.2.4");
        let places = [old.clone(), bare, good, newer.clone()];
        assert_eq!(postgres(&places).unwrap().version, "16.1");
        assert_eq!(redis(&places).unwrap(), Program { directory: newer, version: "7.2.4".into(), major: 7 });
        assert_eq!(postgres(std::slice::from_ref(&old)), None);
        assert_eq!(redis(&[old]), None);
    }
}
