//! Clients of HTTP/2: one that behaves, and one that writes what frames it likes.

use crate::harness::{Reply, SOON};
use crate::tls::{HOST, Tls};
use crate::tls_client::{Client, TlsStream};
use bytes::Bytes;
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::{Method, Request};
use rustls::client::Resumption;
use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// A connection of a client that behaves.
pub(crate) struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    driver: Option<JoinHandle<Result<(), h2::Error>>>,
}

/// A request to [`HOST`].
pub(crate) fn request(method: Method, path: &str) -> Request<()> {
    request_to(method, HOST, path)
}

pub(crate) fn request_to(method: Method, host: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://{host}{path}")).body(()).unwrap()
}

impl Http2 {
    pub(crate) fn connect(tls: &Tls) -> Self {
        Self::connect_as(&tls.client(), tls.addr(), HOST, &[])
    }

    /// Asks for this name, after sending `before` in the clear.
    pub(crate) fn connect_as(client: &Client, addr: SocketAddr, name: &str, before: &[u8]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = Client { alpn: vec![b"h2".to_vec()], ..client.clone() }.config(Resumption::disabled());
        let name = name.to_owned().try_into().unwrap();
        let (sender, driver) = runtime.block_on(async {
            let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
            socket.write_all(before).await.unwrap();
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            (sender, tokio::spawn(connection))
        });
        Self { runtime, sender, driver: Some(driver) }
    }

    fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(SOON, what).await.expect("in time") })
    }

    /// Sends a request, with a body or without; the answer is waited for later.
    pub(crate) fn send(
        &mut self,
        request: Request<()>,
        body: Option<&str>,
    ) -> Result<ResponseFuture, h2::Error> {
        let sender = self.sender.clone();
        self.wait(async move {
            let mut sender = sender.ready().await?;
            let (answer, mut stream) = sender.send_request(request, body.is_none())?;
            if let Some(body) = body {
                stream.send_data(Bytes::from(body.to_owned()), true)?;
            }
            // The connection's task writes it.
            tokio::task::yield_now().await;
            Ok(answer)
        })
    }

    pub(crate) fn answer(&self, answer: ResponseFuture) -> Result<Reply, h2::Error> {
        self.wait(read(answer))
    }

    pub(crate) fn ask(&mut self, request: Request<()>) -> Result<Reply, h2::Error> {
        let answer = self.send(request, None)?;
        self.answer(answer)
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.ask(request(Method::GET, path)).unwrap()
    }

    /// All of them at once.
    pub(crate) fn all(&mut self, requests: Vec<Request<()>>) -> Vec<Result<Reply, h2::Error>> {
        let sender = self.sender.clone();
        self.wait(async move {
            let asked: Vec<_> = requests
                .into_iter()
                .map(|request| {
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        let (answer, _) = sender.ready().await?.send_request(request, true)?;
                        read(answer).await
                    })
                })
                .collect();
            let mut replies = Vec::new();
            for asked in asked {
                replies.push(asked.await.unwrap());
            }
            replies
        })
    }

    /// How the connection ends, within the time.
    pub(crate) fn ended_within(&mut self, time: Duration) -> Result<(), h2::Error> {
        let driver = self.driver.take().unwrap();
        self.runtime.block_on(async { tokio::time::timeout(time, driver).await.expect("it ends") }).unwrap()
    }

    /// Whether it ends with a GOAWAY that blames nobody.
    pub(crate) fn ended_well(&mut self) -> bool {
        match self.ended_within(SOON) {
            Ok(()) => true,
            Err(error) => error.is_go_away() && error.reason() == Some(Reason::NO_ERROR),
        }
    }
}

async fn read(answer: ResponseFuture) -> Result<Reply, h2::Error> {
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend(part);
    }
    // As the other clients of these tests show it.
    let mut text = format!("HTTP/2 {}", head.status.as_u16());
    for (name, value) in &head.headers {
        text += &format!("\r\n{name}: {}", value.to_str().unwrap());
    }
    Ok(Reply { status: head.status.as_u16(), head: text, body: String::from_utf8(bytes).unwrap() })
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Its bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A text of a header block.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut out = Vec::new();
    if length < 127 {
        out.push(length as u8);
    } else {
        out.push(127);
        length -= 127;
        while length >= 128 {
            out.push((length % 128) as u8 | 128);
            length /= 128;
        }
        out.push(length as u8);
    }
    [out, bytes.to_vec()].concat()
}

/// A header field that goes into no table.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name.as_bytes()), text(value.as_bytes())].concat()
}

/// The header block of a request, with more fields after.
pub(crate) fn block(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block =
        [field(":method", method), vec![0x87], field(":authority", HOST), field(":path", path)].concat();
    for (name, value) in more {
        block.extend(field(name, value));
    }
    block
}

/// A GET in one frame.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block("GET", path, &[]))
}

/// A connection of a client that writes what it likes.
pub(crate) struct Raw {
    pub(crate) stream: TlsStream,
    read: Vec<u8>,
}

impl Raw {
    /// Connects, with these settings.
    pub(crate) fn connect(tls: &Tls, settings: &[u8]) -> Self {
        Self::connect_as(&tls.client(), tls.addr(), settings)
    }

    pub(crate) fn connect_as(client: &Client, addr: SocketAddr, settings: &[u8]) -> Self {
        let client = Client { alpn: vec![b"h2".to_vec()], ..client.clone() };
        let stream = client.connect(addr, HOST).unwrap();
        let mut raw = Self { stream, read: Vec::new() };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        raw.write(&[preface, frame(SETTINGS, 0, 0, settings), frame(SETTINGS, ACK, 0, &[])].concat());
        raw
    }

    /// Writes, unless the other side has closed.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).and_then(|()| self.stream.flush()));
    }

    /// The next frame, unless the connection ends before it.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.read.split_at_checked(9) {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if let Some(payload) = rest.get(..length) {
                    let frame = Frame {
                        kind: head[3],
                        flags: head[4],
                        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                        payload: payload.to_vec(),
                    };
                    self.read.drain(..9 + length);
                    return Some(frame);
                }
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more) {
                Ok(read @ 1..) => self.read.extend_from_slice(&more[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing comes"),
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// Reads until a frame of this kind comes on this stream; what came before it is left out.
    pub(crate) fn until(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.kind == kind && frame.stream == stream)
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Why a connection was ended, if its last words say so.
pub(crate) fn reason(frames: &[Frame]) -> Option<Reason> {
    let last = frames.iter().rfind(|frame| frame.kind == GOAWAY)?;
    Some(Reason::from(u32::from_be_bytes(last.payload[4..8].try_into().unwrap())))
}
