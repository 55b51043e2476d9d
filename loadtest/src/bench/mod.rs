//! `bench`: what one redirect costs the edge, beside the servers people would use instead.
//!
//! One server at a time, each on the same core with one worker, the load on another core; all kinds of
//! load for every server in each round, rounds one after another, and ratios taken within a round: what the
//! machine does meanwhile hits both sides of a ratio. Every reply is compared with what it must be, and what
//! is said to be recorded is counted. CPU time per request is the figure to trust; requests per second also
//! measure the load's own core.

pub(crate) mod cpu;
mod edge;
pub(crate) mod floor;
pub(crate) mod instructions;
mod links;
mod load;
mod rivals;

use crate::stack::SECRET;
use crate::stack::ground::Lab;
use crate::{programs, say};
use anyhow::{Context, ensure};
use cpu::Spread;
use edge::{Edge, Way};
use links::Links;
use load::{Expected, Load, Until};
pub(crate) use rivals::is_root;
use rivals::{Rival, Yard};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Connections of the closed loads.
const CONNECTIONS: usize = 64;
/// Connections clicks that are due can take.
const CONNECTIONS_OPEN: usize = 256;
/// Before each measurement, unmeasured.
const WARM_UP: Duration = Duration::from_millis(300);
/// Less of the clicks that were due is no latency of this rate.
const KEPT_UP: f64 = 0.98;

/// Settings of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Links every server that knows links is given.
    #[arg(long, env = "AOS_BENCH_LINKS", default_value_t = 1_000_000)]
    links: u32,
    /// Rounds.
    #[arg(long, env = "AOS_BENCH_ROUNDS", default_value_t = 7)]
    rounds: usize,
    /// Seconds of each kind of load, for each server in each round.
    #[arg(long, env = "AOS_BENCH_SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Clicks a second when latency is measured.
    #[arg(long, env = "AOS_BENCH_RATE", default_value_t = 15_000)]
    rate: u32,
    /// Only servers whose name contains one of these, and the edge; separated by commas.
    #[arg(long, env = "AOS_BENCH_ONLY", value_delimiter = ',')]
    only: Vec<String>,
    /// Also put the table on top of this file, with date and commit.
    #[arg(long, env = "AOS_BENCH_WRITE")]
    write: Option<PathBuf>,
}

/// Who is measured.
enum Contender {
    Edge(Way, Edge),
    Rival(Rival),
}

/// What is known of one contender.
#[derive(Default)]
struct Figures {
    name: &'static str,
    records: bool,
    keep_alive_us: Vec<f64>,
    per_second: Vec<f64>,
    one_each_us: Vec<f64>,
    /// With all clicks on one link; of the edges alone.
    hot_us: Vec<f64>,
    hot_per_second: Vec<f64>,
    /// p50, p99, p99.9 in microseconds.
    latencies_us: [Vec<f64>; 3],
    resident_bytes: u64,
    fell_behind: bool,
}

/// Runs; `true` unless a server answered wrongly or recorded another number of clicks.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let lab = Lab::find(&["--rivals"])?;
    let packages = lab.rivals.clone().context("the rivals were not unpacked")?;
    let binaries = programs::build_edge()?;
    let (server_core, load_core) = cpu::cores();
    // Everything started from here on begins on the load's core; servers are moved to their own.
    cpu::pin(std::process::id(), load_core)?;
    let folder = lab.folder("bench")?;
    let links = Links::new(args.links, &shared::Secret::parse(SECRET)?);
    say(&format!("{} links; starting the edge and its rivals", links.count()));
    let yard = Yard { lab: &lab, packages: &packages, folder: &folder, links: &links };
    let mut all = Vec::new();
    for way in Way::ALL {
        let place = folder.join(way.name());
        std::fs::create_dir_all(&place)?;
        all.push(Contender::Edge(way, Edge::start(&lab, &binaries, &place, &links, way).await?));
    }
    all.extend(rivals(&yard, &args.only).await?.into_iter().map(Contender::Rival));
    for contender in &all {
        for pid in contender.pids()? {
            cpu::pin(pid, server_core)?;
        }
    }
    let mut figures: Vec<Figures> = all.iter().map(Contender::blank).collect();
    let mut stolen = Vec::new();
    for round in 0..args.rounds {
        for turn in 0..all.len() {
            // Nobody always goes first.
            let at = (turn + round) % all.len();
            let before = cpu::stolen(server_core);
            all[at].measure(args, &links, &mut figures[at]).await?;
            stolen.push(cpu::stolen(server_core).saturating_sub(before).as_secs_f64());
        }
        say(&format!("round {} of {}: {}", round + 1, args.rounds, last(&figures)));
    }
    for (contender, figures) in all.iter().zip(&mut figures) {
        figures.resident_bytes = contender.pids()?.into_iter().map(cpu::resident_bytes).sum();
    }
    let stolen = stolen.iter().sum::<f64>() / (stolen.len() as f64 * measured_seconds(args));
    let table = table(args, &links, &figures, stolen);
    say("");
    say(table.trim_end());
    if let Some(path) = &args.write {
        put_on_top(path, &table)?;
    }
    drop(all);
    std::fs::remove_dir_all(&folder).ok();
    Ok(true)
}

