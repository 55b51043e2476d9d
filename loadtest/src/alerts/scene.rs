//! The system under load, and the account of which alerts fired and ended.

use super::answers::Answers;
use super::watch::{Targets, Watch};
use crate::api::Cast;
use crate::clicker::{self, Load, Outcome, Progress, Target};
use crate::programs::Program;
use crate::say;
use crate::stack::{Stack, local};
use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Clicks and calls a second, all the time.
const CLICKS: u32 = 100;
const CALL_EVERY: Duration = Duration::from_millis(250);
/// Thresholds of a minute, and what comes on top.
const FIRES_FOR: Duration = Duration::from_mins(2);
/// An hour of the rules is a minute here, and so long a key directory is not asked again.
const ENDS_FOR: Duration = Duration::from_mins(4);
const PAUSE: Duration = Duration::from_millis(100);
/// Numbers of further clicks: far from the load's.
const FURTHER: u64 = 1_000_000_000;

/// What is known of one alert.
struct Row {
    alert: &'static str,
    cause: &'static str,
    caused: Instant,
    fired: Option<Duration>,
    mended: Option<Instant>,
}

/// A transaction that nobody ends.
pub(super) struct Open {
    pub(super) since: Instant,
    pub(super) transaction: sqlx::Transaction<'static, sqlx::Postgres>,
}

/// Everything.
pub(super) struct Scene {
    pub(super) stack: Stack,
    pub(super) cast: Cast,
    pub(super) target: Target,
    pub(super) watch: Watch,
    pub(super) directory: Answers,
    pub(super) open: Option<Open>,
    /// Programs that run on until the end, so that what they counted stays to be seen.
    kept: Vec<Program>,
    rows: Vec<Row>,
    clicking: JoinHandle<anyhow::Result<Outcome>>,
    progress: Arc<Progress>,
    calling: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    next: u64,
}

impl Scene {
    pub(super) async fn start(stack: Stack, directory: Answers) -> anyhow::Result<Self> {
        let cast = stack.api()?.cast().await?;
        for _ in 0..20 {
            cast.advertiser.call("POST", "/api/wallet/topup", Some(json!({"amount": 500}))).await?;
        }
        let target = Target {
            addr: stack.edge_addr,
            path: format!("/api/track/{}", cast.token),
            location: cast.destination.clone(),
        };
        stack.wait_for_link(&target).await?;
        let proxies = stack.proxies.as_ref().context("the stack has no proxies")?;
        let targets = Targets {
            edge: stack.edge.admin(),
            control: stack.control_plane.admin(),
            // By its name: it leads to another after a restore.
            postgres: proxies.control_postgres.addr,
            redis: local(stack.redis.port()),
        };
        let watch = Watch::start(&stack.ground.lab, &stack.folder, &targets).await?;
        let progress = Arc::new(Progress::default());
        let load = Load { clicks: u64::MAX, connections: 8, per_second: Some(CLICKS), one_each: false };
        let clicking = tokio::spawn({
            let (target, progress) = (target.clone(), progress.clone());
            async move { clicker::run(&target, load, progress).await }
        });
        let stop = Arc::new(AtomicBool::new(false));
        let calling = tokio::spawn(call(cast.clone(), Arc::clone(&stop)));
        let mut transaction = stack.database().await?.begin().await?;
        sqlx::raw_sql("SELECT txid_current()").execute(&mut *transaction).await?;
        let open = Some(Open { since: Instant::now(), transaction });
        Ok(Self {
            stack,
            cast,
            target,
            watch,
            directory,
            open,
            kept: Vec::new(),
            rows: Vec::new(),
            clicking,
            progress,
            calling,
            stop,
            next: FURTHER,
        })
    }

