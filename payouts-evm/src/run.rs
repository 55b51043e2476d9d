//! The worker's loop, and the pieces it is made of.

use crate::config::Config;
use crate::evm::Evm;
use crate::rpc::Rpc;
use control_plane::db::{self, PoolSettings};
use control_plane::features::payouts::usdc::worker::{Did, Worker};
use control_plane::trace::{self, FutureExt};
use control_plane::workers::backoff::Backoff;
use secrecy::ExposeSecret;
use shared::Clock;
use shared::shutdown::Shutdown;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;

/// One for the lock and the turn, one for /ready.
const CONNECTIONS: u32 = 3;
const FAILED_MIN: Duration = Duration::from_millis(500);
const FAILED_MAX: Duration = Duration::from_secs(30);

/// A pool for the worker; nothing is connected yet.
pub fn pool(config: &Config) -> Result<PgPool, sqlx::Error> {
    db::pool(config.database_url.expose_secret(), PoolSettings::worker(CONNECTIONS))
}

/// The chain of the settings; nothing is asked yet.
pub fn chain(config: &Config) -> anyhow::Result<Evm> {
    let rpc = Rpc::new(config.rpc_url.clone())?;
    Ok(Evm::new(rpc, config.signer.clone(), config.chain_id, config.token))
}

/// The worker of the settings.
pub fn worker(config: &Config, db: PgPool, clock: Arc<dyn Clock>) -> anyhow::Result<Worker<Evm>> {
    Ok(Worker::new(db, clock, chain(config)?, config.policy))
}

/// Sends and follows payouts until asked to stop; a turn in progress is finished first. Ends with what is
/// wrong when the node shows that the settings are.
pub async fn run(
    config: &Config,
    db: PgPool,
    clock: Arc<dyn Clock>,
    stop: &Shutdown,
) -> anyhow::Result<Result<(), String>> {
    let worker = worker(config, db, clock)?;
    let poll = Duration::from_millis(config.poll_ms.into());
    let mut failed = Backoff::new(FAILED_MIN, FAILED_MAX);
    let mut checked = false;
    while !stop.is_stopping() {
        let traced = trace::job("send usdc payouts");
        let turned = turn(&worker, checked).with_context(traced.clone()).await;
        let idle = matches!(turned, Ok(Ok(did)) if !did.anything());
        // How long a look at the chain takes is the node's matter, and nothing to tell.
        trace::turned(&traced, idle, !matches!(turned, Ok(Ok(_))), Duration::ZERO);
        let pause = match turned {
            Ok(Ok(_)) => {
                checked = true;
                failed.reset();
                poll
            }
            Ok(Err(problem)) => return Ok(Err(problem)),
            Err(error) => {
                metrics::counter!("cp_usdc_failures_total").increment(1);
                tracing::warn!(cause = %format_args!("{error:#}"), "a turn failed; trying again");
                failed.pause().max(poll)
            }
        };
        tokio::select! {
            () = stop.stopping() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(Ok(()))
}

/// One turn; nothing is signed before the node has shown once that the settings fit it.
async fn turn(worker: &Worker<Evm>, checked: bool) -> anyhow::Result<Result<Did, String>> {
    if !checked && let Err(problem) = worker.chain().check().await? {
        return Ok(Err(problem));
    }
    Ok(Ok(worker.turn().await?))
}
