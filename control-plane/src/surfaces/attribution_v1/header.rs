//! `X-SL-Attribution: atxp_reference=…;agent_key=…;ts=…`, the attribution that rides on a payment.
//!
//! The three parts stand in any order, each once, separated by semicolons; spaces around them are
//! allowed. `agent_key` names the publisher: its public `pub_…` name, or its key as older documents show.
//! A merchant sees this header, so a key in it should be replaced by the name.

use crate::error::{Error, Result};

/// The header's name.
pub(super) const NAME: &str = "x-sl-attribution";
const REFERENCE_LEN_MAX: usize = 128;
const AGENT_LEN_MAX: usize = 128;

/// What the header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attribution<'a> {
    /// Spent once per merchant.
    pub(super) reference: &'a str,
    /// `pub_…` or a publisher key.
    pub(super) agent: &'a str,
    /// Seconds since the Unix epoch.
    pub(super) at: i64,
}

/// Reads the header; what is wrong with it is said.
pub(super) fn parse(text: &str) -> Result<Attribution<'_>> {
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
