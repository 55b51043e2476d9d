//! The loop: move events into the queue, claim what is due, send it, write down how it went.
//!
//! Results are written in batches: whatever has ended while the batch before was being written. A result
//! that cannot be written is tried again until the lease ends; then the delivery is sent again.

use super::queries::{self, Health, Turn};
use super::schedule::{self, Next, TRIES_MAX, Tried};
use super::{Ended, Finished, IN_FLIGHT_MAX, Job, LEASE_FOR, PER_AGENT, PER_ENDPOINT, Target, attempt};
use crate::app::App;
use crate::error::Result;
use crate::features::webhooks::deliveries;
use crate::features::webhooks::feed;
use crate::features::webhooks::model::{FAILING_FOR_MAX, Outcome, PausedBecause, Status};
use crate::features::webhooks::signing::{Secrets, SigningSecret};
use crate::trace::{self, FutureExt};
use chrono::{DateTime, Utc};
use shared::id::{AgentId, WebhookId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

/// How often an idle worker looks.
const IDLE_FOR: Duration = Duration::from_millis(250);
/// After an error, most likely a database that is away.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Agents that get a turn in one claim.
const TURNS_MAX: usize = 64;
/// Deliveries of one turn while more agents wait than have a turn: few, so that agents alternate.
const QUOTA: usize = 4;
/// Rows woken or taken back at once.
const SWEEP_MAX: i64 = 1000;
/// Results written in one transaction.
const RESULTS_MAX: usize = 256;
/// How long a result is held on to while it cannot be written: then its lease is over anyway.
const WRITE_FOR: Duration = Duration::from_secs(20);

/// A try that has ended. Its place in flight is free once this is dropped.
struct Landing {
    job: Job,
    ended: Ended,
    _place: OwnedSemaphorePermit,
}

/// One worker. Any number may run, in any number of processes.
pub struct Worker {
    app: App,
    places: Arc<Semaphore>,
    landings: mpsc::Sender<Landing>,
    written: Arc<Notify>,
    /// Agents up to this one have had their turn.
    cursor: AgentId,
    /// The endpoint each agent's turn ended at, of those that had more to send.
    lanes: HashMap<AgentId, WebhookId>,
    swept_at: Option<Instant>,
}

/// Delivers until the process stops; what is in flight then is finished by its own tasks.
pub async fn run(app: App) {
    let tasks = app.tasks().clone();
    let mut worker = Worker::new(app);
    while !tasks.is_stopping() {
        match worker.turn().await {
            Ok(true) => {}
            Ok(false) => tokio::select! {
                () = tasks.stopping() => {}
                () = worker.written.notified() => {}
                () = tokio::time::sleep(IDLE_FOR) => {}
            },
            Err(error) => {
                tracing::warn!(cause = ?error, "webhook deliveries wait");
                tokio::select! {
                    () = tasks.stopping() => {}
                    () = tokio::time::sleep(ERROR_PAUSE) => {}
                }
            }
        }
    }
}

impl Worker {
    /// A worker with nothing in flight.
    pub fn new(app: App) -> Self {
        let (landings, inbox) = mpsc::channel(IN_FLIGHT_MAX);
        let written = Arc::new(Notify::new());
        app.tasks().spawn(write_landings(app.clone(), inbox, written.clone()));
        Self {
            app,
            places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            landings,
            written,
            cursor: AgentId::from_uuid(Uuid::nil()),
            lanes: HashMap::new(),
            swept_at: None,
        }
    }

    /// One look at everything; whether there is more to do at once.
    pub async fn turn(&mut self) -> Result<bool> {
        let mut tx = self.app.db_worker().begin().await?;
        let moved = feed::advance(&mut tx, self.app.clock()).await?;
        tx.commit().await?;
        if self.swept_at.is_none_or(|at| at.elapsed() >= IDLE_FOR) {
            self.sweep().await?;
            self.swept_at = Some(Instant::now());
        }
        Ok(self.claim().await? || moved > 0)
    }

    /// Wakes what has waited, takes back what was lost.
    async fn sweep(&self) -> Result<()> {
        let now = self.app.clock().now();
        let mut conn = self.app.db_worker().acquire().await?;
        queries::wake(&mut conn, SWEEP_MAX, now).await?;
        let lost = queries::reclaim(&mut conn, TRIES_MAX, SWEEP_MAX, now).await?;
        metrics::counter!("cp_webhook_interrupted_total").increment(lost);
        Ok(())
    }

    /// Starts what is due, agent by agent; whether a further call could start more.
    async fn claim(&mut self) -> Result<bool> {
        let room = self.places.available_permits();
        if room == 0 {
            return Ok(false);
        }
        // Never more turns than there is room for: who is cut off would be so every time.
        let turns_max = (room / QUOTA).clamp(1, TURNS_MAX);
        let mut tx = self.app.db_worker().begin().await?;
        queries::lock_claims(&mut tx).await?;
        let waiting = queries::list_waiting_agents(&mut tx, self.cursor, turns_max as i32).await?;
        let ended_round = waiting.len() < turns_max;
        // When everybody who waits has a turn, what room there is is theirs.
        let share = if ended_round { room / waiting.len().max(1) } else { QUOTA };
        let quota = share.max(QUOTA.min(room)) as i64;
        let first = WebhookId::from_uuid(Uuid::nil());
        let turns: Vec<_> = waiting
            .iter()
            .filter(|(_, in_flight)| *in_flight < PER_AGENT)
            .map(|(agent, in_flight)| Turn {
                agent: *agent,
                behind: self.lanes.get(agent).copied().unwrap_or(first),
                quota: quota.min(PER_AGENT - in_flight) as i32,
            })
            .collect();
        let mut jobs = Vec::new();
        if !turns.is_empty() {
            let now = self.app.clock().now();
            let lease = now + LEASE_FOR;
            jobs = queries::claim(&mut tx, &turns, PER_ENDPOINT, room as i64, lease, now).await?;
        }
        tx.commit().await?;
        let last = waiting.last().filter(|_| !ended_round);
        self.cursor = last.map_or(AgentId::from_uuid(Uuid::nil()), |(agent, _)| *agent);
        let wrapped = self.move_lanes(&turns, &jobs);
        let more = !jobs.is_empty() || wrapped || !ended_round;
        for job in jobs {
            self.send(job);
        }
        Ok(more)
    }

    /// Remembers where each agent's turn ended; whether some start again from their first endpoint.
    fn move_lanes(&mut self, turns: &[Turn], jobs: &[Job]) -> bool {
        let mut wrapped = false;
        for turn in turns {
            let claimed = || jobs.iter().filter(|job| job.agent == turn.agent);
            let last = claimed().map(|job| job.endpoint).max();
            match last.filter(|_| claimed().count() as i32 == turn.quota) {
                Some(endpoint) => {
                    self.lanes.insert(turn.agent, endpoint);
                }
                None => wrapped |= self.lanes.remove(&turn.agent).is_some(),
            }
        }
        wrapped
    }

    fn send(&self, job: Job) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            // Claimed within the room there was; if it is gone after all, the lease gives the delivery back.
            return;
        };
        let (app, landings) = (self.app.clone(), self.landings.clone());
        self.app.tasks().spawn(async move {
            let ended = send_once(&app, &job).await;
            // The writer ends after the last sender, and has room for everything in flight.
            landings.send(Landing { job, ended, _place: place }).await.ok();
        });
    }
}

