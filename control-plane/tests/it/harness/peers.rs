//! Programs of others that tests run: Python, Node.js, bash; and code taken from the served guides.

use super::{TestApp, setting};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where `cargo xtask peers` has put them.
pub(crate) fn peers() -> PathBuf {
    PathBuf::from(setting("AOS_TEST_PEERS"))
}

/// A script of ours for them, such as `slat/run.py`.
pub(crate) fn script(path: &str) -> PathBuf {
    peers().join(path)
}

/// A folder of the test's own in which their packages are found.
pub(crate) fn workshop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(peers().join("node_modules"), folder.path().join("node_modules")).unwrap();
    folder
}

/// One of their programs, by its name, or a program of the system. Killed with the test.
pub(crate) fn program(name: &str) -> Command {
    let installed = [peers().join(".venv/bin"), peers().join("node_modules/.bin")];
    let path =
        std::env::join_paths(installed.into_iter().chain(["/usr/bin", "/bin"].map(Into::into))).unwrap();
    let mut command = Command::new(name);
    command.env("PATH", path).env("NO_PROXY", "*").env("no_proxy", "*").kill_on_drop(true);
    command
}

/// What runs a file, by its name.
fn interpreter(file: &Path) -> PathBuf {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("py") => peers().join(".venv/bin/python"),
        Some("mjs") => super::providers::node().into(),
        _ => PathBuf::from("bash"),
    }
}

fn command(file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(interpreter(file));
    // Everything is on this machine, whatever proxies it is told to use.
    command.arg(file).args(arguments).env("NO_PROXY", "*").env("no_proxy", "*").kill_on_drop(true);
    command
}

/// Runs a file to its end with this input; gives what it printed.
pub(crate) async fn run(file: &Path, arguments: &[&str], input: &str) -> String {
    run_within(PATIENCE, file, arguments, input).await
}

/// The same for what takes longer.
pub(crate) async fn run_within(patience: Duration, file: &Path, arguments: &[&str], input: &str) -> String {
    let mut command = command(file, arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} cannot run: {error}", file.display()));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let done = tokio::time::timeout(patience, child.wait_with_output()).await.expect("it ends").unwrap();
    // One that does not read its input has closed it.
    writing.await.unwrap().ok();
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{} failed: {out}{err}", file.display());
    out
}

/// A program that runs beside the test and prints lines.
pub(crate) struct Companion {
    _child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Companion {
    pub(crate) fn start(file: &Path, env: &[(&str, &str)]) -> Self {
        let mut child = command(file, &[])
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Access logs and the like are read by nobody.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// The next line it prints.
    pub(crate) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("it prints a line");
        line.unwrap().expect("it still runs")
    }
}

/// The code of a guide, taken from the page as it is served.
pub(crate) async fn code_of(app: &TestApp, page: &str, file: &str) -> String {
    let page = app.anyone().get(page).await;
    assert_eq!(page.status, 200);
    let (_, rest) = page
        .text
        .split_once(&format!("<pre data-file=\"{file}\" tabindex=\"0\"><code"))
        .expect("the page shows it");
    let (_, rest) = rest.split_once('>').unwrap();
    let (code, _) = rest.split_once("</code></pre>").unwrap();
    let code = code.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    format!("{code}\n")
}

/// The same, written where it can run; `folder` is from [`workshop`].
pub(crate) async fn file_of(app: &TestApp, page: &str, file: &str, folder: &Path) -> PathBuf {
    let path = folder.join(file.rsplit('/').next().unwrap());
    std::fs::write(&path, code_of(app, page, file).await).unwrap();
    path
}
