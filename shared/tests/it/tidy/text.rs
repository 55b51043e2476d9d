//! Rules about single files: their first lines, length, name and notes.

use super::{Broken, File, LINES_MAX, VAGUE_NAMES};

/// A newcomer reads the first lines and knows what the file owns and what must stay true.
pub(super) fn file_doc(files: &[File]) -> Vec<Broken> {
    let undocumented = |file: &&File| file.is_rust() && !file.text.starts_with("//!");
    files
        .iter()
        .filter(undocumented)
        .map(|file| {
            file.breaks(1, "every .rs file starts with //!", "say what it owns and what must stay true")
        })
        .collect()
}

/// A file is about one thing.
pub(super) fn file_length(files: &[File]) -> Vec<Broken> {
    files
        .iter()
        .filter_map(|file| {
            let count = file.shipped().count();
            let detail = format!("{count}; split it by subject");
            (count > LINES_MAX)
                .then(|| file.breaks(LINES_MAX + 1, "no file has more than 600 lines besides tests", detail))
        })
        .collect()
}

/// A note to come back to says who and where it is followed up.
pub(super) fn todo(files: &[File]) -> Vec<Broken> {
    let mut broken = Vec::new();
    for file in files {
        let comments: Vec<(usize, &str)> = if file.is_rust() {
            file.lines.iter().enumerate().map(|(at, line)| (at + 1, line.comment.as_str())).collect()
        } else if file.has_ending("sql") {
            file.text.lines().enumerate().map(|(at, line)| (at + 1, line)).collect()
        } else {
            continue;
        };
        broken.extend(comments.into_iter().filter(|(_, comment)| is_loose_note(comment)).map(
            |(line, comment)| {
                file.breaks(
                    line,
                    "a TODO names its owner and links an issue: `TODO(name): … https://…`",
                    comment.trim(),
                )
            },
        ));
    }
    broken
}

/// Whether a comment is a note without owner or link. In backquotes it is only spoken of.
fn is_loose_note(comment: &str) -> bool {
    ["TODO", "FIXME"].iter().any(|word| {
        super::source::word_positions(comment, word).any(|at| {
            let rest = comment.get(at + word.len()..).unwrap_or_default();
            let quoted = comment.get(..at).unwrap_or_default().ends_with('`');
            let owned = rest.starts_with('(') && rest.contains("): ");
            let linked = rest.contains("https://");
            !(quoted || owned && linked)
        })
    })
}

/// A name that fits anything finds nothing.
pub(super) fn vague_name(files: &[File]) -> Vec<Broken> {
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let parts = file.path.strip_suffix(".rs").unwrap_or(&file.path).split('/');
        if let Some(part) = parts.into_iter().find(|part| VAGUE_NAMES.contains(part)) {
            broken.push(file.breaks(
                1,
                "a module is named for what it holds",
                format!("`{part}` fits anything"),
            ));
        }
    }
    broken
}

/// A reader who follows a link arrives. Targets outside the repository are not ours to check.
pub(super) fn links(files: &[File]) -> Vec<Broken> {
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| file.has_ending("md")) {
        let folder = file.path.strip_suffix(file.name()).unwrap_or_default();
        for (at, line) in file.text.lines().enumerate() {
            for target in link_targets(line).filter(|target| !leads_to_a_file(files, folder, target)) {
                broken.push(file.breaks(at + 1, "a link in a document leads somewhere", target));
            }
        }
    }
    broken
}

/// What stands in `](…)`, without anchors and addresses of the web.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).filter_map(
        |target| {
            let path = target.split('#').next().unwrap_or_default();
            (!path.is_empty() && !path.contains("://") && !path.starts_with("mailto:")).then_some(path)
        },
    )
}

fn leads_to_a_file(files: &[File], folder: &str, target: &str) -> bool {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let path = parts.join("/");
    let inside = format!("{path}/");
    // A name without ending (LICENSE) is not among the files we read.
    files.iter().any(|file| file.path == path || file.path.starts_with(&inside)) || path == "LICENSE"
}
