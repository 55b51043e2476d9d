//! `rolling`: a fleet of edges and control planes behind haproxy, with the users and roles of `deploy/`; everything is
//! restarted one after another under load. Refused, lost and doubled must be 0, for clicks and for sales.
//!
//! A program is told to stop by SIGTERM and nothing else: it says that it is not ready, haproxy sees it, and only then
//! does it stop taking requests. With `--replace` a master of the Redis Cluster and the primary of Postgres die in the
//! middle; then calls of the API may be refused, with 503 and `Retry-After`, within a window that is stated.

mod balancer;
mod calls;
mod fleet;
mod stores;
pub(crate) mod upgrade;

use crate::account::{self, Account};
use crate::api::{Api, Cast};
use crate::clicker::{self, Load, Outcome, Progress, Target};
use crate::stack::ground::{Lab, free_ports};
use crate::stack::{SECRET, local};
use crate::{programs, say};
use anyhow::{Context, ensure};
use balancer::Balancer;
use calls::Sales;
use fleet::{Member, Part};
use serde_json::json;
use sqlx::PgPool;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stores::Stores;
use tokio::task::JoinHandle;

/// Calls may be refused for so long when a primary is replaced.
const REFUSED_FOR: Duration = Duration::from_secs(20);
const REACHED_FOR: Duration = Duration::from_secs(30);
const SETTLED_FOR: Duration = Duration::from_mins(1);
const BREATH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
/// Numbers of the clicks that come with a connection each, far from the others'.
const SECOND_LOAD: u64 = 1_000_000_000;

/// Settings of `rolling`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Edges behind the balancer.
    #[arg(long, env = "AOS_ROLLING_EDGES", default_value_t = 4)]
    edges: usize,
    /// Control planes behind the balancer, each with all roles.
    #[arg(long, env = "AOS_ROLLING_CONTROL_PLANES", default_value_t = 2)]
    control_planes: usize,
    /// Clicks a second; one of four has a connection of its own.
    #[arg(long, env = "AOS_ROLLING_RATE", default_value_t = 400)]
    rate: u32,
    /// Sales a second.
    #[arg(long, env = "AOS_ROLLING_SALES", default_value_t = 20)]
    sales: u32,
    /// A Redis Cluster and a standby of Postgres, and a master of each dies in the middle.
    #[arg(long)]
    replace: bool,
}

/// Everything that runs: dropping it ends it.
pub(crate) struct Fleet {
    /// Edges and control planes.
    pub(crate) members: Vec<Member>,
    /// What they stand on.
    pub(crate) stores: Stores,
    balancer: Balancer,
    origin: String,
    folder: PathBuf,
    keep: bool,
}

impl Fleet {
    /// Starts the members with these binaries, each part with its role in Postgres.
    pub(crate) async fn start(
        lab: &Lab,
        folder: &Path,
        stores: Stores,
        parts: &[(String, Part)],
        binaries: &Path,
    ) -> anyhow::Result<Self> {
        let [port] = free_ports()?;
        let origin = format!("http://{}", local(port));
        let mut members = Vec::new();
        for (name, part) in parts {
            let mut member = Member::new(name, *part, folder)?;
            member.settle(&stores, &origin);
            members.push(member);
        }
        // An edge is ready when it knows the links, and those come from a control plane.
        let (edges, control): (Vec<_>, Vec<_>) =
            members.iter_mut().partition(|member| member.part() == Part::Edge);
        for member in control.into_iter().chain(edges) {
            member.start(binaries).await?;
        }
        let packages = lab.rivals.as_ref().context("haproxy was not unpacked")?;
        let balancer = Balancer::start(packages, folder, port, &members).await?;
        Ok(Self { members, stores, balancer, origin, folder: folder.to_owned(), keep: true })
    }

