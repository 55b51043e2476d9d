//! `cargo xtask check-deploy`: every file of `deploy/` read by the program that will read it, or by its schema.
//!
//! All checks run even if one fails. What no program of this machine can check is named at the end, each time: a file
//! that nobody looked at is never passed over in silence. Files are changed only in copies, and only where a machine
//! must have what this one lacks: names of hosts, ports below 1024, the place of our programs.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::peers;
use crate::progress::{Step, say};
use crate::servers::{self, Programs, monitors, ports, rivals};
use crate::test::Bench;

/// The oldest Kubernetes the manifests are for, and the newest whose schemas are at hand.
const KUBERNETES: [&str; 2] = ["1.31", "1.37"];
/// In tenths, as `systemd-analyze security` counts: 0 is best, 100 is worst.
const EXPOSURE_MAX: &str = "20";
/// What is not checked here, or not by running it.
const NOT_RUN: [(&str, &str); 7] = [
    ("Dockerfile", "an image needs a Docker daemon"),
    ("compose.yaml", "held against its schema, not started, for the same reason"),
    (
        "kubernetes/",
        "held against the schemas, not applied: there is no cluster; nothing here reads adapter-rules.yaml",
    ),
    ("systemd/", "verified, not started"),
    ("nginx/, haproxy/", "settings only; under load by `loadtest rolling` and `corpus`"),
    ("pgbouncer/", "the tests of the control plane start PgBouncer with it"),
    (
        "grafana/",
        "`loadtest alerts` asks Prometheus every query of the dashboards; Grafana itself was not run",
    ),
];

/// What the checks need.
struct Ground<'a> {
    deploy: PathBuf,
    /// Copies of what has to be changed.
    copies: PathBuf,
    /// The folder of unpacked packages.
    packages: PathBuf,
    peers: PathBuf,
    path: &'a OsStr,
    bench: &'a Bench,
    programs: &'a Programs,
}

enum Verdict {
    /// With what it said, in short.
    Passed(String),
    /// The program that is missing.
    NotRun(&'static str),
}

type Check = fn(&Ground<'_>) -> Result<Verdict>;

const CHECKS: [(&str, Check); 12] = [
    ("prometheus/: rules and scraping (promtool check)", rules),
    ("prometheus/: every alert fires in a test (promtool test rules)", alerts),
    ("kubernetes/base (kubernetes-validate --strict)", base),
    ("kubernetes/overlays (kubectl kustomize, kubernetes-validate --strict)", overlays),
    ("compose.yaml (the schema of compose files)", compose),
    ("haproxy/ (haproxy -c)", haproxy),
    ("nginx/ (nginx -t)", nginx),
    ("systemd/: units (systemd-analyze verify)", units),
    ("systemd/: hardening (systemd-analyze security)", hardening),
    ("systemd/: kernel settings (names below /proc/sys)", sysctls),
    ("redis/users.acl (redis-server --aclfile)", acl),
    ("postgres/roles.sql (psql, twice)", roles),
];

/// Runs all checks; fails if one did.
pub fn check(servers: &servers::Args, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let programs = Programs::ready(servers, layout, interrupt)?;
    rivals::ready(servers, layout, interrupt)?;
    let packages = monitors::ready(servers, layout, interrupt)?;
    let peers = peers::ready(servers.no_install, &servers.path, layout, interrupt)?;
    let bench = Bench::start(layout, &programs, interrupt)?;
    let copies = layout.home.join(format!("deploy-{}", std::process::id()));
    let ground = Ground {
        deploy: layout.root.join("deploy"),
        copies: copies.clone(),
        packages,
        peers,
        path: &servers.path,
        bench: &bench,
        programs: &programs,
    };
    let outcome =
        fs::create_dir_all(&copies).context("cannot make a folder").and_then(|()| all(&ground, interrupt));
    drop(fs::remove_dir_all(&copies));
    bench.stop(interrupt)?;
    outcome
}

fn all(ground: &Ground<'_>, interrupt: &Interrupt) -> Result<()> {
    let (mut passed, mut failed, mut missing) = (0, 0, Vec::new());
    for (title, run) in CHECKS {
        interrupt.check()?;
        let step = Step::start(title);
        match run(ground) {
            Ok(Verdict::Passed(said)) => {
                passed += 1;
                step.done(said);
            }
            Ok(Verdict::NotRun(program)) => {
                step.skipped(format!("not run, as {program} is not on this machine"));
                missing.push(title);
            }
            Err(error) => {
                interrupt.check()?;
                failed += 1;
                step.failed(format!("{error:#}"));
            }
        }
    }
    say("Not run here:");
    for title in &missing {
        say(format!("  {title}: the program is missing"));
    }
    for (what, why) in NOT_RUN {
        say(format!("  {what}: {why}"));
    }
    say(format!("check-deploy: {passed} passed, {failed} failed, {} not run", missing.len()));
    ensure!(failed == 0, "checks failed");
    Ok(())
}

/// Runs a program to its end; gives all it said, or an error with it.
fn ask(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
    ensure!(output.status.success(), "{program} ended with {}:\n{said}", output.status);
    Ok(said)
}

impl Ground<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.deploy.join(name)
    }

    fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.file(name)).with_context(|| format!("cannot read {name}"))
    }

    /// Writes a changed copy.
    fn copy(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.copies.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A program of the unpacked packages.
    fn unpacked(&self, name: &str) -> Command {
        Command::new(self.packages.join("bin").join(name))
    }

    /// A program of the peers.
    fn peer(&self, name: &str) -> Command {
        Command::new(self.peers.join(".venv/bin").join(name))
    }

    /// A program of the machine, if it has it.
    fn found(&self, name: &str) -> Option<Command> {
        std::env::split_paths(self.path)
            .map(|place| place.join(name))
            .find(|path| path.is_file())
            .map(Command::new)
    }

    /// The files below a folder of `deploy/` whose names end so.
    fn files(&self, folder: &str, endings: &[&str]) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.file(folder)).with_context(|| format!("cannot read {folder}"))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| endings.iter().any(|ending| end == *ending)));
        files.sort();
        ensure!(!files.is_empty(), "{folder} is empty");
        Ok(files)
    }
}

fn rules(ground: &Ground<'_>) -> Result<Verdict> {
    let said = ask(ground
        .unpacked("promtool")
        .arg("check")
        .arg("config")
        .arg(ground.file("prometheus/prometheus.yml")))?;
    let rules = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("SUCCESS: ").filter(|line| line.ends_with("rules found")));
    Ok(Verdict::Passed(rules.context("promtool found no rules")?.to_owned()))
}

fn alerts(ground: &Ground<'_>) -> Result<Verdict> {
    let tests = "alerts_test.yml";
    ask(ground.unpacked("promtool").args(["test", "rules", tests]).current_dir(ground.file("prometheus")))?;
    let tests = ground.read("prometheus/alerts_test.yml")?.matches("\n  - name: ").count();
    Ok(Verdict::Passed(format!("{tests} tests")))
}

/// Holds manifests against the schemas of each version.
fn validate(ground: &Ground<'_>, manifests: &[PathBuf]) -> Result<usize> {
    let mut resources = 0;
    for version in KUBERNETES {
        let said = ask(ground.peer("kubernetes-validate").args(["--strict", "-k", version]).args(manifests))?;
        resources = said.lines().filter(|line| line.contains(" passed for resource ")).count();
        ensure!(resources >= manifests.len(), "resources were left out:\n{said}");
    }
    Ok(resources)
}

fn base(ground: &Ground<'_>) -> Result<Verdict> {
    let mut manifests = ground.files("kubernetes/base", &["yaml"])?;
    manifests.extend(ground.files("kubernetes/overlays/large", &["yaml"])?);
    // What kustomize alone reads is no resource of a cluster.
    manifests.retain(|path| !path.ends_with("kustomization.yaml"));
    let resources = validate(ground, &manifests)?;
    Ok(Verdict::Passed(format!("{resources} resources, Kubernetes {}", KUBERNETES.join(" and "))))
}

fn overlays(ground: &Ground<'_>) -> Result<Verdict> {
    let mut rendered = Vec::new();
    for overlay in ["small", "large"] {
        let Some(mut kubectl) = ground.found("kubectl") else { return Ok(Verdict::NotRun("kubectl")) };
        let said = kubectl
            .arg("kustomize")
            .arg(ground.file("kubernetes/overlays").join(overlay))
            .output()
            .context("cannot run kubectl")?;
        ensure!(said.status.success(), "{overlay}: {}", String::from_utf8_lossy(&said.stderr).trim());
        rendered.push(ground.copy(&format!("{overlay}.yaml"), &String::from_utf8(said.stdout)?)?);
    }
    Ok(Verdict::Passed(format!("{} resources", validate(ground, &rendered)?)))
}

