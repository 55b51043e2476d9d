//! What pages say, and what their buttons do.

use super::Browser;
use crate::features::stats::{drain, fold_all, spool_of};
use crate::harness::TestApp;
use chrono::TimeDelta;
use serde_json::json;

#[tokio::test]
async fn an_overview_says_what_the_stats_say() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let spool = spool_of(&app, &offer).await;
    let clicks: Vec<_> = (0..400).map(|seq| spool.click(seq)).collect();
    drain(&spool, &clicks).await;
    fold_all(&app).await;
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 1099.00});
    offer.advertiser.post("/api/conversions/track", sale).await.expect(201);
    let affiliate = Browser::of(&app, &offer.affiliate).await;
    for days in [7, 30, 90] {
        let stats = offer.affiliate.get(&format!("/api/agents/me/stats?days={days}")).await;
        let total = stats.expect(200)["clicks"]["as_affiliate"]["total"].as_i64().unwrap();
        let page = affiliate.page(&format!("/my-dashboard/affiliate?days={days}")).await;
        assert!(
            total > 0 && page.contains(&format!("<dd class=\"value\">{total}</dd>")),
            "{days} days: {total}"
        );
        assert!(page.contains("$219.80"), "20% of $1,099.00");
        assert!(page.contains(&format!("in the {days} days before")));
    }
    let advertiser = Browser::of(&app, &offer.advertiser).await;
    let page = advertiser.page("/my-dashboard").await;
    assert!(
        page.contains("What your programs receive") && page.contains("$1,099.00"),
        "who has programs sees them first"
    );
}

#[tokio::test]
async fn somebody_new_is_told_what_to_do() {
    let app = TestApp::start().await;
    let browser = Browser::of(&app, &app.agent("Fresh Start").await).await;
    for (path, says) in [
        ("/my-dashboard/affiliate", "Find a program"),
        ("/my-dashboard/affiliate/links", "Join a program first"),
        ("/my-dashboard/affiliate/programs", "No program is open"),
        ("/my-dashboard/affiliate/earnings", "Nothing earned yet"),
        ("/my-dashboard/affiliate/live", "No click in the last minute"),
        ("/my-dashboard/advertiser", "Make a program"),
        ("/my-dashboard/advertiser/programs", "No program yet"),
        ("/my-dashboard/advertiser/affiliates", "Publish a program first"),
        ("/my-dashboard/advertiser/conversions", "Publish a program first"),
        ("/my-dashboard/advertiser/wallet", "Nothing moved yet"),
        ("/my-dashboard/advertiser/live", "No click in the last minute"),
    ] {
        assert!(browser.page(path).await.contains(says), "{path}");
    }
}

