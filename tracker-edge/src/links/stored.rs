//! How a link lies in the arena: a few varints and what its destination has of its own.
//!
//! ```text
//! flags 1 byte (bits 0-1 status, bit 2 macros, bits 3-4 bytes of padding at the end)
//! profile, version, affiliate    LEB128 each
//! destination behind its origin
//! padding to a multiple of 4
//! ```
//!
//! Never leaves the process: snapshots hold [`shared::link_record`]s.

use shared::{LinkRecord, LinkStatus};

const MACROS: u8 = 1 << 2;
const PADDING_SHIFT: u32 = 3;
/// Words of a stored link at most: flags, three varints, 2,048 bytes of destination.
pub(crate) const WORDS_MAX: usize = (1 + 5 + 10 + 5 + 2048usize).div_ceil(4);

/// A stored link, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) status: LinkStatus,
    pub(crate) has_macros: bool,
    pub(crate) profile: u32,
    pub(crate) version: u64,
    pub(crate) affiliate: u32,
    pub(crate) rest: &'a [u8],
}

/// Writes a record with its destination's own part; `out` is cleared first.
pub(crate) fn encode(record: &LinkRecord<'_>, profile: u32, rest: &str, out: &mut Vec<u8>) {
    out.clear();
    out.push(record.status as u8 | (u8::from(record.has_macros) * MACROS));
    for number in [u64::from(profile), record.version, u64::from(record.affiliate)] {
        write_varint(number, out);
    }
    out.extend_from_slice(rest.as_bytes());
    let padding = out.len().wrapping_neg() % 4;
    out[0] |= (padding as u8) << PADDING_SHIFT;
    out.resize(out.len() + padding, 0);
}

/// Reads what [`encode`] wrote.
#[inline]
pub(crate) fn decode(bytes: &[u8]) -> Option<Stored<'_>> {
    let (flags, rest) = bytes.split_first()?;
    let (profile, rest) = read_varint(rest)?;
    let (version, rest) = read_varint(rest)?;
    let (affiliate, rest) = read_varint(rest)?;
    let status = match flags & 3 {
        0 => LinkStatus::Gone,
        1 => LinkStatus::Active,
        _ => LinkStatus::Untracked,
    };
    let padding = usize::from(flags >> PADDING_SHIFT);
    Some(Stored {
        status,
        has_macros: flags & MACROS != 0,
        profile: profile as u32,
        version,
        affiliate: affiliate as u32,
        rest: rest.get(..rest.len().checked_sub(padding)?)?,
    })
}

fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::{ClassSet, LinkKey};

    proptest! {
        #[test]
        fn what_is_stored_is_read(status in 0u8..3, version: u64, affiliate: u32, profile: u32, has_macros: bool,
                                  rest in "[!-~]{0,200}") {
            let status = [LinkStatus::Gone, LinkStatus::Active, LinkStatus::Untracked][status as usize];
            let record = LinkRecord { link: LinkKey(1), version, status, advertiser: 0, program: 0, affiliate,
                pay_classes: ClassSet::NONE, dedup_seconds: 0, click_id_param: "", has_macros, destination: "" };
            let mut out = Vec::new();
            encode(&record, profile, &rest, &mut out);
            prop_assert_eq!(out.len() % 4, 0);
            prop_assert!(out.len() / 4 <= WORDS_MAX);
            let stored = Stored { status, has_macros, profile, version, affiliate, rest: rest.as_bytes() };
            prop_assert_eq!(decode(&out), Some(stored));
        }
    }
}