fn compose(ground: &Ground<'_>) -> Result<Verdict> {
    let mut command = ground.peer("check-jsonschema");
    ask(command.args(["--builtin-schema", "vendor.compose-spec"]).arg(ground.file("compose.yaml")))?;
    Ok(Verdict::Passed(String::new()))
}

fn haproxy(ground: &Ground<'_>) -> Result<Verdict> {
    let files = ground.files("haproxy", &["cfg"])?;
    for file in &files {
        // Hosts that are not there are no fault of the file: they are looked up when they are needed.
        let text = fs::read_to_string(file)?
            .replace("init-addr last,libc,none ", "")
            .replace("default-server ", "default-server init-addr last,libc,none ");
        let name = file.file_name().context("a file without a name")?.to_string_lossy();
        let copy = ground.copy(&name, &text)?;
        let said = ask(ground.unpacked("haproxy").arg("-c").arg("-f").arg(copy))?;
        ensure!(said.contains("Configuration file is valid"), "{name}: {said}");
        let warned = |line: &&str| line.contains("[WARNING]") && !line.contains("could not resolve");
        let warnings: Vec<&str> = said.lines().filter(warned).collect();
        ensure!(warnings.is_empty(), "{name}: {}", warnings.join("\n"));
    }
    Ok(Verdict::Passed(format!("{} files", files.len())))
}

fn nginx(ground: &Ground<'_>) -> Result<Verdict> {
    let [port] = ports::free()?;
    let mut text = ground.read("nginx/nginx.conf")?;
    for host in ["edge-1", "edge-2", "control-1", "control-2"] {
        text = text.replace(&format!("server {host}.internal:"), "server 127.0.0.1:");
    }
    let folder = ground.copies.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|what| format!("    {what}_temp_path {folder}/{what};\n")).concat();
    text = text
        .replace("\nhttp {\n", &format!("\nhttp {{\n{temporary}"))
        .replace("listen 80 ", &format!("listen 127.0.0.1:{port} "))
        .replace("/run/nginx.pid", &format!("{folder}/nginx.pid"))
        .replace("/var/log/nginx/", &format!("{folder}/"));
    ensure!(!text.contains(".internal"), "nginx.conf names a host that this check does not know");
    let copy = ground.copy("nginx.conf", &text)?;
    ask(ground.unpacked("nginx").arg("-t").arg("-p").arg(&ground.copies).arg("-c").arg(copy))?;
    Ok(Verdict::Passed(String::new()))
}

/// The units, with a program that is there in the place of ours.
fn copied_units(ground: &Ground<'_>) -> Result<PathBuf> {
    let folder = ground.copies.join("units");
    fs::create_dir_all(&folder).context("cannot make a folder")?;
    for file in ground.files("systemd", &["service", "socket", "timer"])? {
        let mut text = fs::read_to_string(&file)?;
        for program in ["control-plane", "tracker-edge", "payouts-evm"] {
            text = text.replace(&format!("ExecStart=/usr/local/bin/{program}"), "ExecStart=/bin/true");
        }
        fs::write(folder.join(file.file_name().context("a file without a name")?), text)?;
    }
    Ok(folder)
}

/// A template is looked at as one of its instances.
fn instance(name: &str) -> String {
    name.replace("@.", "@a.")
}

fn units(ground: &Ground<'_>) -> Result<Verdict> {
    let Some(mut command) = ground.found("systemd-analyze") else {
        return Ok(Verdict::NotRun("systemd-analyze"));
    };
    let folder = copied_units(ground)?;
    let names: Vec<String> = ground
        .files("systemd", &["service", "socket", "timer"])?
        .iter()
        .filter_map(|path| Some(instance(path.file_name()?.to_str()?)))
        .collect();
    // Ours first, then those of the machine, which ours build on.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display())).current_dir(&folder);
    let said = ask(command.args(["verify", "--man=no"]).args(&names))?;
    // A misspelt setting is no error to it, but it says so.
    ensure!(said.is_empty(), "{said}");
    Ok(Verdict::Passed(format!("{} units", names.len())))
}

