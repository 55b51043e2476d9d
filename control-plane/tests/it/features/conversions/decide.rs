//! `PATCH /api/conversions/:id`, and approval by time.

use crate::harness::{Client, Offer, Reply, TestApp};
use chrono::TimeDelta;
use control_plane::features::conversions;
use serde_json::{Value, json};

async fn sale(offer: &Offer) -> String {
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 50});
    let reply = offer.advertiser.post("/api/conversions/track", body).await;
    reply.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn decide(client: &Client, id: &str, status: &str) -> Reply {
    client.patch(&format!("/api/conversions/{id}"), json!({"status": status})).await
}

#[tokio::test]
async fn an_advertiser_approves_and_rejects() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let id = sale(&offer).await;
    let reply = decide(&offer.advertiser, &id, "approved").await;
    assert_eq!(reply.expect(200)["status"], "approved");
    assert_eq!(reply.body["commission"]["status"], "approved");
    assert_eq!(reply.body["decided_at"], "2026-06-15T12:00:00.000Z");
    decide(&offer.advertiser, &id, "approved").await.is_error(409, "invalid_state");
    let body = json!({"status": "rejected", "reason": "The card was stolen."});
    let reply = offer.advertiser.patch(&format!("/api/conversions/{id}"), body).await;
    assert_eq!(reply.expect(200)["status"], "rejected");
    assert_eq!(reply.body["reason"], "The card was stolen.");
    let again = decide(&offer.advertiser, &id, "approved").await;
    again.is_error(409, "invalid_state");
    assert_eq!(again.body["status"], "rejected");
}

#[tokio::test]
async fn what_a_payout_took_stays_approved() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let id = sale(&offer).await;
    decide(&offer.advertiser, &id, "approved").await.expect(200);
    let payout = json!({"program_id": offer.program, "dry_run": false, "method": "external"});
    offer.advertiser.post("/api/payouts/process", payout).await.expect(201);
    decide(&offer.advertiser, &id, "rejected").await.is_error(409, "invalid_state");
}

#[tokio::test]
async fn only_the_advertiser_decides_and_in_its_words() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let id = sale(&offer).await;
    decide(&offer.affiliate, &id, "approved").await.is_error(403, "not_owner");
    decide(&app.agent("Stranger").await, &id, "approved").await.is_error(404, "not_found");
    decide(&app.anyone(), &id, "approved").await.is_error(401, "api_key_missing");
    decide(&offer.advertiser, "42", "approved").await.is_error(400, "invalid_id");
    for status in ["paid", "pending", "reversed", "aproved"] {
        decide(&offer.advertiser, &id, status).await.is_error(400, "invalid_value");
    }
    let typo = decide(&offer.advertiser, &id, "aproved").await;
    assert!(typo.is_error(400, "invalid_value").contains("`approved`"), "{typo}");
    let missing = offer.advertiser.patch(&format!("/api/conversions/{id}"), json!({})).await;
    missing.is_error(400, "missing_field");
    // Whose it is comes before what is wrong with the body.
    let foreign = app.agent("Another").await.patch(&format!("/api/conversions/{id}"), json!({"x": 1})).await;
    foreign.is_error(404, "not_found");
    let unchanged = offer.affiliate.get(&format!("/api/conversions/{id}")).await;
    assert_eq!(unchanged.expect(200)["status"], "pending");
}

#[tokio::test]
async fn approving_and_rejecting_at_once_ends_in_one_state() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    for _ in 0..8 {
        let id = sale(&offer).await;
        let requests: Vec<_> = ["approved", "rejected", "approved", "rejected"]
            .into_iter()
            .map(|status| {
                let (client, id) = (offer.advertiser.clone(), id.clone());
                tokio::spawn(async move { decide(&client, &id, status).await })
            })
            .collect();
        for request in requests {
            let reply = request.await.unwrap();
            assert!([200, 409].contains(&reply.status), "{reply}");
        }
        let states: (String, String) = sqlx::query_as(
            "SELECT conversions.status, commissions.status
               FROM conversions JOIN commissions ON conversion_id = conversions.id
              WHERE conversions.id = $1::UUID",
        )
        .bind(&id)
        .fetch_one(app.app.db())
        .await
        .unwrap();
        assert_eq!(states.0, states.1);
        assert_ne!(states.0, "pending");
    }
}

#[tokio::test]
async fn what_is_left_pending_is_approved_by_itself() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let (first, second, third) = (sale(&offer).await, sale(&offer).await, sale(&offer).await);
    decide(&offer.advertiser, &third, "rejected").await.expect(200);
    let approve = async |limit| {
        let mut tx = app.app.begin().await.unwrap();
        let approved = conversions::ops::approve_overdue(&mut tx, &*app.clock, limit).await.unwrap();
        tx.commit().await.unwrap();
        approved
    };
    app.clock.advance(TimeDelta::days(45) - TimeDelta::milliseconds(1));
    assert_eq!(approve(10).await, 0);
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(approve(1).await, 1);
    assert_eq!(approve(10).await, 1);
    assert_eq!(approve(10).await, 0);
    for (id, status) in [(first, "approved"), (second, "approved"), (third, "rejected")] {
        let reply = offer.affiliate.get(&format!("/api/conversions/{id}")).await;
        assert_eq!(reply.expect(200)["status"], status);
        assert_eq!(reply.body["reason"] == Value::Null, status == "rejected");
    }
}
