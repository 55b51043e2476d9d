//! Sales reported through the balancer, each under its own `Idempotency-Key` until it is answered, and an account of
//! every answer on the way.

use crate::api::Cast;
use anyhow::Context;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const REPLY_FOR: Duration = Duration::from_secs(20);
/// Between a refusal and the next try, at most; a client may be as patient as `Retry-After` asks.
const RETRY_MAX: Duration = Duration::from_millis(500);
/// A sale that is never answered ends the run's patience.
const ANSWERED_FOR: Duration = Duration::from_mins(2);
const WORKERS: u32 = 6;
const SHOWN: usize = 10;

/// What became of the sales.
#[derive(Debug, Default)]
pub(crate) struct Sales {
    /// Numbers of those that were answered 201.
    pub(crate) acknowledged: Vec<u64>,
    /// When a call was answered 503 with `Retry-After`: nothing was done, come again.
    pub(crate) refused: Vec<Instant>,
    /// Calls that failed in any other way, however it ended.
    pub(crate) failed: u64,
    /// The first of them, with their answers.
    pub(crate) failures: Vec<String>,
    /// Never answered 201 at all.
    pub(crate) given_up: u64,
}

impl Sales {
    fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.refused.extend(other.refused);
        self.failed += other.failed;
        self.given_up += other.given_up;
        self.failures.extend(other.failures);
        self.failures.truncate(SHOWN);
    }

    /// From the first refusal to the last.
    pub(crate) fn window(&self) -> Duration {
        let (first, last) = (self.refused.iter().min(), self.refused.iter().max());
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last.duration_since(*first))
    }
}

enum Answer {
    Booked,
    Refused(Duration),
    Failed(String),
}

/// Reports sales at this rate, numbered from the first on, until told to stop.
pub(crate) async fn run(
    origin: &str,
    cast: &Cast,
    per_second: u32,
    first: u64,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Sales> {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for nth in 0..WORKERS {
        let (origin, cast, next, stop) = (origin.to_owned(), cast.clone(), next.clone(), stop.clone());
        let numbers = Numbers { first, next, per_second };
        workers.spawn(async move { work(nth, &origin, &cast, &numbers, &stop).await });
    }
    let mut sales = Sales::default();
    while let Some(worker) = workers.join_next().await {
        sales.add(worker.context("a worker panicked")??);
    }
    Ok(sales)
}

/// Which sale is next, and when it is due.
struct Numbers {
    first: u64,
    next: Arc<AtomicU64>,
    per_second: u32,
}

async fn work(
    nth: u32,
    origin: &str,
    cast: &Cast,
    numbers: &Numbers,
    stop: &AtomicBool,
) -> anyhow::Result<Sales> {
    // Half of them keep their connection.
    let kept = if nth.is_multiple_of(2) { usize::MAX } else { 0 };
    let http = reqwest::Client::builder().no_proxy().timeout(REPLY_FOR).pool_max_idle_per_host(kept);
    let http = http.build()?;
    let began = Instant::now();
    let mut sales = Sales::default();
    while !stop.load(Ordering::Relaxed) {
        let turn = numbers.next.fetch_add(1, Ordering::Relaxed);
        let due = began + Duration::from_secs(1).mul_f64(turn as f64 / f64::from(numbers.per_second));
        tokio::time::sleep_until(due.into()).await;
        let number = numbers.first + turn;
        let since = Instant::now();
        loop {
            let pause = match report(&http, origin, cast, number).await {
                Answer::Booked => {
                    sales.acknowledged.push(number);
                    break;
                }
                Answer::Refused(pause) => {
                    sales.refused.push(Instant::now());
                    pause
                }
                Answer::Failed(how) => {
                    sales.failed += 1;
                    if sales.failures.len() < SHOWN {
                        sales.failures.push(format!("{:.1} s: {how}", began.elapsed().as_secs_f64()));
                    }
                    RETRY_MAX
                }
            };
            if since.elapsed() > ANSWERED_FOR {
                sales.given_up += 1;
                break;
            }
            tokio::time::sleep(pause.min(RETRY_MAX)).await;
        }
    }
    Ok(sales)
}

async fn report(http: &reqwest::Client, origin: &str, cast: &Cast, number: u64) -> Answer {
    let sale = json!({
        "tracking_token": cast.token, "event_type": "sale", "revenue_amount": 10, "external_id": name(number),
    });
    let reply = http
        .post(format!("{origin}/api/conversions/track"))
        .bearer_auth(cast.advertiser.key().unwrap_or_default())
        .header("Idempotency-Key", name(number))
        .json(&sale)
        .send()
        .await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return Answer::Failed(format!("no reply: {error:?}")),
    };
    let status = reply.status().as_u16();
    let later = reply.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let text = match reply.text().await {
        Ok(text) => text,
        Err(error) => return Answer::Failed(format!("half a reply: {error:?}")),
    };
    match (status, later) {
        (200 | 201, _) => Answer::Booked,
        (503, Some(seconds)) => Answer::Refused(Duration::from_secs(seconds)),
        _ => Answer::Failed(format!("{status}: {text}")),
    }
}

/// What the shop calls the sale.
pub(crate) fn name(number: u64) -> String {
    format!("order-{number}")
}
