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
        ("/my-dashboard/advertiser/payouts", "Publish a program first"),
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

/// What a page has in a hidden field.
fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    let rest = page
        .split(&format!("name=\"{name}\" value=\""))
        .nth(1)
        .unwrap_or_else(|| panic!("no {name}: {page}"));
    rest.split('"').next().unwrap()
}

/// A conversion of an offer; its id.
async fn sold(offer: &crate::harness::Offer, name: &str) -> String {
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 50, "external_id": name});
    let made = offer.advertiser.post("/api/conversions/track", sale).await;
    made.expect(201)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn many_conversions_of_all_programs_are_decided_at_once() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let browser = Browser::of(&app, &offer.advertiser).await;
    let path = "/my-dashboard/advertiser/conversions";
    let ids = [sold(&offer, "one").await, sold(&offer, "two").await, sold(&offer, "three").await];
    let page = browser.page(path).await;
    assert!(page.contains("All programs") && ids.iter().all(|id| page.contains(id.as_str())));
    // One of them is decided elsewhere in the meantime.
    let decided =
        offer.advertiser.patch(&format!("/api/conversions/{}", ids[2]), json!({"status": "rejected"})).await;
    decided.expect(200);
    let ticked: Vec<_> = ids.iter().map(|id| ("conversion", id.as_str())).collect();
    let all = [&ticked[..], &[("to", "approved"), ("reason", "Checked")]].concat();
    let reply = browser.send(path, &all).await;
    let at = reply.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(at, format!("{path}?status=pending&done=approved&count=2&refused=1"), "{reply}");
    let said = browser.page(&at).await;
    assert!(said.contains("2 conversions are approved now.") && said.contains("1 decision was refused"));
    for (id, status, reason) in [(&ids[0], "approved", json!("Checked")), (&ids[2], "rejected", json!(null))]
    {
        let now = offer.advertiser.get(&format!("/api/conversions/{id}")).await;
        assert_eq!((&now.expect(200)["status"], &now.body["reason"]), (&json!(status), &reason));
    }
    let only = format!("rejected {}", ids[0]);
    assert_eq!(browser.send(path, &[("only", &only)]).await.status, 303);
    let reply = browser.send(path, &[("to", "approved")]).await;
    assert_eq!(reply.headers["location"], format!("{path}?status=pending&done=none&count=0&refused=0"));
    assert_eq!(browser.send(path, &[("to", "approved"), ("conversion", "x")]).await.status, 400);
    // Of somebody else's it is the API that says no.
    let stranger = Browser::of(&app, &app.agent("Stranger").await).await;
    let reply = stranger.send(path, &[("to", "approved"), ("conversion", &ids[1])]).await;
    assert_eq!(reply.status, 404, "{reply}");
}

#[tokio::test]
async fn a_payout_is_shown_before_it_is_made_and_made_as_shown() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let browser = Browser::of(&app, &offer.advertiser).await;
    let path = "/my-dashboard/advertiser/payouts";
    let look = format!("{path}/preview?of={}&method=wallet", offer.program);
    assert!(browser.page(&look).await.contains("Nothing is due"));
    let approve = async |id: &str| {
        let approved = json!({"status": "approved"});
        offer.advertiser.patch(&format!("/api/conversions/{id}"), approved).await.expect(200);
    };
    approve(&sold(&offer, "one").await).await;
    let page = browser.page(&look).await;
    assert!(
        page.contains("lacks $10.00") && !page.contains("name=\"preview\""),
        "no button that cannot work"
    );
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 50})).await.expect(201);
    let page = browser.page(&look).await;
    assert!(page.contains("Pay $10.00 to 1 affiliate"));
    let order = [
        ("of", offer.program.as_str()),
        ("method", "wallet"),
        ("preview", hidden(&page, "preview")),
        ("once", hidden(&page, "once")),
    ];
    let paid = async || {
        let earned = offer.affiliate.get(&format!("/api/agents/{}/earnings", offer.affiliate.id())).await;
        earned.expect(200)["totals"]["paid"].clone()
    };
    // What was shown is not what is due any more.
    approve(&sold(&offer, "two").await).await;
    let reply = browser.send(path, &order).await;
    assert!(reply.status == 409 && reply.text.contains("invalid_state"), "{reply}");
    assert_eq!(paid().await, 0);
    let page = browser.page(&look).await;
    let order = [
        ("of", offer.program.as_str()),
        ("method", "wallet"),
        ("preview", hidden(&page, "preview")),
        ("once", hidden(&page, "once")),
    ];
    // Pressed twice, paid once.
    for _ in 0..2 {
        let reply = browser.send(path, &order).await;
        let at = format!("{path}?of={}&done=wallet", offer.program);
        assert_eq!(reply.headers["location"].to_str().unwrap(), at, "{reply}");
    }
    assert_eq!(paid().await, 20);
    let page = browser.page(&format!("{path}?done=wallet")).await;
    assert!(page.contains("have the money") && page.contains("$20.00"));
    app.audit().await;
}

