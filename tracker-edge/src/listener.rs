//! Listening sockets, and the loop that accepts connections.
//!
//! The loop ends only when told to. A failed accept is counted; when the machine is out of file
//! descriptors or memory it pauses instead of spinning. At the connection limit it stops accepting, and
//! newcomers wait in the kernel's backlog until someone leaves.
//!
//! A service manager may hold the sockets and hand them over ([`inherited`]). Then an old and a new process
//! can take turns at them, and a restart refuses nobody: sockets of our own would take with them whoever
//! waited in their backlog when they close.

use crate::connections::{Guard, Phase};
use crate::runtime::Worker;
use crate::socket::Watched;
use crate::{fast, http, proxy_protocol, tls};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::FromRawFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Connections the kernel holds for us before it refuses more.
const BACKLOG: i32 = 4096;
/// A peer that takes nothing of what we sent for this long is given up. hyper has no such limit.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// What the kernel holds for a peer that reads nothing, twice over. Left to itself it would hold megabytes, and
/// the answers to twenty thousand requests. Hundreds of redirects may be under way all the same.
const SEND_BUFFER: usize = 64 * 1024;
/// Pause after an accept that failed for want of something. Long enough not to spin, short enough to
/// take up within a second.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Opens a listening socket. With `shared`, several sockets of this process take turns at one address.
pub(crate) fn bind(addr: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit all three, which saves system calls per connection.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The first descriptor a service manager hands over.
const FIRST_INHERITED: i32 = 3;

/// What a listening socket speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    /// Plain HTTP.
    Http,
    /// TLS.
    Https,
}

/// Listening sockets, one per worker and kind.
#[derive(Default)]
pub(crate) struct Listeners {
    pub(crate) http: Vec<StdListener>,
    /// Empty without TLS.
    pub(crate) https: Vec<StdListener>,
}

/// One socket per worker and kind, taken in turn from those this process was started with.
#[expect(unsafe_code, reason = "a descriptor by its number is only had this way")]
pub(crate) fn inherited(handed: &[Speaks], workers: usize) -> io::Result<Listeners> {
    let mut sockets = Vec::with_capacity(handed.len());
    for (number, speaks) in (FIRST_INHERITED..).zip(handed) {
        // SAFETY: the service manager opened these for this process and nothing else has them; this runs once,
        // at the start. A number that is no socket fails at the first call below.
        let socket = unsafe { StdListener::from_raw_fd(number) };
        let set = SockRef::from(&socket);
        // Accepted sockets inherit all three.
        set.set_send_buffer_size(SEND_BUFFER)?;
        set.set_tcp_nodelay(true)?;
        set.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        set.set_nonblocking(true)?;
        sockets.push((*speaks, socket));
    }
    let of = |kind| {
        let sockets = sockets.iter().filter(|(speaks, _)| *speaks == kind).map(|(_, socket)| socket);
        sockets.cycle().take(workers).map(StdListener::try_clone).collect::<io::Result<_>>()
    };
    Ok(Listeners { http: of(Speaks::Http)?, https: of(Speaks::Https)? })
}

/// Accepts connections until the worker stops.
pub(crate) async fn accept(listener: TcpListener, speaks: Speaks, worker: Rc<Worker>) {
    let mut stopping = std::pin::pin!(worker.stop_accepting.cancelled());
    loop {
        while worker.connections.is_full() {
            tokio::select! {
                biased;
                () = &mut stopping => return,
                () = worker.connections.left() => {}
            }
        }
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((stream, peer)) => admit(&worker, stream, peer, speaks),
            Err(error) => {
                worker.counters.accept_errors.add();
                if is_exhausted(&error) {
                    tracing::warn!(%error, "cannot accept connections right now");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
    // What has already connected is served: closing the socket would reset it.
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
        admit(&worker, stream, peer, speaks);
    }
}

fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, speaks: Speaks) {
    worker.counters.accepted.add();
    let address = peer.ip().to_canonical();
    let addresses = &worker.edge.addresses;
    if addresses.announces(address) {
        let guard = worker.connections.enter();
        tokio::task::spawn_local(announced(Rc::clone(worker), stream, address, guard, speaks));
        return;
    }
    let Some(place) = addresses.enter(address) else {
        worker.counters.over_limit.add();
        worker.counters.closed.add();
        return;
    };
    let guard = worker.connections.enter();
    match speaks {
        Speaks::Http => http::serve(worker, stream, address, guard, place),
        Speaks::Https => {
            tokio::task::spawn_local(tls::serve(Rc::clone(worker), stream, address, guard, place));
        }
    }
}

/// Serves a connection of a load balancer, which says first who the client is. It has as long for that as for a
/// request; the client's address is the one that counts from there on.
async fn announced(worker: Rc<Worker>, mut stream: TcpStream, peer: IpAddr, guard: Guard, speaks: Speaks) {
    let Some(read) = guard.connection.unless_closed(read_announcement(&mut stream)).await else { return };
    let Ok(client) = read else { return worker.counters.proxy_refused.add() };
    let place = match client {
        Some(client) => worker.edge.addresses.enter(client),
        None => Some(worker.edge.addresses.unlimited()),
    };
    let Some(place) = place else { return worker.counters.over_limit.add() };
    let client = client.unwrap_or(peer);
    guard.connection.enter(Phase::Request);
    match speaks {
        Speaks::Http => {
            if worker.edge.fast_path {
                return fast::serve(worker, stream, client, guard, place).await;
            }
            let stream = Watched::new(stream, Rc::clone(&guard.connection));
            http::run(http::connection(&worker, stream, client, &guard), guard, place).await;
        }
        Speaks::Https => tls::serve(worker, stream, client, guard, place).await,
    }
}

/// Reads the header and not a byte more.
async fn read_announcement(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let refused = |_| io::Error::from(io::ErrorKind::InvalidData);
    let mut fixed = [0; proxy_protocol::FIXED_LEN];
    stream.read_exact(&mut fixed).await?;
    let mut header = fixed.to_vec();
    header.resize(fixed.len() + proxy_protocol::rest_len(&fixed).map_err(refused)?, 0);
    stream.read_exact(header.get_mut(fixed.len()..).unwrap_or_default()).await?;
    proxy_protocol::client(&header).map_err(refused)
}

/// Whether an accept failed for want of something that comes back.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream as StdStream;

    #[test]
    fn accepted_sockets_inherit_what_the_listener_was_set_to() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = Socket::from(accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        // The kernel doubles what it is told.
        assert_eq!(accepted.send_buffer_size().unwrap(), 2 * SEND_BUFFER);
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }
}
