//! Every setting: a flag and an environment variable, read once, here, and checked together.

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand};
use control_plane::config::{TracingArgs, TracingSettings};
use control_plane::features::payouts::usdc::model::Policy;
use secrecy::{ExposeSecret, SecretString};
use shared::id::PayoutId;
use shared::telemetry::LogFormat;
use std::net::SocketAddr;
use url::Url;

const WEI_PER_GWEI: u64 = 1_000_000_000;

/// AffiliateOS payouts on an EVM chain: sends what is due in usdc and follows it until it is final.
#[derive(Parser, Debug)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do; run when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// What the process does. One sends at a time; others stand by.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sends and follows payouts (the default).
    Run,
    /// Gives a payout up whose nonce went to another transaction, once that is final.
    Abandon {
        /// The payout.
        payout: PayoutId,
    },
    /// Prints the settings in force, with secrets hidden, and the address that pays, and exits.
    CheckConfig,
}

/// Settings as they are given.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Postgres, as `postgres://user:password@host:port/database`.
    #[arg(long, env = "AOS_DATABASE_URL", global = true, hide_env_values = true)]
    pub database_url: Option<String>,
    /// Where /metrics, /ready and /live listen; keep it private.
    #[arg(long, env = "AOS_ADMIN_ADDR", global = true, default_value = "127.0.0.1:9082")]
    pub admin_addr: String,
    /// A node of the chain, as `https://host/path`: JSON-RPC over HTTP.
    #[arg(long, env = "AOS_USDC_RPC_URL", global = true, hide_env_values = true)]
    pub rpc_url: Option<String>,
    /// The chain's number (EIP-155): 8453 is Base.
    #[arg(long, env = "AOS_USDC_CHAIN_ID", global = true)]
    pub chain_id: Option<String>,
    /// The token's contract; it must have six decimals.
    #[arg(long, env = "AOS_USDC_TOKEN", global = true)]
    pub token: Option<String>,
    /// The paying address's private key, 64 hex digits.
    #[arg(long, env = "AOS_USDC_KEY", global = true, hide_env_values = true)]
    pub key: Option<String>,
    /// Blocks from which a transfer counts as final, its own included.
    #[arg(long, env = "AOS_USDC_CONFIRMATIONS", global = true, default_value_t = 12)]
    pub confirmations: u64,
    /// Seconds a transfer waits before it is sent with a higher fee.
    #[arg(long, env = "AOS_USDC_STUCK_SECONDS", global = true, default_value_t = 120)]
    pub stuck_seconds: u32,
    /// Gwei for a unit of gas, at most; above it payouts wait.
    #[arg(long, env = "AOS_USDC_FEE_MAX_GWEI", global = true, default_value_t = 100)]
    pub fee_max_gwei: u32,
    /// Transfers that are in no block yet, at most.
    #[arg(long, env = "AOS_USDC_OPEN_MAX", global = true, default_value_t = 16)]
    pub open_max: u16,
    /// Milliseconds between two looks at the chain.
    #[arg(long, env = "AOS_USDC_POLL_MS", global = true, default_value_t = 2_000)]
    pub poll_ms: u32,
    /// What to log: `info`, or a list such as `info,payouts_evm=debug`.
    #[arg(long, env = "AOS_LOG", global = true, default_value = "info")]
    pub log: String,
    /// `text` or `json`.
    #[arg(long, env = "AOS_LOG_FORMAT", global = true, default_value = "text")]
    pub log_format: String,
    /// Traces.
    #[command(flatten)]
    pub tracing: TracingArgs,
}

/// Settings that hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// Postgres.
    pub database_url: SecretString,
    /// Admin listener.
    pub admin_addr: SocketAddr,
    /// The node.
    pub rpc_url: SecretString,
    /// The chain's number.
    pub chain_id: u64,
    /// The token's contract.
    pub token: Address,
    /// Signs for the paying address; shows its address alone.
    pub signer: PrivateKeySigner,
    /// How patient, and how generous.
    pub policy: Policy,
    /// Milliseconds between two looks at the chain.
    pub poll_ms: u32,
    /// Log filter.
    pub log: String,
    /// Log shape.
    pub log_format: LogFormat,
    /// Where spans go, when they go anywhere.
    pub tracing: Option<TracingSettings>,
}

