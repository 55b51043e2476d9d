//! `kill -9` between a request's effect and its answer: with an `Idempotency-Key` the repeat happens once.

use crate::harness::{Client, Process, Site};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The advisory lock that holds a request up.
const GATE: i64 = 77;

/// Requests that wait at the gate.
const WAITING: &str =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1::BIGINT::OID
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
/// Answers stored, over how many are waited for.
const STORED: &str = "SELECT count(*) / $1 FROM idempotency_keys WHERE status IS NOT NULL";
/// 1 when nobody else is connected.
const GONE: &str = "SELECT 1 - least(count(*), 1) + $1
       FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// A request that moves money or makes something.
struct Post {
    who: Client,
    path: String,
    body: Value,
    /// The status of the answer.
    status: u16,
}

/// Two sides of a program, with a sale that can be paid out and one that can be refunded; what to send.
async fn posts(running: &Process) -> Vec<Post> {
    let (advertiser, affiliate) =
        (Site::agent(running, "Advertiser").await, Site::agent(running, "Affiliate").await);
    let text =
        |value: &Value, name: &str| value[name].as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
    let program = json!({"name": "My SaaS", "commission_type": "percentage", "commission_value": 20, "approval_mode": "auto"});
    let program = text(advertiser.post("/api/programs", program).await.expect(201), "id");
    let joined = affiliate.post(&format!("/api/network/join/{program}"), json!({})).await;
    let links = format!("/api/partnerships/{}/links", text(joined.expect(201), "id"));
    let link = json!({"destination_url": "https://example.com/"});
    let token = text(affiliate.post(&links, link.clone()).await.expect(201), "token");
    let sale = |order: &str| json!({"tracking_token": token, "event_type": "sale", "revenue_amount": 50, "external_id": order});
    let first = text(advertiser.post("/api/conversions/track", sale("first")).await.expect(201), "id");
    let approved = json!({"status": "approved"});
    advertiser.patch(&format!("/api/conversions/{first}"), approved).await.expect(200);
    let second = text(advertiser.post("/api/conversions/track", sale("second")).await.expect(201), "id");
    advertiser.post("/api/wallet/topup", json!({"amount": 50})).await.expect(201);
    let nobody = Site::client(running, None);
    let post = |who: &Client, path: &str, body: Value, status| Post {
        who: who.clone(),
        path: path.to_owned(),
        body,
        status,
    };
    vec![
        post(&nobody, "/api/auth/signup", json!({"name": "New"}), 201),
        post(&advertiser, "/api/wallet/topup", json!({"amount": 20}), 201),
        post(&advertiser, "/api/conversions/track", sale("third"), 201),
        post(&affiliate, "/api/conversions/track-click", json!({"tracking_token": token}), 201),
        post(&advertiser, &format!("/api/conversions/{second}/refunds"), json!({"amount": 10}), 201),
        post(&advertiser, "/api/payouts/process", json!({"program_id": program}), 201),
        post(&affiliate, "/api/subscription/pro", json!({}), 201),
        post(&affiliate, &links, link, 201),
    ]
}

/// How many of everything there are.
async fn counts(conn: &mut PgConnection) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT ARRAY[(SELECT count(*) FROM agents), (SELECT count(*) FROM api_keys), (SELECT count(*) FROM topups),
                      (SELECT count(*) FROM conversions), (SELECT count(*) FROM commissions), (SELECT count(*) FROM clicks),
                      (SELECT count(*) FROM refunds), (SELECT count(*) FROM payouts), (SELECT count(*) FROM subscriptions),
                      (SELECT count(*) FROM links), (SELECT count(*) FROM ledger_transfers), (SELECT count(*) FROM idempotency_keys)]",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

async fn until(conn: &mut PgConnection, what: &str, sql: &'static str, value: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now: i64 = sqlx::query_scalar(sql).bind(value).fetch_one(&mut *conn).await.unwrap();
        if now > 0 {
            return;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        tokio::task::yield_now().await;
    }
}

