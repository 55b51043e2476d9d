//! Deliveries: what arrives, the log of tries, sending again, pausing, giving up.

use super::endpoints::{create, path};
use crate::harness::{Answer, Client, Offer, Received, Receiver, Reply, TestApp};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An offer whose advertiser is on Pro, with a webhook for new conversions, and the worker running.
struct Scene {
    app: TestApp,
    offer: Offer,
    receiver: Receiver,
    webhook: Value,
}

impl Scene {
    async fn set() -> Self {
        let app = TestApp::start().await;
        let offer = app.offer().await;
        app.set_tier(&offer.advertiser, "pro").await;
        let receiver = Receiver::start().await;
        let body = json!({"url": receiver.url("/hook"), "events": ["conversion.created"]});
        let webhook = offer.advertiser.post("/api/webhooks", body).await.expect(201).clone();
        app.deliver();
        Self { app, offer, receiver, webhook }
    }

    /// A lead of the offer's link, once its event has been given to whoever is to be told.
    async fn lead(&self) -> Value {
        let body = json!({"tracking_token": self.offer.token, "event_type": "lead"});
        let lead = self.owner().post("/api/conversions/track", body).await.expect(201).clone();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let feed = self.owner().get("/api/events?per_page=100").await;
            let events = feed.expect(200)["data"].as_array().unwrap();
            if events.iter().any(|event| event["data"]["id"] == lead["id"]) {
                return lead;
            }
            assert!(Instant::now() < deadline, "the event is not in the feed: {events:?}");
            tokio::task::yield_now().await;
        }
    }

    fn owner(&self) -> &Client {
        &self.offer.advertiser
    }

    fn secret(&self) -> &str {
        self.webhook["secret"].as_str().unwrap()
    }

    async fn webhook(&self) -> Value {
        self.owner().get(&path(&self.webhook)).await.expect(200).clone()
    }

    async fn deliveries(&self) -> Vec<Value> {
        let reply = self.owner().get(&format!("{}/deliveries", path(&self.webhook))).await;
        reply.expect(200)["data"].as_array().unwrap().clone()
    }

    /// The newest delivery, once there are so many and a condition on it holds.
    #[track_caller]
    fn nth_delivery(
        &self,
        count: usize,
        what: &'static str,
        holds: impl Fn(&Value) -> bool,
    ) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let deliveries = self.deliveries().await;
                if let Some(delivery) =
                    deliveries.first().filter(|delivery| deliveries.len() == count && holds(delivery))
                {
                    return delivery.clone();
                }
                assert!(Instant::now() < deadline, "at {caller}: not {what}: {deliveries:?}");
                tokio::task::yield_now().await;
            }
        }
    }

    /// The only delivery, once a condition on it holds.
    #[track_caller]
    fn delivery(&self, what: &'static str, holds: impl Fn(&Value) -> bool) -> impl Future<Output = Value> {
        self.nth_delivery(1, what, holds)
    }

    async fn redeliver(&self, delivery: &Value) -> Reply {
        let path =
            format!("{}/deliveries/{}/redeliver", path(&self.webhook), delivery["id"].as_str().unwrap());
        self.owner().post(&path, json!({})).await
    }
}

fn tries(delivery: &Value) -> usize {
    delivery["attempts"].as_array().unwrap().len()
}

/// What stays the same on every try.
fn identity(received: &Received) -> (&str, &str, &[u8]) {
    (received.header("x-affiliateos-delivery"), received.header("webhook-id"), &received.body)
}

