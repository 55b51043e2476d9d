//! `alerts`: a real Prometheus watches a real system under load, by the rules of `deploy/prometheus/alerts.yml` with
//! shorter times (a minute is a second; expressions and thresholds stay). Every alert is caused by what it is about,
//! must fire, and must end when the cause is mended; a rule without a cause fails the run.
//!
//! Alerts of one cause are caused together, and an alert may end while the next is caused: most of the time of a run is
//! thresholds in seconds that cannot be shortened.

mod answers;
mod books;
mod chain;
mod clicks;
mod dashboards;
mod months;
mod pressure;
mod rules;
mod scene;
mod stores;
mod usdc;
mod watch;

use crate::stack::ground::Ground;
use crate::stack::{DiskFor, Options, Stack};
use crate::{programs, say};
use answers::Answers;
use scene::Scene;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

/// Settings of `alerts`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only causes whose name begins so.
    names: Vec<String>,
    /// Lists the causes and what they are to set off.
    #[arg(long)]
    list: bool,
}

type Causing<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// Something that goes wrong, and the alerts that must tell.
struct Cause {
    name: &'static str,
    alerts: &'static [&'static str],
    /// Causes it, waits for the alerts, and mends it.
    run: fn(&mut Scene) -> Causing<'_>,
}

macro_rules! causes {
    ($($name:literal, $run:path => [$($alert:literal),+];)+) => {
        &[$(Cause { name: $name, alerts: &[$($alert),+], run: |scene| Box::pin($run(scene)) }),+]
    };
}

/// In this order: what comes later may stand on what came before.
const CAUSES: &[Cause] = causes! {
    "callers without money", books::without_money => ["ManyWithoutMoney"];
    "endpoints of webhooks that fail, then dawdle", books::webhooks => ["WebhooksFail", "WebhooksLate"];
    "a key directory that fails", books::directory => ["AgentKeysOld"];
    "events and calls of a payment provider", books::payments => ["PaymentEventsForged", "PaymentsDoNotFit", "MoneyToGiveBack", "PaymentProviderAway"];
    "a payouts-evm that is not there", books::no_payouts => ["PayoutsDown"];
    "usdc: a node of the chain that is away", usdc::node_away => ["UsdcNodeAway"];
    "usdc: a paying address without the token", usdc::short => ["UsdcShort", "UsdcDue"];
    "usdc: a nonce that another program took", usdc::nonce_taken => ["UsdcNonceTaken"];
    "usdc: a transfer that no block takes", usdc::stuck => ["UsdcStuck"];
    "a month that cannot be closed", months::stays_open => ["MonthStaysOpen"];
    "frames nobody can read, of a later version, of nobody", clicks::frames => ["FramesParked", "FramesUnknown", "ClicksOfNobody"];
    "a record of a later version", clicks::later_record => ["LinksUnreadable"];
    "more clicks than the disk budget keeps", clicks::small_budget => ["SpoolBudgetSmall"];
    "an edge with a foreign file, an old certificate and little room", clicks::odd_edge => ["SpoolForeignFiles", "CertificateExpires", "FileStale", "ConnectionsRefused", "AcceptsFail"];
    "an edge whose clock is wrong", clicks::wrong_clock => ["EdgeClockWrong"];
    "an edge that says nothing more of its clicks", clicks::silent_edge => ["ClicksOnSilentEdge"];
    "kill -9 of the edge, and a clone of its disk", clicks::killed_and_copied => ["EdgeDown", "NoEdgeUp", "SpoolShared"];
    "kill -9 of the control plane", clicks::control_killed => ["ControlPlaneDown", "NoControlPlaneUp", "PipelineUnmeasured"];
    "Redis set wrongly, full, and without connections", stores::redis_settings => ["RedisMayEvict", "RedisFull", "RedisConnectionsFew", "RedisEvicted"];
    "kill -9 of Redis for more than a minute", stores::redis_away => ["RedisDown", "EdgeWithoutRedis", "LinkStreamLost", "EdgeNotReady", "RedirectsUnavailable", "DrainFails", "PublishFails", "JobFails", "OutboxOld", "ClicksWaitAtEdge", "RedisLostLinks"];
    "a full disk below a spool", clicks::disk_full => ["SpoolDegraded", "SpoolDiskFails", "ClicksDeclaredLost", "LossStored"];
    "a lock on the tables of clicks for more than a minute", stores::locked => ["ApiErrors", "ApiSlow", "WatermarkOld", "FoldLate"];
    "Postgres: settings, connections, deadlocks, archive", stores::postgres_settings => ["PostgresUnsafe", "PostgresConnectionsFew", "PostgresDeadlocks", "PostgresArchiveFails"];
    "a transaction that stays open", stores::long_transaction => ["PostgresTransactionLong"];
    "a date that no program can hold", pressure::endless_date => ["HandlerPanicked"];
    "transactions that are stricter than they should be", pressure::strict_isolation => ["RequestsLoseRaces"];
    "a trigger that takes its time with every batch", pressure::slow_batches => ["DrainLags"];
    "streams that somebody deletes while nothing can be stored", pressure::tidied_streams => ["ShippingStalls"];
    "a million clicks while nothing can be stored", pressure::backlog => ["RedisBacklog"];
    "a day without its partition", stores::undated => ["ClicksUndated"];
    "sums that do not match, and nobody who reconciles", books::planted => ["ClicksUnaccounted", "BooksDoNotBalance", "ReconcileFindsLoss", "ReconcileStale"];
    "an authority for certificates that is away", pressure::no_authority => ["DomainCertificatesFail"];
    "domains that were not renewed, and one that lost its proof", books::domains => ["DomainCertificatesExpire", "DomainRenewalsOverdue", "DomainOwnershipLost"];
    "a database that is restored to a backup", stores::restored => ["PostgresDown", "PayoutsFrozen", "ClicksGone"];
    "more links than an edge has memory for", pressure::many_links => ["LinksMakeRoom"];
    "a master of a Redis Cluster and its replica", stores::cluster => ["StreamsAbsent"];
};

