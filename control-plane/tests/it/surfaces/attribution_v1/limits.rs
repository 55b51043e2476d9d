//! Limits: exact over processes, said on every reply, and what they do while Redis is away.

use super::{is_v1_error, market, market_in, v1_key};
use crate::harness::{Client, Line, Process, Reply, TestApp, setting};
use control_plane::auth::api_keys::Kind;
use serde_json::{Value, json};
use shared::{Clock, SystemClock};
use std::collections::BTreeMap;

fn number(reply: &Reply, header: &str) -> i64 {
    reply.headers[header].to_str().unwrap().parse().unwrap()
}

/// One request each, all at once, taking turns between the processes.
async fn burst(
    clients: &[Client],
    count: usize,
    method: &'static str,
    path: &'static str,
    body: &Value,
) -> Vec<Reply> {
    let sending: Vec<_> = (0..count)
        .map(|nth| {
            let (client, body) = (clients[nth % clients.len()].clone(), body.clone());
            tokio::spawn(async move {
                let request = client.request(method, path);
                client.send(if method == "POST" { request.json(&body) } else { request }).await
            })
        })
        .collect();
    let mut replies = Vec::with_capacity(count);
    for one in sending {
        replies.push(one.await.unwrap());
    }
    replies
}

/// Bursts until a window is full, then checks it: exactly `max` were let through by all processes together,
/// each saw another number of requests left, and the rest were told when to come back.
async fn check_limit(
    clients: &[Client],
    max: usize,
    window: i64,
    method: &'static str,
    path: &'static str,
    body: Value,
) {
    // A burst may straddle the end of a window; then the next one fills the new window, which begins with what
    // the first one took of it.
    let mut windows: BTreeMap<i64, Vec<Reply>> = BTreeMap::new();
    for _ in 0..3 {
        let before = SystemClock.now_ms() / 1000;
        for reply in burst(clients, max * 3 / 2, method, path, &body).await {
            let (reset, now) = (number(&reply, "x-ratelimit-reset"), SystemClock.now_ms() / 1000);
            assert!(
                reset % window == 0 && (before..=now + window).contains(&reset),
                "{reset} at {before} to {now}"
            );
            windows.entry(reset).or_default().push(reply);
        }
        for replies in windows.values() {
            for reply in replies {
                assert_eq!(number(reply, "x-ratelimit-limit"), max as i64, "{reply}");
                assert!(number(reply, "x-ratelimit-remaining") >= 0, "{reply}");
            }
            let (refused, allowed): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 429);
            for reply in &refused {
                is_v1_error(reply, 429, "rate_limited");
                assert_eq!(number(reply, "x-ratelimit-remaining"), 0);
                assert!((1..=window).contains(&number(reply, "retry-after")), "{reply}");
            }
            let mut left: Vec<_> =
                allowed.iter().map(|reply| number(reply, "x-ratelimit-remaining")).collect();
            left.sort_unstable();
            left.dedup();
            assert_eq!(left.len(), allowed.len(), "each request was counted once");
        }
        let full = windows.values().find(|replies| replies.len() > max);
        if let Some(replies) = full {
            let allowed = replies.iter().filter(|reply| reply.status != 429).count();
            assert_eq!((allowed, replies.len() - allowed), (max, replies.len() - max), "{path}");
            return;
        }
    }
    panic!("three bursts filled no window of {path}");
}

#[tokio::test]
async fn a_burst_over_two_processes_is_let_through_up_to_the_limit_exactly() {
    let market = market().await;
    let (one, two) = tokio::join!(Process::start(&market.app, "serve"), Process::start(&market.app, "serve"));
    let at_both =
        |client: &Client| [market.app.at(&one.origin(), client), market.app.at(&two.origin(), client)];
    let event = json!({"event": "impression", "merchant_id": market.merchant_id});
    // The first event of a pair joins the program; the burst is about the limit.
    market.track.post("/v1/track", event.clone()).await.expect(201);
    let fresh = v1_key(&market.app, &market.publisher, Kind::Publisher).await;
    check_limit(&at_both(&fresh), 100, 60, "POST", "/v1/track", event).await;
    check_limit(&at_both(&fresh), 60, 60, "GET", "/v1/commissions", Value::Null).await;
    check_limit(&at_both(&fresh), 10, 3600, "POST", "/v1/payouts", json!({"method": "wallet"})).await;
    // Per account, not per key: another key of the publisher has nothing left either.
    let other = v1_key(&market.app, &market.publisher, Kind::Publisher).await;
    let payout = market.app.at(&two.origin(), &other).post("/v1/payouts", json!({"method": "wallet"})).await;
    is_v1_error(&payout, 429, "rate_limited");
    // Tracking and commissions are per key.
    market.app.at(&one.origin(), &other).get("/v1/commissions").await.expect(200);
}

#[tokio::test]
async fn f83_without_redis_tracking_counts_alone_and_payouts_are_refused() {
    let line = Line::to(&setting("AOS_TEST_REDIS_URL")).await;
    let market = market_in(TestApp::start_with(|config| config.redis_url = line.url().into()).await).await;
    let event = json!({"event": "impression", "merchant_id": market.merchant_id});
    let clients = [market.track.clone()];
    let before = burst(&clients, 60, "POST", "/v1/track", &event).await;
    assert!(before.iter().all(|reply| reply.status == 201));
    line.cut().await;
    let during = burst(&clients, 150, "POST", "/v1/track", &event).await;
    let allowed = during.iter().filter(|reply| reply.status == 201).count();
    // All of the limit again, but for those of the 60 that a slow Redis had left to this process.
    assert!((40..=100).contains(&allowed), "{allowed}: twice the limit at most in all");
    let mut resets: Vec<_> = during.iter().map(|reply| number(reply, "x-ratelimit-reset")).collect();
    resets.dedup();
    assert_eq!(resets.len(), 1, "the window stands still with the test's clock");
    for reply in during.iter().filter(|reply| reply.status != 201) {
        is_v1_error(reply, 429, "rate_limited");
        assert_eq!(number(reply, "x-ratelimit-remaining"), 0);
        assert!((1..=60).contains(&number(reply, "retry-after")));
    }
    is_v1_error(&market.track.post("/v1/payouts", json!({"method": "wallet"})).await, 503, "unavailable");
    line.mend();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let reply = market.track.post("/v1/payouts", json!({"method": "wallet"})).await;
        if reply.status != 503 {
            is_v1_error(&reply, 409, "nothing_to_pay");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "Redis is back and payouts are not: {reply}");
    }
}
