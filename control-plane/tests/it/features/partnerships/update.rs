//! `PATCH /api/partnerships/:id`.

use crate::harness::{Client, TestApp};
use chrono::TimeDelta;
use serde_json::json;

async fn pending() -> (TestApp, Client, Client, String, String) {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.agent("Advertiser").await, app.agent("Affiliate").await);
    let program = app.program_with(&advertiser, json!({"approval_mode": "manual"})).await;
    let program = program["id"].as_str().unwrap().to_owned();
    let partnership = app.joined(&affiliate, &program).await;
    app.take_outbox().await;
    (app, advertiser, affiliate, program, format!("/api/partnerships/{partnership}"))
}

#[tokio::test]
async fn the_advertiser_decides_and_either_side_leaves() {
    let (app, advertiser, affiliate, program, path) = pending().await;
    app.clock.advance(TimeDelta::hours(1));
    let set = async |who: &Client, status: &str| who.patch(&path, json!({"status": status})).await;
    let affiliates = async || {
        app.anyone().get(&format!("/api/programs/{program}")).await.expect(200)["affiliates"].clone()
    };
    assert_eq!(affiliates().await, 0);
    let approved = set(&advertiser, "approved").await;
    assert_eq!(approved.expect(200)["status"], "approved");
    assert_eq!(approved.body["approved_at"], "2026-06-15T13:00:00.000Z");
    assert_eq!(affiliates().await, 1);
    assert_eq!(app.take_outbox().await.len(), 1);
    let again = set(&advertiser, "approved").await;
    assert!(again.is_error(409, "invalid_state").contains("`suspended`"), "{again}");
    set(&advertiser, "rejected").await.is_error(409, "invalid_state");
    app.clock.advance(TimeDelta::hours(1));
    assert_eq!(set(&advertiser, "suspended").await.expect(200)["status"], "suspended");
    assert_eq!(affiliates().await, 0);
    let back = set(&advertiser, "approved").await;
    assert_eq!(back.expect(200)["approved_at"], "2026-06-15T13:00:00.000Z", "the first approval stands");
    let left = set(&affiliate, "cancelled").await;
    assert_eq!(
        (&left.expect(200)["status"], &left.body["ended_at"]),
        (&json!("cancelled"), &json!("2026-06-15T14:00:00.000Z"))
    );
    assert_eq!(affiliates().await, 0);
    assert_eq!(app.take_outbox().await.len(), 3);
    for status in ["approved", "rejected", "suspended", "cancelled"] {
        set(&advertiser, status).await.is_error(409, "invalid_state");
    }
}

#[tokio::test]
async fn the_affiliate_cannot_decide() {
    let (_app, advertiser, affiliate, _, path) = pending().await;
    for status in ["approved", "rejected", "suspended"] {
        affiliate.patch(&path, json!({"status": status})).await.is_error(403, "not_owner");
    }
    advertiser.patch(&path, json!({"status": "rejected"})).await.expect(200);
    advertiser.patch(&path, json!({"status": "approved"})).await.is_error(409, "invalid_state");
    affiliate.patch(&path, json!({"status": "cancelled"})).await.expect(200);
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let (app, advertiser, _, _, path) = pending().await;
    let stranger = app.agent("Stranger").await;
    let bad = json!({"state": "approved"});
    app.anyone().patch(&path, bad.clone()).await.is_error(401, "api_key_missing");
    stranger.patch("/api/partnerships/x", bad.clone()).await.is_error(400, "invalid_id");
    stranger
        .patch("/api/partnerships/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10", bad.clone())
        .await
        .is_error(404, "not_found");
    stranger.patch(&path, json!({"status": "approved"})).await.is_error(404, "not_found");
    let typo = advertiser.patch(&path, bad).await;
    assert!(typo.is_error(400, "invalid_value").contains("`status`"), "{typo}");
    advertiser.patch(&path, json!({})).await.is_error(400, "missing_field");
    let word = advertiser.patch(&path, json!({"status": "approve"})).await;
    assert!(word.is_error(400, "invalid_value").contains("`approved`"), "{word}");
    advertiser.patch(&path, json!({"status": "pending"})).await.is_error(400, "invalid_value");
    advertiser.patch(&path, json!({"status": null})).await.is_error(400, "invalid_value");
}

#[tokio::test]
async fn approving_and_leaving_at_once_ends_cancelled() {
    for _ in 0..5 {
        let (app, advertiser, affiliate, program, path) = pending().await;
        let approve = {
            let path = path.clone();
            tokio::spawn(async move { advertiser.patch(&path, json!({"status": "approved"})).await })
        };
        affiliate.patch(&path, json!({"status": "cancelled"})).await.expect(200);
        let approve = approve.await.unwrap();
        if approve.status != 200 {
            approve.is_error(409, "invalid_state");
        }
        assert_eq!(affiliate.get(&path).await.expect(200)["status"], "cancelled");
        let program = app.anyone().get(&format!("/api/programs/{program}")).await;
        assert_eq!(program.expect(200)["affiliates"], 0);
    }
}

#[tokio::test]
async fn of_many_approvals_at_once_one_approves() {
    let (app, advertiser, _, program, path) = pending().await;
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let (advertiser, path) = (advertiser.clone(), path.clone());
            tokio::spawn(async move { advertiser.patch(&path, json!({"status": "approved"})).await })
        })
        .collect();
    let mut approved = 0;
    for call in calls {
        let reply = call.await.unwrap();
        if reply.status == 200 {
            approved += 1;
        } else {
            reply.is_error(409, "invalid_state");
        }
    }
    let program = app.anyone().get(&format!("/api/programs/{program}")).await;
    assert_eq!((approved, &program.expect(200)["affiliates"]), (1, &json!(1)));
    assert_eq!(app.take_outbox().await.len(), 1);
}
