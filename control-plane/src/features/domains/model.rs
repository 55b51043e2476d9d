//! What a custom domain is: names one may have, how ownership is proven, when it is looked at again. Pure.

use crate::error::{Error, Result};
use crate::features::programs::hosts;
use crate::named::named;
use chrono::{DateTime, TimeDelta, Utc};
use shared::Secret;
use shared::domain_record::HOST_LEN_MAX;
use shared::id::{AgentId, DomainId};
use std::net::IpAddr;
use url::Host;

/// Domains an account may have.
pub const DOMAINS_MAX: i64 = 20;
/// How long domains are served after Pro has ended.
pub const GRACE: TimeDelta = TimeDelta::days(30);
/// How long a claim that nobody proves is looked at.
pub const WAIT_MAX: TimeDelta = TimeDelta::days(30);
/// How long a removed domain's record stays for edges that were away.
pub const FORGET: TimeDelta = TimeDelta::days(7);
/// What the ownership record is put before the domain.
const PREFIX: &str = "_affiliateos";
const CHECK_MIN: TimeDelta = TimeDelta::seconds(30);
const CHECK_MAX: TimeDelta = TimeDelta::hours(1);
/// An ACME server takes five failed validations of a name in an hour.
const RETRY_MIN: TimeDelta = TimeDelta::minutes(1);
const RETRY_MAX: TimeDelta = TimeDelta::hours(12);

named! {
    /// Where a custom domain stands.
    Status as DomainStatus {
        /// Its DNS records are not seen yet.
        PendingDns = "pending_dns",
        /// It is proven, and its certificate is being issued.
        Issuing = "issuing",
        /// Served over HTTPS; the certificate is renewed in time.
        Active = "active",
        /// It cannot go on: see `problem` and `fix`.
        Failed = "failed",
    }
}

/// A custom domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// The name.
    pub host: String,
    /// Where it stands.
    pub status: Status,
    /// What keeps it from going on.
    pub problem: Option<String>,
    /// What its owner can do.
    pub fix: Option<String>,
    /// Since when it is known whose it is.
    pub verified_at: Option<DateTime<Utc>>,
    /// Looked at last.
    pub checked_at: Option<DateTime<Utc>>,
    /// Looked at next.
    pub check_at: Option<DateTime<Utc>>,
    /// Since when it is looked at in vain.
    pub waiting_since: Option<DateTime<Utc>>,
    /// How often the last step failed in a row.
    pub attempts: i32,
    /// When the certificate was issued.
    pub issued_at: Option<DateTime<Utc>>,
    /// When it is renewed.
    pub renew_at: Option<DateTime<Utc>>,
    /// When it expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when the owner is not on Pro.
    pub lapsed_at: Option<DateTime<Utc>>,
    /// When it was claimed.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What is wrong and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// One sentence.
    pub problem: String,
    /// An instruction to the owner.
    pub fix: String,
}

impl Problem {
    /// A problem with its words.
    pub fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { problem: problem.into(), fix: fix.into() }
    }
}

/// The name of the record that proves ownership.
pub fn ownership_name(host: &str) -> String {
    format!("{PREFIX}.{host}")
}

/// Its value: the account's own, the same for all its domains, and nobody else's to guess.
pub fn ownership_value(secret: &Secret, agent: AgentId) -> String {
    let digest = secret.derive(&format!("domain ownership v1 {agent}"));
    format!("affiliateos-verify={}", hex::encode(&digest[..16]))
}

/// The type of the record that leads visitors to the edges.
pub fn pointer_type(target: &str) -> &'static str {
    match target.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => "A",
        Ok(IpAddr::V6(_)) => "AAAA",
        Err(_) => "CNAME",
    }
}

/// Reads a name to claim; `ours` are hosts of this service, which nobody owns but us.
pub fn parse_host(given: &str, ours: &[&str]) -> Result<String> {
    let refuse = |message: &str| {
        Error::invalid(
            "domain",
            message,
            "Send a host name of your own such as `go.example.com`: without scheme, port or path, at most 240 characters.",
        )
    };
    let trimmed = given.trim();
    let trimmed = trimmed.strip_suffix('.').unwrap_or(trimmed);
    // The record that proves it must be a name too.
    let len_max = HOST_LEN_MAX - PREFIX.len() - 1;
    let parsed = if trimmed.len() <= 1024 { Host::parse(trimmed).ok() } else { None };
    let host = match parsed {
        Some(Host::Domain(name)) if name.len() <= len_max && is_registrable(&name) => name,
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(refuse("`domain` is an address, not a name.")),
        _ => return Err(refuse("`domain` is not a domain name.")),
    };
    if ours.iter().any(|own| hosts::allows(own, &host)) {
        return Err(Error::invalid(
            "domain",
            "`domain` is our own.",
            "Send a domain of yours; links without `custom_domain` are on ours.",
        ));
    }
    Ok(host)
}