    /// Something is about to go wrong.
    pub(super) fn begin(&mut self, cause: &'static str, alerts: &'static [&'static str]) {
        let caused = Instant::now();
        self.rows.extend(alerts.iter().map(|alert| Row { alert, cause, caused, fired: None, mended: None }));
    }

    /// Whether an alert that was caused fires, or has fired since.
    pub(super) fn has_fired(&self, alert: &str) -> bool {
        self.rows.iter().any(|row| row.alert == alert && self.watch.fired(alert, row.caused).is_some())
    }

    /// Lets a program run on.
    pub(super) fn keep(&mut self, program: Program) {
        self.kept.push(program);
    }

    /// Watches the programs that run on, or no longer.
    pub(super) fn watch_others(&mut self, watched: bool) -> anyhow::Result<()> {
        for program in &self.kept {
            if program.is("tracker-edge") {
                self.watch.edge(program.admin(), watched)?;
            } else {
                self.watch.control(program.admin(), watched)?;
            }
        }
        Ok(())
    }

    /// Watches nothing but what runs for the whole run: a cause that failed leaves others behind.
    pub(super) fn tidy(&mut self) -> anyhow::Result<()> {
        self.watch.only(self.stack.edge.admin(), self.stack.control_plane.admin())?;
        self.watch.payouts(None)?;
        self.watch_others(true)
    }

    /// Waits until these have ended.
    pub(super) async fn ended(&self, alerts: &[&str]) -> anyhow::Result<()> {
        let deadline = Instant::now() + ENDS_FOR;
        while self.watch.firing().iter().any(|firing| alerts.contains(&firing.as_str())) {
            ensure!(Instant::now() < deadline, "these did not end: {}", alerts.join(", "));
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Waits until these fire.
    pub(super) async fn fires(&mut self, alerts: &[&str]) -> anyhow::Result<()> {
        let deadline = Instant::now() + FIRES_FOR;
        loop {
            let mut waiting = Vec::new();
            for row in self.rows.iter_mut().filter(|row| row.fired.is_none() && alerts.contains(&row.alert)) {
                row.fired = self.watch.fired(row.alert, row.caused);
                match row.fired {
                    Some(after) => say(&format!("  {} fires after {:.1} s", row.alert, after.as_secs_f64())),
                    None => waiting.push(row.alert),
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "these did not fire: {}", waiting.join(", "));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Does something again and again until an alert fires.
    pub(super) async fn fires_while<F>(
        &mut self,
        alert: &str,
        every: Duration,
        mut act: impl FnMut() -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let deadline = Instant::now() + FIRES_FOR;
        while !self.has_fired(alert) {
            ensure!(Instant::now() < deadline, "{alert} did not fire");
            act().await?;
            tokio::time::sleep(every).await;
        }
        self.fires(&[alert]).await
    }

    /// The cause of these is no more.
    pub(super) fn mended(&mut self, alerts: &[&str]) {
        for row in self.rows.iter_mut().filter(|row| alerts.contains(&row.alert)) {
            row.mended = Some(Instant::now());
        }
    }

    /// Waits for a condition.
    pub(super) async fn until<F>(
        what: &str,
        within: Duration,
        mut holds: impl FnMut() -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<bool>>,
    {
        let deadline = Instant::now() + within;
        while !holds().await? {
            ensure!(Instant::now() < deadline, "not within {within:?}: {what}");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Further clicks on an edge, as fast as they go, or so many a second.
    pub(super) async fn click(
        &mut self,
        edge: SocketAddr,
        clicks: u64,
        per_second: Option<u32>,
    ) -> anyhow::Result<()> {
        let target = Target { addr: edge, ..self.target.clone() };
        let progress = Arc::new(Progress::from(self.next));
        self.next += 2 * clicks + 1_000;
        clicker::run(&target, Load { clicks, connections: 8, per_second, one_each: false }, progress).await?;
        Ok(())
    }

    /// Another edge that is watched, with a spool of its own and these further settings.
    pub(super) async fn another_edge(
        &mut self,
        further: &[(&str, String)],
    ) -> anyhow::Result<(Program, SocketAddr, std::path::PathBuf)> {
        let (mut edge, addr, spool) = self.stack.another_edge(None)?;
        for (name, value) in further {
            edge.set_env(name, value);
        }
        self.watch.edge(edge.admin(), true)?;
        Ok((edge, addr, spool))
    }

    pub(super) async fn redis(&self) -> anyhow::Result<MultiplexedConnection> {
        self.stack.redis.connect().await
    }

    pub(super) async fn database(&self) -> anyhow::Result<PgPool> {
        self.stack.database().await
    }

    /// Waits until nothing fires that was caused, and says what became of each alert.
    pub(super) async fn end(mut self, good: anyhow::Result<bool>) -> anyhow::Result<bool> {
        let mut good = match good {
            Ok(good) => good,
            Err(error) => {
                say(&format!("WRONG  {error:#}"));
                false
            }
        };
        let deadline = Instant::now() + ENDS_FOR;
        let caused = |firing: &String| self.rows.iter().any(|row| row.alert == firing);
        while self.watch.firing().iter().any(caused) && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
        for row in &self.rows {
            let ended = row.mended.and_then(|mended| self.watch.resolved(row.alert, mended));
            let (mark, told) = match (row.fired, ended) {
                (Some(fired), Some(ended)) => (
                    "ok",
                    format!(
                        "fired after {:.1} s, ended {:.1} s after the mend",
                        fired.as_secs_f64(),
                        ended.as_secs_f64()
                    ),
                ),
                (Some(fired), None) => {
                    ("WRONG", format!("fired after {:.1} s, did not end", fired.as_secs_f64()))
                }
                (None, _) => ("WRONG", "did not fire".to_owned()),
            };
            good &= mark == "ok";
            say(&format!("{mark:>5}  {}: {told} ({})", row.alert, row.cause));
        }
        self.stop.store(true, Ordering::Relaxed);
        self.progress.stop.store(true, Ordering::Relaxed);
        self.calling.await.context("the caller panicked")?;
        self.clicking.await.context("the clicker panicked")??;
        let ok = self.rows.iter().filter(|row| row.fired.is_some()).count();
        say(&format!("{ok} alerts fired, of {} that were caused", self.rows.len()));
        if !good {
            self.stack.keep_folder();
        }
        Ok(good)
    }
}

/// Sales and reads, whatever becomes of them.
async fn call(cast: Cast, stop: Arc<AtomicBool>) {
    for nth in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let sale: Value = json!({"tracking_token": cast.token, "event_type": "sale", "revenue_amount": 1, "external_id": format!("alerts-{nth}")});
        let (advertiser, affiliate) = (cast.advertiser.clone(), cast.affiliate.clone());
        // On its own: one that hangs does not hold the next up.
        tokio::spawn(async move { advertiser.ask("POST", "/api/conversions/track", Some(sale)).await });
        tokio::spawn(async move { affiliate.ask("GET", "/api/wallet", None).await });
        tokio::time::sleep(CALL_EVERY).await;
    }
}
