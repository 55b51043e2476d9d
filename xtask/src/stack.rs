//! The four programs of `cargo xtask up`: what each is given, and in which order they come and go.
//!
//! Order of starting: Postgres, Redis, control plane, edge. Order of stopping: the edge first, while
//! everything it drains into still runs; then the control plane, Redis, Postgres.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::http;
use crate::interrupt::Interrupt;
use crate::layout::{self, Layout};
use crate::process::{self, Found, Process, RunDir, Spec, tail};
use crate::progress::{Step, note};
use crate::servers::postgres::Postgres;
use crate::servers::redis::Redis;
use crate::servers::{Programs, ports, postgres, redis};

pub const CONTROL_PLANE: &str = "control-plane";
pub const EDGE: &str = "tracker-edge";
/// In the order in which they start.
pub const NAMES: [&str; 4] = [postgres::NAME, redis::NAME, CONTROL_PLANE, EDGE];
/// The database of the demo.
pub const DATABASE: &str = "affiliateos";

/// Starting includes connecting to both servers and loading links.
const READY_WAIT: Duration = Duration::from_mins(1);
/// Longer than the programs' own deadlines for draining, so that theirs decide.
const DRAIN_WAIT: Duration = Duration::from_secs(45);

/// The ports in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct Ports {
    /// Redirects.
    #[arg(long = "port-edge", env = "AOS_PORT_EDGE", default_value_t = 8080)]
    pub edge: u16,
    /// The edge's metrics and readiness.
    #[arg(long = "port-edge-admin", env = "AOS_PORT_EDGE_ADMIN", default_value_t = 9080)]
    pub edge_admin: u16,
    /// The API.
    #[arg(long = "port-api", env = "AOS_PORT_API", default_value_t = 8081)]
    pub api: u16,
    /// The control plane's metrics and readiness.
    #[arg(long = "port-api-admin", env = "AOS_PORT_API_ADMIN", default_value_t = 9081)]
    pub api_admin: u16,
    /// The private PostgreSQL. Below the range the kernel hands out to outgoing connections.
    #[arg(long = "port-postgres", env = "AOS_PORT_POSTGRES", default_value_t = 15433)]
    pub postgres: u16,
    /// The private Redis.
    #[arg(long = "port-redis", env = "AOS_PORT_REDIS", default_value_t = 16380)]
    pub redis: u16,
}

impl Ports {
    /// The ports last used, if any.
    pub fn saved(layout: &Layout) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(settings_file(layout)).ok()?).ok()
    }

    fn save(&self, layout: &Layout) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("cannot write the settings as JSON")?;
        layout::write_private(&settings_file(layout), &text)
    }

    /// The ports of one program, each with the flag that moves it.
    fn of(&self, name: &str) -> Vec<(u16, &'static str)> {
        match name {
            postgres::NAME => vec![(self.postgres, "--port-postgres")],
            redis::NAME => vec![(self.redis, "--port-redis")],
            CONTROL_PLANE => vec![(self.api, "--port-api"), (self.api_admin, "--port-api-admin")],
            _ => vec![(self.edge, "--port-edge"), (self.edge_admin, "--port-edge-admin")],
        }
    }
}

fn settings_file(layout: &Layout) -> PathBuf {
    layout.state.join("settings.json")
}

/// The private Postgres of a clone.
pub fn postgres_of(layout: &Layout, programs: &Programs, ports: &Ports) -> Result<Postgres> {
    Ok(Postgres {
        program: programs.postgres.clone(),
        directory: layout.home.join("postgres"),
        port: ports.postgres,
        password: layout.secret_file("password")?,
        account: layout.account.clone(),
        settings: vec!["jit=off"],
    })
}

/// The private Redis of a clone.
pub fn redis_of(layout: &Layout, programs: &Programs, ports: &Ports) -> Result<Redis> {
    Ok(Redis {
        program: programs.redis.clone(),
        directory: layout.home.join("redis"),
        port: ports.redis,
        password: layout.secret_file("password")?,
        account: layout.account.clone(),
    })
}

/// All four, started or not.
#[derive(Debug)]
pub struct Stack<'a> {
    layout: &'a Layout,
    ports: Ports,
    run: RunDir,
    postgres: Postgres,
    redis: Redis,
    /// Paths of our own programs, by name.
    programs: BTreeMap<String, PathBuf>,
    secret: String,
    running: BTreeMap<&'static str, Process>,
    interrupt: &'a Interrupt,
}