#[tokio::test]
async fn every_event_of_real_calls_arrives_signed() {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.pro("Advertiser").await, app.pro("Affiliate").await);
    let (mine, theirs) = (Receiver::start().await, Receiver::start().await);
    let hook = create(&advertiser, &mine.url("/advertiser")).await;
    create(&affiliate, &theirs.url("/affiliate")).await;
    app.deliver();
    let program = app.program_with(&advertiser, json!({"approval_mode": "manual"})).await;
    let partnership = app.joined(&affiliate, program["id"].as_str().unwrap()).await;
    let approve = json!({"status": "approved"});
    advertiser.patch(&format!("/api/partnerships/{partnership}"), approve.clone()).await.expect(200);
    let link = app.link(&affiliate, &partnership).await;
    for order in ["one", "two"] {
        let body = json!({"tracking_token": link["token"], "event_type": "sale", "revenue_amount": 99, "external_id": order});
        let id = advertiser.post("/api/conversions/track", body).await.expect(201)["id"].clone();
        let decided = if order == "one" { "approved" } else { "rejected" };
        let path = format!("/api/conversions/{}", id.as_str().unwrap());
        advertiser.patch(&path, json!({"status": decided})).await.expect(200);
    }
    let body = json!({"program_id": program["id"], "method": "external"});
    advertiser.post("/api/payouts/process", body).await.expect(201);
    let expected = [
        "affiliate.approved",
        "affiliate.joined",
        "conversion.approved",
        "conversion.created",
        "conversion.created",
        "conversion.rejected",
        "payout.processed",
    ];
    let received = mine.wait_for(expected.len()).await;
    let mut types: Vec<_> = received.iter().map(|one| one.header("x-affiliateos-event").to_owned()).collect();
    types.sort();
    assert_eq!(types, expected);
    let secret = hook["secret"].as_str().unwrap();
    for one in &received {
        assert!(one.is_signed_with(secret), "{one:?}");
        assert_eq!(one.json()["type"], one.header("x-affiliateos-event"));
        assert_eq!(one.json()["id"], one.header("webhook-id"));
        assert_eq!(one.header("content-type"), "application/json");
        assert!(one.header("webhook-signature").starts_with("v1,"));
        assert_eq!(one.header("webhook-timestamp"), app.clock_now().timestamp().to_string());
    }
    // The other side gets the same bytes, and the feed has them too.
    let others = theirs.wait_for(expected.len()).await;
    let bodies = |all: &[Received]| {
        let mut bodies: Vec<_> = all.iter().map(|one| one.body.clone()).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(bodies(&received), bodies(&others));
    let feed = affiliate.get("/api/events").await;
    assert_eq!(feed.expect(200)["data"].as_array().unwrap().len(), expected.len());
    for event in feed.body["data"].as_array().unwrap() {
        assert!(received.iter().any(|one| one.json() == *event), "{event}");
    }
}

#[tokio::test]
async fn f80_failures_are_tried_again_on_schedule_and_logged() {
    let scene = Scene::set().await;
    scene.receiver.answers(|_| Answer::Status(500));
    scene.lead().await;
    let pauses_seconds = [5, 60, 600, 3600, 3 * 3600, 8 * 3600, 12 * 3600];
    for (past, pause) in pauses_seconds.into_iter().enumerate() {
        let delivery = scene.delivery("tried again", |delivery| tries(delivery) == past + 1).await;
        assert_eq!(delivery["status"], "pending");
        assert_eq!(delivery["attempts"][past]["status_code"], 500);
        let next: chrono::DateTime<chrono::Utc> =
            delivery["next_attempt_at"].as_str().unwrap().parse().unwrap();
        let wait = (next - scene.app.clock_now()).num_milliseconds();
        assert!((pause * 800..=pause * 1200).contains(&wait), "try {past}: {wait} ms");
        // A moment early nothing happens; the step behind it is the try.
        assert_eq!(scene.receiver.received().len(), past + 1);
        scene.app.clock.set(next);
    }
    let delivery = scene.delivery("given up", |delivery| delivery["status"] == "failed").await;
    assert_eq!((tries(&delivery), &delivery["next_attempt_at"]), (8, &Value::Null));
    let received = scene.receiver.received();
    assert_eq!(received.len(), 8);
    assert!(received.iter().all(|one| identity(one) == identity(&received[0])));
    assert!(
        received
            .windows(2)
            .all(|two| { two[0].header("webhook-timestamp") < two[1].header("webhook-timestamp") })
    );
    let webhook = scene.webhook().await;
    assert_eq!((&webhook["status"], &webhook["last_failure"]), (&json!("active"), &json!("status 500")));
    assert_eq!(webhook["failing_since"], "2026-06-15T12:00:00.000Z");
    // Sent again by hand it starts anew, and a success forgets the failures.
    scene.receiver.answers(|_| Answer::Status(204));
    assert_eq!(scene.redeliver(&delivery).await.expect(202)["status"], "pending");
    let delivery = scene.delivery("delivered", |delivery| delivery["status"] == "delivered").await;
    assert_eq!((tries(&delivery), &delivery["attempts"][8]["number"]), (9, &json!(9)));
    assert_eq!(identity(&scene.receiver.received()[8]), identity(&received[0]));
    assert_eq!(scene.webhook().await["failing_since"], Value::Null);
}

