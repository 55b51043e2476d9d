//! The edge of a bench: with a Redis that has the links, and somebody at the other end of the streams who takes
//! frames and moves watermarks on as a drainer does, without a database, so that shipping is measured and
//! nothing else competes for the cores.

use super::links::{Links, destination};
use crate::programs::Program;
use crate::stack::ground::{Lab, free_ports};
use crate::stack::servers::Redis;
use crate::stack::{SECRET, local};
use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use shared::keys::{Keys, Watermark};
use shared::{ClassSet, LinkRecord, LinkStatus, frame};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SHARDS: u16 = 4;
/// Links in one round trip.
const FILL: usize = 1000;
const TAKE_PAUSE: Duration = Duration::from_millis(5);
const FILLED_FOR: Duration = Duration::from_mins(2);
const TAKEN_FOR: Duration = Duration::from_secs(30);
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// How an edge answers plain clicks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By hyper, as it comes.
    Hyper,
    /// By itself (`AOS_EDGE_FAST_PATH`).
    Fast,
}

impl Way {
    pub(crate) const ALL: [Self; 2] = [Self::Hyper, Self::Fast];

    /// The name of its edge.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hyper => "edge",
            Self::Fast => "edge, fast path",
        }
    }
}

/// An edge that serves the links.
pub(crate) struct Edge {
    program: Program,
    /// Where redirects are.
    pub(crate) addr: SocketAddr,
    _redis: Redis,
    taken: Arc<AtomicU64>,
    taker: tokio::task::JoinHandle<()>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.taker.abort();
    }
}

impl Edge {
    /// Starts it with one worker, and waits until it has all links.
    pub(crate) async fn start(
        lab: &Lab,
        binaries: &Path,
        folder: &Path,
        links: &Links,
        way: Way,
    ) -> anyhow::Result<Self> {
        let mut redis = Redis::new(lab, folder, &[])?;
        redis.start()?;
        redis.ready().await?;
        let keys = Keys::new("");
        let mut conn = redis.connect().await?;
        publish(&mut conn, &keys, links).await?;
        let [port, admin] = free_ports()?;
        let env = [
            ("AOS_SECRET", SECRET.to_owned()),
            ("AOS_CLICK_SHARDS", SHARDS.to_string()),
            ("AOS_REDIS_URL", format!("redis://{}/", local(redis.port()))),
            ("AOS_EDGE_ADDR", local(port).to_string()),
            ("AOS_EDGE_ADMIN_ADDR", local(admin).to_string()),
            ("AOS_EDGE_SPOOL_DIR", folder.join("spool").display().to_string()),
            ("AOS_EDGE_THREADS", "1".to_owned()),
            ("AOS_EDGE_FAST_PATH", (way == Way::Fast).to_string()),
            // A save of the map now and then is no part of a redirect.
            ("AOS_EDGE_SNAPSHOT_SECONDS", "86400".to_owned()),
            ("AOS_LOG", "warn".to_owned()),
        ];
        let mut program = Program::new("tracker-edge", binaries, folder, local(admin), &env);
        program.start()?;
        program.ready().await?;
        let deadline = Instant::now() + FILLED_FOR;
        while program.metric("edge_links").await? < f64::from(links.count()) {
            ensure!(Instant::now() < deadline, "the edge did not take all links within {FILLED_FOR:?}");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let taken = Arc::new(AtomicU64::new(0));
        let taker = tokio::spawn(take(conn, keys, Arc::clone(&taken)));
        Ok(Self { program, addr: local(port), _redis: redis, taken, taker })
    }

    /// Stops it in order.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.program.stop()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.program.id().context("the edge does not run")
    }

