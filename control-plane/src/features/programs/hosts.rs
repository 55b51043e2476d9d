//! Which hosts a program's links may lead to.
//!
//! A rule is a host: it allows itself and every host below it. Addresses (IPv4, IPv6) allow themselves.
//! Must stay true: hosts are compared as the URL standard writes them (lower case, punycode), without a
//! dot at the end.

use crate::error::{Error, Result};
use url::{Host, Url};

/// Rules of a program at most.
pub const HOSTS_MAX: usize = 50;

/// The host of an address as rules compare it.
pub fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// Whether a name has only characters that host names on the internet have. The URL standard lets more
/// pass, such as braces and quotes.
pub fn is_plain(name: &str) -> bool {
    name.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

/// Whether `host` is `rule` or below it.
pub fn allows(rule: &str, host: &str) -> bool {
    host == rule || host.strip_suffix(rule).is_some_and(|below| below.ends_with('.'))
}

/// The rules in force: the program's own, else the host of its address (without a leading `www.`), else
/// none, which allows every host.
pub fn rules(allowed_hosts: &[String], url: Option<&str>) -> Vec<String> {
    if !allowed_hosts.is_empty() {
        return allowed_hosts.to_vec();
    }
    let host = url.and_then(|url| Url::parse(url).ok()).map(|url| host_of(&url));
    host.map(|host| host.strip_prefix("www.").unwrap_or(&host).to_owned())
        .filter(|host| !host.is_empty())
        .into_iter()
        .collect()
}

/// Reads the rules an advertiser sends: plain hosts, sorted, each once.
pub fn parse_rules(given: &[String]) -> Result<Vec<String>> {
    if given.len() > HOSTS_MAX {
        return Err(Error::invalid(
            "allowed_hosts",
            format!("`allowed_hosts` has {} hosts.", given.len()),
            format!("Send at most {HOSTS_MAX} hosts; a host allows every host below it too."),
        ));
    }
    let mut rules = given.iter().map(|text| parse_rule(text)).collect::<Result<Vec<_>>>()?;
    rules.sort_unstable();
    rules.dedup();
    Ok(rules)
}

fn parse_rule(text: &str) -> Result<String> {
    let refuse = || {
        let shown: String = text.chars().filter(|letter| !letter.is_control()).take(60).collect();
        Error::invalid(
            "allowed_hosts",
            format!("`{shown}` is not a host that can be allowed."),
            "Send host names such as `example.com`, without scheme, port, path or `*`: a host allows every host below it too.",
        )
    };
    let trimmed = text.trim().trim_end_matches('.');
    if trimmed.len() > 253 {
        return Err(refuse());
    }
    match Host::parse(trimmed).map_err(|_| refuse())? {
        // A name without a dot would allow a whole top-level domain; `localhost` is one's own machine.
        Host::Domain(name) if !name.contains('.') && name != "localhost" => Err(refuse()),
        Host::Domain(name) if !is_plain(&name) => Err(refuse()),
        host => Ok(host.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_itself_and_what_is_below() {
        let check =
            |rule: &str, host: &str, allowed: bool| assert_eq!(allows(rule, host), allowed, "{rule} {host}");
        check("example.com", "example.com", true);
        check("example.com", "shop.example.com", true);
        check("example.com", "a.b.example.com", true);
        check("example.com", "badexample.com", false);
        check("example.com", "example.com.evil.test", false);
        check("shop.example.com", "example.com", false);
        check("1.2.3.4", "1.2.3.4", true);
    }

    #[test]
    fn rules_fall_back_to_the_programs_address() {
        assert_eq!(rules(&[], Some("https://www.Example.com:8443/x")), ["example.com"]);
        assert_eq!(rules(&["a.test".to_owned()], Some("https://b.test/")), ["a.test"]);
        assert!(rules(&[], None).is_empty());
    }

    #[test]
    fn rules_are_plain_hosts() {
        let parse = |text: &str| parse_rules(&[text.to_owned()]).ok().map(|mut rules| rules.remove(0));
        let check = |text: &str, host: Option<&str>| assert_eq!(parse(text).as_deref(), host, "{text}");
        check(" Example.COM. ", Some("example.com"));
        check("bücher.example", Some("xn--bcher-kva.example"));
        check("127.0.0.1", Some("127.0.0.1"));
        check("0x7f.1", Some("127.0.0.1"));
        check("[::1]", Some("[::1]"));
        check("localhost", Some("localhost"));
        let long = format!("{}.com", "a".repeat(260));
        for bad in [
            "",
            ".",
            "com",
            "https://example.com",
            "example.com/x",
            "example.com:80",
            "*.example.com",
            "a b.com",
            "{x}.com",
            "a..b.com",
            ".example.com",
            "user@example.com",
            "a\nb.com",
            &long,
        ] {
            check(bad, None);
        }
    }
}
