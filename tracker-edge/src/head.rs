//! A request's headers, read once: what a click needs, and what makes a request unsound.
//!
//! hyper checks neither `Host` nor `Transfer-Encoding` beside a `Content-Length`, nor whether a target has the form
//! its method has; RFC 9112 wants all three refused.
//! Pure: no allocation, no I/O.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::Scheme;
use http::{Method, Version};

/// What of a request's headers matters, read in one pass.
pub(crate) struct Head<'a> {
    host: Host<'a>,
    pub(crate) user_agent: &'a [u8],
    pub(crate) referrer: &'a [u8],
    /// A browser fetches ahead of a click that may never come.
    pub(crate) prefetch: bool,
    /// An agent says that it is one and can prove it.
    pub(crate) signed: bool,
    chunked: bool,
}

enum Host<'a> {
    Missing,
    One(&'a [u8]),
    Several,
}

impl<'a> Head<'a> {
    #[inline]
    pub(crate) fn read(headers: &'a HeaderMap) -> Self {
        let mut head = Self {
            host: Host::Missing,
            user_agent: b"",
            referrer: b"",
            prefetch: false,
            signed: false,
            chunked: false,
        };
        for (name, value) in headers {
            match *name {
                header::HOST => {
                    head.host = match head.host {
                        Host::Missing => Host::One(value.as_bytes()),
                        _ => Host::Several,
                    };
                }
                header::USER_AGENT => head.user_agent = value.as_bytes(),
                header::REFERER => head.referrer = value.as_bytes(),
                header::TRANSFER_ENCODING => head.chunked = true,
                _ => match name.as_str() {
                    "sec-purpose" | "purpose" | "x-moz" => head.prefetch |= says_prefetch(value),
                    "signature-input" => head.signed = true,
                    _ => {}
                },
            }
        }
        head
    }

    /// Of a request that says nothing else that matters.
    #[inline]
    pub(crate) const fn plain(host: &'a [u8], user_agent: &'a [u8], referrer: &'a [u8]) -> Self {
        Self { host: Host::One(host), user_agent, referrer, prefetch: false, signed: false, chunked: false }
    }

    /// The host asked for; nothing when the request does not say.
    #[inline]
    pub(crate) const fn host(&self) -> &'a [u8] {
        match self.host {
            Host::One(host) => host,
            Host::Missing | Host::Several => b"",
        }
    }

    /// Whether the request is framed and addressed as RFC 9112 wants it.
    #[inline]
    pub(crate) fn is_sound(&self, parts: &Parts) -> bool {
        let host = match self.host {
            Host::Missing => parts.version == Version::HTTP_10,
            Host::One(host) => is_host(host),
            Host::Several => false,
        };
        host && !self.chunked && self.is_target(parts)
    }

    /// Whether the target has a form its method may have (RFC 9112 section 3.2). An absolute one names the
    /// host that `Host` names: of two opinions a proxy may follow the other.
    #[inline]
    fn is_target(&self, parts: &Parts) -> bool {
        let (method, uri) = (&parts.method, &parts.uri);
        let Some(authority) = uri.authority() else {
            let path = uri.path().starts_with('/') && *method != Method::CONNECT && uri.scheme().is_none();
            return path || (uri.path() == "*" && *method == Method::OPTIONS);
        };
        let authority = authority.as_str().as_bytes();
        let agrees = match self.host {
            Host::Missing => true,
            Host::One(host) => host.eq_ignore_ascii_case(authority),
            Host::Several => false,
        };
        let is_web = uri.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        is_web && agrees && is_host(authority) && *method != Method::CONNECT
    }
}

fn says_prefetch(value: &HeaderValue) -> bool {
    let needle = b"prefetch";
    value.as_bytes().windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

/// Whether a `Host` is a name or address with an optional port.
#[inline]
pub(crate) fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.first() {
        None => return false,
        Some(b'[') => match host.iter().position(|byte| *byte == b']') {
            Some(end) => {
                let (address, port) = host.split_at(end + 1);
                let inside = address.get(1..end).unwrap_or_default();
                if inside.is_empty()
                    || !inside.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
                {
                    return false;
                }
                return port.is_empty() || is_port(port);
            }
            None => return false,
        },
        Some(_) => match host.iter().position(|byte| *byte == b':') {
            Some(colon) => host.split_at(colon),
            None => (host, &b""[..]),
        },
    };
    let plain = |byte: &u8| NAME[usize::from(*byte)];
    !name.is_empty() && name.iter().all(plain) && (port.is_empty() || is_port(port))
}

/// Bytes of a host's name.
const NAME: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < 128 {
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric() || matches!(character, b'.' | b'-' | b'_' | b'~');
        byte += 1;
    }
    table
};

fn is_port(port: &[u8]) -> bool {
    matches!(port, [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for host in [
            "a",
            "a.example",
            "a-b.example:8080",
            "127.0.0.1:1",
            "[::1]",
            "[2001:db8::1]:443",
            "x_y.example:",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in
            ["", ":80", "a b", "a/b", "a@b", "a:b", "a:1:2", "[::1", "[]", "[::1]x", "[g]", "a:123456", "a,b"]
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn prefetches_are_told_by_any_of_three_headers() {
        for (name, value, expected) in [
            ("sec-purpose", "prefetch;prerender", true),
            ("sec-purpose", "Prefetch", true),
            ("purpose", "prefetch", true),
            ("x-moz", "prefetch", true),
            ("sec-purpose", "", false),
            ("x-other", "prefetch", false),
        ] {
            let name: header::HeaderName = name.parse().unwrap();
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            assert_eq!(Head::read(&headers).prefetch, expected, "{name}: {value}");
        }
    }
}
