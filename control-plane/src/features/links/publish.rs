//! The publisher: tells the edges, through Redis, what links are now.
//!
//! Every change of a link, program or partnership leaves a row in `link_outbox` in its own transaction. A turn
//! takes a lock in Postgres, reads the state of the links concerned with a growing version, writes their keys
//! and the change stream in Redis, and then deletes the rows. One transaction: whoever reads later draws the
//! higher version, and a key is only replaced by a higher one, so a publisher that was frozen in the middle
//! cannot bring an old state back. A row is gone only when what it announced is in Redis.
//!
//! An emptied Redis has no epoch. Then every record is written again, page by page, while changes go on being
//! published, and the epoch is set at the end: where it stands, everything stands. Deleted links are published
//! as gone for ever. Postgres remembers that an epoch has stood once, so that a Redis that is new is not told of as
//! one that lost its links. What Redis loses without being emptied is found by going over all links ([`sweep`]).
//! Limits: [`LINKS_MAX`] links and [`OUTBOX_MAX`] changes a turn.

mod queries;
mod record;
mod sweep;

use crate::app::App;
use crate::features::link_outbox;
use crate::redis::{Conn, Target};
use crate::trace;
use crate::workers::backoff::Backoff;
use crate::workers::jobs::Turn;
use queries::OutboxRow;
use redis::RedisError;
use secrecy::ExposeSecret;
use sqlx::postgres::PgListener;
use sqlx::{Acquire, PgConnection};
use std::time::Duration;
use sweep::Sweep;

/// Links of one turn: what fits into Redis' response time-out many times over.
const LINKS_MAX: i64 = 1000;
/// Outbox rows of one turn.
const OUTBOX_MAX: i64 = 500;
/// Entries the change stream keeps: an edge away for longer compares everything it knows.
const CHANGES_MAX: u32 = 100_000;
/// How often it looks without being woken.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const FAILED_MIN: Duration = Duration::from_millis(50);
const FAILED_MAX: Duration = Duration::from_secs(1);
/// A refill that says nothing for so long was abandoned; another publisher starts anew.
const REFILL_FOR_SECONDS: u32 = 10;

/// Sets a record unless the key holds one as high. Versions are bytes 8 to 16, compared as two numbers:
/// Lua would compare texts by the server's locale.
const SET_IF_NEWER: &str = "local old = redis.call('GETRANGE', KEYS[1], 8, 15)
if #old == 8 then
  local oh, ol = struct.unpack('>I4I4', old)
  local nh, nl = struct.unpack('>I4I4', ARGV[1], 9)
  if oh > nh or (oh == nh and ol >= nl) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1";

/// Appends records to the change stream, numbered without gaps.
const APPEND: &str = "for i = 2, #ARGV do
  local n = redis.call('INCR', KEYS[2])
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'n', n, 'r', ARGV[i])
end
return #ARGV - 1";

/// Goes on with a refill that is still ours.
const REFILL_RENEW: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1";

/// Ends a refill that is still ours: now everything is there.
const REFILL_END: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'NX')
redis.call('DEL', KEYS[1])
return 1";

