//! Where a click goes: link record and request to `Location`, byte for byte. Pure.
//!
//! A destination without macros and without a click id parameter is copied as it is. Macros are replaced
//! once, behind scheme, host and port only, and what is put in is percent-encoded: a visitor can change
//! neither where the redirect leads nor the parameters around the value.

use crate::clicks::event::Subs;
use crate::links::cache::Found;

/// What may be put into a destination.
pub(crate) struct Values<'a> {
    /// The click's id; empty when nothing is recorded.
    pub(crate) click_id: &'a str,
    /// The link's token.
    pub(crate) token: &'a str,
    /// `sub1` to `sub5` of the query.
    pub(crate) subs: &'a Subs,
}

/// Whether the destination needs the click's id.
#[inline]
pub(crate) fn wants_click_id(link: &Found<'_>) -> bool {
    link.has_macros || !link.click_id_param.is_empty()
}

/// The `Location` of a click. Printable ASCII, as every part of it is.
#[inline]
pub(crate) fn location(link: &Found<'_>, values: &Values<'_>) -> Vec<u8> {
    if !wants_click_id(link) {
        // The exact capacity: a larger one would be allocated again when it becomes a header value.
        let mut out = Vec::with_capacity(link.origin.len() + link.rest.len());
        out.extend_from_slice(link.origin.as_bytes());
        out.extend_from_slice(link.rest);
        return out;
    }
    build(link, values)
}

fn build(link: &Found<'_>, values: &Values<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(link.origin.len() + link.rest.len() + 160);
    out.extend_from_slice(link.origin.as_bytes());
    let fragment_at = link.rest.iter().position(|byte| *byte == b'#').unwrap_or(link.rest.len());
    let (front, fragment) = link.rest.split_at_checked(fragment_at).unwrap_or((link.rest, b""));
    push(front, link.has_macros, values, &mut out);
    if !link.click_id_param.is_empty() && !values.click_id.is_empty() {
        match (front.contains(&b'?'), front.last()) {
            (true, Some(b'?' | b'&')) => {}
            (true, _) => out.push(b'&'),
            (false, _) => out.push(b'?'),
        }
        push_encoded(link.click_id_param.as_bytes(), &mut out);
        out.push(b'=');
        out.extend_from_slice(values.click_id.as_bytes());
    }
    push(fragment, link.has_macros, values, &mut out);
    out
}

/// Appends a part of the destination, with its macros replaced.
fn push(mut part: &[u8], has_macros: bool, values: &Values<'_>, out: &mut Vec<u8>) {
    while has_macros && let Some(at) = part.iter().position(|byte| *byte == b'{') {
        let (before, from) = part.split_at(at);
        out.extend_from_slice(before);
        let close = from.iter().position(|byte| *byte == b'}');
        let name = close.and_then(|close| from.get(1..close)).unwrap_or_default();
        part = match value_of(name, values) {
            Some(value) => {
                push_encoded(value.as_bytes(), out);
                from.get(name.len() + 2..).unwrap_or_default()
            }
            // Not ours: the brace stays, and what follows is looked at again.
            None => {
                out.push(b'{');
                from.get(1..).unwrap_or_default()
            }
        };
    }
    out.extend_from_slice(part);
}

