//! `track`: POST /api/conversions/track beside the same inserts by pgbench, against the same database, interleaved
//! in one run, medians.
//!
//! What a report does more than its inserts: HTTP and JSON, the key and the link looked up, the conversion read back
//! for its answer and its event. Every client reports for an advertiser of its own, one report after the other, so
//! that no two wait for one month's usage. The control plane's jobs work on the rows of both.

use crate::api::{Api, text};
use crate::say;
use crate::stack::ground::Ground;
use crate::stack::{Options, Stack};
use anyhow::{Context, ensure};
use serde_json::json;
use sqlx::PgPool;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const INSERTS: &str = include_str!("inserts.sql");
/// Included in a month of Pro: what is billed besides would be other rows.
const INCLUDED: usize = 1_000;

/// Settings of `track`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Clients at a time.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Reports of each client in a round, 990 at most: the month's allowance.
    #[arg(long, default_value_t = 300)]
    reports: usize,
    /// Rounds of each kind.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of pgbench's transactions a second, at least.
    #[arg(long, default_value_t = 0.5)]
    of_pgbench: f64,
}

/// Who reports, and for which link.
struct Reporter {
    api: Api,
    token: String,
}

/// Everything a round needs.
struct Bench<'a> {
    args: &'a Args,
    database: PgPool,
    reporters: Vec<Reporter>,
    pgbench: PathBuf,
    script: PathBuf,
    port: u16,
}

