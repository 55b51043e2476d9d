//! Our own programs as child processes that can be killed and started again.

use anyhow::{Context, bail, ensure};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to be ready.
const READY_FOR: Duration = Duration::from_mins(1);
const READY_PAUSE: Duration = Duration::from_millis(25);
/// How long a program may take to stop when asked politely.
const STOP_FOR: Duration = Duration::from_secs(30);

/// Builds our programs with the profile this one was built with, and gives their folder.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    build_edge()?;
    // Built apart: one build of both would unify their features and give the edge SQL.
    let (folder, profile) = built_as()?;
    build_one("control-plane", &profile)?;
    Ok(folder)
}

/// Builds the edge alone.
pub(crate) fn build_edge() -> anyhow::Result<PathBuf> {
    let (folder, profile) = built_as()?;
    build_one("tracker-edge", &profile)?;
    Ok(folder)
}

/// Builds `payouts-evm` alone.
pub(crate) fn build_payouts() -> anyhow::Result<()> {
    build_one("payouts-evm", &built_as()?.1)
}

/// Builds the edge alone with another profile than this program's.
pub(crate) fn build_edge_as(profile: &str) -> anyhow::Result<PathBuf> {
    build_one("tracker-edge", profile)?;
    let (folder, _) = built_as()?;
    let targets = folder.parent().context("this program has no target folder")?;
    Ok(targets.join(if profile == "dev" { "debug" } else { profile }))
}

/// Where this program was built, and with which profile.
fn built_as() -> anyhow::Result<(PathBuf, String)> {
    let exe = std::env::current_exe().context("cannot find this program")?;
    let folder = exe.parent().context("this program has no folder")?.to_owned();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev".to_owned(),
        Some(profile) => profile.to_owned(),
        None => bail!("cannot tell the build profile from {}", folder.display()),
    };
    Ok((folder, profile))
}

fn build_one(package: &str, profile: &str) -> anyhow::Result<()> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--profile", profile, "-p", package])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "{package} does not build");
    Ok(())
}

/// One of our programs, running or not. Killed when dropped.
pub(crate) struct Program {
    name: &'static str,
    path: PathBuf,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    log: PathBuf,
    admin: SocketAddr,
    /// Open files it may have at most.
    pub(crate) files_max: Option<u64>,
    /// Listening sockets it is given, as a service manager hands them over.
    pub(crate) listeners: Vec<TcpListener>,
    child: Option<Child>,
}

impl Program {
    /// A program that is not started yet: `name` and its arguments. Its output is appended to a log in `folder`.
    pub(crate) fn new(
        name: &'static str,
        binaries: &Path,
        folder: &Path,
        admin: SocketAddr,
        env: &[(&str, String)],
    ) -> Self {
        Self {
            name: name.split(' ').next().unwrap_or(name),
            path: binaries.join(name.split(' ').next().unwrap_or(name)),
            arguments: name.split(' ').skip(1).map(str::to_owned).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            log: folder.join(format!("{}.log", name.replace(' ', "-"))),
            admin,
            files_max: None,
            listeners: Vec::new(),
            child: None,
        }
    }

