//! From a recommendation to money, and three doors for one thing.

use super::{Market, is_v1_error, market, v1_key};
use crate::harness::{Reply, SHARDS};
use chrono::TimeDelta;
use control_plane::auth::api_keys::Kind;
use control_plane::features::clicks::fold::fold;
use control_plane::workers::drainer::Drainer;
use serde_json::{Value, json};
use shared::ClickId;

impl Market {
    /// Pending, approved and paid, in cents.
    async fn totals(&self) -> (i64, i64, i64) {
        let list = self.track.get("/v1/commissions").await;
        let body = list.expect(200);
        let total = |name: &str| body[name].as_i64().unwrap();
        (total("total_pending"), total("total_approved"), total("total_paid"))
    }

    /// The publisher's only commission, through `/v1`.
    async fn commission(&self) -> Value {
        let list = self.track.get("/v1/commissions").await;
        let lines = list.expect(200)["commissions"].as_array().unwrap().clone();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }

    /// The same through `/api`, as the publisher and the merchant see it.
    async fn conversion(&self) -> Value {
        let (publisher, program) = (self.publisher.id(), self.program().await);
        let mine = self.publisher.get(&format!("/api/agents/{publisher}/conversions")).await;
        let theirs = self.merchant.get(&format!("/api/programs/{program}/conversions")).await;
        let (mine, theirs) = (&mine.expect(200)["data"], &theirs.expect(200)["data"]);
        assert_eq!(mine.as_array().unwrap().len(), 1);
        assert_eq!(mine[0]["id"], theirs[0]["id"]);
        assert_eq!(mine[0]["commission_amount"], theirs[0]["commission_amount"]);
        mine[0].clone()
    }