/// Seconds a contender is under load in one round.
fn measured_seconds(args: &Args) -> f64 {
    args.seconds * 3.0 + WARM_UP.as_secs_f64() * 3.0
}

async fn rivals(yard: &Yard<'_>, only: &[String]) -> anyhow::Result<Vec<Rival>> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    let mut all = Vec::new();
    if wanted("nginx return") {
        all.push(yard.nginx_return().await?);
    }
    if wanted("nginx map buffered") {
        all.push(yard.nginx_map(true).await?);
    }
    if wanted("nginx map log") {
        all.push(yard.nginx_map(false).await?);
    }
    if wanted("nginx lua redis") {
        all.push(yard.nginx_lua().await?);
    }
    if wanted("haproxy") {
        all.push(yard.haproxy().await?);
    }
    if wanted("varnish") {
        all.push(yard.varnish().await?);
    }
    if wanted("floor") {
        all.push(yard.floor().await?);
    }
    Ok(all)
}

impl Contender {
    fn pids(&self) -> anyhow::Result<Vec<u32>> {
        match self {
            Self::Edge(_, edge) => Ok(vec![edge.pid()?]),
            Self::Rival(rival) => Ok(rival.pids()),
        }
    }

    fn blank(&self) -> Figures {
        let name = match self {
            Self::Edge(way, _) => way.name(),
            Self::Rival(rival) => rival.name,
        };
        Figures { name, ..Figures::default() }
    }

    fn target(&self) -> (SocketAddr, Expected) {
        match self {
            Self::Edge(_, edge) => (edge.addr, Expected::Own),
            Self::Rival(rival) => (rival.addr, rival.expected),
        }
    }

    /// All kinds of load, one after another.
    async fn measure(&mut self, args: &Args, links: &Links, figures: &mut Figures) -> anyhow::Result<()> {
        let (addr, expected) = self.target();
        let until = Until::Over(Duration::from_secs_f64(args.seconds));
        let closed = Load {
            addr,
            links,
            expected,
            one_link: false,
            connections: CONNECTIONS,
            one_each: false,
            per_second: None,
            until,
        };
        let keep_alive = self.put_under(closed, figures).await?;
        figures.keep_alive_us.push(keep_alive.0);
        figures.per_second.push(keep_alive.1.replies as f64 / keep_alive.1.took.as_secs_f64());
        if let Self::Edge(..) = self {
            let hot = self.put_under(Load { one_link: true, ..closed }, figures).await?;
            figures.hot_us.push(hot.0);
            figures.hot_per_second.push(hot.1.replies as f64 / hot.1.took.as_secs_f64());
        }
        let one_each = self.put_under(Load { one_each: true, ..closed }, figures).await?;
        figures.one_each_us.push(one_each.0);
        let open = Load { per_second: Some(args.rate), connections: CONNECTIONS_OPEN, ..closed };
        let open = self.put_under(open, figures).await?.1;
        figures.fell_behind |= (open.replies as f64) < f64::from(args.rate) * args.seconds * KEPT_UP;
        for (values, quantile) in figures.latencies_us.iter_mut().zip([0.5, 0.99, 0.999]) {
            values.push(open.latencies.value_at_quantile(quantile) as f64 / 1000.0);
        }
        Ok(())
    }

    /// One kind of load: CPU time per request in microseconds, and what came of it.
    async fn put_under(
        &mut self,
        load: Load<'_>,
        figures: &mut Figures,
    ) -> anyhow::Result<(f64, load::Outcome)> {
        let name = figures.name;
        let before = self.recorded(0).await?;
        let warm = Load { until: Until::Over(WARM_UP), ..load };
        let warmed = tokio::task::block_in_place(|| load::run(warm)).with_context(|| name.to_owned())?;
        let pids = self.pids()?;
        let used = || pids.iter().map(|pid| cpu::used(*pid)).sum::<anyhow::Result<Duration>>();
        let used_before = used()?;
        let outcome = tokio::task::block_in_place(|| load::run(load)).with_context(|| name.to_owned())?;
        let used = used()?.saturating_sub(used_before);
        let answered = warmed.replies + outcome.replies;
        if let Some(recorded) = self.recorded(answered).await? {
            figures.records = true;
            let recorded = recorded - before.unwrap_or(0);
            ensure!(recorded == answered, "{name} answered {answered} clicks and recorded {recorded}");
        }
        Ok((used.as_secs_f64() * 1e6 / outcome.replies as f64, outcome))
    }

