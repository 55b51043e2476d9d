//! PgBouncer in transaction mode between the API and Postgres: other clients' transactions on the same server
//! connections, nothing left behind on them, and a pooler that dies.

use super::tour;
use crate::harness::{Pooler, System, TestApp};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};
use std::str::FromStr;
use std::time::Duration;

#[tokio::test]
async fn every_documented_example_gives_it_behind_a_pooler_too() {
    let pooler = Pooler::start(2).await;
    let system = System::start_behind(&pooler).await;
    tour::walk(&system).await;
}

#[tokio::test]
async fn many_at_once_share_two_server_connections() {
    let pooler = Pooler::start(2).await;
    let system = System::start_behind(&pooler).await;
    let all = (0..3).map(|nth| {
        let system = &system;
        async move {
            let agent = system.agent(&format!("Agent {nth}")).await;
            for times in 1..=4 {
                agent.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201);
                let wallet = agent.get("/api/wallet").await;
                assert_eq!(
                    wallet.expect(200)["balance"].as_f64(),
                    Some(20.0 * f64::from(times)),
                    "of agent {nth}"
                );
                for list in ["/api/wallet/transactions", "/api/agents/me", "/api/programs", "/api/payouts"] {
                    agent.get(list).await.expect(200);
                }
            }
        }
    });
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn a_transaction_brings_what_a_session_would_have_and_leaves_nothing() {
    let pooler = Pooler::start(1).await;
    let app = TestApp::start_with(|config| {
        let url = pooler.url(config.database_url.expose_secret());
        config.database_pooler_url = Some(url.into());
    })
    .await;
    let settings = "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' '
                        || current_setting('synchronous_commit') || ' ' || current_setting('enable_seqscan') || ' '
                        || current_setting('transaction_read_only') || ' ' || count(*)
                      FROM pg_prepared_statements";
    for _ in 0..3 {
        let mut read = app.app.read().await.unwrap();
        let said: String = sqlx::query_scalar(settings).fetch_one(&mut *read).await.unwrap();
        assert_eq!(said, "10s 5s on off on 1", "the one statement is this one");
        drop(read);
        let mut write = app.app.write().await.unwrap();
        let said: String = sqlx::query_scalar(settings).fetch_one(&mut *write).await.unwrap();
        assert_eq!(said, "10s 5s on on off 1");
    }
    // What somebody else finds on that connection afterwards.
    let url = pooler.url(app.app.config().database_url.expose_secret());
    let options = PgConnectOptions::from_str(&url).unwrap().extra_float_digits(None);
    let mut other = options.connect().await.unwrap();
    let rows =
        sqlx::raw_sql("SELECT current_setting('statement_timeout')").fetch_all(&mut other).await.unwrap();
    assert_eq!(rows[0].get::<String, _>(0), "0");
    other.close().await.unwrap();

    let change = "INSERT INTO links_published (since) VALUES (now())";
    let mut write = app.app.write().await.unwrap();
    sqlx::query(change).execute(&mut *write).await.unwrap();
    drop(write);
    assert_eq!(
        app.count("SELECT count(*) FROM links_published").await,
        0,
        "nobody said that it is to be kept"
    );
    let mut write = app.app.write().await.unwrap();
    sqlx::query(change).execute(&mut *write).await.unwrap();
    write.keep().await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM links_published").await, 1);
    let mut read = app.app.read().await.unwrap();
    let refused = sqlx::query(change).execute(&mut *read).await.unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("25006"));
}

#[tokio::test]
async fn without_its_pooler_the_api_says_503_until_it_is_back() {
    let mut pooler = Pooler::start(2).await;
    let system = System::start_behind(&pooler).await;
    let agent = system.agent("Agent").await;
    agent.get("/api/wallet").await.expect(200);
    pooler.kill().await;
    let reply = agent.get("/api/wallet").await;
    reply.is_error(503, "unavailable");
    pooler.start_again().await;
    let back = async {
        while agent.get("/api/wallet").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("it comes back");
}
