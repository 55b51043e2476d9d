//! The floor: the least a server can do. It waits for the end of a request's head and answers with one
//! constant redirect; it reads neither path nor headers, knows no links and records nothing. What the edge
//! costs beyond it is the price of everything the edge does.

use anyhow::Context;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

const LISTENER: Token = Token(usize::MAX);

/// Settings of `floor`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where it listens.
    #[arg(long)]
    addr: SocketAddr,
    /// Where it redirects to.
    #[arg(long)]
    location: String,
}

/// Serves until it is killed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let reply = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", args.location);
    let mut poll = Poll::new().context("no epoll")?;
    let mut listener = TcpListener::bind(args.addr).context("cannot listen")?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut streams: HashMap<usize, TcpStream> = HashMap::new();
    let mut next = 0;
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error).context("epoll");
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    streams.insert(next, stream);
                    next += 1;
                }
                continue;
            }
            let Some(stream) = streams.get_mut(&event.token().0) else { continue };
            if !answer(stream, reply.as_bytes()) {
                streams.remove(&event.token().0);
            }
        }
    }
}

/// Answers what is there; `false` when the connection is at its end.
fn answer(stream: &mut TcpStream, reply: &[u8]) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            // One request at a time, and none of them is cut: loopback, and less than a packet.
            Ok(read) if !buffer[..read].ends_with(b"\r\n\r\n") => return false,
            Ok(read) => {
                let closes = memchr::memmem::find(&buffer[..read], b"Connection: close").is_some();
                // A full send buffer cannot be: the client waits for each reply.
                if stream.write_all(reply).is_err() || closes {
                    return false;
                }
            }
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
