//! Until when a certificate is valid: the one field of X.509 that operators have to watch.
//!
//! Nothing is verified, whoever connects does that. Reads the few DER elements on the way (RFC 5280,
//! section 4.1) and never panics, whatever the bytes.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The Unix time a certificate is valid until.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (signed, _) = expect(SEQUENCE, certificate)?;
    let fields = expect(VERSION, signed).map_or(signed, |(_, rest)| rest);
    let (_serial, fields) = expect(INTEGER, fields)?;
    let (_algorithm, fields) = expect(SEQUENCE, fields)?;
    let (_issuer, fields) = expect(SEQUENCE, fields)?;
    let (validity, _) = expect(SEQUENCE, fields)?;
    let (_, _, end) = element(validity)?;
    let (tag, time, _) = element(end)?;
    let two = |at: usize| {
        let digits = time.get(at..at + 2).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        digits.iter().try_fold(0, |number, digit| Some(number * 10 + i64::from(digit - b'0')))
    };
    let (year, rest) = match (tag, time.len()) {
        // Two digits of a year: those below 50 are in this century.
        (UTC_TIME, 13) => (two(0)? + if two(0)? < 50 { 2000 } else { 1900 }, 2),
        (GENERALIZED_TIME, 15) => (two(0)? * 100 + two(2)?, 4),
        _ => return None,
    };
    let days = days(year, two(rest)?, two(rest + 2)?)?;
    Some(((days * 24 + two(rest + 4)?) * 60 + two(rest + 6)?) * 60 + two(rest + 8)?)
}

/// Days from 1970-01-01 to a date, which may be before it.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    const BEFORE: [i64; 12] = [306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275];
    let before = BEFORE.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    // A year that begins in March has its leap day last.
    let year = if month < 3 { year - 1 } else { year };
    Some(year * 365 + year / 4 - year / 100 + year / 400 + before + day - 1 - 719_468)
}

/// The content of an element of this kind, and what follows it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // Nothing up to here is longer.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(["go.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 7, 9);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_kinds_of_time_are_read() {
        assert_eq!(not_after(&certificate(2031)), Some(1_941_321_600));
        assert_eq!(
            not_after(&certificate(2061)),
            Some(2_888_092_800),
            "beyond 2049 the year has four digits"
        );
    }

    #[test]
    fn a_cut_certificate_has_no_end() {
        let whole = certificate(2031);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut at in 0_usize..400, byte: u8, bytes: Vec<u8>) {
            let mut certificate = certificate(2031);
            at %= certificate.len();
            certificate[at] = byte;
            let _damaged = not_after(&certificate);
            let _random = not_after(&bytes);
        }
    }
}
