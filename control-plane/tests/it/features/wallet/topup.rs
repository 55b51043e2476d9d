//! `POST /api/wallet/topup`, `GET /api/wallet`, `GET /api/wallet/topups/:id`.

use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn the_sandbox_credits_at_once_and_says_what_it_is() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    let wallet = agent.get("/api/wallet").await;
    assert_eq!(
        *wallet.expect(200),
        json!({
            "balance": 0, "currency": "usd", "held": 0, "owed": 0, "funded": false,
            "auto_topup": {"enabled": false, "threshold": null, "amount": null},
            "monthly_spend_cap": null, "spent_this_month": 0, "provider": "sandbox",
        })
    );
    let topup = agent.post("/api/wallet/topup", json!({"amount": 20})).await;
    let body = topup.expect(201);
    assert_eq!(
        (&body["amount"], &body["status"], &body["sandbox"], &body["balance"]),
        (&json!(20), &json!("paid"), &json!(true), &json!(20))
    );
    assert!(topup.text.contains("\"amount\":20,"), "exact decimal text: {topup}");
    let again = agent.get(&format!("/api/wallet/topups/{}", body["id"].as_str().unwrap())).await;
    assert_eq!(again.expect(200), body);
    let wallet = agent.get("/api/wallet").await;
    assert_eq!((&wallet.body["balance"], &wallet.body["funded"]), (&json!(20), &json!(true)));
    app.audit().await;
}

#[tokio::test]
async fn amounts_other_than_five_to_five_hundred_in_fives_are_refused() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    let bad = [
        "0",
        "-20",
        "4",
        "5.01",
        "7.5",
        "501",
        "505",
        "1e2",
        "1e400",
        "\"20\"",
        "null",
        "true",
        "[20]",
        "20.0000001",
        "9223372036854775808",
        "99999999999999999999",
    ];
    for amount in bad {
        let request = agent
            .request("POST", "/api/wallet/topup")
            .header("content-type", "application/json")
            .body(format!("{{\"amount\":{amount}}}"));
        let reply = agent.send(request).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], "amount", "{amount}");
    }
    let missing = agent.post("/api/wallet/topup", json!({})).await;
    missing.is_error(400, "missing_field");
    let unknown = agent.post("/api/wallet/topup", json!({"amuont": 20})).await;
    assert!(unknown.is_error(400, "invalid_value").contains("`amount`"));
    let twice = agent
        .request("POST", "/api/wallet/topup")
        .header("content-type", "application/json")
        .body("{\"amount\":5,\"amount\":500}");
    agent.send(twice).await.is_error(400, "invalid_value");
    assert_eq!(agent.get("/api/wallet").await.body["balance"], 0);
    for fine in ["5", "5.00", "500"] {
        let request = agent
            .request("POST", "/api/wallet/topup")
            .header("content-type", "application/json")
            .body(format!("{{\"amount\":{fine}}}"));
        agent.send(request).await.expect(201);
    }
    assert_eq!(agent.get("/api/wallet").await.body["balance"], 510);
}

#[tokio::test]
async fn a_wallet_is_its_owners_alone() {
    let app = TestApp::start().await;
    let (owner, stranger) = (app.agent("Owner").await, app.agent("Stranger").await);
    let topup = owner.post("/api/wallet/topup", json!({"amount": 20})).await;
    let path = format!("/api/wallet/topups/{}", topup.body["id"].as_str().unwrap());
    stranger.get(&path).await.is_error(404, "not_found");
    stranger.get("/api/wallet/topups/1").await.is_error(400, "invalid_id");
    assert_eq!(stranger.get("/api/wallet").await.body["balance"], 0);
    assert_eq!(stranger.get("/api/wallet/transactions").await.body["pagination"]["total"], 0);
    for (method, path) in [
        ("GET", "/api/wallet"),
        ("PATCH", "/api/wallet"),
        ("POST", "/api/wallet/topup"),
        ("GET", "/api/wallet/transactions"),
        ("GET", path.as_str()),
    ] {
        let anyone = app.anyone();
        anyone.send(anyone.request(method, path)).await.is_error(401, "api_key_missing");
    }
}

#[tokio::test]
async fn f72_one_idempotency_key_is_one_top_up() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await;
    let send = |amount: i64| {
        let agent = agent.clone();
        async move {
            let request = agent.request("POST", "/api/wallet/topup").header("idempotency-key", "once");
            agent.send(request.json(&json!({"amount": amount}))).await
        }
    };
    let replies = futures(24, || send(20)).await;
    let first = replies[0].expect(201).clone();
    let replayed = replies.iter().filter(|reply| reply.headers.contains_key("idempotent-replayed")).count();
    assert!(replies.iter().all(|reply| *reply.expect(201) == first));
    assert_eq!(replayed, 23);
    send(25).await.is_error(409, "idempotency_key_reused");
    assert_eq!(agent.get("/api/wallet").await.body["balance"], 20);
    app.audit().await;
}

/// Starts so many at once and waits for all.
async fn futures<F, T>(count: usize, start: impl Fn() -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(start())).collect();
    let mut done = Vec::with_capacity(count);
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}
