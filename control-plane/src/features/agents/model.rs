//! What an agent is, and how its handle is made.

use chrono::{DateTime, Utc};
use shared::id::AgentId;

/// Characters of a handle at most, a number at its end included.
pub const HANDLE_LEN_MAX: usize = 60;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its number in large tables and on the wire.
    pub number: i32,
    /// Display name.
    pub name: String,
    /// Unique, URL-safe.
    pub handle: String,
    /// What it does.
    pub description: Option<String>,
    /// Its field.
    pub niche: Option<String>,
    /// Whom it reaches.
    pub audience_type: Option<String>,
    /// Its site.
    pub website_url: Option<String>,
    /// `free` or `pro`.
    pub tier: String,
    /// When it signed up.
    pub created_at: DateTime<Utc>,
}

/// The handle a name suggests: lower case, every run of other characters one hyphen, and one where a
/// capital follows a small letter (`MyAgent` is `my-agent`).
pub fn handle_from(name: &str) -> String {
    let mut handle = String::new();
    let mut after_small = false;
    for letter in name.chars() {
        let apart = !letter.is_ascii_alphanumeric() || (after_small && letter.is_ascii_uppercase());
        if apart && !handle.is_empty() && !handle.ends_with('-') {
            handle.push('-');
        }
        if letter.is_ascii_alphanumeric() {
            handle.push(letter.to_ascii_lowercase());
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        if handle.len() >= HANDLE_LEN_MAX - 8 {
            break;
        }
    }
    let handle = handle.trim_end_matches('-');
    if handle.is_empty() { "agent".to_owned() } else { handle.to_owned() }
}

/// Whether a text can be a handle as it is.
pub fn is_handle(text: &str) -> bool {
    (1..=HANDLE_LEN_MAX).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles() {
        let check = |name: &str, handle: &str| {
            assert_eq!(handle_from(name), handle, "{name}");
            assert!(is_handle(&handle_from(name)), "{name}");
        };
        check("MyAgent", "my-agent");
        check("GPT4Shopper", "gpt4-shopper");
        check("My Agent", "my-agent");
        check("  Shop & Co. (Berlin) ", "shop-co-berlin");
        check("日本語", "agent");
        check("A__--__B", "a-b");
        check(&"x".repeat(200), &"x".repeat(52));
        for bad in ["", "-a", "a-", "A", "a--b", "a_b", "ü"] {
            assert!(!is_handle(bad), "{bad}");
        }
    }
}
