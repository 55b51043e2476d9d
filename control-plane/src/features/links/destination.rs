//! Destinations: what a redirect may lead to.
//!
//! Must stay true: what is stored is printable ASCII, at most 2,048 bytes, an http or https URL with a
//! host and without user-info, and reading it again gives the same text. A destination never leads back
//! to us.

use crate::error::{Error, Result};
use crate::features::programs::hosts;
use crate::text;
use url::{Host, Url};

/// Bytes of a destination at most, as sent and as stored.
pub const LEN_MAX: usize = 2048;

/// What edges replace in a destination. The URL standard escapes braces in a path, so they are put back.
const MACROS: [&str; 7] = ["click_id", "token", "sub1", "sub2", "sub3", "sub4", "sub5"];

/// A destination that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// The address as it is stored and sent.
    pub url: String,
    /// Its host, as the rules of hosts compare it.
    pub host: String,
}

/// Reads a destination; `own_origins` are those that must not be led to.
pub fn parse(given: &str, own_origins: &[&str]) -> Result<Destination> {
    if given.len() > LEN_MAX {
        return Err(refuse(&format!("is {} bytes long", given.len())));
    }
    let given = text::line("destination_url", given, LEN_MAX)?;
    let url = Url::parse(&given).map_err(|_| refuse("is not an address"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(refuse("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() || has_user_info(&given) {
        return Err(refuse("has a user name or password in it"));
    }
    let host = hosts::host_of(&url);
    if host.is_empty() {
        return Err(refuse("has no host"));
    }
    if matches!(url.host(), Some(Host::Domain(_))) && !hosts::is_plain(&host) {
        return Err(refuse("has a host that is no host name"));
    }
    if own_origins.iter().filter_map(|origin| Url::parse(origin).ok()).any(|own| is_same(&own, &url)) {
        return Err(Error::invalid(
            "destination_url",
            "`destination_url` leads back to us.",
            "Send the address of the product's page, not a tracking URL or an address of this API.",
        ));
    }
    let stored = with_macros(&url);
    if stored.len() > LEN_MAX {
        return Err(refuse(&format!("is {} bytes long when escaped", stored.len())));
    }
    if !stored.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        return Err(refuse("has characters that cannot stand in an address"));
    }
    Ok(Destination { url: stored, host })
}

/// An `@` before the path, even where the parser finds nothing in front of it.
fn has_user_info(given: &str) -> bool {
    let after_scheme = given.split_once(':').map_or(given, |(_, rest)| rest).trim_start_matches(['/', '\\']);
    after_scheme.split(['/', '\\', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// Whether an address is on one of our origins: by host, since a public name of ours serves nothing else
/// on another port; by host and port for addresses and `localhost`, where others live too.
fn is_same(own: &Url, url: &Url) -> bool {
    if hosts::host_of(own) != hosts::host_of(url) {
        return false;
    }
    let shared = match own.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    };
    !shared || own.port_or_known_default() == url.port_or_known_default()
}

fn with_macros(url: &Url) -> String {
    let mut text = String::from(url.as_str());
    if text.contains("%7B") {
        for name in MACROS {
            text = text.replace(&format!("%7B{name}%7D"), &format!("{{{name}}}"));
        }
    }
    text
}

fn refuse(why: &str) -> Error {
    Error::invalid(
        "destination_url",
        format!("`destination_url` {why}."),
        "Send an http or https address such as https://example.com/pricing: with a host, without user name, at most 2048 bytes.",
    )
}

#[cfg(test)]
#[path = "destination/tests.rs"]
mod tests;
