//! An edge of one's own per test: port 0, a spool folder and a Redis prefix nobody else has.

use crate::ship_redis::shared_url;
use redis::Commands;
use shared::keys::{CLICK_SHARDS_DEFAULT, Keys, Watermark, shard_of};
use shared::{ClassSet, Click, Clock, LinkKey, LinkRecord, LinkStatus, Secret, SystemClock, TokenKey, frame};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tracker_edge::Edge;
use tracker_edge::config::{Config, Flags};
use uuid::Uuid;

/// Longest wait for something that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(10);
pub(crate) const SECRET: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// Waits until a condition holds; panics with `what` when it does not soon.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A Redis prefix of one's own, and what a control plane would write under it.
pub(crate) struct Publisher {
    pub(crate) keys: Keys,
    pub(crate) prefix: String,
    client: redis::Client,
}

impl Publisher {
    pub(crate) fn new(redis_url: &str) -> Self {
        let prefix = format!("test:{:016x}:", getrandom::u64().unwrap());
        let client = redis::Client::open(redis_url).unwrap();
        Self { keys: Keys::new(prefix.clone()), prefix, client }
    }

    pub(crate) fn connection(&self) -> redis::Connection {
        self.connect().unwrap()
    }

    /// A connection on which nothing is waited for in vain: a test that fails while its Redis is stopped ends.
    fn connect(&self) -> redis::RedisResult<redis::Connection> {
        let connection = self.client.get_connection_with_timeout(SOON)?;
        connection.set_read_timeout(Some(SOON))?;
        connection.set_write_timeout(Some(SOON))?;
        Ok(connection)
    }

    /// Sets the epoch, as a publisher does when it finds none.
    pub(crate) fn set_epoch(&self, epoch: &str) {
        let () = self.connection().set(self.keys.changes_epoch(), epoch).unwrap();
    }

    /// Writes a record's key only, as if its change message were lost.
    pub(crate) fn write(&self, record: &LinkRecord<'_>) {
        let () = self.connection().set(self.keys.link(record.link), record.encode()).unwrap();
    }

    /// Publishes a record as the control plane does: its key, then the change stream.
    pub(crate) fn publish(&self, record: &LinkRecord<'_>) {
        self.write(record);
        let mut connection = self.connection();
        let number: u64 = connection.incr(self.keys.changes_number(), 1).unwrap();
        let () = redis::cmd("XADD")
            .arg(self.keys.changes())
            .arg("*")
            .arg(&[("n", number.to_string().into_bytes()), ("r", record.encode())])
            .query(&mut connection)
            .unwrap();
    }

    /// Takes away everything Redis knows, as `FLUSHALL` does.
    pub(crate) fn empty(&self) {
        let mut connection = self.connection();
        let keys: Vec<String> = connection.keys(format!("{}*", self.prefix)).unwrap();
        let () = connection.del(keys).unwrap();
    }

    /// Says, as a drainer does, that everything in the streams is committed. What is there stays there.
    pub(crate) fn commit(&self) {
        let mut next = BTreeMap::new();
        for (spool, seq) in self.in_streams().into_keys() {
            next.insert(spool, seq + 1);
        }
        let mut connection = self.connection();
        for (spool, next_seq) in next {
            let shard = shard_of(spool, CLICK_SHARDS_DEFAULT);
            let watermark = Watermark { epoch: 1, next_seq }.to_string();
            let () = connection.set(self.keys.watermark(shard, spool), watermark).unwrap();
        }
    }

    /// Every click in the streams, in the order of their spools.
    pub(crate) fn shipped(&self) -> Vec<Shipped> {
        self.in_streams().into_values().collect()
    }

