//! Redis as the control plane uses it: one shared connection for requests and jobs, and connections of their
//! own for the drainer and the publisher. A server, a cluster or the master that Sentinels name, by URL.
//!
//! Every command has a time-out. A connection that broke is opened again by whoever needs it next; while Redis
//! is away, one attempt is made at a time with a pause between two, and everybody else is told so at once.

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo,
    Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, TlsMode, Value,
};
use shared::redis_url::RedisUrl;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// No command may take longer.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Finding the master and connecting to it: a Sentinel or a node may be down, and then another is asked.
const FIND_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts to connect for requests.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Where Redis is.
#[derive(Clone)]
pub enum Target {
    /// One server.
    Server(Box<Client>),
    /// A cluster, known by some of its nodes.
    Cluster(Box<ClusterClient>),
    /// The master of a service.
    Sentinel(Arc<Sentinels>),
}

/// Sentinels and what to ask them for.
pub struct Sentinels {
    nodes: Vec<ConnectionInfo>,
    service: String,
    server: SentinelNodeConnectionInfo,
}

/// Small commands must not wait for each other's acknowledgements (the crate leaves `TCP_NODELAY` off), and a peer
/// that vanished is noticed.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_user_timeout(Duration::from_secs(3))
}

fn node(url: &str) -> RedisResult<ConnectionInfo> {
    Ok(url.into_connection_info()?.set_tcp_settings(tcp()))
}

impl Target {
    /// Reads a URL; see [`RedisUrl`]. Nothing is connected yet.
    pub fn parse(url: &str) -> RedisResult<Self> {
        let nodes = |urls: &[String]| urls.iter().map(|url| node(url)).collect::<RedisResult<Vec<_>>>();
        let parsed = RedisUrl::parse(url).map_err(|error| {
            RedisError::from((ErrorKind::InvalidClientConfig, "not a Redis URL", error.to_string()))
        })?;
        Ok(match parsed {
            RedisUrl::Server(url) => Self::Server(Box::new(Client::open(node(&url)?)?)),
            RedisUrl::Cluster(urls) => Self::Cluster(Box::new(
                ClusterClient::builder(nodes(&urls)?)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(RESPONSE_TIMEOUT)
                    .tcp_settings(tcp())
                    .retries(2)
                    .build()?,
            )),
            RedisUrl::Sentinel { sentinels, service, login, tls } => {
                let server = SentinelNodeConnectionInfo::default()
                    .set_redis_connection_info(node(&login)?.redis_settings().clone())
                    .set_tcp_settings(tcp());
                let server = if tls { server.set_tls_mode(TlsMode::Secure) } else { server };
                Self::Sentinel(Arc::new(Sentinels { nodes: nodes(&sentinels)?, service, server }))
            }
        })
    }

    /// A connection of its own; commands time out.
    pub async fn connect(&self) -> RedisResult<Conn> {
        let connecting = async {
            match self {
                Self::Server(client) => connect_to(client).await,
                Self::Cluster(client) => Ok(Conn::Cluster(client.get_async_connection().await?)),
                Self::Sentinel(all) => {
                    let mut sentinel = Sentinel::build(all.nodes.clone())?;
                    let master = sentinel.async_master_for(&all.service, Some(&all.server)).await?;
                    connect_to(&master).await
                }
            }
        };
        tokio::time::timeout(FIND_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(away()))
    }
}

async fn connect_to(client: &Client) -> RedisResult<Conn> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    Ok(Conn::Server(client.get_multiplexed_async_connection_with_config(&config).await?))
}

fn away() -> RedisError {
    RedisError::from((ErrorKind::Io, "Redis is away"))
}

/// A connection to a server or a cluster.
#[derive(Clone)]
pub enum Conn {
    /// To one server.
    Server(MultiplexedConnection),
    /// To a cluster.
    Cluster(ClusterConnection),
}

