//! Keys of AI agents: fetched from their directories, published for the edges.

use crate::harness::TestApp;
use axum::Router;
use axum::routing::get;
use chrono::TimeDelta;
use control_plane::features::signers::ops::job;
use http::{HeaderMap, StatusCode};
use redis::AsyncCommands;
use shared::agent_keys;
use std::sync::{Arc, Mutex};

const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#;
const RSA: &str = r#"{"kty":"RSA","e":"AQAB","n":"AQAB"}"#;
const ED25519_ID: &str = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";

/// What the directory answers, and how often it was asked.
#[derive(Default)]
struct Directory {
    status: u16,
    body: String,
    asked: u32,
}

/// An agent's own site, with a directory that says what the test wants.
async fn site() -> (String, Arc<Mutex<Directory>>) {
    let said = Arc::new(Mutex::new(Directory { status: 200, ..Directory::default() }));
    let directory = Arc::clone(&said);
    let answer = move |headers: HeaderMap| {
        let directory = Arc::clone(&directory);
        async move {
            assert_eq!(headers["accept"], "application/http-message-signatures-directory+json");
            let mut directory = directory.lock().unwrap();
            directory.asked += 1;
            (StatusCode::from_u16(directory.status).unwrap(), directory.body.clone())
        }
    };
    let routes = Router::new().route("/.well-known/http-message-signatures-directory", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (origin, said)
}

async fn published(app: &TestApp) -> Option<Vec<String>> {
    let mut redis = app.app.redis().get().await.unwrap();
    let text: Option<String> = redis.get(app.app.keys().agent_keys()).await.unwrap();
    text.map(|text| agent_keys::read(text.as_bytes()).unwrap().into_iter().map(|key| key.id).collect())
}

#[tokio::test]
async fn directories_are_fetched_by_the_hour_and_published_always() {
    let (origin, said) = site().await;
    let app = TestApp::start_with(|config| config.agent_directories = vec![origin]).await;
    let say = |status: u16, body: String| {
        let mut said = said.lock().unwrap();
        (said.status, said.body) = (status, body);
    };
    let asked = || said.lock().unwrap().asked;
    let turn = async || job(app.app.clone()).await.unwrap();
    say(200, format!(r#"{{"keys":[{RSA},{ED25519}]}}"#));
    turn().await;
    let ours = vec![ED25519_ID.to_owned()];
    assert_eq!((published(&app).await, asked()), (Some(ours.clone()), 1));
    // A Redis that forgot them gets them back without another fetch.
    app.flush_redis().await;
    turn().await;
    assert_eq!((published(&app).await, asked()), (Some(ours.clone()), 1));
    // Whatever it answers, the keys before stay, and it is asked again after a minute.
    let long = format!(r#"{{"keys":[],"pad":"{}"}}"#, "x".repeat(agent_keys::LEN_MAX));
    for (failures, (status, body)) in
        [(500, "oops".to_owned()), (302, String::new()), (200, "<html>".to_owned()), (200, long)]
            .into_iter()
            .enumerate()
    {
        app.clock.advance(if failures == 0 { TimeDelta::hours(1) } else { TimeDelta::minutes(1) });
        say(status, body);
        turn().await;
        turn().await;
        assert_eq!((published(&app).await, asked()), (Some(ours.clone()), 2 + failures as u32), "{status}");
        assert_eq!(app.count("SELECT count(*) FROM agent_directories WHERE failure IS NOT NULL").await, 1);
    }
    app.clock.advance(TimeDelta::days(7));
    turn().await;
    assert_eq!(published(&app).await, Some(Vec::new()), "an origin that is gone is not believed for ever");
    app.clock.advance(TimeDelta::minutes(1));
    say(200, format!(r#"{{"keys":[{ED25519}]}}"#));
    turn().await;
    assert_eq!(published(&app).await, Some(ours));
    app.clock.advance(TimeDelta::hours(1));
    say(200, r#"{"keys":[]}"#.to_owned());
    turn().await;
    assert_eq!(published(&app).await, Some(Vec::new()), "a key that is taken back is gone");
}

#[tokio::test]
async fn private_addresses_are_not_called_and_no_directories_mean_no_work() {
    let (origin, said) = site().await;
    let app = TestApp::start_with(|config| {
        config.agent_directories = vec![origin];
        config.egress_allow = Vec::new();
    })
    .await;
    job(app.app.clone()).await.unwrap();
    assert_eq!((published(&app).await, said.lock().unwrap().asked), (Some(Vec::new()), 0));
    let app = TestApp::start().await;
    job(app.app.clone()).await.unwrap();
    assert_eq!(published(&app).await, None);
}
