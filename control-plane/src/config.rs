//! Every setting of the control plane: a flag and an environment variable, read once, here.
//!
//! Values are taken as text and checked together, so that a wrong set-up is reported whole and not one
//! mistake at a time. The program exits with 64 when it cannot start because of its settings.

mod domains;
mod payments;
mod tracing;

pub use domains::{AcmeSettings, DomainSettings};
pub use tracing::{TracingArgs, TracingSettings};

use crate::{stripe, x402};
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use shared::Secret;
use shared::keys::CLICK_SHARDS_DEFAULT;
use shared::redis_url::RedisUrl;
use shared::telemetry::LogFormat;
use std::net::{IpAddr, SocketAddr};
use url::Url;

/// AffiliateOS control plane: the API, the drainer of clicks and the background jobs.
#[derive(Parser, Debug)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    /// What to run; everything in one process when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// What one process does. Any number of each may run.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// API, drainer and jobs in one process (the default).
    All,
    /// The API alone.
    Serve,
    /// The drainer alone: click streams to Postgres.
    Drain,
    /// The background jobs alone.
    Work,
    /// Brings the database schema up to date and exits.
    Migrate,
    /// Compares every count from the edges to the usage; exits with 1 when a click is unaccounted for.
    Reconcile(ReconcileArgs),
    /// Lists, stores or drops frames that could not be stored.
    Parked {
        /// What to do.
        #[command(subcommand)]
        action: ParkedAction,
    },
    /// Shows what to compare after a restore, and lets payouts go on.
    Payouts {
        /// What to do.
        #[command(subcommand)]
        action: PayoutsAction,
    },
    /// Adds prospects for outreach from a CSV file: `name`, `website_url` or `contact`, `niche`, `audience_type`,
    /// `description`. Exits with 1 when lines were left out.
    ImportProspects {
        /// The file; its first line names the columns.
        file: std::path::PathBuf,
    },
    /// Prints the settings in force, with secrets hidden, and exits.
    CheckConfig,
    /// Prints the OpenAPI description and exits.
    Openapi,
}

/// How to show the comparison.
#[derive(Args, Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct ReconcileArgs {
    /// Also count clicks on their way as unaccounted for: for a system that has come to rest.
    #[arg(long)]
    pub settled: bool,
    /// Show every spool and account, not only those that are off.
    #[arg(long)]
    pub all: bool,
    /// Print metrics in Prometheus' text format, every spool and account, instead of a table.
    #[arg(long)]
    pub metrics: bool,
}

/// What to do with parked frames.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum ParkedAction {
    /// Lists them, oldest first.
    List,
    /// Stores what they stand for: after an upgrade, or when what refused them is mended.
    Replay {
        /// Their numbers; all that stand for clicks when left out.
        ids: Vec<i64>,
    },
    /// Forgets them for good; clicks they stand for become declared loss.
    Drop {
        /// Their numbers.
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

/// What to do about payouts.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum PayoutsAction {
    /// Lists the payouts to compare; exits with 1 while payouts are frozen.
    Status,
    /// Lets payouts go on in this database: they have been compared.
    Thaw,
}

