//! Decoding JSON and queries, and saying what is wrong with them so that the caller can mend it.
//!
//! serde knows the field, what it found and what it expected; this turns its words into ours: which field,
//! what it must be, the name or value that was meant. What a client sent is echoed shortened.

use crate::error::{Error, Result};
use serde::de::{DeserializeOwned, IgnoredAny};

/// Parses JSON, naming the field that is wrong and what would be right.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    // serde would take a list for a struct, member by member.
    if bytes.trim_ascii_start().first().is_some_and(|first| b"[\"0123456789-tfn".contains(first)) {
        return Err(Error::invalid(
            "body",
            "The body is not a JSON object.",
            "Send a JSON object as the body, such as {\"name\":\"MyAgent\"}.",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        match inner.classify() {
            serde_json::error::Category::Data => {
                decode_error("field", &error.path().to_string(), &inner.to_string())
            }
            // serde_json says `expected value` of a number where a word of an enumeration should be.
            _ if is_json(bytes) => wrong_word::<T>(&error.path().to_string(), bytes),
            _ => broken_json(inner, bytes),
        }
    })?;
    deserializer.end().map_err(|error| broken_json(&error, bytes))?;
    Ok(value)
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The error of a field that takes one of a few words and was given no text: the same as if it had been
/// given a word that is not among them, because that error lists them.
fn wrong_word<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Error {
    let mut value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
    let shown = value.pointer(&pointer).map(|given| shorten(&given.to_string())).unwrap_or_default();
    if let Some(field) = value.pointer_mut(&pointer) {
        *field = serde_json::Value::String(String::new());
        let text = value.to_string();
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let again = serde_path_to_error::deserialize::<_, T>(&mut deserializer);
        if let Some(error) = again.err().filter(|error| error.path().to_string() == path) {
            let error = decode_error("field", path, &error.inner().to_string());
            return Error { message: format!("`{path}` cannot be `{shown}`."), ..error };
        }
    }
    Error::invalid(
        path,
        format!("`{path}` cannot be `{shown}`."),
        format!("Send `{path}` with the type that /docs shows for this call."),
    )
}

fn broken_json(error: &serde_json::Error, bytes: &[u8]) -> Error {
    let broken = |message: String, fix: &str| Error::invalid("body", message, fix);
    if bytes.trim_ascii().is_empty() {
        return broken(
            "The body is empty.".to_owned(),
            "Send a JSON object as the body, such as {\"name\":\"MyAgent\"}.",
        );
    }
    if let Err(not_utf8) = std::str::from_utf8(bytes) {
        return broken(
            format!("The body is not UTF-8: byte {} begins no letter.", not_utf8.valid_up_to() + 1),
            "Encode the body as UTF-8.",
        );
    }
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    let place = format!("line {}, column {}", error.line(), error.column());
    let fix = if what.starts_with("EOF") {
        "The body breaks off: close every brace, bracket and quote that was opened, and send it again."
    } else if what.starts_with("trailing characters") {
        "Send one JSON object and nothing behind it."
    } else if what.starts_with("trailing comma") {
        "Take away the comma behind the last member."
    } else if what.starts_with("recursion limit") {
        "Nest at most 128 levels deep; no call takes more than three."
    } else {
        "Send one complete JSON object: double quotes around names and texts, a comma between members, every brace closed."
    };
    broken(format!("The body is not valid JSON: {what} at {place}."), fix)
}

/// Turns serde's words about one field into ours. serde says, for instance,
/// ``unknown field `x`, expected one of `a`, `b` at line 1 column 9``.
pub(super) fn decode_error(kind: &str, path: &str, message: &str) -> Error {
    let message = message.split(" at line ").next().unwrap_or_default();
    let path = if path == "." || path == "?" { "" } else { path };
    let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
    if message.starts_with("missing field") {
        let name = join(path, &quoted.next().unwrap_or_default());
        return Error::missing(&name, format!("Add `{name}` to the request."));
    }
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let given = quoted.next().unwrap_or_default();
        let allowed: Vec<String> = quoted.collect();
        let list = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let nearest = nearest(&given, &allowed);
        let shown = shorten(&given);
        if message.starts_with("unknown field") {
            let name = join(path, &given);
            let fix = match nearest {
                Some(nearest) => format!("Did you mean `{nearest}`? Allowed here: {list}."),
                None if allowed.is_empty() => format!("Leave out `{shown}`: nothing is allowed here."),
                None => format!("Leave out `{shown}`. Allowed here: {list}."),
            };
            return Error::invalid(&shorten(&name), format!("There is no {kind} `{shown}`."), fix);
        }
        let fix = match nearest {
            Some(nearest) => format!("Did you mean `{nearest}`? Allowed values of `{path}`: {list}."),
            None => format!("Send one of the allowed values of `{path}`: {list}."),
        };
        return Error::invalid(path, format!("`{path}` cannot be `{shown}`."), fix);
    }
    if message.starts_with("duplicate field") {
        let name = join(path, &quoted.next().unwrap_or_default());
        return Error::invalid(
            &name,
            format!("The {kind} `{name}` is given twice."),
            format!("Send `{name}` once."),
        );
    }
    wrong_type(if path.is_empty() { "body" } else { path }, message)
}