#[tokio::test]
async fn f80_gone_pauses_at_once_and_redirects_and_late_answers_are_failures() {
    let scene = Scene::set().await;
    scene.receiver.answers(|_| Answer::Redirect("http://169.254.169.254/"));
    scene.lead().await;
    let delivery = scene.delivery("tried", |delivery| tries(delivery) == 1).await;
    assert_eq!(
        (&delivery["status"], &delivery["attempts"][0]["status_code"]),
        (&json!("pending"), &json!(302))
    );
    scene.receiver.answers(|_| Answer::RetryAfter(429, "999999"));
    scene.app.clock.advance(TimeDelta::seconds(6));
    let delivery = scene.delivery("limited", |delivery| tries(delivery) == 2).await;
    let next: chrono::DateTime<chrono::Utc> = delivery["next_attempt_at"].as_str().unwrap().parse().unwrap();
    assert_eq!((next - scene.app.clock_now()).num_seconds(), 120, "twice the minute that was due");
    scene.receiver.answers(|_| Answer::Status(410));
    scene.app.clock.set(next);
    let delivery = scene.delivery("given up", |delivery| delivery["status"] == "failed").await;
    assert_eq!(tries(&delivery), 3);
    let webhook = scene.webhook().await;
    assert_eq!(webhook["status"], "paused");
    assert!(webhook["status_reason"].as_str().unwrap().contains("410"));
    let refused = scene.redeliver(&delivery).await;
    assert!(refused.is_error(409, "invalid_state").contains("active"));
}

#[tokio::test]
async fn three_days_of_failure_pause_an_endpoint_and_its_owner_sees_why() {
    let scene = Scene::set().await;
    scene.receiver.answers(|_| Answer::Status(503));
    scene.lead().await;
    scene.delivery("tried", |delivery| tries(delivery) == 1).await;
    scene.app.clock.advance(TimeDelta::days(3) - TimeDelta::minutes(1));
    scene.lead().await;
    scene.nth_delivery(2, "tried", |delivery| tries(delivery) == 1).await;
    scene.lead().await;
    scene.nth_delivery(3, "tried", |delivery| tries(delivery) == 1).await;
    assert_eq!(scene.webhook().await["status"], "active");
    // Whichever of them is tried again first ends the three days; the others are kept back.
    scene.app.clock.advance(TimeDelta::minutes(1));
    let deadline = Instant::now() + PATIENCE;
    while scene.webhook().await["status"] != "paused" {
        assert!(Instant::now() < deadline, "not paused: {:?}", scene.deliveries().await);
        tokio::task::yield_now().await;
    }
    let webhook = scene.webhook().await;
    assert_eq!(webhook["status"], "paused");
    let reason = webhook["status_reason"].as_str().unwrap();
    assert!(reason.contains("3 days") && reason.contains("status 503"), "{reason}");
    // What happens now is in the feed, not in the queue; what was queued goes out when it is active again.
    scene.lead().await;
    scene.receiver.answers(|_| Answer::Status(200));
    let before = scene.receiver.received().len();
    let active = scene.owner().patch(&path(&scene.webhook), json!({"status": "active"})).await;
    assert_eq!(
        (&active.expect(200)["status"], &active.body["failing_since"]),
        (&json!("active"), &Value::Null)
    );
    scene.nth_delivery(3, "delivered", |delivery| delivery["status"] == "delivered").await;
    let deliveries = scene.deliveries().await;
    assert_eq!(deliveries.len(), 3, "{deliveries:?}");
    assert!(scene.receiver.received().len() > before);
}

