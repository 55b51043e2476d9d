//! Payouts.

mod address;
mod concurrent;
mod external;
mod freeze;
mod list;
mod process;
mod request;
mod story;
mod usdc;

use crate::harness::{Client, Offer, TestApp};
use serde_json::{Value, json};

/// Reports a sale and approves it; gives the conversion.
async fn sale(offer: &Offer, amount: i64) -> String {
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": amount});
    let reply = offer.advertiser.post("/api/conversions/track", body).await;
    let id = reply.expect(201)["id"].as_str().unwrap().to_owned();
    let decided =
        offer.advertiser.patch(&format!("/api/conversions/{id}"), json!({"status": "approved"})).await;
    decided.expect(200);
    id
}

async fn fund(agent: &Client, amount: i64) {
    agent.post("/api/wallet/topup", json!({"amount": amount})).await.expect(201);
}

async fn balance(agent: &Client) -> Value {
    agent.get("/api/wallet").await.expect(200)["balance"].clone()
}

fn order(offer: &Offer, members: Value) -> Value {
    let mut body = json!({"program_id": offer.program});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

async fn process(offer: &Offer, members: Value) -> crate::harness::Reply {
    offer.advertiser.post("/api/payouts/process", order(offer, members)).await
}

/// Changes a program by hand, past the API that validates it.
async fn set_min_payout(app: &TestApp, offer: &Offer, micros: i64) {
    sqlx::query("UPDATE programs SET min_payout_micros = $2 WHERE id = $1::UUID")
        .bind(&offer.program)
        .bind(micros)
        .execute(app.app.db())
        .await
        .unwrap();
}

/// Every row of every table a payout touches, as one text.
async fn rows(app: &TestApp) -> String {
    sqlx::query_scalar(
        "SELECT concat_ws(' | ',
                (SELECT json_agg(c ORDER BY id) FROM conversions AS c), (SELECT json_agg(c ORDER BY id) FROM commissions AS c),
                (SELECT json_agg(p ORDER BY id) FROM payouts AS p),
                (SELECT json_agg(a ORDER BY id) FROM ledger_accounts AS a),
                (SELECT json_agg(t ORDER BY id) FROM ledger_transfers AS t))",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap()
}

/// The states that `payout.processed` told of, in their order.
async fn announced(app: &TestApp) -> Vec<String> {
    let payloads: Vec<String> = sqlx::query_scalar(
        "SELECT payload::TEXT FROM events WHERE type = 'payout.processed' ORDER BY created_at, id",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap();
    let status = |payload: String| {
        let event: Value = serde_json::from_str(&payload).unwrap();
        event["data"]["status"].as_str().unwrap_or_else(|| panic!("{event}")).to_owned()
    };
    payloads.into_iter().map(status).collect()
}