    /// Both sides, and a link that every edge knows.
    pub(crate) async fn cast(&self) -> anyhow::Result<(Cast, Target)> {
        let cast = Api::new(&self.origin)?.cast().await?;
        // A sale costs $0.30 beyond the free ones: enough for 33,000.
        for _ in 0..20 {
            cast.advertiser.call("POST", "/api/wallet/topup", Some(json!({"amount": 500}))).await?;
        }
        let path = format!("/api/track/{}", cast.token);
        for edge in self.members.iter().filter(|member| member.part() == Part::Edge) {
            knows(edge, &path).await?;
        }
        let target = Target { addr: self.balancer.addr, path, location: cast.destination.clone() };
        Ok((cast, target))
    }

    /// SIGTERM, a clean end, a start with these binaries, and the balancer sends requests again. `politely` takes it
    /// out of the balancer first: for versions that close their listener at once.
    pub(crate) async fn restart(
        &mut self,
        nth: usize,
        binaries: &Path,
        politely: bool,
    ) -> anyhow::Result<()> {
        self.leave(nth, politely).await?;
        self.enter(nth, binaries, politely).await
    }

    /// The first half of a restart.
    pub(crate) async fn leave(&mut self, nth: usize, politely: bool) -> anyhow::Result<()> {
        let member = &mut self.members[nth];
        if let Some(backend) = member.backend().filter(|_| politely) {
            self.balancer.take_out(backend, member.name()).await?;
        }
        member.stop().await
    }

    /// The second half.
    pub(crate) async fn enter(&mut self, nth: usize, binaries: &Path, politely: bool) -> anyhow::Result<()> {
        let member = &mut self.members[nth];
        member.start(binaries).await?;
        if let Some(backend) = member.backend() {
            if politely {
                self.balancer.put_back(backend, member.name()).await?;
            } else {
                self.balancer.serves(backend, member.name()).await?;
            }
        }
        Ok(())
    }

