//! `control-plane reconcile`: the conservation sum as a table, or as metrics.

use super::{Outcome, table};
use crate::config::ReconcileArgs;
use crate::metrics::FAMILIES;
use crate::workers::reconcile::{AccountSum, Report, SpoolSum};

const SPOOL_HEAD: [&str; 8] =
    ["spool", "accepted", "on the edge", "in Redis", "stored", "parked", "declared loss", "off"];
const ACCOUNT_HEAD: [&str; 9] = [
    "account",
    "rows",
    "counted",
    "of them waiting",
    "to meter",
    "metered",
    "billed",
    "in the ledger",
    "off",
];

/// The report as it was asked for.
pub fn render(report: &Report, args: ReconcileArgs) -> Outcome {
    let mut unaccounted = report.off();
    if args.settled {
        unaccounted += report.in_transit() + report.waiting();
    }
    let text = if args.metrics { metrics(report, unaccounted) } else { words(report, args, unaccounted) };
    Outcome { text, well: unaccounted == 0 }
}

fn words(report: &Report, args: ReconcileArgs, unaccounted: i64) -> String {
    let mut parts = Vec::new();
    let shown: Vec<_> = report.spools.iter().filter(|sum| args.all || off(sum, args.settled) > 0).collect();
    parts.push(spools(report, &shown));
    let shown: Vec<_> = report.accounts.iter().filter(|sum| args.all || sum.off > 0).collect();
    parts.push(accounts(report, &shown));
    for tag in &report.tags {
        parts.push(format!(
            "spools with tag {:08x}: {} stored, {} rows, {} doubled",
            tag.spool_tag, tag.stored, tag.rows, tag.doubled
        ));
    }
    parts.extend(report.broken.iter().map(|broken| format!("broken rule: {broken}")));
    parts.push(if unaccounted == 0 {
        "Every click is accounted for.".to_owned()
    } else {
        format!("UNACCOUNTED FOR: {unaccounted}")
    });
    parts.join("\n\n")
}

/// Gauges for a file that Prometheus' node exporter reads.
fn metrics(report: &Report, unaccounted: i64) -> String {
    let mut lines = Vec::new();
    let mut family = |name: &str, samples: Vec<String>| {
        let help = FAMILIES.iter().find(|(family, _)| *family == name).map_or("", |(_, help)| help);
        lines.push(format!("# HELP {name} {help}"));
        lines.push(format!("# TYPE {name} gauge"));
        lines.extend(samples.into_iter().map(|sample| format!("{name}{sample}")));
    };
    let label = |head: &str| head.to_lowercase().replace(' ', "_");
    let samples = |kind: &str, heads: &[&str], name: &str, values: &[i64]| -> Vec<String> {
        let pairs = heads[1..].iter().zip(values);
        pairs
            .map(|(head, value)| format!("{{{kind}=\"{name}\",stage=\"{}\"}} {value}", label(head)))
            .collect()
    };
    let by_spool = report
        .spools
        .iter()
        .flat_map(|sum| samples("spool", &SPOOL_HEAD, &sum.spool.simple().to_string(), &spool_values(sum)));
    family("cp_reconcile_spool_clicks", by_spool.collect());
    let by_account = report.accounts.iter().flat_map(|sum| {
        samples("account", &ACCOUNT_HEAD, &sum.row.advertiser.to_string(), &account_values(sum))
    });
    family("cp_reconcile_account_clicks", by_account.collect());
    let tags = report.tags.iter().map(|tag| tag.off()).sum::<i64>();
    family("cp_reconcile_row_clicks", vec![format!(" {tags}")]);
    let broken = report.broken.len();
    family("cp_reconcile_broken_rules", vec![format!(" {broken}")]);
    family("cp_reconcile_unaccounted_clicks", vec![format!(" {unaccounted}")]);
    lines.join("\n")
}

fn spool_values(sum: &SpoolSum) -> [i64; 7] {
    [sum.accepted, sum.on_edge, sum.in_redis, sum.stored, sum.parked, sum.declared_loss, sum.off]
}

fn account_values(sum: &AccountSum) -> [i64; 8] {
    let row = &sum.row;
    [row.rows, row.counted, row.waiting, row.billable, row.used, row.billed, row.posted, sum.off]
}

/// A name, and the sums of each column.
fn summed<const N: usize>(name: String, values: impl Iterator<Item = [i64; N]>) -> Vec<String> {
    let mut sums = [0; N];
    for value in values {
        sums.iter_mut().zip(value).for_each(|(sum, value)| *sum += value);
    }
    std::iter::once(name).chain(sums.iter().map(i64::to_string)).collect()
}

fn off(sum: &SpoolSum, settled: bool) -> i64 {
    sum.off + if settled { sum.in_transit() } else { 0 }
}

fn spools(report: &Report, shown: &[&SpoolSum]) -> String {
    let row = |sum: &&SpoolSum| summed(sum.spool.simple().to_string(), [spool_values(sum)].into_iter());
    let mut rows: Vec<_> = shown.iter().map(row).collect();
    let all = format!("all {} spools", report.spools.len());
    rows.push(summed(all, report.spools.iter().map(spool_values)));
    table(&SPOOL_HEAD, &rows)
}

fn accounts(report: &Report, shown: &[&AccountSum]) -> String {
    let row = |sum: &&AccountSum| {
        summed(format!("account {}", sum.row.advertiser), [account_values(sum)].into_iter())
    };
    let mut rows: Vec<_> = shown.iter().map(row).collect();
    let all = format!("all {} accounts", report.accounts.len());
    rows.push(summed(all, report.accounts.iter().map(account_values)));
    table(&ACCOUNT_HEAD, &rows)
}
