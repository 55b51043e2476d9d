//! Installing the servers privately, with the system's own package manager.
//!
//! `apt-get install` would start system-wide services wherever an init system runs, and needs root.
//! So packages are downloaded (checked by apt against the distribution's signatures, as always) and
//! unpacked below `.affiliateos/packages`: nothing outside changes, no service starts, no rights are
//! needed. Where there is no apt, the exact command to run is said instead.

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::interrupt::Interrupt;
use crate::layout::{self, Layout};
use crate::process;
use crate::progress::{Step, note};

/// Which servers are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missing {
    pub postgres: bool,
    pub redis: bool,
    /// The library that fakes the time, for tests of clocks.
    pub faketime: bool,
    /// The redirecting servers a benchmark compares the edge with.
    pub rivals: bool,
    /// What counts instructions.
    pub valgrind: bool,
    /// Clients that behave badly, or fast.
    pub attackers: bool,
    /// The ACME test server.
    pub pebble: bool,
    /// The pooler before Postgres.
    pub pooler: bool,
    /// Prometheus, exporters and PgBouncer.
    pub monitors: bool,
}

/// The rivals' packages: programs, and the modules that are no libraries by name.
const RIVALS: [&str; 6] =
    ["nginx", "libnginx-mod-http-lua", "lua-resty-core", "lua-resty-lrucache", "haproxy", "varnish"];
const ATTACKERS: [&str; 2] = ["slowhttptest", "nghttp2-client"];
const MONITORS: [&str; 5] = [
    "prometheus",
    "prometheus-node-exporter",
    "prometheus-postgres-exporter",
    "prometheus-redis-exporter",
    "pgbouncer",
];
/// Programs of these.
const TOOLS: [&str; 5] = ["nginx", "haproxy", "varnishd", "slowhttptest", "h2load"];

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.postgres, "PostgreSQL 15 or newer"),
            (self.redis, "Redis 7 or newer"),
            (self.faketime, "libfaketime"),
            (self.rivals, "nginx with Lua, haproxy and varnish"),
            (self.valgrind, "valgrind"),
            (self.attackers, "slowhttptest and h2load"),
            (self.pebble, "pebble, the ACME test server"),
            (self.pooler, "PgBouncer"),
            (self.monitors, "Prometheus, its exporters and PgBouncer"),
        ];
        let names: Vec<&str> = names.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name).collect();
        f.write_str(&names.join(" and "))
    }
}

/// Installs what is missing, or says the command that would.
pub fn install(missing: Missing, forbidden: bool, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let by_hand = by_hand(missing);
    if forbidden {
        bail!("{missing} missing, and installing is switched off. {by_hand}");
    }
    if !["/usr/bin/apt-get", "/usr/bin/apt-cache", "/usr/bin/dpkg-deb"]
        .iter()
        .all(|tool| Path::new(tool).exists())
    {
        bail!("{missing} missing, and only Debian's packages can be installed privately. {by_hand}");
    }
    let packages = layout.packages();
    note(format!(
        "    installing privately: packages downloaded by apt-get, unpacked into {}\n    \
         (the system is left as it is, no service is started; the log is {})",
        packages.display(),
        layout.log_dir().join("install.log").display()
    ));
    let apt = Apt::new(layout, interrupt)?;
    // The lists may be absent (a fresh container) or too old (packages they name are gone from the
    // mirror); a private refresh mends both and needs no rights.
    let fetched = apt.fetch(missing).or_else(|first| {
        interrupt.check()?;
        note(format!("  ! {first:#}: refreshing the package lists"));
        apt.refresh().and_then(|refreshed| refreshed.fetch(missing))
    });
    let files = match fetched {
        Ok(files) => files,
        Err(error) => {
            interrupt.check()?;
            return Err(error.context(format!("cannot install {missing}. {by_hand}\nThe reason")));
        }
    };
    let step = Step::start(format!("Unpacking {} packages", files.len()));
    for file in &files {
        apt.run(Command::new("dpkg-deb").arg("-x").arg(file).arg(&packages))?;
    }
    write_wrappers(&packages)?;
    fs::remove_dir_all(&apt.directory).context("cannot remove the downloaded packages")?;
    step.done("");
    if missing.postgres { time_zones() } else { Ok(()) }
}

