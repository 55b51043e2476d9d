//! `cargo xtask lab` (hidden): tells a test tool which servers it may start for itself, installing them
//! privately first where they are missing. One JSON object on standard output.

use anyhow::{Context, Result};
use serde_json::json;

use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::peers;
use crate::progress::say;
use crate::servers::{self, Programs, attackers, faketime, monitors, rivals, valgrind};

/// Settings of `lab`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// Also look for the library that fakes the time, and unpack it privately where it is missing.
    #[arg(long)]
    faketime: bool,
    /// Also unpack the servers the edge is compared with.
    #[arg(long)]
    rivals: bool,
    /// Also look for clients that behave badly, and unpack them privately where they are missing.
    #[arg(long)]
    attackers: bool,
    /// Also look for valgrind, and unpack it privately where it is missing.
    #[arg(long)]
    valgrind: bool,
    /// Also unpack Prometheus, the exporters and PgBouncer.
    #[arg(long)]
    monitors: bool,
    /// Also install the third-party programs of `peers/`.
    #[arg(long)]
    peers: bool,
}

/// Prints where the servers' programs are, where their data may go and which account runs them.
pub fn print(args: Args, servers: &servers::Args, layout: &Layout, interrupt: &Interrupt) -> Result<()> {
    let programs = Programs::ready(servers, layout, interrupt)?;
    let rivals = args.rivals.then(|| rivals::ready(servers, layout, interrupt)).transpose()?;
    let monitors = args.monitors.then(|| monitors::ready(servers, layout, interrupt)).transpose()?;
    let peers =
        args.peers.then(|| peers::ready(servers.no_install, &servers.path, layout, interrupt)).transpose()?;
    let valgrind = args.valgrind.then(|| valgrind::ready(servers, layout, interrupt)).transpose()?;
    let account = layout.account.as_ref();
    let lab = json!({
        "postgres": programs.postgres.directory,
        "redis": programs.redis.directory,
        "faketime": args.faketime.then(|| faketime::ready(servers, layout, interrupt)).flatten(),
        "attackers": args.attackers.then(|| attackers::ready(servers, layout, interrupt)).flatten(),
        "rivals": rivals,
        "valgrind": valgrind,
        "monitors": monitors,
        "peers": peers,
        "home": layout.home,
        "uid": account.map(|account| account.uid),
        "gid": account.map(|account| account.gid),
    });
    say(serde_json::to_string(&lab).context("cannot write JSON")?);
    Ok(())
}
