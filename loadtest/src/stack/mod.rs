//! The whole system, private to one run: Postgres, Redis, control plane and edge on free ports, with all
//! their data in one folder that is removed at the end. Each part can be killed and started again.

pub(crate) mod cluster;
pub(crate) mod disk;
pub(crate) mod ground;
pub(crate) mod servers;

use crate::api::Api;
use crate::clicker::Target;
use crate::programs::{Program, signal};
use crate::proxy::Proxy;
use anyhow::{Context, ensure};
use chrono::{Datelike, Months, NaiveTime};
use cluster::Cluster;
use disk::Disk;
use ground::{Ground, free_ports};
use servers::{Postgres, Redis};
use sqlx::PgPool;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const REACHED_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);
/// What is on its way when the last click is counted may take so long to be reported.
const SETTLED_FOR: Duration = Duration::from_mins(1);
const RECONCILE_PAUSE: Duration = Duration::from_millis(300);
/// A stack whose clock begins near the end of the month has this long until then.
const MONTH_END_LEAD_SECONDS: i64 = 3_600;
/// Streams of a stack (`AOS_CLICK_SHARDS`).
pub(crate) const SHARDS: u16 = 4;
/// Of every stack; nothing here outlives its run.
pub(crate) const SECRET: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";

/// What a small disk is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DiskFor {
    /// The edge's spool.
    Spool,
    /// Redis' append-only file.
    Redis,
    /// The tables of Postgres; its log of changes is elsewhere.
    Postgres,
}

