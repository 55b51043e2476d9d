//! Links that are not in memory: one question to Redis per link at a time.
//!
//! However many requests ask for a link that is not known yet, one `GET` goes out and all wait for its
//! answer, up to a deadline. A link Redis does not have is remembered as unknown for at most 2 s. When
//! Redis does not answer, or has been emptied and not filled again, the answer is "unavailable", never
//! "unknown": a token that passed its check was handed out once.
//!
//! Limits: [`WAITING_MAX`] links asked for at a time (then "unavailable"), [`UNKNOWN_MAX`] remembered as
//! unknown (then the oldest half is forgotten), a deadline per request.

use super::Links;
use crate::clicks::ship::Redis;
use crate::redis::query;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use shared::shutdown::Shutdown;
use shared::{LinkKey, LinkRecord};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Links asked for at a time.
const WAITING_MAX: usize = 4096;
/// Links asked for in one command.
const BATCH_MAX: usize = 256;
/// Links remembered as unknown.
const UNKNOWN_MAX: usize = 65_536;
/// How long "unknown" is believed.
const UNKNOWN_FOR: Duration = Duration::from_secs(2);

/// How long a record can still be had from those who asked for it. A request that looked into memory just
/// before the answer came finds it here instead of asking again.
const ANSWERED_FOR: Duration = Duration::from_millis(20);

/// What a question to Redis came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fetched {
    /// The record's bytes; it has been offered to the map as well, where there may be no room for it.
    Record(Arc<[u8]>),
    /// Redis does not have the link.
    Unknown,
    /// Redis does not answer, or cannot know.
    Unavailable,
}

type Answer = watch::Receiver<Option<Fetched>>;

/// Questions under way and recent "unknown" answers.
pub(crate) struct Misses {
    waiting: DashMap<LinkKey, Answer>,
    unknown: DashMap<LinkKey, Instant>,
    questions: mpsc::Sender<Question>,
    deadline: Duration,
    asked: AtomicU64,
}

struct Question {
    link: LinkKey,
    answer: watch::Sender<Option<Fetched>>,
}

/// The end that asks Redis; [`Asker::run`] is given to the background thread.
pub(crate) struct Asker(mpsc::Receiver<Question>);

impl Misses {
    pub(crate) fn new(deadline: Duration) -> (Self, Asker) {
        let (questions, receiver) = mpsc::channel(WAITING_MAX);
        let (waiting, unknown) = (DashMap::new(), DashMap::new());
        (Self { waiting, unknown, questions, deadline, asked: AtomicU64::new(0) }, Asker(receiver))
    }

    /// Asks for a link, or waits with those who already do. Takes at most the deadline.
    pub(crate) async fn fetch(&self, link: LinkKey) -> Fetched {
        if self.unknown.get(&link).is_some_and(|since| since.elapsed() < UNKNOWN_FOR) {
            return Fetched::Unknown;
        }
        let Some(mut answer) = self.join(link) else { return Fetched::Unavailable };
        let answered = answer.wait_for(Option::is_some);
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(fetched)) => fetched.clone().unwrap_or(Fetched::Unavailable),
            _ => Fetched::Unavailable,
        }
    }

    /// The answer to wait for; asks if nobody has. `None` when too much is being asked already.
    fn join(&self, link: LinkKey) -> Option<Answer> {
        match self.waiting.entry(link) {
            Entry::Occupied(asked) => Some(asked.get().clone()),
            Entry::Vacant(vacant) => {
                let (sender, receiver) = watch::channel(None);
                self.questions.try_send(Question { link, answer: sender }).ok()?;
                self.asked.fetch_add(1, Ordering::Relaxed);
                vacant.insert(receiver.clone());
                Some(receiver)
            }
        }
    }

    fn remember_unknown(&self, link: LinkKey) {
        if self.unknown.len() >= UNKNOWN_MAX {
            self.unknown.retain(|_, since| since.elapsed() < UNKNOWN_FOR / 2);
        }
        if self.unknown.len() < UNKNOWN_MAX {
            self.unknown.insert(link, Instant::now());
        }
    }

    /// Links remembered as unknown, and questions ever asked.
    pub(crate) fn size(&self) -> (usize, u64) {
        (self.unknown.len(), self.asked.load(Ordering::Relaxed))
    }
}

impl Asker {
    /// Answers questions until stopped. The questions of one moment share a command.
    pub(crate) async fn run(mut self, links: Arc<Links>, redis: Redis, stop: Shutdown) {
        let mut questions = Vec::new();
        loop {
            tokio::select! {
                () = stop.stopping() => return,
                asked = self.0.recv_many(&mut questions, BATCH_MAX) => if asked == 0 { return },
            }
            // Each batch in a task of its own: a Redis that hangs delays nobody behind it.
            let batch = std::mem::take(&mut questions);
            stop.spawn(answer(Arc::clone(&links), redis.clone(), batch));
        }
    }
}

async fn answer(links: Arc<Links>, redis: Redis, batch: Vec<Question>) {
    let mut get = redis::cmd("MGET");
    for question in &batch {
        get.arg(links.keys.link(question.link));
    }
    let found: Vec<Option<Vec<u8>>> = match query(&redis, &get).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "cannot look links up now");
            vec![None; batch.len()]
        }
    };
    let unknown = if found.iter().any(Option::is_none) && can_tell_unknown(&links, &redis).await {
        Fetched::Unknown
    } else {
        Fetched::Unavailable
    };
    let mut answered = Vec::new();
    for (question, bytes) in batch.into_iter().zip(found) {
        let fetched = match bytes {
            Some(bytes) => keep(&links, question.link, bytes),
            None => unknown.clone(),
        };
        if fetched == Fetched::Unknown {
            links.misses.remember_unknown(question.link);
        }
        if matches!(fetched, Fetched::Record(_)) {
            answered.push(question.link);
        } else {
            // First nobody can join any more, then those who did are told.
            links.misses.waiting.remove(&question.link);
        }
        question.answer.send_replace(Some(fetched));
    }
    if !answered.is_empty() {
        tokio::time::sleep(ANSWERED_FOR).await;
        for link in answered {
            links.misses.waiting.remove(&link);
        }
    }
}

fn keep(links: &Links, link: LinkKey, bytes: Vec<u8>) -> Fetched {
    match LinkRecord::decode(&bytes) {
        Ok(record) if record.link == link => {
            links.cache.put(&record);
            Fetched::Record(bytes.into())
        }
        // Written by a newer publisher, or damaged: not for this build to call unknown.
        _ => Fetched::Unavailable,
    }
}

/// Only a Redis that answers, and that a publisher has filled, can say that a link does not exist.
async fn can_tell_unknown(links: &Links, redis: &Redis) -> bool {
    let mut get = redis::cmd("GET");
    get.arg(links.keys.changes_epoch());
    let epoch: redis::RedisResult<Option<String>> = query(redis, &get).await;
    epoch.is_ok_and(|epoch| epoch.is_some()) && links.sync.settled()
}
