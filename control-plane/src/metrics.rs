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
    ("cp_request_panics_total", "Handlers that panicked; each is a bug"),
    ("cp_accept_errors_total", "Connections that could not be accepted"),
    ("cp_events_total", "Events written, by type; includes those of transactions that were rolled back"),
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