/// The command for a person to run.
fn by_hand(missing: Missing) -> String {
    // Program that gives it away, command, names of the two packages.
    const MANAGERS: [(&str, &str, &str, &str); 6] = [
        ("/usr/bin/apt-get", "apt-get install --no-install-recommends", "postgresql", "redis-server"),
        ("/usr/bin/dnf", "dnf install", "postgresql-server", "redis"),
        ("/usr/bin/pacman", "pacman -S", "postgresql", "redis"),
        ("/sbin/apk", "apk add", "postgresql", "redis"),
        ("/usr/bin/zypper", "zypper install", "postgresql-server", "redis"),
        ("/opt/homebrew/bin/brew", "brew install", "postgresql", "redis"),
    ];
    let Some((_, command, postgres, redis)) = MANAGERS.iter().find(|(tool, ..)| Path::new(tool).exists())
    else {
        return "Install them, or name their directories with --server-path".to_owned();
    };
    let sudo = if nix::unistd::geteuid().is_root() || command.starts_with("brew") { "" } else { "sudo " };
    let mut line = format!("Install by hand and run this again:\n\n    {sudo}{command}");
    for (wanted, name) in
        [(missing.postgres, postgres), (missing.redis, redis), (missing.faketime, &"libfaketime")]
    {
        if wanted {
            line.push(' ');
            line.push_str(name);
        }
    }
    if missing.valgrind {
        line.push_str(" valgrind");
    }
    if missing.pebble {
        line.push_str(" pebble");
    }
    if missing.pooler {
        line.push_str(" pgbouncer");
    }
    let groups =
        [(missing.rivals, &RIVALS[..]), (missing.attackers, &ATTACKERS), (missing.monitors, &MONITORS)];
    for (wanted, packages) in groups {
        for package in packages.iter().filter(|_| wanted) {
            line.push(' ');
            line.push_str(package);
        }
    }
    line.push('\n');
    if command.starts_with("apt") {
        line.push_str(
            "\n(that also starts system-wide services, which this project does not use; \
             `systemctl disable --now postgresql redis-server` turns them off)\n",
        );
    }
    line
}

/// apt, told to keep its hands off the system's own files.
struct Apt<'a> {
    directory: PathBuf,
    options: Vec<String>,
    log: PathBuf,
    interrupt: &'a Interrupt,
}

impl<'a> Apt<'a> {
    fn new(layout: &Layout, interrupt: &'a Interrupt) -> Result<Self> {
        let directory = layout.packages().join("apt");
        for part in ["cache/archives/partial", "lists/partial", "downloads"] {
            layout::create_dir(&directory.join(part))?;
        }
        layout::create_dir(&layout.log_dir())?;
        let mut options = vec![
            format!("Dir::Cache={}", directory.join("cache").display()),
            // Nothing of the system's is written, so its locks (which need root) guard nothing here.
            "Debug::NoLocking=1".to_owned(),
        ];
        if nix::unistd::geteuid().is_root() {
            // The account `_apt` may not be able to enter the clone.
            options.push("APT::Sandbox::User=root".to_owned());
        }
        Ok(Self { directory, options, log: layout.log_dir().join("install.log"), interrupt })
    }

    fn downloads(&self) -> PathBuf {
        self.directory.join("downloads")
    }

    /// Package lists of our own, freshly fetched.
    fn refresh(&self) -> Result<Self> {
        let mut options = self.options.clone();
        options.push(format!("Dir::State::Lists={}", self.directory.join("lists").display()));
        let refreshed = Self {
            directory: self.directory.clone(),
            options,
            log: self.log.clone(),
            interrupt: self.interrupt,
        };
        let step = Step::start("Refreshing the package lists");
        // By itself it calls a mirror out of reach a warning, and ends well.
        refreshed.run(refreshed.command("apt-get").args(["-o", "APT::Update::Error-Mode=any", "update"]))?;
        step.done("");
        Ok(refreshed)
    }

