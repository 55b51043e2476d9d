//! An edge's side of the streams: cuts frames, ships them, looks at watermarks.

use super::TestApp;
use redis::AsyncCommands;
use shared::click::{Click, ClickClass};
use shared::frame::{self, FrameHeader};
use shared::keys::{Watermark, shard_of};
use shared::token::LinkKey;
use sqlx::types::Uuid;

/// A spool and what belongs to it.
pub(crate) struct TestSpool {
    pub(crate) app: control_plane::App,
    pub(crate) id: Uuid,
    pub(crate) shard: u16,
    /// Account number the clicks are for.
    pub(crate) advertiser: u32,
    /// Link the clicks are on.
    pub(crate) link: LinkKey,
}

/// Shards of the tests' streams.
pub(crate) const SHARDS: &[u16] = &[0, 1];

impl TestApp {
    /// A fresh spool whose clicks are for this account number.
    pub(crate) fn spool(&self, advertiser: u32) -> TestSpool {
        let id = Uuid::from_u128(u128::from(rand()) << 64 | u128::from(rand()));
        TestSpool {
            app: self.app.clone(),
            id,
            shard: shard_of(id, self.app.config().click_shards),
            advertiser,
            link: LinkKey::generate(),
        }
    }

    /// Entries in all streams.
    pub(crate) async fn entries(&self) -> usize {
        let mut redis = self.app.redis().get().await.unwrap();
        let mut all = 0;
        for shard in SHARDS {
            all += redis.xlen::<_, usize>(self.app.keys().clicks(*shard)).await.unwrap();
        }
        all
    }

    /// Removes every stream and watermark, as FLUSHALL would.
    pub(crate) async fn flush_redis(&self) {
        let mut redis = self.app.redis().get().await.unwrap();
        let pattern = format!("{}*", self.app.config().redis_prefix);
        let keys: Vec<String> = redis.keys(pattern).await.unwrap();
        if !keys.is_empty() {
            redis.del::<_, ()>(keys).await.unwrap();
        }
    }

    /// Checks the drainer's sums: every spool's and all rows', and that no click is there twice.
    pub(crate) async fn drained(&self, clicks: i64) {
        let sums: (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM clicks),
                    (SELECT count(DISTINCT (spool_tag, seq)) FROM clicks),
                    (SELECT coalesce(sum(stored), 0)::BIGINT FROM spools),
                    (SELECT coalesce(sum(clicks), 0)::BIGINT FROM link_hours)
                    + (SELECT coalesce(sum(waiting), 0)::BIGINT FROM click_deltas, unnest(counts) AS waiting)",
        )
        .fetch_one(self.app.db_worker())
        .await
        .unwrap();
        assert_eq!(sums, (clicks, clicks, clicks, clicks), "rows, distinct, stored, counted");
        let off = self
            .count("SELECT count(*) FROM spools WHERE watermark <> stored + parked + declared_loss")
            .await;
        assert_eq!(off, 0, "watermark = stored + parked + declared loss");
    }

    /// A number the database computes.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.app.db_worker()).await.unwrap()
    }
}

fn rand() -> u64 {
    LinkKey::generate().0
}

impl TestSpool {
    /// The header of a frame.
    pub(crate) fn header(&self, first_seq: u64, lost_before: u64) -> FrameHeader {
        let clock_ms = self.app.clock().now_ms();
        FrameHeader { spool: self.id, edge: 7, first_seq, clock_ms, lost_before, last: false }
    }

    /// The click with this sequence: always the same one.
    pub(crate) fn click(&self, seq: u64) -> Click<'static> {
        Click {
            at_ms: self.app.clock().now_ms() - 1000 + (seq % 1000) as i64,
            link: self.link,
            advertiser: self.advertiser,
            visitor: seq,
            class: ClickClass::Human,
            flags: 1,
            country: *b"DE",
            notes: &[],
        }
    }

    /// A frame with these clicks.
    pub(crate) fn frame(&self, first_seq: u64, clicks: u64) -> Vec<u8> {
        self.frame_after_loss(first_seq, 0, clicks)
    }

    /// The same, with sequences lost directly before.
    pub(crate) fn frame_after_loss(&self, first_seq: u64, lost_before: u64, clicks: u64) -> Vec<u8> {
        let clicks: Vec<_> = (first_seq..first_seq + clicks).map(|seq| self.click(seq)).collect();
        self.frame_of(self.header(first_seq, lost_before), &clicks)
    }

    /// A frame of any content.
    pub(crate) fn frame_of(&self, header: FrameHeader, clicks: &[Click<'_>]) -> Vec<u8> {
        assert_eq!(header.spool, self.id);
        let mut bytes = Vec::new();
        frame::encode(&header, clicks, &mut bytes);
        bytes
    }

    /// `count` frames of `clicks` clicks each, from the first sequence on.
    pub(crate) fn frames(&self, count: u64, clicks: u64) -> Vec<Vec<u8>> {
        (0..count).map(|number| self.frame(number * clicks, clicks)).collect()
    }

    /// Ships what the published watermark does not cover, in order, as an edge does that has stalled.
    /// `false` when nothing is missing.
    pub(crate) async fn ship_missing(&self, frames: &[Vec<u8>]) -> bool {
        let next_seq = self.next_seq().await.unwrap_or(0);
        let end = |frame: &[u8]| {
            let peek = frame::peek(frame).unwrap();
            peek.header.first_seq + u64::from(peek.clicks)
        };
        let mut shipped = false;
        for frame in frames.iter().filter(|frame| end(frame) > next_seq) {
            self.ship(frame).await;
            shipped = true;
        }
        shipped
    }

    /// Puts a frame into its stream.
    pub(crate) async fn ship(&self, frame: &[u8]) -> String {
        let mut redis = self.app.redis().get().await.unwrap();
        redis.xadd(self.app.keys().clicks(self.shard), "*", &[("f", frame)]).await.unwrap()
    }

    /// What Redis says of it.
    pub(crate) async fn watermark(&self) -> Option<Watermark> {
        let mut redis = self.app.redis().get().await.unwrap();
        let text: Option<String> = redis.get(self.app.keys().watermark(self.shard, self.id)).await.unwrap();
        text.map(|text| Watermark::parse(&text).unwrap())
    }

    /// The next sequence Redis says is missing.
    pub(crate) async fn next_seq(&self) -> Option<u64> {
        self.watermark().await.map(|watermark| watermark.next_seq)
    }

    /// Writes another watermark, as an older database or a broken Redis might have left it.
    pub(crate) async fn set_watermark(&self, text: &str) {
        let mut redis = self.app.redis().get().await.unwrap();
        let key = self.app.keys().watermark(self.shard, self.id);
        redis::cmd("SET").arg(key).arg(text).query_async::<()>(&mut redis).await.unwrap();
    }
}