    /// Sets a variable for its next start.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Whether it is this program.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, what: i32) -> anyhow::Result<()> {
        signal(self.id().with_context(|| format!("{} does not run", self.name))?, what)
    }

    /// Where its metrics and readiness are.
    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The sum of a metric over its labels, as `/metrics` shows it; 0 when it is not there.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let text = http.get(format!("http://{}/metrics", self.admin)).send().await?.text().await?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        });
        Ok(values.sum())
    }

    /// Bytes of memory it holds, pages of files included.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    /// Bytes of memory it holds, pages of files (the spool's, the program's) left out.
    pub(crate) fn anonymous_bytes(&self) -> anyhow::Result<u64> {
        self.memory("RssAnon:")
    }

    fn memory(&self, name: &str) -> anyhow::Result<u64> {
        let pid = self.id().context("it does not run")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no /proc")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("an unknown /proc")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// Runs it to its end with these arguments; whether it went well, and what it said.
    pub(crate) fn outcome(&self, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let output = self
            .command()?
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("cannot run {}", self.name))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code(), text))
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .context("cannot open the log")?;
        let mut command = Command::new(&self.path);
        if !self.listeners.is_empty() {
            // The protocol wants the process's own id in a variable, which only the process itself knows.
            command = Command::new("sh");
            command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(&self.path);
            command.env("LISTEN_FDS", self.listeners.len().to_string());
            inherit(&mut command, &self.listeners)?;
        }
        if let Some(files_max) = self.files_max {
            limit_files(&mut command, files_max);
        }
        command
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log")?)
            .stderr(log);
        Ok(command)
    }

    /// Its exit code once it ends by itself; an error when it does not.
    pub(crate) async fn ended_within(&mut self, within: Duration) -> anyhow::Result<Option<i32>> {
        let deadline = Instant::now() + within;
        let child = self.child.as_mut().context("it does not run")?;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.code());
            }
            ensure!(Instant::now() < deadline, "{} still runs; see {}", self.name, self.log.display());
            tokio::time::sleep(READY_PAUSE).await;
        }
    }

    /// Starts the program without waiting for it.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.child = Some(
            self.command()?
                .args(&self.arguments)
                .spawn()
                .with_context(|| format!("cannot start {}", self.path.display()))?,
        );
        Ok(())
    }

    /// Waits until `/ready` says so.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_FOR;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        loop {
            if let Ok(reply) = http.get(format!("http://{}/ready", self.admin)).send().await
                && reply.status().is_success()
            {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("{} ended with {status}; see {}", self.name, self.log.display());
            }
            ensure!(Instant::now() < deadline, "{} did not get ready; see {}", self.name, self.log.display());
            tokio::time::sleep(READY_PAUSE).await;
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("cannot kill")?;
            child.wait().context("cannot wait")?;
        }
        Ok(())
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        signal(child.id(), libc::SIGTERM)?;
        let deadline = Instant::now() + STOP_FOR;
        loop {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "{} ended with {status} when asked to stop", self.name);
                return Ok(());
            }
            if Instant::now() > deadline {
                child.kill().context("cannot kill")?;
                bail!("{} did not stop within {STOP_FOR:?}", self.name);
            }
            std::thread::sleep(READY_PAUSE);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            crate::say(&format!("{} could not be killed: {error:#}", self.name));
        }
    }
}

/// The first descriptor a service manager hands over.
const FIRST_HANDED: i32 = 3;
/// Above everything the new process is given.
const OUT_OF_THE_WAY: i32 = 200;

/// Makes a command's process inherit sockets as descriptors 3 and up.
#[expect(unsafe_code, reason = "between fork and exec only raw system calls are allowed")]
fn inherit(command: &mut Command, listeners: &[TcpListener]) -> anyhow::Result<()> {
    let mut from = Vec::with_capacity(listeners.len());
    for listener in listeners {
        // SAFETY: fcntl with F_DUPFD_CLOEXEC makes a new descriptor and touches nothing else.
        let copy = unsafe { libc::fcntl(listener.as_raw_fd(), libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) };
        ensure!(copy >= 0, "cannot copy a listener: {}", std::io::Error::last_os_error());
        // SAFETY: it was just made and nobody else has it. The closure below keeps it open until the spawn.
        from.push(unsafe { OwnedFd::from_raw_fd(copy) });
    }
    // SAFETY: dup2 is async-signal-safe; nothing is allocated or locked.
    unsafe {
        command.pre_exec(move || {
            for (to, from) in (FIRST_HANDED..).zip(&from) {
                if libc::dup2(from.as_raw_fd(), to) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    Ok(())
}

/// Limits the open files of a command's process.
#[expect(unsafe_code, reason = "between fork and exec only raw system calls are allowed")]
fn limit_files(command: &mut Command, files_max: u64) {
    let limit = libc::rlimit { rlim_cur: files_max, rlim_max: files_max };
    // SAFETY: setrlimit is async-signal-safe and reads a value that the closure owns.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// Lets this process, and those it starts, open as many files as the machine allows.
#[expect(unsafe_code, reason = "limits have no safe wrapper in std")]
pub(crate) fn raise_files_limit() -> anyhow::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes the one struct it is given.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: setrlimit reads the one struct it is given.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if got == 0 && set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("setrlimit") }
}

/// How many files this process may open.
#[expect(unsafe_code, reason = "limits have no safe wrapper in std")]
pub(crate) fn files_limit() -> anyhow::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes the one struct it is given.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    ensure!(got == 0, "getrlimit: {}", std::io::Error::last_os_error());
    Ok(limit.rlim_cur as usize)
}

/// Sends a signal to a process this program started.
#[expect(unsafe_code, reason = "kill(2) has no safe wrapper in std")]
pub(crate) fn signal(pid: u32, signal: i32) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).context("a process id fits an i32")?;
    // SAFETY: kill takes two integers and touches no memory of ours.
    let outcome = unsafe { libc::kill(pid, signal) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("cannot signal") }
}