    /// Downloads the servers' packages and the libraries the machine lacks.
    fn fetch(&self, missing: Missing) -> Result<Vec<PathBuf>> {
        let mut wanted = Vec::new();
        if missing.postgres {
            let names = self.read(self.command("apt-cache").args(["pkgnames", "postgresql-"]))?;
            let major =
                newest_postgres(&names).context("the package lists know no PostgreSQL 15 or newer")?;
            wanted.extend([format!("postgresql-{major}"), format!("postgresql-client-{major}")]);
        }
        if missing.redis {
            wanted.extend(["redis-server", "redis-tools"].map(str::to_owned));
        }
        if missing.faketime {
            wanted.push("libfaketime".to_owned());
        }
        if missing.rivals {
            wanted.extend(RIVALS.map(str::to_owned));
        }
        if missing.attackers {
            wanted.extend(ATTACKERS.map(str::to_owned));
        }
        if missing.monitors {
            wanted.extend(MONITORS.map(str::to_owned));
        }
        if missing.valgrind {
            wanted.push("valgrind".to_owned());
        }
        if missing.pebble {
            wanted.push("pebble".to_owned());
        }
        if missing.pooler {
            wanted.push("pgbouncer".to_owned());
        }
        let plan = self.read(
            self.command("apt-get").args(["install", "--simulate", "--no-install-recommends"]).args(&wanted),
        )?;
        // What the plan leaves out is on the machine already, but possibly not where we look.
        wanted.extend(libraries(&plan));
        let step = Step::start(format!("Downloading {}", wanted.join(", ")));
        self.run(self.command("apt-get").arg("download").args(&wanted).current_dir(self.downloads()))?;
        let entries = fs::read_dir(self.downloads()).context("cannot read the downloads")?;
        let files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "deb"))
            .collect();
        step.done("");
        Ok(files)
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        for option in &self.options {
            command.args(["-o", option]);
        }
        // Messages are parsed and shown; no questions are asked.
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a command, its output going to the log.
    fn run(&self, command: &mut Command) -> Result<()> {
        let mut log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot open {}", self.log.display()))?;
        writeln!(log, "$ {command:?}").context("cannot write the log")?;
        let copy = log.try_clone().context("cannot share the log")?;
        let status =
            process::run_group(command.stdin(Stdio::null()).stdout(copy).stderr(log), self.interrupt)?;
        if !status.success() {
            bail!("{} failed:\n{}", command.get_program().display(), process::tail(&self.log, 4));
        }
        Ok(())
    }

    /// Runs a command and reads its output.
    fn read(&self, command: &mut Command) -> Result<String> {
        self.interrupt.check()?;
        let program = command.get_program().display().to_string();
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The newest server among package names, by number.
fn newest_postgres(names: &str) -> Option<u32> {
    names
        .lines()
        .filter_map(|name| name.trim().strip_prefix("postgresql-")?.parse::<u32>().ok())
        .filter(|major| *major >= 15)
        .max()
}

/// The libraries a simulated installation would add. Other packages in the plan (the scripts that
/// set up system-wide clusters, account management) are of no use here.
fn libraries(plan: &str) -> Vec<String> {
    plan.lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
        .filter(|name| name.starts_with("lib") && !["-perl", "-dev"].iter().any(|end| name.ends_with(end)))
        // Scripts for the pages of Prometheus are no libraries.
        .filter(|name| !name.starts_with("libjs-"))
        // The just-in-time compiler (a quarter of the download) is switched off here, and loaded lazily.
        .filter(|name| !name.starts_with("libllvm") && !name.starts_with("libz3"))
        .map(str::to_owned)
        .collect()
}

/// Writes `bin/NAME` for each unpacked program: the libraries beside it are no place the loader
/// looks in by itself.
fn write_wrappers(packages: &Path) -> Result<()> {
    let libraries = library_dirs(packages);
    let libraries: Vec<String> = libraries.iter().map(|path| path.display().to_string()).collect();
    let libraries = quote(&libraries.join(":"));
    let bin = packages.join("bin");
    layout::create_dir(&bin)?;
    for program in programs(packages) {
        let Some(name) = program.file_name() else { continue };
        let wrapper = bin.join(name);
        let text = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {} \"$@\"\n",
            quote(&program.display().to_string())
        );
        fs::write(&wrapper, text)
            .and_then(|()| fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", wrapper.display()))?;
    }
    Ok(())
}

/// The unpacked programs worth a wrapper.
fn programs(packages: &Path) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = entries(&packages.join("usr/lib/postgresql"))
        .into_iter()
        .map(|version| version.join("bin"))
        .collect();
    directories.extend(["usr/bin", "usr/sbin"].map(|part| packages.join(part)));
    let wanted = |path: &PathBuf| {
        let in_postgres = path.starts_with(packages.join("usr/lib/postgresql"));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        in_postgres
            || name.starts_with("redis-")
            || TOOLS.contains(&name)
            || super::monitors::PROGRAMS.contains(&name)
    };
    directories.iter().flat_map(|directory| entries(directory)).filter(wanted).collect()
}

