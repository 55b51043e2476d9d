//! What the control plane publishes about a link and the edge answers clicks with.
//!
//! Version 1, 40 bytes and two texts. The record's own version is big-endian and stands at a fixed
//! place, so that a Redis script can compare two records without decoding them.
//!
//! ```text
//!   0  format = 1        1
//!   1  status            1   0 gone, 1 active, 2 untracked
//!   2  flags             2   bit 0: the destination has macros; little-endian, as all but the version
//!   4  pay classes       2
//!   6  dedup seconds     2
//!   8  version           8   BIG-endian; higher replaces lower
//!  16  link              8
//!  24  advertiser        4
//!  28  program           4
//!  32  affiliate         4
//!  36  parameter length  1
//!  37  host owner flag   1   1: only on custom domains of `affiliate` or `advertiser`
//!  38  destination len   2
//!  40  click id parameter, destination
//! ```

use crate::click::ClassSet;
use crate::token::LinkKey;

/// What an edge does with a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum LinkStatus {
    /// Deleted, or its program is archived or deleted: 410.
    Gone = 0,
    /// Redirect and record.
    Active = 1,
    /// Redirect without recording: program paused, or partnership not approved.
    Untracked = 2,
}

/// A link as the edge knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkRecord<'a> {
    /// The link.
    pub link: LinkKey,
    /// Grows with every change of what the record says; the higher one is right.
    pub version: u64,
    /// What to do.
    pub status: LinkStatus,
    /// Account number of who pays.
    pub advertiser: u32,
    /// Number of the program.
    pub program: u32,
    /// Account number of who earns.
    pub affiliate: u32,
    /// Classes that are metered.
    pub pay_classes: ClassSet,
    /// Window in which a repeat by one visitor is a duplicate; 0 switches that off.
    pub dedup_seconds: u16,
    /// Query parameter that gets the click id appended; empty for none. At most 64 bytes.
    pub click_id_param: &'a str,
    /// Whether the destination has `{…}` to replace.
    pub has_macros: bool,
    /// Where to: a valid `Location`, at most 2,048 bytes, ASCII.
    pub destination: &'a str,
}

const FORMAT: u8 = 1;
const HEADER_LEN: usize = 40;
const FLAG_MACROS: u16 = 1;

/// Why bytes are not a link record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkRecordError {
    /// A format this build does not know.
    #[error("link record format {0} is unknown to this build")]
    UnknownFormat(u8),
    /// Damaged.
    #[error("link record is malformed")]
    Malformed,
}

impl<'a> LinkRecord<'a> {
    /// The record's bytes. Texts over their limits are a bug of the caller, who validated them.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.click_id_param.len() <= 64 && self.destination.len() <= 2048, "validated when stored");
        let mut out = Vec::with_capacity(HEADER_LEN + self.click_id_param.len() + self.destination.len());
        out.extend_from_slice(&[FORMAT, self.status as u8]);
        out.extend_from_slice(&(u16::from(self.has_macros) * FLAG_MACROS).to_le_bytes());
        out.extend_from_slice(&self.pay_classes.0.to_le_bytes());
        out.extend_from_slice(&self.dedup_seconds.to_le_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.link.0.to_le_bytes());
        for number in [self.advertiser, self.program, self.affiliate] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&[self.click_id_param.len() as u8, 0]);
        out.extend_from_slice(&(self.destination.len() as u16).to_le_bytes());
        out.extend_from_slice(self.click_id_param.as_bytes());
        out.extend_from_slice(self.destination.as_bytes());
        out
    }

    /// Reads a record. Never panics.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, LinkRecordError> {
        use LinkRecordError::{Malformed, UnknownFormat};
        match bytes.first() {
            None => return Err(Malformed),
            Some(&FORMAT) => {}
            Some(&other) => return Err(UnknownFormat(other)),
        }
        let (header, texts) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Malformed)?;
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let status = match header[1] {
            0 => LinkStatus::Gone,
            1 => LinkStatus::Active,
            2 => LinkStatus::Untracked,
            _ => return Err(Malformed),
        };
        let (param, destination) = texts.split_at_checked(header[36] as usize).ok_or(Malformed)?;
        if destination.len() != u16_at(38) as usize || !bytes.is_ascii_from(HEADER_LEN) {
            return Err(Malformed);
        }
        Ok(Self {
            link: LinkKey(u64_at(16)),
            version: u64_at(8).swap_bytes(),
            status,
            advertiser: u32_at(24),
            program: u32_at(28),
            affiliate: u32_at(32),
            pay_classes: ClassSet(u16_at(4)),
            dedup_seconds: u16_at(6),
            click_id_param: std::str::from_utf8(param).map_err(|_| Malformed)?,
            has_macros: u16_at(2) & FLAG_MACROS != 0,
            destination: std::str::from_utf8(destination).map_err(|_| Malformed)?,
        })
    }
}