/// Runs; `true` when reports come at so much of pgbench's pace, and none is missing.
pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    ensure!((1..INCLUDED - 10).contains(&args.reports), "--reports is 1 to {}", INCLUDED - 11);
    let ground = Ground::prepare(&[]).await?;
    let control = vec![("AOS_DB_API_CONNECTIONS", args.clients.max(2).to_string())];
    let stack = Stack::start(&ground, Options { control, ..Options::default() }).await?;
    let script = stack.folder.join("inserts.sql");
    std::fs::write(&script, INSERTS).context("cannot write pgbench's script")?;
    let bench = Bench {
        args,
        database: stack.database().await?,
        reporters: cast(&stack, args.clients).await?,
        pgbench: ground.lab.postgres.join("pgbench"),
        script,
        port: stack.postgres.port(),
    };
    bench.name_casts().await?;
    let (mut reports, mut inserts, mut times) = (Vec::new(), Vec::new(), Vec::new());
    say(&format!("{} clients, {} reports of each a round; a second:", args.clients, args.reports));
    for round in 1..=args.rounds {
        let (rate, took) = bench.report(round).await?;
        reports.push(rate);
        times.extend(took);
        inserts.push(bench.insert(round).await?);
        let last = |rates: &[f64]| rates.last().copied().unwrap_or_default();
        say(&format!("round {round}: reports {:>7.0}   pgbench {:>7.0}", last(&reports), last(&inserts)));
    }
    times.sort_unstable();
    let at = |percent: usize| {
        let nth = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(nth).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    let (of_reports, of_inserts) = (median(&mut reports), median(&mut inserts));
    let ratio = of_reports / of_inserts;
    say("");
    say("| pgbench, transactions/s | reports/s | of pgbench | p50 ms | p99 ms |");
    say("|---|---|---|---|---|");
    say(&format!("| {of_inserts:.0} | {of_reports:.0} | {ratio:.2} | {:.1} | {:.1} |", at(50), at(99)));
    bench.database.close().await;
    stack.stop()?;
    Ok(ratio >= args.of_pgbench)
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// An advertiser of its own for every client.
async fn cast(stack: &Stack, clients: usize) -> anyhow::Result<Vec<Reporter>> {
    let api = stack.api()?;
    let mut reporters = Vec::with_capacity(clients);
    for _ in 0..clients {
        let cast = api.cast().await?;
        reporters.push(Reporter { api: cast.advertiser, token: cast.token });
    }
    let database = stack.database().await?;
    sqlx::query("UPDATE agents SET tier = 'pro'").execute(&database).await?;
    // Its event is what pgbench stores, too.
    for reporter in &reporters {
        let sale = json!({"tracking_token": reporter.token, "event_type": "sale", "revenue_amount": 99});
        text(&reporter.api.call("POST", "/api/conversions/track", Some(sale)).await?, "id")?;
    }
    Ok(reporters)
}

impl Bench<'_> {
    /// Writes down for pgbench what each of its clients reports for.
    async fn name_casts(&self) -> anyhow::Result<()> {
        let tokens: Vec<&str> = self.reporters.iter().map(|reporter| reporter.token.as_str()).collect();
        sqlx::raw_sql(
            "CREATE TABLE bench_casts (client BIGINT PRIMARY KEY, advertiser_id UUID, program_id UUID, partnership_id UUID,
                                       affiliate_id UUID, link_id UUID, number INTEGER, payload TEXT)",
        )
        .execute(&self.database)
        .await?;
        let named = sqlx::query(
            "INSERT INTO bench_casts
             SELECT nth - 1, links.advertiser_id, links.program_id, links.partnership_id, links.affiliate_id, links.id,
                    agents.number, events.payload
               FROM unnest($1) WITH ORDINALITY AS casts (token, nth)
               JOIN links ON links.token = casts.token
               JOIN agents ON agents.id = links.advertiser_id
               JOIN conversions ON conversions.link_id = links.id
               JOIN events ON events.object_id = conversions.id",
        )
        .bind(&tokens)
        .execute(&self.database)
        .await?;
        ensure!(named.rows_affected() == tokens.len() as u64, "not every client has its cast");
        sqlx::raw_sql("VACUUM ANALYZE").execute(&self.database).await?;
        Ok(())
    }

    /// Puts both halves of a round in the same place: nothing used of the month, nothing left to write out.
    async fn begin(&self) -> anyhow::Result<i64> {
        sqlx::query("DELETE FROM usage_months").execute(&self.database).await?;
        sqlx::raw_sql("CHECKPOINT").execute(&self.database).await?;
        self.conversions().await
    }

    async fn conversions(&self) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM conversions").fetch_one(&self.database).await?)
    }

    async fn check(&self, before: i64) -> anyhow::Result<()> {
        let made = self.conversions().await? - before;
        let wanted = self.args.clients * self.args.reports;
        ensure!(made == wanted as i64, "{made} conversions of {wanted}");
        Ok(())
    }

    /// Reports a second, and how long each took.
    async fn report(&self, round: usize) -> anyhow::Result<(f64, Vec<Duration>)> {
        let before = self.begin().await?;
        let started = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for (client, reporter) in self.reporters.iter().enumerate() {
            let (api, token, reports) = (reporter.api.clone(), reporter.token.clone(), self.args.reports);
            clients.spawn(async move {
                let mut times = Vec::with_capacity(reports);
                for nth in 0..reports {
                    let sale = json!({
                        "tracking_token": token, "event_type": "sale", "revenue_amount": 99,
                        "external_id": format!("report-{round}-{client}-{nth}"),
                    });
                    let sent = Instant::now();
                    api.call("POST", "/api/conversions/track", Some(sale)).await?;
                    times.push(sent.elapsed());
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::with_capacity(self.args.clients * self.args.reports);
        while let Some(client) = clients.join_next().await {
            times.extend(client??);
        }
        let rate = times.len() as f64 / started.elapsed().as_secs_f64();
        self.check(before).await?;
        Ok((rate, times))
    }

    /// pgbench's transactions a second.
    async fn insert(&self, round: usize) -> anyhow::Result<f64> {
        let before = self.begin().await?;
        let mut command = Command::new(&self.pgbench);
        command
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "aos",
                "-n",
                "-M",
                "prepared",
                "-j",
                "2",
            ])
            .args(["-c", &self.args.clients.to_string(), "-t", &self.args.reports.to_string()])
            .args(["-D", &format!("round={round}"), "-D", "n=0", "-f"])
            .arg(&self.script)
            .arg("postgres");
        let output =
            tokio::task::spawn_blocking(move || command.output()).await?.context("cannot run pgbench")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        self.check(before).await?;
        rate.with_context(|| format!("pgbench said no tps: {said}"))
    }
}
