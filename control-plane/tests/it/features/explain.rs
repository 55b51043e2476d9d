//! `GET /api/conversions/:id/explain`, `GET /api/clicks/:click_id/explain`.

use crate::harness::{Client, Offer, Reply, TestApp};
use chrono::TimeDelta;
use control_plane::features::clicks::fold;
use control_plane::features::explain::model::Reason;
use control_plane::features::{conversions, payouts};
use serde_json::{Value, json};
use shared::ClickId;

/// Step and reason of each line.
fn reasons(reply: &Reply) -> Vec<(String, String)> {
    let text = |step: &Value, name: &str| step[name].as_str().unwrap_or_else(|| panic!("{step}")).to_owned();
    let steps = reply.expect(200)["steps"].as_array().unwrap();
    for step in steps {
        assert!(
            step["text"].as_str().unwrap().ends_with('.')
                || step["text"].as_str().unwrap().contains("/explain"),
            "{step}"
        );
        assert!(step["figures"].is_object(), "{step}");
        assert!(Reason::ALL.iter().any(|reason| step["reason"] == reason.as_str()), "{step}");
    }
    steps.iter().map(|step| (text(step, "step"), text(step, "reason"))).collect()
}

#[track_caller]
fn are(reply: &Reply, wanted: &[(&str, &str)]) {
    let said = reasons(reply);
    let said: Vec<_> = said.iter().map(|(step, reason)| (step.as_str(), reason.as_str())).collect();
    assert_eq!(said, wanted, "{reply}");
}

async fn sale(offer: &Offer, more: Value) -> String {
    let mut body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 99});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let reply = offer.advertiser.post("/api/conversions/track", body).await;
    reply.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn explain(client: &Client, id: &str) -> Reply {
    client.get(&format!("/api/conversions/{id}/explain")).await
}

async fn last(client: &Client, id: &str) -> Value {
    let reply = explain(client, id).await;
    reasons(&reply);
    reply.body["steps"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn a_conversion_is_explained_from_credit_to_payment() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let (advertiser, affiliate) = (&offer.advertiser, &offer.affiliate);
    let click = affiliate.post("/api/conversions/track-click", json!({"tracking_token": offer.token})).await;
    let click_id = click.expect(201)["click_id"].as_str().unwrap().to_owned();
    app.clock.advance(TimeDelta::hours(2));
    let id = sale(&offer, json!({"click_id": click_id})).await;
    let told = explain(advertiser, &id).await;
    are(
        &told,
        &[
            ("credited", "credited_by_link"),
            ("attributed", "click_in_window"),
            ("commission", "percentage_of_sale"),
            ("metered", "within_allowance"),
            ("decided", "awaiting_decision"),
            ("payout", "not_approved"),
        ],
    );
    let steps = &told.body["steps"];
    assert_eq!(steps[0]["figures"]["affiliate_id"], affiliate.id());
    assert_eq!(steps[1]["figures"]["seconds_after_click"], 7200);
    assert_eq!(steps[1]["at"], "2026-06-15T12:00:00.000Z");
    assert_eq!(steps[2]["text"], "20% of the sale of $99 is $19.8.");
    assert_eq!(
        (&steps[2]["figures"]["commission_value"], &steps[2]["figures"]["earned"]),
        (&json!(20), &json!(19.8))
    );
    assert_eq!(steps[4]["at"], "2026-07-30T14:00:00.000Z");
    // The affiliate hears all of it but what the report cost the advertiser.
    let affiliates: Vec<_> =
        reasons(&explain(affiliate, &id).await).into_iter().map(|(step, _)| step).collect();
    assert_eq!(affiliates, ["credited", "attributed", "commission", "decided", "payout"]);
    app.agent("Stranger")
        .await
        .get(&format!("/api/conversions/{id}/explain"))
        .await
        .is_error(404, "not_found");

    advertiser.patch(&format!("/api/conversions/{id}"), json!({"status": "approved"})).await.expect(200);
    assert_eq!(last(affiliate, &id).await["reason"], "payable");
    let refund = json!({"amount": 9.9, "reason": "Part came back"});
    advertiser.post(&format!("/api/conversions/{id}/refunds"), refund).await.expect(201);
    let told = explain(affiliate, &id).await;
    let refunded = told.body["steps"][3].clone();
    assert_eq!(
        (&refunded["reason"], &refunded["figures"]["commission_amount"]),
        (&json!("refund_shrank"), &json!(1.98))
    );
    let order = json!({"program_id": offer.program, "method": "external"});
    let made = advertiser.post("/api/payouts/process", order).await;
    let payout = made.expect(201)["payouts"][0]["id"].as_str().unwrap().to_owned();
    let taken = last(affiliate, &id).await;
    assert_eq!((&taken["reason"], &taken["figures"]["payout_id"]), (&json!("in_payout"), &json!(payout)));
    advertiser.post(&format!("/api/payouts/{payout}/mark-paid"), json!({"reference": "x"})).await.expect(200);
    assert_eq!(last(affiliate, &id).await["reason"], "paid_out");
    advertiser.post(&format!("/api/conversions/{id}/refunds"), json!({})).await.expect(201);
    let told = reasons(&explain(affiliate, &id).await);
    assert!(told.contains(&("refunded".to_owned(), "refund_reversed".to_owned())), "{told:?}");
    assert!(told.contains(&("decided".to_owned(), "refunded_in_full".to_owned())), "{told:?}");
}

#[tokio::test]
async fn what_keeps_a_commission_back_is_named() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let program = format!("/api/programs/{}", offer.program);
    let held = json!({"hold_days": 14, "min_payout": 50, "auto_approve_days": 3});
    offer.advertiser.patch(&program, held).await.expect(200);
    let (id, rejected) = (sale(&offer, json!({})).await, sale(&offer, json!({})).await);
    let decision = json!({"status": "rejected", "reason": "A test order"});
    offer.advertiser.patch(&format!("/api/conversions/{rejected}"), decision).await.expect(200);
    let told = explain(&offer.affiliate, &rejected).await;
    let decided =
        told.body["steps"].as_array().unwrap().iter().find(|step| step["step"] == "decided").unwrap();
    assert_eq!(
        (&decided["reason"], &decided["figures"]["reason"]),
        (&json!("rejected_by_advertiser"), &json!("A test order"))
    );
    assert_eq!(last(&offer.affiliate, &rejected).await["reason"], "nothing_owed");
    app.clock.advance(TimeDelta::days(3));
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    assert_eq!(conversions::ops::approve_overdue(&mut conn, app.app.clock(), 10).await.unwrap(), 1);
    let told = reasons(&explain(&offer.affiliate, &id).await);
    assert!(told.contains(&("decided".to_owned(), "approved_by_itself".to_owned())), "{told:?}");
    let held = last(&offer.affiliate, &id).await;
    assert_eq!((&held["reason"], &held["at"]), (&json!("on_hold"), &json!("2026-06-29T12:00:00.000Z")));
    app.clock.advance(TimeDelta::days(11));
    let below = last(&offer.affiliate, &id).await;
    assert_eq!(below["reason"], "below_minimum");
    assert_eq!((&below["figures"]["payable"], &below["figures"]["min_payout"]), (&json!(19.8), &json!(50)));
    assert_eq!(payouts::model::AFFILIATES_MAX, 1_000);
}

