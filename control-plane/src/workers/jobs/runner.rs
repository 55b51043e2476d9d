//! Runs jobs, each in a task of its own, until asked to stop; a turn in progress is finished first.

use super::{Job, Turn, queries};
use crate::app::App;
use crate::error::Result;
use crate::trace::{self, FutureExt};
use crate::workers::backoff::{Backoff, jittered};
use std::time::{Duration, Instant};

const FAILED_MIN: Duration = Duration::from_millis(200);
const FAILED_MAX: Duration = Duration::from_secs(30);

/// Starts every job.
pub fn start(app: &App, jobs: &'static [Job]) {
    for job in jobs {
        app.tasks().spawn(keep_running(app.clone(), job));
    }
}

async fn keep_running(app: App, job: &'static Job) {
    let stop = app.tasks().clone();
    let mut failed = Backoff::new(FAILED_MIN, FAILED_MAX);
    while !stop.is_stopping() {
        let (traced, started) = (trace::job(job.name), Instant::now());
        let turned = turn(&app, job).with_context(traced.clone()).await;
        let idle = matches!(turned, Ok(Turn::Idle));
        trace::turned(&traced, idle, turned.is_err(), started.elapsed());
        let pause = match turned {
            Ok(Turn::Again) => {
                failed.reset();
                continue;
            }
            Ok(Turn::Idle) => {
                failed.reset();
                // Many processes started together need not run in step.
                jittered(job.every.mul_f32(0.9), job.every)
            }
            Err(error) => {
                metrics::counter!("cp_job_failures_total", "job" => job.name).increment(1);
                tracing::warn!(job = job.name, cause = ?error, "a job failed; trying again");
                failed.pause()
            }
        };
        tokio::select! {
            () = stop.stopping() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn turn(app: &App, job: &Job) -> Result<Turn> {
    if !job.alone {
        return (job.run)(app.clone()).await;
    }
    // Detached: the lock ends with the connection, whatever becomes of this turn.
    let mut conn = app.db_worker().acquire().await?.detach();
    if !queries::try_lock(&mut conn, job.name).await? {
        return Ok(Turn::Idle);
    }
    let outcome = (job.run)(app.clone()).await;
    sqlx::Connection::close(conn).await?;
    outcome
}
