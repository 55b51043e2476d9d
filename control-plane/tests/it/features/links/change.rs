//! `PATCH /api/links/:id`, `DELETE /api/links/:id`.

use crate::harness::TestApp;
use chrono::TimeDelta;
use serde_json::json;

#[tokio::test]
async fn absent_stays_null_clears_and_a_value_sets() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    app.take_outbox().await;
    app.clock.advance(TimeDelta::minutes(1));
    let path = format!("/api/links/{}", offer.link);
    let told = [("link".to_owned(), offer.link.clone())];
    let labelled = offer.affiliate.patch(&path, json!({"sub_id": "news"})).await;
    assert_eq!(labelled.expect(200)["sub_id"], "news");
    assert_eq!(labelled.body["destination_url"], "https://example.com/pricing");
    assert_eq!(labelled.body["updated_at"], "2026-06-15T12:01:00.000Z");
    assert_eq!(app.take_outbox().await, [], "edges do not know labels");
    let moved = offer.affiliate.patch(&path, json!({"destination_url": "https://example.com/plans"})).await;
    assert_eq!(
        (&moved.expect(200)["destination_url"], &moved.body["sub_id"]),
        (&json!("https://example.com/plans"), &json!("news"))
    );
    assert_eq!(app.take_outbox().await, told);
    let cleared = offer.affiliate.patch(&path, json!({"sub_id": null})).await;
    assert_eq!(cleared.expect(200)["sub_id"], json!(null));
    offer.affiliate.patch(&path, json!({})).await.expect(200);
    offer.affiliate.patch(&path, json!({"destination_url": "https://example.com/plans"})).await.expect(200);
    assert_eq!(app.take_outbox().await, [], "what stays the same is not told");
    offer.affiliate.patch(&path, json!({"destination_url": null})).await.is_error(400, "invalid_value");
    assert_eq!(offer.affiliate.get(&path).await.expect(200)["token"], offer.token.as_str());
}

#[tokio::test]
async fn a_deleted_link_is_gone_for_everybody() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    app.take_outbox().await;
    let path = format!("/api/links/{}", offer.link);
    offer.advertiser.delete(&path).await.is_error(403, "not_owner");
    let reply = offer.affiliate.delete(&path).await;
    assert_eq!(*reply.expect(200), json!({"id": offer.link, "deleted": true}));
    assert_eq!(app.take_outbox().await, [("link".to_owned(), offer.link.clone())]);
    offer.affiliate.delete(&path).await.is_error(404, "not_found");
    offer.affiliate.get(&path).await.is_error(404, "not_found");
    offer.affiliate.patch(&path, json!({"sub_id": "x"})).await.is_error(404, "not_found");
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let stranger = app.agent("Stranger").await;
    let path = format!("/api/links/{}", offer.link);
    let bad = json!({"url": "https://example.com/"});
    app.anyone().patch(&path, bad.clone()).await.is_error(401, "api_key_missing");
    stranger.patch("/api/links/x", bad.clone()).await.is_error(400, "invalid_id");
    stranger
        .patch("/api/links/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10", bad.clone())
        .await
        .is_error(404, "not_found");
    stranger.patch(&path, bad.clone()).await.is_error(404, "not_found");
    offer.advertiser.patch(&path, bad.clone()).await.is_error(403, "not_owner");
    offer.affiliate.patch(&path, bad).await.is_error(400, "invalid_value");
    for member in ["token", "clicks", "affiliate_id", "key", "deleted_at", "blocked_at", "host"] {
        let reply = offer.affiliate.patch(&path, json!({member: "x"})).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], member);
    }
    app.anyone().delete(&path).await.is_error(401, "api_key_missing");
    stranger.delete("/api/links/x").await.is_error(400, "invalid_id");
    stranger.delete(&path).await.is_error(404, "not_found");
    let partnership = format!("/api/partnerships/{}", offer.partnership);
    offer.advertiser.patch(&partnership, json!({"status": "suspended"})).await.expect(200);
    assert_eq!(offer.affiliate.get(&path).await.expect(200)["status"], "untracked");
    offer.affiliate.patch(&path, json!({"sub_id": "x"})).await.is_error(403, "not_approved");
    offer.affiliate.delete(&path).await.expect(200);
}

#[tokio::test]
async fn changing_and_deleting_at_once_ends_deleted() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let path = format!("/api/links/{}", offer.link);
    let calls: Vec<_> = (0..6)
        .map(|n| {
            let (affiliate, path) = (offer.affiliate.clone(), path.clone());
            tokio::spawn(async move {
                if n == 2 {
                    affiliate.delete(&path).await
                } else {
                    affiliate
                        .patch(&path, json!({"destination_url": format!("https://example.com/{n}")}))
                        .await
                }
            })
        })
        .collect();
    for call in calls {
        let reply = call.await.unwrap();
        assert!([200, 404].contains(&reply.status), "{reply}");
    }
    offer.affiliate.get(&path).await.is_error(404, "not_found");
}
