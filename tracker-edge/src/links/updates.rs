//! Keeps the map like Redis: tails the change stream, and compares again what may have been missed.
//!
//! [`follow`] reads the stream. Entries are numbered without gaps, so a number that is not the next one,
//! a count that is ahead of an empty stream, another epoch, or a last entry that is no longer there all
//! mean that changes were missed: then every known link is compared with its key in Redis ([`compare`]),
//! while the stream is followed on. A link missing in Redis keeps what is known of it: deleted links are
//! published as gone, so a missing key only means that Redis lost it.
//!
//! [`compare`] also looks again at records whose last check is [`CHECK_AFTER_MINUTES`] old: those that a
//! click stumbled on first, and all others slowly, so that a lost message heals by itself.

use super::Links;
use super::cache::CHECK_AFTER_MINUTES;
use super::shard::SHARDS;
use crate::clicks::ship::redis::{Conn, Redis};
use crate::redis::query;
use redis::RedisResult;
use redis::streams::{StreamRangeReply, StreamReadReply};
use shared::shutdown::Shutdown;
use shared::{LinkKey, LinkRecord};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// How long a read of the stream waits for a change. Well below the connection's deadline for replies;
/// the connection is this loop's own, since nothing behind such a read gets through.
const BLOCK: Duration = Duration::from_millis(500);
/// Entries per read.
const READ_MAX: usize = 1000;
/// Pause after the first failure; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Pause between looks at a Redis that no publisher has filled yet.
const UNFILLED_PAUSE: Duration = Duration::from_millis(200);
/// After the publisher started to fill an emptied Redis, it is not asked what does not exist.
const REFILL_FOR: Duration = Duration::from_secs(30);
/// Links compared per round trip.
const COMPARE_BATCH: usize = 500;
/// Pause between the batches of the slow comparison: at most 10,000 links a second.
const COMPARE_PAUSE: Duration = Duration::from_millis(50);
/// Pause between the shards of the slow comparison, so that all have their turn in some 5 minutes.
const SHARD_PAUSE: Duration = Duration::from_millis(5 * 60_000 / SHARDS as u64);

/// A place in the change stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    /// The incarnation of Redis' content.
    pub(crate) epoch: String,
    /// Number of the last entry applied; `None` before the first.
    pub(crate) number: Option<u64>,
    /// Redis' id of that entry.
    pub(crate) entry: String,
    /// Numbers after it whose entries are known to be lost: the next one is not missed again.
    pub(crate) missing: u64,
}

impl Position {
    /// The last number that is accounted for.
    fn reached(&self) -> Option<u64> {
        self.number.map(|number| number + self.missing)
    }
}

/// How far the map has come. Read by readiness, misses and snapshots.
#[derive(Default)]
pub(crate) struct Sync {
    connected: AtomicBool,
    caught_up: AtomicBool,
    warmed: AtomicBool,
    refilling_since: Mutex<Option<Instant>>,
    position: Mutex<Option<Position>>,
    compare_asked: AtomicU64,
    compare_done: AtomicU64,
    compare_now: Notify,
    pub(crate) applied: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) compared: AtomicU64,
}

impl Sync {
    /// The stream is being followed at this moment.
    pub(crate) fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// The end of the stream was reached once.
    pub(crate) fn caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Relaxed)
    }

    /// Links came from a snapshot.
    pub(crate) fn warmed(&self, links: u64) {
        self.warmed.store(links > 0, Ordering::Relaxed);
    }

    /// There is something to serve: links from a snapshot, or all that the stream has.
    pub(crate) fn has_links(&self) -> bool {
        self.caught_up() || self.warmed.load(Ordering::Relaxed)
    }

    /// Redis can be asked what does not exist.
    pub(crate) fn settled(&self) -> bool {
        let since = *self.refilling_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.caught_up() && since.is_none_or(|since| since.elapsed() > REFILL_FOR)
    }

    /// Where the map stands in the stream.
    pub(crate) fn position(&self) -> Option<Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Comparisons of everything: asked for and done.
    pub(crate) fn comparisons(&self) -> (u64, u64) {
        (self.compare_asked.load(Ordering::Relaxed), self.compare_done.load(Ordering::Relaxed))
    }

    fn compare_everything(&self, reason: &'static str) {
        tracing::info!(reason, "link changes were missed: comparing every known link");
        self.compare_asked.fetch_add(1, Ordering::AcqRel);
        self.compare_now.notify_one();
    }

    fn set_position(&self, position: Option<Position>) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }
}

