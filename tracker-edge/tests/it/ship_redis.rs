//! Redis for tests of shipping: the shared one under a prefix of the test's own, or a private one to harm.

use shared::keys::Keys;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything in these tests may take: generous, for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The shared Redis.
#[expect(clippy::disallowed_methods, reason = "tests are told where the servers are by the environment")]
pub(crate) fn shared_url() -> String {
    std::env::var("AOS_TEST_REDIS_URL").expect("AOS_TEST_REDIS_URL is not set: run `cargo xtask test`")
}

/// Key names nobody else uses.
pub(crate) fn keys() -> Keys {
    Keys::new(format!("ship-{:016x}:", getrandom::u64().unwrap()))
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A Redis of one's own.
pub(crate) struct PrivateRedis {
    port: u16,
    dir: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl PrivateRedis {
    pub(crate) fn start(args: &[&str]) -> Self {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        // A cluster node listens 10,000 higher as well.
        let port = std::iter::repeat_with(free).find(|port| *port < 55_000).unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut redis = Self { port, dir: TempDir::new().unwrap(), args, child: None };
        redis.start_again();
        redis
    }

    /// Starts it, empty unless it was told to save.
    pub(crate) fn start_again(&mut self) {
        let child = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(self.dir.path())
            .args(&self.args)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < until, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// A number Redis keeps about itself: errors by kind, calls by command.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let redis::Value::BulkString(info) = self.command(&["INFO", "everything"]).await else {
            panic!("INFO answers text")
        };
        let info = String::from_utf8(info).unwrap();
        let Some(rest) = info.lines().find_map(|line| line.strip_prefix(name)) else { return 0 };
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    /// One command, on a connection of its own.
    pub(crate) async fn command(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut conn = client.get_multiplexed_async_connection().await.unwrap();
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        cmd.query_async(&mut conn).await.unwrap()
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
