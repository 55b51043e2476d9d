//! The click streams in Redis: read in order, delete what is committed, publish watermarks.
//!
//! Plain reads from a cursor, without a consumer group: the spools' watermarks in Postgres already say
//! what is done, so a second book in Redis could only disagree with them. The cursor is nothing but a
//! saving: a new reader starts at the beginning, where only what is not committed still stands.
//! Limits: [`ENTRIES_MAX`] entries and about [`BYTES_MAX`] a read.
//!
//! **A cluster of which a master is away** fails that master's streams alone ([`absent`](super::absent)): they
//! are left out until they answer again, then read from their start and told every watermark anew. When none
//! answers, the connection is given up, as a single server's is at once.

use super::absent::Absent;
use crate::redis::{Conn, Target};
use redis::{Cmd, FromRedisValue, RedisResult, Value};
use shared::keys::{Keys, Watermark};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// Entries of one read; 40 full frames hold 20,000 clicks.
const ENTRIES_MAX: usize = 64;
/// Bytes after which a read ends: the next round trip must fit the response time-out.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Edges come back within this time or ask again from where they think they are.
const WATERMARK_FOR_SECONDS: u64 = 7 * 24 * 3600;
/// Commands of one round trip.
const CHUNK: usize = 1000;

/// Redis' name of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EntryId {
    ms: u64,
    seq: u64,
}

impl EntryId {
    /// Redis' clock when the entry was added.
    pub const fn ms(self) -> u64 {
        self.ms
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// One entry of a stream.
#[derive(Debug)]
pub struct Entry {
    /// The stream.
    pub shard: u16,
    /// Its place there.
    pub id: EntryId,
    /// The value of its field `f`; whatever else somebody put there, as one text.
    pub bytes: Vec<u8>,
}

/// What Postgres has of a spool, to be told to its edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The stream the edge looks beside.
    pub shard: u16,
    /// The spool.
    pub spool: Uuid,
    /// Every sequence below is committed.
    pub next_seq: u64,
}

/// Reader of the click streams.
pub struct Source {
    target: Target,
    keys: Keys,
    conn: Option<Conn>,
    cursors: HashMap<u16, EntryId>,
    // Entries behind the cursor that were left where they are.
    kept: HashMap<u16, BTreeSet<EntryId>>,
    absent: Absent,
}

impl Source {
    /// A reader that is not connected yet and starts at the beginning of every stream.
    pub fn new(target: Target, keys: Keys) -> Self {
        let absent = Absent::default();
        Self { target, keys, conn: None, cursors: HashMap::new(), kept: HashMap::new(), absent }
    }

    /// Connects if need be; `true` when it had to, so that nothing published before can be relied on.
    pub async fn connect(&mut self) -> RedisResult<bool> {
        if self.conn.is_some() {
            return Ok(false);
        }
        self.conn = Some(self.target.connect().await?);
        Ok(true)
    }

    /// Gives the connection up; the next one reads every stream from its start.
    pub fn disconnect(&mut self) {
        self.conn = None;
        self.absent.clear();
        self.rewind_all();
    }

    /// Sends a command for each of these streams; gives the answers of those that have one.
    async fn ask<T: FromRedisValue>(&mut self, commands: Vec<(u16, Cmd)>) -> RedisResult<Vec<(u16, T)>> {
        let (shards, commands): (Vec<u16>, Vec<Cmd>) =
            commands.into_iter().filter(|(shard, _)| !self.absent.contains(*shard)).unzip();
        let conn = self.conn()?;
        if let Conn::Server(_) = conn {
            return Ok(shards.into_iter().zip(conn.all(commands).await?).collect());
        }
        let outcomes = conn.each(commands).await;
        let mut answers = Vec::with_capacity(shards.len());
        let mut failed = None;
        for (shard, outcome) in shards.into_iter().zip(outcomes) {
            match outcome {
                Ok(answer) => answers.push((shard, answer)),
                Err(error) => {
                    self.absent.insert(shard, &error);
                    self.rewind(&[shard]);
                    failed = Some(error);
                }
            }
        }
        match failed {
            // Not one master is away but all of it, or the way there.
            Some(error) if answers.is_empty() => Err(error),
            _ => Ok(answers),
        }
    }

    /// Asks for streams that did not answer, and takes in those that do again.
    fn look_for_absent(&mut self) {
        let Some((conn, back)) = self.absent.look(&self.target, &self.keys) else { return };
        // This connection knows where they are now.
        self.conn = Some(conn);
        self.rewind(&back);
    }

    /// Streams that are back and have not been told the watermarks yet.
    pub fn returned(&self) -> &BTreeSet<u16> {
        self.absent.returned()
    }

    /// They have been told.
    pub fn announced(&mut self) {
        self.absent.announced();
    }

    fn conn(&mut self) -> RedisResult<&mut Conn> {
        self.conn
            .as_mut()
            .ok_or_else(|| redis::RedisError::from((redis::ErrorKind::Io, "not connected to Redis")))
    }

    /// Starts these streams from their beginning again.
    pub fn rewind(&mut self, shards: &[u16]) {
        for shard in shards {
            self.cursors.remove(shard);
            self.kept.remove(shard);
        }
    }

    /// Starts every stream from its beginning again.
    pub fn rewind_all(&mut self) {
        self.cursors.clear();
        self.kept.clear();
    }

    /// Remembers an entry that stays in its stream although the cursor has passed it.
    pub fn keep(&mut self, shard: u16, id: EntryId) {
        self.kept.entry(shard).or_default().insert(id);
    }

    /// How many entries were passed and stay.
    pub fn kept(&self) -> usize {
        self.kept.values().map(BTreeSet::len).sum()
    }

