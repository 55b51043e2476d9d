//! Programs we start: their pid files, their identity, how they are stopped.
//!
//! Must stay true: whatever was started can be found again, even after `kill -9` of this program at
//! any moment. So a child is started through this program's own hidden `exec` command, which writes
//! the pid file and only then becomes the child: there is no instant at which the child runs and its
//! pid is written nowhere.
//!
//! A pid alone proves nothing (pids are reused), so beside `NAME.pid` lies `NAME.birth`: the machine's
//! boot id and the process's start time. Nothing is signalled whose birth does not match.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::account::Account;
use crate::interrupt::{Interrupt, TICK};
use crate::layout;

/// A log that grew past this is set aside as `NAME.log.1` at the next start.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Compilers and package managers need no time to tidy up; tests may.
const GROUP_GRACE: Duration = Duration::from_secs(5);

/// A program to start.
#[derive(Debug)]
pub struct Spec<'a> {
    pub name: &'a str,
    pub program: &'a Path,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, String)>,
    pub log_dir: &'a Path,
    pub account: Option<&'a Account>,
}

/// A running program of ours.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    pub pid: u32,
    birth: String,
    run: RunDir,
    /// Present when this very program started it, and has to reap it.
    child: Option<Child>,
}

/// What a pid file turned out to mean.
#[derive(Debug)]
pub enum Found {
    /// No pid file.
    Nothing,
    /// A pid file whose program is gone; the text says what has the pid now, if anything.
    Stale(String),
    /// The program runs.
    Running(Process),
}

/// A directory of pid files.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The program whose `exec` command starts children.
    launcher: PathBuf,
}

impl RunDir {
    /// Children are started through this very program, even if a rebuild has replaced its file.
    pub fn new(path: PathBuf) -> Self {
        Self::with_launcher(path, PathBuf::from("/proc/self/exe"))
    }

    /// Children are started through another program that has our `exec` command.
    pub fn with_launcher(path: PathBuf, launcher: PathBuf) -> Self {
        Self { path, launcher }
    }

    /// Looks up a program by its pid file.
    pub fn find(&self, name: &str) -> Found {
        let Ok(text) = fs::read_to_string(self.path.join(format!("{name}.pid"))) else {
            return Found::Nothing;
        };
        let Ok(pid) = text.trim().parse::<u32>() else {
            return Found::Stale(format!("{name}.pid holds no process id"));
        };
        let written = fs::read_to_string(self.path.join(format!("{name}.birth"))).unwrap_or_default();
        match birth(pid) {
            Some(actual) if actual == written => Found::Running(Process {
                name: name.to_owned(),
                pid,
                birth: written,
                run: self.clone(),
                child: None,
            }),
            Some(_) => Found::Stale(format!("process {pid} is now {}", describe(pid))),
            None => Found::Stale(format!("process {pid} is gone")),
        }
    }

    /// Forgets a program.
    pub fn forget(&self, name: &str) {
        for ending in ["pid", "birth"] {
            // Absent is as good as removed; anything else shows up as a stale file next time.
            drop(fs::remove_file(self.path.join(format!("{name}.{ending}"))));
        }
    }

    /// Writes a pid file.
    pub fn record(&self, name: &str, pid: u32) -> Result<()> {
        layout::create_dir(&self.path)?;
        let born = birth(pid).with_context(|| format!("process {pid} has ended"))?;
        // The pid last: whoever sees it can judge it.
        for (ending, text) in [("birth", born), ("pid", pid.to_string())] {
            let draft = self.path.join(format!("{name}.{ending}.{pid}"));
            let path = self.path.join(format!("{name}.{ending}"));
            fs::write(&draft, text)
                .and_then(|()| fs::rename(&draft, &path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Everything in the directory that still runs.
    pub fn running(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".pid").map(str::to_owned))
            .collect();
        names.sort();
        names
            .into_iter()
            .filter_map(|name| match self.find(&name) {
                Found::Running(process) => Some(process),
                Found::Nothing | Found::Stale(_) => None,
            })
            .collect()
    }

    /// Starts a program in a process group of its own, its output going to `LOG_DIR/NAME.log`.
    pub fn start(&self, spec: Spec<'_>) -> Result<Process> {
        layout::create_dir(&self.path)?;
        layout::create_dir(spec.log_dir)?;
        let log = open_log(&spec.log_dir.join(format!("{}.log", spec.name)))?;
        let mut command = Command::new(&self.launcher);
        command.arg("exec").arg("--run-dir").arg(&self.path).args(["--name", spec.name]);
        if let Some(account) = spec.account {
            command.args(["--uid", &account.uid.to_string(), "--gid", &account.gid.to_string()]);
        }
        command
            .arg("--")
            .arg(spec.program)
            .args(&spec.args)
            .envs(spec.env)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share a log file")?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", spec.name))?;
        let pid = child.id();
        // It may have ended already, but is not waited for yet: a zombie has a birth, too.
        let born = born(pid, true).with_context(|| format!("/proc does not know {}", spec.name))?;
        Ok(Process { name: spec.name.to_owned(), pid, birth: born, run: self.clone(), child: Some(child) })
    }
}

