//! A Redis that may be away: one shared connection, opened when needed and again when it broke.
//!
//! The URL ([`RedisUrl`]) names a server, a cluster by some of its nodes, or the Sentinels that know the master.
//! Opening never connects, so that an edge starts without Redis.
//!
//! Limits: a connection attempt and every command end within a second (finding the master within three); while Redis is away, one attempt
//! is made at a time, with a growing and scattered pause between two, and everybody else is told so at
//! once. A timed-out connection is given up, because what it still carries would arrive late.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline, RedisError,
    RedisFuture, RedisResult, ServerErrorKind, TlsMode, Value,
};
use shared::redis_url::RedisUrl;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A connection attempt takes no longer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Finding the right server among several takes no longer, and connecting to it.
const FIND_TIMEOUT: Duration = Duration::from_secs(3);
/// A command takes no longer. A stopped Redis still accepts connections, so only this notices it.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after the first failed attempt: at most two attempts a second.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// And after many: a Redis that is back is noticed this late at worst.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// The Redis of a deployment.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    state: Mutex<State>,
}

enum Client {
    Single(redis::Client),
    Cluster(ClusterClient),
    Sentinel { sentinels: Vec<ConnectionInfo>, service: String, server: SentinelNodeConnectionInfo },
}

#[derive(Default)]
struct State {
    open: Option<Line>,
    /// Distinguishes a connection from the one before it.
    generation: u64,
    failures: u32,
    retry_at: Option<Instant>,
}

/// An open connection, cheap to clone; its clones share it.
#[derive(Clone)]
pub struct Conn {
    line: Line,
    generation: u64,
}

#[derive(Clone)]
enum Line {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What an error asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// Another connection: this one is broken, or leads to a server that does not take writes.
    Reconnect,
    /// Patience: the server answers, and refuses.
    Wait,
}

/// What an error asks for.
pub fn remedy(error: &RedisError) -> Remedy {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::MasterDown,
        ) => Remedy::Reconnect,
        // OOM, MISCONF, LOADING, NOSCRIPT, NOPERM, CLUSTERDOWN: asking elsewhere changes nothing.
        ErrorKind::Server(_) | ErrorKind::Extension => Remedy::Wait,
        _ => Remedy::Reconnect,
    }
}

/// A pause for the n-th failure in a row, scattered so that edges do not come back all at once.
pub(super) fn pause(failures: u32, min: Duration, max: Duration) -> Duration {
    let full = min.saturating_mul(1 << failures.min(16)).min(max);
    // Without randomness the edges only come back together.
    let scatter = getrandom::u32().unwrap_or(0);
    full / 2 + full.mul_f64(f64::from(scatter) / f64::from(u32::MAX)) / 2
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.write_str("Redis(…)")
    }
}

impl Redis {
    /// The Redis at this address. Nothing is connected yet.
    pub fn open(url: &str) -> RedisResult<Self> {
        let parsed = RedisUrl::parse(url).map_err(|error| {
            RedisError::from((ErrorKind::InvalidClientConfig, "not a Redis URL", error.to_string()))
        })?;
        let nodes = |urls: &[String]| urls.iter().map(|url| node(url)).collect::<RedisResult<Vec<_>>>();
        let client = match parsed {
            RedisUrl::Server(url) => Client::Single(redis::Client::open(node(&url)?)?),
            RedisUrl::Cluster(urls) => Client::Cluster(
                ClusterClientBuilder::new(nodes(&urls)?)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(RESPONSE_TIMEOUT)
                    .tcp_settings(tcp_settings())
                    .retries(2)
                    .build()?,
            ),
            RedisUrl::Sentinel { sentinels, service, login, tls } => {
                let server = SentinelNodeConnectionInfo::default()
                    .set_redis_connection_info(node(&login)?.redis_settings().clone())
                    .set_tcp_settings(tcp_settings());
                let server = if tls { server.set_tls_mode(TlsMode::Secure) } else { server };
                Client::Sentinel { sentinels: nodes(&sentinels)?, service, server }
            }
        };
        Ok(Self(Arc::new(Inner { client, state: Mutex::default() })))
    }