    /// Reads what stands after the cursors, in order within each stream, and moves them behind it.
    /// Streams that are full of entries share what one read may take.
    pub async fn read(&mut self, shards: &[u16]) -> RedisResult<Vec<Entry>> {
        self.look_for_absent();
        let mut entries = Vec::new();
        let mut active = shards.to_vec();
        let mut bytes = 0;
        while !active.is_empty() && entries.len() < ENTRIES_MAX && bytes < BYTES_MAX {
            let count = ((ENTRIES_MAX - entries.len()) / active.len()).max(1);
            let commands = active.iter().map(|shard| (*shard, self.range(*shard, count))).collect();
            let replies: Vec<(u16, Value)> = self.ask(commands).await?;
            let mut full = Vec::new();
            for (shard, reply) in replies {
                let read = parse(shard, reply);
                if let Some(last) = read.last() {
                    self.cursors.insert(shard, last.id);
                }
                if read.len() >= count {
                    full.push(shard);
                }
                bytes += read.iter().map(|entry| entry.bytes.len()).sum::<usize>();
                entries.extend(read);
            }
            active = full;
        }
        Ok(entries)
    }

    fn range(&self, shard: u16, count: usize) -> Cmd {
        let from = self.cursors.get(&shard).map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut command = redis::cmd("XRANGE");
        command.arg(self.keys.clicks(shard)).arg(from).arg("+").arg("COUNT").arg(count);
        command
    }

    /// Looks whether a stream was begun anew below its cursor (emptied Redis, clock set back), and then
    /// starts it from its beginning. Called when nothing comes.
    pub async fn check_cursors(&mut self) -> RedisResult<()> {
        let last = |shard: u16| {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(self.keys.clicks(shard)).arg("+").arg("-").arg("COUNT").arg(1);
            command
        };
        let commands = self.cursors.keys().map(|shard| (*shard, last(*shard))).collect();
        let replies: Vec<(u16, Value)> = self.ask(commands).await?;
        for (shard, reply) in replies {
            let Some(cursor) = self.cursors.get(&shard).copied() else { continue };
            let kept = |id| self.kept.get(&shard).is_some_and(|kept| kept.contains(id));
            if parse(shard, reply).last().is_none_or(|last| last.id < cursor && !kept(&last.id)) {
                self.rewind(&[shard]);
            }
        }
        Ok(())
    }

    /// Deletes entries that are committed.
    pub async fn delete(&mut self, done: &[(u16, EntryId)]) -> RedisResult<()> {
        let mut by_shard: HashMap<u16, Vec<String>> = HashMap::new();
        for (shard, id) in done {
            by_shard.entry(*shard).or_default().push(id.to_string());
            if let Some(kept) = self.kept.get_mut(shard) {
                kept.remove(id);
            }
        }
        let commands = by_shard.into_iter().map(|(shard, ids)| {
            let mut command = redis::cmd("XDEL");
            command.arg(self.keys.clicks(shard)).arg(ids);
            (shard, command)
        });
        let commands = commands.collect();
        self.ask::<u64>(commands).await.map(drop)
    }

    /// Tells edges what Postgres has.
    pub async fn publish(&mut self, epoch: u64, progress: &[Progress]) -> RedisResult<()> {
        for chunk in progress.chunks(CHUNK) {
            let commands = chunk.iter().map(|progress| {
                let value = Watermark { epoch, next_seq: progress.next_seq };
                let mut command = redis::cmd("SET");
                command
                    .arg(self.keys.watermark(progress.shard, progress.spool))
                    .arg(value.to_string())
                    .arg("EX")
                    .arg(WATERMARK_FOR_SECONDS);
                (progress.shard, command)
            });
            let commands = commands.collect();
            self.ask::<()>(commands).await?;
        }
        Ok(())
    }
}

/// Reads `[[id, [field, value, …]], …]`; what does not look like an entry is not one of ours to lose.
fn parse(shard: u16, reply: Value) -> Vec<Entry> {
    let Value::Array(items) = reply else { return Vec::new() };
    items
        .into_iter()
        .filter_map(|item| {
            let Value::Array(parts) = item else { return None };
            let mut parts = parts.into_iter();
            let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next())
            else {
                return None;
            };
            Some(Entry { shard, id: EntryId::parse(&id)?, bytes: frame_of(fields) })
        })
        .collect()
}

/// The value of the field `f`; without one, all fields and values in a row, so that nothing is lost.
fn frame_of(fields: Vec<Value>) -> Vec<u8> {
    let mut texts: Vec<Vec<u8>> = fields
        .into_iter()
        .map(|field| match field {
            Value::BulkString(bytes) => bytes,
            other => format!("{other:?}").into_bytes(),
        })
        .collect();
    match texts.chunks_exact(2).position(|pair| pair[0] == b"f") {
        Some(at) => texts.swap_remove(2 * at + 1),
        None => texts.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_redis_orders_them() {
        let id = |text: &str| EntryId::parse(text.as_bytes()).unwrap();
        assert!(id("9-5") < id("10-0") && id("10-2") < id("10-11"));
        assert_eq!(id("1795000000000-3").to_string(), "1795000000000-3");
        assert_eq!(EntryId::parse(b"nonsense"), None);
    }

    #[test]
    fn an_entry_without_a_frame_keeps_its_bytes() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(frame_of(vec![text("x"), text("1"), text("f"), text("frame")]), b"frame");
        assert_eq!(frame_of(vec![text("x"), text("1")]), b"x1");
        assert_eq!(frame_of(vec![]), b"");
    }
}