/// Settings as they are given.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Postgres, as `postgres://user:password@host:port/database`.
    #[arg(long, env = "AOS_DATABASE_URL", global = true, hide_env_values = true)]
    pub database_url: Option<String>,
    /// A pooler in transaction mode before that Postgres (PgBouncer), for requests of the API: everything else goes
    /// to AOS_DATABASE_URL.
    #[arg(long, env = "AOS_DATABASE_POOLER_URL", global = true, hide_env_values = true)]
    pub database_pooler_url: Option<String>,
    /// Redis, as `redis://host:port/`, `redis-cluster://host:port,host:port/` or
    /// `redis-sentinel://host:port,host:port/service`; `rediss…` for TLS.
    #[arg(long, env = "AOS_REDIS_URL", global = true, hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Put before every Redis key, for deployments that share a Redis.
    #[arg(long, env = "AOS_REDIS_PREFIX", global = true, default_value = "")]
    pub redis_prefix: String,
    /// 64 hex digits, the same on every edge and control plane; keys tokens and click ids.
    #[arg(long, env = "AOS_SECRET", global = true, hide_env_values = true)]
    pub secret: Option<String>,
    /// Starts although Postgres may lose what it has acknowledged (fsync or full_page_writes off).
    #[arg(long, env = "AOS_ALLOW_UNSAFE_DATABASE", global = true, default_value_t = false, action = clap::ArgAction::Set)]
    pub allow_unsafe_database: bool,
    /// Where the API listens.
    #[arg(long, env = "AOS_ADDR", global = true, default_value = "127.0.0.1:8081")]
    pub addr: String,
    /// Where /metrics, /ready and /live listen; keep it private.
    #[arg(long, env = "AOS_ADMIN_ADDR", global = true, default_value = "127.0.0.1:9081")]
    pub admin_addr: String,
    /// Origin under which clients reach the API.
    #[arg(long, env = "AOS_API_ORIGIN", global = true, default_value = "http://127.0.0.1:8081")]
    pub api_origin: String,
    /// Origin of tracking URLs: where the edges are reached.
    #[arg(long, env = "AOS_TRACKING_ORIGIN", global = true, default_value = "http://127.0.0.1:8080")]
    pub tracking_origin: String,
    /// Streams the spools are spread over; the same on every edge and control plane.
    #[arg(long, env = "AOS_CLICK_SHARDS", global = true, default_value_t = CLICK_SHARDS_DEFAULT)]
    pub click_shards: u16,
    /// Connections to Postgres for requests that write.
    #[arg(long, env = "AOS_DB_API_CONNECTIONS", global = true, default_value_t = 16)]
    pub db_api_connections: u32,
    /// Connections to Postgres for requests that only read.
    #[arg(long, env = "AOS_DB_READ_CONNECTIONS", global = true, default_value_t = 8)]
    pub db_read_connections: u32,
    /// Connections to Postgres for the drainer and the jobs.
    #[arg(long, env = "AOS_DB_WORKER_CONNECTIONS", global = true, default_value_t = 8)]
    pub db_worker_connections: u32,
    /// Days clicks are kept; hourly counts stay. At least 9; 0 keeps them for ever.
    #[arg(long, env = "AOS_CLICK_DAYS", global = true, default_value_t = 30)]
    pub click_days: u32,
    /// Sign-ups and quickstarts one client address may make in an hour; 0 lifts the limit.
    #[arg(long, env = "AOS_SIGNUPS_PER_HOUR", global = true, default_value_t = 60)]
    pub signups_per_hour: u32,
    /// Networks that webhooks may reach beside the public internet, as `127.0.0.0/8,10.1.0.0/16`.
    #[arg(long, env = "AOS_EGRESS_ALLOW", global = true, default_value = "")]
    pub egress_allow: String,
    /// Origins of AI agents whose Web Bot Auth signatures edges believe, separated by commas; their key
    /// directories are fetched every hour.
    #[arg(long, env = "AOS_AGENT_DIRECTORIES", global = true, default_value = "")]
    pub agent_directories: String,
    /// Number of the key that signs attribution tokens; raise it by one to rotate. Tokens of the number before
    /// stay valid.
    #[arg(long, env = "AOS_SLAT_GENERATION", global = true, default_value_t = 1)]
    pub slat_generation: u16,
    /// The operator's own proxies, as networks separated by commas; only their X-Forwarded-For is believed.
    #[arg(long, env = "AOS_TRUSTED_PROXIES", global = true, default_value = "")]
    pub trusted_proxies: String,
    /// Stripe's secret key, `sk_…` or `rk_…`. Without one, payments go through the sandbox and charge nobody.
    #[arg(long, env = "AOS_STRIPE_SECRET_KEY", global = true, hide_env_values = true)]
    pub stripe_secret_key: Option<String>,
    /// What Stripe signs its events with, `whsec_…`, for the endpoint `/api/payments/stripe/webhook`; two,
    /// separated by a comma, while one is being rolled.
    #[arg(long, env = "AOS_STRIPE_WEBHOOK_SECRET", global = true, hide_env_values = true)]
    pub stripe_webhook_secret: Option<String>,
    /// Stripe's monthly $99 price of Pro, `price_…`.
    #[arg(long, env = "AOS_STRIPE_PRO_PRICE", global = true)]
    pub stripe_pro_price: Option<String>,
    /// A one-time $5 price at Stripe, of which a top-up is so many; without one, each has a price of its own.
    #[arg(long, env = "AOS_STRIPE_TOPUP_PRICE", global = true)]
    pub stripe_topup_price: Option<String>,
    /// Where Stripe's API is.
    #[arg(long, env = "AOS_STRIPE_API_BASE", global = true, default_value = stripe::API_BASE)]
    pub stripe_api_base: String,
    /// The x402 facilitator that verifies and settles payments; without one, none are taken.
    #[arg(long, env = "AOS_X402_FACILITATOR_URL", global = true)]
    pub x402_facilitator_url: Option<String>,
    /// What the facilitator wants as bearer token, if anything.
    #[arg(long, env = "AOS_X402_FACILITATOR_TOKEN", global = true, hide_env_values = true)]
    pub x402_facilitator_token: Option<String>,
    /// Address that x402 payments go to, as EIP-55 writes it.
    #[arg(long, env = "AOS_X402_PAY_TO", global = true)]
    pub x402_pay_to: Option<String>,
    /// A JSON-RPC node of the chain, which tells what became of a payment whose settlement is unknown.
    #[arg(long, env = "AOS_X402_RPC_URL", global = true, hide_env_values = true)]
    pub x402_rpc_url: Option<String>,
    /// The chain's EVM id: 8453 is Base, 84532 its test network.
    #[arg(long, env = "AOS_X402_CHAIN_ID", global = true, default_value_t = 8453)]
    pub x402_chain_id: u64,
    /// The token's contract; the chain's USDC when left out.
    #[arg(long, env = "AOS_X402_ASSET", global = true)]
    pub x402_asset: Option<String>,
    /// The token's EIP-712 name and version, as `USD Coin/2`; those of the chain's USDC when left out.
    #[arg(long, env = "AOS_X402_ASSET_DOMAIN", global = true)]
    pub x402_asset_domain: Option<String>,
    /// Milliseconds that a stop goes on serving while /ready says 503: longer than load balancers take to see it.
    #[arg(long, env = "AOS_DRAIN_DELAY_MS", global = true, default_value_t = 0)]
    pub drain_delay_ms: u64,
    /// What custom domains are to lead to: the name of the edges, or their one address. The host of
    /// AOS_TRACKING_ORIGIN when left out.
    #[arg(long, env = "AOS_EDGE_DOMAIN_TARGET", global = true)]
    pub edge_domain_target: Option<String>,
    /// The name server that is asked about custom domains, as `address` or `address:port`; the system's when left
    /// out.
    #[arg(long, env = "AOS_DNS_SERVER", global = true)]
    pub dns_server: Option<String>,
    /// Directory of the ACME server that issues certificates of custom domains, such as
    /// `https://acme-v02.api.letsencrypt.org/directory`; by naming it you agree to its terms. Without one there are
    /// no custom domains.
    #[arg(long, env = "AOS_ACME_DIRECTORY", global = true)]
    pub acme_directory: Option<String>,
    /// Mail address the ACME server may write to.
    #[arg(long, env = "AOS_ACME_CONTACT", global = true)]
    pub acme_contact: Option<String>,
    /// File with the certificate (PEM) of the authority behind the ACME server's own, when it is a private one.
    #[arg(long, env = "AOS_ACME_ROOT", global = true)]
    pub acme_root: Option<String>,
    /// Seconds a stop waits for what is in flight.
    #[arg(long, env = "AOS_DRAIN_SECONDS", global = true, default_value_t = 10)]
    pub drain_seconds: u64,
    /// What to log: `info`, or a list such as `info,control_plane=debug`.
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
    /// A pooler in transaction mode before it, for requests of the API.
    pub database_pooler_url: Option<SecretString>,
    /// Redis.
    pub redis_url: SecretString,
    /// Redis key prefix.
    pub redis_prefix: String,
    /// The deployment's secret.
    pub secret: Secret,
    /// Start on a Postgres that may lose what it has acknowledged.
    pub allow_unsafe_database: bool,
    /// API listener.
    pub addr: SocketAddr,
    /// Admin listener.
    pub admin_addr: SocketAddr,
    /// Public origin of the API, without a slash at the end.
    pub api_origin: String,
    /// Origin of tracking URLs, without a slash at the end.
    pub tracking_origin: String,
    /// Click streams.
    pub click_shards: u16,
    /// Connections that write.
    pub db_api_connections: u32,
    /// Connections that read.
    pub db_read_connections: u32,
    /// Connections of workers.
    pub db_worker_connections: u32,
    /// Days clicks are kept; 0 for ever.
    pub click_days: u32,
    /// Limit of the public POSTs per client address and hour; 0 for none.
    pub signups_per_hour: u32,
    /// Networks open to webhooks beside the public internet.
    pub egress_allow: Vec<IpNet>,
    /// Origins with a directory of agents' keys, without a slash at the end.
    pub agent_directories: Vec<String>,
    /// Number of the attribution key that signs.
    pub slat_generation: u16,
    /// Proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The account at Stripe, when payments go there.
    pub stripe: Option<stripe::Account>,
    /// What is taken over x402, when it is.
    pub x402: Option<x402::Terms>,
    /// How long a stop goes on serving, in milliseconds.
    pub drain_delay_ms: u64,
    /// Custom domains.
    pub domains: DomainSettings,
    /// Patience of a stop, in seconds.
    pub drain_seconds: u64,
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
        let mut problems = Problems::default();
        let database_url = problems.required("AOS_DATABASE_URL", settings.database_url.as_ref());
        let redis_url = problems.required("AOS_REDIS_URL", settings.redis_url.as_ref());
        let redis_url = redis_url.and_then(|url| problems.take("AOS_REDIS_URL", check_redis(url)));
        let secret = problems.required("AOS_SECRET", settings.secret.as_ref());
        let secret = secret.and_then(|text| problems.take("AOS_SECRET", Secret::parse(&text)));
        let addr = problems.take("AOS_ADDR", settings.addr.parse());
        let admin_addr = problems.take("AOS_ADMIN_ADDR", settings.admin_addr.parse());
        let api_origin = problems.take("AOS_API_ORIGIN", origin(&settings.api_origin));
        let tracking_origin = problems.take("AOS_TRACKING_ORIGIN", origin(&settings.tracking_origin));
        let trusted_proxies =
            problems.take("AOS_TRUSTED_PROXIES", networks(&settings.trusted_proxies)).unwrap_or_default();
        let log_format = problems.take("AOS_LOG_FORMAT", settings.log_format.parse());
        let egress_allow = problems.take("AOS_EGRESS_ALLOW", networks(&settings.egress_allow));
        let stripe = problems.stripe(settings);
        let x402 = problems.x402(settings);
        let domains = problems.domains(settings);
        let tracing = problems.tracing(&settings.tracing);
        let agent_directories =
            problems.take("AOS_AGENT_DIRECTORIES", origins(&settings.agent_directories)).unwrap_or_default();
        if settings.click_shards == 0 {
            problems.0.push("AOS_CLICK_SHARDS: at least 1".to_owned());
        }
        match (
            database_url,
            redis_url,
            secret,
            addr,
            admin_addr,
            api_origin,
            tracking_origin,
            log_format,
            egress_allow,
            domains,
        ) {
            (
                Some(database_url),
                Some(redis_url),
                Some(secret),
                Some(addr),
                Some(admin_addr),
                Some(api_origin),
                Some(tracking_origin),
                Some(log_format),
                Some(egress_allow),
                Some(domains),
            ) if problems.0.is_empty() => Ok(Self {
                database_url: database_url.into(),
                database_pooler_url: settings
                    .database_pooler_url
                    .clone()
                    .filter(|url| !url.is_empty())
                    .map(SecretString::from),
                redis_url: redis_url.into(),
                redis_prefix: settings.redis_prefix.clone(),
                secret,
                allow_unsafe_database: settings.allow_unsafe_database,
                addr,
                admin_addr,
                api_origin,
                tracking_origin,
                click_shards: settings.click_shards,
                db_api_connections: settings.db_api_connections.max(1),
                db_read_connections: settings.db_read_connections.max(1),
                db_worker_connections: settings.db_worker_connections.max(2),
                click_days: settings.click_days,
                signups_per_hour: settings.signups_per_hour,
                egress_allow,
                agent_directories,
                slat_generation: settings.slat_generation,
                trusted_proxies,
                stripe,
                x402,
                drain_delay_ms: settings.drain_delay_ms,
                domains,
                drain_seconds: settings.drain_seconds,
                log: settings.log.clone(),
                log_format,
                tracing,
            }),
            _ => Err(problems.0),
        }
    }

    /// The settings in force, a line each, without secrets.
    pub fn describe(&self) -> String {
        let host = |url: &SecretString| {
            Url::parse(url.expose_secret()).ok().map_or_else(
                || "(set)".to_owned(),
                |url| {
                    format!(
                        "{}://{}:{}{}",
                        url.scheme(),
                        url.host_str().unwrap_or("(socket)"),
                        url.port_or_known_default().unwrap_or(0),
                        url.path()
                    )
                },
            )
        };
        [
            format!("AOS_DATABASE_URL={}", host(&self.database_url)),
            format!(
                "AOS_DATABASE_POOLER_URL={}",
                self.database_pooler_url.as_ref().map(host).unwrap_or_default()
            ),
            format!("AOS_REDIS_URL={}", RedisUrl::hide_login(self.redis_url.expose_secret())),
            format!("AOS_REDIS_PREFIX={}", self.redis_prefix),
            "AOS_SECRET=(set)".to_owned(),
            format!("AOS_ALLOW_UNSAFE_DATABASE={}", self.allow_unsafe_database),
            format!("AOS_ADDR={}", self.addr),
            format!("AOS_ADMIN_ADDR={}", self.admin_addr),
            format!("AOS_API_ORIGIN={}", self.api_origin),
            format!("AOS_TRACKING_ORIGIN={}", self.tracking_origin),
            format!("AOS_CLICK_SHARDS={}", self.click_shards),
            format!("AOS_DB_API_CONNECTIONS={}", self.db_api_connections),
            format!("AOS_DB_READ_CONNECTIONS={}", self.db_read_connections),
            format!("AOS_DB_WORKER_CONNECTIONS={}", self.db_worker_connections),
            format!("AOS_CLICK_DAYS={}", self.click_days),
            format!("AOS_SIGNUPS_PER_HOUR={}", self.signups_per_hour),
            format!(
                "AOS_EGRESS_ALLOW={}",
                self.egress_allow.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            ),
            format!("AOS_AGENT_DIRECTORIES={}", self.agent_directories.join(",")),
            format!("AOS_SLAT_GENERATION={}", self.slat_generation),
            format!(
                "AOS_TRUSTED_PROXIES={}",
                self.trusted_proxies.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")
            ),
            self.describe_stripe(),
            self.describe_x402(),
            format!("AOS_DRAIN_DELAY_MS={}", self.drain_delay_ms),
            self.describe_domains(),
            format!("AOS_DRAIN_SECONDS={}", self.drain_seconds),
            format!("AOS_LOG={}", self.log),
            format!("AOS_LOG_FORMAT={}", if self.log_format == LogFormat::Json { "json" } else { "text" }),
            TracingSettings::describe(self.tracing.as_ref()),
        ]
        .join("\n")
    }
}

