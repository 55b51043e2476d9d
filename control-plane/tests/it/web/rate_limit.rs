//! The limit of the public POSTs.

use crate::harness::{Client, Reply, TestApp};
use serde_json::json;

async fn sign_up(anyone: &Client, path: &str, address: &str) -> Reply {
    anyone
        .send(anyone.request("POST", path).header("x-forwarded-for", address).json(&json!({"name": "A"})))
        .await
}

fn standing(reply: &Reply) -> (u32, u32, u64) {
    let number = |name: &str| reply.headers[name].to_str().unwrap().parse::<u64>().unwrap();
    (number("x-ratelimit-limit") as u32, number("x-ratelimit-remaining") as u32, number("x-ratelimit-reset"))
}

#[tokio::test]
async fn a_network_has_so_many_sign_ups_an_hour_and_others_theirs() {
    let app = TestApp::start_with(|config| config.signups_per_hour = 3).await;
    let anyone = app.anyone();
    let first = sign_up(&anyone, "/api/auth/signup", "203.0.113.9").await;
    let (limit, remaining, reset) = standing(&first);
    assert_eq!((first.status, limit, remaining, reset % 3600), (201, 3, 2, 0));
    // A refused request counts too: it is what a guesser would send.
    let bad =
        anyone.request("POST", "/api/quickstart").header("x-forwarded-for", "203.0.113.9").json(&json!({}));
    assert_eq!(standing(&anyone.send(bad).await), (3, 1, reset));
    assert_eq!(standing(&sign_up(&anyone, "/api/quickstart", "203.0.113.9").await), (3, 0, reset));
    for _ in 0..3 {
        let over = sign_up(&anyone, "/api/quickstart", "203.0.113.9").await;
        over.is_error(429, "rate_limited");
        assert_eq!(standing(&over), (3, 0, reset));
        let wait: u64 = over.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=3600).contains(&wait));
    }
    assert_eq!(standing(&sign_up(&anyone, "/api/quickstart", "198.51.100.1").await).1, 2);
    // One site of IPv6 is one network.
    assert_eq!(standing(&sign_up(&anyone, "/api/quickstart", "2001:db8::1").await).1, 2);
    assert_eq!(standing(&sign_up(&anyone, "/api/quickstart", "2001:db8::ffff:2").await).1, 1);
    let other_route = anyone.get("/api/agents").await;
    assert!(!other_route.headers.contains_key("x-ratelimit-limit"));
}

#[tokio::test]
async fn the_limit_holds_when_all_come_at_once() {
    let app = TestApp::start_with(|config| config.signups_per_hour = 5).await;
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let anyone = app.anyone();
            tokio::spawn(async move { sign_up(&anyone, "/api/auth/signup", "203.0.113.9").await.status })
        })
        .collect();
    let mut made = 0;
    for request in requests {
        made += usize::from(request.await.unwrap() == 201);
    }
    assert_eq!(made, 5);
}

#[tokio::test]
async fn f83_without_redis_sign_ups_are_refused_unless_the_limit_is_lifted() {
    let nowhere = "redis://127.0.0.1:1/";
    let app = TestApp::start_with(|config| {
        config.signups_per_hour = 60;
        config.redis_url = nowhere.to_owned().into();
    })
    .await;
    let reply = sign_up(&app.anyone(), "/api/auth/signup", "203.0.113.9").await;
    reply.is_error(503, "unavailable");
    assert!(reply.headers.contains_key("retry-after"));
    let lifted = TestApp::start_with(|config| config.redis_url = nowhere.to_owned().into()).await;
    sign_up(&lifted.anyone(), "/api/auth/signup", "203.0.113.9").await.expect(201);
}