impl Process {
    /// Whether it still runs. A zombie does not.
    pub fn alive(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            return matches!(child.try_wait(), Ok(None));
        }
        birth(self.pid).is_some_and(|born| born == self.birth)
    }

    /// How it ended, in words, when this program started it.
    pub fn ending(&mut self) -> String {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => status.to_string(),
            _ => "gone".to_owned(),
        }
    }

    /// Stops it: `gentle`, then after `grace` SIGKILL. A second Ctrl-C cuts the grace short.
    /// Returns whether it went by itself.
    pub fn stop(&mut self, gentle: Signal, grace: Duration, interrupt: &Interrupt) -> Result<bool> {
        let began_with = interrupt.count();
        let deadline = Instant::now() + grace;
        self.signal(gentle)?;
        while self.alive() {
            if Instant::now() > deadline || interrupt.count() > began_with.max(1) {
                self.signal(Signal::SIGKILL)?;
                let deadline = Instant::now() + Duration::from_secs(10);
                while self.alive() {
                    if Instant::now() > deadline {
                        bail!("{} (process {}) does not die, not even of SIGKILL", self.name, self.pid);
                    }
                    std::thread::sleep(TICK);
                }
                self.forget();
                return Ok(false);
            }
            std::thread::sleep(TICK);
        }
        self.forget();
        Ok(true)
    }

    /// Sends one signal; a process that is gone already is no error.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.alive() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid).context("a process id above 2^31")?;
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot signal {} (process {pid})", self.name)),
        }
    }

    fn forget(&self) {
        self.run.forget(&self.name);
    }
}

/// The hidden command behind [`RunDir::start`].
#[derive(Debug, clap::Args)]
pub struct ExecArgs {
    #[arg(long)]
    run_dir: PathBuf,
    #[arg(long)]
    name: String,
    #[arg(long)]
    uid: Option<u32>,
    #[arg(long)]
    gid: Option<u32>,
    #[arg(last = true, required = true)]
    command: Vec<std::ffi::OsString>,
}

/// Writes the pid file and becomes the program; returns only on failure.
pub fn exec(args: &ExecArgs) -> Result<()> {
    RunDir::new(args.run_dir.clone()).record(&args.name, std::process::id())?;
    let (program, rest) = args.command.split_first().context("no program to start")?;
    let mut command = Command::new(program);
    command.args(rest);
    if let (Some(uid), Some(gid)) = (args.uid, args.gid) {
        // A directory the account may not be in is no place to start from.
        command.uid(uid).gid(gid).current_dir("/");
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Runs a program to its end in a process group of its own, so that Ctrl-C reaches this program
/// alone; on a signal the whole group is stopped. The caller has set its input and output.
pub fn run_group(command: &mut Command, interrupt: &Interrupt) -> Result<ExitStatus> {
    interrupt.check()?;
    let program = command.get_program().display().to_string();
    let child = command.process_group(0).spawn().with_context(|| format!("cannot run {program}"))?;
    wait_group(child, interrupt)
}

/// Waits for the leader of a process group; on a signal the whole group is stopped.
pub fn wait_group(child: Child, interrupt: &Interrupt) -> Result<ExitStatus> {
    wait_group_while(child, interrupt, || true)
}

/// The same, as long as it is worth waiting for: the whole group is stopped as well when it is not any more.
pub fn wait_group_while(
    mut child: Child,
    interrupt: &Interrupt,
    mut is_worth_it: impl FnMut() -> bool,
) -> Result<ExitStatus> {
    let group = Pid::from_raw(i32::try_from(child.id()).context("a process id above 2^31")?);
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a program")? {
            interrupt.check()?;
            return Ok(status);
        }
        match asked {
            None if interrupt.requested() || !is_worth_it() => {
                // A group that is gone already needs no signal.
                killpg(group, Signal::SIGTERM).ok();
                asked = Some(Instant::now());
            }
            Some(when) if when.elapsed() > GROUP_GRACE || interrupt.count() > 1 => {
                killpg(group, Signal::SIGKILL).ok();
            }
            _ => {}
        }
        std::thread::sleep(TICK);
    }
}