/// What is wrong with the settings, all of it.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn required(&mut self, name: &str, value: Option<&String>) -> Option<String> {
        let value = value.filter(|value| !value.is_empty()).cloned();
        if value.is_none() {
            self.0.push(format!("{name}: required"));
        }
        value
    }

    fn take<T, E: std::fmt::Display>(&mut self, name: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.0.push(format!("{name}: {error}"))).ok()
    }
}

/// A URL that can be connected to.
fn check_redis(url: String) -> Result<String, redis::RedisError> {
    crate::redis::Target::parse(&url).map(|_| url)
}

fn origins(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(origin).collect()
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parse = |part: &str| {
        let address = || part.parse::<IpAddr>().map(IpNet::from);
        part.parse()
            .or_else(|_| address())
            .map_err(|_| format!("`{part}` is not a network such as 10.0.0.0/8"))
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parse).collect()
}

fn origin(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !["http", "https"].contains(&url.scheme())
        || url.host().is_none()
        || !bare
        || !url.username().is_empty()
    {
        return Err("an origin is http(s)://host[:port] and nothing more".to_owned());
    }
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct OnlySettings {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let parsed = OnlySettings::parse_from([
            "control-plane",
            "--database-url=postgres://x/y",
            "--redis-url=",
            "--secret=short",
            "--addr=nowhere",
            "--api-origin=https://a.example/path",
            "--egress-allow=127.0.0.0/8, localhost",
        ]);
        let problems = Config::from_settings(&parsed.settings).unwrap_err();
        let named: Vec<_> = problems.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(named, ["AOS_REDIS_URL", "AOS_SECRET", "AOS_ADDR", "AOS_API_ORIGIN", "AOS_EGRESS_ALLOW"]);
    }
}
