//! Every setting of the edge: flag, environment variable, default, limit, and the reason for each.
//!
//! The only file of the crate that sees the environment. [`Flags`] is what the command line says;
//! [`Flags::check`] turns it into a [`Config`], or into the list of everything that is wrong with it.

use crate::clicks::ship::Redis;
use crate::clicks::signatures::Origin;
use crate::clicks::spool::SpoolConfig;
use crate::domains;
use crate::links::snapshot;
use crate::listener::Speaks;
use crate::tls::certificates::Pair;
use clap::Parser;
use ipnet::IpNet;
use shared::Secret;
use shared::keys::{CLICK_SHARDS_DEFAULT, Keys};
use shared::telemetry::LogFormat;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The command line. Texts are read by [`Flags::check`], so that every problem is reported at once.
#[derive(Parser, Clone, Debug)]
#[command(name = "tracker-edge", version, about = "Redirects clicks and remembers every one of them")]
#[command(args_override_self = true)]
pub struct Flags {
    /// Secret of the deployment, 64 hex digits, the same for every edge and control plane
    #[arg(long, env = "AOS_SECRET", hide_env_values = true, default_value = "")]
    secret: String,
    /// Redis as `redis://host:port/`, `redis-cluster://host:port,host:port/` or
    /// `redis-sentinel://host:port,host:port/service`; `rediss…` for TLS
    #[arg(long, env = "AOS_REDIS_URL", hide_env_values = true, default_value = "redis://127.0.0.1:6379/")]
    redis_url: String,
    /// Text before every Redis key, for sharing one Redis
    #[arg(long, env = "AOS_REDIS_PREFIX", default_value = "")]
    redis_prefix: String,
    /// Streams the clicks are spread over; the same for every edge and control plane
    #[arg(long, env = "AOS_CLICK_SHARDS", default_value_t = CLICK_SHARDS_DEFAULT.to_string())]
    click_shards: String,
    /// What is logged, as a filter such as `info,tracker_edge=debug`
    #[arg(long, env = "AOS_LOG", default_value = "info")]
    log: String,
    /// Shape of a log line: text or json
    #[arg(long, env = "AOS_LOG_FORMAT", default_value = "text")]
    log_format: String,
    /// Public origin of the API, which error answers point to for documentation
    #[arg(long, env = "AOS_API_ORIGIN", default_value = "http://127.0.0.1:8081")]
    api_origin: String,
    /// Address that serves clicks; port 0 takes a free one
    #[arg(long, env = "AOS_EDGE_ADDR", default_value = "127.0.0.1:8080")]
    addr: String,
    /// Address that serves clicks over TLS; empty: plain HTTP only
    #[arg(long, env = "AOS_EDGE_TLS_ADDR", default_value = "")]
    tls_addr: String,
    /// PEM files with a certificate and its chain, separated by commas, such as an ECDSA and an RSA one; read again when they change
    #[arg(long, env = "AOS_EDGE_TLS_CERT", default_value = "")]
    tls_cert: String,
    /// PEM files with the private keys of AOS_EDGE_TLS_CERT, in the same order
    #[arg(long, env = "AOS_EDGE_TLS_KEY", default_value = "")]
    tls_key: String,
    /// Whether clients may speak HTTP/2 over TLS: true or false
    #[arg(long, env = "AOS_EDGE_TLS_HTTP2", default_value = "true")]
    tls_http2: String,
    /// Whether plain clicks are answered without the HTTP library, which can't be told from outside: true or false
    #[arg(long, env = "AOS_EDGE_FAST_PATH", default_value = "false")]
    fast_path: String,
    /// Address that serves /metrics, /ready and /live; keep it private
    #[arg(long, env = "AOS_EDGE_ADMIN_ADDR", default_value = "127.0.0.1:9080")]
    admin_addr: String,
    /// Folder of the click spool, on a disk that survives the process
    #[arg(long, env = "AOS_EDGE_SPOOL_DIR", default_value = "./spool")]
    spool_dir: String,
    /// Milliseconds between two syncs of the spool: what a power cut may take
    #[arg(long, env = "AOS_EDGE_SPOOL_SYNC_MS", default_value = "100")]
    spool_sync_ms: String,
    /// Whether an answer waits until its click is synced: true or false
    #[arg(long, env = "AOS_EDGE_SPOOL_STRICT", default_value = "false")]
    spool_strict: String,
    /// MiB of a spool segment
    #[arg(long, env = "AOS_EDGE_SPOOL_SEGMENT_MIB", default_value = "8")]
    spool_segment_mib: String,
    /// MiB of disk for the spool at most; beyond it clicks are declared lost
    #[arg(long, env = "AOS_EDGE_SPOOL_MIB", default_value = "4096")]
    spool_mib: String,
    /// Seconds that clicks stay in the spool after Postgres has them
    #[arg(long, env = "AOS_EDGE_SPOOL_RETAIN_SECONDS", default_value = "3600")]
    spool_retain_seconds: String,
    /// Whether to start although Redis may throw clicks away (maxmemory-policy other than noeviction)
    #[arg(long, env = "AOS_EDGE_ALLOW_EVICTION", default_value = "false")]
    allow_eviction: String,
    /// Worker threads; 0 takes one per core
    #[arg(long, env = "AOS_EDGE_THREADS", default_value = "0")]
    threads: String,
    /// File the link map is saved to and started from; empty means `links.snapshot` in the spool folder
    #[arg(long, env = "AOS_EDGE_SNAPSHOT", default_value = "")]
    snapshot: String,
    /// Seconds between two saves of the link map
    #[arg(long, env = "AOS_EDGE_SNAPSHOT_SECONDS", default_value = "300")]
    snapshot_seconds: String,
    /// Memory for links in MiB; beyond it links that are not clicked make room (about 14 million per GiB)
    #[arg(long, env = "AOS_EDGE_LINKS_MIB", default_value = "1024")]
    links_mib: String,
    /// Open connections at most, over all threads
    #[arg(long, env = "AOS_EDGE_CONNECTIONS", default_value = "16384")]
    connections: String,
    /// Open connections of one client address at most; 0 for no limit. Loopback and trusted proxies are exempt
    #[arg(long, env = "AOS_EDGE_CONNECTIONS_PER_ADDRESS", default_value = "256")]
    connections_per_address: String,
    /// Public origins of tracking URLs, separated by commas: signatures of AI agents must be made for one of them
    #[arg(long, env = "AOS_TRACKING_ORIGIN", default_value = "http://127.0.0.1:8080")]
    tracking_origin: String,
    /// File with the public keys of AI agents whose signatures are believed, as a Web Bot Auth directory; read again when it changes
    #[arg(long, env = "AOS_EDGE_AGENT_KEYS", default_value = "")]
    agent_keys: String,
    /// File with a newer list of machines' user agents, in the format of crawler-user-agents; read again when it changes
    #[arg(long, env = "AOS_EDGE_USER_AGENTS", default_value = "")]
    user_agents: String,
    /// Country database in the MaxMind format; read again when it changes. Empty: countries stay unknown
    #[arg(long, env = "AOS_EDGE_GEOIP_DB", default_value = "")]
    geoip_db: String,
    /// Networks of proxies whose X-Forwarded-For is believed, separated by commas
    #[arg(long, env = "AOS_EDGE_TRUSTED_PROXIES", default_value = "")]
    trusted_proxies: String,
    /// Networks of load balancers whose connections must begin with a PROXY header, version 2, separated by commas
    #[arg(long, env = "AOS_EDGE_PROXY_PROTOCOL", default_value = "")]
    proxy_protocol: String,
    /// Milliseconds a request for a link not in memory may wait for Redis
    #[arg(long, env = "AOS_EDGE_MISS_MS", default_value = "1000")]
    miss_ms: String,
    /// Milliseconds between "not ready" and "no new connections" when stopping
    #[arg(long, env = "AOS_EDGE_DRAIN_DELAY_MS", default_value = "0")]
    drain_delay_ms: String,
    /// Milliseconds that stopping may take: finishing requests, then shipping the spool
    #[arg(long, env = "AOS_EDGE_GRACE_MS", default_value = "10000")]
    grace_ms: String,
    /// Sockets handed over by a service manager (systemd's protocol); they replace the address that serves clicks
    #[arg(long, env = "LISTEN_FDS", hide = true, default_value = "")]
    listen_fds: String,
    /// What each of the sockets speaks, separated by colons: https or anything else for plain HTTP
    #[arg(long, env = "LISTEN_FDNAMES", hide = true, default_value = "")]
    listen_fdnames: String,
    /// The process the sockets are meant for
    #[arg(long, env = "LISTEN_PID", hide = true, default_value = "")]
    listen_pid: String,
}

