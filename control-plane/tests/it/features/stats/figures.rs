//! GET /api/agents/me/stats.

use super::{drain, fold_all, spool_of};
use crate::harness::TestApp;
use chrono::TimeDelta;
use serde_json::{Value, json};
use shared::{Click, ClickClass};

const PATH: &str = "/api/agents/me/stats";

#[tokio::test]
async fn an_agent_that_has_done_nothing_sees_zeroes() {
    let app = TestApp::start().await;
    let agent = app.agent("Newcomer").await;
    let reply = agent.get(PATH).await;
    let stats = reply.expect(200);
    assert_eq!(stats["agent_id"], agent.id());
    assert_eq!(
        stats["period"],
        json!({
            "days": 30,
            "from": "2026-05-16T13:00:00.000Z",
            "to": "2026-06-15T13:00:00.000Z",
            "previous_from": "2026-04-16T13:00:00.000Z",
        })
    );
    let no_clicks = json!({
        "total": 0, "counted": 0, "previous_total": 0, "change_percent": null, "by_class": {}, "by_day": [],
        "by_link": [], "by_program": [], "by_country": [], "by_sub_id": [],
    });
    assert_eq!(stats["clicks"], json!({"as_affiliate": no_clicks, "as_advertiser": no_clicks}));
    let no_conversions = json!({
        "total": 0, "leads": 0, "sales": 0, "pending": 0, "approved": 0, "rejected": 0, "revenue": 0,
        "previous_total": 0, "change_percent": null,
    });
    assert_eq!(
        stats["conversions"],
        json!({"as_affiliate": no_conversions, "as_advertiser": no_conversions})
    );
    let no_commissions = json!({
        "total": 0, "pending": 0, "approved": 0, "paid": 0, "previous_total": 0, "change_percent": null,
    });
    assert_eq!(
        stats["commissions"],
        json!({"as_affiliate": no_commissions, "as_advertiser": no_commissions})
    );
    assert_eq!(stats["usage"], *agent.get("/api/usage").await.expect(200));
    assert_eq!(stats["wallet"], json!({"balance": 0, "currency": "usd"}));
    assert_eq!(stats["referral"]["referred"], 0);
}

#[tokio::test]
async fn spans_are_7_30_or_90_days_and_keys_are_needed() {
    let app = TestApp::start().await;
    let agent = app.agent("Agent").await;
    for days in [7, 30, 90] {
        let reply = agent.get(&format!("{PATH}?days={days}")).await;
        assert_eq!(reply.expect(200)["period"]["days"], days);
    }
    for query in ["days=8", "days=0", "days=-7", "days=week", "days=99999999999999999999", "dyas=7"] {
        agent.get(&format!("{PATH}?{query}")).await.is_error(400, "invalid_value");
    }
    for path in [PATH, "/api/agents/me/weekly-digest"] {
        app.anyone().get(path).await.is_error(401, "api_key_missing");
        app.with_key("aos_live_nonsense").get(path).await.is_error(401, "api_key_invalid");
        agent.post(path, json!({})).await.is_error(405, "method_not_allowed");
    }
    let keys = agent.post(&format!("/api/agents/{}/keys", agent.id()), json!({"kind": "publisher"})).await;
    let publisher = app.with_key(keys.expect(201)["key"].as_str().unwrap());
    publisher.get(PATH).await.is_error(401, "api_key_invalid");
}

#[tokio::test]
async fn clicks_are_told_by_class_day_link_program_country_and_sub_id_before_and_after_the_fold() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let spool = spool_of(&app, &offer).await;
    let now_ms = app.now().timestamp_millis();
    let days_ago = |days: i64| now_ms - days * 86_400_000;
    let mut clicks: Vec<Click<'_>> = Vec::new();
    let mut push = |count: u64, click: Click<'static>| {
        for _ in 0..count {
            clicks.push(Click { visitor: clicks.len() as u64, ..click });
        }
    };
    let plain = spool.click(0);
    push(6, Click { at_ms: now_ms, country: *b"DE", notes: b"\x01\x04news", ..plain });
    push(3, Click { at_ms: days_ago(1), country: *b"FR", class: ClickClass::Agent, notes: b"", ..plain });
    push(2, Click { at_ms: days_ago(2), country: [0; 2], class: ClickClass::Crawler, flags: 0, ..plain });
    drain(&spool, &clicks).await;
    for folded in [false, true] {
        if folded {
            fold_all(&app).await;
        }
        for (client, side, other) in [
            (&offer.affiliate, "as_affiliate", "as_advertiser"),
            (&offer.advertiser, "as_advertiser", "as_affiliate"),
        ] {
            let reply = client.get(&format!("{PATH}?days=7")).await;
            let all = &reply.expect(200)["clicks"];
            assert_eq!(all[other]["total"], 0, "{reply}");
            let clicks = &all[side];
            assert_eq!((&clicks["total"], &clicks["counted"]), (&json!(11), &json!(9)), "{folded} {reply}");
            assert_eq!(clicks["by_class"], json!({"human": 6, "agent": 3, "crawler": 2}));
            assert_eq!(
                clicks["by_day"],
                json!([
                    {"date": "2026-06-13", "clicks": 2, "counted": 0},
                    {"date": "2026-06-14", "clicks": 3, "counted": 3},
                    {"date": "2026-06-15", "clicks": 6, "counted": 6},
                ])
            );
            assert_eq!(
                clicks["by_link"],
                json!([{
                    "link_id": offer.link, "destination_url": "https://example.com/pricing",
                    "clicks": 11, "counted": 9, "previous": 0,
                }])
            );
            assert_eq!(
                clicks["by_program"],
                json!([{
                    "program_id": offer.program, "program_name": "My SaaS",
                    "clicks": 11, "counted": 9, "previous": 0,
                }])
            );
            // Countries and sub ids show with the fold, a second later.
            let source = |name: &str, clicks: i64| json!({"name": name, "clicks": clicks, "previous": 0});
            let countries = if folded { json!([source("DE", 6), source("FR", 3)]) } else { json!([]) };
            assert_eq!(clicks["by_country"], countries, "{reply}");
            let subs = if folded { json!([source("news", 6)]) } else { json!([]) };
            assert_eq!(clicks["by_sub_id"], subs);
        }
    }
    // Eight days later they are the week before.
    app.clock.advance(TimeDelta::days(8));
    let reply = offer.affiliate.get(&format!("{PATH}?days=7")).await;
    let clicks = &reply.expect(200)["clicks"]["as_affiliate"];
    assert_eq!((&clicks["total"], &clicks["previous_total"]), (&json!(0), &json!(11)), "{reply}");
    assert_eq!((&clicks["change_percent"], &clicks["by_class"]), (&json!(-100), &json!({})));
    assert_eq!(clicks["by_link"][0]["previous"], 11);
    assert_eq!(clicks["by_country"][0], json!({"name": "DE", "clicks": 0, "previous": 6}));
    // Nobody else sees any of it.
    let stranger = app.agent("Stranger").await;
    let reply = stranger.get(PATH).await;
    for side in ["as_affiliate", "as_advertiser"] {
        assert_eq!(reply.expect(200)["clicks"][side]["total"], 0);
    }
}