/// Follows the change stream from a position until stopped.
pub(crate) async fn follow(links: Arc<Links>, redis: Redis, start: Option<Position>, stop: Shutdown) {
    links.sync.set_position(start);
    let mut pause = RETRY_MIN;
    while !stop.is_stopping() {
        let followed = tokio::select! {
            () = stop.stopping() => return,
            followed = follow_connected(&links, &redis, &mut pause) => followed,
        };
        if links.sync.connected.swap(false, Ordering::Relaxed) {
            let error = followed.as_ref().err().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(error, "lost the change stream; known links keep working");
        }
        if followed.is_err() {
            tokio::select! {
                () = stop.stopping() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RETRY_MAX),
            }
        }
    }
}

/// One connection's life. `Ok` asks for a new start at once.
async fn follow_connected(links: &Links, redis: &Redis, pause: &mut Duration) -> RedisResult<()> {
    let mut connection = redis.conn().await?;
    let followed = follow_on(links, &mut connection, pause).await;
    if let Err(error) = &followed {
        redis.failed(&connection, error).await;
    }
    followed
}

async fn follow_on(links: &Links, connection: &mut Conn, pause: &mut Duration) -> RedisResult<()> {
    let Some(mut position) = take_up(links, connection).await? else {
        tokio::time::sleep(UNFILLED_PAUSE).await;
        return Ok(());
    };
    *pause = RETRY_MIN;
    if !links.sync.connected.swap(true, Ordering::Relaxed) {
        tracing::info!("following link changes");
    }
    loop {
        let read = read(links, connection, &position.entry).await?;
        let idle = read.is_empty();
        apply(links, &mut position, &read);
        links.sync.set_position(Some(position.clone()));
        if read.len() < READ_MAX {
            links.sync.caught_up.store(true, Ordering::Relaxed);
        }
        if idle && !still_right(links, connection, &mut position).await? {
            return Ok(());
        }
    }
}

/// Decides where to go on: at the position reached before, or at the stream's start.
/// `None` when no publisher has filled this Redis.
async fn take_up(links: &Links, connection: &mut Conn) -> RedisResult<Option<Position>> {
    let (epoch, number) = state(links, connection).await?;
    let known = links.sync.position();
    let Some(epoch) = epoch else {
        *links.sync.refilling_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        return Ok(None);
    };
    let start = Position { epoch, number: None, entry: "0-0".to_owned(), missing: 0 };
    let Some(known) = known else {
        if links.cache.size().links > 0 {
            links.sync.compare_everything("started without a position in the stream");
        }
        return Ok(Some(start));
    };
    if known.epoch != start.epoch {
        *links.sync.refilling_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        links.sync.compare_everything("Redis was emptied");
        return Ok(Some(start));
    }
    let Some(reached) = known.number else { return Ok(Some(start)) };
    if number.unwrap_or(0) < reached || number_at(links, connection, &known.entry).await? != Some(reached) {
        links.sync.compare_everything("the stream no longer has the last change seen");
        return Ok(Some(start));
    }
    Ok(Some(known))
}

/// Looks, while nothing comes, whether something should have come; `false` asks for a new start. One
/// transaction, so that a change published meanwhile is not taken for a lost one.
async fn still_right(links: &Links, connection: &mut Conn, position: &mut Position) -> RedisResult<bool> {
    let (epoch, number, next): (Option<String>, Option<u64>, StreamReadReply) = redis::pipe()
        .atomic()
        .get(links.keys.changes_epoch())
        .get(links.keys.changes_number())
        .cmd("XREAD")
        .arg(&["COUNT", "1", "STREAMS", &links.keys.changes(), &position.entry])
        .query_async(connection)
        .await?;
    if epoch.as_deref() != Some(&position.epoch) {
        return Ok(false);
    }
    let pending = next.keys.iter().any(|stream| !stream.ids.is_empty());
    let (number, reached) = (number.unwrap_or(0), position.reached().unwrap_or(0));
    if number < reached {
        // Another Redis than before: the start finds out what to do.
        return Ok(false);
    }
    if !pending && number > reached {
        links.sync.compare_everything("the stream is shorter than its count");
        position.missing += number - reached;
        position.number.get_or_insert(0);
    }
    Ok(true)
}

async fn state(links: &Links, connection: &mut Conn) -> RedisResult<(Option<String>, Option<u64>)> {
    redis::pipe()
        .get(links.keys.changes_epoch())
        .get(links.keys.changes_number())
        .query_async(connection)
        .await
}

