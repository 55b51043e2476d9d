//! The whole system, private to one run: Postgres, Redis, control plane and edge on free ports, with all
//! their data in one folder that is removed at the end. Each part can be killed and started again.

use crate::api::Api;
use crate::clicker::Target;
use crate::programs::{self, Program, signal};
use crate::proxy::Proxy;
use anyhow::{Context, ensure};
use sqlx::PgPool;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const START_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);

/// Which servers may be started, as `cargo xtask lab` tells.
struct Lab {
    postgres: PathBuf,
    redis: PathBuf,
    home: PathBuf,
    account: Option<(u32, u32)>,
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
    /// Put misbehaving proxies between the programs and their servers.
    pub(crate) proxies: bool,
    /// Where the edge's spool is, when not in the run's folder.
    pub(crate) spool: Option<PathBuf>,
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
    /// The edge's spool.
    pub(crate) spool: PathBuf,
    /// The proxies, if asked for.
    pub(crate) proxies: Option<Proxies>,
    redis_args: Vec<String>,
    control_env: Vec<(&'static str, String)>,
    binaries: PathBuf,
    keep: bool,
    api_addr: SocketAddr,
    database_url: String,
    lab: Lab,
    redis_port: u16,
    postgres_port: u16,
    redis: Option<Child>,
    postgres: Option<Child>,
    folder: PathBuf,
}

impl Lab {
    fn find() -> anyhow::Result<Self> {
        let output = Command::new("cargo")
            .args(["xtask", "lab"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo xtask")?;
        ensure!(output.status.success(), "cargo xtask lab failed");
        let text = String::from_utf8(output.stdout)?;
        let line = text.lines().last().context("cargo xtask lab said nothing")?;
        let lab: serde_json::Value = serde_json::from_str(line).context("cargo xtask lab said no JSON")?;
        let path =
            |name: &str| lab[name].as_str().map(PathBuf::from).with_context(|| format!("no {name} in {lab}"));
        let number = |name: &str| lab[name].as_u64().and_then(|number| u32::try_from(number).ok());
        Ok(Self {
            postgres: path("postgres")?,
            redis: path("redis")?,
            home: path("home")?,
            account: number("uid").zip(number("gid")),
        })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        // A group of their own: Ctrl-C in the terminal is for this program, which then stops them.
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((uid, gid)) = self.account {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .context("cannot hand a folder to the servers")?;
        }
        Ok(())
    }
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn log_to(path: &Path) -> anyhow::Result<Stdio> {
    let file =
        std::fs::OpenOptions::new().create(true).append(true).open(path).context("cannot open a log")?;
    Ok(file.into())
}

impl Stack {
    /// Builds our programs, starts everything and waits until it is ready.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// The same, set up otherwise.
    pub(crate) async fn start_with(options: Options) -> anyhow::Result<Self> {
        let lab = Lab::find()?;
        let binaries = programs::build()?;
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let nth = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = lab.home.join(format!("load-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(&folder).context("cannot make the run's folder")?;
        let [pg_port, redis_port, api, api_admin, edge_port, edge_admin] = free_ports()?;
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let postgres = start_postgres(&lab, &folder, pg_port)?;
        let redis = start_redis(&lab, &folder, redis_port, &options.redis)?;
        let database_url = format!("postgres://aos@127.0.0.1:{pg_port}/postgres");
        let proxies = if options.proxies {
            Some(Proxies {
                edge_redis: Proxy::start(local(redis_port)).await?,
                control_redis: Proxy::start(local(redis_port)).await?,
                control_postgres: Proxy::start(local(pg_port)).await?,
            })
        } else {
            None
        };
        let through = |proxy: Option<&Proxy>, port: u16| proxy.map_or(local(port), |proxy| proxy.addr);
        let edge_redis = through(proxies.as_ref().map(|all| &all.edge_redis), redis_port);
        let control_redis = through(proxies.as_ref().map(|all| &all.control_redis), redis_port);
        let control_postgres = through(proxies.as_ref().map(|all| &all.control_postgres), pg_port);
        let spool = options.spool.unwrap_or_else(|| folder.join("spool"));
        let common = [
            ("AOS_SECRET", "5ec2e7".repeat(11).chars().take(64).collect()),
            ("AOS_CLICK_SHARDS", "4".to_owned()),
            ("AOS_LOG", "info".to_owned()),
        ];
        let mut control_env = common.to_vec();
        control_env.extend([
            ("AOS_REDIS_URL", format!("redis://{control_redis}/")),
            ("AOS_DATABASE_URL", format!("postgres://aos@{control_postgres}/postgres")),
            ("AOS_ADDR", local(api).to_string()),
            ("AOS_ADMIN_ADDR", local(api_admin).to_string()),
            ("AOS_API_ORIGIN", format!("http://{}", local(api))),
            ("AOS_TRACKING_ORIGIN", format!("http://{}", local(edge_port))),
            ("AOS_SIGNUPS_PER_HOUR", "0".to_owned()),
        ]);
        control_env.extend(options.control);
        let mut edge_env = common.to_vec();
        edge_env.extend([
            ("AOS_REDIS_URL", format!("redis://{edge_redis}/")),
            ("AOS_EDGE_ADDR", local(edge_port).to_string()),
            ("AOS_EDGE_ADMIN_ADDR", local(edge_admin).to_string()),
            ("AOS_EDGE_SPOOL_DIR", spool.display().to_string()),
        ]);
        edge_env.extend(options.edge);
        let mut stack = Self {
            edge: Program::new("tracker-edge", &binaries, &folder, local(edge_admin), &edge_env),
            control_plane: Program::new("control-plane", &binaries, &folder, local(api_admin), &control_env),
            edge_addr: local(edge_port),
            spool,
            proxies,
            redis_args: options.redis,
            control_env,
            binaries,
            keep: false,
            api_addr: local(api),
            database_url,
            lab,
            redis_port,
            postgres_port: pg_port,
            redis: Some(redis),
            postgres: Some(postgres),
            folder,
        };
        stack.postgres_ready().await?;
        stack.redis_ready().await?;
        stack.control_plane.run_once("migrate")?;
        stack.control_plane.start()?;
        stack.edge.start()?;
        stack.control_plane.ready().await?;
        stack.edge.ready().await?;
        Ok(stack)
    }

    /// The API without a key.
    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        Api::new(&format!("http://{}", self.api_addr))
    }

    /// Connections to the run's database.
    pub(crate) async fn database(&self) -> anyhow::Result<PgPool> {
        PgPool::connect(&self.database_url).await.context("cannot reach Postgres")
    }

    async fn postgres_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_FOR;
        while self.database().await.is_err() {
            ensure!(
                Instant::now() < deadline,
                "Postgres did not start; see {}",
                self.folder.join("postgres.log").display()
            );
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn redis_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_FOR;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.redis_port)).await.is_err() {
            ensure!(
                Instant::now() < deadline,
                "Redis did not start; see {}",
                self.folder.join("redis.log").display()
            );
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Waits until the edge redirects this link.
    pub(crate) async fn wait_for_link(&self, target: &Target) -> anyhow::Result<()> {
        let http =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let deadline = Instant::now() + START_FOR;
        loop {
            // HEAD answers like GET and records nothing.
            let reply = http.head(format!("http://{}{}", target.addr, target.path)).send().await;
            if reply.is_ok_and(|reply| reply.status().as_u16() == 302) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the link did not reach the edge within {START_FOR:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// `kill -9` of Redis; everything in it is gone.
    pub(crate) fn kill_redis(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.redis.take() {
            child.kill().context("cannot kill Redis")?;
            child.wait().context("cannot wait for Redis")?;
        }
        Ok(())
    }

    /// Sends a signal to Redis: SIGSTOP makes it a peer that is there and says nothing.
    pub(crate) fn signal_redis(&self, what: i32) -> anyhow::Result<()> {
        signal(self.redis.as_ref().context("Redis does not run")?.id(), what)
    }

    /// Sends a signal to Postgres and all its backends.
    pub(crate) fn signal_postgres(&self, what: i32) -> anyhow::Result<()> {
        let leader = self.postgres.as_ref().context("Postgres does not run")?.id();
        let children =
            std::fs::read_to_string(format!("/proc/{leader}/task/{leader}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            signal(child.parse()?, what)?;
        }
        signal(leader, what)
    }

    /// `kill -9` of Postgres with all its backends.
    pub(crate) fn kill_postgres(&mut self) -> anyhow::Result<()> {
        self.signal_postgres(libc::SIGKILL)?;
        if let Some(mut postgres) = self.postgres.take() {
            postgres.wait().context("cannot wait for Postgres")?;
        }
        Ok(())
    }

    /// Starts Postgres again on the data it left.
    pub(crate) fn start_postgres(&mut self) -> anyhow::Result<()> {
        // A killed server leaves its lock file; its process is gone, we waited for it.
        std::fs::remove_file(self.folder.join("postgres/postmaster.pid")).ok();
        self.postgres = Some(run_postgres(&self.lab, &self.folder, self.postgres_port)?);
        Ok(())
    }

    /// A connection for commands to Redis, past any proxy.
    pub(crate) async fn redis(&self) -> anyhow::Result<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.redis_port))?;
        client.get_multiplexed_async_connection().await.context("cannot reach Redis")
    }

    /// `kill -9` of one Postgres backend that works for the control plane.
    pub(crate) async fn kill_a_backend(&self) -> anyhow::Result<()> {
        let database = self.database().await?;
        let pid: Option<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'control-plane%' ORDER BY random() LIMIT 1",
        )
        .fetch_optional(&database)
        .await?;
        let pid = pid.context("the control plane has no connection")?;
        signal(pid.unsigned_abs(), libc::SIGKILL)
    }

    /// Another drainer on the same streams and database, not started yet.
    pub(crate) fn second_drainer(&self) -> anyhow::Result<Program> {
        let [admin] = free_ports()?;
        let admin = SocketAddr::from(([127, 0, 0, 1], admin));
        let mut env = self.control_env.clone();
        env.push(("AOS_ADMIN_ADDR", admin.to_string()));
        Ok(Program::new("control-plane drain", &self.binaries, &self.folder, admin, &env))
    }

    /// Leaves the run's folder, with its logs, where it is.
    pub(crate) fn keep_folder(&mut self) {
        self.keep = true;
    }

    /// Starts Redis again, empty.
    pub(crate) fn start_redis(&mut self) -> anyhow::Result<()> {
        self.redis = Some(start_redis(&self.lab, &self.folder, self.redis_port, &self.redis_args)?);
        Ok(())
    }

    /// Stops everything in order, the edge first: it ships what it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.edge.stop()?;
        self.control_plane.stop()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Ours, by id; what is already gone is gone.
        self.edge.kill().ok();
        self.control_plane.kill().ok();
        self.kill_redis().ok();
        if let Some(mut postgres) = self.postgres.take() {
            // SIGQUIT is Postgres's immediate stop: it takes its backends along.
            signal(postgres.id(), libc::SIGQUIT).ok();
            postgres.wait().ok();
        }
        if self.keep || std::thread::panicking() {
            crate::say(&format!("logs are kept in {}", self.folder.display()));
        } else {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

fn start_redis(lab: &Lab, folder: &Path, port: u16, further: &[String]) -> anyhow::Result<Child> {
    lab.command(&lab.redis.join("redis-server"))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--maxmemory-policy", "noeviction", "--dir", "/"])
        .args(further)
        .stdout(log_to(&folder.join("redis.log"))?)
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start Redis")
}

fn start_postgres(lab: &Lab, folder: &Path, port: u16) -> anyhow::Result<Child> {
    let data = folder.join("postgres");
    std::fs::create_dir_all(&data).context("cannot make the data folder")?;
    lab.give(&data)?;
    let made = lab
        .command(&lab.postgres.join("initdb"))
        .args([
            "--username",
            "aos",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--no-locale",
            "--no-sync",
            "--pgdata",
        ])
        .arg(&data)
        .stdout(log_to(&folder.join("initdb.log"))?)
        .status()
        .context("cannot run initdb")?;
    ensure!(made.success(), "initdb failed; see {}", folder.join("initdb.log").display());
    run_postgres(lab, folder, port)
}

fn run_postgres(lab: &Lab, folder: &Path, port: u16) -> anyhow::Result<Child> {
    let data = folder.join("postgres");
    lab.command(&lab.postgres.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-p", &port.to_string()])
        .args(["-c", "max_connections=200", "-c", "jit=off"])
        .stdout(log_to(&folder.join("postgres.log"))?)
        .stderr(log_to(&folder.join("postgres.log"))?)
        .spawn()
        .context("cannot start Postgres")
}