#[tokio::test]
async fn conversions_and_commissions_are_told_on_both_sides() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let track = async |external: &str, event: &str, revenue: Option<f64>| {
        let mut body = json!({"tracking_token": offer.token, "event_type": event, "external_id": external});
        if let Some(revenue) = revenue {
            body["revenue_amount"] = json!(revenue);
        }
        let reply = offer.advertiser.post("/api/conversions/track", body).await;
        reply.expect(201)["id"].as_str().unwrap().to_owned()
    };
    track("old", "sale", Some(50.0)).await;
    app.clock.advance(TimeDelta::days(8));
    let approved = track("a", "sale", Some(99.0)).await;
    let rejected = track("b", "sale", Some(10.0)).await;
    track("c", "lead", None).await;
    let decide = |id: String, status: &'static str| {
        let (advertiser, body) = (offer.advertiser.clone(), json!({"status": status}));
        async move { advertiser.patch(&format!("/api/conversions/{id}"), body).await.expect(200).clone() }
    };
    decide(approved, "approved").await;
    decide(rejected, "rejected").await;
    for (client, side, other) in [
        (&offer.affiliate, "as_affiliate", "as_advertiser"),
        (&offer.advertiser, "as_advertiser", "as_affiliate"),
    ] {
        let reply = client.get(&format!("{PATH}?days=7")).await;
        let stats = reply.expect(200);
        assert_eq!(
            stats["conversions"][side],
            json!({
                "total": 3, "leads": 1, "sales": 2, "pending": 1, "approved": 1, "rejected": 1, "revenue": 109,
                "previous_total": 1, "change_percent": 200,
            })
        );
        assert_eq!(
            stats["commissions"][side],
            json!({
                "total": 19.8, "pending": 0, "approved": 19.8, "paid": 0, "previous_total": 10,
                "change_percent": 98,
            })
        );
        assert_eq!(stats["conversions"][other]["total"], 0);
        assert_eq!(stats["commissions"][other]["total"], 0);
    }
}

#[tokio::test]
async fn sub_ids_are_bounded_for_each_link_and_day() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    for round in 0..3 {
        let spool = spool_of(&app, &offer).await;
        let notes: Vec<Vec<u8>> = (0..400)
            .map(|number| {
                let mut notes = Vec::new();
                shared::click::push_note(&mut notes, 1, &format!("{round}-{number}"));
                notes
            })
            .collect();
        let clicks: Vec<Click<'_>> =
            notes.iter().map(|notes| Click { notes, visitor: 1, ..spool.click(0) }).collect();
        drain(&spool, &clicks).await;
        fold_all(&app).await;
    }
    let count = |sql| app.count(sql);
    assert_eq!(count("SELECT sum(clicks)::BIGINT FROM link_sources WHERE kind = 1").await, 1200);
    // Two rounds fit (the limit is looked at once per fold), the third counts together.
    assert_eq!(count("SELECT count(*) FROM link_sources WHERE kind = 1").await, 801);
    assert_eq!(count("SELECT clicks FROM link_sources WHERE kind = 1 AND name = ''").await, 400);
    let reply = offer.affiliate.get(PATH).await;
    let strongest = &reply.expect(200)["clicks"]["as_affiliate"]["by_sub_id"];
    assert_eq!(strongest[0], json!({"name": "(other)", "clicks": 400, "previous": 0}));
    assert_eq!(strongest.as_array().map(Vec::len), Some(10));
    // A name that is known goes on counting.
    let spool = spool_of(&app, &offer).await;
    let mut notes = Vec::new();
    shared::click::push_note(&mut notes, 1, "0-7");
    drain(&spool, &[Click { notes: &notes, ..spool.click(0) }]).await;
    fold_all(&app).await;
    assert_eq!(count("SELECT clicks FROM link_sources WHERE name = '0-7'").await, 2);
    let _: &Value = reply.expect(200);
}
