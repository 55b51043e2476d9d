//! `X-SL-Attribution: atxp_reference=…;agent_key=…;ts=…`, the attribution that rides on a payment.
//!
//! The three parts stand in any order, each once, separated by semicolons; spaces around them are
//! allowed. `agent_key` names the publisher: its public `pub_…` name, or its key as older documents show.
//! A merchant sees this header, so a key in it should be replaced by the name.

use crate::error::{Code, Error, Result};
use http::HeaderMap;
use uuid::Uuid;

/// The header's name.
pub const NAME: &str = "x-sl-attribution";
const REFERENCE_LEN_MAX: usize = 128;
const AGENT_LEN_MAX: usize = 128;
/// How old a reference may be, in seconds: the window of a token.
const AGE_MAX: i64 = 86_400;
/// How far ahead of our clock it may be, in seconds.
const AHEAD_MAX: i64 = 60;

/// What the header says.
#[derive(Debug, PartialEq, Eq)]
pub struct Attribution<'a> {
    /// Spent once per merchant.
    pub reference: &'a str,
    /// `pub_…` or a publisher key.
    pub agent: &'a str,
    /// Seconds since the Unix epoch.
    pub at: i64,
}

impl Attribution<'_> {
    /// Refuses one outside the attribution window at `now`, in seconds since the Unix epoch.
    pub fn must_be_current(&self, now: i64) -> Result<()> {
        let age = now.saturating_sub(self.at);
        if (-AHEAD_MAX..=AGE_MAX).contains(&age) {
            return Ok(());
        }
        Err(Error::new(
            Code::TokenExpired,
            "The X-SL-Attribution header is outside the attribution window.",
            "Nothing is owed for it. Send a header whose `ts` is at most a day old.",
        )
        .on_field("X-SL-Attribution")
        .with("token_age_seconds", age)
        .with("max_age_seconds", AGE_MAX))
    }
}

/// The attribution a request carries. A header that is sent twice is refused, like one that cannot be read.
pub fn read(headers: &HeaderMap) -> Result<Option<Attribution<'_>>> {
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse("is sent twice"));
    }
    parse(value.to_str().map_err(|_| refuse("is not visible ASCII"))?).map(Some)
}

/// The UUID in a name of `/v1` such as `pub_…`.
pub fn prefixed(prefix: &str, text: &str) -> Option<Uuid> {
    let hex = text.strip_prefix(prefix)?;
    (hex.len() == 32).then(|| Uuid::try_parse(hex).ok()).flatten()
}

/// Reads the header's text; what is wrong with it is said.
pub fn parse(text: &str) -> Result<Attribution<'_>> {
    let (mut reference, mut agent, mut at) = (None, None, None);
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| refuse("has a part without `=`"))?;
        let (name, value) = (name.trim(), value.trim());
        let slot = match name {
            "atxp_reference" => &mut reference,
            "agent_key" => &mut agent,
            "ts" => &mut at,
            _ => return Err(refuse("has a part that is none of atxp_reference, agent_key and ts")),
        };
        if slot.replace(value).is_some() {
            return Err(refuse(&format!("gives {name} twice")));
        }
    }
    let visible = |value: &str, max: usize| {
        (1..=max).contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let reference = reference.ok_or_else(|| refuse("has no atxp_reference"))?;
    if !visible(reference, REFERENCE_LEN_MAX) {
        return Err(refuse("has an atxp_reference that is not 1 to 128 letters, digits, `-`, `_` or `.`"));
    }
    let agent = agent.ok_or_else(|| refuse("has no agent_key"))?;
    if !visible(agent, AGENT_LEN_MAX) {
        return Err(refuse("has an agent_key that is neither a `pub_…` name nor a key"));
    }
    let at = at.ok_or_else(|| refuse("has no ts"))?;
    let at = at
        .parse()
        .ok()
        .filter(|at| *at > 0)
        .ok_or_else(|| refuse("has a ts that is not seconds since 1970"))?;
    Ok(Attribution { reference, agent, at })
}

fn refuse(what: &str) -> Error {
    Error::invalid(
        "X-SL-Attribution",
        format!("The X-SL-Attribution header {what}."),
        "Send it as `X-SL-Attribution: atxp_reference=REFERENCE;agent_key=pub_…;ts=UNIX_SECONDS`.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_form_in_any_order() {
        let expected = Attribution { reference: "atxp_abc123", agent: "aff_agent_abc123", at: 1_712_234_400 };
        for text in [
            "atxp_reference=atxp_abc123;agent_key=aff_agent_abc123;ts=1712234400",
            " ts=1712234400 ; atxp_reference=atxp_abc123; agent_key=aff_agent_abc123 ;",
        ] {
            assert_eq!(parse(text).unwrap(), expected);
        }
    }

    #[test]
    fn it_is_current_for_a_day() {
        let header = parse("atxp_reference=a;agent_key=b;ts=1000000").unwrap();
        for (now, good) in
            [(1_000_000, true), (1_086_400, true), (1_086_401, false), (999_940, true), (999_939, false)]
        {
            assert_eq!(header.must_be_current(now).is_ok(), good, "{now}");
        }
        assert!(
            parse("atxp_reference=a;agent_key=b;ts=9223372036854775807").unwrap().must_be_current(0).is_err()
        );
    }

    #[test]
    fn two_headers_and_unreadable_ones_are_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers).unwrap(), None);
        headers.append(NAME, "atxp_reference=a;agent_key=b;ts=1".parse().unwrap());
        assert!(read(&headers).unwrap().is_some());
        headers.append(NAME, "atxp_reference=a;agent_key=b;ts=1".parse().unwrap());
        assert!(read(&headers).unwrap_err().message.contains("twice"));
        headers.insert(NAME, http::HeaderValue::from_bytes(b"atxp_reference=\xff").unwrap());
        assert!(read(&headers).unwrap_err().message.contains("ASCII"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("", "no atxp_reference"),
            ("atxp_reference=a;agent_key=b", "no ts"),
            ("atxp_reference=a;ts=1", "no agent_key"),
            ("atxp_reference=a;agent_key=b;ts=x", "a ts that is not"),
            ("atxp_reference=a;agent_key=b;ts=-5", "a ts that is not"),
            ("atxp_reference=a;atxp_reference=b;agent_key=b;ts=1", "atxp_reference twice"),
            ("atxp_reference=;agent_key=b;ts=1", "an atxp_reference"),
            ("atxp_reference=a b;agent_key=b;ts=1", "an atxp_reference"),
            ("atxp_reference=a;agent_key=b;ts=1;x=1", "none of"),
            ("nonsense", "without `=`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(said), "{text}: {}", error.message);
        }
    }
}
