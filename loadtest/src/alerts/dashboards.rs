//! Every query of every panel of `deploy/grafana/dashboards`, asked of a Prometheus that watches a running system.
//!
//! Grafana itself is not run: what is shown is that each query is one, and that there is something to draw.

use super::watch::Watch;
use crate::say;
use anyhow::Context;
use serde_json::Value;

const DASHBOARDS: [(&str, &str); 4] = [
    ("clicks", include_str!("../../../deploy/grafana/dashboards/clicks.json")),
    ("control-plane", include_str!("../../../deploy/grafana/dashboards/control-plane.json")),
    ("money", include_str!("../../../deploy/grafana/dashboards/money.json")),
    ("stores", include_str!("../../../deploy/grafana/dashboards/stores.json")),
];
/// What has nothing to show in a system that is well, by what is in the query.
const EMPTY_BY_DESIGN: &[(&str, &str)] = &[
    ("cp_usdc_", "payouts-evm has ended by then"),
    ("payouts-evm", "payouts-evm has ended by then"),
    ("cp_payment_", "appears with the first event of a payment provider"),
    ("cp_publish_mended_total", "appears when Redis has lost links"),
    ("cp_publish_refills_total", "appears when Redis has lost links"),
    ("_failures_total", "appears with the first failure"),
    ("cp_drain_conflicts_total", "appears with the first conflict"),
    ("cp_drain_parked_frames_total", "appears with the first frame that cannot be stored"),
    ("cp_drain_corrected_times_total", "appears with the first wrong clock"),
    ("cp_drain_retries_total", "appears with the first lost race"),
    ("cp_request_retries_total", "appears with the first lost race"),
    ("cp_request_panics_total", "appears with the first panic"),
    ("cp_drain_lost_clicks_total", "appears with the first loss"),
    ("cp_drain_gap_frames_total", "appears with the first gap"),
    ("cp_drain_known_frames_total", "appears with the first repeat"),
    ("cp_webhook_interrupted_total", "appears when a worker dies"),
    ("cp_webhook_paused_total", "appears when an endpoint fails for days"),
    ("cp_fold_strange_clicks_total", "appears with the first click of nobody"),
    ("cp_capped_clicks_total", "appears with the first link above its cap"),
    ("cp_unreadable_requests_total", "appears with the first request that is no HTTP"),
    ("status=\"402\"", "appears with the first refusal, and this run restarts the API since"),
    ("status=~\"5..\"", "no request fails in a system that is well"),
    ("cp_accept_errors_total", "appears with the first error"),
    ("cp_reconcile_", "appears when reconcile has left its figures"),
    ("affiliateos-reconcile.prom", "appears when reconcile has left its figures"),
    ("redis_memory_max_bytes > 0", "the Redis of this run has no limit"),
    ("edge_tls_", "the edge of this run speaks no TLS"),
    ("edge_file_", "the edge of this run watches no file"),
    ("ALERTS", "nothing fires in a system that is well"),
];

/// Asks all; gives how many were asked, how many are empty by design, and what is wrong.
pub(super) async fn ask(watch: &Watch) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, text) in DASHBOARDS {
        let dashboard: Value = serde_json::from_str(text).with_context(|| format!("{name}.json"))?;
        let (mut drawn, mut empty) = (0, Vec::new());
        for (panel, query) in queries(&dashboard) {
            match watch.ask(&query, &[]).await {
                Ok(series) if !series.is_empty() => drawn += 1,
                Ok(_) => match EMPTY_BY_DESIGN.iter().find(|(part, _)| query.contains(part)) {
                    Some((_, why)) => empty.push(format!("{panel}: {why}")),
                    None => wrong.push(format!("{name}, {panel}: nothing to draw: {query}")),
                },
                Err(error) => wrong.push(format!("{name}, {panel}: {error:#}")),
            }
        }
        say(&format!(
            "  dashboard {name}: {drawn} queries with something to draw, {} empty by design",
            empty.len()
        ));
        for line in empty {
            say(&format!("      {line}"));
        }
    }
    say("  Grafana itself was not run.");
    Ok(wrong)
}

/// The panels' queries, also of panels within rows, with Grafana's own variables filled in: rates over four scrapes,
/// as Grafana has them, of what is scraped least often here.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut panels: Vec<&Value> = dashboard["panels"].as_array().into_iter().flatten().collect();
    while let Some(panel) = panels.pop() {
        panels.extend(panel["panels"].as_array().into_iter().flatten());
        for target in panel["targets"].as_array().into_iter().flatten() {
            let Some(query) = target["expr"].as_str() else { continue };
            let query = query.replace("$__rate_interval", "28s").replace("$__interval", "10s");
            found.push((panel["title"].as_str().unwrap_or("?").to_owned(), query));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_found_and_no_variable_is_left() {
        let all: Vec<_> =
            DASHBOARDS.iter().flat_map(|(_, text)| queries(&serde_json::from_str(text).unwrap())).collect();
        assert!(all.len() > 80, "{}", all.len());
        assert!(all.iter().all(|(_, query)| !query.contains('$')));
    }

    /// Grafana moves panels that overlap, and leaves holes as they are.
    #[test]
    fn panels_fill_their_grid() {
        for (name, text) in DASHBOARDS {
            let dashboard: Value = serde_json::from_str(text).unwrap();
            let mut cells = std::collections::BTreeSet::new();
            for panel in dashboard["panels"].as_array().unwrap() {
                let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
                for cell in (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column))) {
                    assert!(cells.insert(cell), "{name}: {} lies on another panel", panel["title"]);
                }
            }
            let rows = cells.last().unwrap().0 + 1;
            assert!(cells.iter().all(|(_, column)| *column < 24), "{name}");
            assert_eq!(cells.len() as u64, rows * 24, "{name} has a hole");
        }
    }
}
