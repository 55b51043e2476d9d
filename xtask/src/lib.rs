//! The developer's commands, `cargo xtask COMMAND`: everything a person needs to run, test and check
//! this repository, with nothing installed but the Rust toolchain.
//!
//! Map: `up` (and `down`, `status`) runs the `stack` and `seed`s it; `test` and `check` are what CI
//! calls, `check-deploy` reads the files of `deploy/`; `clients` look into what runs. Below them: `servers` (the private Postgres and Redis),
//! `process` (pid files, stopping), `layout` (where things are), `cargo`, `http`, `progress`,
//! `interrupt`, `account`.

pub mod account;
pub mod cargo;
pub mod check;
pub mod clients;
pub mod deploy;
pub mod faults;
pub mod fuzz;
pub mod http;
pub mod instructions;
pub mod interrupt;
pub mod lab;
pub mod layout;
pub mod peers;
pub mod process;
pub mod progress;
pub mod seed;
pub mod servers;
pub mod stack;
pub mod test;
pub mod up;
pub mod upgrade;
