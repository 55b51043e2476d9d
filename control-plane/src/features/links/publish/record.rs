//! From a link's row to the record edges answer clicks with. Pure.

use super::queries::LinkRow;
use shared::click::ClassSet;
use shared::link_record::{LinkRecord, LinkStatus};
use shared::token::LinkKey;

/// What a destination may have replaced at a click.
const MACROS: &[&str] = &["{click_id}", "{token}", "{sub1}", "{sub2}", "{sub3}", "{sub4}", "{sub5}"];

/// The record's bytes. A link that cannot be put into one is published as gone, which is safe and seen.
pub(super) fn encode(row: &LinkRow) -> Vec<u8> {
    let mut status = status(row);
    let param = row.click_id_param.as_deref().unwrap_or_default();
    let fits = row.destination_url.len() <= 2048 && param.len() <= 64 && is_printable(&row.destination_url);
    if status != LinkStatus::Gone && !(fits && is_printable(param)) {
        tracing::error!(link = row.key, "a link's destination does not fit a record; published as gone");
        status = LinkStatus::Gone;
    }
    let gone = status == LinkStatus::Gone;
    LinkRecord {
        link: LinkKey::from_i64(row.key),
        version: row.version as u64,
        status,
        advertiser: row.advertiser as u32,
        program: row.program.unwrap_or(0) as u32,
        affiliate: row.affiliate as u32,
        pay_classes: ClassSet(row.pay_classes.unwrap_or(0) as u16),
        dedup_seconds: row.dedup_seconds.unwrap_or(0).clamp(0, i32::from(u16::MAX)) as u16,
        click_id_param: if gone { "" } else { param },
        has_macros: !gone && MACROS.iter().any(|name| row.destination_url.contains(name)),
        destination: if gone { "" } else { &row.destination_url },
    }
    .encode()
}

fn status(row: &LinkRow) -> LinkStatus {
    match (row.deleted, row.program_status.as_deref(), row.partnership_status.as_deref()) {
        (true, ..) | (_, None | Some("archived"), _) | (.., None) => LinkStatus::Gone,
        (_, Some("active"), Some("approved")) => LinkStatus::Active,
        _ => LinkStatus::Untracked,
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(deleted: bool, program: Option<&str>, partnership: Option<&str>) -> LinkRow {
        LinkRow {
            key: 5,
            version: 9,
            destination_url: "https://shop.example/?c={click_id}".to_owned(),
            deleted,
            advertiser: 1,
            affiliate: 2,
            program: program.map(|_| 3),
            program_status: program.map(str::to_owned),
            partnership_status: partnership.map(str::to_owned),
            pay_classes: Some(7),
            dedup_seconds: Some(10),
            click_id_param: None,
        }
    }

    #[test]
    fn the_state_of_three_things_is_one_status() {
        use LinkStatus::{Active, Gone, Untracked};
        let check = |deleted, program, partnership, expected| {
            let bytes = encode(&row(deleted, program, partnership));
            let record = LinkRecord::decode(&bytes).expect("what we write can be read");
            assert_eq!(record.status, expected, "{deleted} {program:?} {partnership:?}");
            assert_eq!(record.destination.is_empty(), expected == Gone);
        };
        check(false, Some("active"), Some("approved"), Active);
        check(true, Some("active"), Some("approved"), Gone);
        check(false, Some("archived"), Some("approved"), Gone);
        check(false, None, None, Gone);
        check(false, Some("active"), None, Gone);
        check(false, Some("paused"), Some("approved"), Untracked);
        for other in ["pending", "rejected", "suspended", "cancelled"] {
            check(false, Some("active"), Some(other), Untracked);
            check(false, Some("archived"), Some(other), Gone);
        }
    }

    #[test]
    fn macros_are_seen() {
        let active = |destination: &str| LinkRow {
            destination_url: destination.to_owned(),
            ..row(false, Some("active"), Some("approved"))
        };
        let macros =
            |destination| LinkRecord::decode(&encode(&active(destination))).map(|record| record.has_macros);
        assert_eq!(macros("https://a.example/?a={sub3}"), Ok(true));
        assert_eq!(macros("https://a.example/?a={sub6}"), Ok(false));
    }

    #[test]
    fn what_does_not_fit_is_gone() {
        for destination in ["https://a.example/\r\nX: y", "https://ä.example/", &"x".repeat(2049)] {
            let bytes = encode(&LinkRow {
                destination_url: destination.to_owned(),
                ..row(false, Some("active"), Some("approved"))
            });
            assert_eq!(LinkRecord::decode(&bytes).map(|record| record.status), Ok(LinkStatus::Gone));
        }
    }
}