    /// The open connection, or a new one. Takes at most [`FIND_TIMEOUT`]; while it is too early for
    /// another attempt it fails at once.
    pub async fn conn(&self) -> RedisResult<Conn> {
        let mut state = self.0.state.lock().await;
        if let Some(line) = &state.open {
            return Ok(Conn { line: line.clone(), generation: state.generation });
        }
        if state.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(away());
        }
        match tokio::time::timeout(self.0.client.patience(), self.0.client.connect())
            .await
            .unwrap_or_else(|_| Err(away()))
        {
            Ok(line) => {
                state.open = Some(line.clone());
                state.generation += 1;
                state.failures = 0;
                Ok(Conn { line, generation: state.generation })
            }
            Err(error) => {
                state.retry_at = Some(Instant::now() + pause(state.failures, PAUSE_MIN, PAUSE_MAX));
                state.failures = state.failures.saturating_add(1);
                Err(error)
            }
        }
    }

    /// Tells that a command on this connection failed, so that a broken one is not handed out again.
    pub async fn failed(&self, conn: &Conn, error: &RedisError) {
        if remedy(error) == Remedy::Wait {
            return;
        }
        let mut state = self.0.state.lock().await;
        if state.generation == conn.generation && state.open.take().is_some() {
            // A server that accepts and then fails must not be asked in a tight loop.
            state.retry_at = Some(Instant::now() + pause(0, PAUSE_MIN, PAUSE_MAX));
        }
    }
}

impl Client {
    async fn connect(&self) -> RedisResult<Line> {
        match self {
            Self::Single(client) => connect_to(client).await,
            Self::Cluster(client) => client.get_async_connection().await.map(Line::Cluster),
            Self::Sentinel { sentinels, service, server } => {
                let mut sentinel = Sentinel::build(sentinels.clone())?;
                connect_to(&sentinel.async_master_for(service, Some(server)).await?).await
            }
        }
    }

    /// How long connecting may take. Behind several addresses, some may be down and another is tried.
    const fn patience(&self) -> Duration {
        match self {
            Self::Single(_) => CONNECT_TIMEOUT,
            Self::Cluster(_) | Self::Sentinel { .. } => FIND_TIMEOUT,
        }
    }
}

async fn connect_to(client: &redis::Client) -> RedisResult<Line> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await.map(Line::Single)
}

impl ConnectionLike for Conn {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.line {
            Line::Single(line) => line.req_packed_command(cmd),
            Line::Cluster(line) => line.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.line {
            Line::Single(line) => line.req_packed_commands(pipeline, offset, count),
            Line::Cluster(line) => line.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.line {
            Line::Single(line) => line.get_db(),
            Line::Cluster(line) => line.get_db(),
        }
    }
}

fn away() -> RedisError {
    RedisError::from((ErrorKind::Io, "Redis is away"))
}

/// Small frames must not wait for each other's acknowledgements; a peer that vanished is noticed.
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_user_timeout(Duration::from_secs(3))
}

fn node(url: &str) -> RedisResult<ConnectionInfo> {
    Ok(url.into_connection_info()?.set_tcp_settings(tcp_settings()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_only_reads_the_url() {
        for url in ["redis://a:1/0", "redis-cluster://a:1,b:2", "redis-sentinel://:p@a:1,b:2/clicks/3"] {
            assert!(Redis::open(url).is_ok(), "{url}");
        }
        for url in ["http://a", "redis-sentinel://a:1", "redis-cluster://a:port"] {
            assert!(Redis::open(url).is_err(), "{url}");
        }
    }

    #[test]
    fn pauses_grow_to_their_limit_and_are_scattered() {
        for failures in 0..40 {
            let full = Duration::from_millis(500).saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
            let taken = pause(failures, PAUSE_MIN, PAUSE_MAX);
            assert!(taken >= full / 2 && taken <= full, "{failures}: {taken:?}");
        }
    }

    #[test]
    fn errors_are_answered_by_what_they_need() {
        let cases = [
            ("READONLY You can't write against a read only replica.", Remedy::Reconnect),
            ("MOVED 3999 127.0.0.1:6381", Remedy::Reconnect),
            ("OOM command not allowed when used memory > 'maxmemory'.", Remedy::Wait),
            ("MISCONF Redis is configured to save RDB snapshots", Remedy::Wait),
            ("LOADING Redis is loading the dataset in memory", Remedy::Wait),
            ("NOSCRIPT No matching script.", Remedy::Wait),
            ("NOPERM this user has no permissions", Remedy::Wait),
        ];
        for (line, expected) in cases {
            let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
            let redis::Value::ServerError(error) = value else { panic!("{line} is an error") };
            assert_eq!(remedy(&RedisError::from(error)), expected, "{line}");
        }
        assert_eq!(remedy(&away()), Remedy::Reconnect);
    }
}
