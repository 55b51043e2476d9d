//! What the DNS says of a domain: the record that proves whose it is, and whether it leads anywhere.
//!
//! Every look-up asks the server again; an answer that is not clear (a timeout, a server that fails) is no
//! answer, so that an outage takes nobody's domain away. Whether an address is private does not matter here: nothing
//! is connected to.

use super::model::{ownership_name, ownership_value};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use shared::Secret;
use shared::id::AgentId;
use std::net::SocketAddr;
use std::time::Duration;

/// One question to one server.
const ASK_FOR: Duration = Duration::from_secs(2);
/// All of a look: an API call waits for it.
const LOOK_FOR: Duration = Duration::from_secs(8);

/// What was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The account's record is there, and the name has an address.
    Proven,
    /// The account's record is there, but the name has no address.
    NoAddress,
    /// There is no such record.
    NoRecord,
    /// There are records under the name, with other values.
    OtherRecord,
    /// No answer.
    Unknown,
}

/// Looks a domain up. `server` stands in for the system's.
pub async fn look(server: Option<SocketAddr>, secret: &Secret, agent: AgentId, host: &str) -> Seen {
    let expected = ownership_value(secret, agent);
    tokio::time::timeout(LOOK_FOR, ask(server, &expected, host)).await.unwrap_or(Seen::Unknown)
}

async fn ask(server: Option<SocketAddr>, expected: &str, host: &str) -> Seen {
    let Ok(resolver) = resolver(server) else { return Seen::Unknown };
    // Names end with a dot: no search list of this machine is put behind them.
    let found = match resolver.txt_lookup(format!("{}.", ownership_name(host))).await {
        Ok(found) => found,
        Err(error) if is_none(&error) => return Seen::NoRecord,
        Err(_) => return Seen::Unknown,
    };
    let mut texts = found.answers().iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    });
    if !texts.any(|text| text.trim_ascii() == expected.as_bytes()) {
        return Seen::OtherRecord;
    }
    for kind in [RecordType::A, RecordType::AAAA] {
        match resolver.lookup(format!("{host}."), kind).await {
            Ok(found) if found.answers().iter().any(|record| record.record_type() == kind) => {
                return Seen::Proven;
            }
            Ok(_) => {}
            Err(error) if is_none(&error) => {}
            Err(_) => return Seen::Unknown,
        }
    }
    Seen::NoAddress
}

fn is_none(error: &NetError) -> bool {
    error.is_no_records_found() || error.is_nx_domain()
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            let server = NameServerConfig::new(server.ip(), true, connections.into());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
        None => TokioResolver::builder_tokio()?,
    };
    let options = builder.options_mut();
    options.timeout = ASK_FOR;
    options.attempts = 2;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}