impl<'a> Stack<'a> {
    /// Finds out what already runs, and that the rest has its ports to itself.
    pub fn new(
        layout: &'a Layout,
        servers: &Programs,
        ports: Ports,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let run = RunDir::new(layout.run_dir());
        let mut running = BTreeMap::new();
        for name in NAMES {
            match run.find(name) {
                Found::Running(process) => {
                    note(format!("  ✓ {name} still runs from before (process {})", process.pid));
                    running.insert(name, process);
                }
                Found::Stale(reason) => {
                    note(format!("  ! {name} was not shut down last time ({reason}): starting it again"));
                    run.forget(name);
                }
                Found::Nothing => {}
            }
        }
        if !running.is_empty() && Ports::saved(layout).is_some_and(|saved| saved != ports) {
            bail!("it runs with other ports at the moment; `cargo xtask down` first");
        }
        let stack = Self {
            postgres: postgres_of(layout, servers, &ports)?,
            redis: redis_of(layout, servers, &ports)?,
            secret: layout.secret_file("secret")?,
            programs: BTreeMap::new(),
            layout,
            ports,
            run,
            running,
            interrupt,
        };
        stack.check_ports()?;
        stack.ports.save(layout)?;
        Ok(stack)
    }

    /// Fails with every taken port at once.
    fn check_ports(&self) -> Result<()> {
        let mut taken = String::new();
        for name in NAMES.into_iter().filter(|name| !self.running.contains_key(name)) {
            for (port, flag) in self.ports.of(name) {
                if !ports::is_free(port) {
                    let holder =
                        ports::holder(port).unwrap_or_else(|| "a process of somebody else".to_owned());
                    taken.push_str(&format!("\n    {port} for {name}: {holder}; {flag} chooses another"));
                }
            }
        }
        anyhow::ensure!(taken.is_empty(), "ports are taken:{taken}");
        Ok(())
    }

    /// Whether there is nothing left to start.
    pub fn is_complete(&self) -> bool {
        self.running.len() == NAMES.len()
    }

    /// Starts what does not run yet, and waits until both programs say they are ready.
    pub fn start(&mut self, programs: BTreeMap<String, PathBuf>) -> Result<()> {
        self.programs = programs;
        for name in [postgres::NAME, redis::NAME] {
            self.start_one(name)?;
        }
        if self.postgres.create_database(DATABASE, self.interrupt)? {
            note(format!("  ✓ Database `{DATABASE}` created"));
        }
        self.migrate()?;
        for name in [CONTROL_PLANE, EDGE] {
            self.start_one(name)?;
        }
        for (name, port) in [(CONTROL_PLANE, self.ports.api_admin), (EDGE, self.ports.edge_admin)] {
            self.wait_ready(name, port)?;
        }
        Ok(())
    }

    fn start_one(&mut self, name: &'static str) -> Result<()> {
        if self.running.contains_key(name) {
            return Ok(());
        }
        self.interrupt.check()?;
        let log_dir = self.layout.log_dir();
        let process = match name {
            postgres::NAME => {
                let step = Step::start(format!("PostgreSQL {}", self.postgres.program.version));
                let made = self.postgres.init(self.interrupt)?;
                let process = self.postgres.start(&self.run, &log_dir, self.interrupt)?;
                let data = if made { "new data" } else { "data found" };
                step.done(format!("{data}, 127.0.0.1:{}", self.ports.postgres));
                process
            }
            redis::NAME => {
                let step = Step::start(format!("Redis {}", self.redis.program.version));
                let process = self.redis.start(&self.run, &log_dir, self.interrupt)?;
                step.done(format!("127.0.0.1:{}", self.ports.redis));
                process
            }
            _ => {
                let args = if name == CONTROL_PLANE { vec!["all".to_owned()] } else { Vec::new() };
                self.run.start(Spec {
                    name,
                    program: self.program(name)?,
                    args,
                    env: self.env_of(name),
                    log_dir: &log_dir,
                    account: None,
                })?
            }
        };
        self.running.insert(name, process);
        Ok(())
    }

    fn program(&self, name: &str) -> Result<&PathBuf> {
        self.programs.get(name).with_context(|| format!("cargo built no program `{name}`"))
    }

    /// The settings of one of our programs.
    fn env_of(&self, name: &str) -> Vec<(&'static str, String)> {
        let loopback = |port: u16| format!("127.0.0.1:{port}");
        let mut env = vec![
            ("AOS_SECRET", self.secret.clone()),
            ("AOS_REDIS_URL", self.redis.url()),
            // Their output goes to files.
            ("NO_COLOR", "1".to_owned()),
        ];
        if name == EDGE {
            env.extend([
                ("AOS_EDGE_ADDR", loopback(self.ports.edge)),
                ("AOS_EDGE_ADMIN_ADDR", loopback(self.ports.edge_admin)),
                ("AOS_EDGE_SPOOL_DIR", self.layout.state.join("spool").display().to_string()),
            ]);
        } else {
            env.extend([
                ("AOS_DATABASE_URL", self.postgres.local_url(DATABASE)),
                ("AOS_ADDR", loopback(self.ports.api)),
                ("AOS_ADMIN_ADDR", loopback(self.ports.api_admin)),
                ("AOS_API_ORIGIN", self.api_origin()),
                ("AOS_TRACKING_ORIGIN", self.tracking_origin()),
                // One developer behind one address may sign up as often as they like.
                ("AOS_SIGNUPS_PER_HOUR", "0".to_owned()),
                // Their webhooks lead to programs on this machine.
                ("AOS_EGRESS_ALLOW", "127.0.0.0/8,::1/128".to_owned()),
                // So that a webhook can be tried with a receiver on this machine.
                ("AOS_EGRESS_ALLOW", "127.0.0.0/8,::1/128".to_owned()),
            ]);
        }
        env
    }

