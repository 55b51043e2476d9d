//! Shipping to whatever server the Sentinels call the master: it dies, and its replica takes its place.

use crate::ship::{Edge, SHARDS, click};
use crate::ship_redis::{PATIENCE, PrivateRedis, eventually, keys};
use shared::frame::{self, Fit};
use shared::keys::{Keys, Watermark, shard_of};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;
use tracker_edge::clicks::ship::Redis;
use uuid::Uuid;

/// A Sentinel that alone decides; it ends with the test.
struct Sentinel {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Sentinel {
    fn start(master: &PrivateRedis) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        let settings = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor clicks 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds clicks 500\nsentinel failover-timeout clicks 2000\n",
            master.port()
        );
        std::fs::write(&settings, text).unwrap();
        let child = Command::new("redis-server")
            .arg(&settings)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < until, "the Sentinel does not start");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self { port, child, _folder: folder }
    }

    /// What it says of the master.
    fn says(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let asked = Command::new("redis-cli").args(["-p", &port]).args(words).output();
        String::from_utf8_lossy(&asked.expect("redis-cli is installed").stdout).into_owned()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What is committed: next sequence and clicks of each spool.
type Rows = BTreeMap<Uuid, (u64, Vec<u64>)>;

/// One round of draining, over the same kind of URL.
async fn drain(redis: &Redis, keys: &Keys, rows: &mut Rows) -> redis::RedisResult<()> {
    let mut conn = redis.conn().await?;
    let drained = drain_on(&mut conn, keys, rows).await;
    if let Err(error) = &drained {
        redis.failed(&conn, error).await;
    }
    drained
}

async fn drain_on(
    conn: &mut tracker_edge::clicks::ship::redis::Conn,
    keys: &Keys,
    rows: &mut Rows,
) -> redis::RedisResult<()> {
    for shard in 0..SHARDS {
        let stream = keys.clicks(shard);
        let entries: redis::streams::StreamRangeReply =
            redis::cmd("XRANGE").arg(&stream).arg("-").arg("+").query_async(conn).await?;
        for entry in entries.ids {
            let bytes: Vec<u8> = entry.get("f").unwrap();
            let frame = frame::decode(&bytes).unwrap();
            let (next_seq, clicks) = rows.entry(frame.header.spool).or_default();
            if let Fit::New { skip, next_seq: next, .. } = frame.header.fit(frame.clicks.len(), *next_seq) {
                *next_seq = next;
                clicks.extend(frame.clicks[skip..].iter().map(|click| click.link.0 - 1));
            }
            let mark = Watermark { epoch: 1, next_seq: *next_seq }.to_string();
            let key = keys.watermark(shard_of(frame.header.spool, SHARDS), frame.header.spool);
            let _: () = redis::cmd("SET").arg(key).arg(mark).query_async(conn).await?;
            let _: u64 = redis::cmd("XDEL").arg(&stream).arg(&entry.id).query_async(conn).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_sentinels_master_takes_clicks_and_may_be_replaced() {
    let mut master = PrivateRedis::start(&["--repl-diskless-sync-delay", "0"]);
    let port = master.port().to_string();
    let replica = PrivateRedis::start(&["--replicaof", "127.0.0.1", &port]);
    let sentinel = Sentinel::start(&master);
    eventually("the Sentinel knows both", async || {
        sentinel.says(&["SENTINEL", "REPLICAS", "clicks"]).contains(&replica.port().to_string())
            && sentinel.says(&["SENTINEL", "REPLICAS", "clicks"]).contains("master-link-status\nok")
    })
    .await;
    let url = format!("redis-sentinel://127.0.0.1:{}/clicks", sentinel.port);
    let (dir, keys) = (TempDir::new().unwrap(), keys());
    let redis = Redis::open(&url).unwrap();
    let edge = Edge::start(&dir, &url, &keys);
    let mut writer = edge.set.writer();
    let mut rows = Rows::new();
    click(&mut writer, 0..1000).await;
    let committed = |rows: &Rows| rows.values().map(|row| row.1.len()).sum::<usize>();
    eventually("the first are committed", async || {
        drop(drain(&redis, &keys, &mut rows).await);
        committed(&rows) == 1000
    })
    .await;
    click(&mut writer, 1000..1500).await;
    master.kill();
    click(&mut writer, 1500..2000).await;
    eventually("the replica takes its place, and all are committed", async || {
        drop(drain(&redis, &keys, &mut rows).await);
        committed(&rows) == 2000
    })
    .await;
    assert!(
        sentinel
            .says(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "clicks"])
            .contains(&replica.port().to_string())
    );
    let mut numbers: Vec<u64> = rows.values().flat_map(|row| row.1.iter().copied()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..2000).collect::<Vec<_>>());
    drop(writer);
    edge.stop().await;
}