/// Before anything is caused, nothing may fire for so long.
const QUIET_FOR: Duration = Duration::from_secs(15);

/// Runs; `true` when every alert that is caused fired and ended, and no query of a dashboard is wrong.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    if args.list {
        for cause in CAUSES {
            say(&format!("{}: {}", cause.name, cause.alerts.join(", ")));
        }
        return Ok(true);
    }
    let ground = Ground::prepare(&["--monitors", "--faketime", "--peers"]).await?;
    programs::build_payouts()?;
    let directory = Answers::start(500).await?;
    let mut options = Options { proxies: true, disk: Some((DiskFor::Spool, 24)), ..Options::default() };
    options.edge.extend(
        [
            ("AOS_EDGE_SPOOL_SEGMENT_MIB", "1"),
            ("AOS_EDGE_SPOOL_MIB", "16"),
            // A spool for each.
            ("AOS_EDGE_THREADS", "4"),
        ]
        .map(|(name, value)| (name, value.to_owned())),
    );
    options.control.extend([
        ("AOS_EGRESS_ALLOW", "127.0.0.0/8".to_owned()),
        ("AOS_AGENT_DIRECTORIES", format!("http://{}", directory.addr)),
        // An authority that is not there, and no DNS that could say whose a domain is no longer.
        ("AOS_DNS_SERVER", "127.0.0.1:1".to_owned()),
        ("AOS_ACME_DIRECTORY", "https://127.0.0.1:1/directory".to_owned()),
        ("AOS_ACME_CONTACT", "ops@shop.example".to_owned()),
        ("AOS_EDGE_DOMAIN_TARGET", "edge.shop.example".to_owned()),
    ]);
    options.postgres.push("archive_mode=on".to_owned());
    let stack = Stack::start(&ground, options).await?;
    let mut scene = Scene::start(stack, directory).await?;
    let good = play(&mut scene, args).await;
    let good = scene.end(good).await?;
    let missing = untold();
    for name in &missing {
        say(&format!("WRONG  {name}: nobody says how it is caused"));
    }
    Ok(good && missing.is_empty())
}

async fn play(scene: &mut Scene, args: &Args) -> anyhow::Result<bool> {
    tokio::time::sleep(QUIET_FOR).await;
    let early = scene.watch.firing();
    let mut good = early.is_empty();
    if !good {
        say(&format!("WRONG  these fire in a system that is well: {}", early.join(", ")));
    }
    for cause in CAUSES {
        if !args.names.is_empty() && !args.names.iter().any(|name| cause.name.starts_with(name.as_str())) {
            continue;
        }
        say(&format!("{}:", cause.name));
        scene.begin(cause.name, cause.alerts);
        if let Err(error) = (cause.run)(scene).await {
            say(&format!("  failed: {error:#}"));
            good = false;
            scene.tidy()?;
        }
    }
    if args.names.is_empty() {
        for line in dashboards::ask(&scene.watch).await? {
            say(&format!("WRONG  {line}"));
            good = false;
        }
    }
    Ok(good)
}

/// Alerts of the rules that nobody causes.
fn untold() -> Vec<&'static str> {
    let told: BTreeSet<&str> = CAUSES.iter().flat_map(|cause| cause.alerts).copied().collect();
    rules::names().into_iter().filter(|name| !told.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_is_caused_and_none_twice() {
        assert_eq!(untold(), [""; 0]);
        let all: Vec<&str> = CAUSES.iter().flat_map(|cause| cause.alerts).copied().collect();
        assert_eq!(all.len(), rules::names().len(), "one is told twice, or is no alert");
    }
}
