//! `control-plane reconcile`: the conservation sum as a table.

use super::{Outcome, table};
use crate::workers::reconcile::{AccountSum, Report, SpoolSum};

/// The report in words. `settled`: nothing may be on its way any more.
pub fn render(report: &Report, settled: bool, all: bool) -> Outcome {
    let mut parts = Vec::new();
    let shown: Vec<_> = report.spools.iter().filter(|sum| all || off(sum, settled) > 0).collect();
    parts.push(spools(report, &shown));
    let shown: Vec<_> = report.accounts.iter().filter(|sum| all || sum.off > 0).collect();
    parts.push(accounts(report, &shown));
    for tag in &report.tags {
        parts.push(format!(
            "spools with tag {:08x}: {} stored, {} rows, {} doubled",
            tag.spool_tag, tag.stored, tag.rows, tag.doubled
        ));
    }
    parts.extend(report.broken.iter().map(|broken| format!("broken rule: {broken}")));
    let mut unaccounted = report.off();
    if settled {
        unaccounted += report.in_transit() + report.waiting();
    }
    parts.push(if unaccounted == 0 {
        "Every click is accounted for.".to_owned()
    } else {
        format!("UNACCOUNTED FOR: {unaccounted}")
    });
    Outcome { text: parts.join("\n\n"), well: unaccounted == 0 }
}

fn off(sum: &SpoolSum, settled: bool) -> i64 {
    sum.off + if settled { sum.in_transit } else { 0 }
}

fn spools(report: &Report, shown: &[&SpoolSum]) -> String {
    let row = |name: String, sums: &[&SpoolSum]| {
        let column = |pick: fn(&SpoolSum) -> i64| sums.iter().map(|sum| pick(sum)).sum::<i64>().to_string();
        vec![
            name,
            column(|sum| sum.accepted),
            column(|sum| sum.stored),
            column(|sum| sum.in_transit),
            column(|sum| sum.parked),
            column(|sum| sum.declared_loss),
            column(|sum| sum.off),
        ]
    };
    let mut rows: Vec<_> = shown.iter().map(|sum| row(sum.spool.simple().to_string(), &[sum])).collect();
    let everything: Vec<_> = report.spools.iter().collect();
    rows.push(row(format!("all {} spools", everything.len()), &everything));
    table(&["spool", "accepted", "stored", "in transit", "parked", "declared loss", "off"], &rows)
}

fn accounts(report: &Report, shown: &[&AccountSum]) -> String {
    let row = |name: String, sums: &[&AccountSum]| {
        let column = |pick: fn(&AccountSum) -> i64| sums.iter().map(|sum| pick(sum)).sum::<i64>().to_string();
        vec![
            name,
            column(|sum| sum.row.rows),
            column(|sum| sum.row.counted),
            column(|sum| sum.row.waiting),
            column(|sum| sum.row.billable),
            column(|sum| sum.row.used),
            column(|sum| sum.off),
        ]
    };
    let mut rows: Vec<_> =
        shown.iter().map(|sum| row(format!("account {}", sum.row.advertiser), &[sum])).collect();
    let everything: Vec<_> = report.accounts.iter().collect();
    rows.push(row(format!("all {} accounts", everything.len()), &everything));
    table(&["account", "rows", "counted", "of them waiting", "to meter", "metered", "off"], &rows)
}
