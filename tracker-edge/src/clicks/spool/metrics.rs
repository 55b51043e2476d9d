//! The spool's and shipping's metrics, resolved once.
//!
//! Nothing here is touched per click: the writer's counters are plain words, and upkeep carries them over.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Handles of every `edge_spool_*` and `edge_ship_*` metric.
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    pub(crate) lost_full: Counter,
    pub(crate) lost_damaged: Counter,
    pub(crate) not_kept: Counter,
    pub(crate) sync_errors: Counter,
    pub(crate) allocate_errors: Counter,
    pub(crate) freed_early: Counter,
    pub(crate) foreign_files: Gauge,
    pub(crate) degraded: Gauge,
    pub(crate) disk_bytes: Gauge,
    pub(crate) spools: Gauge,
    pub(crate) shipped: Counter,
    pub(crate) reshipped: Counter,
    pub(crate) ship_errors: Counter,
    pub(crate) stalls: Counter,
    pub(crate) uncommitted: Gauge,
    pub(crate) unshipped: Gauge,
    pub(crate) unshipped_age: Gauge,
    pub(crate) connected: Gauge,
    pub(crate) shared_id: Counter,
    pub(crate) evicts: Gauge,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Registers everything with the process's recorder, which must be installed by now.
    pub(crate) fn register() -> Self {
        describe_counter!("edge_spool_accepted_total", "Clicks that took a sequence, stored or lost");
        describe_counter!("edge_spool_declared_loss_total", "Clicks declared lost, by reason");
        describe_counter!("edge_spool_not_kept_total", "Sequences a database asked for that are freed");
        describe_counter!("edge_spool_sync_errors_total", "Syncs the disk refused; its segment is left");
        describe_counter!("edge_spool_allocate_errors_total", "Segments that could not be allocated");
        describe_counter!("edge_spool_freed_early_total", "Committed segments freed before their time");
        describe_gauge!(
            "edge_spool_foreign_files",
            "Files in the folder that are not, or not readably, ours"
        );
        describe_gauge!("edge_spool_degraded", "1 while clicks cannot be kept on disk");
        describe_gauge!("edge_spool_bytes", "Disk the segments take");
        describe_gauge!("edge_spool_spools", "Spools in the folder, live and recovered");
        describe_counter!("edge_ship_clicks_total", "Clicks sent to Redis for the first time");
        describe_counter!("edge_ship_clicks_again_total", "Clicks sent to Redis again");
        describe_counter!("edge_ship_errors_total", "Redis calls of shipping that failed");
        describe_counter!("edge_ship_stalls_total", "Times the watermark stood still or went back");
        describe_gauge!("edge_ship_uncommitted", "Clicks sent that Postgres has not confirmed");
        describe_gauge!("edge_ship_unshipped", "Clicks kept that are not sent yet");
        describe_gauge!("edge_ship_unshipped_age_seconds", "How long the oldest unsent click has waited");
        describe_gauge!("edge_ship_connected", "1 while Redis takes clicks");
        describe_counter!("edge_ship_shared_id_total", "Times another process was seen with this edge's id");
        describe_gauge!("edge_redis_evicts", "1 while Redis may throw clicks away by its maxmemory-policy");
        Self {
            accepted: counter!("edge_spool_accepted_total"),
            lost_full: counter!("edge_spool_declared_loss_total", "reason" => "full"),
            lost_damaged: counter!("edge_spool_declared_loss_total", "reason" => "damaged"),
            not_kept: counter!("edge_spool_not_kept_total"),
            sync_errors: counter!("edge_spool_sync_errors_total"),
            allocate_errors: counter!("edge_spool_allocate_errors_total"),
            freed_early: counter!("edge_spool_freed_early_total"),
            foreign_files: gauge!("edge_spool_foreign_files"),
            degraded: gauge!("edge_spool_degraded"),
            disk_bytes: gauge!("edge_spool_bytes"),
            spools: gauge!("edge_spool_spools"),
            shipped: counter!("edge_ship_clicks_total"),
            reshipped: counter!("edge_ship_clicks_again_total"),
            ship_errors: counter!("edge_ship_errors_total"),
            stalls: counter!("edge_ship_stalls_total"),
            uncommitted: gauge!("edge_ship_uncommitted"),
            unshipped: gauge!("edge_ship_unshipped"),
            unshipped_age: gauge!("edge_ship_unshipped_age_seconds"),
            connected: gauge!("edge_ship_connected"),
            shared_id: counter!("edge_ship_shared_id_total"),
            evicts: gauge!("edge_redis_evicts"),
        }
    }
}
