//! Redis as the control plane uses it: a pool for requests and jobs, and connections of their own for
//! readers that block. Every command has a time-out.

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisResult};
use std::time::Duration;

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

/// A connection of its own, for a reader that blocks or a publisher; commands time out after `timeout`.
pub async fn connect(client: &Client, timeout: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(timeout));
    client.get_multiplexed_async_connection_with_config(&config).await
}