fn value_of<'a>(name: &[u8], values: &Values<'a>) -> Option<&'a str> {
    match name {
        b"click_id" => Some(values.click_id),
        b"token" => Some(values.token),
        [b's', b'u', b'b', digit @ b'1'..=b'5'] => Some(values.subs.get(usize::from(digit - b'1'))),
        _ => None,
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn push_encoded(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::split_origin;
    use proptest::prelude::*;
    use shared::{ClassSet, LinkStatus};

    fn go(destination: &str, param: &str, query: &str) -> String {
        let (origin, rest) = split_origin(destination);
        let link = Found {
            affiliate: 9,
            status: LinkStatus::Active,
            advertiser: 1,
            pay_classes: ClassSet::DEFAULT,
            dedup_seconds: 10,
            click_id_param: param,
            has_macros: destination.contains('{'),
            origin,
            rest: rest.as_bytes(),
            check_due: false,
        };
        let subs = Subs::of(Some(query));
        let values = Values { click_id: "CLICK", token: "TOKEN", subs: &subs };
        String::from_utf8(location(&link, &values)).unwrap()
    }

    #[test]
    fn destinations_are_copied_byte_for_byte() {
        for destination in [
            "https://a.example/",
            "https://a.example/%7e/ü?x=%20&&y#z?w",
            "http://a.example:81?",
            "https://a.example",
        ] {
            assert_eq!(go(destination, "", "sub1=x&utm=y"), destination);
        }
    }

    #[test]
    fn macros_are_replaced_once_and_encoded() {
        for (destination, query, expected) in [
            ("https://a.example/{token}?c={click_id}", "", "https://a.example/TOKEN?c=CLICK"),
            ("https://a.example/?s={sub1}&t={sub5}", "sub1=a&sub5=b", "https://a.example/?s=a&t=b"),
            ("https://a.example/?s={sub2}.", "", "https://a.example/?s=."),
            ("https://a.example/?s={sub1}", "sub1={sub2}&sub2=x", "https://a.example/?s=%7Bsub2%7D"),
            ("https://a.example/?s={sub1}", "sub1=a%26b=c%23d+e", "https://a.example/?s=a%26b%3Dc%23d%20e"),
            ("https://a.example/?s={sub1}", "sub1=%0d%0aSet-Cookie:x", "https://a.example/?s=Set-Cookie%3Ax"),
            ("https://a.example/?s={sub1}", "sub1=ü", "https://a.example/?s=%C3%BC"),
            ("https://a.example/{nope}/{{sub1}}", "sub1=x", "https://a.example/{nope}/{x}"),
            ("https://a.example/{sub6}{", "sub1=x", "https://a.example/{sub6}{"),
            ("https://a.example/#{sub1}", "sub1=x", "https://a.example/#x"),
        ] {
            assert_eq!(go(destination, "", query), expected, "{destination} {query}");
        }
    }

    #[test]
    fn hosts_are_never_replaced() {
        assert_eq!(go("https://{sub1}.example/{sub1}", "", "sub1=evil"), "https://{sub1}.example/evil");
        assert_eq!(go("https://a.example:{sub1}?{sub1}", "", "sub1=1"), "https://a.example:{sub1}?1");
    }

    #[test]
    fn the_click_id_parameter_is_appended_before_the_fragment() {
        for (destination, expected) in [
            ("https://a.example/", "https://a.example/?cid=CLICK"),
            ("https://a.example", "https://a.example?cid=CLICK"),
            ("https://a.example/?a=b", "https://a.example/?a=b&cid=CLICK"),
            ("https://a.example/?", "https://a.example/?cid=CLICK"),
            ("https://a.example/?a=b&", "https://a.example/?a=b&cid=CLICK"),
            ("https://a.example/#f?g", "https://a.example/?cid=CLICK#f?g"),
            ("https://a.example/?a#f", "https://a.example/?a&cid=CLICK#f"),
        ] {
            assert_eq!(go(destination, "cid", "cid=mine"), expected);
        }
        assert_eq!(
            go("https://a.example/?s={sub1}", "cid", "sub1=x%26cid=mine"),
            "https://a.example/?s=x%26cid%3Dmine&cid=CLICK"
        );
    }

    proptest! {
        #[test]
        fn a_visitor_never_changes_scheme_host_or_parameters(query in ".{0,80}") {
            let location = go("https://shop.example/p?s={sub1}&t={sub2}#{sub3}", "cid", &query);
            prop_assert!(location.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            let rest = location.strip_prefix("https://shop.example/p?s=").unwrap();
            let (query, fragment) = rest.split_once('#').unwrap();
            prop_assert_eq!(query.matches('&').count(), 2);
            prop_assert!(query.ends_with("&cid=CLICK"));
            prop_assert!(!fragment.contains('#'));
        }
    }
}
