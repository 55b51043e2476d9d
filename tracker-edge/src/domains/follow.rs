//! Keeps custom domains like Redis: all of them at the start and whenever changes may have been missed, then
//! the stream of changes.
//!
//! What is known stays when Redis is away, empty, or not filled yet. A domain that a filled Redis no longer
//! has is forgotten: the publisher keeps removed ones for days, and sets the epoch together with the whole.

use super::{Domains, snapshot};
use crate::clicks::ship::redis::{Conn, Redis};
use redis::RedisResult;
use redis::streams::StreamReadReply;
use shared::shutdown::Shutdown;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How long a read waits for a change; the connection is this loop's own.
const BLOCK: Duration = Duration::from_millis(500);
/// Changes per read, and records per question.
const BATCH: usize = 200;
/// Changes passed over at once; the stream holds some ten of these.
const SKIP: usize = 1000;
/// Pause after a failure, or while no publisher has filled this Redis.
const PAUSE: Duration = Duration::from_secs(1);
/// Everything is read again this often, so that a lost change heals by itself.
const WHOLE_EVERY: Duration = Duration::from_mins(15);
/// A snapshot at most this often.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Follows the domains until stopped.
pub(crate) async fn follow(domains: Arc<Domains>, redis: Redis, stop: Shutdown) {
    loop {
        let followed = tokio::select! {
            () = stop.stopping() => break,
            followed = follow_connected(&domains, &redis) => followed,
        };
        domains.connected.store(false, Ordering::Relaxed);
        if let Err(error) = followed {
            tracing::warn!(%error, "lost the changes of custom domains; known ones keep working");
        }
        tokio::select! {
            () = stop.stopping() => break,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    save(&domains).await;
}

async fn follow_connected(domains: &Arc<Domains>, redis: &Redis) -> RedisResult<()> {
    let mut connection = redis.conn().await?;
    let followed = follow_on(domains, &mut connection).await;
    if let Err(error) = &followed {
        redis.failed(&connection, error).await;
    }
    followed
}

/// One reading of everything, and the changes after it. `Ok` asks for another one.
async fn follow_on(domains: &Arc<Domains>, connection: &mut Conn) -> RedisResult<()> {
    let Some(epoch) = epoch(domains, connection).await? else { return Ok(()) };
    // The place first: what changes meanwhile is read twice, never missed.
    let mut place = last_change(domains, connection).await?;
    let records = read_whole(domains, connection).await?;
    if self::epoch(domains, connection).await?.as_ref() != Some(&epoch) {
        return Ok(());
    }
    domains.take(records, true);
    domains.connected.store(true, Ordering::Relaxed);
    let (begun, mut saved) = (Instant::now(), Instant::now());
    save(domains).await;
    while begun.elapsed() < WHOLE_EVERY {
        let hosts = read_changes(domains, connection, &mut place).await?;
        if hosts.is_empty() {
            if self::epoch(domains, connection).await?.as_ref() != Some(&epoch) {
                return Ok(());
            }
        } else {
            let records = read_records(domains, connection, &hosts).await?;
            domains.take(records, false);
        }
        if saved.elapsed() > SAVE_EVERY {
            save(domains).await;
            saved = Instant::now();
        }
    }
    Ok(())
}

async fn epoch(domains: &Domains, connection: &mut Conn) -> RedisResult<Option<String>> {
    redis::Cmd::get(domains.keys.domains_epoch()).query_async(connection).await
}

/// The end of the stream of changes, which is short.
async fn last_change(domains: &Domains, connection: &mut Conn) -> RedisResult<String> {
    let mut place = "0-0".to_owned();
    loop {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(SKIP).arg("STREAMS").arg(domains.keys.domains_changes()).arg(&place);
        let reply: Option<StreamReadReply> = command.query_async(connection).await?;
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids);
        match entries.last() {
            Some(last) => place = last.id,
            None => return Ok(place),
        }
    }
}

async fn read_whole(domains: &Domains, connection: &mut Conn) -> RedisResult<Vec<Vec<u8>>> {
    let (mut records, mut cursor) = (Vec::new(), 0u64);
    loop {
        let mut command = redis::cmd("HSCAN");
        command.arg(domains.keys.domains()).arg(cursor).arg("COUNT").arg(BATCH);
        let (next, fields): (u64, Vec<Vec<u8>>) = command.query_async(connection).await?;
        // Field and value in turn.
        records.extend(fields.into_iter().skip(1).step_by(2));
        if next == 0 {
            return Ok(records);
        }
        cursor = next;
    }
}

/// Hosts that changed after a place, which moves on.
async fn read_changes(
    domains: &Domains,
    connection: &mut Conn,
    place: &mut String,
) -> RedisResult<BTreeSet<String>> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(BATCH).arg("BLOCK").arg(BLOCK.as_millis() as u64);
    command.arg("STREAMS").arg(domains.keys.domains_changes()).arg(&**place);
    let reply: Option<StreamReadReply> = command.query_async(connection).await?;
    let entries: Vec<_> =
        reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids).collect();
    if let Some(last) = entries.last() {
        place.clone_from(&last.id);
    }
    Ok(entries.iter().filter_map(|entry| entry.get("h")).collect())
}

async fn read_records(
    domains: &Domains,
    connection: &mut Conn,
    hosts: &BTreeSet<String>,
) -> RedisResult<Vec<Vec<u8>>> {
    let mut command = redis::cmd("HMGET");
    command.arg(domains.keys.domains());
    for host in hosts {
        command.arg(host);
    }
    let found: Vec<Option<Vec<u8>>> = command.query_async(connection).await?;
    Ok(found.into_iter().flatten().collect())
}

/// Saves what has changed since the last time, off the runtime's thread.
async fn save(domains: &Arc<Domains>) {
    if !domains.changed.swap(false, Ordering::AcqRel) {
        return;
    }
    let saving = Arc::clone(domains);
    match tokio::task::spawn_blocking(move || snapshot::save(&saving)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            domains.changed.store(true, Ordering::Release);
            tracing::error!(%error, "cannot save the custom domains; a restart without Redis would miss them");
        }
        Err(_) => tracing::error!("saving the custom domains panicked"),
    }
}
