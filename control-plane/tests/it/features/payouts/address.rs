//! `GET` and `PUT /api/agents/:id/payout-address`.

use crate::harness::TestApp;
use serde_json::json;

const FIRST: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const OTHER: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";

#[tokio::test]
async fn the_first_address_is_good_at_once_and_a_changed_one_after_72_hours() {
    let app = TestApp::start().await;
    let agent = app.agent("Payee").await;
    let path = format!("/api/agents/{}/payout-address", agent.id());
    let put = async |address: &str| {
        agent.send(agent.request("PUT", &path).json(&json!({"address": address}))).await
    };
    assert_eq!(
        *agent.get(&path).await.expect(200),
        json!({"address": null, "usable_at": null, "usable": false})
    );
    let first = put(&FIRST.to_lowercase()).await;
    assert_eq!(
        *first.expect(200),
        json!({"address": FIRST, "usable_at": "2026-06-15T12:00:00.000Z", "usable": true})
    );
    let changed = put(OTHER).await;
    assert_eq!(
        *changed.expect(200),
        json!({"address": OTHER, "usable_at": "2026-06-18T12:00:00.000Z", "usable": false})
    );
    app.clock.advance(chrono::TimeDelta::hours(71));
    // Saying the same again neither shortens nor prolongs the wait.
    assert_eq!(put(OTHER).await.expect(200)["usable_at"], "2026-06-18T12:00:00.000Z");
    app.clock.advance(chrono::TimeDelta::hours(1));
    assert_eq!(agent.get(&path).await.expect(200)["usable"], true);
    // The change was announced once, to the agent alone; the first address and the repetition were not.
    let mut tx = app.app.db_worker().begin().await.unwrap();
    control_plane::features::webhooks::feed::advance(&mut tx, app.app.clock()).await.unwrap();
    tx.commit().await.unwrap();
    let events = agent.get("/api/events").await;
    let told: Vec<_> = events.expect(200)["data"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["type"], &told[0]["data"]["address"], &told[0]["data"]["usable_at"]),
        (&json!("payout.address_changed"), &json!(OTHER), &json!("2026-06-18T12:00:00.000Z"))
    );
    let stranger = app.agent("Stranger").await;
    assert_eq!(stranger.get("/api/events").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn wrong_addresses_and_other_agents_are_refused() {
    let app = TestApp::start().await;
    let (agent, stranger) = (app.agent("Payee").await, app.agent("Stranger").await);
    let path = format!("/api/agents/{}/payout-address", agent.id());
    for bad in [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
        "0x4808...6D66",
        "",
        "0x0000000000000000000000000000000000000000",
    ] {
        let put = agent.request("PUT", &path).json(&json!({"address": bad}));
        agent.send(put).await.is_error(400, "invalid_value");
    }
    let put = stranger.request("PUT", &path).json(&json!({"address": FIRST}));
    stranger.send(put).await.is_error(403, "not_owner");
    stranger.get(&path).await.is_error(403, "not_owner");
    app.anyone().get(&path).await.is_error(401, "api_key_missing");
}