    /// Clicks it recorded, once every one of them has come out of the streams, exactly once.
    pub(crate) async fn recorded(&self) -> anyhow::Result<u64> {
        let recorded = self.program.metric("edge_clicks_total").await? as u64;
        let deadline = Instant::now() + TAKEN_FOR;
        loop {
            let taken = self.taken.load(Ordering::Relaxed);
            if taken == recorded {
                return Ok(recorded);
            }
            ensure!(Instant::now() < deadline, "{recorded} clicks were recorded and {taken} shipped");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

/// Writes all links into Redis as the publisher does.
async fn publish(conn: &mut MultiplexedConnection, keys: &Keys, links: &Links) -> anyhow::Result<()> {
    let mut leads_to = Vec::new();
    let all: Vec<u32> = (0..links.count()).collect();
    for chunk in all.chunks(FILL) {
        let mut pipe = redis::pipe();
        for &link in chunk {
            destination(link, &mut leads_to);
            let record = LinkRecord {
                link: links.key(link),
                version: u64::from(link) + 1,
                status: LinkStatus::Active,
                advertiser: link % 1000 + 1,
                program: link % 5000 + 1,
                affiliate: link % 20_000 + 1,
                pay_classes: ClassSet::DEFAULT,
                dedup_seconds: 10,
                click_id_param: "",
                has_macros: false,
                destination: std::str::from_utf8(&leads_to)?,
            }
            .encode();
            pipe.set(keys.link(links.key(link)), &record).ignore();
            pipe.cmd("XADD")
                .arg(keys.changes())
                .arg("*")
                .arg("n")
                .arg(link + 1)
                .arg("r")
                .arg(record)
                .ignore();
        }
        pipe.query_async::<()>(conn).await.context("cannot fill Redis")?;
    }
    let mut pipe = redis::pipe();
    pipe.set(keys.changes_number(), links.count()).ignore();
    pipe.set(keys.changes_epoch(), "bench").ignore();
    pipe.query_async::<()>(conn).await.context("cannot fill Redis")
}

/// Takes frames for ever. An error ends it, and then the count of clicks is wrong at the end.
async fn take(mut conn: MultiplexedConnection, keys: Keys, taken: Arc<AtomicU64>) {
    let mut next_seqs = std::collections::HashMap::new();
    loop {
        for shard in 0..SHARDS {
            if let Err(error) = take_shard(&mut conn, &keys, shard, &mut next_seqs, &taken).await {
                crate::say(&format!("frames are not taken any more: {error:#}"));
                return;
            }
        }
        tokio::time::sleep(TAKE_PAUSE).await;
    }
}

async fn take_shard(
    conn: &mut MultiplexedConnection,
    keys: &Keys,
    shard: u16,
    next_seqs: &mut std::collections::HashMap<uuid::Uuid, u64>,
    taken: &AtomicU64,
) -> anyhow::Result<()> {
    let stream = keys.clicks(shard);
    let mut read = redis::cmd("XRANGE");
    read.arg(&stream).arg("-").arg("+").arg("COUNT").arg(64);
    let frames: StreamRangeReply = read.query_async(conn).await?;
    if frames.ids.is_empty() {
        return Ok(());
    }
    let mut pipe = redis::pipe();
    for entry in &frames.ids {
        let bytes: Vec<u8> = entry.get("f").context("an entry without a frame")?;
        let peek = frame::peek(&bytes).filter(|peek| peek.intact).context("a frame that is damaged")?;
        let next = next_seqs.entry(peek.header.spool).or_insert(0);
        if let frame::Fit::New { lost, skip, next_seq } = peek.header.fit(peek.clicks as usize, *next) {
            ensure!(lost == 0, "{lost} clicks were declared lost");
            *next = next_seq;
            taken.fetch_add(u64::from(peek.clicks) - skip as u64, Ordering::Relaxed);
        }
        let mark = Watermark { epoch: 1, next_seq: *next };
        pipe.set(keys.watermark(shard, peek.header.spool), mark.to_string()).ignore();
        pipe.cmd("XDEL").arg(&stream).arg(&entry.id).ignore();
    }
    pipe.query_async::<()>(conn).await?;
    Ok(())
}
