//! `cargo xtask psql`, `redis` and `logs`: looking into what `up` started.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::process::{Found, RunDir, tail};
use crate::progress::say;
use crate::servers::{self, Programs, postgres, redis};
use crate::stack::{self, Ports};

/// Words passed on to a client program.
#[derive(Debug, clap::Args)]
pub struct ClientArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Settings of `logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// Whose log: postgres, redis, control-plane or tracker-edge. All without a name.
    name: Option<String>,
    /// Go on showing what is added, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// How many lines to begin with.
    #[arg(short = 'n', long, default_value_t = 20)]
    lines: usize,
}

/// Becomes `psql`, connected to the private Postgres.
pub fn psql(
    args: &ClientArgs,
    servers: &servers::Args,
    layout: &Layout,
    interrupt: &Interrupt,
) -> Result<()> {
    let (programs, ports) = running(postgres::NAME, servers, layout, interrupt)?;
    let mut command = stack::postgres_of(layout, &programs, &ports)?.client("psql");
    become_client(command.env("PGDATABASE", stack::DATABASE).args(&args.args))
}

/// Becomes `redis-cli`, connected to the private Redis.
pub fn redis(
    args: &ClientArgs,
    servers: &servers::Args,
    layout: &Layout,
    interrupt: &Interrupt,
) -> Result<()> {
    let (programs, ports) = running(redis::NAME, servers, layout, interrupt)?;
    let redis = stack::redis_of(layout, &programs, &ports)?;
    let tool = redis.program.tool("redis-cli");
    anyhow::ensure!(
        tool.exists(),
        "there is no redis-cli beside {}",
        redis.program.tool("redis-server").display()
    );
    let mut command = Command::new(tool);
    command.args(["-h", "127.0.0.1", "-p", &redis.port.to_string()]).env("REDISCLI_AUTH", &redis.password);
    become_client(command.args(&args.args))
}

fn running(
    name: &str,
    servers: &servers::Args,
    layout: &Layout,
    interrupt: &Interrupt,
) -> Result<(Programs, Ports)> {
    if !matches!(RunDir::new(layout.run_dir()).find(name), Found::Running(_)) {
        bail!("{name} is not running; `cargo xtask up` starts it");
    }
    let ports =
        Ports::saved(layout).context("settings.json is missing; `cargo xtask down`, then `up`, mends it")?;
    Ok((Programs::ready(servers, layout, interrupt)?, ports))
}

/// Replaces this program, so that the client has the terminal and its signals to itself.
fn become_client(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Shows the ends of logs, and what is added to them.
pub fn logs(args: &LogsArgs, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let names: Vec<&str> = match &args.name {
        Some(name) => match stack::NAMES.iter().find(|known| *known == name) {
            Some(known) => vec![known],
            None => bail!("no log is called `{name}`; there are {}", stack::NAMES.join(", ")),
        },
        None => stack::NAMES.to_vec(),
    };
    let mut followed = Vec::new();
    for name in names {
        let path = layout.log_dir().join(format!("{name}.log"));
        say(format!("==> {} <==\n{}\n", path.display(), tail(&path, args.lines)));
        if let Ok(mut file) = File::open(&path) {
            file.seek(SeekFrom::End(0)).with_context(|| format!("cannot read {}", path.display()))?;
            followed.push(file);
        }
    }
    while args.follow && interrupt.tick().is_ok() {
        for file in &mut followed {
            let mut added = Vec::new();
            file.read_to_end(&mut added).context("cannot read a log")?;
            std::io::stdout().write_all(&added).context("cannot write")?;
        }
    }
    Ok(())
}
