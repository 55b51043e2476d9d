//! Redis as the control plane uses it: a pool for requests and jobs, and connections of their own for
//! readers that block. Every command has a time-out.

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, RedisFuture,
    RedisResult, Value,
};
use std::time::Duration;

/// Scheme of a Redis Cluster: `redis-cluster://host:port,host:port/`.
const CLUSTER_SCHEME: &str = "redis-cluster://";

/// No command may take longer.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The pool of requests and jobs.
pub type Pool = deadpool_redis::Pool;

/// A client whose sockets do not wait to fill packets: the crate leaves `TCP_NODELAY` off.
pub fn client(url: &str) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    let tcp = TcpSettings::default().set_nodelay(true);
    Client::open(info.set_tcp_settings(tcp))
}

/// A pool that connects when it is first used.
pub fn pool(url: &str, connections_max: usize) -> anyhow::Result<Pool> {
    let info = url.into_connection_info()?;
    let tcp = TcpSettings::default().set_nodelay(true);
    let manager = deadpool_redis::Manager::new(info.set_tcp_settings(tcp))?;
    Ok(Pool::builder(manager)
        .max_size(connections_max)
        .runtime(deadpool_redis::Runtime::Tokio1)
        .wait_timeout(Some(RESPONSE_TIMEOUT))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .recycle_timeout(Some(RESPONSE_TIMEOUT))
        .build()?)
}

/// Where Redis is: a server, or a cluster.
#[derive(Clone)]
pub enum Target {
    /// One server.
    Server(Box<Client>),
    /// A cluster, known by some of its nodes.
    Cluster(Box<ClusterClient>),
}

impl Target {
    /// Reads `redis://…`, `rediss://…` or `redis-cluster://host:port,host:port/`.
    pub fn parse(url: &str) -> RedisResult<Self> {
        let Some(nodes) = url.strip_prefix(CLUSTER_SCHEME) else {
            return Ok(Self::Server(Box::new(client(url)?)));
        };
        let (login, hosts) = nodes.trim_end_matches('/').rsplit_once('@').unwrap_or(("", nodes));
        let at = if login.is_empty() { "" } else { "@" };
        let nodes = hosts
            .trim_end_matches('/')
            .split(',')
            .map(|host| {
                client(&format!("redis://{login}{at}{host}/"))
                    .map(|client| client.get_connection_info().clone())
            })
            .collect::<RedisResult<Vec<_>>>()?;
        let client = ClusterClient::builder(nodes)
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(RESPONSE_TIMEOUT)
            .retries(2)
            .build()?;
        Ok(Self::Cluster(Box::new(client)))
    }

    /// A connection of its own; commands time out.
    pub async fn connect(&self) -> RedisResult<Conn> {
        Ok(match self {
            Self::Server(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(RESPONSE_TIMEOUT));
                Conn::Server(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Self::Cluster(client) => Conn::Cluster(client.get_async_connection().await?),
        })
    }
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
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Server(connection) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.query_async(connection).await
            }
            // A cluster's pipeline goes to one node; single commands each find theirs, side by side.
            Self::Cluster(connection) => {
                let asked = commands.into_iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { command.query_async(&mut connection).await }
                });
                futures_util::future::try_join_all(asked).await
            }
        }
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