    /// Brings the schema up to date; it says what went wrong in its own words.
    fn migrate(&self) -> Result<()> {
        self.interrupt.check()?;
        let step = Step::start("Migrating the database");
        let path = self.layout.log_dir().join("migrate.log");
        let log = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut command = Command::new(self.program(CONTROL_PLANE)?);
        command
            .arg("migrate")
            .envs(self.env_of(CONTROL_PLANE))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share a log file")?)
            .stderr(log);
        if !process::run_group(&mut command, self.interrupt)?.success() {
            step.failed("");
            bail!("control-plane migrate failed; the end of {}:\n{}", path.display(), tail(&path, 12));
        }
        step.done("");
        Ok(())
    }

    fn wait_ready(&mut self, name: &'static str, port: u16) -> Result<()> {
        let step = Step::start(format!("Waiting for {name}"));
        let deadline = Instant::now() + READY_WAIT;
        loop {
            self.interrupt.tick()?;
            let last = match http::send(port, "GET", "/ready", &[], None) {
                Ok(reply) if reply.status == 200 => break,
                Ok(reply) => format!("{} {}", reply.status, reply.body.trim()),
                Err(error) => format!("{error:#}"),
            };
            let process = self.running.get_mut(name).with_context(|| format!("{name} was not started"))?;
            let reason = if !process.alive() {
                format!("{name} ended ({})", process.ending())
            } else if Instant::now() > deadline {
                format!("{name} is not ready after {} s: {last}", READY_WAIT.as_secs())
            } else {
                continue;
            };
            step.failed("");
            let log = self.layout.log_dir().join(format!("{name}.log"));
            bail!("{reason}; the end of {}:\n{}", log.display(), tail(&log, 12));
        }
        step.done("ready");
        Ok(())
    }

    /// Whether both programs say they are ready.
    pub fn is_ready(&self) -> bool {
        [self.ports.api_admin, self.ports.edge_admin]
            .iter()
            .all(|port| http::send(*port, "GET", "/ready", &[], None).is_ok_and(|reply| reply.status == 200))
    }

    /// Watches over everything until a signal comes; starts again what dies.
    pub fn supervise(&mut self) -> Result<()> {
        let mut deaths: BTreeMap<&'static str, Vec<Instant>> = BTreeMap::new();
        while self.interrupt.tick().is_ok() {
            let dead = self
                .running
                .iter_mut()
                .find_map(|(name, process)| (!process.alive()).then(|| (*name, process.ending())));
            let Some((name, ending)) = dead else { continue };
            let times = deaths.entry(name).or_default();
            times.retain(|when| when.elapsed() < Duration::from_mins(1));
            times.push(Instant::now());
            // A program that dies of its own start would otherwise do so for ever.
            if times.len() > 5 {
                let log = self.layout.log_dir().join(format!("{name}.log"));
                bail!("{name} died 6 times in a minute; the end of {}:\n{}", log.display(), tail(&log, 12));
            }
            note(format!("  ! {name} ended ({ending}): starting it again"));
            self.running.remove(name);
            self.run.forget(name);
            match self.start_one(name) {
                Err(error) if !self.interrupt.requested() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    pub fn api_origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.api)
    }

    pub fn tracking_origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.edge)
    }
}

/// Stops whatever of the four runs, in order. Returns how many ran.
pub fn stop_all(run: &RunDir, interrupt: &Interrupt) -> Result<usize> {
    let mut stopped = 0;
    let mut problems = Vec::new();
    for name in NAMES.iter().rev() {
        let mut process = match run.find(name) {
            Found::Running(process) => process,
            Found::Stale(_) => {
                run.forget(name);
                continue;
            }
            Found::Nothing => continue,
        };
        let (signal, grace) = match *name {
            postgres::NAME => (postgres::STOP_SIGNAL, postgres::STOP_WAIT),
            redis::NAME => (Signal::SIGTERM, redis::STOP_WAIT),
            _ => (Signal::SIGTERM, DRAIN_WAIT),
        };
        let step = Step::start(format!("Stopping {name}"));
        // One that cannot be stopped must not keep the others up.
        match process.stop(signal, grace, interrupt) {
            Ok(true) => step.done(""),
            Ok(false) => step.done("killed"),
            Err(error) => {
                problems.push(format!("{error:#}"));
                step.failed("");
            }
        }
        stopped += 1;
    }
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(stopped)
}
