//! What edges are told: every change, in order, also by a Redis that was emptied or lost some.

use super::{activate, changes, publish, record};
use crate::harness::TestApp;
use chrono::TimeDelta;
use control_plane::features::domains::publish as publisher;
use redis::AsyncCommands;

async fn epoch(app: &TestApp) -> Option<String> {
    let mut redis = app.app.redis().get().await.unwrap();
    redis.get(app.app.keys().domains_epoch()).await.unwrap()
}

#[tokio::test]
async fn edges_hear_of_a_domain_its_certificate_and_its_end() {
    let app = TestApp::start().await;
    let owner = app.pro("Owner").await;
    publish(&app).await;
    let first = epoch(&app).await.expect("set with the whole hash, even an empty one");
    let id = activate(&app, &owner, "go.example.com").await;
    publish(&app).await;
    let told = record(&app, "go.example.com").await.unwrap();
    assert_eq!(told.owner, app.number(&owner).await as u32);
    let certificate = told.certificate.as_ref().unwrap();
    assert_eq!((certificate.chain_pem.as_str(), certificate.key_pem.as_str()), ("chain", "key"));
    assert!(!told.removed);
    publish(&app).await;
    assert_eq!(changes(&app).await, ["go.example.com"], "nothing changed since");
    owner.delete(&format!("/api/domains/{id}")).await.expect(200);
    publish(&app).await;
    let gone = record(&app, "go.example.com").await.unwrap();
    assert!(gone.removed && gone.certificate.is_none() && gone.version > told.version);
    assert_eq!(changes(&app).await.len(), 2);
    // Its end stays for edges that were away, and not for ever.
    publisher::compare_job(app.app.clone()).await.unwrap();
    assert!(record(&app, "go.example.com").await.is_some());
    app.clock.advance(TimeDelta::days(7));
    publisher::compare_job(app.app.clone()).await.unwrap();
    assert_eq!(record(&app, "go.example.com").await, None);
    assert_eq!(app.count("SELECT count(*) FROM domains").await, 0);
    assert_eq!(epoch(&app).await, Some(first));
}

#[tokio::test]
async fn an_emptied_redis_has_every_domain_again_under_another_epoch() {
    let app = TestApp::start().await;
    let owner = app.pro("Owner").await;
    for host in ["a.example", "b.example"] {
        activate(&app, &owner, host).await;
    }
    publish(&app).await;
    let before = (epoch(&app).await, record(&app, "a.example").await.unwrap().version);
    app.flush_redis().await;
    publish(&app).await;
    assert_ne!(epoch(&app).await, before.0);
    for host in ["a.example", "b.example"] {
        assert!(record(&app, host).await.unwrap().version > before.1, "{host}");
    }
    // One that it lost without being emptied.
    let mut redis = app.app.redis().get().await.unwrap();
    let _lost: i64 = redis.hdel(app.app.keys().domains(), "b.example").await.unwrap();
    publisher::compare_job(app.app.clone()).await.unwrap();
    publish(&app).await;
    assert!(record(&app, "b.example").await.is_some());
}

#[tokio::test]
async fn a_removed_domain_does_not_shadow_its_next_owner() {
    let app = TestApp::start().await;
    let (first, second) = (app.pro("First").await, app.pro("Second").await);
    let id = activate(&app, &first, "go.example.com").await;
    publish(&app).await;
    first.delete(&format!("/api/domains/{id}")).await.expect(200);
    activate(&app, &second, "go.example.com").await;
    // Both rows are told of in one turn, then everything again, then the first one's is forgotten.
    publish(&app).await;
    app.flush_redis().await;
    publish(&app).await;
    app.clock.advance(TimeDelta::days(8));
    publisher::compare_job(app.app.clone()).await.unwrap();
    let told = record(&app, "go.example.com").await.unwrap();
    assert_eq!((told.owner, told.removed), (app.number(&second).await as u32, false));
    assert_eq!(app.count("SELECT count(*) FROM domains").await, 1);
}
