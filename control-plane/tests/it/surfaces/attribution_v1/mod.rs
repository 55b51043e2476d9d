//! `/v1`: the agent attribution API, as its document prints it.

mod document;
mod limits;
mod offline;
mod reports;
mod story;

use crate::harness::{Client, Reply, TestApp};
use chrono::TimeDelta;
use control_plane::auth::api_keys::{Kind, NewKey};
use serde_json::{Value, json};
use std::collections::HashSet;

/// A merchant with a program that takes everybody, and a publisher.
struct Market {
    app: TestApp,
    merchant: Client,
    merchant_id: String,
    publisher: Client,
    publisher_id: String,
    verify: Client,
    track: Client,
}

async fn v1_key(app: &TestApp, agent: &Client, kind: Kind) -> Client {
    let key = NewKey::generate(kind);
    sqlx::query("INSERT INTO api_keys (id, agent_id, kind, digest, last_four, created_at) VALUES ($1, $2::UUID, $3, $4, $5, now())")
        .bind(shared::id::ApiKeyId::generate())
        .bind(agent.id())
        .bind(kind.as_str())
        .bind(key.digest().as_bytes())
        .bind(key.last_four())
        .execute(app.app.db())
        .await
        .unwrap();
    app.with_key(key.reveal())
}

async fn market() -> Market {
    market_in(TestApp::start().await).await
}

async fn market_in(app: TestApp) -> Market {
    let merchant = app.agent("Linear").await;
    let publisher = app.agent("Publisher").await;
    let program = json!({"name": "Linear", "url": "https://linear.example/", "commission_type": "percentage", "commission_value": 10, "approval_mode": "auto"});
    merchant.post("/api/programs", program).await.expect(201);
    let (verify, track) =
        (v1_key(&app, &merchant, Kind::Merchant).await, v1_key(&app, &publisher, Kind::Publisher).await);
    let name = |reply: &Reply, member: &str| reply.expect(200)[member].as_str().unwrap().to_owned();
    let merchant_id = name(&merchant.get("/api/agents/me").await, "merchant_id");
    let publisher_id = name(&publisher.get("/api/agents/me").await, "publisher_id");
    Market { app, merchant, merchant_id, publisher, publisher_id, verify, track }
}

impl Market {
    async fn tracked(&self) -> String {
        let body = json!({"event": "recommendation", "merchant_id": self.merchant_id, "product_id": "prod_456",
                          "metadata": {"agent_runtime": "langchain", "session_id": "sess_789"}});
        let reply = self.track.post("/v1/track", body).await;
        reply.expect(201)["slat_token"].as_str().unwrap().to_owned()
    }

    async fn verified(&self, order: &str, token: &str) -> Reply {
        let body = json!({"order_id": order, "amount": 9900, "currency": "usd", "slat_token": token});
        self.verify.post("/v1/verify", body).await
    }
}

#[track_caller]
fn is_v1_error(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.body["error"]["code"].as_str()), (status, Some(code)), "{reply}");
    assert!(
        reply.body["error"]["message"].is_string() && reply.body["error"]["details"]["fix"].is_string(),
        "{reply}"
    );
    for header in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id"] {
        assert!(reply.headers.contains_key(header), "{header}: {reply}");
    }
}