/// Checked settings.
#[derive(Clone)]
pub struct Config {
    /// The deployment's secret.
    pub secret: Secret,
    /// Redis or a Redis Cluster; may hold a password.
    pub redis_url: String,
    /// Key names under the configured prefix.
    pub keys: Keys,
    /// Click streams.
    pub click_shards: u16,
    /// Log filter.
    pub log: String,
    /// Log shape.
    pub log_format: LogFormat,
    /// Origin of the API, without a slash at its end.
    pub api_origin: String,
    /// Where clicks arrive.
    pub addr: SocketAddr,
    /// Where clicks arrive over TLS.
    pub tls_addr: Option<SocketAddr>,
    /// Files of certificates and their keys.
    pub(crate) tls_pairs: Vec<Pair>,
    /// Whether HTTP/2 is offered over TLS.
    pub tls_http2: bool,
    /// Whether plain clicks are answered without hyper.
    pub fast_path: bool,
    /// Listening sockets this process was started with; none when it opens its own.
    pub(crate) inherited: Vec<Speaks>,
    /// Where operators look.
    pub admin_addr: SocketAddr,
    /// The click spool.
    pub spool: SpoolConfig,
    /// Start although Redis may evict.
    pub allow_eviction: bool,
    /// Worker threads, at least one.
    pub threads: usize,
    /// Snapshot file of the link map.
    pub snapshot: PathBuf,
    /// Pause between two snapshots.
    pub snapshot_every: Duration,
    /// Memory budget of the link map.
    pub links_bytes_max: usize,
    /// Connections of each worker at most.
    pub connections_per_thread: usize,
    /// Connections of one address at most, if limited.
    pub connections_per_address: Option<u32>,
    /// Where visitors and agents believe to be.
    pub(crate) tracking_origins: Vec<Origin>,
    /// Keys of agents.
    pub agent_keys: Option<PathBuf>,
    /// List of machines' user agents.
    pub user_agents: Option<PathBuf>,
    /// Country database.
    pub geoip_db: Option<PathBuf>,
    /// Proxies whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Load balancers that announce their clients.
    pub proxy_protocol: Vec<IpNet>,
    /// Longest wait of a request for Redis.
    pub miss_deadline: Duration,
    /// Pause before the listener closes when stopping.
    pub drain_delay: Duration,
    /// Time that stopping may take in all.
    pub grace: Duration,
}