fn hardening(ground: &Ground<'_>) -> Result<Verdict> {
    let folder = copied_units(ground)?;
    let mut exposures = Vec::new();
    for service in ground.files("systemd", &["service"])? {
        let Some(mut command) = ground.found("systemd-analyze") else {
            return Ok(Verdict::NotRun("systemd-analyze"));
        };
        let name = service.file_name().context("a file without a name")?;
        command.args(["security", "--no-pager", "--offline=true", &format!("--threshold={EXPOSURE_MAX}")]);
        let said = ask(command.arg(folder.join(name)))?;
        let exposure =
            said.lines().find_map(|line| line.split_once("Overall exposure level for ")?.1.split_once(": "));
        let (unit, exposure) = exposure.context("systemd-analyze gave no figure")?;
        let figure = exposure.split(' ').next().unwrap_or_default();
        exposures.push(format!("{} {figure}", unit.trim_end_matches(".service")));
    }
    Ok(Verdict::Passed(exposures.join(", ")))
}

fn sysctls(ground: &Ground<'_>) -> Result<Verdict> {
    let text = ground.read("systemd/99-affiliateos.conf")?;
    let mut names = 0;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, _) = line.split_once(" = ").with_context(|| format!("no setting: {line}"))?;
        let place = Path::new("/proc/sys").join(name.replace('.', "/"));
        ensure!(place.exists(), "the kernel knows no {name}");
        names += 1;
    }
    ensure!(names > 0, "no settings");
    Ok(Verdict::Passed(format!("{names} settings")))
}

fn acl(ground: &Ground<'_>) -> Result<Verdict> {
    let mut child = Command::new(ground.programs.redis.tool("redis-server"))
        .args(["--port", "0", "--save", "", "--daemonize", "no", "--aclfile"])
        .arg(ground.file("redis/users.acl"))
        // Without any listener it ends at once.
        .arg("--unixsocket")
        .arg(ground.copies.join("redis.sock"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start Redis")?;
    let said = child.stdout.take().context("Redis has no output")?;
    let (mut lines, mut ready) = (Vec::new(), false);
    for line in BufReader::new(said).lines() {
        let line = line.context("cannot read what Redis says")?;
        // Users are read after "Server initialized".
        ready = line.contains("eady to accept connections");
        lines.push(line);
        if ready {
            break;
        }
    }
    // It may have ended by itself.
    drop(child.kill());
    child.wait().context("cannot wait for Redis")?;
    if !ready {
        bail!("Redis does not start with these users:\n{}", lines.join("\n"));
    }
    let users = ground.read("redis/users.acl")?.lines().filter(|line| line.starts_with("user ")).count();
    Ok(Verdict::Passed(format!("{users} users, Redis {}", ground.programs.redis.version)))
}

fn roles(ground: &Ground<'_>) -> Result<Verdict> {
    for _ in 0..2 {
        let mut psql = ground.bench.postgres.client("psql");
        psql.args(["--dbname", "postgres", "--no-psqlrc", "--quiet", "--file"])
            .arg(ground.file("postgres/roles.sql"));
        ask(&mut psql)?;
    }
    let mut psql = ground.bench.postgres.client("psql");
    psql.args(["--dbname", "postgres", "--no-psqlrc", "--tuples-only", "--no-align"]);
    let said = ask(psql.args(["--command", r"\du affiliateos_*"]))?;
    let roles = said.lines().filter(|line| line.starts_with("affiliateos_")).count();
    ensure!(roles == 5 && !said.contains("Superuser"), "not the five roles:\n{said}");
    Ok(Verdict::Passed(format!("{roles} roles, PostgreSQL {}", ground.programs.postgres.version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_looked_at_as_an_instance() {
        assert_eq!(instance("affiliateos-edge@.service"), "affiliateos-edge@a.service");
        assert_eq!(instance("affiliateos-edge.socket"), "affiliateos-edge.socket");
    }

    #[test]
    fn what_a_program_says_is_in_the_error() {
        let error = ask(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("why") && error.contains("exit status: 3"), "{error}");
        assert_eq!(ask(Command::new("echo").arg("well")).unwrap(), "well");
    }
}