    /// Begins the load; its numbers go on from those of the load before.
    pub(crate) fn load(
        &self,
        (cast, target): (&Cast, &Target),
        (rate, sales): (u32, u32),
        before: &Ended,
    ) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let click = |share: u32, one_each: bool, progress: &Arc<Progress>| {
            let load = Load { clicks: u64::MAX, connections: 8, per_second: Some(share.max(1)), one_each };
            let (target, progress) = (target.clone(), progress.clone());
            tokio::spawn(async move { clicker::run(&target, load, progress).await })
        };
        let used = before.clicks.acknowledged.len() as u64 + before.clicks.unknown;
        let from = 1_000 * used;
        let progress = [Arc::new(Progress::from(from)), Arc::new(Progress::from(SECOND_LOAD + from))];
        let clicks = [click(rate - rate / 4, false, &progress[0]), click(rate / 4, true, &progress[1])];
        let (origin, cast, done) = (self.origin.clone(), cast.clone(), stop.clone());
        let first = 1_000 * before.sales.acknowledged.len() as u64;
        let sales = tokio::spawn(async move { calls::run(&origin, &cast, sales, first, done).await });
        Running { stop, progress, clicks, sales }
    }

    /// Counts everything, when all has come to rest.
    pub(crate) async fn account(&self, load: Ended) -> anyhow::Result<Figures> {
        let database = self.stores.database().await?;
        let account = account::compare(&database, &load.clicks.acknowledged).await?;
        let booked = booked(&database, &load.sales).await?;
        let reconcile = self.reconcile().await?;
        let denied = self.stores.denied().await?;
        Ok(Figures { load, account, booked, reconcile, denied })
    }

    /// Asks `control-plane reconcile`, as the role that only reads, until it is content; else what it says.
    async fn reconcile(&self) -> anyhow::Result<Option<String>> {
        let control = self.members.iter().find(|member| member.part() != Part::Edge);
        let program = control.context("no control plane runs")?.program()?;
        let readonly = self.stores.database_url("affiliateos_readonly");
        let started = Instant::now();
        loop {
            let arguments = ["reconcile", "--settled", "--log", "error", "--database-url", &readonly];
            let (code, said) = program.outcome(&arguments)?;
            if code == Some(0) {
                return Ok(None);
            }
            if started.elapsed() > SETTLED_FOR {
                return Ok(Some(said));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Leaves nothing behind but, after a failure, the logs.
    pub(crate) fn went_well(&mut self) {
        self.keep = false;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.members.clear();
        if self.keep {
            say(&format!("logs are kept in {}", self.folder.display()));
        } else {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// Waits until an edge redirects; HEAD records nothing.
async fn knows(edge: &Member, path: &str) -> anyhow::Result<()> {
    let none = reqwest::redirect::Policy::none();
    let http = reqwest::Client::builder().no_proxy().redirect(none).build()?;
    let deadline = Instant::now() + REACHED_FOR;
    loop {
        let reply = http.head(format!("http://{}{path}", edge.addr())).send().await;
        if reply.is_ok_and(|reply| reply.status().as_u16() == 302) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the link did not reach {}", edge.name());
        tokio::time::sleep(PAUSE).await;
    }
}

/// A load that runs.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    progress: [Arc<Progress>; 2],
    clicks: [JoinHandle<anyhow::Result<Outcome>>; 2],
    sales: JoinHandle<anyhow::Result<Sales>>,
}

/// What became of it.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) clicks: Outcome,
    pub(crate) sales: Sales,
}

impl Running {
    /// Ends it; what is on its way is answered first.
    pub(crate) async fn end(self) -> anyhow::Result<Ended> {
        self.stop.store(true, Ordering::Relaxed);
        for progress in &self.progress {
            progress.stop.store(true, Ordering::Relaxed);
        }
        let mut clicks = Outcome::default();
        for load in self.clicks {
            clicks.add(load.await.context("the clicker panicked")??);
        }
        let sales = self.sales.await.context("the shop panicked")??;
        Ok(Ended { clicks, sales })
    }
}

/// What Postgres has of the sales.
#[derive(Debug)]
pub(crate) struct Booked {
    lost: u64,
    doubled: u64,
    /// Commissions more or fewer than conversions.
    commissions_off: u64,
}

async fn booked(database: &PgPool, sales: &Sales) -> anyhow::Result<Booked> {
    let stored: Vec<String> =
        sqlx::query_scalar("SELECT external_id FROM conversions WHERE external_id LIKE 'order-%'")
            .fetch_all(database)
            .await?;
    let commissions: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT conversion_id) FROM commissions WHERE NOT reversal")
            .fetch_one(database)
            .await?;
    let all: i64 =
        sqlx::query_scalar("SELECT count(*) FROM commissions WHERE NOT reversal").fetch_one(database).await?;
    let known: HashSet<&String> = stored.iter().collect();
    let lost = sales.acknowledged.iter().filter(|number| !known.contains(&calls::name(**number))).count();
    Ok(Booked {
        lost: lost as u64,
        doubled: (stored.len() - known.len()) as u64,
        commissions_off: commissions.abs_diff(stored.len() as i64) + all.abs_diff(commissions),
    })
}

/// What a run is judged by.
pub(crate) struct Figures {
    pub(crate) load: Ended,
    account: Account,
    booked: Booked,
    reconcile: Option<String>,
    denied: Vec<String>,
}

impl Figures {
    /// Prints them; `true` when all is as it must be. Calls may be refused for so long.
    pub(crate) fn show(&self, refused_for: Duration) -> bool {
        let (clicks, sales) = (&self.load.clicks, &self.load.sales);
        say(&format!(
            "clicks: acknowledged {}, stored {}; sales: acknowledged {}",
            clicks.acknowledged.len(),
            self.account.stored,
            sales.acknowledged.len()
        ));
        if !sales.refused.is_empty() {
            say(&format!(
                "calls refused with 503 and Retry-After: {}, within {:.1} s; all of them answered later",
                sales.refused.len(),
                sales.window().as_secs_f64()
            ));
        }
        let refused = if refused_for.is_zero() { sales.refused.len() as u64 } else { 0 };
        let rows = [
            ("connections refused", clicks.refused),
            ("clicks not answered with the redirect", clicks.unknown + clicks.wrong.len() as u64),
            ("calls refused outside of the window", refused),
            ("calls that failed otherwise", sales.failed + sales.given_up),
            ("seconds of refusals beyond the window", sales.window().saturating_sub(refused_for).as_secs()),
            ("clicks lost", self.account.lost),
            ("clicks doubled", self.account.doubled),
            ("clicks parked or declared lost", self.account.parked + self.account.declared_loss),
            ("clicks in the usage − rows", self.account.used.abs_diff(self.account.stored)),
            ("sales lost", self.booked.lost),
            ("sales doubled", self.booked.doubled),
            ("commissions − sales", self.booked.commissions_off),
            ("denied by Redis users or Postgres roles", self.denied.len() as u64),
            ("reconcile", u64::from(self.reconcile.is_some())),
        ];
        let mut good = true;
        for (what, is) in rows {
            good &= is == 0;
            say(&format!("{:>5}  {what}: {is}", if is == 0 { "ok" } else { "WRONG" }));
        }
        let reconcile = self.reconcile.iter();
        let details = clicks.wrong.iter().chain(&sales.failures).chain(self.denied.iter().take(10));
        for line in details.chain(reconcile) {
            say(line);
        }
        good
    }
}

/// Runs; `true` when nothing was refused, lost or doubled.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let lab = Lab::find(&["--rivals"])?;
    let binaries = programs::build()?;
    let folder = lab.folder("rolling")?;
    let mut stores = Stores::start(&lab, &folder, args.replace).await?;
    stores.migrate(&binaries, SECRET).await?;
    if args.replace {
        stores.follow().await?;
    }
    let edges = (1..=args.edges).map(|nth| (format!("edge-{nth}"), Part::Edge));
    let parts: Vec<_> =
        (1..=args.control_planes).map(|nth| (format!("control-{nth}"), Part::All)).chain(edges).collect();
    let mut fleet = Fleet::start(&lab, &folder, stores, &parts, &binaries).await?;
    let (cast, target) = fleet.cast().await?;
    say(&format!(
        "haproxy, {} edges, {} control planes; {} clicks and {} sales a second",
        args.edges, args.control_planes, args.rate, args.sales
    ));
    let load = fleet.load((&cast, &target), (args.rate, args.sales), &Ended::default());
    let done = roll(&mut fleet, &binaries, args.replace).await;
    let ended = load.end().await?;
    done?;
    let figures = fleet.account(ended).await?;
    let good = figures.show(if args.replace { REFUSED_FOR } else { Duration::ZERO });
    say(&format!(
        "commands granted in Redis and not used: {}",
        fleet.stores.unused_commands().await?.join(" ")
    ));
    if good {
        fleet.went_well();
    }
    Ok(good)
}

/// Restarts everything, one after another, control planes and edges by turns.
async fn roll(fleet: &mut Fleet, binaries: &Path, replace: bool) -> anyhow::Result<()> {
    let mut order: Vec<usize> = (0..fleet.members.len()).collect();
    order.sort_by_key(|nth| fleet.members[*nth].name().rsplit('-').next().map(str::to_owned));
    for (turn, nth) in order.iter().enumerate() {
        tokio::time::sleep(BREATH).await;
        if replace && turn == order.len() / 2 {
            let took = fleet.stores.replace_masters().await?;
            let took: Vec<_> = took.iter().map(|took| format!("{:.1} s", took.as_secs_f64())).collect();
            say(&format!(
                "  replaced two masters of the Redis Cluster; replicas took over after {}",
                took.join(", ")
            ));
            let took = fleet.stores.replace_primary().await?;
            say(&format!("  replaced the primary of Postgres after {:.1} s", took.as_secs_f64()));
            tokio::time::sleep(BREATH).await;
        }
        let started = Instant::now();
        fleet.restart(*nth, binaries, false).await?;
        let name = fleet.members[*nth].name();
        say(&format!("  restarted {name} in {:.1} s", started.elapsed().as_secs_f64()));
    }
    tokio::time::sleep(BREATH).await;
    Ok(())
}