trait AsciiFrom {
    fn is_ascii_from(&self, at: usize) -> bool;
}

impl AsciiFrom for [u8] {
    /// Printable ASCII only: a record can never break a header line.
    fn is_ascii_from(&self, at: usize) -> bool {
        self.get(at..).is_some_and(|texts| texts.iter().all(|byte| (0x21..0x7f).contains(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_record()(link in 1u64.., version: u64, status in 0u8..3, advertiser: u32, program: u32, affiliate: u32,
                        classes in 0u16..512, dedup_seconds: u16, param in "[a-z_]{0,64}", has_macros: bool,
                        destination in "https://[a-z.]{1,40}/[!-~]{0,100}")
            -> (LinkRecord<'static>, String, String) {
            let status = [LinkStatus::Gone, LinkStatus::Active, LinkStatus::Untracked][status as usize];
            (LinkRecord { link: LinkKey(link), version, status, advertiser, program, affiliate,
                          pay_classes: ClassSet(classes), dedup_seconds, click_id_param: "", has_macros,
                          destination: "" }, param, destination)
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read((record, param, destination) in any_record()) {
            let record = LinkRecord { click_id_param: &param, destination: &destination, ..record };
            let bytes = record.encode();
            prop_assert_eq!(LinkRecord::decode(&bytes).unwrap(), record);
            prop_assert_eq!(&bytes[8..16], &record.version.to_be_bytes());
        }

        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() { *first = FORMAT; }
            drop(LinkRecord::decode(&bytes));
        }

        #[test]
        fn control_characters_never_decode((record, _, destination) in any_record(), byte in 0u8..0x21) {
            let record = LinkRecord { destination: &destination, ..record };
            let mut bytes = record.encode();
            *bytes.last_mut().unwrap() = byte;
            prop_assert_eq!(LinkRecord::decode(&bytes), Err(LinkRecordError::Malformed));
        }
    }

    #[test]
    fn the_golden_bytes_are_written_and_read_for_ever() {
        assert_eq!(FORMAT, 1, "a new version needs golden bytes of its own, beside these");
        let record = LinkRecord {
            link: LinkKey(0x0123_4567_89ab_cdef),
            version: 0x0102_0304_0506_0708,
            status: LinkStatus::Untracked,
            advertiser: 41,
            program: 42,
            affiliate: 43,
            pay_classes: ClassSet(0b101),
            dedup_seconds: 3_600,
            click_id_param: "click_id",
            has_macros: true,
            destination: "https://shop.example/pricing?from={sub1}",
        };
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/link_record/golden/v1.hex");
        let golden = std::fs::read_to_string(path).expect("the golden file is part of the repository");
        let golden = hex::decode(golden.split_whitespace().collect::<String>()).unwrap();
        assert_eq!(hex::encode(record.encode()), hex::encode(&golden), "the bytes of version 1 changed");
        assert_eq!(LinkRecord::decode(&golden), Ok(record));
    }
}
