//! `POST /api/network/join/:program_id`.

use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn an_automatic_program_approves_at_once_and_a_manual_one_waits() {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.agent("Advertiser").await, app.agent("Affiliate").await);
    for (mode, status, approved_at) in
        [("auto", "approved", json!("2026-06-15T12:00:00.000Z")), ("manual", "pending", json!(null))]
    {
        let program = app.program_with(&advertiser, json!({"approval_mode": mode})).await;
        let path = format!("/api/network/join/{}", program["id"].as_str().unwrap());
        let reply = affiliate.post(&path, json!({"message": "I can promote this to AI founders"})).await;
        let partnership = reply.expect(201);
        assert_eq!(partnership["status"], status);
        assert_eq!(partnership["approved_at"], approved_at);
        assert_eq!(partnership["message"], "I can promote this to AI founders");
        assert_eq!(partnership["affiliate_id"], affiliate.id());
    }
}

#[tokio::test]
async fn a_second_join_names_the_first() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let path = format!("/api/network/join/{}", offer.program);
    let again = offer.affiliate.post(&path, json!({})).await;
    assert!(again.is_error(409, "already_affiliated").contains(&offer.partnership), "{again}");
    assert_eq!(again.body["partnership_id"], offer.partnership.as_str());
    assert_eq!(again.body["partnership_status"], "approved");
    // Who has left can come back.
    let partnership = format!("/api/partnerships/{}", offer.partnership);
    offer.affiliate.patch(&partnership, json!({"status": "cancelled"})).await.expect(200);
    let back = offer.affiliate.post(&path, json!({})).await;
    assert_ne!(back.expect(201)["id"], offer.partnership.as_str());
}

#[tokio::test]
async fn who_was_rejected_stays_so_until_it_cancels() {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.agent("Advertiser").await, app.agent("Affiliate").await);
    let program = app.program_with(&advertiser, json!({"approval_mode": "manual"})).await;
    let program = program["id"].as_str().unwrap();
    let partnership = format!("/api/partnerships/{}", app.joined(&affiliate, program).await);
    advertiser.patch(&partnership, json!({"status": "rejected"})).await.expect(200);
    let path = format!("/api/network/join/{program}");
    let again = affiliate.post(&path, json!({})).await;
    assert!(again.is_error(409, "already_affiliated").contains("cancelled"), "{again}");
    affiliate.patch(&partnership, json!({"status": "cancelled"})).await.expect(200);
    affiliate.post(&path, json!({})).await.expect(201);
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.agent("Advertiser").await, app.agent("Affiliate").await);
    let program = app.program(&advertiser).await;
    let path = format!("/api/network/join/{program}");
    let bad = json!({"mesage": "x"});
    app.anyone().post(&path, bad.clone()).await.is_error(401, "api_key_missing");
    affiliate.post("/api/network/join/PROGRAM_ID", bad.clone()).await.is_error(400, "invalid_id");
    affiliate
        .post("/api/network/join/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10", bad.clone())
        .await
        .is_error(404, "not_found");
    advertiser.post(&path, bad.clone()).await.is_error(403, "own_program");
    let typo = affiliate.post(&path, bad).await;
    assert!(typo.is_error(400, "invalid_value").contains("`message`"), "{typo}");
    affiliate.post(&path, json!({"message": "x".repeat(1001)})).await.is_error(400, "invalid_value");
    affiliate.post(&path, json!({"message": "a\u{202e}b"})).await.is_error(400, "invalid_value");
    advertiser.post(&format!("/api/programs/{program}/pause"), json!({})).await.expect(200);
    let paused = affiliate.post(&path, json!({})).await;
    paused.is_error(409, "invalid_state");
    assert_eq!(paused.body["status"], "paused");
    // A call without a body is a join without a message.
    advertiser.post(&format!("/api/programs/{program}/activate"), json!({})).await.expect(200);
    let bare = affiliate.request("POST", &path);
    assert_eq!(affiliate.send(bare).await.expect(201)["message"], json!(null));
}

#[tokio::test]
async fn many_at_once_join_once() {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.agent("Advertiser").await, app.agent("Affiliate").await);
    let program = app.program(&advertiser).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (affiliate, path) = (affiliate.clone(), format!("/api/network/join/{program}"));
            tokio::spawn(async move { affiliate.post(&path, json!({})).await })
        })
        .collect();
    let mut joined = 0;
    for call in calls {
        let reply = call.await.unwrap();
        if reply.status == 201 {
            joined += 1;
        } else {
            reply.is_error(409, "already_affiliated");
        }
    }
    let program = app.anyone().get(&format!("/api/programs/{program}")).await;
    assert_eq!((joined, &program.expect(200)["affiliates"]), (1, &json!(1)));
}

#[tokio::test]
async fn many_agents_at_once_are_all_counted() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let program = app.program(&advertiser).await;
    let mut affiliates = Vec::new();
    for n in 0..10 {
        affiliates.push(app.agent(&format!("Affiliate {n}")).await);
    }
    let calls: Vec<_> = affiliates
        .into_iter()
        .map(|affiliate| {
            let path = format!("/api/network/join/{program}");
            tokio::spawn(async move { affiliate.post(&path, json!({})).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().expect(201);
    }
    let program = app.anyone().get(&format!("/api/programs/{program}")).await;
    assert_eq!(program.expect(200)["affiliates"], 10);
}

#[tokio::test]
async fn one_idempotency_key_is_one_join() {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.agent("Advertiser").await, app.agent("Affiliate").await);
    let path = format!("/api/network/join/{}", app.program(&advertiser).await);
    let post = async |message: &str| {
        let request = affiliate
            .request("POST", &path)
            .header("idempotency-key", "j")
            .json(&json!({"message": message}));
        affiliate.send(request).await
    };
    let first = post("hello").await;
    let second = post("hello").await;
    assert_eq!(
        (first.expect(201), second.headers["idempotent-replayed"].to_str().unwrap()),
        (second.expect(201), "true")
    );
    post("other").await.is_error(409, "idempotency_key_reused");
}
