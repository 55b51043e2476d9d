//! `cargo xtask fuzz`: builds the fuzz targets with the pinned compiler, gives them their seeds and runs them,
//! one after another. LLVM's coverage counters need no nightly compiler; its sanitizers would, and there is
//! next to no unsafe code to watch. An input that broke something is left in `fuzz/artifacts`, with all that libFuzzer
//! said; what is shown is a table of figures.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cargo::Cargo;
use crate::interrupt::Interrupt;
use crate::layout::{self, Layout};
use crate::process;
use crate::progress::say;

/// All of them, in the order of the table in `fuzz/README.md`.
const TARGETS: [&str; 11] = [
    "head",
    "fast",
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
    let wanted = |name: &&&str| args.targets.is_empty() || args.targets.iter().any(|one| one == **name);
    let fuzz = layout.root.join("fuzz");
    let built = layout.root.join("target/fuzz");
    // What writes the seeds looks at nothing, and has nobody who would count for it.
    let corpus = fuzz.join("corpus");
    layout::create_dir(&corpus)?;
    let mut seeds = cargo.command(&fuzz);
    seeds.args(["run", "--quiet", "--bin", "seeds", "--target-dir"]).arg(&built).arg("--").arg(&corpus);
    run(&mut seeds, "the seeds cannot be written", interrupt)?;
    let mut build = cargo.command(&fuzz);
    build.args(["build", "--release", "--quiet", "--target-dir"]).arg(&built);
    build.args(TARGETS.iter().filter(wanted).flat_map(|name| ["--bin", name]));
    // With a target named, build scripts and macros are compiled without the flags.
    let host = host(cargo, &layout.root)?;
    build.args(["--target", &host]).env("RUSTFLAGS", COVERAGE);
    run(&mut build, "the targets do not build", interrupt)?;
    let programs = built.join(&host).join("release");
    say(format!("| target, {} s each | executions | a second | edges | inputs |", args.seconds));
    say("|---|---|---|---|---|");
    for target in TARGETS.iter().filter(wanted) {
        let (inputs, artifacts) = (corpus.join(target), fuzz.join("artifacts").join(target));
        layout::create_dir(&inputs)?;
        layout::create_dir(&artifacts)?;
        let mut command = Command::new(programs.join(target));
        command
            .arg(&inputs)
            .arg(format!("-max_total_time={}", args.seconds))
            .args(["-max_len=8192", "-print_final_stats=1", "-rss_limit_mb=2048"])
            .arg(format!("-artifact_prefix={}/", artifacts.display()));
        let log = artifacts.with_extension("log");
        command.stdout(Stdio::null()).stderr(File::create(&log).context("no place for the log")?);
        let ran = run(&mut command, &format!("{target} found an input: see {}", log.display()), interrupt);
        let log = fs::read(&log).context("the log is gone")?;
        say(format!("| {target} | {} |", figures(&String::from_utf8_lossy(&log)).join(" | ")));
        ran?;
    }
    Ok(())
}

/// What libFuzzer says at the end: executions, executions a second, edges of code reached and inputs kept; `-` for what
/// it did not come to say.
fn figures(log: &str) -> [String; 4] {
    let last = log.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: "));
    let mut words = last.unwrap_or_default().split_whitespace();
    let executed = words.next().and_then(|word| word.strip_prefix('#'));
    let words: Vec<_> = words.collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.split('/').next()
    };
    [executed, after("exec/s:"), after("cov:"), after("corp:")].map(|figure| figure.unwrap_or("-").to_owned())
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

#[cfg(test)]
mod tests {
    use super::figures;

    #[test]
    fn the_last_line_with_figures_counts() {
        let log = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                   #512\tNEW    cov: 12 ft: 14 corp: 3/9b lim: 4 exec/s: 99 rss: 41Mb L: 3/3 MS: 1 ChangeBit-\n\
                   #4096\tDONE   cov: 19 ft: 20 corp: 5/40b lim: 4 exec/s: 1024 rss: 41Mb\n\
                   Done 4096 runs in 4 second(s)\nstat::number_of_executed_units: 4096\n";
        assert_eq!(figures(log), ["4096", "1024", "19", "5"]);
        assert_eq!(figures("==1== ERROR: libFuzzer: deadly signal"), ["-"; 4]);
    }
}