#[tokio::test]
async fn leads_and_paid_reports_are_explained() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sqlx::query(
        "INSERT INTO usage_months (advertiser, month, metric, used, included) VALUES ($1, '2026-06-01', 'conversions', 100, 100)",
    )
    .bind(app.number(&offer.advertiser).await)
    .execute(app.app.db())
    .await
    .unwrap();
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    let lead = json!({"tracking_token": offer.token, "event_type": "lead"});
    let lead = offer.advertiser.post("/api/conversions/track", lead).await;
    let told = explain(&offer.advertiser, lead.expect(201)["id"].as_str().unwrap()).await;
    let said = reasons(&told);
    assert_eq!(said[1].1, "no_click_named");
    assert_eq!(said[2].1, "lead_earns_nothing");
    assert_eq!(said[3].1, "paid_from_wallet");
    assert_eq!(told.body["steps"][3]["figures"]["price"], 0.3);
    let fixed = json!({"commission_type": "fixed", "commission_value": 7});
    offer.advertiser.patch(&format!("/api/programs/{}", offer.program), fixed).await.expect(200);
    let told = explain(&offer.advertiser, &sale(&offer, json!({})).await).await;
    assert_eq!(reasons(&told)[2].1, "fixed_amount");
    assert_eq!(told.body["commission_amount"], 7);
}