/// What tells a process from a later one with the same id; `None` when it is gone or a zombie.
pub fn birth(pid: u32) -> Option<String> {
    born(pid, false)
}

fn born(pid: u32, zombies_too: bool) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let started = start_ticks(&stat, zombies_too)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{} {started}", boot.trim()))
}

/// Field 22 of `/proc/PID/stat`, unless field 3 says the process has ended and that matters.
fn start_ticks(stat: &str, zombies_too: bool) -> Option<&str> {
    // The name in field 2 may hold spaces and parentheses of its own.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if matches!(fields.next()?, "Z" | "X") && !zombies_too {
        return None;
    }
    fields.nth(18)
}

/// A process in words: its command line, or its name if that is hidden.
pub fn describe(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    if !line.trim().is_empty() {
        return format!("`{}`", line.trim().chars().take(100).collect::<String>());
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("`{}`", name.trim())
}

/// Opens a log for appending, setting an overlong one aside.
fn open_log(path: &Path) -> Result<File> {
    let open = || -> std::io::Result<File> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() > LOG_BYTES_MAX => {
                fs::rename(path, path.with_extension("log.1"))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        OpenOptions::new().create(true).append(true).open(path)
    };
    open().with_context(|| format!("cannot open {}", path.display()))
}

/// The last lines of a log, for showing why something failed.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_birth() {
        let me = std::process::id();
        assert_eq!(birth(me), birth(me));
        assert!(birth(me).is_some());
        assert_eq!(birth(u32::MAX), None);
    }

    #[test]
    fn start_ticks_survive_odd_names_and_skip_zombies() {
        let rest = "1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 777 1000";
        assert_eq!(start_ticks(&format!("5 (a) b (c)) S {rest}"), false), Some("777"));
        assert_eq!(start_ticks(&format!("5 (a) Z {rest}"), false), None);
        assert_eq!(start_ticks(&format!("5 (a) Z {rest}"), true), Some("777"), "until it is waited for");
        assert_eq!(start_ticks("nonsense", true), None);
    }

    #[test]
    fn a_reused_pid_is_stale_and_a_recorded_one_runs() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDir::new(directory.path().join("run"));
        assert!(matches!(run.find("redis"), Found::Nothing));
        run.record("redis", std::process::id()).unwrap();
        assert!(matches!(run.find("redis"), Found::Running(found) if found.pid == std::process::id()));
        // The same pid, born at another time.
        fs::write(directory.path().join("run/redis.birth"), "another boot 1").unwrap();
        assert!(matches!(run.find("redis"), Found::Stale(text) if text.contains("is now")));
        assert!(run.running().is_empty());
        run.forget("redis");
        assert!(matches!(run.find("redis"), Found::Nothing));
    }

    #[test]
    fn stopping_waits_and_then_kills() {
        let directory = tempfile::tempdir().unwrap();
        // It shrugs SIGTERM off, so only SIGKILL ends it.
        let child = Command::new("/bin/sh")
            .args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut child = child;
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let mut process = Process {
            name: "stubborn".into(),
            pid: child.id(),
            birth: birth(child.id()).unwrap(),
            run: RunDir::new(directory.path().to_owned()),
            child: Some(child),
        };
        assert!(process.alive());
        let went = process.stop(Signal::SIGTERM, Duration::from_millis(200), &Interrupt::default()).unwrap();
        assert!(!went, "it was killed");
        assert!(!process.alive());
    }

    #[test]
    fn the_tail_of_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&path, 2), "two\nthree");
        assert_eq!(tail(&path, 9), "one\ntwo\nthree");
        assert_eq!(tail(&directory.path().join("absent"), 9), "");
    }
}
