//! `cargo xtask fuzz`: builds the fuzz targets with the pinned compiler, gives them their seeds and runs them,
//! one after another. LLVM's coverage counters need no nightly compiler; its sanitizers would, and there is
//! next to no unsafe code to watch. An input that broke something is left in `fuzz/artifacts`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::Cargo;
use crate::interrupt::Interrupt;
use crate::layout::{self, Layout};
use crate::process;
use crate::progress::say;

/// All of them, in the order of the table in `fuzz/README.md`.
const TARGETS: [&str; 10] = [
    "head",
    "frame",
    "link_record",
    "domain_record",
    "agent_keys",
    "snapshot",
    "spool",
    "proxy_protocol",
    "http2",
    "slat",
];
/// What makes libFuzzer see which code an input reaches.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// Settings of `fuzz`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these targets; all when left out.
    targets: Vec<String>,
    /// Seconds for each.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs them; fails at the first input that breaks something.
pub fn fuzz(args: &Args, cargo: &Cargo, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let unknown = args.targets.iter().find(|name| !TARGETS.contains(&name.as_str()));
    ensure!(
        unknown.is_none(),
        "no such target: {}; there are {}",
        args.targets.join(", "),
        TARGETS.join(", ")
    );
    let fuzz = layout.root.join("fuzz");
    let built = layout.root.join("target/fuzz");
    let mut build = cargo.command(&fuzz);
    build.args(["build", "--release", "--quiet", "--target-dir"]).arg(&built);
    // With a target named, build scripts and macros are compiled without the flags.
    let host = host(cargo, &layout.root)?;
    build.args(["--target", &host]).env("RUSTFLAGS", COVERAGE);
    run(&mut build, "the targets do not build", interrupt)?;
    let programs = built.join(&host).join("release");
    let corpus = fuzz.join("corpus");
    layout::create_dir(&corpus)?;
    run(Command::new(programs.join("seeds")).arg(&corpus), "the seeds cannot be written", interrupt)?;
    for target in
        TARGETS.iter().filter(|name| args.targets.is_empty() || args.targets.iter().any(|one| one == *name))
    {
        say(format!("{target}: {} s", args.seconds));
        let (inputs, artifacts) = (corpus.join(target), fuzz.join("artifacts").join(target));
        layout::create_dir(&inputs)?;
        layout::create_dir(&artifacts)?;
        let mut command = Command::new(programs.join(target));
        command
            .arg(&inputs)
            .arg(format!("-max_total_time={}", args.seconds))
            .args(["-max_len=8192", "-print_final_stats=1", "-verbosity=0", "-rss_limit_mb=2048"])
            .arg(format!("-artifact_prefix={}/", artifacts.display()));
        run(&mut command, &format!("{target} found an input: see fuzz/artifacts/{target}"), interrupt)?;
    }
    Ok(())
}

/// The machine this compiler compiles for.
fn host(cargo: &Cargo, root: &Path) -> Result<String> {
    let output = cargo.command(root).args(["-vV"]).output().context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("cargo does not say its host")?.to_owned())
}

fn run(command: &mut Command, hint: &str, interrupt: &Interrupt) -> Result<()> {
    let status = process::run_group(command, interrupt)?;
    ensure!(status.success(), "{hint}");
    Ok(())
}