/// How a stack differs from the plain one.
#[derive(Default)]
pub(crate) struct Options {
    /// Further settings of the edge.
    pub(crate) edge: Vec<(&'static str, String)>,
    /// Further settings of the control plane.
    pub(crate) control: Vec<(&'static str, String)>,
    /// Further arguments of Redis.
    pub(crate) redis: Vec<String>,
    /// Further settings of Postgres.
    pub(crate) postgres: Vec<String>,
    /// The data folder Postgres begins as a copy of, in place of the empty one; its schema may be older.
    pub(crate) data: Option<PathBuf>,
    /// Put misbehaving proxies between the programs and their servers.
    pub(crate) proxies: bool,
    /// A Redis Cluster instead of one Redis.
    pub(crate) cluster: bool,
    /// A disk of so many MiB for one part.
    pub(crate) disk: Option<(DiskFor, u32)>,
    /// The edge is handed its listening socket, which outlives it.
    pub(crate) hand_socket: bool,
    /// Programs whose clock can be set.
    pub(crate) clock: Option<Clock>,
    /// The edge also speaks TLS, with a certificate of this run.
    pub(crate) tls: bool,
    /// Open files the edge may have at most.
    pub(crate) edge_files_max: Option<u64>,
}

/// Whose clock can be set, and where it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    /// The edge's; right at first.
    Edge,
    /// The edge's and the control plane's; an hour before the end of the month at first.
    MonthEnd,
}

/// The proxies of a stack that has them.
pub(crate) struct Proxies {
    /// Between edge and Redis.
    pub(crate) edge_redis: Proxy,
    /// Between control plane and Redis.
    pub(crate) control_redis: Proxy,
    /// Between control plane and Postgres.
    pub(crate) control_postgres: Proxy,
}

/// Everything that runs. Dropping it kills and removes it.
pub(crate) struct Stack {
    /// The edge.
    pub(crate) edge: Program,
    /// The control plane, all roles.
    pub(crate) control_plane: Program,
    /// Where redirects are.
    pub(crate) edge_addr: SocketAddr,
    /// The same over TLS, if asked for.
    pub(crate) tls: Option<Tls>,
    /// The edge's spool.
    pub(crate) spool: PathBuf,
    /// The proxies, if asked for.
    pub(crate) proxies: Option<Proxies>,
    /// Redis.
    pub(crate) redis: Redis,
    /// The cluster that is used in its place, if asked for.
    pub(crate) cluster: Option<Cluster>,
    /// Postgres.
    pub(crate) postgres: Postgres,
    /// The small disk, if asked for.
    pub(crate) disk: Option<Disk>,
    /// Where everything of this stack is.
    pub(crate) folder: PathBuf,
    /// What it stands on.
    pub(crate) ground: Arc<Ground>,
    control_env: Vec<(&'static str, String)>,
    edge_env: Vec<(&'static str, String)>,
    api_addr: SocketAddr,
    clock: Option<SetClock>,
    keep: bool,
}

/// Where the edge speaks TLS, and who vouches for it.
pub(crate) struct Tls {
    /// Its address.
    pub(crate) addr: SocketAddr,
    /// Its certificate, which signs itself.
    pub(crate) certificate: rustls::pki_types::CertificateDer<'static>,
    env: [(&'static str, String); 3],
}

impl Tls {
    /// The name it vouches for.
    pub(crate) const HOST: &str = "go.example";

    fn new(folder: &Path) -> anyhow::Result<Self> {
        let pair = rcgen::generate_simple_self_signed([Self::HOST.to_owned()]).context("no certificate")?;
        let (certificate, key) = (folder.join("edge.crt"), folder.join("edge.key"));
        std::fs::write(&certificate, pair.cert.pem())?;
        std::fs::write(&key, pair.signing_key.serialize_pem())?;
        let [port] = free_ports()?;
        let env = [
            ("AOS_EDGE_TLS_ADDR", local(port).to_string()),
            ("AOS_EDGE_TLS_CERT", certificate.display().to_string()),
            ("AOS_EDGE_TLS_KEY", key.display().to_string()),
        ];
        Ok(Self { addr: local(port), certificate: pair.cert.der().clone(), env })
    }
}

/// A clock that is set by a file.
struct SetClock {
    file: PathBuf,
    offset_seconds: i64,
}

impl SetClock {
    fn write(&self) -> anyhow::Result<()> {
        // Whole or not at all: the programs read it at any time.
        let draft = self.file.with_extension("new");
        std::fs::write(&draft, format!("{:+}\n", self.offset_seconds)).context("cannot set the clock")?;
        std::fs::rename(&draft, &self.file).context("cannot set the clock")
    }
}

/// Seconds from now to the end of the UTC month.
fn seconds_to_month_end() -> i64 {
    let now = shared::Clock::now(&shared::SystemClock);
    let first = now.date_naive().with_day(1).unwrap_or_default();
    let next = first.checked_add_months(Months::new(1)).unwrap_or_default();
    (next.and_time(NaiveTime::MIN).and_utc() - now).num_seconds()
}

/// A port on loopback.
pub(crate) const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

impl Stack {
    /// Starts everything and waits until it is ready.
    pub(crate) async fn start(ground: &Arc<Ground>, options: Options) -> anyhow::Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let folder = ground.folder(STARTED.fetch_add(1, Ordering::Relaxed))?;
        let disk = match options.disk {
            Some((_, size_mib)) => Some(Disk::mount(&folder.join("disk"), size_mib)?),
            None => None,
        };
        let disk_for = |what| disk.as_ref().filter(|_| options.disk.is_some_and(|(part, _)| part == what));
        let mut spool = folder.join("spool");
        if let Some(disk) = disk_for(DiskFor::Spool) {
            spool = disk.folder().join("spool");
        }
        let mut redis_arguments = options.redis.clone();
        if let Some(disk) = disk_for(DiskFor::Redis) {
            ground.lab.give(disk.folder())?;
            redis_arguments.extend(["--dir".to_owned(), disk.folder().display().to_string()]);
        }
        let redis = Redis::new(&ground.lab, &folder, &redis_arguments)?;
        let [pg_port, api, api_admin, edge_port, edge_admin] = free_ports()?;
        let postgres = Postgres::new(&ground.lab, &folder.join("postgres"), pg_port, &options.postgres);
        postgres.copy(options.data.as_ref().unwrap_or(&ground.template))?;
        let proxies = if options.proxies { Some(Proxies::start(redis.port(), pg_port).await?) } else { None };
        let through = |proxy: Option<&Proxy>, port: u16| proxy.map_or(local(port), |proxy| proxy.addr);
        let edge_redis = through(proxies.as_ref().map(|all| &all.edge_redis), redis.port());
        let control_redis = through(proxies.as_ref().map(|all| &all.control_redis), redis.port());
        let control_postgres = through(proxies.as_ref().map(|all| &all.control_postgres), pg_port);
        let cluster = if options.cluster { Some(Cluster::start(&ground.lab, &folder).await?) } else { None };
        let redis_url = |addr| cluster.as_ref().map_or_else(|| format!("redis://{addr}/"), Cluster::url);
        let common = [
            ("AOS_SECRET", SECRET.to_owned()),
            ("AOS_CLICK_SHARDS", SHARDS.to_string()),
            ("AOS_LOG", "info".to_owned()),
        ];
        let mut control_env = common.to_vec();
        control_env.extend([
            ("AOS_REDIS_URL", redis_url(control_redis)),
            ("AOS_DATABASE_URL", format!("postgres://aos@{control_postgres}/postgres")),
            ("AOS_ADDR", local(api).to_string()),
            ("AOS_ADMIN_ADDR", local(api_admin).to_string()),
            ("AOS_API_ORIGIN", format!("http://{}", local(api))),
            ("AOS_TRACKING_ORIGIN", format!("http://{}", local(edge_port))),
            ("AOS_SIGNUPS_PER_HOUR", "0".to_owned()),
        ]);
        control_env.extend(options.control);
        let clock = match options.clock {
            None => None,
            Some(kind) => {
                let offset_seconds =
                    if kind == Clock::MonthEnd { seconds_to_month_end() - MONTH_END_LEAD_SECONDS } else { 0 };
                let clock = SetClock { file: folder.join("clock"), offset_seconds };
                clock.write()?;
                if kind == Clock::MonthEnd {
                    control_env.extend(ground.lab.clock_env(&clock.file)?);
                }
                Some(clock)
            }
        };
        let mut edge_env = common.to_vec();
        edge_env.extend([
            ("AOS_REDIS_URL", redis_url(edge_redis)),
            ("AOS_EDGE_ADDR", local(edge_port).to_string()),
            ("AOS_EDGE_ADMIN_ADDR", local(edge_admin).to_string()),
            ("AOS_EDGE_SPOOL_DIR", spool.display().to_string()),
        ]);
        edge_env.extend(options.edge);
        let tls = if options.tls { Some(Tls::new(&folder)?) } else { None };
        edge_env.extend(tls.iter().flat_map(|tls| tls.env.clone()));
        if let Some(clock) = &clock {
            edge_env.extend(ground.lab.clock_env(&clock.file)?);
        }
        let program =
            |name, admin, env: &[_]| Program::new(name, &ground.binaries, &folder, local(admin), env);
        let mut edge = program("tracker-edge", edge_admin, &edge_env);
        edge.files_max = options.edge_files_max;
        if options.hand_socket {
            let socket = TcpListener::bind(local(edge_port)).context("cannot open the edge's socket")?;
            edge.listeners.push(socket);
        }
        let mut stack = Self {
            edge,
            control_plane: program("control-plane", api_admin, &control_env),
            edge_addr: local(edge_port),
            tls,
            spool,
            proxies,
            redis,
            cluster,
            postgres,
            folder,
            ground: Arc::clone(ground),
            control_env,
            edge_env,
            api_addr: local(api),
            clock,
            keep: false,
            disk: None,
        };
        stack.postgres.start()?;
        stack.redis.start()?;
        stack.postgres.ready().await?;
        stack.redis.ready().await?;
        if options.data.is_some() {
            ground.migrate(&stack.postgres)?;
        }
        if let Some(disk) = disk_for(DiskFor::Postgres) {
            stack.move_tables(disk).await?;
        }
        stack.disk = disk;
        stack.control_plane.start()?;
        stack.edge.start()?;
        stack.control_plane.ready().await?;
        stack.edge.ready().await?;
        Ok(stack)
    }

    /// Puts all tables on a disk of their own.
    async fn move_tables(&self, disk: &Disk) -> anyhow::Result<()> {
        let folder = disk.folder().join("tables");
        std::fs::create_dir_all(&folder).context("cannot make the folder of the tables")?;
        self.ground.lab.give(disk.folder())?;
        self.ground.lab.give(&folder)?;
        // A database is not moved from within.
        let beside = format!("postgres://aos@127.0.0.1:{}/template1", self.postgres.port());
        let beside = PgPool::connect(&beside).await.context("cannot reach template1")?;
        let place = format!("CREATE TABLESPACE small LOCATION '{}'", folder.display());
        sqlx::raw_sql(sqlx::AssertSqlSafe(place)).execute(&beside).await?;
        sqlx::raw_sql("ALTER DATABASE postgres SET TABLESPACE small").execute(&beside).await?;
        beside.close().await;
        Ok(())
    }

    /// The API without a key.
    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        Api::new(&format!("http://{}", self.api_addr))
    }

    /// Where the API listens.
    pub(crate) const fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// Connections to the run's database, past any proxy.
    pub(crate) async fn database(&self) -> anyhow::Result<PgPool> {
        PgPool::connect(&self.postgres.url()).await.context("cannot reach Postgres")
    }

    /// Waits until the edge redirects this link.
    pub(crate) async fn wait_for_link(&self, target: &Target) -> anyhow::Result<()> {
        let http =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let deadline = Instant::now() + REACHED_FOR;
        loop {
            // HEAD answers like GET and records nothing.
            let reply = http.head(format!("http://{}{}", target.addr, target.path)).send().await;
            if reply.is_ok_and(|reply| reply.status().as_u16() == 302) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the link did not reach the edge within {REACHED_FOR:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks `control-plane reconcile` until it is content; whether it ever was, and what it said last.
    pub(crate) async fn reconcile(&self) -> anyhow::Result<(bool, String)> {
        let started = Instant::now();
        loop {
            let (code, text) = self.control_plane.outcome(&["reconcile", "--settled", "--log", "error"])?;
            if code == Some(0) || started.elapsed() > SETTLED_FOR {
                return Ok((code == Some(0), text));
            }
            tokio::time::sleep(RECONCILE_PAUSE).await;
        }
    }

    /// `kill -9` of one Postgres backend that works for the control plane.
    pub(crate) async fn kill_a_backend(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + REACHED_FOR;
        // After a kill Postgres ends all others too and recovers: for a moment there are none, and no answer.
        let pid = loop {
            if let Ok(Some(pid)) = self.a_backend().await {
                break pid;
            }
            ensure!(Instant::now() < deadline, "the control plane has no connection");
            tokio::time::sleep(PAUSE).await;
        };
        signal(pid.unsigned_abs(), libc::SIGKILL)
    }

    async fn a_backend(&self) -> anyhow::Result<Option<i32>> {
        let database = self.database().await?;
        Ok(sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'control-plane%' ORDER BY random() LIMIT 1",
        )
        .fetch_optional(&database)
        .await?)
    }

    /// A backup of the primary as it is now, in the run's folder.
    pub(crate) fn back_up(&self) -> anyhow::Result<PathBuf> {
        let data = self.folder.join("backup/data");
        std::fs::create_dir_all(self.folder.join("backup"))?;
        self.postgres.back_up(&data, &["-X", "stream"])?;
        Ok(data)
    }

    /// Puts a backup in the place of the primary, which is gone, and waits until the control plane is ready on it.
    pub(crate) async fn restore(&mut self, data: &Path) -> anyhow::Result<()> {
        std::fs::write(data.join("recovery.signal"), "").context("cannot ask for a recovery")?;
        let settings =
            ["restore_command=false", "recovery_target=immediate", "recovery_target_action=promote"];
        let [port] = free_ports()?;
        let mut backup = Postgres::new(&self.ground.lab, data, port, &settings.map(str::to_owned));
        backup.start()?;
        backup.ready().await?;
        let proxies = self.proxies.as_ref().context("the stack has no proxies")?;
        proxies.control_postgres.lead_to(local(port));
        self.postgres = backup;
        self.control_plane.ready().await
    }

    /// Another drainer on the same streams and database, not started yet.
    pub(crate) fn second_drainer(&self) -> anyhow::Result<Program> {
        Ok(self.second("control-plane drain", &[])?.0)
    }

    /// Another process of the control plane, `control-plane ROLE`, with further settings, not started yet; and where
    /// its API would be.
    pub(crate) fn second(
        &self,
        name: &'static str,
        further: &[(&'static str, String)],
    ) -> anyhow::Result<(Program, SocketAddr)> {
        let [admin, api] = free_ports()?.map(local);
        let mut env = self.control_env.clone();
        env.extend([("AOS_ADMIN_ADDR", admin.to_string()), ("AOS_ADDR", api.to_string())]);
        env.extend_from_slice(further);
        Ok((Program::new(name, &self.ground.binaries, &self.folder, admin, &env), api))
    }

    /// Another edge, on the address given or on one of its own, with a spool of its own; not started yet.
    pub(crate) fn another_edge(
        &self,
        at: Option<SocketAddr>,
    ) -> anyhow::Result<(Program, SocketAddr, PathBuf)> {
        let [admin, port] = free_ports()?;
        let addr = at.unwrap_or(local(port));
        let spool = self.folder.join(format!("spool-{port}"));
        let mut env = self.edge_env.clone();
        env.extend([
            ("AOS_EDGE_ADDR", addr.to_string()),
            ("AOS_EDGE_ADMIN_ADDR", local(admin).to_string()),
            ("AOS_EDGE_SPOOL_DIR", spool.display().to_string()),
        ]);
        let edge = Program::new("tracker-edge", &self.ground.binaries, &self.folder, local(admin), &env);
        Ok((edge, addr, spool))
    }

    /// Sets the clock of the programs that have one: so many seconds ahead of the right time.
    pub(crate) fn set_clock(&mut self, offset_seconds: i64) -> anyhow::Result<()> {
        let clock = self.clock.as_mut().context("the stack has no clock of its own")?;
        clock.offset_seconds = offset_seconds;
        clock.write()
    }

    /// Moves the clock on.
    pub(crate) fn move_clock(&mut self, seconds: i64) -> anyhow::Result<()> {
        let offset = self.clock.as_ref().context("the stack has no clock of its own")?.offset_seconds;
        self.set_clock(offset + seconds)
    }

    /// Seconds until the month ends by the stack's clock.
    pub(crate) fn seconds_to_month_end(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| seconds_to_month_end() - clock.offset_seconds)
    }

    /// Leaves the run's folder, with its logs, where it is.
    pub(crate) fn keep_folder(&mut self) {
        self.keep = true;
    }

    /// Stops everything in order, the edge first: it ships what it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.edge.stop()?;
        self.control_plane.stop()
    }
}

impl Proxies {
    async fn start(redis: u16, postgres: u16) -> anyhow::Result<Self> {
        Ok(Self {
            edge_redis: Proxy::start(local(redis)).await?,
            control_redis: Proxy::start(local(redis)).await?,
            control_postgres: Proxy::start(local(postgres)).await?,
        })
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Ours, by id; what is already gone is gone.
        self.edge.kill().ok();
        self.control_plane.kill().ok();
        self.redis.kill().ok();
        self.postgres.signal(libc::SIGCONT).ok();
        self.postgres.kill().ok();
        self.disk = None;
        if self.keep || std::thread::panicking() {
            crate::say(&format!("  logs are kept in {}", self.folder.display()));
        } else {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}