/// One entry of the stream: id, number, record.
struct Change {
    entry: String,
    number: Option<u64>,
    record: Vec<u8>,
}

async fn read(links: &Links, connection: &mut Conn, after: &str) -> RedisResult<Vec<Change>> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(READ_MAX).arg("BLOCK").arg(BLOCK.as_millis() as u64);
    command.arg("STREAMS").arg(links.keys.changes()).arg(after);
    let reply: Option<StreamReadReply> = command.query_async(connection).await?;
    let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids);
    Ok(entries
        .map(|entry| Change {
            number: entry.get("n"),
            record: entry.get("r").unwrap_or_default(),
            entry: entry.id,
        })
        .collect())
}

async fn number_at(links: &Links, connection: &mut Conn, entry: &str) -> RedisResult<Option<u64>> {
    let range: StreamRangeReply =
        redis::cmd("XRANGE").arg(links.keys.changes()).arg(entry).arg(entry).query_async(connection).await?;
    Ok(range.ids.first().and_then(|entry| entry.get("n")))
}

fn apply(links: &Links, position: &mut Position, changes: &[Change]) {
    for change in changes {
        let expected = position.reached().map(|number| number + 1);
        if expected.is_some() && change.number != expected {
            links.sync.compare_everything("a number is missing in the stream");
        }
        match LinkRecord::decode(&change.record) {
            Ok(record) => {
                links.cache.put(&record);
                links.sync.applied.fetch_add(1, Ordering::Relaxed);
            }
            // Of a newer publisher, or damaged. The stream goes on.
            Err(error) => {
                links.sync.unreadable.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, entry = change.entry, "cannot read a link change");
            }
        }
        position.number = change.number.or(expected);
        position.missing = 0;
        position.entry.clone_from(&change.entry);
    }
}

/// Compares known links with Redis until stopped: all of them when changes were missed, the ones clicks
/// found to be old, and the rest slowly.
pub(crate) async fn compare(
    links: Arc<Links>,
    redis: Redis,
    mut checks: mpsc::Receiver<LinkKey>,
    stop: Shutdown,
) {
    let mut found_old = Vec::new();
    let mut next_shard = (0..SHARDS).cycle();
    while !stop.is_stopping() {
        let (asked, done) = links.sync.comparisons();
        if asked > done {
            for shard in 0..SHARDS {
                compare_all(&links, &redis, &links.cache.unchecked_in(shard, 0), Duration::ZERO, &stop).await;
            }
            links.sync.compare_done.store(asked, Ordering::Relaxed);
            continue;
        }
        found_old.clear();
        tokio::select! {
            () = stop.stopping() => return,
            () = links.sync.compare_now.notified() => {}
            _ = checks.recv_many(&mut found_old, COMPARE_BATCH) => {
                compare_all(&links, &redis, &found_old, Duration::ZERO, &stop).await;
            }
            () = tokio::time::sleep(SHARD_PAUSE) => {
                let shard = next_shard.next().unwrap_or(0);
                let old = links.cache.unchecked_in(shard, CHECK_AFTER_MINUTES);
                compare_all(&links, &redis, &old, COMPARE_PAUSE, &stop).await;
            }
        }
    }
}

/// Compares these links, batch by batch; a batch that fails is tried again until Redis is back.
async fn compare_all(links: &Links, redis: &Redis, keys: &[LinkKey], pause: Duration, stop: &Shutdown) {
    for batch in keys.chunks(COMPARE_BATCH) {
        while let Err(error) = compare_batch(links, redis, batch).await {
            tracing::debug!(%error, "cannot compare links now");
            tokio::select! {
                () = stop.stopping() => return,
                () = tokio::time::sleep(RETRY_MAX) => {}
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn compare_batch(links: &Links, redis: &Redis, batch: &[LinkKey]) -> RedisResult<()> {
    let mut get = redis::cmd("MGET");
    for link in batch {
        get.arg(links.keys.link(*link));
    }
    let found: Vec<Option<Vec<u8>>> = query(redis, &get).await?;
    for (link, bytes) in batch.iter().zip(found) {
        match bytes.as_deref().map(LinkRecord::decode) {
            Some(Ok(record)) if record.link == *link => {
                links.cache.put(&record);
            }
            Some(_) => {
                links.sync.unreadable.fetch_add(1, Ordering::Relaxed);
                links.cache.checked(*link);
            }
            None => links.cache.checked(*link),
        }
    }
    links.sync.compared.fetch_add(batch.len() as u64, Ordering::Relaxed);
    Ok(())
}
