//! The program itself: its exit codes, its log, and a kill at the worst moment.

use crate::anvil::CHAIN_ID;
use crate::proxy::{Mode, Proxy};
use crate::world::World;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use secrecy::ExposeSecret;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::{Child, Command};

const POLL: Duration = Duration::from_millis(50);
const WAIT_FOR: Duration = Duration::from_secs(30);

fn key(world: &World) -> String {
    alloy::primitives::hex::encode(world.signer.to_bytes())
}

fn program(world: &World, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payouts-evm"));
    command
        .env_clear()
        .env("AOS_DATABASE_URL", world.app.app.config().database_url.expose_secret())
        .env("AOS_ADMIN_ADDR", "127.0.0.1:0")
        .env("AOS_USDC_RPC_URL", url)
        .env("AOS_USDC_CHAIN_ID", CHAIN_ID.to_string())
        .env("AOS_USDC_TOKEN", world.chain.token.to_string())
        .env("AOS_USDC_KEY", key(world))
        .env("AOS_USDC_CONFIRMATIONS", "3")
        .env("AOS_USDC_POLL_MS", "50")
        .env("AOS_LOG", "trace,sqlx=info")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(POLL).await;
        }
    };
    assert!(tokio::time::timeout(WAIT_FOR, waiting).await.is_ok(), "never: {what}");
}

async fn stop(child: Child) -> Output {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let status = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.unwrap();
    assert!(status.success());
    child.wait_with_output().await.unwrap()
}

#[tokio::test]
async fn it_pays_stops_when_asked_and_says_no_secret() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let url = format!("{}?token=n0de-s3cret", world.chain.url());
    let child = program(&world, &url).spawn().unwrap();
    until("it waits", async || world.chain.waiting().await == 1).await;
    world.chain.mine(3).await;
    until("it is paid", async || world.status(&id).await == "paid").await;
    let output = stop(child).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("a payout is paid"), "{said}");
    for secret in [key(&world).as_str(), "n0de-s3cret"] {
        assert!(!said.contains(secret), "the log shows {secret}");
    }
    world.assert_paid_once(&id).await;
}

#[tokio::test]
async fn f70_killed_after_sending_it_pays_once() {
    let world = World::start().await;
    let proxy = Proxy::start(world.chain.addr).await;
    let id = world.ten_dollars().await;
    let mut kills = 0;
    proxy.set(Mode::LoseSendReplies);
    for _ in 0..3 {
        let mut child = program(&world, &proxy.url()).spawn().unwrap();
        let lost = proxy.lost();
        until("a reply is lost", async || proxy.lost() > lost).await;
        child.kill().await.unwrap();
        kills += 1;
        let hashes = world.transfer(&id).await.2;
        // What the node had is gone too: the next process has only what is stored.
        world.chain.drop_transaction(&hashes[0]).await;
    }
    proxy.set(Mode::Pass);
    let child = program(&world, &proxy.url()).spawn().unwrap();
    until("it waits", async || world.chain.waiting().await == 1).await;
    world.chain.mine(3).await;
    until("it is paid", async || world.status(&id).await == "paid").await;
    assert_eq!(stop(child).await.status.code(), Some(0));
    assert_eq!(world.transfer(&id).await.2.len(), 1, "signed once");
    world.assert_paid_once(&id).await;
    println!("F70 kills {kills}, replies lost {}, signed 1, transfers on the chain 1", proxy.lost());
}

#[tokio::test]
async fn settings_that_do_not_fit_the_chain_end_it_with_64() {
    let world = World::start().await;
    let wrong = program(&world, &world.chain.url()).env("AOS_USDC_CHAIN_ID", "1").output().await.unwrap();
    assert_eq!(wrong.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("AOS_USDC_CHAIN_ID: the node is on chain 84532"));
    let none = Command::new(env!("CARGO_BIN_EXE_payouts-evm")).env_clear().output().await.unwrap();
    assert_eq!(none.status.code(), Some(64));
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    for name in
        ["AOS_DATABASE_URL", "AOS_USDC_RPC_URL", "AOS_USDC_CHAIN_ID", "AOS_USDC_TOKEN", "AOS_USDC_KEY"]
    {
        assert!(said.contains(&format!("{name}: required")), "{said}");
    }
    let shown = program(&world, &world.chain.url()).arg("check-config").output().await.unwrap();
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("AOS_USDC_KEY=(of {})", world.signer.address())), "{shown}");
}

/// Where spans can be sent, and the bodies that came.
async fn collector() -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let to = received.clone();
    let take = move |body: axum::body::Bytes| {
        to.lock().unwrap().push(body.to_vec());
        async {}
    };
    let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (endpoint, received)
}

#[tokio::test]
async fn a_transfer_and_the_event_it_leads_to_belong_to_the_turns_that_made_them() {
    let world = World::start().await;
    let (endpoint, received) = collector().await;
    let id = world.ten_dollars().await;
    let url = format!("{}?token=n0de-s3cret", world.chain.url());
    let mut command = program(&world, &url);
    let child = command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).spawn().unwrap();
    until("it waits", async || world.chain.waiting().await == 1).await;
    world.chain.mine(3).await;
    until("it is paid", async || world.status(&id).await == "paid").await;
    assert_eq!(stop(child).await.status.code(), Some(0));

    let bodies = received.lock().unwrap().clone();
    let batches = bodies.iter().map(|body| ExportTraceServiceRequest::decode(&**body).expect("it is OTLP"));
    let batches: Vec<_> = batches.flat_map(|request| request.resource_spans).collect();
    let spans: Vec<Span> =
        batches.into_iter().flat_map(|batch| batch.scope_spans).flat_map(|scope| scope.spans).collect();
    let sent = spans.iter().find(|span| span.name == "eth_sendRawTransaction").expect("the transfer");
    let turn = spans.iter().find(|span| span.span_id == sent.parent_span_id).expect("its turn");
    assert_eq!((turn.name.as_str(), turn.parent_span_id.len()), ("job send usdc payouts", 0));
    // The service in the test is not traced: only the payment's event carries one.
    let of_event =
        "SELECT trace_context FROM events WHERE type = 'payout.processed' AND trace_context IS NOT NULL";
    let carried: String = sqlx::query_scalar(of_event).fetch_one(world.app.app.db_worker()).await.unwrap();
    let trace = carried.split('-').nth(1).expect("it is a traceparent");
    let hex = alloy::primitives::hex::encode::<&[u8]>;
    assert!(spans.iter().any(|span| span.name == turn.name && hex(&span.trace_id) == trace), "{carried}");

    let all = bodies.concat();
    let said = String::from_utf8_lossy(&all);
    assert!(said.contains("payouts-evm"), "what is looked for would be found");
    for secret in [key(&world).as_str(), "n0de-s3cret", "127.0.0.1"] {
        assert!(!said.contains(secret), "{secret} is in a span");
    }
}