/// Directories of unpacked libraries: `usr/lib/x86_64-linux-gnu` and the like, and varnish's own below it.
fn library_dirs(packages: &Path) -> Vec<PathBuf> {
    ["usr/lib", "lib"]
        .iter()
        .flat_map(|parent| entries(&packages.join(parent)))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("-linux-")))
        .flat_map(|path| [path.join("varnish"), path])
        .filter(|path| path.is_dir())
        .collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Debian's PostgreSQL reads the system's time zones; without them no client can say `UTC`.
fn time_zones() -> Result<()> {
    if Path::new("/usr/share/zoneinfo/UTC").exists() {
        return Ok(());
    }
    bail!(
        "PostgreSQL needs the time zone files, which only the system can provide:\n\n    apt-get install tzdata\n"
    )
}

/// A word for the shell.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_server_is_chosen_by_number() {
        let names = "postgresql-9.6\npostgresql-15\npostgresql-17\npostgresql-17-cron\npostgresql-common\n";
        assert_eq!(newest_postgres(names), Some(17));
        assert_eq!(newest_postgres("postgresql-13\npostgresql-client-15"), None);
    }

    #[test]
    fn only_libraries_are_taken_from_a_plan() {
        let plan = "Reading package lists...\n\
            Inst libjemalloc2 (5.3.0-1 Debian:12.11/oldstable [amd64])\n\
            Inst libllvm14 (1:14.0.6-12 Debian:12.11/oldstable [amd64])\n\
            Inst libpq5 [15.1] (15.20-0 Debian-Security:12 [amd64])\n\
            Inst libpq-dev [15.1] (15.20-0 Debian-Security:12 [amd64])\n\
            Inst libjson-perl (4.10000-1 Debian:12.11/oldstable [all])\n\
            Inst postgresql-common (248 Debian:12.11/oldstable [all])\n\
            Conf libpq5 (15.20-0 Debian-Security:12 [amd64])\n";
        assert_eq!(libraries(plan), ["libjemalloc2", "libpq5"]);
    }

    #[test]
    fn wrappers_run_the_unpacked_program_with_its_libraries() {
        let directory = tempfile::tempdir().unwrap();
        // A path that needs quoting, on purpose.
        let packages = directory.path().join("it's here");
        let (bin, lib) = (packages.join("usr/bin"), packages.join("usr/lib/x86_64-linux-gnu"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&lib).unwrap();
        let program = bin.join("redis-server");
        fs::write(&program, "#!/bin/sh\necho \"$LD_LIBRARY_PATH $1\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        write_wrappers(&packages).unwrap();
        let output = Command::new(packages.join("bin/redis-server")).arg("--version").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{} --version\n", lib.display()));
    }
}
