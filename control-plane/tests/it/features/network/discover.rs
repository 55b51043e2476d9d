//! `GET /api/network/discover`.

use crate::harness::{Client, TestApp};
use chrono::TimeDelta;
use serde_json::{Value, json};

async fn seeded() -> (TestApp, Client) {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    for program in [
        json!({"name": "Old", "niche": "saas", "commission_value": 40}),
        json!({"name": "Paused", "niche": "saas", "commission_value": 90}),
        json!({"name": "Fixed", "niche": "games", "commission_type": "fixed", "commission_value": 12}),
        json!({"name": "New", "niche": "saas", "commission_value": 5, "approval_mode": "manual"}),
    ] {
        let program = app.program_with(&advertiser, program).await;
        if program["name"] == "Paused" {
            let path = format!("/api/programs/{}/pause", program["id"].as_str().unwrap());
            advertiser.post(&path, json!({})).await.expect(200);
        }
        app.clock.advance(TimeDelta::minutes(1));
    }
    (app, advertiser)
}

fn names(body: &Value) -> Vec<&str> {
    body["data"].as_array().unwrap().iter().map(|program| program["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn active_programs_by_filter_and_order() {
    let (app, _) = seeded().await;
    for (query, wanted) in [
        ("", vec!["New", "Fixed", "Old"]),
        ("?niche=saas&sort=highest_commission", vec!["Old", "New"]),
        ("?niche=saas&sort=highest_commission&per_page=1", vec!["Old"]),
        ("?niche=saas&sort=highest_commission&per_page=1&page=2", vec!["New"]),
        ("?commission_type=fixed", vec!["Fixed"]),
        ("?min_commission=10", vec!["Fixed", "Old"]),
        ("?min_commission=10&commission_type=percentage", vec!["Old"]),
        ("?q=old", vec!["Old"]),
    ] {
        let reply = app.anyone().get(&format!("/api/network/discover{query}")).await;
        assert_eq!(names(reply.expect(200)), wanted, "{query}");
    }
    let reply = app.anyone().get("/api/network/discover?niche=saas").await;
    assert_eq!(reply.expect(200)["query"], json!({"status": "active", "niche": "saas", "sort": "newest"}));
    assert!(reply.body["data"][0].get("joined").is_none(), "without a key nothing is said of joining");
}

#[tokio::test]
async fn with_a_key_each_says_whether_it_is_joined() {
    let (app, advertiser) = seeded().await;
    let affiliate = app.agent("Affiliate").await;
    let list: Value = affiliate.get("/api/network/discover").await.expect(200).clone();
    let id = |name: &str| {
        let program = list["data"].as_array().unwrap().iter().find(|program| program["name"] == name);
        program.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (old, new) = (app.joined(&affiliate, &id("Old")).await, app.joined(&affiliate, &id("New")).await);
    affiliate.patch(&format!("/api/partnerships/{old}"), json!({"status": "cancelled"})).await.expect(200);
    let reply = affiliate.get("/api/network/discover").await;
    let said: Vec<_> = reply.expect(200)["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|program| {
            json!([
                program["name"],
                program["joined"],
                program["partnership_status"],
                program["partnership_id"]
            ])
        })
        .collect();
    assert_eq!(
        said,
        [
            json!(["New", true, "pending", new]),
            json!(["Fixed", false, null, null]),
            json!(["Old", false, null, null])
        ]
    );
    assert_eq!(advertiser.get("/api/network/discover").await.expect(200)["data"][0]["joined"], false);
}

#[tokio::test]
async fn the_most_joined_and_the_best_paying_lead_their_orders() {
    let (app, _) = seeded().await;
    let list = app.anyone().get("/api/network/discover").await;
    let id = |name: &str| {
        let program = list.body["data"].as_array().unwrap().iter().find(|program| program["name"] == name);
        program.unwrap()["id"].as_str().unwrap().to_owned()
    };
    for n in 0..2 {
        app.joined(&app.agent(&format!("Affiliate {n}")).await, &id("Old")).await;
    }
    app.joined(&app.agent("One").await, &id("Fixed")).await;
    app.joined(&app.agent("Waiting").await, &id("New")).await;
    let reply = app.anyone().get("/api/network/discover?sort=most_affiliates").await;
    assert_eq!(names(reply.expect(200)), ["Old", "Fixed", "New"]);
    let best = app.anyone().get("/api/network/discover?sort=best_epc").await;
    assert_eq!(
        best.expect(200)["data"].as_array().unwrap().len(),
        3,
        "unknown earnings come last, not never"
    );
}

#[tokio::test]
async fn bad_queries_and_keys_are_refused() {
    let (app, _) = seeded().await;
    for (query, field) in [
        ("sort=cheapest", "sort"),
        ("status=paused", "status"),
        ("per_page=0", "per_page"),
        ("min_commission=x", "min_commission"),
    ] {
        let reply = app.anyone().get(&format!("/api/network/discover?{query}")).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], field);
    }
    app.with_key("aos_live_x").get("/api/network/discover").await.is_error(401, "api_key_invalid");
}
