//! Commands that do one thing, say what they did, and end. Text comes back; `main.rs` prints it.

pub mod parked;
pub mod payouts;
pub mod prospects;
pub mod reconcile;

/// What a command says, and whether all is well.
#[derive(Debug)]
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// Decides the exit code.
    pub well: bool,
}

/// Rows of text as columns that line up; numbers to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::len);
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            let number = cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            if number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head: Vec<_> = head.iter().map(|&name| name.to_owned()).collect();
    std::iter::once(&head).chain(rows).map(|row| line(row)).collect::<Vec<_>>().join("\n")
}