/// Waits until Postgres has ended every connection of the killed program.
async fn until_gone(conn: &mut PgConnection) {
    until(conn, "the killed program's connections are gone", GONE, 0).await;
}

fn again(running: &Process, post: &Post) -> Client {
    let key = if post.path == "/api/auth/signup" { None } else { Some(post.who.key()) };
    Site::client(running, key)
}

async fn send(client: &Client, post: &Post, key: &str) -> crate::harness::Reply {
    client.send(client.request("POST", &post.path).header("idempotency-key", key).json(&post.body)).await
}

#[tokio::test]
async fn killed_before_the_commit_nothing_happened_and_the_repeat_happens_once() {
    let site = Site::new().await;
    let mut running = site.start("serve", "http://127.0.0.1:1").await;
    let posts = posts(&running).await;
    let mut conn = PgConnection::connect(&site.database_url()).await.unwrap();
    for statement in [
        "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END $$",
        // The answer is stored last: everything else has been done when the gate is reached.
        "CREATE TRIGGER gate AFTER UPDATE ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION gate()",
    ] {
        sqlx::query(statement).execute(&mut conn).await.unwrap();
    }
    for (number, post) in posts.iter().enumerate() {
        let key = format!("crash {number}");
        let before = counts(&mut conn).await;
        sqlx::query("SELECT pg_advisory_lock($1)").bind(GATE).execute(&mut conn).await.unwrap();
        let client = again(&running, post);
        let request = client.request("POST", &post.path).header("idempotency-key", &key).json(&post.body);
        let sent = tokio::spawn(request.send());
        until(&mut conn, "the request reaches its end", WAITING, GATE).await;
        running.kill().await;
        assert!(sent.await.unwrap().is_err(), "{} was answered", post.path);
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(GATE).execute(&mut conn).await.unwrap();
        until_gone(&mut conn).await;
        assert_eq!(counts(&mut conn).await, before, "{} left something behind", post.path);
        running = site.start("serve", "http://127.0.0.1:1").await;
        let client = again(&running, post);
        let reply = send(&client, post, &key).await;
        reply.expect(post.status);
        assert!(!reply.headers.contains_key("idempotent-replayed"), "{}: {reply}", post.path);
        let after = counts(&mut conn).await;
        assert_ne!(after, before, "{}", post.path);
        let repeat = send(&client, post, &key).await;
        assert_eq!(
            (&repeat.text, &repeat.headers["idempotent-replayed"]),
            (&reply.text, &"true".parse().unwrap())
        );
        assert_eq!(counts(&mut conn).await, after, "{} happened twice", post.path);
    }
}

#[tokio::test]
async fn killed_after_the_commit_the_repeat_gets_the_answer_that_was_lost() {
    let site = Site::new().await;
    let mut running = site.start("serve", "http://127.0.0.1:1").await;
    let posts = posts(&running).await;
    let mut conn = PgConnection::connect(&site.database_url()).await.unwrap();
    for (number, post) in posts.iter().enumerate() {
        let key = format!("lost {number}");
        let body = post.body.to_string();
        let auth = match post.path.as_str() {
            "/api/auth/signup" => String::new(),
            _ => format!("authorization: Bearer {}\r\n", post.who.key()),
        };
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\n{auth}idempotency-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            post.path,
            body.len(),
        );
        let mut stream = TcpStream::connect(running.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // Committed, and nobody has read a byte of the answer.
        until(&mut conn, "the answer is stored", STORED, number as i64 + 1).await;
        running.kill().await;
        drop(stream);
        until_gone(&mut conn).await;
        let after = counts(&mut conn).await;
        running = site.start("serve", "http://127.0.0.1:1").await;
        let reply = send(&again(&running, post), post, &key).await;
        reply.expect(post.status);
        assert_eq!(reply.headers["idempotent-replayed"], "true", "{}", post.path);
        assert_eq!(counts(&mut conn).await, after, "{} happened twice", post.path);
    }
}
