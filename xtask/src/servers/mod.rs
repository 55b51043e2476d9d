//! The private Postgres and Redis: found or installed, started, stopped.
//!
//! Nothing here touches a system-wide service: the servers are our own processes with our own data,
//! on our own ports, bound to loopback and closed with a password (any account of the machine can
//! reach a loopback port, and a Postgres superuser can run programs).

pub mod attackers;
pub mod faketime;
pub mod find;
pub mod install;
pub mod monitors;
pub mod pebble;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod redis;
pub mod rivals;
pub mod valgrind;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::interrupt::Interrupt;
use crate::layout::Layout;
use crate::progress::note;

/// The programs of both servers.
#[derive(Clone, Debug)]
pub struct Programs {
    pub postgres: find::Program,
    pub redis: find::Program,
}

/// Where to look for servers, and whether to install what is missing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look for PostgreSQL and Redis in these directories only (separated by colons), instead of
    /// PATH and the usual places.
    #[arg(long, env = "AOS_SERVER_PATH", value_delimiter = ':', global = true, hide_env_values = true)]
    server_path: Vec<PathBuf>,
    /// Never install anything: say what is missing and stop.
    #[arg(long, env = "AOS_NO_INSTALL", global = true, hide_env_values = true)]
    pub no_install: bool,
    /// The shell's own, read here so that settings are read in one place.
    #[arg(long, env = "PATH", hide = true, global = true, default_value = "/usr/local/bin:/usr/bin:/bin")]
    pub path: OsString,
}

impl Programs {
    /// Finds both servers, installing privately what the machine lacks.
    pub fn ready(args: &Args, layout: &Layout, interrupt: &Interrupt) -> Result<Self> {
        let places = find::places(&args.server_path, &args.path, layout);
        let (postgres, redis) = (find::postgres(&places), find::redis(&places));
        if let (Some(postgres), Some(redis)) = (&postgres, &redis) {
            return Ok(Self { postgres: postgres.clone(), redis: redis.clone() });
        }
        let missing = install::Missing {
            postgres: postgres.is_none(),
            redis: redis.is_none(),
            ..install::Missing::default()
        };
        note(format!("  ! not found on this machine: {missing}"));
        install::install(missing, args.no_install, layout, interrupt)?;
        let places = [layout.packages().join("bin")];
        Ok(Self {
            postgres: postgres
                .or_else(|| find::postgres(&places))
                .context("PostgreSQL was installed, but cannot be found")?,
            redis: redis
                .or_else(|| find::redis(&places))
                .context("Redis was installed, but cannot be found")?,
        })
    }
}
