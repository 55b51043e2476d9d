//! `/api/webhooks`: made, listed, changed, rotated, tried, deleted.

use crate::harness::{Answer, Client, Receiver, TestApp};
use serde_json::{Value, json};

const ALL: [&str; 10] = [
    "affiliate.joined",
    "affiliate.approved",
    "conversion.created",
    "conversion.approved",
    "conversion.rejected",
    "payout.processed",
    "payout.address_changed",
    "link.capped",
    "match.suggested",
    "match.program_suggested",
];

/// Makes a webhook that wants everything; the reply.
pub(super) async fn create(client: &Client, url: &str) -> Value {
    client.post("/api/webhooks", json!({"url": url})).await.expect(201).clone()
}

pub(super) fn path(webhook: &Value) -> String {
    format!("/api/webhooks/{}", webhook["id"].as_str().unwrap())
}

#[tokio::test]
async fn the_documents_calls_work_as_printed() {
    let app = TestApp::start().await;
    let pro = app.pro("Merchant").await;
    let body = json!({
        "url": "https://example.com/webhooks/affiliateos",
        "events": ["affiliate.joined", "conversion.created", "payout.processed"],
        "status": "active"
    });
    let reply = pro.post("/api/webhooks", body.clone()).await;
    let made = reply.expect(201).clone();
    for member in ["url", "events", "status"] {
        assert_eq!(made[member], body[member]);
    }
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let listed = pro.get("/api/webhooks").await;
    assert_eq!(listed.expect(200)["data"][0]["id"], made["id"]);
    assert_eq!(listed.body["pagination"]["total"], 1);
    assert!(!listed.text.contains("whsec_"), "a secret is shown once");
    let body = json!({"status": "paused", "events": ["conversion.approved", "conversion.rejected"]});
    let changed = pro.patch(&path(&made), body.clone()).await;
    assert_eq!((&changed.expect(200)["status"], &changed.body["events"]), (&body["status"], &body["events"]));
    assert_eq!(changed.body["paused_at"], "2026-06-15T12:00:00.000Z");
    assert!(changed.body["status_reason"].as_str().unwrap().contains("by you"));
    let deleted = pro.delete(&path(&made)).await;
    assert_eq!(deleted.expect(200), &json!({"id": made["id"], "deleted": true}));
    pro.get(&path(&made)).await.is_error(404, "not_found");
    pro.delete(&path(&made)).await.is_error(404, "not_found");
    assert_eq!(pro.get("/api/webhooks").await.expect(200)["pagination"]["total"], 0);
}

#[tokio::test]
async fn without_pro_there_are_events_but_no_webhooks() {
    let app = TestApp::start().await;
    let free = app.agent("Free").await;
    let body = json!({"url": "https://example.com/hook"});
    let refused = free.post("/api/webhooks", body.clone()).await;
    assert!(refused.is_error(403, "feature_requires_pro").contains("/api/subscription/pro"));
    free.post("/api/webhooks/test", json!({})).await.is_error(403, "feature_requires_pro");
    free.get("/api/webhooks").await.expect(200);
    free.get("/api/events").await.expect(200);
    app.set_tier(&free, "pro").await;
    let made = create(&free, "https://example.com/hook").await;
    app.set_tier(&free, "free").await;
    free.patch(&path(&made), json!({"status": "paused"})).await.is_error(403, "feature_requires_pro");
    let rotate = format!("{}/rotate-secret", path(&made));
    free.post(&rotate, json!({})).await.is_error(403, "feature_requires_pro");
    free.get(&path(&made)).await.expect(200);
    free.delete(&path(&made)).await.expect(200);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let app = TestApp::start().await;
    let pro = app.pro("Merchant").await;
    let url = "https://example.com/hook";
    pro.post("/api/webhooks", json!({})).await.is_error(400, "missing_field");
    for body in [
        json!({"url": "not a url"}),
        json!({"url": "ftp://example.com/"}),
        json!({"url": "https://user:pw@example.com/"}),
        json!({"url": "http://10.0.0.1/"}),
        json!({"url": "http://169.254.169.254/latest/meta-data/"}),
        json!({"url": "http://[::1]/"}),
        json!({"url": "https://example.com:8443/"}),
        json!({"url": format!("https://example.com/{}", "x".repeat(2048))}),
        json!({"url": url, "events": []}),
        json!({"url": url, "events": "conversion.created"}),
        json!({"url": url, "events": ["conversion.create"]}),
        json!({"url": url, "status": "stopped"}),
        json!({"url": url, "secret": "short"}),
        json!({"url": url, "event": ["conversion.created"]}),
    ] {
        pro.post("/api/webhooks", body.clone()).await.is_error(400, "invalid_value");
    }
    let typo = pro.post("/api/webhooks", json!({"url": url, "events": ["conversion.create"]})).await;
    assert!(typo.is_error(400, "invalid_value").contains("`conversion.created`"), "{typo}");
    let private = pro.post("/api/webhooks", json!({"url": "http://192.168.0.1/"})).await;
    assert!(private.is_error(400, "invalid_value").contains("GET /api/events"), "{private}");
    assert_eq!(private.body["field"], "url");
    pro.get("/api/webhooks/7").await.is_error(400, "invalid_id");
    pro.patch("/api/webhooks/7", json!({})).await.is_error(400, "invalid_id");
    let missing = "/api/webhooks/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10";
    pro.patch(missing, json!({"nonsense": 1})).await.is_error(404, "not_found");
    pro.send(pro.request("PUT", "/api/webhooks")).await.is_error(405, "method_not_allowed");
    let made = create(&pro, url).await;
    pro.patch(&path(&made), json!({"secret": "x"})).await.is_error(400, "invalid_value");
    pro.patch(&path(&made), json!({"events": []})).await.is_error(400, "invalid_value");
    app.anyone().get("/api/webhooks").await.is_error(401, "api_key_missing");
}

