//! Rust text taken apart as far as the rules need: code, strings and comments, line by line, and
//! which lines are tests.
//!
//! A scanner, not a parser: it knows strings (raw ones too), characters, lifetimes and nested
//! comments, so that a word inside a string is never taken for code. Brackets inside macros are
//! taken at their word.

/// One line of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The code, with comments removed and the insides of strings left out.
    pub(super) code: String,
    /// Texts of the strings that begin on this line.
    pub(super) strings: Vec<String>,
    /// What stands in comments.
    pub(super) comment: String,
    /// Inside an item under `#[cfg(test)]`.
    pub(super) test: bool,
}

/// Takes a file apart.
pub(super) fn scan(text: &str) -> Vec<Line> {
    let mut scanner = Scanner {
        chars: text.chars().collect(),
        at: 0,
        lines: vec![Line::default(); text.split('\n').count()],
        line: 0,
    };
    scanner.run();
    let mut lines = scanner.lines;
    mark_tests(&mut lines);
    lines
}

/// Whether `word` stands in the code as a word of its own; `word` may be a path such as `env::var`.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    word_positions(code, word).next().is_some()
}

/// Where `word` stands in the code as a word of its own.
pub(super) fn word_positions<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code.get(..*at).and_then(|text| text.chars().next_back());
        let after = code.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    lines: Vec<Line>,
    line: usize,
}

impl Scanner {
    fn run(&mut self) {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('r', Some('"' | '#')) if self.raw_hashes().is_some() => self.raw_string(),
                ('\'', _) => self.quote(),
                _ => {
                    self.code(c);
                    self.next();
                }
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Moves on by one, counting lines.
    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn code(&mut self, c: char) {
        if c != '\n' {
            self.lines[self.line].code.push(c);
        }
    }

    fn comment(&mut self, c: char) {
        if c != '\n' {
            self.lines[self.line].comment.push(c);
        }
    }

    fn line_comment(&mut self) {
        while let Some(c) = self.peek(0).filter(|c| *c != '\n') {
            self.comment(c);
            self.next();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.peek(0) {
            let pair = (c, self.peek(1));
            match pair {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.comment(c);
                    self.next();
                    continue;
                }
            }
            self.next();
            self.next();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        let began = self.line;
        self.next();
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                '"' => break,
                '\\' => {
                    // A line that ends in a backslash goes on after the next line's indentation.
                    if self.peek(0) == Some('\n') {
                        while self.peek(0).is_some_and(char::is_whitespace) {
                            self.next();
                        }
                    } else if let Some(escaped) = self.next() {
                        text.push(if escaped == 'n' { '\n' } else { escaped });
                    }
                }
                _ => text.push(c),
            }
        }
        self.push_string(began, text);
    }

    /// The number of hashes, if a raw string begins here.
    fn raw_hashes(&self) -> Option<usize> {
        let before = self.at.checked_sub(1).and_then(|at| self.chars.get(at));
        // The `r` of `for"`, not of `br"` and `cr"`, whose own prefix letter is left in the code.
        if before.is_some_and(|c| (c.is_alphanumeric() || *c == '_') && !matches!(c, 'b' | 'c')) {
            return None;
        }
        let hashes = self.chars.get(self.at + 1..)?.iter().take_while(|c| **c == '#').count();
        (self.peek(1 + hashes) == Some('"')).then_some(hashes)
    }

    fn raw_string(&mut self) {
        let hashes = self.raw_hashes().unwrap_or_default();
        let began = self.line;
        self.at += 2 + hashes;
        let mut text = String::new();
        while let Some(c) = self.next() {
            let closes = c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#'));
            if closes {
                self.at += hashes;
                break;
            }
            text.push(c);
        }
        self.push_string(began, text);
    }

    fn push_string(&mut self, line: usize, text: String) {
        self.lines[line].strings.push(text);
        self.lines[line].code.push_str("\"\"");
    }

    /// A character, or the beginning of a lifetime.
    fn quote(&mut self) {
        let is_char = match self.peek(1) {
            Some('\\') => true,
            Some(_) => self.peek(2) == Some('\''),
            None => false,
        };
        self.code('\'');
        self.next();
        if !is_char {
            return;
        }
        while let Some(c) = self.next() {
            match c {
                '\'' => break,
                '\\' => drop(self.next()),
                _ => {}
            }
        }
        self.code('\'');
    }
}

/// Marks the items under `#[cfg(test)]`.
fn mark_tests(lines: &mut [Line]) {
    let mut from = 0;
    while let Some(start) = (from..lines.len()).find(|at| is_test_attribute(&lines[*at].code)) {
        let end = item_end(lines, start);
        for line in &mut lines[start..=end] {
            line.test = true;
        }
        from = end + 1;
    }
}

fn is_test_attribute(code: &str) -> bool {
    ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(any(test"].iter().any(|attribute| code.contains(attribute))
}

/// The last line of the item whose attribute stands on `start`: at its `;`, or at the brace that
/// closes its first one.
fn item_end(lines: &[Line], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, line) in lines.iter().enumerate().skip(start) {
        let code =
            if at == start { line.code.split_once(']').map_or("", |(_, rest)| rest) } else { &line.code };
        for c in code.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ';' if depth == 0 => return at,
                _ => continue,
            }
            if c == '}' && depth == 0 {
                return at;
            }
        }
    }
    lines.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_comments_and_code_are_told_apart() {
        let text = "let a = \"// no comment\"; // SELECT in words\n\
            let b = r#\"raw \"quoted\" text\"#; /* one /* two */ still */ let c = 'x';\n\
            let d: &'static str = \"a \\\" b\"; let e = '\\'';";
        let lines = scan(text);
        assert_eq!(lines[0].code, "let a = \"\"; ");
        assert_eq!(lines[0].strings, ["// no comment"]);
        assert_eq!(lines[0].comment, "// SELECT in words");
        assert_eq!(lines[1].strings, ["raw \"quoted\" text"]);
        assert_eq!(lines[1].code, "let b = \"\";  let c = '';");
        assert_eq!(lines[2].strings, ["a \" b"]);
        assert_eq!(lines[2].code, "let d: &'static str = \"\"; let e = '';");
    }

    #[test]
    fn a_string_over_lines_belongs_to_its_first() {
        let lines = scan("query(\n    \"SELECT a\n     FROM b\",\n);\nlet x = \"one \\\n    two\";");
        assert_eq!(lines[1].strings, ["SELECT a\n     FROM b"]);
        assert_eq!(lines[3].code, ");");
        assert_eq!(lines[4].strings, ["one two"]);
    }

    #[test]
    fn tests_are_marked_and_what_follows_is_not() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { \"}\"; }\n}\nfn c() {}\n\
            #[cfg(test)]\nmod far;\nfn d() {}";
        let marked: Vec<bool> = scan(text).iter().map(|line| line.test).collect();
        assert_eq!(marked, [false, true, true, true, true, false, true, true, false]);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use axum::Json;", "axum"));
        assert!(!has_word("use axum_core::Json;", "axum"));
        assert!(has_word("std::env::var(name)", "env::var"));
        assert!(!has_word("std::env::vars()", "env::var"));
    }
}
