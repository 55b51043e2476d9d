//! `POST /api/programs/:id/pause`, `POST /api/programs/:id/activate`.

use crate::harness::{Client, Reply, TestApp};
use serde_json::json;

fn at_once(client: &Client, path: String) -> tokio::task::JoinHandle<Reply> {
    let client = client.clone();
    tokio::spawn(async move { client.post(&path, json!({})).await })
}

#[tokio::test]
async fn a_program_is_paused_and_activated_once_each() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let (advertiser, path) = (&offer.advertiser, format!("/api/programs/{}", offer.program));
    app.take_outbox().await;
    advertiser.post(&format!("{path}/activate"), json!({})).await.is_error(409, "already_active");
    // The documents call it without a body.
    let bare = advertiser.request("POST", &format!("{path}/pause"));
    assert_eq!(advertiser.send(bare).await.expect(200)["status"], "paused");
    advertiser.post(&format!("{path}/pause"), json!({})).await.is_error(409, "already_paused");
    assert_eq!(app.take_outbox().await, [("program".to_owned(), offer.program.clone())]);
    let link = format!("/api/links/{}", offer.link);
    assert_eq!(offer.affiliate.get(&link).await.expect(200)["status"], "untracked");
    app.agent("Late")
        .await
        .post(&format!("/api/network/join/{}", offer.program), json!({}))
        .await
        .is_error(409, "invalid_state");
    assert_eq!(advertiser.post(&format!("{path}/activate"), json!({})).await.expect(200)["status"], "active");
    assert_eq!(offer.affiliate.get(&link).await.expect(200)["status"], "active");
    assert_eq!(app.take_outbox().await.len(), 1);
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let app = TestApp::start().await;
    let (advertiser, stranger) = (app.agent("Advertiser").await, app.agent("Stranger").await);
    let program = app.program(&advertiser).await;
    for step in ["pause", "activate"] {
        let path = format!("/api/programs/{program}/{step}");
        let extra = json!({"reason": "x"});
        app.anyone().post(&path, extra.clone()).await.is_error(401, "api_key_missing");
        advertiser.post(&format!("/api/programs/1/{step}"), extra.clone()).await.is_error(400, "invalid_id");
        let missing = format!("/api/programs/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10/{step}");
        advertiser.post(&missing, extra.clone()).await.is_error(404, "not_found");
        stranger.post(&path, extra.clone()).await.is_error(403, "not_owner");
        advertiser.post(&path, extra).await.is_error(400, "invalid_value");
        advertiser.get(&path).await.is_error(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn of_many_pauses_at_once_one_pauses() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let program = app.program(&advertiser).await;
    let calls: Vec<_> =
        (0..8).map(|_| at_once(&advertiser, format!("/api/programs/{program}/pause"))).collect();
    let mut paused = 0;
    for call in calls {
        let reply = call.await.unwrap();
        if reply.status == 200 {
            paused += 1;
        } else {
            reply.is_error(409, "already_paused");
        }
    }
    assert_eq!((paused, app.take_outbox().await.len()), (1, 1));
}

#[tokio::test]
async fn pausing_and_activating_at_once_ends_where_the_last_one_left_it() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let program = app.program(&advertiser).await;
    let calls: Vec<_> = (0..12)
        .map(|n| {
            let step = if n % 2 == 0 { "pause" } else { "activate" };
            (step, at_once(&advertiser, format!("/api/programs/{program}/{step}")))
        })
        .collect();
    let (mut pauses, mut activations) = (0, 0);
    for (step, call) in calls {
        let reply = call.await.unwrap();
        match (step, reply.status) {
            ("pause", 200) => pauses += 1,
            (_, 200) => activations += 1,
            ("pause", _) => drop(reply.is_error(409, "already_paused")),
            _ => drop(reply.is_error(409, "already_active")),
        }
    }
    let status = app.anyone().get(&format!("/api/programs/{program}")).await.expect(200)["status"].clone();
    assert!(pauses >= 1 && (pauses == activations || pauses == activations + 1), "{pauses}, {activations}");
    assert_eq!(status, if pauses > activations { "paused" } else { "active" });
    assert_eq!(app.take_outbox().await.len(), pauses + activations);
}
