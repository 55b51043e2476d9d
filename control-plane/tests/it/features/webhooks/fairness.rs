//! Bad endpoints beside good ones, and workers that die: small versions of `loadtest hooks`.

use crate::harness::{Answer, Client, Offer, Process, Received, Receiver, TestApp};
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use shared::{Clock, SystemClock};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_mins(1);
/// F81: what other endpoints may wait while one tenant's fail.
const DELAY_P99_MAX: Duration = Duration::from_secs(5);

async fn hooks(owner: &Client, receiver: &Receiver, count: usize, path: &str) {
    for nth in 0..count {
        let body = json!({"url": receiver.url(&format!("{path}/{nth}")), "events": ["conversion.created"]});
        owner.post("/api/webhooks", body).await.expect(201);
    }
}

/// An offer with both sides on Pro.
async fn offer(app: &TestApp) -> Offer {
    let offer = app.offer().await;
    app.set_tier(&offer.advertiser, "pro").await;
    app.set_tier(&offer.affiliate, "pro").await;
    offer
}

async fn lead(offer: &Offer) -> Value {
    let body = json!({"tracking_token": offer.token, "event_type": "lead"});
    offer.advertiser.post("/api/conversions/track", body).await.expect(201).clone()
}

#[tokio::test]
async fn f77_f81_silent_dripping_and_failing_endpoints_delay_nobody() {
    const EVENTS: usize = 20;
    const HEALTHY: usize = 10;
    let app = TestApp::start().await;
    let offer = offer(&app).await;
    let (good, silent, dripping, failing) =
        tokio::join!(Receiver::start(), Receiver::start(), Receiver::start(), Receiver::start());
    silent.answers(|_| Answer::Silence);
    dripping.answers(|_| Answer::Drip);
    failing.answers(|_| Answer::Status(500));
    // The advertiser's endpoints are bad and have a backlog; the affiliate's are healthy.
    for (receiver, count) in [(&silent, 10), (&dripping, 1), (&failing, 10)] {
        hooks(&offer.advertiser, receiver, count, "/bad").await;
    }
    hooks(&offer.affiliate, &good, HEALTHY, "/good").await;
    app.deliver();
    let mut reported: BTreeMap<String, Instant> = BTreeMap::new();
    for _ in 0..EVENTS {
        let lead = lead(&offer).await;
        reported.insert(lead["id"].as_str().unwrap().to_owned(), Instant::now());
    }
    let arrived = good.wait_for(EVENTS * HEALTHY).await;
    let mut delays: Vec<_> = arrived
        .iter()
        .map(|one| one.at.saturating_duration_since(reported[one.json()["data"]["id"].as_str().unwrap()]))
        .collect();
    delays.sort_unstable();
    let p99 = delays[delays.len() * 99 / 100];
    assert!(p99 <= DELAY_P99_MAX, "{p99:?} of {} deliveries", delays.len());
    // A status that has come is success, however long the body takes.
    dripping.wait_for(2).await;
    // No endpoint had more than two tries at once: those that say nothing hold on to theirs for 10 s.
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    for one in silent.received().iter().filter(|one| one.at.elapsed() < Duration::from_secs(10)) {
        *held.entry(one.path.clone()).or_default() += 1;
    }
    assert!(held.values().all(|count| *count <= 2), "{held:?}");
    assert!(held.values().sum::<usize>() <= 32, "{held:?}");
}

/// What stays the same on every try.
fn identity(received: &Received) -> (String, String, String, bytes::Bytes) {
    let header = |name| received.header(name).to_owned();
    (received.path.clone(), header("x-affiliateos-delivery"), header("webhook-id"), received.body.clone())
}

#[tokio::test]
async fn f82_what_nobody_finishes_is_taken_back_when_its_lease_ends() {
    let app = TestApp::start().await;
    let offer = offer(&app).await;
    let receiver = Receiver::start().await;
    receiver.answers(|_| Answer::Silence);
    hooks(&offer.advertiser, &receiver, 1, "/").await;
    app.deliver();
    lead(&offer).await;
    receiver.wait_for(1).await;
    let webhooks = offer.advertiser.get("/api/webhooks").await;
    let path =
        format!("/api/webhooks/{}/deliveries", webhooks.expect(200)["data"][0]["id"].as_str().unwrap());
    // Its worker is as good as dead: it waits for an answer that does not come.
    app.clock.advance(TimeDelta::seconds(19));
    let pending = offer.advertiser.get(&path).await;
    assert_eq!(pending.expect(200)["data"][0]["attempts"], json!([]));
    receiver.answers(|_| Answer::Status(200));
    app.clock.advance(TimeDelta::seconds(1));
    let both = receiver.wait_for(2).await;
    assert_eq!(identity(&both[0]), identity(&both[1]));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let delivery = offer.advertiser.get(&path).await.expect(200)["data"][0].clone();
        if delivery["status"] == "delivered" {
            let outcomes: Vec<_> = (0..2).map(|nth| delivery["attempts"][nth]["outcome"].clone()).collect();
            assert_eq!(outcomes, [json!("interrupted"), json!("answered")], "{delivery}");
            return;
        }
        assert!(Instant::now() < deadline, "not delivered: {delivery}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn f82_kill_9_of_the_worker_loses_nothing_and_ids_stay() {
    const EVENTS: usize = 30;
    const ENDPOINTS: usize = 10;
    let app = TestApp::start().await;
    // Workers that are processes have the real time.
    app.clock.set(DateTime::from_timestamp_millis(SystemClock.now_ms()).unwrap());
    let offer = offer(&app).await;
    let receiver = Receiver::start().await;
    hooks(&offer.affiliate, &receiver, ENDPOINTS, "/hook").await;
    for _ in 0..EVENTS {
        lead(&offer).await;
    }
    // Some deliveries are surely under way when it dies: these are never answered.
    receiver.answers(|one| if one.path == "/hook/0" { Answer::Silence } else { Answer::Status(200) });
    let mut worker = Process::start(&app, "work").await;
    receiver.wait_for(EVENTS * ENDPOINTS / 2).await;
    worker.kill().await;
    receiver.answers(|_| Answer::Status(200));
    let _second = Process::start(&app, "work").await;
    let distinct = |received: &[Received]| received.iter().map(identity).collect::<BTreeSet<_>>().len();
    let received =
        receiver.wait_until("every delivery", |received| distinct(received) >= EVENTS * ENDPOINTS).await;
    assert_eq!(distinct(&received), EVENTS * ENDPOINTS, "ids and bytes are the same on every try");
    let deliveries: BTreeSet<_> =
        received.iter().map(|one| one.header("x-affiliateos-delivery").to_owned()).collect();
    assert_eq!(deliveries.len(), EVENTS * ENDPOINTS);
    // What was in flight came, or will come, a second time: the lease ends 20 s after the claim.
    let received =
        receiver.wait_until("what was in flight", |received| received.len() > distinct(received)).await;
    let twice = received.len() - distinct(&received);
    assert!((1..=32).contains(&twice), "{twice} deliveries came twice");
}