    /// Clicks recorded: so far by the edge, since the last question by a rival.
    async fn recorded(&mut self, expected: u64) -> anyhow::Result<Option<u64>> {
        match self {
            Self::Edge(_, edge) => Ok(Some(edge.recorded().await?)),
            Self::Rival(rival) => {
                Ok(rival.recorded(expected).await?.map(|clicks| clicks * u64::from(expected > 0)))
            }
        }
    }
}

fn last(figures: &[Figures]) -> String {
    let mut line = String::from("CPU µs a request");
    for one in figures {
        let figure = one.keep_alive_us.last().copied().unwrap_or_default();
        // A string takes everything.
        write!(line, ", {} {figure:.2}", one.name).ok();
    }
    line
}

/// How many times the edge's value is each round's value of another.
fn ratio(edge: &[f64], other: &[f64]) -> Option<Spread> {
    Spread::of(edge.iter().zip(other).map(|(edge, other)| edge / other).collect())
}

fn table(args: &Args, links: &Links, figures: &[Figures], stolen: f64) -> String {
    let mut text = format!(
        "{} rounds of {} s, {} links of 79 bytes by Zipf's law, 493 bytes of request, one core a server, median (least to\n\
         most); the host took {:.1} % of the server's core for others. Latency is counted from when a click was due, at\n\
         {} clicks a second over {CONNECTIONS_OPEN} connections.\n\n",
        args.rounds,
        args.seconds,
        links.count(),
        stolen * 100.0,
        args.rate
    );
    text.push_str(
        "| server | records | CPU µs a request | edge ÷ it | fast path ÷ it | requests/s | CPU µs, a connection each | edge ÷ it | fast path ÷ it | p50 µs | p99 µs | p99.9 µs | MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let [edge, fast, ..] = figures else { return text };
    for one in figures {
        let over = |of: fn(&Figures) -> &Vec<f64>| {
            [edge, fast].map(|edge| {
                if std::ptr::eq(edge, one) { String::new() } else { show(ratio(of(edge), of(one))) }
            })
        };
        let ([kept, kept_fast], [each, each_fast]) =
            (over(|one| &one.keep_alive_us), over(|one| &one.one_each_us));
        let latency = |at: usize| {
            let values = &one.latencies_us[at];
            if one.fell_behind { "behind".to_owned() } else { format!("{:.0}", middle(values)) }
        };
        // A string takes everything.
        writeln!(
            text,
            "| {} | {} | {} | {kept} | {kept_fast} | {:.0} | {} | {each} | {each_fast} | {} | {} | {} | {:.0} |",
            one.name,
            if one.records { "all" } else { "none" },
            show(Spread::of(one.keep_alive_us.clone())),
            middle(&one.per_second),
            show(Spread::of(one.one_each_us.clone())),
            latency(0),
            latency(1),
            latency(2),
            one.resident_bytes as f64 / f64::from(1 << 20)
        )
        .ok();
    }
    for one in [edge, fast] {
        // A string takes everything.
        writeln!(
            text,
            "\nAll clicks on one link ({}): {} times the requests a second of all links, {} times the CPU time a request.",
            one.name,
            show(ratio(&one.hot_per_second, &one.per_second)),
            show(ratio(&one.hot_us, &one.keep_alive_us))
        )
        .ok();
    }
    text
}

fn show(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| spread.to_string())
}

fn middle(values: &[f64]) -> f64 {
    Spread::of(values.to_vec()).map_or(0.0, |spread| spread.middle)
}

/// Puts a section before the newest one of a file of results.
fn put_on_top(path: &std::path::Path, table: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let commit = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output()?;
    let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
    let day = shared::Clock::now(&shared::SystemClock).format("%Y-%m-%d");
    let at = text.find("\n## ").map_or(text.len(), |at| at + 1);
    let (head, tail) = text.split_at_checked(at).context("a section begins at a letter")?;
    let written = format!("{head}## {day}, `bench`, at {commit}\n\n{table}\n{tail}");
    std::fs::write(path, written).with_context(|| format!("cannot write {}", path.display()))
}
