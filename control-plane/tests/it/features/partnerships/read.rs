//! `GET /api/partnerships/:id`, `GET /api/programs/:id/affiliates`, `GET /api/agents/:id/partnerships`.

use crate::harness::TestApp;
use chrono::TimeDelta;
use serde_json::json;

#[tokio::test]
async fn both_sides_read_it_and_nobody_else_knows_of_it() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let stranger = app.agent("Stranger").await;
    let path = format!("/api/partnerships/{}", offer.partnership);
    let reply = offer.advertiser.get(&path).await;
    assert_eq!(
        *reply.expect(200),
        json!({
            "id": offer.partnership, "program_id": offer.program, "affiliate_id": offer.affiliate.id(),
            "advertiser_id": offer.advertiser.id(), "status": "approved", "message": null,
            "program": {"id": offer.program, "name": "My SaaS", "url": null, "status": "active",
                        "commission_type": "percentage", "commission_value": 20},
            "affiliate": {"id": offer.affiliate.id(), "name": "Affiliate", "handle": "affiliate"},
            "created_at": "2026-06-15T12:00:00.000Z", "updated_at": "2026-06-15T12:00:00.000Z",
            "approved_at": "2026-06-15T12:00:00.000Z", "ended_at": null,
        })
    );
    assert_eq!(offer.affiliate.get(&path).await.expect(200), &reply.body);
    stranger.get(&path).await.is_error(404, "not_found");
    stranger.get("/api/partnerships/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10").await.is_error(404, "not_found");
    app.anyone().get(&path).await.is_error(401, "api_key_missing");
    offer.affiliate.get("/api/partnerships/x").await.is_error(400, "invalid_id");
}

#[tokio::test]
async fn an_advertiser_lists_its_affiliates() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let program = app.program_with(&advertiser, json!({"approval_mode": "manual"})).await;
    let program = program["id"].as_str().unwrap().to_owned();
    let mut partnerships = Vec::new();
    for n in 0..3 {
        let affiliate = app.agent(&format!("Affiliate {n}")).await;
        partnerships.push(app.joined(&affiliate, &program).await);
        app.clock.advance(TimeDelta::seconds(1));
    }
    advertiser
        .patch(&format!("/api/partnerships/{}", partnerships[1]), json!({"status": "approved"}))
        .await
        .expect(200);
    let path = format!("/api/programs/{program}/affiliates");
    let list = async |query: &str| {
        let reply = advertiser.get(&format!("{path}{query}")).await;
        let rows = reply.expect(200)["data"].as_array().unwrap().clone();
        (rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), reply)
    };
    partnerships.reverse();
    assert_eq!(list("").await.0, partnerships);
    let (approved, reply) = list("?status=approved").await;
    assert_eq!(
        (approved, &reply.body["query"]),
        (vec![partnerships[1].clone()], &json!({"status": "approved"}))
    );
    let (first, reply) = list("?per_page=2").await;
    let cursor = reply.body["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    let (rest, reply) = list(&format!("?per_page=2&cursor={cursor}")).await;
    assert_eq!([first, rest].concat(), partnerships);
    assert!(reply.body["pagination"]["next_cursor"].is_null());
    let stranger = app.agent("Stranger").await;
    app.anyone().get(&path).await.is_error(401, "api_key_missing");
    stranger.get("/api/programs/x/affiliates?bad=1").await.is_error(400, "invalid_id");
    stranger
        .get("/api/programs/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10/affiliates?bad=1")
        .await
        .is_error(404, "not_found");
    stranger.get(&format!("{path}?bad=1")).await.is_error(403, "not_owner");
    advertiser.get(&format!("{path}?bad=1")).await.is_error(400, "invalid_value");
    let typo = advertiser.get(&format!("{path}?status=aproved")).await;
    assert!(typo.is_error(400, "invalid_value").contains("`approved`"), "{typo}");
}

#[tokio::test]
async fn an_affiliate_lists_what_it_joined() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    app.clock.advance(TimeDelta::seconds(1));
    let second =
        app.program_with(&offer.advertiser, json!({"name": "Second", "approval_mode": "manual"})).await;
    app.joined(&offer.affiliate, second["id"].as_str().unwrap()).await;
    let path = format!("/api/agents/{}/partnerships", offer.affiliate.id());
    let names = async |query: &str| {
        let reply = offer.affiliate.get(&format!("{path}{query}")).await;
        let rows = reply.expect(200)["data"].as_array().unwrap().clone();
        rows.iter().map(|row| row["program"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["Second", "My SaaS"]);
    assert_eq!(names("?status=pending").await, ["Second"]);
    assert_eq!(names("?status=cancelled").await, [""; 0]);
    app.anyone().get(&path).await.is_error(401, "api_key_missing");
    offer.advertiser.get("/api/agents/x/partnerships?bad=1").await.is_error(400, "invalid_id");
    let missing = "/api/agents/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10/partnerships?bad=1";
    offer.advertiser.get(missing).await.is_error(404, "not_found");
    offer.advertiser.get(&format!("{path}?bad=1")).await.is_error(403, "not_owner");
    offer.affiliate.get(&format!("{path}?bad=1")).await.is_error(400, "invalid_value");
}
