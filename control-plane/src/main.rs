//! The control plane's program: reads its settings, runs its roles, drains, exits.
//!
//! Exit codes: 0 done, 1 failed while running, 64 cannot start with these settings.

use anyhow::Context;
use clap::Parser;
use control_plane::config::{Cli, Command, Config, ReconcileArgs};
use control_plane::features::links::publish::Publisher;
use control_plane::features::webhooks;
use control_plane::redis::Target;
use control_plane::workers::drainer::Drainer;
use control_plane::workers::jobs;
use control_plane::{App, admin, commands, db, metrics, trace, web};
use futures_util::future::maybe_done;
use secrecy::ExposeSecret;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use std::pin::pin;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

const EXIT_CONFIG: u8 = 64;
/// How long a start waits for Postgres to say how it is set.
const ASK_FOR: Duration = Duration::from_secs(5);
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
    let command = cli.command.unwrap_or(Command::All);
    if command == Command::Openapi {
        let description = web::openapi::described(cli.settings.api_origin.trim_end_matches('/'));
        print(&serde_json::to_string_pretty(&description).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let config = match Config::from_settings(&cli.settings) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    if let Err(problem) = shared::telemetry::init(config.log_format, &config.log) {
        return refuse(&[problem]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.context("cannot start the runtime").and_then(|runtime| {
        let outcome = runtime.block_on(run(command, config));
        trace::stop();
        // A name that is still being looked up holds no stop up.
        runtime.shutdown_timeout(END_FOR);
        outcome
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(cause = %format_args!("{error:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}

fn refuse(problems: &[String]) -> ExitCode {
    let list = problems.join("\n  ");
    complain(&format!(
        "control-plane cannot start with these settings:\n  {list}\nSee control-plane --help."
    ));
    ExitCode::from(EXIT_CONFIG)
}

#[expect(clippy::print_stdout, reason = "the command's result goes to standard output")]
fn print(text: &str) {
    println!("{text}");
}

fn complain(text: &str) {
    eprintln!("{text}");
}

async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::CheckConfig => print(&config.describe()),
        Command::Migrate => migrate(&config).await?,
        Command::All | Command::Serve | Command::Drain | Command::Work => {
            return roles(command, config).await;
        }
        Command::Reconcile(args) => return reconcile(config, &args).await,
        Command::Parked { action } => {
            let app = App::new(config)?;
            let mut conn = app.db_worker().acquire().await.context("cannot reach Postgres")?;
            return Ok(show(&commands::parked::run(&mut conn, &action).await?));
        }
        Command::Payouts { action } => {
            let app = App::new(config)?;
            let mut conn = app.db_worker().acquire().await.context("cannot reach Postgres")?;
            return Ok(show(&commands::payouts::run(&mut conn, &action, app.clock().now()).await?));
        }
        Command::ImportProspects { file } => {
            let file =
                std::fs::File::open(&file).with_context(|| format!("cannot open {}", file.display()))?;
            let app = App::new(config)?;
            let mut conn = app.db_worker().acquire().await.context("cannot reach Postgres")?;
            let file = std::io::BufReader::new(file);
            return Ok(show(&commands::prospects::run(&mut conn, file, app.clock().now()).await?));
        }
        Command::Openapi => unreachable!("answered before the settings are read"),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(outcome: &commands::Outcome) -> ExitCode {
    print(&outcome.text);
    if outcome.well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn reconcile(config: Config, args: &ReconcileArgs) -> anyhow::Result<ExitCode> {
    let app = App::new(config)?;
    let target = Target::parse(app.config().redis_url.expose_secret()).context("AOS_REDIS_URL")?;
    let mut conn = app.db_worker().acquire().await.context("cannot reach Postgres")?;
    let redis = (&target, app.keys(), app.config().click_shards);
    let now = app.clock().now();
    let report = control_plane::workers::reconcile::reconcile(&mut conn, Some(redis), now).await?;
    Ok(show(&commands::reconcile::render(&report, *args)))
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let options =
        PgConnectOptions::from_str(config.database_url.expose_secret()).context("AOS_DATABASE_URL")?;
    let options =
        options.application_name("control-plane migrate").options([("lock_timeout", db::migrate::LOCK_FOR)]);
    let mut conn = PgConnection::connect_with(&options).await.context("cannot reach Postgres")?;
    db::migrate::run(&mut conn).await.context("migration failed")?;
    tracing::info!("the schema is up to date");
    let applied = db::grants::apply(&mut conn).await.context("cannot give the roles what they may do")?;
    for change in &applied.changes {
        tracing::info!(%change, "rights changed");
    }
    for table in &applied.undecided {
        tracing::warn!(%table, "no role may use this table: nobody has decided about it");
    }
    tracing::info!(
        roles = applied.roles.join(" "),
        changes = applied.changes.len(),
        "the rights of the roles hold"
    );
    conn.close().await.context("cannot close the connection")?;
    Ok(())
}

async fn roles(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    if !config.allow_unsafe_database
        && let Some(problem) = unsafe_database(&config).await
    {
        return Ok(refuse(&[problem]));
    }
    metrics::install();
    web::respond::set_docs_url(&config.api_origin);
    let patience = Duration::from_secs(config.drain_seconds);
    let app = App::new(config)?;
    if let Some(tracing) = &app.config().tracing
        && let Err(error) = trace::start(tracing, "control-plane")
    {
        return Ok(refuse(&[format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}")]));
    }
    // Heard from here on: who is told that it listens may ask it to stop at once.
    let mut asked = pin!(maybe_done(shared::shutdown::signal()));
    tokio::select! {
        biased;
        () = asked.as_mut() => {}
        () = std::future::ready(()) => {}
    }
    let admin = web::server::bind(app.config().admin_addr).await?;
    tracing::info!(addr = %admin.local_addr()?, "admin listens");
    app.tasks().spawn(web::server::serve(admin, admin::router(&app), app.tasks().clone(), patience));
    if matches!(command, Command::All | Command::Serve) {
        let listener = web::server::bind(app.config().addr).await?;
        tracing::info!(addr = %listener.local_addr()?, "api listens");
        app.tasks().spawn(web::server::serve(
            listener,
            web::router::build(&app),
            app.tasks().clone(),
            patience,
        ));
    }
    if matches!(command, Command::All | Command::Drain) {
        app.tasks().spawn(Drainer::new(&app)?.run());
    }
    if matches!(command, Command::All | Command::Work) {
        app.tasks().spawn(Publisher::new(&app)?.run());
        app.tasks().spawn(webhooks::deliver::run(app.clone()));
        jobs::runner::start(&app, jobs::schedule::JOBS);
    }
    asked.as_mut().await;
    asked.take_output().unwrap_or(Ok(())).context("cannot wait for signals")?;
    tracing::info!("stopping");
    app.tasks().leave();
    // Nobody sends requests to the others.
    if matches!(command, Command::All | Command::Serve) {
        leave(Duration::from_millis(app.config().drain_delay_ms)).await?;
    }
    app.tasks().stop();
    if !app.tasks().drained(patience + Duration::from_secs(1)).await {
        tracing::warn!("some tasks were still running when the drain ended");
    }
    app.close().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Serves on while load balancers find out that it is not ready; a second signal ends that.
async fn leave(delay: Duration) -> anyhow::Result<()> {
    tokio::select! {
        () = tokio::time::sleep(delay) => Ok(()),
        signal = shared::shutdown::signal() => signal.context("cannot wait for signals"),
    }
}

/// Why this Postgres is not to be trusted with money. One that cannot be asked now is no reason not to start.
async fn unsafe_database(config: &Config) -> Option<String> {
    match tokio::time::timeout(ASK_FOR, db::unsafe_settings(config.database_url.expose_secret())).await {
        Ok(Ok(off)) if off.is_empty() => None,
        Ok(Ok(off)) => Some(format!(
            "AOS_DATABASE_URL: {} off on this Postgres, so it may lose what it has acknowledged; switch on, or \
             set AOS_ALLOW_UNSAFE_DATABASE=true where nothing is at stake",
            off.join(" and ")
        )),
        Ok(Err(error)) => {
            tracing::warn!(%error, "starting without knowing whether Postgres keeps what it acknowledges");
            None
        }
        Err(_) => {
            tracing::warn!("starting without knowing whether Postgres keeps what it acknowledges: no answer");
            None
        }
    }
}
