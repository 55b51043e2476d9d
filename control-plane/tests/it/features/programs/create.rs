//! `POST /api/programs`.

use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn the_documented_body_makes_a_program() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let reply = advertiser
        .post(
            "/api/programs",
            json!({"name": "My SaaS", "commission_type": "percentage", "commission_value": 20}),
        )
        .await;
    let program = reply.expect(201);
    assert_eq!(
        *program,
        json!({
            "id": program["id"],
            "advertiser_id": advertiser.id(),
            "advertiser": {"id": advertiser.id(), "name": "Advertiser", "handle": "advertiser"},
            "name": "My SaaS", "description": null, "url": null, "niche": null, "audience_type": null,
            "commission_type": "percentage", "commission_value": 20, "currency": "usd",
            "approval_mode": "manual", "auto_approve_affiliates": false,
            "attribution_days": 30, "hold_days": 0, "auto_approve_days": 45,
            "pay_classes": ["human", "agent", "agent_verified", "tool"], "dedup_seconds": 10,
            "min_payout": 0, "click_id_param": null, "allowed_hosts": [],
            "disclosure_text": "I earn a commission when you buy through this link.", "sponsored": false,
            "status": "active", "affiliates": 0, "epc": null, "approval_rate": null, "days_to_pay": null, "funded": false,
            "created_at": "2026-06-15T12:00:00.000Z", "updated_at": "2026-06-15T12:00:00.000Z",
        })
    );
    let path = format!("/api/programs/{}", program["id"].as_str().unwrap());
    assert_eq!(app.anyone().get(&path).await.expect(200), program, "anyone may read it");
}

#[tokio::test]
async fn every_member_comes_back_as_it_was_understood() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let program = app
        .program_with(
            &advertiser,
            json!({
                "name": "  Shop ", "description": "Two\nlines", "url": "HTTPS://Shop.Example", "niche": "E-Commerce",
                "audience_type": "b2c", "commission_type": "fixed", "commission_value": 9.99, "approval_mode": "auto",
                "auto_approve_affiliates": true, "attribution_days": 7, "hold_days": 14, "auto_approve_days": 10,
                "pay_classes": ["human", "human"], "dedup_seconds": 0, "min_payout": 25.5, "click_id_param": "cid",
                "allowed_hosts": ["Shop.Example", "pay.example", "shop.example"],
            }),
        )
        .await;
    for (member, value) in [
        ("name", json!("Shop")),
        ("description", json!("Two\nlines")),
        ("url", json!("https://shop.example/")),
        ("niche", json!("E-Commerce")),
        ("commission_type", json!("fixed")),
        ("commission_value", json!(9.99)),
        ("approval_mode", json!("auto")),
        ("auto_approve_affiliates", json!(true)),
        ("attribution_days", json!(7)),
        ("hold_days", json!(14)),
        ("auto_approve_days", json!(10)),
        ("pay_classes", json!(["human"])),
        ("dedup_seconds", json!(0)),
        ("min_payout", json!(25.5)),
        ("click_id_param", json!("cid")),
        ("allowed_hosts", json!(["pay.example", "shop.example"])),
    ] {
        assert_eq!(program[member], value, "{member}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let post = async |body: serde_json::Value| advertiser.post("/api/programs", body).await;
    let base = json!({"name": "x", "commission_type": "percentage", "commission_value": 20});
    for field in ["name", "commission_type", "commission_value"] {
        let mut body = base.clone();
        body.as_object_mut().unwrap().remove(field);
        let reply = post(body).await;
        reply.is_error(400, "missing_field");
        assert_eq!(reply.body["field"], field);
    }
    let typo = post(json!({"name": "x", "commission_type": "percentage", "comission_value": 20})).await;
    assert!(typo.is_error(400, "invalid_value").contains("`commission_value`"), "{typo}");
    let kind = post(json!({"name": "x", "commission_type": "percent", "commission_value": 20})).await;
    assert!(kind.is_error(400, "invalid_value").contains("`percentage`"), "{kind}");
    for (field, value) in [
        ("commission_value", json!(100.01)),
        ("commission_value", json!("20")),
        ("commission_value", json!(-1)),
        ("commission_value", json!(0.001)),
        ("approval_mode", json!("automatic")),
        ("status", json!("paused")),
        ("advertiser_id", json!("018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10")),
        ("affiliates", json!(5)),
        ("id", json!("018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10")),
    ] {
        let mut body = base.clone();
        body[field] = value;
        let reply = post(body).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], field, "{reply}");
    }
    let exponent = advertiser
        .request("POST", "/api/programs")
        .header("content-type", "application/json")
        .body(r#"{"name":"x","commission_type":"fixed","commission_value":1e400}"#);
    advertiser.send(exponent).await.is_error(400, "invalid_value");
    app.anyone().post("/api/programs", base.clone()).await.is_error(401, "api_key_missing");
    app.with_key("aos_live_x").post("/api/programs", base).await.is_error(401, "api_key_invalid");
    assert_eq!(app.anyone().get("/api/programs").await.expect(200)["pagination"]["total"], 0);
}

#[tokio::test]
async fn one_idempotency_key_makes_one_program() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let post = |name: &str| {
        let body = json!({"name": name, "commission_type": "fixed", "commission_value": 5});
        let request = advertiser.request("POST", "/api/programs").header("idempotency-key", "k1").json(&body);
        let advertiser = advertiser.clone();
        tokio::spawn(async move { advertiser.send(request).await })
    };
    let mut ids = std::collections::HashSet::new();
    for reply in [post("x"), post("x"), post("x"), post("x")] {
        ids.insert(reply.await.unwrap().expect(201)["id"].clone());
    }
    assert_eq!(ids.len(), 1);
    let replayed = post("x").await.unwrap();
    assert_eq!(replayed.headers["idempotent-replayed"], "true");
    post("y").await.unwrap().is_error(409, "idempotency_key_reused");
    assert_eq!(app.anyone().get("/api/programs").await.expect(200)["pagination"]["total"], 1);
}
