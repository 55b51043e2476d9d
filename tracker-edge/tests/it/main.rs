//! The edge against real sockets, a real Redis and real crashes.
//!
//! - `harness`: an edge of one's own in this process, and what a control plane would publish
//! - `redirect`: a click is answered with its destination, byte for byte, and is in the stream afterwards
//! - `miss`: a link that is not in memory costs one question, an unknown one next to nothing
//! - `updates`: every change arrives, also when its message was lost
//! - `limits`: what breaks HTTP or takes too much is refused, and nothing else suffers
//! - `corpus`: hundreds of malformed and unusual requests, each with what must come of it
//! - `tls`: the same over TLS: versions, certificates, sessions, floods of handshakes; `tls_client` has the
//!   clients
//! - `http2`: the same over HTTP/2, and its end; `http2_floods` are clients that ask for nothing, frame by frame;
//!   `http2_client` has a well-behaved client and one that writes frames by hand
//! - `domains`: custom domains: whose links they serve, over which certificate, and what proves them
//! - `proxy`: the PROXY protocol: the client is who the load balancer says, and nobody else may say so
//! - `shutdown`: a stop loses no answer and no click
//! - `redis_down`: known links keep working without Redis, also after a restart
//! - `agents`: AI agents that prove who they are
//! - `files`: lists and databases put anew while the edge runs
//! - `admin`: what operators see
//! - `dependencies`: the edge's dependency tree keeps within its budget
//! - `spool_kill`: a process killed while it appends
//! - `ship_cluster`: the same on a Redis Cluster
//! - `ship`: spool to stream and back, through every harm a Redis can come to; `ship_drainer` stands in for
//!   the control plane, `ship_redis` provides the servers, `ship_proxy` the bad lines

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admin;
mod agents;
mod corpus;
mod dependencies;
mod domains;
mod files;
mod harness;
mod http2;
mod http2_client;
mod http2_floods;
mod limits;
mod miss;
mod proxy;
mod redirect;
mod redis_down;
mod ship;
mod ship_cluster;
mod ship_drainer;
mod ship_proxy;
mod ship_redis;
mod ship_reports;
mod ship_sentinel;
mod shutdown;
mod spool_kill;
mod tls;
mod tls_client;
mod updates;
