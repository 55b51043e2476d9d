//! Our own programs as child processes that can be killed and started again.

use anyhow::{Context, bail, ensure};
use std::net::SocketAddr;
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
    let exe = std::env::current_exe().context("cannot find this program")?;
    let folder = exe.parent().context("this program has no folder")?.to_owned();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => bail!("cannot tell the build profile from {}", folder.display()),
    };
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--profile", profile, "-p", "tracker-edge"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "tracker-edge does not build");
    // Built apart: one build of both would unify their features and give the edge SQL.
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--profile", profile, "-p", "control-plane"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "control-plane does not build");
    Ok(folder)
}

/// One of our programs, running or not. Killed when dropped.
pub(crate) struct Program {
    name: &'static str,
    path: PathBuf,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    log: PathBuf,
    admin: SocketAddr,
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
            child: None,
        }
    }

    /// Runs the program to its end with one argument.
    pub(crate) fn run_once(&self, argument: &str) -> anyhow::Result<()> {
        let status =
            self.command()?.arg(argument).status().with_context(|| format!("cannot run {}", self.name))?;
        ensure!(status.success(), "{} {argument} failed; see {}", self.name, self.log.display());
        Ok(())
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .context("cannot open the log")?;
        let mut command = Command::new(&self.path);
        command
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log")?)
            .stderr(log);
        Ok(command)
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

/// Sends a signal to a process this program started.
#[expect(unsafe_code, reason = "kill(2) has no safe wrapper in std")]
pub(crate) fn signal(pid: u32, signal: i32) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).context("a process id fits an i32")?;
    // SAFETY: kill takes two integers and touches no memory of ours.
    let outcome = unsafe { libc::kill(pid, signal) };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("cannot signal") }
}
