//! All metric families of the control plane, registered under `cp_`.
//!
//! Label values come from enums and route patterns; never ids, hosts or paths.

use http::{Method, StatusCode};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Duration;

/// Every family: name, unit suffix included, and help text.
pub const FAMILIES: &[(&str, &str)] = &[
    ("cp_requests_total", "Requests answered, by route, method and status"),
    ("cp_request_seconds", "Time from request to reply, by route"),
    ("cp_unreadable_requests_total", "Requests that are not HTTP or too long to be read, by status"),
    ("cp_request_panics_total", "Handlers that panicked; each is a bug"),
    ("cp_request_retries_total", "Requests that lost a race (deadlock, serialization) and were run again"),
    ("cp_accept_errors_total", "Connections that could not be accepted"),
    ("cp_webhook_attempts_total", "Tries of webhook deliveries that ended, by outcome"),
    ("cp_webhook_delivery_delay_seconds", "From queueing a delivery to its first try's success"),
    ("cp_webhook_interrupted_total", "Tries whose worker was gone before they ended"),
    ("cp_webhook_paused_total", "Webhooks paused by us, by reason"),
    ("cp_events_total", "Events written, by type; includes those of transactions that were rolled back"),
    ("cp_drain_clicks_total", "Clicks stored"),
    ("cp_drain_frames_total", "Frames read from the streams"),
    ("cp_drain_known_frames_total", "Frames that were stored before: repeats"),
    (
        "cp_drain_gap_frames_total",
        "Frames dropped because something before them was missing; edges send them again",
    ),
    ("cp_drain_parked_frames_total", "Frames that could not be stored, kept in parked_frames"),
    ("cp_drain_conflicts_total", "Frames under the name of another; someone copied a spool folder"),
    ("cp_drain_lost_clicks_total", "Clicks that edges declared lost"),
    ("cp_drain_corrected_times_total", "Clicks whose time was out of range"),
    ("cp_drain_unknown_frames", "Frames of a later format that wait in the streams for a later build"),
    ("cp_drain_absent_streams", "Streams of a cluster whose master does not answer; the others are drained"),
    ("cp_drain_retries_total", "Transactions that lost a race and were tried again"),
    ("cp_drain_failures_total", "Turns of the drainer that failed"),
    ("cp_drain_batch_seconds", "Time a batch took in Postgres"),
    ("cp_drain_lag_seconds", "How long the oldest frame of a batch had waited in its stream"),
    ("cp_fold_clicks_total", "Clicks folded into hourly counts and usage"),
    ("cp_trade_deltas_folded_total", "Changes of sums of conversions and commissions that were folded"),
    ("cp_fold_strange_clicks_total", "Clicks that name an account that does not exist; not metered"),
    ("cp_capped_clicks_total", "Clicks above the cap of a link that billed far above its mean; not billed"),
    ("cp_fold_lag_seconds", "How long the oldest batch of a fold had waited"),
    (
        "cp_month_closing_age",
        "Seconds since the end of the oldest month that still waits to be closed; 0 when none does",
    ),
    ("cp_fold_waiting_batches", "Batches that wait for the fold"),
    ("cp_fold_waiting_age", "Seconds the oldest of them has waited"),
    (
        "cp_watermark_age",
        "Seconds between an edge's last word and what is committed of it, by its own clock, for the one furthest behind: how \
         far behind the drain is",
    ),
    ("cp_stored_clicks", "Clicks stored, of all spools"),
    ("cp_parked_clicks", "Clicks in parked frames; somebody should replay or drop them"),
    ("cp_parked_frames", "Parked frames"),
    ("cp_declared_loss_clicks", "Clicks declared lost"),
    ("cp_on_edge_clicks", "Clicks that are only on the disks of edges"),
    ("cp_in_redis_clicks", "Clicks that Redis has taken and Postgres does not have yet"),
    (
        "cp_silent_edge_clicks",
        "Clicks on edges that say nothing any more; somebody should start them, or declare their disks lost",
    ),
    ("cp_unaccounted_clicks", "Clicks missing from their spool's sum; anything but 0 is a fault"),
    ("cp_reconcile_spool_clicks", "Clicks of a spool at each stage, by `reconcile --metrics` alone"),
    ("cp_reconcile_account_clicks", "Clicks of an account at each stage, by `reconcile --metrics` alone"),
    ("cp_reconcile_row_clicks", "Rows that differ from what the spools say, by `reconcile --metrics` alone"),
    ("cp_reconcile_broken_rules", "Rules that rows break, by `reconcile --metrics` alone"),
    ("cp_reconcile_unaccounted_clicks", "Clicks unaccounted for, by `reconcile --metrics` alone"),
    ("cp_undated_clicks", "1 when clicks lie in the default partition: their day's was missing"),
    ("cp_outbox_rows", "Changes of links that wait for the publisher"),
    ("cp_outbox_age", "Seconds the oldest of them has waited"),
    ("cp_publish_records_total", "Link records written to Redis"),
    ("cp_publish_mended_total", "Link records that Redis had lost without being emptied, written again"),
    ("cp_publish_refills_total", "Times Redis was found without the links it had had"),
    ("cp_publish_failures_total", "Turns of the publisher that failed"),
    ("cp_publish_lag_seconds", "How long the oldest change of a link had waited"),
    ("cp_domains", "Custom domains, by status"),
    ("cp_domain_certificates_expiring", "Certificates of custom domains that expire within 7 and 14 days"),
    (
        "cp_domain_renewals_overdue",
        "Certificates of custom domains whose renewal has been due for longer than a day; the domain is still proven",
    ),
    (
        "cp_domains_unproven",
        "Custom domains that are served although their proof was not found at the last look",
    ),
    ("cp_domain_certificates_issued_total", "Certificates of custom domains issued"),
    (
        "cp_domain_certificate_failures_total",
        "Certificates that were not issued, by kind: judged (the owner's to mend) or trouble (ours or the authority's)",
    ),
    ("cp_payment_events_total", "Events from payment providers, by provider and outcome"),
    ("cp_payment_call_failures_total", "Calls to payment providers that failed, by provider and outcome"),
    ("cp_payment_surprises_total", "Payments that came for what is over; somebody has money to give back"),
    ("cp_usdc_sends_total", "Times a signed transfer was handed to a node, repeats included"),
    ("cp_usdc_refusals_total", "Transfers a node did not take; those it knew already among them"),
    ("cp_usdc_replacements_total", "Stuck transfers signed again with a higher fee"),
    ("cp_usdc_reorganisations_total", "Transfers whose block was gone when it was looked for"),
    ("cp_usdc_alarms_total", "Looks at transfers that no rule covers; see the log"),
    ("cp_usdc_failures_total", "Turns of the usdc worker that failed, mostly because no node answered"),
    ("cp_usdc_short", "1 when the paying address lacks the token or gas for what is due, or gas is too dear"),
    ("cp_usdc_due_payouts", "Payouts in usdc that wait to be signed"),
    ("cp_usdc_open_transfers", "Transfers that are signed and not final"),
    ("cp_usdc_open_age", "Seconds the oldest of them has waited"),
    ("cp_agent_directories_failing", "Key directories of AI agents whose last fetch failed"),
    ("cp_payouts_frozen", "1 while payouts wait for somebody to compare them after a restore or failover"),
    ("cp_spans_sent_total", "Spans that the collector has taken"),
    (
        "cp_spans_dropped_total",
        "Spans that were not sent, by reason: full (the queue), not_taken (by the collector), stopped (the process)",
    ),
    ("cp_job_failures_total", "Turns of periodic jobs that failed, by job"),
];

/// Installs the recorder once per process and gives the handle that renders it.
pub fn install() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Suffix("_seconds".to_owned()),
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            )
            .expect("the bucket list is not empty");
        let handle = builder.install_recorder().expect("installed once, behind a OnceLock");
        for (name, help) in FAMILIES {
            if name.ends_with("_total") {
                metrics::describe_counter!(*name, *help);
            } else if name.ends_with("_seconds") {
                metrics::describe_histogram!(*name, *help);
            } else {
                metrics::describe_gauge!(*name, *help);
            }
        }
        handle
    })
}

/// Counts one request.
pub fn request(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let route = route.to_owned();
    let status = status.as_str().to_owned();
    metrics::counter!("cp_requests_total", "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    metrics::histogram!("cp_request_seconds", "route" => route).record(took.as_secs_f64());
}