/// What a value must be: by serde's word for it, our word and an instruction.
const TYPES: [(&[&str], &str, &str); 8] = [
    (
        &["a plain decimal number"],
        "a plain decimal number",
        "as a JSON number without exponent and with at most 6 decimals, such as 20 or 12.5",
    ),
    (&["a number", "f64"], "a number", "as a JSON number without quotes, such as 20 or 12.5"),
    (
        &[
            "i64",
            "i32",
            "u32",
            "u64",
            "i16",
            "u16",
            "u8",
            "usize",
            "invalid digit",
            "number too",
            "integer from empty",
        ],
        "a whole number",
        "as a whole number without quotes, such as 20",
    ),
    (&["a boolean", "`true` or `false`"], "true or false", "as true or false, without quotes"),
    (&["a string", "a borrowed string"], "a text", "as a text in quotes, such as \"…\""),
    (&["a sequence", "a list"], "a list", "as a list, such as [\"…\"]"),
    (&["UUID", "a formatted UUID"], "a UUID", "as a UUID such as 018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10"),
    (&["struct", "a map"], "an object", "as a JSON object, such as {\"…\":…}"),
];

/// serde says ``invalid type: string "20", expected i64``, or what our own types say.
fn wrong_type(name: &str, message: &str) -> Error {
    let (given, expected) = match message.split_once(", expected ") {
        Some((given, expected)) => (given, expected),
        None => match message.split_once(", got ") {
            Some((expected, given)) => (given, expected),
            None => ("", message),
        },
    };
    let known = TYPES.iter().find(|(words, ..)| words.iter().any(|word| expected.contains(word)));
    let Some((_, kind, how)) = known else {
        let message = shorten_to(message, 200);
        return Error::invalid(
            name,
            format!("`{name}` is not what it should be: {message}."),
            format!("Send `{name}` with the type and range that /docs shows for this call."),
        );
    };
    let is = [
        ("string", "a text"),
        ("integer", "a number"),
        ("floating point", "a number with decimals"),
        ("number", "a number"),
        ("boolean", "true or false"),
        ("null", "null"),
        ("sequence", "a list"),
        ("list or an object", "a list or an object"),
        ("map", "an object"),
    ];
    let is = is.iter().find(|(word, _)| given.contains(word)).map(|(_, is)| *is);
    let message = match is {
        Some(is) if is != *kind => format!("`{name}` is {is}; it must be {kind}."),
        _ => format!("`{name}` must be {kind}."),
    };
    Error::invalid(name, message, format!("Send `{name}` {how}."))
}

fn join(path: &str, name: &str) -> String {
    // The path of a missing or unknown field may end in the field itself.
    if path.is_empty() || path == name || path.ends_with(&format!(".{name}")) {
        if path.is_empty() { name.to_owned() } else { path.to_owned() }
    } else {
        format!("{path}.{name}")
    }
}

/// The allowed name closest to what was given, if any is close enough to be meant.
pub fn nearest(given: &str, allowed: &[impl AsRef<str>]) -> Option<String> {
    let given = given.to_lowercase().replace(['-', ' '], "_");
    allowed
        .iter()
        .map(|name| (strsim::jaro_winkler(&given, name.as_ref()), name.as_ref()))
        .filter(|(likeness, _)| *likeness >= 0.82)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name.to_owned())
}

/// What a client sent is echoed in 64 bytes at most.
fn shorten(text: &str) -> String {
    shorten_to(text, 64)
}

fn shorten_to(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
#[path = "decode/tests.rs"]
mod tests;