impl Config {
    /// Checks everything and reports every problem at once.
    pub fn from_settings(settings: &Settings) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let database_url =
            take(&mut problems, "AOS_DATABASE_URL", settings.database_url.as_deref(), database);
        let rpc_url = take(&mut problems, "AOS_USDC_RPC_URL", settings.rpc_url.as_deref(), node);
        let chain_id = take(&mut problems, "AOS_USDC_CHAIN_ID", settings.chain_id.as_deref(), number);
        let token = take(&mut problems, "AOS_USDC_TOKEN", settings.token.as_deref(), contract);
        let signer = take(&mut problems, "AOS_USDC_KEY", settings.key.as_deref(), key);
        let admin_addr = take(&mut problems, "AOS_ADMIN_ADDR", Some(settings.admin_addr.as_str()), address);
        let log_format =
            take(&mut problems, "AOS_LOG_FORMAT", Some(settings.log_format.as_str()), str::parse);
        let at_least_one = [
            ("AOS_USDC_CONFIRMATIONS", settings.confirmations),
            ("AOS_USDC_STUCK_SECONDS", settings.stuck_seconds.into()),
            ("AOS_USDC_FEE_MAX_GWEI", settings.fee_max_gwei.into()),
            ("AOS_USDC_OPEN_MAX", settings.open_max.into()),
            ("AOS_USDC_POLL_MS", settings.poll_ms.into()),
        ];
        let zero = at_least_one.iter().filter(|(_, value)| *value == 0);
        problems.extend(zero.map(|(name, _)| format!("{name}: at least 1")));
        let tracing = settings.tracing.check().unwrap_or_else(|wrong| {
            problems.extend(wrong);
            None
        });
        match (database_url, rpc_url, chain_id, token, signer, admin_addr, log_format) {
            (
                Some(database_url),
                Some(rpc_url),
                Some(chain_id),
                Some(token),
                Some(signer),
                Some(admin_addr),
                Some(log_format),
            ) if problems.is_empty() => Ok(Self {
                database_url,
                admin_addr,
                rpc_url,
                chain_id,
                token,
                signer,
                policy: Policy {
                    confirmations: settings.confirmations,
                    stuck_after: TimeDelta::seconds(settings.stuck_seconds.into()),
                    fee_max: u64::from(settings.fee_max_gwei).saturating_mul(WEI_PER_GWEI),
                    open_max: settings.open_max.into(),
                },
                poll_ms: settings.poll_ms,
                log: settings.log.clone(),
                log_format,
                tracing,
            }),
            _ => Err(problems),
        }
    }

    /// The settings in force, a line each, without secrets.
    pub fn describe(&self) -> String {
        let host = |url: &SecretString| {
            let url = Url::parse(url.expose_secret()).ok();
            url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "(set)".to_owned())
        };
        [
            format!("AOS_DATABASE_URL=(on {})", host(&self.database_url)),
            format!("AOS_ADMIN_ADDR={}", self.admin_addr),
            format!("AOS_USDC_RPC_URL=(on {})", host(&self.rpc_url)),
            format!("AOS_USDC_CHAIN_ID={}", self.chain_id),
            format!("AOS_USDC_TOKEN={}", self.token),
            format!("AOS_USDC_KEY=(of {})", self.signer.address()),
            format!("AOS_USDC_CONFIRMATIONS={}", self.policy.confirmations),
            format!("AOS_USDC_STUCK_SECONDS={}", self.policy.stuck_after.num_seconds()),
            format!("AOS_USDC_FEE_MAX_GWEI={}", self.policy.fee_max / WEI_PER_GWEI),
            format!("AOS_USDC_OPEN_MAX={}", self.policy.open_max),
            format!("AOS_USDC_POLL_MS={}", self.poll_ms),
            format!("AOS_LOG={}", self.log),
            format!("AOS_LOG_FORMAT={}", if self.log_format == LogFormat::Json { "json" } else { "text" }),
            TracingSettings::describe(self.tracing.as_ref()),
        ]
        .join("\n")
    }
}

/// Reads a value, or notes what is wrong with it.
fn take<T, E: std::fmt::Display>(
    problems: &mut Vec<String>,
    name: &str,
    value: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        problems.push(format!("{name}: required"));
        return None;
    };
    read(value).map_err(|error| problems.push(format!("{name}: {error}"))).ok()
}

fn database(text: &str) -> Result<SecretString, &'static str> {
    let url = Url::parse(text).map_err(|_| "not a URL")?;
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return Err("not a postgres:// URL");
    }
    Ok(text.into())
}

fn node(text: &str) -> Result<SecretString, &'static str> {
    let url = Url::parse(text).map_err(|_| "not a URL")?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("a node is reached by http or https");
    }
    Ok(text.into())
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|number| (1..=i64::MAX as u64).contains(number)).ok_or("not a chain's number")
}

fn contract(text: &str) -> Result<Address, &'static str> {
    Address::parse_checksummed(text, None)
        .map_err(|_| "not an address with the capitals of EIP-55, as block explorers show it")
}

/// Says nothing about the key itself.
fn key(text: &str) -> Result<PrivateKeySigner, &'static str> {
    let bytes: B256 = text.parse().map_err(|_| "not 64 hex digits")?;
    PrivateKeySigner::from_bytes(&bytes).map_err(|_| "not a private key")
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "not an address such as 127.0.0.1:9082")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0x00000000000000000000000000000000000000000000000000000000000000a1";

    fn settings(args: &[&str]) -> Settings {
        Cli::parse_from([&["payouts-evm"], args].concat()).settings
    }

    #[test]
    fn every_problem_is_reported_at_once_and_no_key_is_shown() {
        let given = settings(&[
            "--database-url=",
            "--rpc-url=ftp://node",
            "--chain-id=base",
            "--token=0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "--key=c0ffee",
            "--admin-addr=here",
            "--confirmations=0",
            "--log-format=xml",
        ]);
        let problems = Config::from_settings(&given).unwrap_err();
        let named: Vec<_> = problems.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(
            named,
            [
                "AOS_DATABASE_URL",
                "AOS_USDC_RPC_URL",
                "AOS_USDC_CHAIN_ID",
                "AOS_USDC_TOKEN",
                "AOS_USDC_KEY",
                "AOS_ADMIN_ADDR",
                "AOS_LOG_FORMAT",
                "AOS_USDC_CONFIRMATIONS"
            ]
        );
        assert!(!problems.join("").contains("c0ffee"));
    }

    #[test]
    fn neither_the_key_nor_the_nodes_path_is_ever_shown() {
        let key = format!("--key={KEY}");
        let given = settings(&[
            "--database-url=postgres://aos:hunter2@db/x",
            "--rpc-url=https://node.example/v2/s3cr3t",
            "--chain-id=8453",
            "--token=0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            &key,
        ]);
        let config = Config::from_settings(&given).unwrap();
        let shown = format!("{}\n{config:?}", config.describe());
        for secret in ["hunter2", "s3cr3t", KEY.trim_start_matches("0x"), "a1)", "161"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(shown.contains(&config.signer.address().to_string()));
    }
}
