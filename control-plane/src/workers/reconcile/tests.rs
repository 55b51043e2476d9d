//! Each stage, off by one, is seen.

use super::*;

fn row() -> SpoolRow {
    SpoolRow {
        spool: Uuid::from_u128(1 << 100),
        watermark: 100,
        stored: 90,
        parked: 6,
        declared_loss: 4,
        finished: false,
        parked_frames: 6,
    }
}

#[test]
fn a_spool_balances_or_is_off_by_what_is_missing() {
    let report = |accepted, declared_loss| Some(SpoolReport { accepted, declared_loss, live: true });
    let check = |row: &SpoolRow, report, reach, in_transit, off| {
        let sum = sum_spool(row, report, reach);
        assert_eq!((sum.in_transit, sum.off), (in_transit, off), "{row:?} {report:?} {reach}");
    };
    check(&row(), None, 0, 0, 0);
    check(&row(), report(100, 4), 0, 0, 0);
    check(&row(), report(150, 9), 120, 50, 0);
    check(&row(), None, 120, 20, 0);
    // A report from before the last batch.
    check(&row(), report(80, 4), 0, 0, 0);
    check(&SpoolRow { stored: 89, ..row() }, None, 0, 0, 1);
    check(&SpoolRow { parked_frames: 5, ..row() }, None, 0, 0, 1);
    check(&row(), report(100, 5), 0, 0, 1);
    // A parked frame was dropped: more is lost here than the edge knows of.
    check(&row(), report(100, 3), 0, 0, 0);
}

#[test]
fn rows_are_compared_by_tag() {
    let spools = [row()];
    let tag = TagRow { spool_tag: tag_of(row().spool), rows: 80, sequences: 80, dropped: 10 };
    assert_eq!(sum_tags(&spools, &[tag]), []);
    let off = |tag: TagRow| sum_tags(&spools, &[tag]).iter().map(TagSum::off).sum::<i64>();
    assert_eq!(off(TagRow { rows: 79, sequences: 79, ..tag }), 1);
    assert_eq!(off(TagRow { rows: 81, ..tag }), 2, "one too many, and one doubled");
    assert_eq!(sum_tags(&spools, &[]).len(), 1, "no rows at all");
    let stray = TagRow { spool_tag: 9, rows: 3, sequences: 3, dropped: 0 };
    assert_eq!(sum_tags(&spools, &[tag, stray]).iter().map(TagSum::off).sum::<i64>(), 3);
    let servers = TagRow { spool_tag: NO_SPOOL, rows: 5, sequences: 5, dropped: 0 };
    assert_eq!(sum_tags(&spools, &[tag, servers]), []);
    assert_eq!(sum_tags(&spools, &[tag, TagRow { sequences: 4, ..servers }]).len(), 1);
}

#[test]
fn accounts_are_compared_from_rows_to_usage() {
    let row =
        AccountRow { advertiser: 1, rows: 10, counted: 10, billable: 7, waiting: 2, used: 7, exists: true };
    let off = |row| sum_account(row).off;
    assert_eq!(off(row), 0);
    assert_eq!(off(AccountRow { counted: 9, ..row }), 1);
    assert_eq!(off(AccountRow { used: 8, ..row }), 1);
    assert_eq!(off(AccountRow { exists: false, used: 0, ..row }), 0);
    assert_eq!(off(AccountRow { exists: false, used: 1, ..row }), 1);
}