/// Whether a certificate can be had for it: labels as RFC 1123 has them, two or more, the last no number.
fn is_registrable(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains('.') && name.split('.').all(label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// When a claim is looked at again: soon at first, then ever less often, at last not at all.
pub fn next_check(waiting_since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let waited = now - waiting_since;
    (waited < WAIT_MAX).then(|| now + (waited / 8).clamp(CHECK_MIN, CHECK_MAX))
}

/// When a step at the ACME server is tried again after so many failures; it may have said itself how long to wait.
pub fn next_try(attempts: i32, asked: Option<TimeDelta>, now: DateTime<Utc>) -> DateTime<Utc> {
    let doubled = RETRY_MIN * (1 << attempts.clamp(0, 10));
    let pause = doubled.min(RETRY_MAX);
    now + asked.map_or(pause, |asked| asked.max(pause).min(TimeDelta::days(7)))
}

/// A certificate is renewed when a third of its life is left.
pub fn renewal(not_before: DateTime<Utc>, not_after: DateTime<Utc>) -> DateTime<Utc> {
    not_after - (not_after - not_before) / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_dns_writes_them() {
        let read = |given: &str| parse_host(given, &["affiliateos.test", "edges.test"]).ok();
        let check = |given: &str, host: Option<&str>| assert_eq!(read(given).as_deref(), host, "{given}");
        check(" Go.Example.COM. ", Some("go.example.com"));
        check("bücher.example", Some("xn--bcher-kva.example"));
        check("notaffiliateos.test", Some("notaffiliateos.test"));
        let longest = format!("{0}.{0}.{0}.{1}.example", "a".repeat(63), "b".repeat(40));
        assert_eq!(longest.len(), 240);
        check(&longest, Some(&longest));
        assert!(ownership_name(&longest).len() <= HOST_LEN_MAX);
        for bad in [
            "",
            ".",
            "com",
            "localhost",
            "127.0.0.1",
            "0x7f.1",
            "[::1]",
            "go.example.com:443",
            "https://go.example.com",
            "go.example.com/x",
            "*.example.com",
            "a..example.com",
            "a.example.com..",
            "-a.example.com",
            "a-.example.com",
            "a_b.example.com",
            "user@example.com",
            "a b.example.com",
            "a\nb.example.com",
            "affiliateos.test",
            "go.affiliateos.test",
            "EDGES.test",
            &format!("c{longest}"),
            &format!("{}.example", "a".repeat(64)),
            &"ä".repeat(100_000),
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn proofs_are_an_accounts_own() {
        let (secret, other) = (Secret::from_bytes([1; 32]), Secret::from_bytes([2; 32]));
        let agents = [AgentId::generate(), AgentId::generate()];
        assert_eq!(ownership_value(&secret, agents[0]), ownership_value(&secret, agents[0]));
        assert_ne!(ownership_value(&secret, agents[0]), ownership_value(&secret, agents[1]));
        assert_ne!(ownership_value(&secret, agents[0]), ownership_value(&other, agents[0]));
        assert_eq!(ownership_value(&secret, agents[0]).len(), "affiliateos-verify=".len() + 32);
        assert_eq!(ownership_name("go.example.com"), "_affiliateos.go.example.com");
        assert_eq!(["192.0.2.1", "2001:db8::1", "edge.example"].map(pointer_type), ["A", "AAAA", "CNAME"]);
    }

    #[test]
    fn claims_are_looked_at_less_and_less_and_tries_are_spread() {
        let start = DateTime::UNIX_EPOCH;
        let check = |waited: TimeDelta, pause: Option<TimeDelta>| {
            let next = next_check(start, start + waited).map(|next| next - (start + waited));
            assert_eq!(next, pause, "{waited}");
        };
        check(TimeDelta::zero(), Some(CHECK_MIN));
        check(TimeDelta::minutes(16), Some(TimeDelta::minutes(2)));
        check(TimeDelta::days(3), Some(CHECK_MAX));
        check(TimeDelta::days(30), None);
        let pause = |attempts, asked| next_try(attempts, asked, start) - start;
        assert_eq!(pause(0, None), TimeDelta::minutes(1));
        assert_eq!(pause(3, None), TimeDelta::minutes(8));
        assert_eq!(pause(i32::MAX, None), RETRY_MAX);
        assert_eq!(pause(0, Some(TimeDelta::hours(20))), TimeDelta::hours(20));
        assert_eq!(pause(3, Some(TimeDelta::seconds(1))), TimeDelta::minutes(8));
        assert_eq!(pause(0, Some(TimeDelta::days(400))), TimeDelta::days(7));
        assert_eq!(renewal(start, start + TimeDelta::days(90)) - start, TimeDelta::days(60));
    }
}