/// Everything wrong with the settings, one line each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:\n  {}", .0.join("\n  "))]
pub struct ConfigErrors(pub Vec<String>);

/// Collects problems while values are read.
struct Check(Vec<String>);

impl Check {
    fn parse<T: FromStr>(&mut self, name: &str, text: &str, expected: &str) -> Option<T> {
        let value = text.trim().parse().ok();
        if value.is_none() {
            self.0.push(format!("{name}: {text:?} is not {expected}"));
        }
        value
    }

    fn networks(&mut self, name: &str, text: &str) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in list(text) {
            let single = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
            match text.parse().ok().or_else(single) {
                Some(network) => networks.push(network),
                None => self.0.push(format!("{name}: {text:?} is not a network such as 10.0.0.0/8")),
            }
        }
        networks
    }

    fn number(&mut self, name: &str, text: &str, range: std::ops::RangeInclusive<u64>) -> u64 {
        let value = text.trim().parse().ok().filter(|value| range.contains(value));
        if value.is_none() {
            self.0.push(format!(
                "{name}: {text:?} is not a whole number from {} to {}",
                range.start(),
                range.end()
            ));
        }
        value.unwrap_or(*range.start())
    }
}

impl Flags {
    /// Reads every text; on failure says everything that is wrong.
    pub fn check(self) -> Result<Config, ConfigErrors> {
        let mut check = Check(Vec::new());
        let secret = match Secret::parse(&self.secret) {
            Ok(secret) => Some(secret),
            // The text is not repeated: it may be most of a real secret.
            Err(error) => {
                check.0.push(format!("AOS_SECRET: {error}"));
                None
            }
        };
        // Opening connects to nothing; neither the text nor the cause is repeated: there may be a password in it.
        if Redis::open(&self.redis_url).is_err() {
            check.0.push("AOS_REDIS_URL: not a Redis URL such as redis://127.0.0.1:6379/".to_owned());
        }
        let address = "an address such as 127.0.0.1:8080";
        let addr = check.parse("AOS_EDGE_ADDR", &self.addr, address);
        let admin_addr = check.parse("AOS_EDGE_ADMIN_ADDR", &self.admin_addr, address);
        let log_format = check.parse("AOS_LOG_FORMAT", &self.log_format, "text or json");
        let trusted_proxies = check.networks("AOS_EDGE_TRUSTED_PROXIES", &self.trusted_proxies);
        let proxy_protocol = check.networks("AOS_EDGE_PROXY_PROTOCOL", &self.proxy_protocol);
        let mut tracking_origins = Vec::new();
        for text in list(&self.tracking_origin) {
            match Origin::parse(text) {
                Some(origin) => tracking_origins.push(origin),
                None => check.0.push(format!(
                    "AOS_TRACKING_ORIGIN: {text:?} is not an origin such as https://go.example"
                )),
            }
        }
        if self.spool_dir.is_empty() {
            check.0.push("AOS_EDGE_SPOOL_DIR: a folder is needed".to_owned());
        }
        let click_shards = check.number("AOS_CLICK_SHARDS", &self.click_shards, 1..=1024) as u16;
        let threads = match check.number("AOS_EDGE_THREADS", &self.threads, 0..=512) as usize {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let spool_sync_ms = check.number("AOS_EDGE_SPOOL_SYNC_MS", &self.spool_sync_ms, 1..=60_000);
        let spool_segment_mib = check.number("AOS_EDGE_SPOOL_SEGMENT_MIB", &self.spool_segment_mib, 1..=1024);
        let spool_mib = check.number("AOS_EDGE_SPOOL_MIB", &self.spool_mib, 16..=1 << 24);
        let spool_retain_seconds =
            check.number("AOS_EDGE_SPOOL_RETAIN_SECONDS", &self.spool_retain_seconds, 0..=30 * 86_400);
        let yes_or_no = "true or false";
        let spool_strict =
            check.parse("AOS_EDGE_SPOOL_STRICT", &self.spool_strict, yes_or_no).unwrap_or_default();
        let allow_eviction =
            check.parse("AOS_EDGE_ALLOW_EVICTION", &self.allow_eviction, yes_or_no).unwrap_or_default();
        let tls_http2 = check.parse("AOS_EDGE_TLS_HTTP2", &self.tls_http2, yes_or_no).unwrap_or_default();
        let fast_path = check.parse("AOS_EDGE_FAST_PATH", &self.fast_path, yes_or_no).unwrap_or_default();
        let snapshot_seconds = check.number("AOS_EDGE_SNAPSHOT_SECONDS", &self.snapshot_seconds, 1..=86_400);
        let links_mib = check.number("AOS_EDGE_LINKS_MIB", &self.links_mib, 8..=1_048_576) as usize;
        let connections = check.number("AOS_EDGE_CONNECTIONS", &self.connections, 1..=10_000_000) as usize;
        let per_address =
            check.number("AOS_EDGE_CONNECTIONS_PER_ADDRESS", &self.connections_per_address, 0..=1_000_000)
                as u32;
        let miss_ms = check.number("AOS_EDGE_MISS_MS", &self.miss_ms, 1..=10_000);
        let drain_delay_ms = check.number("AOS_EDGE_DRAIN_DELAY_MS", &self.drain_delay_ms, 0..=600_000);
        let grace_ms = check.number("AOS_EDGE_GRACE_MS", &self.grace_ms, 100..=600_000);

        let inherited = self.inherited(&mut check);
        let tls_addr = match self.tls_addr.trim() {
            "" => None,
            text => check.parse("AOS_EDGE_TLS_ADDR", text, address),
        };
        let (certs, keys) = (list(&self.tls_cert), list(&self.tls_key));
        if certs.len() != keys.len() {
            check.0.push("AOS_EDGE_TLS_KEY: one file is needed for each of AOS_EDGE_TLS_CERT".to_owned());
        }
        if !certs.is_empty() && self.tls_addr.trim().is_empty() && !inherited.contains(&Speaks::Https) {
            check.0.push("AOS_EDGE_TLS_ADDR: needed to make use of AOS_EDGE_TLS_CERT".to_owned());
        }
        let tls_pairs = certs
            .into_iter()
            .zip(keys)
            .map(|(cert, key)| Pair { cert: PathBuf::from(cert), key: PathBuf::from(key) })
            .collect();

        let (Some(secret), Some(addr), Some(admin_addr), Some(log_format)) =
            (secret, addr, admin_addr, log_format)
        else {
            return Err(ConfigErrors(check.0));
        };
        if !check.0.is_empty() {
            return Err(ConfigErrors(check.0));
        }
        let spool_dir = PathBuf::from(self.spool_dir);
        let spool = SpoolConfig {
            segment_bytes: spool_segment_mib << 20,
            sync_interval: Duration::from_millis(spool_sync_ms),
            strict: spool_strict,
            retain_for: Duration::from_secs(spool_retain_seconds),
            disk_budget_bytes: spool_mib << 20,
            ..SpoolConfig::new(&spool_dir)
        };
        let snapshot = match self.snapshot.as_str() {
            "" => spool_dir.join(snapshot::FILE),
            path => PathBuf::from(path),
        };
        Ok(Config {
            secret,
            redis_url: self.redis_url,
            keys: Keys::new(self.redis_prefix),
            click_shards,
            log: self.log,
            log_format,
            api_origin: self.api_origin.trim_end_matches('/').to_owned(),
            addr,
            tls_addr,
            tls_pairs,
            tls_http2,
            fast_path,
            inherited,
            admin_addr,
            spool,
            allow_eviction,
            threads,
            snapshot,
            snapshot_every: Duration::from_secs(snapshot_seconds),
            links_bytes_max: links_mib << 20,
            connections_per_thread: connections.div_ceil(threads),
            connections_per_address: (per_address > 0).then_some(per_address),
            tracking_origins,
            agent_keys: file(self.agent_keys),
            user_agents: file(self.user_agents),
            geoip_db: file(self.geoip_db),
            trusted_proxies,
            proxy_protocol,
            miss_deadline: Duration::from_millis(miss_ms),
            drain_delay: Duration::from_millis(drain_delay_ms),
            grace: Duration::from_millis(grace_ms),
        })
    }
}

impl Config {
    /// The file that custom domains are saved to and started from.
    pub(crate) fn domains_snapshot(&self) -> PathBuf {
        self.snapshot.with_file_name(domains::snapshot::FILE)
    }
}

impl Flags {
    /// What the sockets speak that a service manager hands over.
    fn inherited(&self, check: &mut Check) -> Vec<Speaks> {
        // Meant for another process (a parent, say): not ours to touch.
        if self.listen_pid.parse() != Ok(std::process::id()) {
            return Vec::new();
        }
        let handed = check.number("LISTEN_FDS", &self.listen_fds, 1..=512) as usize;
        let mut names = self.listen_fdnames.split(':');
        let mut speaks = Vec::with_capacity(handed);
        speaks.resize_with(handed, || match names.next() {
            Some("https") => Speaks::Https,
            _ => Speaks::Http,
        });
        if !speaks.contains(&Speaks::Http) {
            check.0.push("LISTEN_FDNAMES: one of the sockets must be for plain HTTP".to_owned());
        }
        speaks
    }
}

/// The parts of a list.
fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// A path, unless it is empty.
fn file(path: String) -> Option<PathBuf> {
    Some(path).filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(args: &[&str]) -> Flags {
        Flags::parse_from([&["tracker-edge"], args].concat())
    }

    #[test]
    fn defaults_need_only_the_secret() {
        let config = flags(&["--secret", &"5a".repeat(32)]).check().unwrap();
        assert_eq!(config.addr.to_string(), "127.0.0.1:8080");
        assert_eq!(config.snapshot, PathBuf::from("./spool/links.snapshot"));
        assert!(config.threads >= 1);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let args = [
            "--secret",
            "x",
            "--addr",
            "here",
            "--threads",
            "few",
            "--trusted-proxies",
            "10.0.0.0/8,moon",
            "--tracking-origin",
            "https://a.example,b",
        ];
        let ConfigErrors(problems) = flags(&args).check().err().unwrap();
        let names: Vec<_> = problems.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(
            names,
            [
                "AOS_SECRET",
                "AOS_EDGE_ADDR",
                "AOS_EDGE_TRUSTED_PROXIES",
                "AOS_TRACKING_ORIGIN",
                "AOS_EDGE_THREADS"
            ]
        );
    }

    #[test]
    fn handed_over_sockets_speak_what_their_names_say() {
        let pid = std::process::id().to_string();
        let handed = |names: &str| {
            let secret = "5a".repeat(32);
            let args = ["--secret", &secret, "--listen-pid", &pid, "--listen-fds", "3"];
            flags(&[&args[..], &["--listen-fdnames", names]].concat()).check()
        };
        assert_eq!(handed("").ok().unwrap().inherited, [Speaks::Http; 3]);
        let named = handed("affiliateos-edge.socket:https").ok().unwrap();
        assert_eq!(named.inherited, [Speaks::Http, Speaks::Https, Speaks::Http]);
        let ConfigErrors(problems) = handed("https:https:https").err().unwrap();
        assert!(problems.concat().starts_with("LISTEN_FDNAMES"), "{problems:?}");
    }

    #[test]
    fn every_certificate_has_a_key_and_a_listener() {
        let given = |args: &[&str]| {
            let secret = "5a".repeat(32);
            flags(&[&["--secret", &secret], args].concat()).check()
        };
        let tls = ["--tls-addr", "127.0.0.1:0", "--tls-cert", "a.crt, b.crt", "--tls-key", "a.key,b.key"];
        let config = given(&tls).ok().unwrap();
        assert_eq!(config.tls_pairs[1].key, PathBuf::from("b.key"));
        for (args, name) in [(&tls[..4], "AOS_EDGE_TLS_KEY"), (&tls[2..], "AOS_EDGE_TLS_ADDR")] {
            let ConfigErrors(problems) = given(args).err().unwrap();
            assert!(problems.len() == 1 && problems[0].starts_with(name), "{problems:?}");
        }
    }

    #[test]
    fn secrets_are_never_repeated() {
        let error =
            flags(&["--secret", "hunter2", "--redis-url", "nope://:hunter2@host"]).check().err().unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
