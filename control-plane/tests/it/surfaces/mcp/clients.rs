//! The official clients against `/mcp` and the stdio server: what they list, and every tool called.

use crate::harness::{TestApp, providers};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Interpreters are slow on a busy machine, and a tour is two hundred calls.
const PATIENCE: Duration = Duration::from_mins(4);
const BRIDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/mcp-server/index.mjs");

/// Runs a program to its end; gives its output.
pub(super) async fn run(program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(providers::path("")).stdin(Stdio::null()).kill_on_drop(true);
    // Everything is on this machine, whatever proxies it is told to use.
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    let done = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{args:?}: {out}\n{err}");
    out.into_owned()
}

fn last_line(out: &str) -> Value {
    let line = out.trim_end().lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {out}"))
}

/// How many tools there are.
async fn tools(app: &TestApp) -> usize {
    let reply = super::rpc(&app.anyone(), "tools/list", json!({})).await;
    reply["result"]["tools"].as_array().unwrap().len()
}

pub(super) fn peer(path: &str) -> String {
    providers::path(path).to_str().expect("a path of UTF-8").to_owned()
}

/// The agent without a model, with the official client for Python.
async fn tour(transport: &str, mode: &str) -> Value {
    let app = TestApp::start().await;
    let (python, script, node) = (peer(".venv/bin/python"), peer("mcp/tour.py"), providers::node());
    let walked = run(&python, &[&script, transport, app.origin(), mode, BRIDGE, &node]).await;
    let walked = last_line(&walked);
    assert_eq!(walked["tools"], tools(&app).await, "every tool was called");
    assert!(walked["way"].as_array().unwrap().len() >= 15, "{walked}");
    let (paid, back): (i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(amount_micros) FILTER (WHERE NOT reversal AND status = 'paid'), 0)::BIGINT,
                coalesce(sum(amount_micros) FILTER (WHERE reversal), 0)::BIGINT
           FROM commissions",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap();
    assert_eq!((paid, back), (19_800_000, -9_900_000), "earned and paid, and half of it taken back");
    app.audit().await;
    walked
}

#[tokio::test]
async fn an_agent_that_knows_the_tools_alone_is_paid_over_http() {
    println!("tour over HTTP: {}", tour("http", "auto").await);
}

#[tokio::test]
async fn an_agent_that_knows_the_tools_alone_is_paid_over_http_of_older_versions() {
    println!("tour over HTTP, older versions: {}", tour("http", "legacy").await);
}

#[tokio::test]
async fn an_agent_that_knows_the_tools_alone_is_paid_over_stdio() {
    println!("tour over stdio: {}", tour("stdio", "auto").await);
}

/// Runs a client that lists every tool and calls each, over both ways at once, with an account for each.
async fn call_every_tool(script: &str) {
    let app = TestApp::start().await;
    let (node, script) = (providers::node(), peer(script));
    let over = async |transport: &str| {
        let agent = app.agent(&format!("Caller over {transport}")).await;
        let said = last_line(&run(&node, &[&script, transport, app.origin(), agent.key(), BRIDGE]).await);
        (said["tools"].clone(), said["called"].clone())
    };
    let (http, stdio) = tokio::join!(over("http"), over("stdio"));
    let all = Value::from(tools(&app).await);
    assert_eq!(http, (all.clone(), all.clone()), "listed and called over HTTP");
    assert_eq!(stdio, (all.clone(), all), "listed and called over stdio");
    app.audit().await;
}

#[tokio::test]
async fn the_typescript_client_lists_and_calls_every_tool_over_both_ways() {
    call_every_tool("mcp/client.mjs").await;
}

#[tokio::test]
async fn the_inspector_lists_and_calls_every_tool_over_both_ways() {
    call_every_tool("mcp/inspector.mjs").await;
}