#[tokio::test]
async fn both_paths_can_be_walked_without_the_api() {
    let app = TestApp::start().await;
    let (advertiser, affiliate) = (app.agent("Advertiser").await, app.agent("Affiliate").await);
    let (theirs, mine) = (Browser::of(&app, &advertiser).await, Browser::of(&app, &affiliate).await);

    let fields = [
        ("name", "My SaaS"),
        ("url", "https://example.com"),
        ("niche", "saas"),
        ("description", "Two\r\nlines"),
        ("commission_type", "percentage"),
        ("commission_value", "20"),
        ("approval_mode", "manual"),
        ("once", "made-1"),
    ];
    // Pressed twice, made once.
    for _ in 0..2 {
        assert_eq!(theirs.send("/my-dashboard/advertiser/programs", &fields).await.status, 303);
    }
    let programs = advertiser.get(&format!("/api/programs?advertiser_id={}", advertiser.id())).await;
    assert_eq!(programs.expect(200)["pagination"]["total"], 1);
    let program = programs.body["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(programs.body["data"][0]["description"], "Two\nlines");

    let join = [("program", program.as_str()), ("message", "Let me in")];
    let reply = mine.send("/my-dashboard/affiliate/programs", &join).await;
    assert_eq!(reply.headers["location"], "/my-dashboard/affiliate/programs?done=pending", "{reply}");
    let page = theirs.page("/my-dashboard/advertiser/affiliates").await;
    assert!(page.contains("Let me in") && page.contains("Approve Affiliate"));
    let partnerships = affiliate.get(&format!("/api/agents/{}/partnerships", affiliate.id())).await;
    let partnership = partnerships.expect(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let approve = [("of", program.as_str()), ("partnership", partnership.as_str()), ("to", "approved")];
    // It is not the affiliate's to approve.
    let refused = mine.send("/my-dashboard/advertiser/affiliates", &approve).await;
    assert!(refused.status == 403 && refused.text.contains("not_owner"), "{refused}");
    assert_eq!(theirs.send("/my-dashboard/advertiser/affiliates", &approve).await.status, 303);

    let link = [
        ("of", partnership.as_str()),
        ("destination_url", "https://example.com/pricing"),
        ("sub_id", "mail"),
    ];
    assert_eq!(mine.send("/my-dashboard/affiliate/links", &link).await.status, 303);
    let page = mine.page(&format!("/my-dashboard/affiliate/links?of={partnership}")).await;
    assert!(page.contains("data-copy=\"http") && page.contains("mail"));
    let elsewhere = [("of", partnership.as_str()), ("destination_url", "https://elsewhere.example/")];
    let refused = mine.send("/my-dashboard/affiliate/links", &elsewhere).await;
    assert!(refused.status == 400 && refused.text.contains("example.com"), "the API's own words: {refused}");

    let links = affiliate.get(&format!("/api/partnerships/{partnership}/links")).await;
    let token = links.expect(200)["data"][0]["token"].clone();
    for (name, decision) in [("order-1", "approved"), ("order-2", "rejected")] {
        let sale =
            json!({"tracking_token": token, "event_type": "sale", "revenue_amount": 50, "external_id": name});
        let made = advertiser.post("/api/conversions/track", sale).await;
        let id = made.expect(201)["id"].as_str().unwrap().to_owned();
        assert!(theirs.page("/my-dashboard/advertiser/conversions?status=pending").await.contains(name));
        let decide =
            [("of", program.as_str()), ("conversion", id.as_str()), ("to", decision), ("reason", "Because")];
        assert_eq!(theirs.send("/my-dashboard/advertiser/conversions", &decide).await.status, 303);
        let now = advertiser.get(&format!("/api/conversions/{id}")).await;
        assert_eq!(
            (now.expect(200)["status"].as_str(), now.body["reason"].as_str()),
            (Some(decision), Some("Because"))
        );
    }
    assert!(mine.page("/my-dashboard/affiliate/earnings").await.contains("$10.00"));

    let topup = [("amount", "20"), ("once", "topup-1")];
    for _ in 0..2 {
        assert_eq!(theirs.send("/my-dashboard/advertiser/wallet/topup", &topup).await.status, 303);
    }
    assert!(theirs.page("/my-dashboard/advertiser/wallet").await.contains("<dd class=\"value\">$20.00</dd>"));
    let pause = [("program", program.as_str()), ("to", "pause")];
    assert_eq!(theirs.send("/my-dashboard/advertiser/programs/switch", &pause).await.status, 303);
    assert!(theirs.page("/my-dashboard/advertiser/programs").await.contains("Activate"));
}

#[tokio::test]
async fn a_suggestion_is_accepted_or_declined() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    for name in ["First", "Second"] {
        app.program_with(
            &advertiser,
            json!({"name": name, "niche": "saas", "description": "Analytics for founders"}),
        )
        .await;
    }
    let signed = app
        .anyone()
        .post(
            "/api/auth/signup",
            json!({"name": "Scout", "niche": "saas", "description": "I recommend analytics to founders"}),
        )
        .await;
    let affiliate = app.with_key(signed.expect(201)["api_key"].as_str().unwrap());
    app.suggest_all().await;
    let pending = affiliate.get("/api/match-suggestions").await;
    let ids: Vec<String> = pending.expect(200)["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 2, "{pending}");
    let browser = Browser::of(&app, &affiliate).await;
    let page = browser.page("/my-dashboard/affiliate/programs").await;
    assert!(page.contains("Accept First") && page.contains("Decline Second"));
    for (id, decision, done) in [(&ids[0], "accept", "approved"), (&ids[1], "decline", "decline")] {
        let answer = [("suggestion", id.as_str()), ("decision", decision)];
        let reply = browser.send("/my-dashboard/affiliate/suggestions", &answer).await;
        let at = reply.headers["location"].to_str().unwrap();
        assert_eq!(at, format!("/my-dashboard/affiliate/programs?done={done}"), "{reply}");
    }
    let left = affiliate.get("/api/match-suggestions").await;
    assert_eq!(left.expect(200)["count"], 0);
}

#[tokio::test]
async fn clicks_are_seen_as_they_arrive_by_both_sides_and_nobody_else() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let stranger = app.agent("Stranger").await;
    let spool = spool_of(&app, &offer).await;
    let now = app.now();
    let before = Browser::of(&app, &offer.affiliate).await;
    let watching = before.watch("/my-dashboard/affiliate/live/clicks").await;
    let clicks =
        [shared::Click { at_ms: (now - TimeDelta::seconds(2)).timestamp_millis(), ..spool.click(0) }];
    drain(&spool, &clicks).await;
    let said = watching.until("destination").await;
    assert!(said.contains("https://example.com/pricing") && said.contains("My SaaS"), "{said}");
    for (client, path, sees) in [
        (&offer.affiliate, "/my-dashboard/affiliate/live", true),
        (&offer.advertiser, "/my-dashboard/advertiser/live", true),
        (&offer.affiliate, "/my-dashboard/advertiser/live", false),
        (&stranger, "/my-dashboard/affiliate/live", false),
        (&stranger, "/my-dashboard/advertiser/live", false),
    ] {
        let page = Browser::of(&app, client).await.page(path).await;
        assert_eq!(page.contains("https://example.com/pricing"), sees, "{path}");
    }
    let watching = before.watch("/my-dashboard/affiliate/live/clicks").await;
    before.send("/my-dashboard/sign-out", &[]).await;
    watching.ends().await;
    assert_eq!(before.get("/my-dashboard/affiliate/live/clicks").await.status, 303);
}