#[tokio::test]
async fn somebody_elses_webhook_does_not_exist() {
    let app = TestApp::start().await;
    let (owner, other) = (app.pro("Owner").await, app.pro("Other").await);
    let made = create(&owner, "https://example.com/hook").await;
    let path = path(&made);
    other.get(&path).await.is_error(404, "not_found");
    other.patch(&path, json!({"status": "paused"})).await.is_error(404, "not_found");
    other.delete(&path).await.is_error(404, "not_found");
    other.post(&format!("{path}/rotate-secret"), json!({})).await.is_error(404, "not_found");
    other.get(&format!("{path}/deliveries")).await.is_error(404, "not_found");
    let redeliver = format!("{path}/deliveries/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10/redeliver");
    other.post(&redeliver, json!({})).await.is_error(404, "not_found");
    owner.post(&redeliver, json!({})).await.is_error(404, "not_found");
    other.post("/api/webhooks/test", json!({"webhook_id": made["id"]})).await.is_error(404, "not_found");
    assert_eq!(other.get("/api/webhooks").await.expect(200)["pagination"]["total"], 0);
}

#[tokio::test]
async fn fifty_is_the_limit_also_at_once() {
    let app = TestApp::start().await;
    let pro = app.pro("Merchant").await;
    for number in 0..46 {
        create(&pro, &format!("https://example.com/early/{number}")).await;
    }
    let requests: Vec<_> = (0..8)
        .map(|number| {
            let pro = pro.clone();
            let body = json!({"url": format!("https://example.com/{number}")});
            tokio::spawn(async move { pro.post("/api/webhooks", body).await })
        })
        .collect();
    let mut made = 0;
    for request in requests {
        let reply = request.await.unwrap();
        if reply.status == 201 {
            made += 1;
        } else {
            reply.is_error(409, "invalid_state");
        }
    }
    assert_eq!(made, 4);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_webhook_and_shows_its_secret_again() {
    let app = TestApp::start().await;
    let pro = app.pro("Merchant").await;
    let send = async |url: &str| {
        let request = pro.request("POST", "/api/webhooks").header("idempotency-key", "hook-1");
        pro.send(request.json(&json!({"url": url}))).await
    };
    let first = send("https://example.com/hook").await;
    let second = send("https://example.com/hook").await;
    assert_eq!(second.expect(201), first.expect(201));
    assert!(second.headers.contains_key("idempotent-replayed"));
    send("https://example.com/other").await.is_error(409, "idempotency_key_reused");
    let secret = first.body["secret"].as_str().unwrap().as_bytes().to_vec();
    let stored: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT secret FROM webhook_endpoints UNION ALL SELECT body FROM idempotency_keys WHERE body IS NOT NULL",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap();
    assert_eq!(stored.len(), 2);
    for bytes in stored {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "a secret lies open");
    }
}

