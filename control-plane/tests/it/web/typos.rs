//! The mistakes that agents make, and what they are told: word for word, since the words are the product.
//!
//! Each `fix` must be enough to send the right call without asking anybody.

use crate::harness::{Reply, TestApp};
use serde_json::{Value, json};

/// The four members and `field`.
fn said(reply: &Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{reply}");
    let mut body = reply.body.clone();
    assert_eq!(body.as_object_mut().unwrap().remove("docs").unwrap(), "/docs");
    body
}

#[tokio::test]
async fn each_typo_is_answered_with_its_cure() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let agent = &offer.advertiser;
    let sent = async |method: &str, path: &str, body: &str| {
        let request = agent.request(method, path).header("content-type", "application/json");
        agent.send(request.body(body.to_owned())).await
    };

    let misspelt = r#"{"name":"My SaaS","commission_type":"percentage","comission_value":20}"#;
    assert_eq!(
        said(&sent("POST", "/api/programs", misspelt).await, 400),
        json!({
            "error": "invalid_value",
            "message": "There is no field `comission_value`.",
            "fix": "Did you mean `commission_value`? Allowed here: `name`, `commission_type`, `commission_value`, `description`, `url`, `niche`, `audience_type`, `approval_mode`, `auto_approve_affiliates`, `attribution_days`, `hold_days`, `auto_approve_days`, `pay_classes`, `dedup_seconds`, `min_payout`, `click_id_param`, `allowed_hosts`, `disclosure_text`.",
            "field": "comission_value",
        })
    );

    let string_for_number = r#"{"name":"My SaaS","commission_type":"percentage","commission_value":"20"}"#;
    assert_eq!(
        said(&sent("POST", "/api/programs", string_for_number).await, 400),
        json!({
            "error": "invalid_value",
            "message": "`commission_value` is a text; it must be a number.",
            "fix": "Send `commission_value` as a JSON number without quotes, such as 20 or 12.5.",
            "field": "commission_value",
        })
    );

    let missing_brace = r#"{"name":"My SaaS","commission_type":"percentage","commission_value":20"#;
    assert_eq!(
        said(&sent("POST", "/api/programs", missing_brace).await, 400),
        json!({
            "error": "invalid_value",
            "message": "The body is not valid JSON: EOF while parsing an object at line 1, column 70.",
            "fix": "The body breaks off: close every brace, bracket and quote that was opened, and send it again.",
            "field": "body",
        })
    );

    assert_eq!(
        said(&agent.get("/api/conversions/track").await, 405),
        json!({
            "error": "method_not_allowed",
            "message": "/api/conversions/track does not answer GET.",
            "fix": "Send POST /api/conversions/track (Report a lead, a sale or a click) instead.",
        })
    );

    assert_eq!(
        said(&agent.get("/api/agents/me/").await, 404),
        json!({
            "error": "not_found",
            "message": "There is no route GET /api/agents/me/.",
            "fix": "Did you mean GET /api/agents/me? Every call is in /openapi.json and /docs.",
        })
    );

    assert_eq!(
        said(&agent.get("/api/programs/018f2f6e-7c1a-7bd3-9d53").await, 400),
        json!({
            "error": "invalid_id",
            "message": "The path parameter `id` is not a UUID.",
            "fix": "Put the object's `id`, a UUID such as 018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10, in place of `id`.",
            "field": "id",
        })
    );

    agent.post(&format!("/api/agents/{}/rotate-key", agent.id()), json!({})).await.expect(200);
    assert_eq!(
        said(&agent.get("/api/agents/me").await, 401),
        json!({
            "error": "api_key_invalid",
            "message": "The bearer token is unknown or was revoked.",
            "fix": "Send `Authorization: Bearer aos_live_…` with the key from sign-up or the latest POST /api/agents/:id/rotate-key.",
        })
    );
}

#[tokio::test]
async fn more_typos_name_what_was_meant() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let agent = &offer.advertiser;
    let fix = |reply: Reply, status: u16, code: &str, words: &[&str]| {
        let fix = reply.is_error(status, code).to_owned();
        for word in words {
            assert!(fix.contains(word), "{word} in {reply}");
        }
    };
    let post = async |path: &str, body: Value| agent.post(path, body).await;
    fix(agent.get("/api/program").await, 404, "not_found", &["GET /api/programs?"]);
    fix(agent.get("/programs").await, 404, "not_found", &["GET /api/programs?"]);
    fix(post("/api/programs/", json!({})).await, 404, "not_found", &["POST /api/programs?"]);
    fix(post("/api/agents/me", json!({})).await, 405, "method_not_allowed", &["GET /api/agents/me"]);
    fix(agent.get("/api/network/discover?nich=saas").await, 400, "invalid_value", &["Did you mean `niche`?"]);
    fix(
        agent.get("/api/network/discover?sort=higest_commission").await,
        400,
        "invalid_value",
        &["Did you mean `highest_commission`?"],
    );
    fix(agent.get("/api/agents?page=two").await, 400, "invalid_value", &["`page`", "whole number"]);
    let program = |changes: Value| {
        let mut body = json!({"name": "x", "commission_type": "percentage", "commission_value": 20});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    let types = [
        (json!({"commission_type": "percent"}), vec!["Did you mean `percentage`?"]),
        (json!({"commission_type": 20}), vec!["`commission_type`", "`percentage`", "`fixed`"]),
        (json!({"name": 7}), vec!["`name`", "in quotes"]),
        (json!({"name": null}), vec!["`name`", "in quotes"]),
        (json!({"hold_days": "14"}), vec!["`hold_days`", "whole number"]),
        (json!({"hold_days": 1.5}), vec!["`hold_days`", "whole number"]),
        (json!({"auto_approve_affiliates": "yes"}), vec!["true or false"]),
        (json!({"allowed_hosts": "example.com"}), vec!["`allowed_hosts`", "list", "[\"…\"]"]),
        (json!({"commission_value": true}), vec!["`commission_value`", "number"]),
    ];
    for (changes, words) in types {
        fix(post("/api/programs", program(changes)).await, 400, "invalid_value", &words);
    }
    fix(
        post("/api/conversions/track", json!({"tracking_token": offer.token, "event_type": "sale"})).await,
        400,
        "missing_field",
        &["`revenue_amount`", "99.00"],
    );
    fix(post("/api/wallet/topup", json!({"amount": 7})).await, 400, "invalid_value", &["5", "500"]);
    fix(
        app.with_key(agent.key().get(..20).unwrap()).get("/api/agents/me").await,
        401,
        "api_key_invalid",
        &["Authorization: Bearer aos_live_"],
    );
}