/// Why a turn failed. Nothing is lost: its rows are still in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Redis did not answer, or refused.
    #[error("redis failed: {0}")]
    Redis(#[from] RedisError),
    /// Postgres did not answer, or refused.
    #[error("postgres failed: {0}")]
    Postgres(#[from] sqlx::Error),
}

/// Writing everything again.
struct Refill {
    token: String,
    after: Option<i64>,
}

/// Publishes links, a turn at a time.
pub struct Publisher {
    app: App,
    target: Target,
    conn: Option<Conn>,
    refill: Option<Refill>,
    // An outbox row with more links than a turn takes: its id, and the last key published.
    unfinished: Option<(i64, i64)>,
    sweep: Sweep,
    // Postgres knows that Redis has had every link.
    remembered: bool,
}

impl Publisher {
    /// A publisher that is not connected yet.
    pub fn new(app: &App) -> anyhow::Result<Self> {
        Ok(Self {
            target: Target::parse(app.config().redis_url.expose_secret())?,
            app: app.clone(),
            conn: None,
            refill: None,
            unfinished: None,
            sweep: Sweep::default(),
            remembered: false,
        })
    }

    /// One turn: some changes, and a page of a refill when Redis was emptied.
    pub async fn turn(&mut self) -> Result<Turn, PublishError> {
        let outcome = self.publish().await;
        if matches!(outcome, Err(PublishError::Redis(_))) {
            self.conn = None;
        }
        outcome
    }

    async fn publish(&mut self) -> Result<Turn, PublishError> {
        let mut conn = match &self.conn {
            Some(conn) => conn.clone(),
            None => {
                // Another server may answer now, with less than the one before.
                self.sweep = Sweep::default();
                self.target.connect().await?
            }
        };
        self.conn = Some(conn.clone());
        let mut db = self.app.db_worker().acquire().await?;
        let mut tx = db.begin().await?;
        if !queries::try_lock(&mut tx).await? {
            return Ok(Turn::Idle);
        }
        let epoch: Option<String> =
            redis::cmd("GET").arg(self.app.keys().changes_epoch()).query_async(&mut conn).await?;
        let changes = self.publish_changes(&mut tx, &mut conn).await?;
        let mut page = Turn::Idle;
        if epoch.is_none() {
            page = self.refill_page(&mut tx, &mut conn).await?;
        } else {
            if !self.remembered {
                queries::remember_filled(&mut tx, self.app.clock().now()).await?;
            }
            if changes == Turn::Idle {
                self.sweep_page(&mut tx, &mut conn).await?;
            }
        }
        tx.commit().await?;
        self.remembered |= epoch.is_some();
        Ok(if changes == Turn::Again { changes } else { page })
    }

    /// Publishes what the outbox announces.
    async fn publish_changes(
        &mut self,
        tx: &mut PgConnection,
        conn: &mut Conn,
    ) -> Result<Turn, PublishError> {
        let since = trace::now();
        let rows = queries::list_outbox(tx, OUTBOX_MAX).await?;
        let Some(oldest) = rows.iter().map(|row| row.created_at).min() else {
            return Ok(Turn::Idle);
        };
        let waited = (self.app.clock().now() - oldest).as_seconds_f64().max(0.0);
        metrics::histogram!("cp_publish_lag_seconds").record(waited);
        // Each of the one kind is a link, all of them in one query; each of the other may be thousands.
        let (single, wide): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.subject == link_outbox::LINK);
        let ids: Vec<_> = single.iter().map(|row| row.subject_id).collect();
        let mut keys = queries::find_keys(tx, &ids).await?;
        let mut done: Vec<_> = single.iter().map(|row| row.id).collect();
        let mut unfinished = None;
        for row in wide {
            let page = self.keys_of(tx, row).await?;
            let last = page.last().copied();
            let whole = (page.len() as i64) < LINKS_MAX;
            keys.extend(page);
            match last {
                Some(last) if !whole => unfinished = Some((row.id, last)),
                _ => done.push(row.id),
            }
            if keys.len() as i64 >= LINKS_MAX {
                break;
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let records = load_records(tx, &keys).await?;
        let newer = self.write_keys(conn, SET_IF_NEWER, &records).await?;
        self.append_changes(conn, &newer).await?;
        queries::delete_outbox(tx, &done).await?;
        let counts =
            [("affiliateos.changes", done.len() as u64), ("affiliateos.links", records.len() as u64)];
        trace::batch("publish links", since, &counts, rows.iter().map(|row| row.trace_context.as_deref()));
        self.unfinished = unfinished;
        let all = done.len() == rows.len() && (rows.len() as i64) < OUTBOX_MAX;
        Ok(if all { Turn::Idle } else { Turn::Again })
    }

    /// Keys of the links a change concerns, at most [`LINKS_MAX`], from where the last turn ended.
    async fn keys_of(&self, tx: &mut PgConnection, row: &OutboxRow) -> Result<Vec<i64>, PublishError> {
        let after = self.unfinished.filter(|(id, _)| *id == row.id).map(|(_, key)| key);
        Ok(queries::list_keys(tx, Some((&row.subject, row.subject_id)), after, LINKS_MAX).await?)
    }

    /// Writes the next page of everything; sets the epoch after the last.
    async fn refill_page(&mut self, tx: &mut PgConnection, conn: &mut Conn) -> Result<Turn, PublishError> {
        let marker = self.app.keys().changes_refill();
        let Some(refill) = &self.refill else { return self.begin_refill(tx, conn, &marker).await };
        let renewed: bool = redis::cmd("EVAL")
            .arg(&[REFILL_RENEW, "1", &marker, &refill.token])
            .arg(REFILL_FOR_SECONDS)
            .query_async(conn)
            .await?;
        if !renewed {
            // Redis was emptied once more, or somebody took over.
            self.refill = None;
            return Ok(Turn::Again);
        }
        let keys = queries::list_keys(tx, None, refill.after, LINKS_MAX).await?;
        let records = load_records(tx, &keys).await?;
        self.write_keys(conn, SET_IF_NEWER, &records).await?;
        let Some(refill) = &mut self.refill else { return Ok(Turn::Again) };
        refill.after = keys.last().copied();
        if keys.len() as i64 == LINKS_MAX {
            return Ok(Turn::Again);
        }
        let epoch = self.app.keys().changes_epoch();
        let ended: bool = redis::cmd("EVAL")
            .arg(&[REFILL_END, "2", &marker, &epoch, &refill.token])
            .query_async(conn)
            .await?;
        self.refill = None;
        if ended {
            tracing::info!("every link is in Redis");
        }
        Ok(if ended { Turn::Idle } else { Turn::Again })
    }

    async fn begin_refill(
        &mut self,
        tx: &mut PgConnection,
        conn: &mut Conn,
        marker: &str,
    ) -> Result<Turn, PublishError> {
        let token = shared::id::EventId::generate().uuid().simple().to_string();
        let begun: Option<String> = redis::cmd("SET")
            .arg(&[marker, &token, "NX", "EX"])
            .arg(REFILL_FOR_SECONDS)
            .query_async(conn)
            .await?;
        if begun.is_none() {
            return Ok(Turn::Idle);
        }
        if queries::was_filled(tx).await? {
            tracing::warn!("Redis has lost all links; publishing them again");
            metrics::counter!("cp_publish_refills_total").increment(1);
        } else {
            tracing::info!("Redis is new; publishing all links");
        }
        self.refill = Some(Refill { token, after: None });
        Ok(Turn::Again)
    }

    /// Sets the links' keys by this script; gives the records it has written.
    async fn write_keys<'a>(
        &self,
        conn: &mut Conn,
        script: &str,
        records: &'a [(i64, Vec<u8>)],
    ) -> Result<Vec<&'a [u8]>, PublishError> {
        let commands = records.iter().map(|(key, record)| {
            let mut command = redis::cmd("EVAL");
            command
                .arg(script)
                .arg(1)
                .arg(self.app.keys().link(shared::LinkKey::from_i64(*key)))
                .arg(record.as_slice());
            command
        });
        let commands = commands.collect();
        let set: Vec<bool> = conn.all(commands).await?;
        metrics::counter!("cp_publish_records_total").increment(set.len() as u64);
        Ok(records
            .iter()
            .zip(set)
            .filter(|(_, set)| *set)
            .map(|((_, record), _)| record.as_slice())
            .collect())
    }

    async fn append_changes(&self, conn: &mut Conn, records: &[&[u8]]) -> Result<(), PublishError> {
        if records.is_empty() {
            return Ok(());
        }
        let keys = self.app.keys();
        let mut command = redis::cmd("EVAL");
        command
            .arg(APPEND)
            .arg(2)
            .arg(keys.changes())
            .arg(keys.changes_number())
            .arg(CHANGES_MAX)
            .arg(records);
        let _appended: u64 = command.query_async(conn).await?;
        Ok(())
    }

    /// Publishes until asked to stop; woken by each change.
    pub async fn run(mut self) {
        let stop = self.app.tasks().clone();
        let mut listener: Option<PgListener> = None;
        let mut failed = Backoff::new(FAILED_MIN, FAILED_MAX);
        while !stop.is_stopping() {
            if listener.is_none() {
                listener = listen(&self.app).await;
            }
            let pause = match self.turn().await {
                Ok(Turn::Again) => {
                    failed.reset();
                    continue;
                }
                Ok(Turn::Idle) => {
                    failed.reset();
                    LOOK_EVERY
                }
                Err(error) => {
                    metrics::counter!("cp_publish_failures_total").increment(1);
                    tracing::warn!(%error, "publishing links failed; trying again");
                    failed.pause()
                }
            };
            let woken = async {
                match &mut listener {
                    Some(listening) => listening.recv().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.stopping() => {}
                () = tokio::time::sleep(pause) => {}
                heard = woken => if !heard { listener = None },
            }
        }
    }
}

async fn load_records(tx: &mut PgConnection, keys: &[i64]) -> Result<Vec<(i64, Vec<u8>)>, PublishError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = queries::load_links(tx, keys).await?;
    Ok(rows.iter().map(|row| (row.key, record::encode(row))).collect())
}

/// Without it, changes are found at the next look.
async fn listen(app: &App) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(app.db_worker()).await.ok()?;
    listener.listen("link_outbox").await.ok()?;
    Some(listener)
}
