//! Telling the edges, through Redis, what custom domains are now.
//!
//! Whatever changes a domain marks its row in the same transaction. A turn locks marked rows, reads the state of
//! their hosts with a growing version, writes the hash and the change stream in Redis, and then takes the marks
//! away: cut off anywhere, it is done again, and a record is only replaced by a higher version. A Redis without an
//! epoch was emptied: every host is written again, and the epoch set when all are there. What a Redis lost without
//! being emptied (a replica that was promoted) is found by comparing versions. A removed host's record stays for
//! [`FORGET`]. Limits: [`PAGE`] hosts at a time.

mod queries;

use super::model::FORGET;
use crate::app::App;
use crate::error::{Error, Result};
use crate::redis::Shared;
use crate::seal;
use crate::workers::jobs::Turn;
use queries::HostRow;
use shared::domain_record::{Certificate, DomainKey, DomainRecord};
use shared::id::DomainId;
use sqlx::Acquire;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Hosts of one step: a record has some 6 KiB.
const PAGE: i64 = 100;
/// Entries the change stream keeps: an edge away for longer reads the whole hash anyhow.
const CHANGES_MAX: u32 = 10_000;
/// A refill that says nothing for so long was abandoned.
const REFILL_SECONDS: u32 = 60;

/// Sets a host's record unless there is one as high, and says so in the stream. Versions are bytes 8 to 16, compared
/// as two numbers: Lua would compare texts by the server's locale.
const SET_IF_NEWER: &str = "local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and #old >= 16 then
  local oh, ol = struct.unpack('>I4I4', old, 9)
  local nh, nl = struct.unpack('>I4I4', ARGV[2], 9)
  if oh > nh or (oh == nh and ol >= nl) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'h', ARGV[1])
return 1";

/// Forgets a host whose record says that it was removed; one that somebody else has by now stays.
const FORGET_REMOVED: &str = "local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and string.byte(old, 2) % 2 == 1 then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0";

/// Ends a refill that is still ours: now everything is there.
const REFILL_END: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return 1";

/// The key private keys are sealed with in Postgres.
pub(super) fn storage_key(app: &App) -> [u8; 32] {
    app.config().secret.derive("domain certificate keys v1")
}

/// The job: tells what changed, and everything when Redis was emptied.
pub async fn job(app: App) -> Result<Turn> {
    let mut redis = app.redis().get().await.map_err(Error::unavailable)?;
    let epoch: Option<String> = redis::cmd("GET")
        .arg(app.keys().domains_epoch())
        .query_async(&mut redis)
        .await
        .map_err(Error::unavailable)?;
    if epoch.is_none() {
        refill(&app, &mut redis).await?;
    }
    publish_changes(&app, &mut redis).await
}

async fn publish_changes(app: &App, redis: &mut Shared) -> Result<Turn> {
    let mut db = app.db_worker().acquire().await?;
    let mut tx = db.begin().await?;
    let rows = queries::lock_unpublished(&mut tx, PAGE).await?;
    if rows.is_empty() {
        return Ok(Turn::Idle);
    }
    let hosts: Vec<&str> = rows.iter().map(|(_, host)| host.as_str()).collect();
    let found = queries::load_hosts(&mut tx, &hosts).await?;
    write(app, redis, &found).await?;
    let versions: HashMap<&str, i64> = found.iter().map(|row| (row.host.as_str(), row.version)).collect();
    let told: Vec<(DomainId, i64)> = rows
        .iter()
        .filter_map(|(id, host)| versions.get(host.as_str()).map(|version| (*id, *version)))
        .collect();
    let (ids, versions): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    queries::save_published(&mut tx, &ids, &versions, app.clock().now()).await?;
    tx.commit().await?;
    Ok(if rows.len() as i64 == PAGE { Turn::Again } else { Turn::Idle })
}

