//! What the edge counts, and how it is shown.
//!
//! The hot path adds to plain per-worker counters, each worker on cache lines of its own; a scrape adds
//! the workers up. No label is ever a link, a program or an address.

use crate::clicks::signatures::Verdict;
use crate::files;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use shared::ClickClass;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $help:literal])* $field:ident => $name:literal $(, $label:literal = $value:literal)?;)*) => {
        /// One worker's counters.
        #[derive(Default, Debug)]
        #[repr(align(128))]
        pub(crate) struct Counters {
            $($(#[doc = $help])* pub(crate) $field: Counter,)*
            /// Clicks by class.
            pub(crate) clicks: [Counter; ClickClass::ALL.len()],
            /// Signatures of AI agents by verdict.
            pub(crate) signatures: [Counter; Verdict::ALL.len()],
        }

        /// Sets every metric to the sum over the workers.
        fn publish(workers: &[Arc<Counters>]) {
            $(
                let sum = workers.iter().map(|worker| worker.$field.get()).sum();
                counter!($name $(, $label => $value)?).absolute(sum);
            )*
            let open = |worker: &Arc<Counters>| {
                worker.tls_completed.get().saturating_sub(worker.tls_closed.get())
            };
            gauge!("edge_tls_connections").set(workers.iter().map(open).sum::<u64>() as f64);
            for class in ClickClass::ALL {
                let sum = workers.iter().map(|worker| worker.clicks[class as usize].get()).sum();
                counter!("edge_clicks_total", "class" => class.name()).absolute(sum);
            }
            for verdict in Verdict::ALL {
                let sum = workers.iter().map(|worker| worker.signatures[verdict as usize].get()).sum();
                counter!("edge_agent_signatures_total", "verdict" => verdict.name()).absolute(sum);
            }
        }
    };
}

counters! {
    /// Clicks answered with a redirect.
    redirects => "edge_responses_total", "answer" = "redirect";
    /// Redirects without recording: HEAD, or the link is not tracked.
    unrecorded => "edge_responses_total", "answer" = "redirect_unrecorded";
    /// 404 for tokens this deployment did not hand out, and other paths.
    not_found => "edge_responses_total", "answer" = "not_found";
    /// 405.
    wrong_method => "edge_responses_total", "answer" = "method_not_allowed";
    /// 410 for deleted links.
    gone => "edge_responses_total", "answer" = "gone";
    /// 503 because Redis did not answer about a link not in memory.
    unavailable => "edge_responses_total", "answer" = "unavailable";
    /// 503 that asks a browser to come again when the person really clicks.
    prefetches => "edge_responses_total", "answer" = "prefetch";
    /// Answers to ACME servers.
    challenges => "edge_responses_total", "answer" = "challenge";
    /// 4xx for requests that break HTTP or our limits.
    refused => "edge_responses_total", "answer" = "refused";
    /// Clicks the spool had no room for; declared as lost.
    lost => "edge_clicks_lost_total";
    /// Look-ups that had to wait for Redis.
    misses => "edge_link_misses_total";
    /// Connections accepted.
    accepted => "edge_connections_accepted_total";
    /// Connections closed.
    closed => "edge_connections_closed_total";
    /// Connections closed because their address has too many.
    over_limit => "edge_connections_refused_total";
    /// Connections closed because a request, an answer or a pause took too long.
    timed_out => "edge_connections_timed_out_total";
    /// Connections closed because they had to begin with a PROXY header and did not.
    proxy_refused => "edge_proxy_headers_refused_total";
    /// Accepts that failed, such as for want of file descriptors.
    accept_errors => "edge_accept_errors_total";
    /// TLS handshakes that ended in a connection.
    tls_completed => "edge_tls_handshakes_total", "outcome" = "completed";
    /// TLS handshakes of clients that gave up, or wanted what is not on offer.
    tls_failed => "edge_tls_handshakes_total", "outcome" = "failed";
    /// TLS handshakes that took too long.
    tls_timed_out => "edge_tls_handshakes_total", "outcome" = "timed_out";
    /// TLS handshakes that continued an earlier session.
    tls_resumed => "edge_tls_resumed_total";
    /// TLS 1.2 connections.
    tls_12 => "edge_tls_protocol_total", "protocol" = "TLS1.2";
    /// TLS 1.3 connections.
    tls_13 => "edge_tls_protocol_total", "protocol" = "TLS1.3";
    /// TLS connections closed.
    tls_closed => "edge_tls_connections_closed_total";
    /// Connections whose client chose HTTP/2.
    http2_connections => "edge_http2_connections_total";
    /// Requests over HTTP/2.
    http2_requests => "edge_http2_requests_total";
    /// HTTP/2 connections closed because they sent too much that is no request.
    floods => "edge_http2_floods_total";
    /// Requests whose handling panicked.
    panics => "edge_panics_total";
}

/// A counter with one writer: no locked instruction is needed to add.
#[derive(Default, Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only the worker that owns the counter may.
    #[inline]
    pub(crate) fn add(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The edge's own registry: several edges may run in one process.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let metrics = Self { recorder, handle };
        metrics.within(describe);
        metrics
    }

    /// Runs `body` with this registry as the one that `metrics::counter!` and its like refer to.
    pub(crate) fn within<T>(&self, body: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, body)
    }

    /// All metrics as Prometheus text, after `update` has set what is only known now.
    pub(crate) fn render(&self, workers: &[Arc<Counters>], update: impl FnOnce()) -> String {
        self.within(|| {
            publish(workers);
            update();
        });
        self.handle.run_upkeep();
        self.handle.render()
    }
}