#[tokio::test]
async fn a_recommendation_becomes_a_commission_as_printed() {
    let market = market().await;
    let body = json!({"event": "recommendation", "merchant_id": market.merchant_id});
    let tracked = market.track.post("/v1/track", body).await;
    assert_eq!(tracked.expect(201)["status"], "tracked");
    assert!(tracked.body["event_id"].as_str().unwrap().starts_with("evt_"));
    assert_eq!(tracked.headers["x-ratelimit-limit"], "100");
    assert_eq!(tracked.headers["x-ratelimit-remaining"], "99");
    let token = tracked.body["slat_token"].as_str().unwrap();
    assert!(token.starts_with("slat_v1_"));
    let verified = market.verified("order_001", token).await;
    assert_eq!(verified.expect(200)["status"], "verified");
    assert_eq!(
        verified.body["commission"],
        json!({"amount": 990, "currency": "usd", "rate": "10%", "publisher_id": market.publisher_id})
    );
    let list = market.track.get("/v1/commissions?status=pending&limit=20").await;
    let line = &list.expect(200)["commissions"][0];
    assert_eq!(
        (&line["amount"], &line["merchant"], &line["order_id"], &line["status"]),
        (&json!(990), &json!("Linear"), &json!("order_001"), &json!("pending"))
    );
    assert_eq!(
        (&list.body["total_pending"], &list.body["total_approved"], &list.body["total_paid"]),
        (&json!(990), &json!(0), &json!(0))
    );
    assert_eq!(list.headers["x-ratelimit-limit"], "60");
    // The same commission through the other door.
    let conversions =
        market.publisher.get(&format!("/api/agents/{}/conversions", market.publisher.id())).await;
    assert_eq!(conversions.expect(200)["pagination"]["total"], 1);
    assert_eq!(conversions.body["data"][0]["external_id"], "order_001");
    let id = conversions.body["data"][0]["id"].as_str().unwrap().to_owned();
    market.merchant.patch(&format!("/api/conversions/{id}"), json!({"status": "approved"})).await.expect(200);
    let list = market.track.get("/v1/commissions").await;
    assert_eq!((&list.body["total_pending"], &list.body["total_approved"]), (&json!(0), &json!(990)));
}

#[tokio::test]
async fn an_event_is_one_metered_click() {
    let market = market().await;
    market.tracked().await;
    let deltas: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(count), 0)::BIGINT FROM click_deltas, unnest(counts) AS count",
    )
    .fetch_one(market.app.app.db())
    .await
    .unwrap();
    let clicks: i64 =
        sqlx::query_scalar("SELECT count(*) FROM clicks").fetch_one(market.app.app.db()).await.unwrap();
    let runtime: String = sqlx::query_scalar("SELECT agent_runtime FROM attribution_events")
        .fetch_one(market.app.app.db())
        .await
        .unwrap();
    assert_eq!((deltas, clicks, runtime.as_str()), (1, 1, "langchain"));
}

#[tokio::test]
async fn the_same_verification_again_gets_the_same_answer_and_another_order_none() {
    let market = market().await;
    let token = market.tracked().await;
    let first = market.verified("order_001", &token).await;
    let again = market.verified("order_001", &token).await;
    assert_eq!(first.expect(200), again.expect(200));
    is_v1_error(&market.verified("order_002", &token).await, 409, "nonce_replay");
    let other = market.tracked().await;
    is_v1_error(&market.verified("order_001", &other).await, 409, "duplicate_conversion");
}