/// Writes every host again, then the epoch.
async fn refill(app: &App, redis: &mut Shared) -> Result<()> {
    // Gone with the rest if Redis is emptied once more meanwhile.
    let marker = format!("{}:refill", app.keys().domains());
    let token = shared::id::EventId::generate().uuid().simple().to_string();
    redis::cmd("SET")
        .arg(&[&marker, &token, "EX"])
        .arg(REFILL_SECONDS)
        .query_async::<()>(redis)
        .await
        .map_err(Error::unavailable)?;
    let mut db = app.db_worker().acquire().await?;
    let mut after = String::new();
    let mut written = 0;
    loop {
        let hosts = queries::list_hosts(&mut db, &after, PAGE).await?;
        let Some(last) = hosts.last().cloned() else { break };
        let page: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let found = queries::load_hosts(&mut db, &page).await?;
        write(app, redis, &found).await?;
        written += found.len();
        after = last;
    }
    let ended: bool = redis::cmd("EVAL")
        .arg(&[REFILL_END, "2", &marker, &app.keys().domains_epoch(), &token])
        .query_async(redis)
        .await
        .map_err(Error::unavailable)?;
    if ended && written > 0 {
        tracing::info!(domains = written, "every custom domain is in Redis again");
    }
    Ok(())
}

async fn write(app: &App, redis: &mut Shared, rows: &[HostRow]) -> Result<()> {
    let keys = app.keys();
    let (record_key, storage_key) = (DomainKey::new(&app.config().secret), storage_key(app));
    for row in rows {
        let record = record(row, &storage_key)?.encode(&record_key);
        let mut command = redis::cmd("EVAL");
        command.arg(SET_IF_NEWER).arg(2).arg(keys.domains()).arg(keys.domains_changes());
        command.arg(&row.host).arg(record).arg(CHANGES_MAX);
        let _set: bool = command.query_async(redis).await.map_err(Error::unavailable)?;
    }
    Ok(())
}

fn record(row: &HostRow, storage_key: &[u8; 32]) -> Result<DomainRecord> {
    let certificate = match (&row.chain_pem, &row.sealed_key, row.expires_at) {
        (Some(chain), Some(sealed), Some(expires_at)) if row.served => {
            let unreadable = || Error::bug(anyhow::anyhow!("a private key was sealed with another secret"));
            let opened = seal::open(storage_key, sealed).ok_or_else(unreadable)?;
            let key_pem = String::from_utf8(opened).map_err(|_| unreadable())?;
            Some(Certificate {
                chain_pem: chain.clone(),
                key_pem: Zeroizing::new(key_pem),
                not_after_unix: expires_at.timestamp(),
            })
        }
        _ => None,
    };
    Ok(DomainRecord {
        host: row.host.clone(),
        owner: row.owner as u32,
        version: row.version as u64,
        removed: !row.served,
        certificate,
    })
}

/// The job: compares what Redis has with what it was told, and forgets what was removed long ago.
pub async fn compare_job(app: App) -> Result<Turn> {
    let mut redis = app.redis().get().await.map_err(Error::unavailable)?;
    let mut db = app.db_worker().acquire().await?;
    let domains = app.keys().domains();
    let mut after = String::new();
    loop {
        let told = queries::list_versions(&mut db, &after, PAGE).await?;
        let Some((last, _)) = told.last() else { break };
        after.clone_from(last);
        let mut command = redis::cmd("HMGET");
        command.arg(&domains);
        for (host, _) in &told {
            command.arg(host);
        }
        let kept: Vec<Option<Vec<u8>>> = command.query_async(&mut redis).await.map_err(Error::unavailable)?;
        let version = |bytes: &Option<Vec<u8>>| bytes.as_deref().and_then(DomainRecord::version_of);
        let lost = told.iter().zip(&kept).filter(|((_, told), kept)| version(kept) < Some(*told as u64));
        let lost: Vec<String> = lost.map(|((host, _), _)| host.clone()).collect();
        if !lost.is_empty() {
            tracing::warn!(domains = lost.len(), "Redis had lost custom domains; they are published again");
            queries::mark_unpublished(&mut db, &lost).await?;
        }
    }
    let old = queries::list_forgettable(&mut db, app.clock().now() - FORGET, PAGE).await?;
    for (_, host) in &old {
        let mut command = redis::cmd("EVAL");
        command.arg(FORGET_REMOVED).arg(1).arg(&domains).arg(host);
        let _forgotten: bool = command.query_async(&mut redis).await.map_err(Error::unavailable)?;
    }
    let ids: Vec<DomainId> = old.iter().map(|(id, _)| *id).collect();
    queries::delete_domains(&mut db, &ids).await?;
    Ok(if old.len() as i64 == PAGE { Turn::Again } else { Turn::Idle })
}
