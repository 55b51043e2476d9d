//! The program: reads its settings, works, drains, exits.
//!
//! Exit codes: 0 done, 1 failed while running, 64 cannot start with these settings.

use anyhow::Context;
use clap::Parser;
use control_plane::{trace, web};
use payouts_evm::config::{Cli, Command, Config};
use payouts_evm::{admin, run};
use shared::shutdown::Shutdown;
use shared::{Clock, SystemClock};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const EXIT_CONFIG: u8 = 64;
/// A turn that has begun ends within its calls' deadlines.
const DRAIN_FOR: Duration = Duration::from_secs(30);
/// How long a stop waits for threads that cannot be told to end.
const END_FOR: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_CONFIG } else { 0 };
            // Nothing is left to report to when standard error is closed.
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    let config = match Config::from_settings(&cli.settings) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    if let Err(problem) = shared::telemetry::init(config.log_format, &config.log) {
        return refuse(&[problem]);
    }
    // The one TLS provider of the process; a second installation is refused and changes nothing.
    rustls::crypto::ring::default_provider().install_default().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.context("cannot start the runtime").and_then(|runtime| {
        let outcome = runtime.block_on(command(cli.command.unwrap_or(Command::Run), config));
        trace::stop();
        // A name that is still being looked up holds no stop up.
        runtime.shutdown_timeout(END_FOR);
        outcome
    });
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problem)) => refuse(&[problem]),
        Err(error) => {
            tracing::error!(cause = %format_args!("{error:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}

fn refuse(problems: &[String]) -> ExitCode {
    let list = problems.join("\n  ");
    eprintln!("payouts-evm cannot start with these settings:\n  {list}\nSee payouts-evm --help.");
    ExitCode::from(EXIT_CONFIG)
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn print(text: &str) {
    println!("{text}");
}

async fn command(command: Command, config: Config) -> anyhow::Result<Result<(), String>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match command {
        Command::CheckConfig => {
            print(&config.describe());
            run::chain(&config)?.check().await.context("cannot reach the node")
        }
        Command::Abandon { payout } => {
            run::worker(&config, run::pool(&config)?, clock)?.abandon(payout).await?;
            print("The payout failed; its commissions are free for another one.");
            Ok(Ok(()))
        }
        Command::Run => serve(config, clock).await,
    }
}

async fn serve(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Result<(), String>> {
    control_plane::metrics::install();
    if let Some(tracing) = &config.tracing
        && let Err(error) = trace::start(tracing, "payouts-evm")
    {
        return Ok(Err(format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}")));
    }
    let stop = Shutdown::new();
    let db = run::pool(&config)?;
    let listener = web::server::bind(config.admin_addr).await?;
    tracing::info!(addr = %listener.local_addr()?, "admin listens");
    let router = admin::router(db.clone());
    stop.spawn(web::server::serve(listener, router, stop.clone(), Duration::from_secs(1)));
    tracing::info!(chain = config.chain_id, address = %config.signer.address(), "usdc payouts are sent");
    let signals = stop.clone();
    let waiting = tokio::spawn(async move {
        let signal = shared::shutdown::signal().await;
        signals.stop();
        signal
    });
    let outcome = run::run(&config, db.clone(), clock, &stop).await;
    stop.stop();
    if !stop.drained(DRAIN_FOR).await {
        tracing::warn!("some tasks were still running when the drain ended");
    }
    waiting.abort();
    db.close().await;
    tracing::info!("stopped");
    outcome
}