    fn in_streams(&self) -> BTreeMap<(Uuid, u64), Shipped> {
        let mut connection = self.connection();
        let mut shipped = BTreeMap::new();
        for shard in 0..CLICK_SHARDS_DEFAULT {
            let entries: redis::streams::StreamRangeReply = redis::cmd("XRANGE")
                .arg(self.keys.clicks(shard))
                .arg("-")
                .arg("+")
                .query(&mut connection)
                .unwrap();
            for entry in entries.ids {
                let bytes: Vec<u8> = entry.get("f").unwrap();
                let frame = frame::decode(&bytes).unwrap();
                assert_eq!(shard_of(frame.header.spool, CLICK_SHARDS_DEFAULT), shard);
                for (seq, click) in (frame.header.first_seq..).zip(&frame.clicks) {
                    shipped.insert((frame.header.spool, seq), Shipped::of(click));
                }
            }
        }
        shipped
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Leaves nothing behind in the shared Redis; a private one may be gone already.
        if let Ok(mut connection) = self.connect()
            && let Ok(keys) = connection.keys::<_, Vec<String>>(format!("{}*", self.prefix))
            && !keys.is_empty()
        {
            drop(connection.del::<_, ()>(keys));
        }
    }
}

/// A click that reached a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shipped {
    pub(crate) link: LinkKey,
    pub(crate) advertiser: u32,
    pub(crate) visitor: u64,
    pub(crate) class: &'static str,
    pub(crate) billable: bool,
    /// Two letters, or none.
    pub(crate) country: String,
    pub(crate) notes: Vec<(u8, String)>,
}

impl Shipped {
    fn of(click: &Click<'_>) -> Self {
        Self {
            link: click.link,
            advertiser: click.advertiser,
            visitor: click.visitor,
            class: click.class.name(),
            billable: click.billable(),
            country: click
                .country
                .iter()
                .filter(|letter| **letter != 0)
                .map(|&letter| char::from(letter))
                .collect(),
            notes: click
                .notes()
                .map(|(kind, value)| (kind, String::from_utf8(value.to_vec()).unwrap()))
                .collect(),
        }
    }
}

/// An active link to a destination; fields are overridden with struct update.
pub(crate) fn link(key: u64, destination: &str) -> LinkRecord<'_> {
    LinkRecord {
        link: LinkKey(key),
        version: 1,
        status: LinkStatus::Active,
        advertiser: 7,
        program: 8,
        affiliate: 9,
        pay_classes: ClassSet::DEFAULT,
        dedup_seconds: 10,
        click_id_param: "",
        has_macros: destination.contains('{'),
        destination,
    }
}

/// The path of a link's tracking URL.
pub(crate) fn path(key: u64) -> String {
    format!("/api/track/{}", TokenKey::new(&Secret::parse(SECRET).unwrap()).mint(LinkKey(key)))
}

/// An edge in this process, and the Redis prefix it reads.
pub(crate) struct TestEdge {
    pub(crate) publisher: Publisher,
    pub(crate) edge: Edge,
    pub(crate) folder: TempDir,
}

/// Settings for an edge of one's own; `extra` are more flags.
pub(crate) fn config(publisher: &Publisher, redis_url: &str, folder: &TempDir, extra: &[&str]) -> Config {
    let spool = folder.path().join("spool").display().to_string();
    let mut args = vec!["tracker-edge", "--secret", SECRET, "--redis-url", redis_url];
    args.extend(["--redis-prefix", &publisher.prefix, "--spool-dir", &spool, "--threads", "2"]);
    args.extend(["--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--grace-ms", "500"]);
    args.extend(["--spool-segment-mib", "1"]);
    args.extend(extra);
    <Flags as clap::Parser>::parse_from(args).check().unwrap()
}

impl TestEdge {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more flags.
    pub(crate) fn start_with(extra: &[&str]) -> Self {
        let publisher = Publisher::new(&shared_url());
        publisher.set_epoch("first");
        Self::start_on(publisher, &shared_url(), tempfile::tempdir().unwrap(), extra)
    }