#[tokio::test]
async fn a_paused_or_deleted_endpoint_gets_nothing() {
    let scene = Scene::set().await;
    scene.owner().patch(&path(&scene.webhook), json!({"status": "paused"})).await.expect(200);
    scene.lead().await;
    let other = Receiver::start().await;
    let body = json!({"url": other.url("/"), "events": ["conversion.created"]});
    let second = scene.owner().post("/api/webhooks", body).await.expect(201).clone();
    scene.lead().await;
    other.wait_for(1).await;
    scene.owner().delete(&path(&second)).await.expect(200);
    let third = Receiver::start().await;
    let body = json!({"url": third.url("/"), "events": ["conversion.created"]});
    scene.owner().post("/api/webhooks", body).await.expect(201);
    scene.lead().await;
    third.wait_for(1).await;
    assert_eq!((scene.receiver.received().len(), other.received().len()), (0, 1));
    assert_eq!(scene.deliveries().await, [] as [Value; 0]);
}

#[tokio::test]
async fn f82_a_new_secret_and_the_old_one_sign_for_a_day() {
    let scene = Scene::set().await;
    let old = scene.secret();
    let rotate = format!("{}/rotate-secret", path(&scene.webhook));
    let rotated = scene.owner().post(&rotate, json!({})).await.expect(200).clone();
    let new = rotated["secret"].as_str().unwrap();
    assert_ne!(old, new);
    assert_eq!(rotated["previous_secret_until"], "2026-06-16T12:00:00.000Z");
    scene.lead().await;
    let received = scene.receiver.wait_for(1).await;
    assert!(received[0].is_signed_with(new));
    assert_eq!(received[0].header("webhook-signature").split(' ').count(), 2);
    let mut swapped = received[0].clone();
    let previous = swapped.headers.remove("x-affiliateos-signature-previous").unwrap();
    swapped.headers.insert("x-affiliateos-signature", previous);
    assert!(swapped.is_signed_with(old));
    scene.app.clock.advance(TimeDelta::hours(24));
    scene.lead().await;
    let received = scene.receiver.wait_for(2).await;
    assert!(received[1].is_signed_with(new));
    assert_eq!(received[1].header("webhook-signature").split(' ').count(), 1);
    assert!(!received[1].headers.contains_key("x-affiliateos-signature-previous"));
    let chosen = json!({"secret": "a-secret-that-the-merchant-chose"});
    assert_eq!(scene.owner().post(&rotate, chosen.clone()).await.expect(200)["secret"], chosen["secret"]);
    scene.owner().post(&rotate, json!({"secret": "weak"})).await.is_error(400, "invalid_value");
}

#[tokio::test]
async fn only_what_was_asked_for_is_told_and_only_on_pro() {
    let scene = Scene::set().await;
    let all = Receiver::start().await;
    create(&scene.offer.affiliate_on_pro(&scene.app).await, &all.url("/")).await;
    let id = scene.lead().await["id"].as_str().unwrap().to_owned();
    let decide = json!({"status": "approved"});
    scene.owner().patch(&format!("/api/conversions/{id}"), decide).await.expect(200);
    all.wait_for(2).await;
    let types: Vec<_> =
        scene.receiver.wait_for(1).await.iter().map(|one| one.json()["type"].clone()).collect();
    assert_eq!(types, ["conversion.created"]);
    scene.app.set_tier(scene.owner(), "free").await;
    scene.lead().await;
    all.wait_for(3).await;
    assert_eq!(scene.receiver.received().len(), 1, "Pro has ended");
    let filtered = scene.owner().get(&format!("{}/deliveries?status=delivered", path(&scene.webhook))).await;
    assert_eq!(filtered.expect(200)["pagination"]["total"], 1);
    let filtered = scene.owner().get(&format!("{}/deliveries?status=failed", path(&scene.webhook))).await;
    assert_eq!(filtered.expect(200)["pagination"]["total"], 0);
    let wrong = format!("{}/deliveries?status=lost", path(&scene.webhook));
    scene.owner().get(&wrong).await.is_error(400, "invalid_value");
}

impl Offer {
    async fn affiliate_on_pro(&self, app: &TestApp) -> Client {
        app.set_tier(&self.affiliate, "pro").await;
        self.affiliate.clone()
    }
}