impl Conn {
    /// Sends commands together and gives each its answer. Keys may lie in different slots.
    ///
    /// A command that the server refuses fails the whole; what came before it has taken effect.
    pub async fn all<T: FromRedisValue>(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<T>> {
        if let (Self::Server(connection), false) = (&mut *self, commands.is_empty()) {
            let mut pipeline = Pipeline::with_capacity(commands.len());
            for command in commands {
                pipeline.add_command(command);
            }
            return pipeline.query_async(connection).await;
        }
        self.each(commands).await.into_iter().collect()
    }

    /// Sends commands together and gives each its own outcome: on a cluster, a node that is away fails its
    /// commands alone.
    pub async fn each<T: FromRedisValue>(&mut self, commands: Vec<Cmd>) -> Vec<RedisResult<T>> {
        let asked = commands.into_iter().map(|command| {
            // Clones share the connection; single commands each find their node, side by side.
            let mut connection = self.clone();
            async move { command.query_async(&mut connection).await }
        });
        futures_util::future::join_all(asked).await
    }
}

impl ConnectionLike for Conn {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The connection of requests and jobs: one for all of them, since commands on it do not wait for each other.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    target: Target,
    open: Mutex<Open>,
    /// Held while connecting, so that it is done once.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Open {
    conn: Option<Conn>,
    /// Tells a connection from the one before it.
    generation: u64,
    retry_at: Option<Instant>,
}

/// The shared connection, in one user's hands.
#[derive(Clone)]
pub struct Shared {
    conn: Conn,
    generation: u64,
    of: Redis,
}

impl Redis {
    /// The Redis at this URL; it is connected to when it is first needed.
    pub fn new(url: &str) -> RedisResult<Self> {
        let target = Target::parse(url)?;
        Ok(Self(Arc::new(Inner {
            target,
            open: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        })))
    }

    /// The open connection, or a new one.
    pub async fn get(&self) -> RedisResult<Shared> {
        if let Some(shared) = self.opened()? {
            return Ok(shared);
        }
        let _alone = self.0.connecting.lock().await;
        // Somebody else may have connected, or failed to, meanwhile.
        if let Some(shared) = self.opened()? {
            return Ok(shared);
        }
        let connected = self.0.target.connect().await;
        let mut open = self.open();
        match connected {
            Ok(conn) => {
                open.generation += 1;
                open.conn = Some(conn.clone());
                Ok(Shared { conn, generation: open.generation, of: self.clone() })
            }
            Err(error) => {
                open.retry_at = Some(Instant::now() + RETRY_PAUSE);
                Err(error)
            }
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> RedisResult<Option<Shared>> {
        let open = self.open();
        if let Some(conn) = &open.conn {
            let shared = Shared { conn: conn.clone(), generation: open.generation, of: self.clone() };
            return Ok(Some(shared));
        }
        if open.retry_at.is_some_and(|at| Instant::now() < at) { Err(away()) } else { Ok(None) }
    }

    /// Gives a connection up after an error that another one may not have.
    fn heard(&self, error: &RedisError, generation: u64) {
        let stays = matches!(
            error.kind(),
            ErrorKind::Server(kind) if !matches!(kind, ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        ) || matches!(error.kind(), ErrorKind::Extension | ErrorKind::UnexpectedReturnType);
        let mut open = self.open();
        if !stays && open.generation == generation {
            open.conn = None;
        }
    }
}

impl Shared {
    /// [`Conn::all`].
    pub async fn all<T: FromRedisValue>(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<T>> {
        let answer = self.conn.all(commands).await;
        if let Err(error) = &answer {
            self.of.heard(error, self.generation);
        }
        answer
    }
}

impl ConnectionLike for Shared {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let answer = self.conn.req_packed_command(command).await;
            if let Err(error) = &answer {
                self.of.heard(error, self.generation);
            }
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let answer = self.conn.req_packed_commands(pipeline, offset, count).await;
            if let Err(error) = &answer {
                self.of.heard(error, self.generation);
            }
            answer
        })
    }

    fn get_db(&self) -> i64 {
        self.conn.get_db()
    }
}