    /// On what is there already.
    pub(crate) fn start_on(publisher: Publisher, redis_url: &str, folder: TempDir, extra: &[&str]) -> Self {
        Self::start_at(publisher, redis_url, folder, extra, Arc::new(SystemClock))
    }

    /// With a clock of the test's own.
    pub(crate) fn start_at(
        publisher: Publisher,
        redis_url: &str,
        folder: TempDir,
        extra: &[&str],
        clock: Arc<dyn Clock>,
    ) -> Self {
        let config = config(&publisher, redis_url, &folder, extra);
        let edge = Edge::start(config, clock).unwrap();
        Self { publisher, edge, folder }
    }

    /// Stops the edge and gives back what it stood on.
    pub(crate) fn stop(self) -> (Publisher, TempDir) {
        self.edge.stop();
        assert!(self.edge.join(), "a clean stop");
        (self.publisher, self.folder)
    }

    pub(crate) fn wait_ready(&self) -> &Self {
        eventually("ready", || self.admin("/ready").status == 200);
        self
    }

    /// One GET with browser-like headers on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.get_with(
            path,
            &["User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"],
        )
    }

    /// One GET with these header lines.
    pub(crate) fn get_with(&self, path: &str, headers: &[&str]) -> Reply {
        self.send("GET", path, headers)
    }

    /// One request with these header lines.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        let lines = [&["Host: t.example"], headers, &["Connection: close"]].concat().join("\r\n");
        let request = format!("{method} {path} HTTP/1.1\r\n{lines}\r\n\r\n");
        raw(self.edge.addr(), request.as_bytes())
    }

    /// One GET to the admin listener.
    pub(crate) fn admin(&self, path: &str) -> Reply {
        raw(
            self.edge.admin_addr(),
            format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").as_bytes(),
        )
    }

    /// The value of one metric line, 0 when it is not there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        metric_in(&self.admin("/metrics").body, name)
    }

    /// The clicks in the streams, once there are as many.
    pub(crate) fn shipped(&self, count: usize) -> Vec<Shipped> {
        eventually(&format!("{count} clicks shipped"), || self.publisher.shipped().len() >= count);
        self.publisher.shipped()
    }
}

/// The value of one line of Prometheus text, 0 when it is not there.
pub(crate) fn metric_in(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// The real program, in a process of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Process {
    pub(crate) fn start(publisher: &Publisher, folder: &Path, extra: &[&str]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_tracker-edge")), publisher, folder, extra)
    }

    /// With at most so many file descriptors.
    pub(crate) fn start_limited(files: u32, publisher: &Publisher, folder: &Path, extra: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_tracker-edge")]);
        Self::start_by(shell, publisher, folder, extra)
    }

    fn start_by(mut command: Command, publisher: &Publisher, folder: &Path, extra: &[&str]) -> Self {
        let mut child = command
            .args(["--secret", SECRET, "--redis-url", &shared_url(), "--redis-prefix", &publisher.prefix])
            .args(["--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--threads", "2"])
            .args(["--spool-segment-mib", "1", "--log-format", "json", "--spool-dir"])
            .arg(folder)
            .args(extra)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("serving clicks")));
        let line: serde_json::Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        Self { child, addr: address("addr"), admin: address("admin") }
    }

    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed leaves no process behind.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An answer, read to the end of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// The values of a header, in order.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub(crate) fn location(&self) -> &str {
        self.headers("location").first().copied().unwrap_or_default()
    }
}

/// Sends bytes and reads until the other side closes.
pub(crate) fn raw(addr: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = connect(addr);
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A server that refuses early may reset what it did not read; what came before counts.
    drop(stream.read_to_end(&mut answer));
    parse(&answer)
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads one answer of a connection that stays open.
pub(crate) fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed in the middle of an answer");
        answer.push(byte[0]);
    }
    let head = parse(&answer);
    let length = head.headers("content-length").first().map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Reply { body: String::from_utf8(body).unwrap(), ..head }
}

pub(crate) fn parse(answer: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}
