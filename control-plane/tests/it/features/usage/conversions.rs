//! What a conversion costs through `POST /api/conversions/track`, and what a refused one leaves behind.

use crate::harness::{Offer, Reply, TestApp};
use serde_json::json;
use std::sync::Arc;

async fn sell(offer: &Offer, order: &str) -> Reply {
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 99, "external_id": order});
    offer.advertiser.post("/api/conversions/track", body).await
}

async fn use_up_allowance(app: &TestApp, offer: &Offer) {
    let number = app.number(&offer.advertiser).await;
    sqlx::query(
        "INSERT INTO usage_months (advertiser, month, metric, used, included)
         VALUES ($1, '2026-06-01', 'conversions', 100, 100)",
    )
    .bind(number)
    .execute(app.app.db())
    .await
    .unwrap();
}

/// Every row a conversion touches, as one text.
async fn rows(app: &TestApp) -> String {
    sqlx::query_scalar(
        "SELECT concat_ws(' | ',
                (SELECT json_agg(c ORDER BY id) FROM conversions AS c), (SELECT json_agg(c ORDER BY id) FROM commissions AS c),
                (SELECT json_agg(u ORDER BY advertiser, month, metric) FROM usage_months AS u),
                (SELECT json_agg(a ORDER BY id) FROM ledger_accounts AS a),
                (SELECT json_agg(t ORDER BY id) FROM ledger_transfers AS t))",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_refused_conversion_records_nothing_and_costs_nothing() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    use_up_allowance(&app, &offer).await;
    let before = rows(&app).await;
    let refused = sell(&offer, "order-1").await;
    assert!(refused.is_error(402, "free_tier_limit_reached").contains("POST /api/wallet/topup"));
    assert_eq!((&refused.body["price"], &refused.body["balance"]), (&json!(0.3), &json!(0)));
    assert_eq!(rows(&app).await, before);
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    // The very same report now goes through.
    sell(&offer, "order-1").await.expect(201);
    assert_eq!(offer.advertiser.get("/api/wallet").await.body["balance"], 4.7);
    app.audit_books().await;
}

#[tokio::test]
async fn f67_thirty_two_reports_of_one_order_are_one_conversion_billed_once() {
    let app = TestApp::start().await;
    let offer = Arc::new(app.offer().await);
    let other = Arc::new(app.another_affiliate(&offer, "Other").await);
    use_up_allowance(&app, &offer).await;
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201);
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            // The same link and another one of the same program: an order is sold once.
            let offer = if n % 2 == 0 { offer.clone() } else { other.clone() };
            tokio::spawn(async move { sell(&offer, "order-1").await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        let reply = task.await.unwrap();
        if reply.status == 201 {
            created += 1;
        } else {
            reply.is_error(409, "duplicate_conversion");
        }
    }
    assert_eq!(created, 1);
    let wallet = offer.advertiser.get("/api/wallet").await;
    assert_eq!((&wallet.body["balance"], &wallet.body["spent_this_month"]), (&json!(19.7), &json!(0.3)));
    let debits = offer.advertiser.get("/api/wallet/transactions?type=debit").await;
    assert_eq!(debits.body["pagination"]["total"], 1);
    app.audit_books().await;
}