fn describe() {
    describe_counter!("edge_responses_total", "Answers by kind");
    describe_counter!("edge_clicks_total", "Clicks recorded, by class");
    describe_counter!(
        "edge_agent_signatures_total",
        "Clicks with a Web Bot Auth signature, by what became of it"
    );
    describe_gauge!("edge_agent_keys", "Keys of AI agents known");
    describe_counter!("edge_file_loads_total", "Times a watched file was read and put in force");
    describe_counter!("edge_file_failures_total", "Times a watched file could not be used");
    describe_gauge!("edge_file_stale", "1 while what is in force is not what the file says");
    describe_counter!("edge_clicks_lost_total", "Clicks the spool had no room for; declared as lost");
    describe_counter!("edge_link_misses_total", "Look-ups that had to wait for Redis");
    describe_counter!("edge_connections_accepted_total", "Connections accepted");
    describe_counter!("edge_connections_closed_total", "Connections closed");
    describe_counter!("edge_connections_refused_total", "Connections of addresses that had too many");
    describe_counter!("edge_connections_timed_out_total", "Connections closed for being too slow or idle");
    describe_counter!(
        "edge_proxy_headers_refused_total",
        "Connections without the PROXY header they must have"
    );
    describe_counter!("edge_accept_errors_total", "Accepts that failed");
    describe_counter!("edge_tls_handshakes_total", "TLS handshakes, by what became of them");
    describe_counter!("edge_tls_resumed_total", "TLS handshakes that continued an earlier session");
    describe_counter!("edge_tls_protocol_total", "TLS connections, by version");
    describe_counter!("edge_tls_connections_closed_total", "TLS connections closed");
    describe_gauge!("edge_tls_connections", "Open TLS connections, after their handshake");
    describe_gauge!(
        "edge_tls_certificate_expires_timestamp_seconds",
        "When a configured certificate stops being valid, as Unix time"
    );
    describe_gauge!("edge_domains", "Custom domains known, those just removed among them");
    describe_gauge!("edge_domains_bytes", "Memory their records take");
    describe_gauge!("edge_domains_left_out", "Custom domains beyond the limits");
    describe_gauge!("edge_domain_stream_connected", "1 while changes of custom domains are followed");
    describe_counter!("edge_domain_changes_total", "Records of custom domains taken over");
    describe_counter!("edge_domain_unreadable_total", "Records of custom domains that could not be read");
    describe_counter!("edge_domain_unusable_total", "Certificates of custom domains that cannot be used");
    describe_counter!("edge_http2_connections_total", "TLS connections whose client chose HTTP/2");
    describe_counter!("edge_http2_requests_total", "Requests over HTTP/2; all others came over HTTP/1.1");
    describe_counter!(
        "edge_http2_floods_total",
        "HTTP/2 connections closed for resets and frames without requests"
    );
    describe_counter!("edge_panics_total", "Requests whose handling panicked");
    describe_counter!(
        "edge_link_questions_total",
        "Links asked for in Redis, one question per link at a time"
    );
    describe_counter!("edge_link_changes_total", "Link changes applied from the stream");
    describe_counter!("edge_link_unreadable_total", "Link records this build could not read");
    describe_counter!("edge_link_compared_total", "Links compared with Redis again");
    describe_counter!(
        "edge_link_comparisons_total",
        "Times every link was compared because changes were missed"
    );
    describe_counter!("edge_links_evicted_total", "Links that made room for others");
    describe_gauge!("edge_links", "Links in memory");
    describe_gauge!("edge_links_bytes", "Memory the links take");
    describe_gauge!("edge_link_profiles", "Different terms and origins among the links");
    describe_gauge!("edge_links_unknown", "Links remembered as unknown for a moment");
    describe_gauge!("edge_link_stream_connected", "1 while the change stream is being followed");
    describe_gauge!("edge_ready", "1 while the edge wants traffic");
}

