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
