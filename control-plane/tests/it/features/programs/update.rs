//! `PATCH /api/programs/:id`.

use crate::harness::TestApp;
use chrono::TimeDelta;
use serde_json::json;

#[tokio::test]
async fn absent_stays_null_clears_and_a_value_sets() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let program = app
        .program_with(
            &advertiser,
            json!({"niche": "saas", "url": "https://example.com/", "hold_days": 7, "min_payout": 50}),
        )
        .await;
    let path = format!("/api/programs/{}", program["id"].as_str().unwrap());
    app.clock.advance(TimeDelta::minutes(5));
    let raised = advertiser.patch(&path, json!({"commission_value": 30})).await;
    let mut wanted = program.clone();
    wanted["commission_value"] = json!(30);
    wanted["updated_at"] = json!("2026-06-15T12:05:00.000Z");
    assert_eq!(raised.expect(200), &wanted);
    let cleared = advertiser
        .patch(
            &path,
            json!({"niche": null, "url": null, "hold_days": null, "min_payout": null, "approval_mode": null}),
        )
        .await;
    for (member, value) in [
        ("niche", json!(null)),
        ("url", json!(null)),
        ("hold_days", json!(0)),
        ("min_payout", json!(0)),
        ("approval_mode", json!("manual")),
        ("commission_value", json!(30)),
    ] {
        assert_eq!(cleared.expect(200)[member], value, "{member}");
    }
    let unchanged = advertiser.patch(&path, json!({})).await;
    assert_eq!(unchanged.expect(200), cleared.expect(200));
    assert_eq!(app.anyone().get(&path).await.expect(200), cleared.expect(200));
}

#[tokio::test]
async fn only_the_named_members_can_be_written() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let program = app.program_with(&advertiser, json!({})).await;
    let path = format!("/api/programs/{}", program["id"].as_str().unwrap());
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT column_name::TEXT FROM information_schema.columns WHERE table_name = 'programs'",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap();
    let writable = [
        "name",
        "description",
        "url",
        "niche",
        "audience_type",
        "commission_type",
        "approval_mode",
        "attribution_days",
        "hold_days",
        "auto_approve_days",
        "pay_classes",
        "dedup_seconds",
        "click_id_param",
        "allowed_hosts",
        "disclosure_text",
    ];
    assert!(columns.len() > writable.len());
    for column in columns.iter().filter(|column| !writable.contains(&column.as_str())) {
        let reply = advertiser.patch(&path, json!({column.as_str(): program["id"]})).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], column.as_str(), "{reply}");
    }
    assert_eq!(app.anyone().get(&path).await.expect(200), &program);
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let app = TestApp::start().await;
    let (advertiser, stranger) = (app.agent("Advertiser").await, app.agent("Stranger").await);
    let program = app.program(&advertiser).await;
    let path = format!("/api/programs/{program}");
    let missing = "/api/programs/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10";
    let bad = json!({"commission_value": -5});
    app.anyone().patch("/api/programs/x", bad.clone()).await.is_error(401, "api_key_missing");
    stranger.patch("/api/programs/x", bad.clone()).await.is_error(400, "invalid_id");
    stranger.patch(missing, bad.clone()).await.is_error(404, "not_found");
    stranger.patch(&path, bad.clone()).await.is_error(403, "not_owner");
    advertiser.patch(&path, bad.clone()).await.is_error(400, "invalid_value");
    advertiser.patch(&path, json!({"commission_type": "fixed"})).await.is_error(400, "missing_field");
    advertiser.patch(&path, json!({"name": null})).await.is_error(400, "invalid_value");
    advertiser.patch(&path, json!([])).await.is_error(400, "invalid_value");
    let typo = advertiser.patch(&path, json!({"comission_value": 5})).await;
    assert!(typo.is_error(400, "invalid_value").contains("`commission_value`"), "{typo}");
}

#[tokio::test]
async fn edges_hear_of_what_they_answer_with_and_of_nothing_else() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let path = format!("/api/programs/{}", offer.program);
    app.take_outbox().await;
    let change = async |body: serde_json::Value| {
        offer.advertiser.patch(&path, body).await.expect(200);
        app.take_outbox().await
    };
    let told = vec![("program".to_owned(), offer.program.clone())];
    assert_eq!(change(json!({"click_id_param": "cid"})).await, told);
    assert_eq!(change(json!({"pay_classes": ["human"]})).await, told);
    assert_eq!(change(json!({"dedup_seconds": 60})).await, told);
    assert_eq!(change(json!({"dedup_seconds": 60, "name": "Other", "commission_value": 5})).await, []);
    assert_eq!(change(json!({"allowed_hosts": ["example.com", "other.test"]})).await, []);
}

#[tokio::test]
async fn links_outside_new_hosts_are_blocked_until_their_hosts_are_back() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let (program, link) = (format!("/api/programs/{}", offer.program), format!("/api/links/{}", offer.link));
    app.take_outbox().await;
    let status = async || offer.affiliate.get(&link).await.expect(200)["status"].clone();
    assert_eq!(status().await, "active");
    offer.advertiser.patch(&program, json!({"allowed_hosts": ["other.test"]})).await.expect(200);
    assert_eq!(status().await, "gone");
    assert_eq!(app.take_outbox().await.len(), 1);
    let outside = offer.affiliate.patch(&link, json!({"destination_url": "https://example.com/plans"})).await;
    assert!(outside.is_error(400, "invalid_value").contains("`other.test`"), "{outside}");
    // A host allows what is below it, and the host of the program's address stands in for none.
    offer
        .advertiser
        .patch(&program, json!({"allowed_hosts": null, "url": "https://www.example.com"}))
        .await
        .expect(200);
    assert_eq!(status().await, "active");
    offer.advertiser.patch(&program, json!({"url": "https://ample.com"})).await.expect(200);
    assert_eq!(status().await, "gone");
    offer.advertiser.patch(&program, json!({"allowed_hosts": ["ample.com"]})).await.expect(200);
    assert_eq!(status().await, "gone");
    offer.affiliate.patch(&link, json!({"destination_url": "https://a.ample.com/"})).await.expect(200);
    assert_eq!(status().await, "active");
    offer.advertiser.patch(&program, json!({"allowed_hosts": [], "url": null})).await.expect(200);
    assert_eq!(status().await, "active");
}
