//! From signal to a clean stop.
//!
//! One [`Shutdown`] per process is cloned into everything that runs: a token that says "stop", and a
//! tracker that knows what still runs. Bare `tokio::spawn` is not used, so that a stop can wait.

use std::future::Future;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Stop signal and tracked tasks.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    leaving: CancellationToken,
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Nothing runs, nothing is stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that [`Self::drained`] waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Says that a stop is coming: nobody is to send anything any more, and all that comes is served.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Whether a stop is coming or was asked for.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Asks everything to stop.
    pub fn stop(&self) {
        self.leaving.cancel();
        self.token.cancel();
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when a stop is asked for.
    pub async fn stopping(&self) {
        self.token.cancelled().await;
    }

    /// Waits until every tracked task has ended; `false` when the deadline came first.
    pub async fn drained(&self, deadline: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok()
    }
}

/// Ends on the first SIGTERM or SIGINT.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
