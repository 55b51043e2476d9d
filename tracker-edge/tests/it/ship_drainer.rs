//! What the control plane's drainer promises to shipping, in memory: a stand-in for Postgres that follows
//! [`shared::frame::FrameHeader::fit`] and publishes watermarks.

use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use shared::frame::{self, Fit};
use shared::keys::{Keys, Watermark};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is committed of a spool.
#[derive(Clone, Default, Debug)]
pub(crate) struct Row {
    pub(crate) next_seq: u64,
    pub(crate) lost: u64,
    /// Numbers of the clicks, in the order of their sequences.
    pub(crate) clicks: Vec<u64>,
    pub(crate) last: bool,
}

/// Streams in, rows out.
pub(crate) struct Drainer {
    conn: Option<MultiplexedConnection>,
    url: String,
    keys: Keys,
    shards: u16,
    pub(crate) epoch: u64,
    pub(crate) rows: BTreeMap<Uuid, Row>,
    /// Frames by what became of them.
    pub(crate) known: u64,
    pub(crate) gaps: u64,
}

impl Drainer {
    pub(crate) fn new(url: &str, keys: &Keys, shards: u16) -> Self {
        Self {
            conn: None,
            url: url.to_owned(),
            keys: keys.clone(),
            shards,
            epoch: 1,
            rows: BTreeMap::new(),
            known: 0,
            gaps: 0,
        }
    }

    /// All numbers committed, of every spool.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.rows.values().flat_map(|row| row.clicks.iter().copied()).collect();
        numbers.sort_unstable();
        numbers
    }

    pub(crate) fn lost(&self) -> u64 {
        self.rows.values().map(|row| row.lost).sum()
    }

    /// Drains what is there; a Redis that is away is tried again at the next step.
    pub(crate) async fn step(&mut self) {
        if self.try_step().await.is_err() {
            self.conn = None;
        }
    }

    async fn try_step(&mut self) -> redis::RedisResult<()> {
        if self.conn.is_none() {
            let client = redis::Client::open(self.url.as_str())?;
            self.conn = Some(client.get_multiplexed_async_connection().await?);
            let all: Vec<Uuid> = self.rows.keys().copied().collect();
            for spool in all {
                self.publish(spool).await?;
            }
        }
        let mut conn = self.conn.clone().expect("just connected");
        for shard in 0..self.shards {
            let stream = self.keys.clicks(shard);
            let entries: StreamRangeReply =
                redis::cmd("XRANGE").arg(&stream).arg("-").arg("+").query_async(&mut conn).await?;
            for entry in entries.ids {
                let bytes: Vec<u8> = entry.get("f").expect("an entry is a frame");
                let spool = self.commit(&bytes);
                let _: u64 = redis::cmd("XDEL").arg(&stream).arg(&entry.id).query_async(&mut conn).await?;
                self.publish(spool).await?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, bytes: &[u8]) -> Uuid {
        let frame = frame::decode(bytes).expect("what is shipped is sound");
        let row = self.rows.entry(frame.header.spool).or_default();
        row.last |= frame.header.last;
        match frame.header.fit(frame.clicks.len(), row.next_seq) {
            Fit::Known => self.known += 1,
            Fit::Gap => self.gaps += 1,
            Fit::New { lost, skip, next_seq } => {
                row.lost += lost;
                row.next_seq = next_seq;
                row.clicks.extend(frame.clicks[skip..].iter().map(|click| click.link.0 - 1));
            }
        }
        frame.header.spool
    }

    async fn publish(&mut self, spool: Uuid) -> redis::RedisResult<()> {
        let next_seq = self.rows.get(&spool).map_or(0, |row| row.next_seq);
        let shard = shared::keys::shard_of(spool, self.shards);
        let mark = Watermark { epoch: self.epoch, next_seq }.to_string();
        let mut conn = self.conn.clone().expect("connected before");
        redis::cmd("SET").arg(self.keys.watermark(shard, spool)).arg(mark).exec_async(&mut conn).await
    }
}
