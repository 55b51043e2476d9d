//! Who came by whose code.

use crate::harness::TestApp;
use serde_json::{Value, json};

async fn referral(client: &crate::harness::Client) -> Value {
    client.get("/api/agents/me/stats?days=7").await.expect(200)["referral"].clone()
}

#[tokio::test]
async fn an_agent_that_signs_up_with_a_code_counts_for_its_owner() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let code = referral(&offer.affiliate).await["code"].as_str().unwrap().to_owned();
    assert_ne!(code, referral(&offer.advertiser).await["code"], "every agent has a code of its own");
    let body = |name: &str| json!({"name": name, "referral_code": code});
    let first = app.anyone().post("/api/auth/signup", body("First")).await.expect(201).clone();
    app.clock.advance(chrono::TimeDelta::days(8));
    app.anyone().post("/api/quickstart", body("Second")).await.expect(201);
    assert_eq!(
        referral(&offer.affiliate).await,
        json!({"code": code, "referred": 2, "referred_in_period": 1, "active": 0, "commissions": 0})
    );
    // The first one earns.
    let first = app.with_key(first["api_key"].as_str().unwrap());
    let partnership = app.joined(&first, &offer.program).await;
    let link = app.link(&first, &partnership).await;
    let sale = json!({"tracking_token": link["token"], "event_type": "sale", "revenue_amount": 99.00});
    let conversion = offer.advertiser.post("/api/conversions/track", sale).await.expect(201).clone();
    let expected = |active: i64, commissions: f64| {
        json!({
            "code": code, "referred": 2, "referred_in_period": 1, "active": active,
            "commissions": if commissions == 0.0 { json!(0) } else { json!(commissions) },
        })
    };
    assert_eq!(referral(&offer.affiliate).await, expected(1, 19.8));
    let id = conversion["id"].as_str().unwrap();
    offer
        .advertiser
        .patch(&format!("/api/conversions/{id}"), json!({"status": "rejected"}))
        .await
        .expect(200);
    assert_eq!(referral(&offer.affiliate).await, expected(1, 0.0));
    assert_eq!(referral(&first).await["referred"], 0);
}

#[tokio::test]
async fn a_code_nobody_has_is_refused() {
    let app = TestApp::start().await;
    let owner = app.agent("Owner").await;
    let code = referral(&owner).await["code"].as_str().unwrap().to_owned();
    for wrong in ["", "nonsense", "0123456789ab", &code.to_uppercase(), &format!("{code}0")] {
        if wrong == code {
            continue;
        }
        let body = json!({"name": "Wrong", "referral_code": wrong});
        let reply = app.anyone().post("/api/auth/signup", body).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], "referral_code");
    }
    owner.delete(&format!("/api/agents/{}", owner.id())).await.expect(200);
    let body = json!({"name": "Late", "referral_code": code});
    app.anyone().post("/api/auth/signup", body).await.is_error(400, "invalid_value");
}
