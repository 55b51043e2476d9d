//! The lists that are measured: each with every filter and order it has, and far behind its start.

use super::seed::Seeded;

/// Who reads.
#[derive(Clone, Copy)]
pub(super) enum Reader {
    /// Nobody in particular.
    Anyone,
    /// Owns the busiest program.
    Big,
    /// Its busiest affiliate.
    Busy,
}

/// A list with a filter.
pub(super) struct List {
    pub(super) reader: Reader,
    /// Path and query.
    pub(super) path: String,
}

/// Every list and filter.
pub(super) fn all(seeded: &Seeded) -> Vec<List> {
    use Reader::{Anyone, Big, Busy};
    let Seeded { program, partnership, webhook, big_id, busy_id, .. } = seeded;
    let mut lists = Vec::new();
    let mut add = |reader, path: String, filters: &[&str]| {
        lists.push(List { reader, path: path.clone() });
        let joint = if path.contains('?') { '&' } else { '?' };
        lists.extend(filters.iter().map(|filter| List { reader, path: format!("{path}{joint}{filter}") }));
    };
    let offers = [
        "niche=saas",
        "audience_type=b2b",
        "commission_type=fixed",
        "min_commission=45",
        "q=thing",
        "q=nothing",
        "sort=highest_commission",
        "sort=most_affiliates",
        "sort=best_epc",
        "per_page=100&page=50",
        "niche=saas&sort=highest_commission&per_page=10",
    ];
    add(Anyone, "/api/network/discover".to_owned(), &offers);
    add(Busy, "/api/network/discover".to_owned(), &offers);
    add(Anyone, "/api/programs".to_owned(), &offers);
    add(
        Anyone,
        "/api/programs".to_owned(),
        &["status=paused", "status=archived", "status=active&niche=saas"],
    );
    add(Anyone, format!("/api/programs?advertiser_id={big_id}"), &["status=active", "sort=best_epc"]);
    add(
        Anyone,
        "/api/agents".to_owned(),
        &["niche=saas", "audience_type=b2c", "niche=saas&audience_type=b2b", "niche=none"],
    );
    add(Anyone, "/api/network/niches".to_owned(), &[]);
    add(Anyone, "/api/network/stats".to_owned(), &[]);
    let sales = [
        "status=pending",
        "status=approved",
        "status=paid",
        "event_type=lead",
        "status=rejected&event_type=lead",
        "external_id=order-4",
        "from=2020-01-01",
        "to=2020-01-01",
        "per_page=100&page=100",
        "status=rejected&per_page=100&page=100",
    ];
    let of_program = format!("/api/programs/{program}");
    add(Big, format!("{of_program}/conversions"), &sales);
    add(Big, "/api/conversions".to_owned(), &sales);
    add(
        Big,
        format!("{of_program}/conversions?affiliate_id={busy_id}"),
        &["status=pending", "per_page=100&page=100"],
    );
    add(
        Big,
        format!("{of_program}/affiliates"),
        &["status=pending", "status=rejected", "per_page=100&page=50"],
    );
    add(Big, format!("{of_program}/payouts"), &["per_page=100&page=40"]);
    add(Big, format!("{of_program}/agent-runtimes"), &["from=2020-01-01"]);
    add(Big, format!("{of_program}/attribution-events"), &["agent_runtime=claude", "per_page=100&page=100"]);
    add(Busy, format!("/api/agents/{busy_id}/conversions"), &sales);
    add(Busy, format!("/api/agents/{busy_id}/conversions?program_id={program}"), &["status=pending"]);
    add(
        Busy,
        format!("/api/agents/{busy_id}/partnerships"),
        &["status=approved", "status=rejected", "per_page=100&page=90"],
    );
    add(Busy, format!("/api/agents/{busy_id}/earnings"), &["per_page=100&page=90"]);
    for reader in [Big, Busy] {
        add(reader, "/api/agents/me/stats".to_owned(), &["days=7", "days=90"]);
        add(reader, "/api/agents/me/weekly-digest".to_owned(), &[]);
    }
    add(Busy, format!("/api/agents/{busy_id}/keys"), &[]);
    add(
        Busy,
        format!("/api/partnerships/{partnership}/links"),
        &["sub_id=sub-7", "sub_id=none", "per_page=100&page=90"],
    );
    for reader in [Big, Busy] {
        let all =
            ["role=advertiser", "role=affiliate", "status=pending", "status=paid", "per_page=100&page=100"];
        add(reader, "/api/payouts".to_owned(), &all);
    }
    add(Big, "/api/wallet/transactions".to_owned(), &["type=debit", "type=credit"]);
    add(
        Big,
        format!("/api/webhooks/{webhook}/deliveries"),
        &["status=failed", "status=pending", "per_page=100&page=100"],
    );
    add(Big, "/api/webhooks".to_owned(), &[]);
    add(Big, "/api/events".to_owned(), &["per_page=100"]);
    add(Big, "/api/usage".to_owned(), &[]);
    add(Big, "/api/agents/me".to_owned(), &[]);
    lists
}