#[tokio::test]
async fn a_click_is_explained_from_the_edge_to_the_sale() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let (advertiser, affiliate) = (&offer.advertiser, &offer.affiliate);
    let told = async |client: &Client, id: &str| client.get(&format!("/api/clicks/{id}/explain")).await;
    let report = async || {
        let reply =
            affiliate.post("/api/conversions/track-click", json!({"tracking_token": offer.token})).await;
        reply.expect(201)["click_id"].as_str().unwrap().to_owned()
    };
    let id = report().await;
    are(
        &told(affiliate, &id).await,
        &[
            ("clicked", "by_report"),
            ("recorded", "stored"),
            ("class", "class_counted"),
            ("credited", "attribution_open"),
        ],
    );
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    fold::fold(&mut conn, app.now()).await.unwrap();
    let metered = told(advertiser, &id).await;
    assert_eq!(reasons(&metered)[3], ("metered".to_owned(), "within_allowance".to_owned()));
    assert_eq!(metered.body["steps"][3]["figures"]["used"], 1);
    assert_eq!((&metered.body["counted"], &metered.body["link_id"]), (&json!(true), &json!(offer.link)));
    for (used, reason) in [((10_001, 1, 0), "paid_from_wallet"), ((10_002, 1, 1), "over_limit")] {
        let (used, billed, over) = used;
        sqlx::query("UPDATE usage_months SET used = $1, included = 10000, billed = $2, over_limit = $3")
            .bind(used)
            .bind(billed)
            .bind(over)
            .execute(app.app.db())
            .await
            .unwrap();
        assert_eq!(reasons(&told(advertiser, &id).await)[3].1, reason);
    }
    sqlx::query("UPDATE usage_months SET used = 10003, over_limit = 0, capped = 2")
        .execute(app.app.db())
        .await
        .unwrap();
    let capped = told(advertiser, &id).await;
    assert_eq!(reasons(&capped)[3].1, "link_capped");
    assert_eq!(capped.body["steps"][3]["figures"]["capped"], 2);
    let conversion = sale(&offer, json!({"click_id": id})).await;
    let sold = told(affiliate, &id).await;
    assert_eq!(reasons(&sold)[3].1, "conversion_credited");
    assert_eq!(sold.body["steps"][3]["figures"]["conversion_id"], conversion);
    // What the program does not pay for is kept, and said to be.
    let classes = json!({"pay_classes": ["human"]});
    advertiser.patch(&format!("/api/programs/{}", offer.program), classes).await.expect(200);
    let unpaid = told(advertiser, &report().await).await;
    assert_eq!(
        (reasons(&unpaid)[2].1.as_str(), &unpaid.body["counted"]),
        ("class_not_counted", &json!(false))
    );
}

#[tokio::test]
async fn clicks_of_an_edge_are_explained_before_during_and_after_their_row() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let key = app.app.click_id_key();
    let mint = |at_ms, seq| {
        let click = ClickId { at_ms, spool_tag: 9, seq, link: offer.key };
        String::from_utf8(key.mint(&click).to_vec()).unwrap()
    };
    let told = async |client: &Client, id: &str| client.get(&format!("/api/clicks/{id}/explain")).await;
    let now = app.app.clock().now_ms();
    are(
        &told(&offer.advertiser, &mint(now, 1)).await,
        &[("clicked", "by_redirect"), ("recorded", "not_stored_yet"), ("credited", "attribution_open")],
    );
    let long_ago = now - 40 * 86_400_000;
    sqlx::query("INSERT INTO click_days_dropped (day, clicks, dropped_at) VALUES ('2026-05-06', 1, now())")
        .execute(app.app.db())
        .await
        .unwrap();
    let gone = told(&offer.advertiser, &mint(long_ago, 1)).await;
    are(
        &gone,
        &[("clicked", "by_redirect"), ("recorded", "row_dropped"), ("credited", "attribution_closed")],
    );
    assert_eq!(gone.body["counted"], Value::Null);
    for (seq, class, flags, reason) in
        [(2, 8, 0, "duplicate"), (3, 3, 0, "class_not_counted"), (4, 0, 3, "class_counted")]
    {
        sqlx::query(
            "INSERT INTO clicks (at, seq, link_key, visitor, spool_tag, advertiser, class, flags, country)
             VALUES ($1, $2, $3, 5, 9, $4, $5, $6, 17477)",
        )
        .bind(app.now())
        .bind(seq)
        .bind(offer.key.to_i64())
        .bind(app.number(&offer.advertiser).await)
        .bind(class)
        .bind(flags)
        .execute(app.app.db())
        .await
        .unwrap();
        let stored = told(&offer.affiliate, &mint(now, seq as u64)).await;
        assert_eq!(reasons(&stored)[2].1, reason);
        assert_eq!(stored.body["steps"][2]["figures"]["country"], "DE");
        let corrected = if flags & 2 == 2 { "stored_time_corrected" } else { "stored" };
        assert_eq!(reasons(&stored)[1].1, corrected);
    }
    let id = mint(now, 1);
    told(&app.agent("Stranger").await, &id).await.is_error(404, "not_found");
    // Cut short, a letter changed, another kind of id.
    let (cut, changed) = (id.get(1..).unwrap(), id.replace(|letter: char| letter.is_ascii_digit(), "x"));
    for bad in ["x", cut, &changed, "018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10"] {
        let reply = told(&offer.affiliate, bad).await;
        assert!(bad != id && reply.is_error(400, "invalid_id").contains("43 characters"), "{bad}");
    }
}
