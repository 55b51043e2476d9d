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
use control_plane::{App, admin, commands, db, metrics, web};
use secrecy::ExposeSecret;
use std::process::ExitCode;
use std::time::Duration;

const EXIT_CONFIG: u8 = 64;

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
        print(&web::router::described().split_for_parts().1.to_pretty_json().unwrap_or_default());
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
    let outcome = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(command, config)));
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
        Command::All | Command::Serve | Command::Drain | Command::Work => roles(command, config).await?,
        Command::Reconcile(args) => return reconcile(config, &args).await,
        Command::Parked { action } => {
            let app = App::new(config)?;
            let mut conn = app.db_worker().acquire().await.context("cannot reach Postgres")?;
            return Ok(show(&commands::parked::run(&mut conn, &action).await?));
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
    let pool =
        sqlx::PgPool::connect(config.database_url.expose_secret()).await.context("cannot reach Postgres")?;
    db::MIGRATOR.run(&pool).await.context("migration failed")?;
    pool.close().await;
    tracing::info!("the schema is up to date");
    Ok(())
}

async fn roles(command: Command, config: Config) -> anyhow::Result<()> {
    metrics::install();
    web::respond::set_docs_url(&config.api_origin);
    let patience = Duration::from_secs(config.drain_seconds);
    let app = App::new(config)?;
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
    shared::shutdown::signal().await.context("cannot wait for signals")?;
    tracing::info!("stopping");
    app.tasks().stop();
    if !app.tasks().drained(patience + Duration::from_secs(1)).await {
        tracing::warn!("some tasks were still running when the drain ended");
    }
    app.close().await;
    tracing::info!("stopped");
    Ok(())
}