/// What is only known when somebody looks.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    pub(crate) links: crate::links::cache::Size,
    pub(crate) unknown: usize,
    pub(crate) asked: u64,
    pub(crate) applied: u64,
    pub(crate) unreadable: u64,
    pub(crate) compared: u64,
    pub(crate) comparisons: u64,
    pub(crate) connected: bool,
    pub(crate) ready: bool,
    pub(crate) agent_keys: usize,
    pub(crate) files: Vec<files::Shown>,
    pub(crate) domains: crate::domains::Shown,
    /// Configured certificates, and the Unix time each is valid until.
    pub(crate) certificates: Vec<(String, i64)>,
}

impl Now {
    /// Sets the gauges and counters that mirror state kept elsewhere.
    pub(crate) fn publish(&self) {
        counter!("edge_link_questions_total").absolute(self.asked);
        counter!("edge_link_changes_total").absolute(self.applied);
        counter!("edge_link_unreadable_total").absolute(self.unreadable);
        counter!("edge_link_compared_total").absolute(self.compared);
        counter!("edge_link_comparisons_total").absolute(self.comparisons);
        counter!("edge_links_evicted_total").absolute(self.links.evicted);
        gauge!("edge_agent_keys").set(self.agent_keys as f64);
        gauge!("edge_domains").set(self.domains.domains as f64);
        gauge!("edge_domains_bytes").set(self.domains.bytes as f64);
        gauge!("edge_domains_left_out").set(self.domains.left_out as f64);
        gauge!("edge_domain_stream_connected").set(f64::from(u8::from(self.domains.connected)));
        counter!("edge_domain_changes_total").absolute(self.domains.applied);
        counter!("edge_domain_unreadable_total").absolute(self.domains.unreadable);
        counter!("edge_domain_unusable_total").absolute(self.domains.unusable);
        for (certificate, expires) in &self.certificates {
            let certificate = certificate.clone();
            gauge!("edge_tls_certificate_expires_timestamp_seconds", "certificate" => certificate)
                .set(*expires as f64);
        }
        for file in &self.files {
            counter!("edge_file_loads_total", "file" => file.name).absolute(file.loads);
            counter!("edge_file_failures_total", "file" => file.name).absolute(file.failures);
            gauge!("edge_file_stale", "file" => file.name).set(f64::from(u8::from(file.stale)));
        }
        gauge!("edge_links").set(self.links.links as f64);
        gauge!("edge_links_bytes").set(self.links.bytes as f64);
        gauge!("edge_link_profiles").set(self.links.profiles as f64);
        gauge!("edge_links_unknown").set(self.unknown as f64);
        gauge!("edge_link_stream_connected").set(f64::from(u8::from(self.connected)));
        gauge!("edge_ready").set(f64::from(u8::from(self.ready)));
    }
}