    pub(super) async fn program(&self) -> String {
        let mine = self.merchant.get("/api/network/discover").await;
        mine.expect(200)["data"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn earnings(&self) -> Value {
        let path = format!("/api/agents/{}/earnings", self.publisher.id());
        self.publisher.get(&path).await.expect(200).clone()
    }
}

#[tokio::test]
async fn from_a_recommendation_to_a_paid_commission_through_both_doors() {
    let market = market().await;
    let token = market.tracked().await;
    assert_eq!(market.totals().await, (0, 0, 0));
    // Verified: pending on both sides of the glass.
    market.verified("order_001", &token).await.expect(200);
    assert_eq!(market.totals().await, (990, 0, 0));
    let (commission, conversion) = (market.commission().await, market.conversion().await);
    assert_eq!((&commission["status"], &commission["order_id"]), (&json!("pending"), &json!("order_001")));
    assert_eq!((&conversion["status"], &conversion["external_id"]), (&json!("pending"), &json!("order_001")));
    assert_eq!((&commission["amount"], &conversion["commission_amount"]), (&json!(990), &json!(9.9)));
    assert_eq!(conversion["revenue_amount"], json!(99));
    assert_eq!(market.earnings().await["totals"]["pending"], json!(9.9));
    // Approved through /api.
    let path = format!("/api/conversions/{}", conversion["id"].as_str().unwrap());
    market.merchant.patch(&path, json!({"status": "approved"})).await.expect(200);
    assert_eq!(market.totals().await, (0, 990, 0));
    assert_eq!(market.commission().await["status"], "approved");
    assert_eq!(market.conversion().await["status"], "approved");
    // Asked for through /v1: the merchant's wallet is empty, so it waits, and nothing is paid.
    let asked = market.track.post("/v1/payouts", json!({"method": "wallet"})).await;
    assert_eq!(asked.expect(201)["payouts"][0]["status"], "awaiting_funds");
    assert_eq!((&asked.body["total"], &asked.body["currency"]), (&json!(990), &json!("usd")));
    assert_eq!(market.totals().await, (0, 990, 0));
    let payout = asked.body["payouts"][0]["id"].as_str().unwrap().strip_prefix("pay_").unwrap().to_owned();
    let payout = uuid::Uuid::parse_str(&payout).unwrap();
    let seen = market.publisher.get(&format!("/api/payouts/{payout}")).await;
    assert_eq!((&seen.expect(200)["status"], &seen.body["amount"]), (&json!("awaiting_funds"), &json!(9.9)));
    // Funded: the job pays it.
    market.merchant.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201);
    control_plane::features::payouts::funding::job(market.app.app.clone()).await.unwrap();
    assert_eq!(market.totals().await, (0, 0, 990));
    assert_eq!(market.commission().await["status"], "paid");
    assert_eq!(market.conversion().await["status"], "paid");
    assert_eq!(market.publisher.get(&format!("/api/payouts/{payout}")).await.expect(200)["status"], "paid");
    assert_eq!(market.publisher.get("/api/wallet").await.expect(200)["balance"], json!(9.9));
    let paid = market.track.get("/v1/commissions?status=paid&limit=20").await;
    assert_eq!(paid.expect(200)["commissions"][0]["id"], commission["id"]);
    market.app.audit().await;
}

#[tokio::test]
async fn a_tracked_event_a_redirect_and_a_server_side_click_are_one_thing() {
    let market = market().await;
    let slat = market.tracked().await;
    let joined = market.publisher.get(&format!("/api/agents/{}/partnerships", market.publisher.id())).await;
    let partnership = joined.expect(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let links = async || {
        let links = market.publisher.get(&format!("/api/partnerships/{partnership}/links")).await;
        links.expect(200)["data"].as_array().unwrap().clone()
    };
    let link = links().await[0].clone();
    assert_eq!(link["clicks"], 1, "the event is a click on the partnership's own link");
    let token = link["token"].as_str().unwrap();
    // A server-side click on the same link.
    let clicked =
        market.publisher.post("/api/conversions/track-click", json!({"tracking_token": token})).await;
    let server_side = clicked.expect(201)["click_id"].as_str().unwrap().to_owned();
    // A redirect of the same link, as an edge ships it.
    let app = &market.app;
    let mut spool = app.spool(app.number(&market.merchant).await.unsigned_abs());
    spool.link = app.app.token_key().parse(token.as_bytes()).unwrap();
    spool.ship(&spool.frame(0, 1)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    let tag: i64 = app.count("SELECT spool_tag::BIGINT FROM clicks WHERE spool_tag <> 0").await;
    let at_ms = spool.click(0).at_ms;
    let redirected = ClickId { at_ms, spool_tag: tag as u32, seq: 0, link: spool.link };
    let redirected = String::from_utf8(app.app.click_id_key().mint(&redirected).to_vec()).unwrap();
    // Stats, before and after the fold; metering.
    assert_eq!(links().await[0]["clicks"], 3);
    while fold(&mut app.app.db_worker().acquire().await.unwrap(), app.now()).await.unwrap().rows > 0 {}
    assert_eq!(links().await[0]["clicks"], 3);
    let usage = market.merchant.get("/api/usage").await;
    assert_eq!(usage.expect(200)["usage"]["clicks"]["used"], 3);
    assert_eq!(market.publisher.get("/api/usage").await.expect(200)["usage"]["clicks"]["used"], 0);
    // Attribution: each of the three earns the same commission for the same publisher on the same link.
    market.verified("order-slat", &slat).await.expect(200);
    for (order, click) in [("order-redirect", &redirected), ("order-server", &server_side)] {
        let body = json!({"tracking_token": token, "event_type": "sale", "revenue_amount": 99, "external_id": order, "click_id": click});
        market.merchant.post("/api/conversions/track", body).await.expect(201);
    }
    let conversions =
        market.publisher.get(&format!("/api/agents/{}/conversions", market.publisher.id())).await;
    let all = conversions.expect(200)["data"].as_array().unwrap();
    assert_eq!(all.len(), 3);
    for one in all {
        assert_eq!((&one["commission_amount"], &one["link_id"]), (&json!(9.9), &link["id"]), "{one}");
        assert!(one["click_id"].is_string(), "{one}");
    }
    assert_eq!(links().await[0]["conversions"], 3);
    assert_eq!(market.totals().await, (2970, 0, 0));
    app.audit().await;
}

#[tokio::test]
async fn every_error_of_the_document_in_its_shape() {
    let market = market().await;
    let token = market.tracked().await;
    let mut replies: Vec<(&str, u16, Reply)> = vec![
        ("invalid_slat_token", 401, market.verified("o", &format!("{token}x")).await),
        ("invalid_slat_token", 401, market.verified("o", token.split_at(60).0).await),
    ];
    market.verified("order_001", &token).await.expect(200);
    replies.push(("nonce_replay", 409, market.verified("order_002", &token).await));
    let nobody = json!({"event": "recommendation", "merchant_id": "merch_xyz", "product_id": "prod_456"});
    replies.push(("merchant_not_found", 404, market.track.post("/v1/track", nobody).await));
    let late = market.tracked().await;
    market.app.clock.advance(TimeDelta::seconds(86_401));
    let expired = market.verified("late", &late).await;
    assert_eq!(expired.body["error"]["details"]["token_age_seconds"], 86_401);
    assert_eq!(expired.body["error"]["details"]["max_age_seconds"], 86_400);
    replies.push(("token_expired", 410, expired));
    let hurried = loop {
        let reply = market.track.get("/v1/commissions").await;
        if reply.status != 200 {
            break reply;
        }
    };
    replies.push(("rate_limited", 429, hurried));
    for (code, status, reply) in &replies {
        is_v1_error(reply, *status, code);
        let members: Vec<_> = reply.body["error"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "details", "message"], "{reply}");
        assert_eq!(reply.body.as_object().unwrap().len(), 1, "{reply}");
    }
}

#[tokio::test]
async fn what_never_reaches_a_handler_has_the_same_shape_and_the_headers() {
    let market = market().await;
    let post = async |body: &'static str, content_type: &str, key: &str| {
        let request = market.track.request("POST", "/v1/track");
        market
            .track
            .send(request.header("content-type", content_type).header("idempotency-key", key).body(body))
            .await
    };
    is_v1_error(&post("{", "application/json", "a").await, 400, "invalid_value");
    is_v1_error(&post("{}", "text/plain", "b").await, 415, "unsupported_media_type");
    is_v1_error(&post("{}", "application/json", "").await, 400, "invalid_value");
    let large = "x".repeat(70_000);
    let large = market.track.send(market.track.request("POST", "/v1/track").body(large)).await;
    is_v1_error(&large, 413, "payload_too_large");
    for (reply, status, code) in [
        (market.track.get("/v1/nothing").await, 404, "not_found"),
        (market.track.get("/v1/track").await, 405, "method_not_allowed"),
    ] {
        assert_eq!((reply.status, &reply.body["error"]["code"]), (status, &json!(code)), "{reply}");
    }
}

#[tokio::test]
async fn a_key_is_minted_through_the_api_and_revoked_at_once() {
    let market = market().await;
    let keys = format!("/api/agents/{}/keys", market.publisher.id());
    let minted = market.publisher.post(&keys, json!({"kind": "publisher"})).await;
    let key = minted.expect(201)["key"].as_str().unwrap();
    assert!(key.starts_with("aff_agent_"));
    let client = market.app.with_key(key);
    client.get("/v1/commissions").await.expect(200);
    let revoke = format!("{keys}/{}", minted.body["id"].as_str().unwrap());
    market.publisher.delete(&revoke).await.expect(200);
    is_v1_error(&client.get("/v1/commissions").await, 401, "api_key_invalid");
    let merchant = v1_key(&market.app, &market.merchant, Kind::Merchant).await;
    assert!(merchant.key().starts_with("merch_key_"));
}
