//! `POST /api/partnerships/:id/links`.

use crate::features::domains::activate;
use crate::harness::TestApp;
use serde_json::json;

#[tokio::test]
async fn the_documented_body_makes_a_link() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    app.take_outbox().await;
    let path = format!("/api/partnerships/{}/links", offer.partnership);
    let reply = offer.affiliate.post(&path, json!({"destination_url": "https://example.com/pricing"})).await;
    let link = reply.expect(201);
    let token = link["token"].as_str().unwrap();
    assert_eq!(
        *link,
        json!({
            "id": link["id"], "token": token, "tracking_url": format!("http://127.0.0.1:8080/api/track/{token}"),
            "destination_url": "https://example.com/pricing", "sub_id": null, "custom_domain": null,
            "partnership_id": offer.partnership, "program_id": offer.program, "affiliate_id": offer.affiliate.id(),
            "status": "active", "clicks": 0, "clicks_capped": 0, "clicks_by_class": {}, "conversions": 0,
            "created_at": "2026-06-15T12:00:00.000Z", "updated_at": "2026-06-15T12:00:00.000Z",
        })
    );
    assert!(app.app.token_key().parse(token.as_bytes()).is_some(), "edges take the token");
    assert_eq!(app.take_outbox().await, [("link".to_owned(), link["id"].as_str().unwrap().to_owned())]);
}

#[tokio::test]
async fn destinations_are_stored_as_they_will_be_sent() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let path = format!("/api/partnerships/{}/links", offer.partnership);
    for (given, stored) in [
        ("HTTPS://Example.com", "https://example.com/"),
        ("https://example.com/ü?q=a b", "https://example.com/%C3%BC?q=a%20b"),
        ("https://example.com/{sub1}?c={click_id}", "https://example.com/{sub1}?c={click_id}"),
    ] {
        let body = json!({"destination_url": given, "sub_id": " news "});
        let reply = offer.affiliate.post(&path, body).await;
        assert_eq!(
            (&reply.expect(201)["destination_url"], &reply.body["sub_id"]),
            (&json!(stored), &json!("news"))
        );
    }
    for bad in [
        "javascript:alert(1)",
        "https://user@example.com/",
        "//example.com",
        "https://example.com/\r\nX: y",
        "http://127.0.0.1:8080/api/track/x",
        &format!("{}/api/agents", app.origin()),
        &format!("https://example.com/{}", "x".repeat(2048)),
        "",
    ] {
        let reply = offer.affiliate.post(&path, json!({"destination_url": bad})).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], "destination_url", "{bad}");
    }
    for bad in [json!(""), json!("x".repeat(101)), json!(5), json!("a\nb")] {
        let body = json!({"destination_url": "https://example.com/", "sub_id": bad});
        let reply = offer.affiliate.post(&path, body).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], "sub_id");
    }
}

#[tokio::test]
async fn destinations_stay_on_the_programs_hosts() {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.agent("Advertiser").await, app.agent("Affiliate").await);
    for (program, allowed, refused) in [
        (json!({"url": "https://www.shop.test/x"}), "https://shop.test/y", "https://other.test/"),
        (json!({"url": "https://shop.test"}), "http://deep.eu.shop.test:8443/", "https://notshop.test/"),
        (
            json!({"url": "https://shop.test", "allowed_hosts": ["pay.test"]}),
            "https://pay.test/",
            "https://shop.test/",
        ),
        (
            json!({"allowed_hosts": ["bücher.example"]}),
            "https://xn--bcher-kva.example./",
            "https://bucher.example/",
        ),
        (json!({"allowed_hosts": ["1.2.3.4"]}), "http://0x01020304/", "http://1.2.3.5/"),
    ] {
        let program = app.program_with(&advertiser, program).await;
        let partnership = app.joined(&affiliate, program["id"].as_str().unwrap()).await;
        let path = format!("/api/partnerships/{partnership}/links");
        affiliate.post(&path, json!({"destination_url": allowed})).await.expect(201);
        let reply = affiliate.post(&path, json!({"destination_url": refused})).await;
        assert!(reply.is_error(400, "invalid_value").contains("allowed_hosts"), "{reply}");
    }
}