#[tokio::test]
async fn a_payment_made_outside_is_noted() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let browser = Browser::of(&app, &offer.advertiser).await;
    let path = "/my-dashboard/advertiser/payouts";
    for (word, outcome, status) in [("SEPA 42", "paid", "paid"), ("The bank returned it", "failed", "failed")]
    {
        let id = sold(&offer, word).await;
        offer
            .advertiser
            .patch(&format!("/api/conversions/{id}"), json!({"status": "approved"}))
            .await
            .expect(200);
        let page = browser.page(&format!("{path}/preview?of={}&method=external", offer.program)).await;
        let order = [
            ("of", offer.program.as_str()),
            ("method", "external"),
            ("preview", hidden(&page, "preview")),
            ("once", hidden(&page, "once")),
        ];
        assert_eq!(browser.send(path, &order).await.status, 303);
        let page = browser.page(path).await;
        let payout = hidden(&page, "payout").to_owned();
        let settle = [("payout", payout.as_str()), ("outcome", outcome), ("word", word)];
        let reply = browser.send(&format!("{path}/settle"), &settle).await;
        assert_eq!(reply.status, 303, "{reply}");
        let now = offer.advertiser.get(&format!("/api/payouts/{payout}")).await;
        assert_eq!(now.expect(200)["status"], status);
        assert!(browser.page(path).await.contains(word));
    }
    app.audit().await;
}

#[tokio::test]
async fn limits_and_the_plan_are_changed() {
    let app = TestApp::start().await;
    let agent = app.agent("Advertiser").await;
    let browser = Browser::of(&app, &agent).await;
    let path = "/my-dashboard/advertiser/wallet";
    let limits = format!("{path}/limits");
    let set = [("cap", "25.50"), ("threshold", "10"), ("refill", "50")];
    assert_eq!(browser.send(&limits, &set).await.status, 303);
    let wallet = agent.get("/api/wallet").await;
    assert_eq!(wallet.expect(200)["monthly_spend_cap"], 25.5);
    assert_eq!(wallet.body["auto_topup"], json!({"enabled": true, "threshold": 10, "amount": 50}));
    let page = browser.page(path).await;
    assert!(page.contains("of $25.50 a month") && page.contains("value=\"25.5\""));
    // A form without the part about refilling leaves it as it is; empty fields lift what was set.
    assert_eq!(browser.send(&limits, &[("cap", ""), ("threshold", "")]).await.status, 303);
    let wallet = agent.get("/api/wallet").await;
    assert_eq!(
        (&wallet.expect(200)["monthly_spend_cap"], &wallet.body["auto_topup"]["enabled"]),
        (&json!(null), &json!(true))
    );
    let unset = [("cap", ""), ("threshold", ""), ("refill", "50")];
    assert_eq!(browser.send(&limits, &unset).await.status, 303);
    assert_eq!(agent.get("/api/wallet").await.expect(200)["auto_topup"]["enabled"], false);
    assert_eq!(browser.send(&limits, &[("cap", "much"), ("threshold", "")]).await.status, 400);

    let plan = format!("{path}/plan");
    for (step, says, status, ends) in [
        ("start", "done=pro", "active", false),
        ("end", "done=pro-ends", "active", true),
        ("start", "done=pro", "active", false),
    ] {
        let reply = browser.send(&plan, &[("step", step)]).await;
        assert_eq!(reply.headers["location"].to_str().unwrap(), format!("{path}?{says}"), "{reply}");
        let now = agent.get("/api/subscription").await;
        assert_eq!(
            (&now.expect(200)["status"], &now.body["cancel_at_period_end"]),
            (&json!(status), &json!(ends))
        );
    }
    assert!(browser.page(path).await.contains("it renews on"));
    assert_eq!(browser.send(&plan, &[("step", "x")]).await.status, 400);
    app.audit().await;
}
