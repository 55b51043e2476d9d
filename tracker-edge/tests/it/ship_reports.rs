//! What edges say of their spools, in Redis: right at every moment, last of all when they stop.

use crate::ship::{Edge, SHARDS, click};
use crate::ship_drainer::Drainer;
use crate::ship_redis::{eventually, keys, shared_url};
use redis::AsyncCommands;
use shared::keys::{Keys, SpoolReport};
use std::collections::BTreeMap;
use tempfile::TempDir;

async fn reports(url: &str, keys: &Keys) -> Vec<SpoolReport> {
    let client = redis::Client::open(url).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let mut reports = Vec::new();
    for shard in 0..SHARDS {
        let said: BTreeMap<String, String> = conn.hgetall(keys.reports(shard)).await.unwrap();
        reports.extend(said.values().map(|said| SpoolReport::parse(said).unwrap()));
    }
    reports
}

#[tokio::test]
async fn an_edge_says_what_it_has_of_every_spool() {
    let (dir, keys, url) = (TempDir::new().unwrap(), keys(), shared_url());
    let mut drainer = Drainer::new(&url, &keys, SHARDS);
    let edge = Edge::start(&dir, &url, &keys);
    let mut writer = edge.set.writer();
    let idle = edge.set.writer();
    click(&mut writer, 0..500).await;
    let said = async || reports(&url, &keys).await;
    eventually("a spool with clicks is reported, one without is not", async || {
        matches!(said().await[..], [SpoolReport { accepted: 500, shipped: 500, next_seq: 0, live: true, .. }])
    })
    .await;
    eventually("a commit is reported", async || {
        drainer.step().await;
        matches!(said().await[..], [SpoolReport { next_seq: 500, declared_loss: 0, .. }])
    })
    .await;
    click(&mut writer, 500..700).await;
    drop((writer, idle));
    // Nobody drains: the stop ends at its deadline, and says what it left.
    let flushed = edge.stop().await;
    assert_eq!(flushed.uncommitted, 200);
    let [last] = said().await[..] else { panic!("one spool") };
    assert_eq!((last.accepted, last.next_seq, last.kept_from, last.live), (700, 500, 0, false));
    // A recovered spool is reported by whoever recovers it.
    let edge = Edge::start(&dir, &url, &keys);
    eventually("the rest is committed, and said to be", async || {
        drainer.step().await;
        matches!(said().await[..], [SpoolReport { accepted: 700, next_seq: 700, live: false, .. }])
    })
    .await;
    edge.stop().await;
}