#[tokio::test]
async fn refusals_come_in_their_order() {
    let app = TestApp::start().await;
    let (advertiser, affiliate, stranger) =
        (app.agent("Advertiser").await, app.agent("Affiliate").await, app.agent("Stranger").await);
    let program = app.program_with(&advertiser, json!({"approval_mode": "manual"})).await;
    let partnership = app.joined(&affiliate, program["id"].as_str().unwrap()).await;
    let path = format!("/api/partnerships/{partnership}/links");
    let bad = json!({"destination": "https://example.com/"});
    app.anyone().post(&path, bad.clone()).await.is_error(401, "api_key_missing");
    stranger.post("/api/partnerships/PARTNERSHIP_ID/links", bad.clone()).await.is_error(400, "invalid_id");
    stranger
        .post("/api/partnerships/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10/links", bad.clone())
        .await
        .is_error(404, "not_found");
    stranger.post(&path, bad.clone()).await.is_error(404, "not_found");
    advertiser.post(&path, bad.clone()).await.is_error(403, "not_owner");
    affiliate.post(&path, bad.clone()).await.is_error(403, "not_approved");
    let partnership = format!("/api/partnerships/{partnership}");
    advertiser.patch(&partnership, json!({"status": "approved"})).await.expect(200);
    let typo = affiliate.post(&path, bad).await;
    assert!(typo.is_error(400, "invalid_value").contains("`destination_url`"), "{typo}");
    affiliate.post(&path, json!({})).await.is_error(400, "missing_field");
    let good = json!({"destination_url": "https://example.com/"});
    affiliate.post(&path, good.clone()).await.expect(201);
    for status in ["suspended", "cancelled"] {
        advertiser.patch(&partnership, json!({"status": status})).await.expect(200);
        affiliate.post(&path, good.clone()).await.is_error(403, "not_approved");
    }
}

#[tokio::test]
async fn one_idempotency_key_makes_one_link() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let path = format!("/api/partnerships/{}/links", offer.partnership);
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let body = json!({"destination_url": "https://example.com/a"});
            let request = offer.affiliate.request("POST", &path).header("idempotency-key", "l").json(&body);
            let affiliate = offer.affiliate.clone();
            tokio::spawn(async move { affiliate.send(request).await })
        })
        .collect();
    let mut tokens = std::collections::HashSet::new();
    for call in calls {
        tokens.insert(call.await.unwrap().expect(201)["token"].to_string());
    }
    assert_eq!(tokens.len(), 1);
    assert_eq!(offer.affiliate.get(&path).await.expect(200)["pagination"]["total"], 2);
}

#[tokio::test]
async fn a_domain_of_ones_own_needs_pro() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let links = format!("/api/partnerships/{}/links", offer.partnership);
    let link = format!("/api/links/{}", offer.link);
    let body = json!({"destination_url": "https://example.com/", "custom_domain": "Go.Example.com."});
    for refused in [
        offer.affiliate.post(&links, body.clone()).await,
        offer.affiliate.patch(&link, json!({"custom_domain": "go.example.com"})).await,
    ] {
        assert!(refused.is_error(403, "feature_requires_pro").contains("POST /api/subscription/pro"));
        assert_eq!(refused.body["field"], "custom_domain");
    }
    // Clearing what is not there takes nothing.
    offer.affiliate.patch(&link, json!({"custom_domain": null})).await.expect(200);
    app.set_tier(&offer.affiliate, "pro").await;
    activate(&app, &offer.affiliate, "go.example.com").await;
    let made = offer.affiliate.post(&links, body).await;
    let token = made.expect(201)["token"].as_str().unwrap().to_owned();
    assert_eq!(made.body["custom_domain"], "go.example.com");
    assert_eq!(made.body["tracking_url"], format!("https://go.example.com/{token}"));
    for bad in [
        "",
        "localhost",
        "https://a.test",
        "a.test/x",
        "a.test:80",
        "127.0.0.1",
        "[::1]",
        "a b.test",
        "*.a.test",
    ] {
        let refused = offer.affiliate.patch(&link, json!({"custom_domain": bad})).await;
        assert!(refused.is_error(400, "invalid_value").contains("go.example.com"), "{bad}");
    }
    let made = format!("/api/links/{}", made.body["id"].as_str().unwrap());
    // When Pro ends, what is out there goes on; only something new is refused.
    app.set_tier(&offer.affiliate, "free").await;
    assert_eq!(offer.affiliate.get(&made).await.expect(200)["custom_domain"], "go.example.com");
    let label = json!({"sub_id": "x", "custom_domain": "go.example.com"});
    offer.affiliate.patch(&made, label).await.expect(200);
    let other = offer.affiliate.patch(&made, json!({"custom_domain": "other.example.com"})).await;
    other.is_error(403, "feature_requires_pro");
    let cleared = offer.affiliate.patch(&made, json!({"custom_domain": null})).await;
    assert_eq!(cleared.expect(200)["tracking_url"], format!("http://127.0.0.1:8080/api/track/{token}"));
}
