//! What of a request is kept with its click, and what is dropped for privacy. Pure.
//!
//! Kept: `sub1` to `sub5` of the query and the host of the referrer, each cut to a limit, control
//! characters removed. The address and the user agent only go into the visitor's keyed hash. Everything
//! else of the request is forgotten.

use shared::click::{note, push_note};

/// `sub1` to `sub5` of a query, decoded and cut.
#[derive(Default, Debug)]
pub(crate) struct Subs([String; 5]);

impl Subs {
    /// Reads them out of a query. The first of each name counts.
    #[inline]
    pub(crate) fn of(query: Option<&str>) -> Self {
        let mut subs = Self::default();
        let Some(query) = query else { return subs };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if let [b's', b'u', b'b', digit @ b'1'..=b'5'] = name.as_bytes() {
                let sub = &mut subs.0[usize::from(digit - b'1')];
                if sub.is_empty() {
                    *sub = decode(value);
                }
            }
        }
        subs
    }

    /// One of them, from 0; empty when the query did not have it.
    pub(crate) fn get(&self, index: usize) -> &str {
        self.0.get(index).map_or("", String::as_str)
    }

    /// Appends those that are there to a click's notes.
    #[inline]
    pub(crate) fn push_notes(&self, notes: &mut Vec<u8>) {
        for (sub, kind) in self.0.iter().zip(note::SUB1..) {
            if !sub.is_empty() {
                push_note(notes, kind, sub);
            }
        }
    }
}

/// Decodes one form-encoded value, without control characters, cut to what a note holds: what the
/// advertiser is sent and what is kept are the same.
fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => {
                hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| high << 4 | low)
            }
            _ => None,
        };
        match (byte, escaped) {
            (_, Some(decoded)) => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', None) => bytes.push(b' '),
            (byte, None) => bytes.push(byte),
        }
        rest = after;
    }
    let mut text = String::from_utf8_lossy(&bytes).replace(char::is_control, "");
    let mut len = text.len().min(note::VALUE_LEN_MAX);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.truncate(len);
    text
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Appends the host of a `Referer` to a click's notes, in lower case. Anything that is not plainly a
/// host is left out.
#[inline]
pub(crate) fn push_referrer(referrer: &[u8], notes: &mut Vec<u8>) {
    let behind = referrer.strip_prefix(b"https://").or_else(|| referrer.strip_prefix(b"http://"));
    let Some(behind) = behind else { return };
    let end = behind.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(behind.len());
    let authority = behind.get(..end).unwrap_or_default();
    let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    let host = match host.iter().position(|byte| *byte == b':') {
        Some(port) if host.first() != Some(&b'[') => host.get(..port).unwrap_or_default(),
        _ => host,
    };
    let mut lower = [0; note::VALUE_LEN_MAX];
    let Some(lower) = lower.get_mut(..host.len()) else { return };
    let mut plain = true;
    for (to, from) in lower.iter_mut().zip(host) {
        *to = HOST_LOWER[usize::from(*from)];
        plain &= *to != 0;
    }
    if plain && let Ok(host) = std::str::from_utf8(lower) {
        push_note(notes, note::REFERRER_HOST, host);
    }
}

/// Bytes of a host in lower case; 0 for those a host does not have.
const HOST_LOWER: [u8; 256] = {
    let (mut lower, mut byte) = ([0; 256], 0);
    while byte < 128 {
        let character = byte as u8;
        if character.is_ascii_alphanumeric() || matches!(character, b'.' | b'-' | b'_' | b'[' | b']' | b':') {
            lower[byte] = character.to_ascii_lowercase();
        }
        byte += 1;
    }
    lower
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::click::Notes;
    use shared::{Click, ClickClass, LinkKey};

    fn notes_of(notes: &[u8]) -> Vec<(u8, String)> {
        let click = Click {
            at_ms: 0,
            link: LinkKey(1),
            advertiser: 0,
            visitor: 0,
            class: ClickClass::Human,
            flags: 0,
            country: [0; 2],
            notes,
        };
        let notes: Notes<'_> = click.notes();
        notes.map(|(kind, value)| (kind, String::from_utf8(value.to_vec()).unwrap())).collect()
    }

    #[test]
    fn subs_are_decoded_and_the_first_counts() {
        for (query, expected) in [
            ("", vec![]),
            ("sub1=a&sub2=b+c&sub5=%41%zz%4", vec![(1, "a"), (2, "b c"), (5, "A%zz%4")]),
            ("sub1=first&sub1=second&sub3=", vec![(1, "first")]),
            ("sub0=a&sub6=b&sub=c&xsub1=d&sub11=e", vec![]),
            ("sub1=a%00b%0d%0ac%7f", vec![(1, "abc")]),
            ("sub4=%ff", vec![(4, "\u{fffd}")]),
        ] {
            let mut notes = Vec::new();
            Subs::of(Some(query)).push_notes(&mut notes);
            let expected: Vec<_> =
                expected.into_iter().map(|(kind, value)| (kind, value.to_owned())).collect();
            assert_eq!(notes_of(&notes), expected, "{query}");
        }
    }

    #[test]
    fn of_a_referrer_only_the_host_is_kept() {
        for (referrer, expected) in [
            ("https://News.Example/path?q=secret#x", Some("news.example")),
            ("http://user:pass@host.example:8080/", Some("host.example")),
            ("https://[2001:db8::1]:443/", Some("[2001:db8::1]:443")),
            ("https://host.example", Some("host.example")),
            ("android-app://com.example", None),
            ("/relative", None),
            ("https://sp ace/", None),
            ("https:///", None),
        ] {
            let mut notes = Vec::new();
            push_referrer(referrer.as_bytes(), &mut notes);
            let expected: Vec<_> =
                expected.map(|host| (note::REFERRER_HOST, host.to_owned())).into_iter().collect();
            assert_eq!(notes_of(&notes), expected, "{referrer}");
        }
    }

    proptest! {
        #[test]
        fn notes_stay_within_their_limit(query in ".{0,3000}", referrer in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut notes = Vec::new();
            Subs::of(Some(&query)).push_notes(&mut notes);
            push_referrer(&referrer, &mut notes);
            push_referrer(&[b"https://", &referrer[..]].concat(), &mut notes);
            prop_assert!(notes.len() <= note::NOTES_LEN_MAX + note::VALUE_LEN_MAX + 2);
            for (_, value) in notes_of(&notes) {
                prop_assert!(!value.chars().any(char::is_control));
            }
        }
    }
}
