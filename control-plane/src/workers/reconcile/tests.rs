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

const NOW: i64 = 1_795_000_000_000;

fn report(accepted: u64, declared_loss: u64, kept_from: u64) -> SpoolReport {
    SpoolReport {
        accepted,
        declared_loss,
        kept_from,
        live: true,
        at_ms: NOW - 2000,
        ..SpoolReport::default()
    }
}

#[test]
fn a_spool_balances_or_is_off_by_what_is_missing() {
    let check = |row: &SpoolRow, report: Option<SpoolReport>, reach, on_edge, in_redis, off| {
        let sum = sum_spool(row, report.as_ref(), reach, NOW);
        assert_eq!(
            (sum.on_edge, sum.in_redis, sum.off),
            (on_edge, in_redis, off),
            "{row:?} {report:?} {reach}"
        );
    };
    check(&row(), None, 0, 0, 0, 0);
    check(&row(), Some(report(100, 4, 0)), 0, 0, 0, 0);
    check(&row(), Some(report(150, 9, 0)), 120, 30, 20, 0);
    check(&row(), None, 120, 0, 20, 0);
    // A report from before the last batch.
    check(&row(), Some(report(80, 4, 0)), 0, 0, 0, 0);
    check(&SpoolRow { stored: 89, ..row() }, None, 0, 0, 0, 1);
    check(&SpoolRow { parked_frames: 5, ..row() }, None, 0, 0, 0, 1);
    check(&row(), Some(report(100, 5, 0)), 0, 0, 0, 1);
    // A parked frame was dropped: more is lost here than the edge knows of.
    check(&row(), Some(report(100, 3, 0)), 0, 0, 0, 0);
}

#[test]
fn what_is_only_on_an_edge_counts_while_the_edge_has_it_and_says_so() {
    let check = |report: &SpoolReport, reach, on_edge, off| {
        let sum = sum_spool(&row(), Some(report), reach, NOW);
        assert_eq!((sum.on_edge, sum.off), (on_edge, off), "{report:?} {reach}");
        let parts = sum.on_edge + sum.in_redis + sum.stored + sum.parked + sum.declared_loss + sum.off;
        assert_eq!(sum.accepted, parts);
    };
    check(&report(150, 4, 100), 0, 50, 0);
    // The database was set back further than the edge keeps.
    check(&report(150, 4, 110), 0, 40, 10);
    check(&report(150, 4, 110), 110, 40, 0);
    // What the edge lost itself, and is about to declare.
    check(&report(150, 12, 110), 0, 48, 2);
    check(&report(150, 14, 110), 0, 50, 0);
    let silent = SpoolReport { at_ms: NOW - SILENT_FOR_MS - 1, ..report(150, 4, 100) };
    check(&silent, 0, 0, 50);
    check(&silent, 130, 0, 20);
    check(&SpoolReport { accepted: 100, ..silent }, 0, 0, 0);
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
    let row = AccountRow {
        advertiser: 1,
        rows: 10,
        counted: 10,
        billable: 7,
        waiting: 2,
        used: 7,
        billed: 3,
        posted: 3,
        exists: true,
    };
    let off = |row| sum_account(row).off;
    assert_eq!(off(row), 0);
    assert_eq!(off(AccountRow { counted: 9, ..row }), 1);
    assert_eq!(off(AccountRow { used: 8, ..row }), 1);
    assert_eq!(off(AccountRow { posted: 2, ..row }), 1);
    assert_eq!(off(AccountRow { exists: false, used: 0, ..row }), 0);
    assert_eq!(off(AccountRow { exists: false, used: 1, ..row }), 1);
}
