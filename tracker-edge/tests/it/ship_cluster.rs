//! Shipping into a Redis Cluster: the streams lie on three masters, and one of them dies and comes back.

use crate::ship::{Edge, SHARDS, click};
use crate::ship_redis::{PATIENCE, PrivateRedis, eventually, keys};
use shared::frame::{self, Fit};
use shared::keys::{Watermark, shard_of};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;
use tracker_edge::clicks::ship::{Redis, check_eviction};
use uuid::Uuid;

/// Three masters that share the slots.
fn start_cluster() -> Vec<PrivateRedis> {
    let args = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "2000",
        "--cluster-require-full-coverage",
        "no",
    ];
    let nodes: Vec<_> = (0..3).map(|_| PrivateRedis::start(&args)).collect();
    let hosts = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port()));
    let created = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(hosts)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .output()
        .expect("redis-cli is installed");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
    let until = Instant::now() + PATIENCE;
    for node in &nodes {
        let up = || {
            let port = node.port().to_string();
            let info = Command::new("redis-cli").args(["-p", &port, "CLUSTER", "INFO"]).output().unwrap();
            String::from_utf8_lossy(&info.stdout).contains("cluster_state:ok")
        };
        while !up() {
            assert!(Instant::now() < until, "the cluster does not come up");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    nodes
}

/// What is committed: next sequence and clicks of each spool.
type Rows = BTreeMap<Uuid, (u64, Vec<u64>)>;

/// One round of draining every stream, wherever it lies.
async fn drain(redis: &Redis, keys: &shared::keys::Keys, rows: &mut Rows) -> redis::RedisResult<()> {
    let mut conn = redis.conn().await?;
    for shard in 0..SHARDS {
        let stream = keys.clicks(shard);
        let range = redis::cmd("XRANGE").arg(&stream).arg("-").arg("+").query_async(&mut conn).await;
        let entries: redis::streams::StreamRangeReply = match range {
            Ok(entries) => entries,
            // The node of this stream is away.
            Err(_) => continue,
        };
        for entry in entries.ids {
            let bytes: Vec<u8> = entry.get("f").unwrap();
            let frame = frame::decode(&bytes).unwrap();
            let (next_seq, clicks) = rows.entry(frame.header.spool).or_default();
            if let Fit::New { lost, skip, next_seq: next } = frame.header.fit(frame.clicks.len(), *next_seq) {
                assert_eq!(lost, 0);
                *next_seq = next;
                clicks.extend(frame.clicks[skip..].iter().map(|click| click.link.0 - 1));
            }
            let mark = Watermark { epoch: 1, next_seq: *next_seq }.to_string();
            let key = keys.watermark(shard_of(frame.header.spool, SHARDS), frame.header.spool);
            let _: () = redis::cmd("SET").arg(key).arg(mark).query_async(&mut conn).await?;
            let _: u64 = redis::cmd("XDEL").arg(&stream).arg(&entry.id).query_async(&mut conn).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_takes_clicks_and_a_master_may_die() {
    let mut nodes = start_cluster();
    let hosts: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let url = format!("redis-cluster://{}", hosts.join(","));
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = Redis::open(&url).unwrap();
    check_eviction(&redis).await.unwrap();
    let edge = Edge::start(&dir, &url, &keys);
    // Enough spools to lie on every node.
    let mut writers: Vec<_> = (0..8).map(|_| edge.set.writer()).collect();
    let mut rows = Rows::new();
    let mut from = 0;
    for round in 0..3 {
        for writer in &mut writers {
            click(writer, from..from + 300).await;
            from += 300;
        }
        if round == 1 {
            // Without a replica its data is gone; the spools still have it.
            nodes[1].kill();
            for writer in &mut writers {
                click(writer, from..from + 100).await;
                from += 100;
            }
            nodes[1].start_again();
        }
        eventually("every click is committed", async || {
            // A node that is away is drained at another look.
            drop(drain(&redis, &keys, &mut rows).await);
            rows.values().map(|row| row.1.len() as u64).sum::<u64>() == from
        })
        .await;
    }
    let mut numbers: Vec<u64> = rows.values().flat_map(|row| row.1.iter().copied()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..from).collect::<Vec<_>>());
    drop(writers);
    eventually("all ends are told", async || {
        drop(drain(&redis, &keys, &mut rows).await);
        edge.set
            .report()
            .iter()
            .all(|report| report.watermark.is_some_and(|mark| mark.next_seq == report.accepted))
    })
    .await;
    edge.stop().await;
}