#[tokio::test]
async fn a_test_of_every_event_arrives_signed_and_says_so() {
    let app = TestApp::start().await;
    let pro = app.pro("Merchant").await;
    let receiver = Receiver::start().await;
    let made = create(&pro, &receiver.url("/hook")).await;
    let secret = made["secret"].as_str().unwrap();
    for event in ALL {
        let body = json!({"webhook_id": made["id"], "event_type": event});
        let reply = pro.post("/api/webhooks/test", body).await;
        assert_eq!((&reply.expect(200)["ok"], &reply.body["status_class"]), (&json!(true), &json!("2xx")));
        assert!(reply.headers.contains_key("x-ratelimit-remaining"));
        let got = receiver.received().pop().unwrap();
        assert_eq!(got.path, "/hook");
        assert_eq!(got.header("x-affiliateos-event"), event);
        assert!(got.is_signed_with(secret));
        let payload = got.json();
        assert_eq!((&payload["type"], &payload["test"]), (&json!(event), &json!(true)));
        assert_eq!(payload, reply.body["payload"]);
        assert_eq!(got.header("webhook-id"), payload["id"]);
    }
    // Ten a minute, then the limit.
    let other = app.pro("Other merchant").await;
    let raw = json!({"url": receiver.url("/raw"), "secret": "a-secret-of-24-characters"});
    other.post("/api/webhooks/test", raw.clone()).await.expect(200);
    assert!(receiver.received().pop().unwrap().is_signed_with("a-secret-of-24-characters"));
    receiver.answers(|_| Answer::Status(503));
    for _ in 0..9 {
        let reply = other.post("/api/webhooks/test", raw.clone()).await;
        assert_eq!((&reply.expect(200)["ok"], &reply.body["status_class"]), (&json!(false), &json!("5xx")));
        assert!(!reply.text.contains("thank you"), "the body of an answer is nobody's business");
        assert_eq!(reply.body["duration_ms"].as_u64().unwrap() % 100, 0);
    }
    let limited = other.post("/api/webhooks/test", raw).await;
    limited.is_error(429, "rate_limited");
    assert!(limited.headers.contains_key("retry-after"));
    // Nothing of it is an event or a delivery.
    assert_eq!(pro.get("/api/events").await.expect(200)["data"], json!([]));
    let log = pro.get(&format!("{}/deliveries", path(&made))).await;
    assert_eq!(log.expect(200)["pagination"]["total"], 0);
}

#[tokio::test]
async fn a_test_says_what_went_wrong() {
    let app = TestApp::start().await;
    let pro = app.pro("Merchant").await;
    let test = async |body: Value| pro.post("/api/webhooks/test", body).await;
    let (url, secret) = ("http://127.0.0.1:1/", "a-secret-of-24-characters");
    assert!(test(json!({"url": url})).await.is_error(400, "missing_field").contains("`secret`"));
    test(json!({"secret": secret})).await.is_error(400, "missing_field");
    test(json!({})).await.is_error(400, "missing_field");
    let id = "018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10";
    test(json!({"webhook_id": id, "url": url})).await.is_error(400, "invalid_value");
    test(json!({"webhook_id": id})).await.is_error(404, "not_found");
    test(json!({"webhook_id": "7"})).await.is_error(400, "invalid_value");
    test(json!({"url": "http://10.0.0.1/", "secret": secret})).await.is_error(400, "invalid_value");
    test(json!({"url": url, "secret": "weak"})).await.is_error(400, "invalid_value");
    let typo = test(json!({"url": url, "secret": secret, "event_type": "payout.proccessed"})).await;
    assert!(typo.is_error(400, "invalid_value").contains("`payout.processed`"), "{typo}");
    let refused = test(json!({"url": url, "secret": secret})).await;
    assert_eq!(
        (&refused.expect(200)["ok"], &refused.body["outcome"]),
        (&json!(false), &json!("no_connection"))
    );
    assert_eq!(refused.body["status_class"], Value::Null);
}