async fn send_once(app: &App, job: &Job) -> Ended {
    let open = |sealed: &[u8]| SigningSecret::open(&app.config().secret, job.endpoint, sealed);
    let Some(current) = open(&job.secret) else {
        let outcome = Outcome::SecretUnreadable;
        return Ended { outcome, status: None, retry_after: None, took: Duration::ZERO };
    };
    let secrets = Secrets { current, previous: job.previous_secret.as_deref().and_then(open) };
    let target = Target {
        url: &job.url,
        secrets: &secrets,
        delivery: job.delivery,
        event: job.event,
        event_type: job.event_type,
        payload: job.payload.clone().into(),
        attempt: job.attempt,
    };
    attempt(app.egress(), app.clock(), target).with_context(trace::continued(job.trace.as_deref())).await
}

/// Writes results until nobody sends any more.
async fn write_landings(app: App, mut inbox: mpsc::Receiver<Landing>, written: Arc<Notify>) {
    let mut batch = Vec::with_capacity(RESULTS_MAX);
    while inbox.recv_many(&mut batch, RESULTS_MAX).await > 0 {
        let started = Instant::now();
        while let Err(error) = write(&app, &batch).await {
            tracing::warn!(cause = ?error, "results of webhook deliveries wait");
            if started.elapsed() >= WRITE_FOR {
                break;
            }
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        batch.clear();
        written.notify_one();
    }
}

async fn write(app: &App, batch: &[Landing]) -> Result<()> {
    let now = app.clock().now();
    let nexts: Vec<_> = batch.iter().map(|landing| next(landing, now)).collect();
    let mut endpoints: Vec<_> = batch.iter().map(|landing| landing.job.endpoint).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let mut tx = app.db_worker().begin().await?;
    // Endpoints first, then deliveries: the order in which their owner's changes lock them too.
    let rows = queries::lock_health(&mut tx, &endpoints).await?;
    let mut health: BTreeMap<WebhookId, Judged> =
        rows.into_iter().map(|row| (row.id, Judged::from(row))).collect();
    for (landing, next) in batch.iter().zip(&nexts) {
        if let Some(judged) = health.get_mut(&landing.job.endpoint) {
            judged.add(&landing.ended, *next, now);
        }
    }
    let finished: Vec<_> = batch
        .iter()
        .zip(&nexts)
        .map(|(landing, next)| finished(landing, *next, health.get(&landing.job.endpoint), now))
        .collect();
    queries::finish(&mut tx, &finished, now).await?;
    let judged: Vec<_> = health.into_values().map(|judged| judged.health).collect();
    queries::update_health(&mut tx, &judged, now).await?;
    for paused in judged.iter().filter(|health| health.paused.is_some()) {
        deliveries::queries::hold(&mut tx, paused.id).await?;
    }
    tx.commit().await?;
    count(batch, &judged, now);
    Ok(())
}

fn next(landing: &Landing, now: DateTime<Utc>) -> Next {
    let mut dice = [0; 4];
    getrandom::fill(&mut dice).expect("the operating system has randomness");
    let tried = Tried {
        status: landing.ended.status,
        retry_after: landing.ended.retry_after.as_deref(),
        round: landing.job.round,
    };
    schedule::next(&tried, now, u32::from_le_bytes(dice))
}

/// An endpoint while the results of a batch are added to it.
struct Judged {
    /// Whether it gets deliveries at all.
    active: bool,
    deleted: bool,
    health: Health,
}

impl From<queries::HealthRow> for Judged {
    fn from(row: queries::HealthRow) -> Self {
        let health = Health {
            id: row.id,
            failing_since: row.failing_since,
            succeeded: false,
            failure: None,
            paused: None,
        };
        Self { active: row.status == Status::Active && !row.deleted, deleted: row.deleted, health }
    }
}

impl Judged {
    fn add(&mut self, ended: &Ended, next: Next, now: DateTime<Utc>) {
        if next == Next::Delivered {
            self.health.succeeded = true;
            self.health.failing_since = None;
            return;
        }
        let since = *self.health.failing_since.get_or_insert(now);
        self.health.failure = Some(ended.failure());
        let because = if next == Next::Gone {
            Some(PausedBecause::Gone)
        } else {
            (now - since >= FAILING_FOR_MAX).then_some(PausedBecause::Failures)
        };
        if let Some(because) = because.filter(|_| self.active) {
            self.active = false;
            self.health.paused = Some(because);
        }
    }
}

fn finished(landing: &Landing, next: Next, endpoint: Option<&Judged>, now: DateTime<Utc>) -> Finished {
    let (state, due_at) = match next {
        Next::Delivered => ("delivered", now),
        Next::GiveUp | Next::Gone => ("failed", now),
        Next::Again(at) => match endpoint {
            Some(endpoint) if endpoint.active => ("waiting", at),
            Some(endpoint) if !endpoint.deleted => ("held", at),
            _ => ("failed", now),
        },
    };
    Finished {
        delivery: landing.job.delivery,
        agent: landing.job.agent,
        attempt: landing.job.attempt,
        state,
        due_at,
        outcome: landing.ended.outcome,
        status: landing.ended.status.map(|status| status.as_u16() as i16),
        took_ms: i32::try_from(landing.ended.took.as_millis()).ok(),
    }
}

fn count(batch: &[Landing], judged: &[Health], now: DateTime<Utc>) {
    for landing in batch {
        let delivered = landing.ended.is_success();
        let outcome = if delivered { "delivered" } else { landing.ended.outcome.as_str() };
        metrics::counter!("cp_webhook_attempts_total", "outcome" => outcome).increment(1);
        if delivered && landing.job.attempt == 1 {
            let delay = (now - landing.job.queued_at).to_std().unwrap_or_default();
            metrics::histogram!("cp_webhook_delivery_delay_seconds").record(delay.as_secs_f64());
        }
    }
    for because in judged.iter().filter_map(|health| health.paused) {
        metrics::counter!("cp_webhook_paused_total", "because" => because.as_str()).increment(1);
    }
}
