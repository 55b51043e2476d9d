//! Streams of a cluster whose master does not answer: left out of the reads, asked for from beside.
//!
//! The question goes over a connection of its own, in a task of its own: a client that looks for a node that is
//! away makes everything wait that goes over the same connection. The connection that got an answer takes the
//! other's place, since it has seen how the cluster is laid out now.

use crate::redis::{Conn, Target};
use redis::RedisError;
use shared::keys::Keys;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Between the end of one question and the next.
const PAUSE: Duration = Duration::from_millis(250);

/// Which streams are away, and which are back.
#[derive(Default)]
pub(super) struct Absent {
    away: BTreeSet<u16>,
    returned: BTreeSet<u16>,
    /// The question under way; given up with this.
    asking: JoinSet<Option<(Conn, Vec<u16>)>>,
    ask_at: Option<Instant>,
}

impl Absent {
    /// Whether a stream is left out.
    pub(super) fn contains(&self, shard: u16) -> bool {
        self.away.contains(&shard)
    }

    /// Leaves a stream out.
    pub(super) fn insert(&mut self, shard: u16, error: &RedisError) {
        if self.away.insert(shard) {
            tracing::warn!(shard, %error, "a click stream does not answer; the others go on");
            self.gauge();
        }
    }

    /// Forgets all of it: the whole connection is new.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
        self.gauge();
    }

    fn gauge(&self) {
        metrics::gauge!("cp_drain_absent_streams").set(self.away.len() as f64);
    }

    /// Asks, when it is time; gives the streams that answered, and the connection they answered on.
    pub(super) fn look(&mut self, target: &Target, keys: &Keys) -> Option<(Conn, Vec<u16>)> {
        if let Some(asked) = self.asking.try_join_next() {
            self.ask_at = Some(Instant::now() + PAUSE);
            let (conn, back) = asked.ok().flatten()?;
            self.away.retain(|shard| !back.contains(shard));
            self.returned.extend(&back);
            self.gauge();
            tracing::info!(shards = ?back, "click streams answer again");
            return Some((conn, back));
        }
        let due = self.ask_at.is_none_or(|at| Instant::now() >= at);
        if !self.away.is_empty() && self.asking.is_empty() && due {
            let shards: Vec<_> = self.away.iter().copied().collect();
            self.asking.spawn(ask(target.clone(), keys.clone(), shards));
        }
        None
    }

    /// Streams that came back and know nothing yet.
    pub(super) fn returned(&self) -> &BTreeSet<u16> {
        &self.returned
    }

    /// They know now.
    pub(super) fn announced(&mut self) {
        self.returned.clear();
    }
}

/// Those of the streams that answer.
async fn ask(target: Target, keys: Keys, shards: Vec<u16>) -> Option<(Conn, Vec<u16>)> {
    let mut conn = target.connect().await.ok()?;
    let question = |shard: &u16| {
        let mut command = redis::cmd("XLEN");
        command.arg(keys.clicks(*shard));
        command
    };
    let answers = conn.each::<u64>(shards.iter().map(question).collect()).await;
    let back = shards.into_iter().zip(answers).filter(|(_, answer)| answer.is_ok());
    let back: Vec<_> = back.map(|(shard, _)| shard).collect();
    (!back.is_empty()).then_some((conn, back))
}
