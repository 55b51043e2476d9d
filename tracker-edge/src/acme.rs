//! Answers to ACME servers that check a custom domain (HTTP-01, RFC 8555 section 8.3).
//!
//! The control plane writes what to answer into Redis before it asks the ACME server to look. Only paths of
//! that form come here, and at most [`LOOKUPS_MAX`] look-ups are under way, each for a second at most; beyond
//! that it is 503, and the ACME server comes again.

use crate::clicks::ship::Redis;
use crate::redis::query;
use shared::keys::{Keys, is_acme_token};
use shared::shutdown::Shutdown;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

const PATH: &str = "/.well-known/acme-challenge/";
const LOOKUPS_MAX: usize = 16;
const DEADLINE: Duration = Duration::from_secs(1);
/// A token, a dot and a thumbprint have 172 characters at most.
const ANSWER_LEN_MAX: usize = 512;

/// What came of a look-up.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The key authorization.
    Found(String),
    Unknown,
    Unavailable,
}

/// The workers' end.
pub(crate) struct Challenges {
    asked: mpsc::Sender<Question>,
    places: Semaphore,
}

struct Question {
    token: String,
    answer: oneshot::Sender<Answer>,
}

/// The end that asks Redis, on the background thread.
pub(crate) struct Asker(mpsc::Receiver<Question>);

/// The token a path asks for.
pub(crate) fn token(path: &str) -> Option<&str> {
    path.strip_prefix(PATH).filter(|token| is_acme_token(token))
}

impl Challenges {
    pub(crate) fn new() -> (Self, Asker) {
        let (asked, questions) = mpsc::channel(LOOKUPS_MAX);
        (Self { asked, places: Semaphore::new(LOOKUPS_MAX) }, Asker(questions))
    }

    pub(crate) async fn find(&self, token: String) -> Answer {
        let Ok(_place) = self.places.try_acquire() else { return Answer::Unavailable };
        let (answer, answered) = oneshot::channel();
        if self.asked.try_send(Question { token, answer }).is_err() {
            return Answer::Unavailable;
        }
        match tokio::time::timeout(DEADLINE, answered).await {
            Ok(Ok(answer)) => answer,
            _ => Answer::Unavailable,
        }
    }
}

impl Asker {
    /// Answers until stopped. One question at a time: the connection carries one at a time anyway.
    pub(crate) async fn run(mut self, redis: Redis, keys: Keys, stop: Shutdown) {
        loop {
            let question = tokio::select! {
                () = stop.stopping() => return,
                question = self.0.recv() => question,
            };
            let Some(Question { token, answer }) = question else { return };
            // Whoever asked has given up.
            if answer.is_closed() {
                continue;
            }
            let found = query::<Option<String>>(&redis, &redis::Cmd::get(keys.acme_challenge(&token))).await;
            drop(answer.send(match found {
                Ok(Some(text)) if text.len() <= ANSWER_LEN_MAX => Answer::Found(text),
                Ok(_) => Answer::Unknown,
                Err(_) => Answer::Unavailable,
            }));
        }
    }
}