#[tokio::test]
async fn sixty_four_at_once_make_one_commission() {
    let market = market().await;
    let token = market.tracked().await;
    let requests: Vec<_> = (0..64)
        .map(|_| {
            let (verify, token) = (market.verify.clone(), token.clone());
            tokio::spawn(async move {
                let body =
                    json!({"order_id": "order_001", "amount": 9900, "currency": "usd", "slat_token": token});
                verify.post("/v1/verify", body).await
            })
        })
        .collect();
    let mut answers = HashSet::new();
    for request in requests {
        answers.insert(request.await.unwrap().expect(200)["verification_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(answers.len(), 1);
    let commissions: i64 =
        sqlx::query_scalar("SELECT count(*) FROM commissions").fetch_one(market.app.app.db()).await.unwrap();
    assert_eq!(commissions, 1);
}

#[tokio::test]
async fn forged_foreign_and_expired_tokens() {
    let market = market().await;
    let token = market.tracked().await;
    is_v1_error(&market.verified("o", "slat_v1_forged").await, 401, "invalid_slat_token");
    let stranger = market.app.agent("Stranger").await;
    let stranger = v1_key(&market.app, &stranger, Kind::Merchant).await;
    let body = json!({"order_id": "o", "amount": 1, "currency": "usd", "slat_token": token});
    is_v1_error(&stranger.post("/v1/verify", body).await, 401, "invalid_slat_token");
    market.app.clock.advance(TimeDelta::seconds(86_400));
    market.verified("in-time", &token).await.expect(200);
    let late = market.tracked().await;
    market.app.clock.advance(TimeDelta::seconds(86_401));
    let expired = market.verified("too-late", &late).await;
    is_v1_error(&expired, 410, "token_expired");
    assert_eq!(expired.body["error"]["details"]["token_age_seconds"], 86_401);
    assert_eq!(expired.body["error"]["details"]["max_age_seconds"], 86_400);
    market.verified("in-time", &token).await.expect(200);
}

#[tokio::test]
async fn each_key_opens_only_its_own_calls() {
    let market = market().await;
    let agent = &market.publisher;
    for client in [agent, &market.verify] {
        is_v1_error(&client.post("/v1/track", json!({})).await, 401, "api_key_invalid");
        is_v1_error(&client.get("/v1/commissions").await, 401, "api_key_invalid");
    }
    is_v1_error(&market.track.post("/v1/verify", json!({})).await, 401, "api_key_invalid");
    is_v1_error(&market.app.anyone().get("/v1/commissions").await, 401, "api_key_missing");
    market.track.get("/api/agents/me").await.is_error(401, "api_key_invalid");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let market = market().await;
    let track = async |body: Value| market.track.post("/v1/track", body).await;
    is_v1_error(&track(json!({"merchant_id": market.merchant_id})).await, 400, "missing_field");
    is_v1_error(
        &track(json!({"event": "sale", "merchant_id": market.merchant_id})).await,
        400,
        "invalid_value",
    );
    is_v1_error(
        &track(json!({"event": "click", "merchant_id": "merch_xyz"})).await,
        404,
        "merchant_not_found",
    );
    is_v1_error(
        &track(json!({"event": "click", "merchant_id": market.merchant_id, "metadata": {"a": {"b": 1}}}))
            .await,
        400,
        "invalid_value",
    );
    is_v1_error(
        &track(json!({"event": "click", "merchant_id": market.merchant_id, "program_id": "x"})).await,
        400,
        "invalid_value",
    );
    let loner = market.app.agent("No program").await;
    let loner = loner.get("/api/agents/me").await.body["merchant_id"].clone();
    is_v1_error(&track(json!({"event": "click", "merchant_id": loner})).await, 403, "not_affiliated");
    let own = v1_key(&market.app, &market.merchant, Kind::Publisher).await;
    let own = own.post("/v1/track", json!({"event": "click", "merchant_id": market.merchant_id})).await;
    is_v1_error(&own, 403, "own_program");
    let verify = async |body: Value| market.verify.post("/v1/verify", body).await;
    let token = market.tracked().await;
    is_v1_error(
        &verify(json!({"order_id": "o", "amount": 1, "currency": "usd"})).await,
        400,
        "missing_field",
    );
    is_v1_error(
        &verify(json!({"order_id": "o", "amount": 0, "currency": "usd", "slat_token": token})).await,
        400,
        "invalid_value",
    );
    is_v1_error(
        &verify(json!({"order_id": "o", "amount": 9.5, "currency": "usd", "slat_token": token})).await,
        400,
        "invalid_value",
    );
    is_v1_error(
        &verify(json!({"order_id": "o", "amount": 1, "currency": "eur", "slat_token": token})).await,
        400,
        "invalid_value",
    );
    is_v1_error(&market.track.get("/v1/commissions?limit=0").await, 400, "invalid_value");
    is_v1_error(&market.track.get("/v1/commissions?stats=paid").await, 400, "invalid_value");
    is_v1_error(&market.track.get("/v1/commissions?after=com_1").await, 400, "invalid_value");
}

#[tokio::test]
async fn the_header_stands_in_for_the_token() {
    let market = market().await;
    let now = market.app.app.clock().now().timestamp();
    let send = async |order: &str, header: String| {
        let body = json!({"order_id": order, "amount": 9900, "currency": "usd"});
        let request =
            market.verify.request("POST", "/v1/verify").header("X-SL-Attribution", header).json(&body);
        market.verify.send(request).await
    };
    let header = |reference: &str, agent: &str, ts: i64| {
        format!("atxp_reference={reference};agent_key={agent};ts={ts}")
    };
    let by_name = send("order_1", header("atxp_1", &market.publisher_id, now)).await;
    assert_eq!(by_name.expect(200)["commission"]["publisher_id"], market.publisher_id.as_str());
    let by_key = send("order_2", header("atxp_2", market.track.key(), now)).await;
    assert_eq!(by_key.expect(200)["commission"]["publisher_id"], market.publisher_id.as_str());
    assert_eq!(send("order_1", header("atxp_1", &market.publisher_id, now)).await.expect(200), &by_name.body);
    is_v1_error(&send("order_3", header("atxp_1", &market.publisher_id, now)).await, 409, "nonce_replay");
    is_v1_error(
        &send("order_4", header("atxp_4", &market.publisher_id, now - 86_401)).await,
        410,
        "token_expired",
    );
    is_v1_error(&send("order_5", header("atxp_5", "pub_nobody", now)).await, 400, "invalid_value");
    is_v1_error(&send("order_6", "nonsense".to_owned()).await, 400, "invalid_value");
}

#[tokio::test]
async fn the_limit_is_exact_and_says_when_to_come_back() {
    let market = market().await;
    for _ in 0..60 {
        market.track.get("/v1/commissions").await.expect(200);
    }
    // The window is Redis's minute; a burst that crosses into the next one starts anew, once.
    let mut last = market.track.get("/v1/commissions").await;
    for _ in 0..60 {
        if last.status == 429 {
            break;
        }
        last = market.track.get("/v1/commissions").await;
    }
    is_v1_error(&last, 429, "rate_limited");
    assert_eq!(last.headers["x-ratelimit-remaining"], "0");
    let wait: i64 = last.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn the_published_keys_verify_a_token() {
    let market = market().await;
    let token = market.tracked().await;
    let keys = market.app.anyone().get("/.well-known/slat-keys.json").await;
    let keys = keys.expect(200)["keys"].as_array().unwrap();
    let states: Vec<_> = keys.iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["retiring", "current", "next"]);
    use base64::Engine;
    let decode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
    let raw = decode(token.strip_prefix("slat_v1_").unwrap());
    let (payload, signature) = raw.split_at(94);
    let kid = u16::from_be_bytes([payload[0], payload[1]]).to_string();
    let key = keys.iter().find(|key| key["kid"] == kid.as_str()).unwrap();
    let message = [b"slat_v1_", payload].concat();
    let public = ring::signature::UnparsedPublicKey::new(
        &ring::signature::ED25519,
        decode(key["x"].as_str().unwrap()),
    );
    assert!(public.verify(&message, signature).is_ok());
}

#[tokio::test]
async fn a_payout_takes_what_is_approved_once() {
    let market = market().await;
    is_v1_error(&market.track.post("/v1/payouts", json!({"method": "wallet"})).await, 409, "nothing_to_pay");
    let token = market.tracked().await;
    market.verified("order_001", &token).await.expect(200);
    let conversions =
        market.publisher.get(&format!("/api/agents/{}/conversions", market.publisher.id())).await;
    let id = conversions.body["data"][0]["id"].as_str().unwrap().to_owned();
    market.merchant.patch(&format!("/api/conversions/{id}"), json!({"status": "approved"})).await.expect(200);
    market.merchant.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201);
    let requests: Vec<_> = (0..4)
        .map(|_| {
            let track = market.track.clone();
            tokio::spawn(async move { track.post("/v1/payouts", json!({"method": "wallet"})).await })
        })
        .collect();
    let mut paid = 0;
    for request in requests {
        let reply = request.await.unwrap();
        if reply.status == 201 {
            paid += 1;
            assert_eq!(reply.body["total"], 990);
            assert_eq!(
                (&reply.body["payouts"][0]["status"], &reply.body["payouts"][0]["merchant_id"]),
                (&json!("paid"), &json!(market.merchant_id))
            );
        } else {
            is_v1_error(&reply, 409, "nothing_to_pay");
        }
    }
    assert_eq!(paid, 1);
    let list = market.track.get("/v1/commissions?status=paid").await;
    assert_eq!((&list.expect(200)["total_approved"], &list.body["total_paid"]), (&json!(0), &json!(990)));
}

#[tokio::test]
async fn payout_addresses_are_checked() {
    let market = market().await;
    let request = async |body: Value| market.track.post("/v1/payouts", body).await;
    is_v1_error(&request(json!({"method": "usdc"})).await, 400, "missing_field");
    is_v1_error(&request(json!({"method": "usdc", "address": "0x4808...6D66"})).await, 400, "invalid_value");
    let wrong = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD";
    is_v1_error(&request(json!({"method": "usdc", "address": wrong})).await, 400, "invalid_value");
    is_v1_error(&request(json!({"method": "cash"})).await, 400, "invalid_value");
    let limited = request(json!({"method": "wallet", "address": wrong})).await;
    is_v1_error(&limited, 400, "invalid_value");
    assert_eq!(limited.headers["x-ratelimit-limit"], "10");
}
