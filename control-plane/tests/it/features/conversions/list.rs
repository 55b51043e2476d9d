//! `GET /api/conversions`, `GET /api/agents/:id/conversions`, `GET /api/programs/:id/conversions`.

use crate::harness::{Reply, TestApp};
use chrono::TimeDelta;
use serde_json::{Value, json};

fn names(reply: &Reply) -> Vec<&str> {
    let rows = reply.expect(200)["data"].as_array().unwrap();
    rows.iter().map(|row| row["external_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lists_are_filtered_paged_and_newest_first() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let other = app.another_affiliate(&offer, "Second").await;
    let report = async |token: &str, event: &str, name: &str| {
        let mut body = json!({"tracking_token": token, "event_type": event, "external_id": name});
        if event == "sale" {
            body["revenue_amount"] = json!(10);
        }
        let reply = offer.advertiser.post("/api/conversions/track", body).await;
        let id = reply.expect(201)["id"].as_str().unwrap().to_owned();
        app.clock.advance(TimeDelta::days(1));
        id
    };
    let a = report(&offer.token, "sale", "a").await;
    report(&offer.token, "lead", "b").await;
    report(&other.token, "sale", "c").await;
    report(&offer.token, "sale", "d").await;
    let approved =
        offer.advertiser.patch(&format!("/api/conversions/{a}"), json!({"status": "approved"})).await;
    approved.expect(200);
    let program = format!("/api/programs/{}/conversions", offer.program);
    let by_program = async |query: &str| offer.advertiser.get(&format!("{program}{query}")).await;
    assert_eq!(names(&by_program("").await), ["d", "c", "b", "a"]);
    assert_eq!(names(&by_program("?status=pending").await), ["d", "c", "b"]);
    assert_eq!(names(&by_program("?event_type=lead").await), ["b"]);
    assert_eq!(names(&by_program(&format!("?affiliate_id={}", other.affiliate.id())).await), ["c"]);
    assert_eq!(names(&by_program("?external_id=c").await), ["c"]);
    assert_eq!(names(&by_program("?from=2026-06-16&to=2026-06-17").await), ["c", "b"]);
    assert_eq!(names(&by_program("?from=2026-06-17T12:00:00Z").await), ["d", "c"]);
    let page = by_program("?per_page=3&page=2").await;
    assert_eq!(names(&page), ["a"]);
    assert_eq!(page.body["pagination"], json!({"page": 2, "per_page": 3, "total": 4, "total_pages": 2}));
    assert_eq!(page.body["query"], json!({}));
    let filtered = by_program("?status=pending&per_page=2").await;
    assert_eq!(filtered.body["query"], json!({"status": "pending"}));
    // A cursor goes on where the page ended, whatever came since.
    let cursor = filtered.body["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    report(&offer.token, "sale", "e").await;
    assert_eq!(names(&by_program(&format!("?status=pending&per_page=2&cursor={cursor}")).await), ["b"]);
    let reply = offer.advertiser.get(&format!("{program}?cursor=x")).await;
    reply.is_error(400, "invalid_value");
    let mine = format!("/api/agents/{}/conversions", offer.affiliate.id());
    let by_agent = async |query: &str| offer.affiliate.get(&format!("{mine}{query}")).await;
    assert_eq!(names(&by_agent("").await), ["e", "d", "b", "a"]);
    assert_eq!(names(&by_agent("?status=approved&event_type=sale").await), ["a"]);
    let row = &by_agent("?status=approved").await.body["data"][0];
    assert_eq!(row, approved.expect(200));
    assert_eq!(
        names(&offer.advertiser.get(&format!("/api/agents/{}/conversions", offer.advertiser.id())).await),
        [""; 0]
    );
}

#[tokio::test]
async fn bad_queries_and_foreign_lists_are_refused() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let program = format!("/api/programs/{}/conversions", offer.program);
    for (query, field) in [
        ("?status=open", "status"),
        ("?event_type=click", "event_type"),
        ("?affiliate_id=7", "affiliate_id"),
        ("?from=yesterday", "from"),
        ("?to=2026-02-30", "to"),
        ("?page=0", "page"),
        ("?per_page=101", "per_page"),
        ("?per_page=9223372036854775808", "per_page"),
        ("?page=9223372036854775807", "page"),
        ("?sttus=pending", "sttus"),
        ("?status=pending&status=paid", "status"),
    ] {
        let reply = offer.advertiser.get(&format!("{program}{query}")).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], field, "{query}: {reply}");
    }
    offer.affiliate.get(&program).await.is_error(403, "not_owner");
    app.anyone().get(&program).await.is_error(401, "api_key_missing");
    offer.advertiser.get("/api/programs/1/conversions").await.is_error(400, "invalid_id");
    let unknown = shared::id::ProgramId::generate();
    offer.advertiser.get(&format!("/api/programs/{unknown}/conversions")).await.is_error(404, "not_found");
    let mine = format!("/api/agents/{}/conversions", offer.affiliate.id());
    offer.advertiser.get(&mine).await.is_error(403, "not_owner");
    let unknown = shared::id::AgentId::generate();
    offer.advertiser.get(&format!("/api/agents/{unknown}/conversions")).await.is_error(404, "not_found");
    let foreign = offer.affiliate.get(&format!("{mine}?affiliate_id={}", offer.advertiser.id())).await;
    foreign.is_error(400, "invalid_value");
    assert_eq!(foreign.body["field"], Value::from("affiliate_id"));
}

#[tokio::test]
async fn an_advertiser_sees_those_of_all_its_programs_and_of_nobody_else() {
    let app = TestApp::start().await;
    let (offer, foreign) = (app.offer().await, app.offer_named("Foreign", "Scout").await);
    let second = app.program_with(&offer.advertiser, json!({"name": "Second"})).await;
    let second = second["id"].as_str().unwrap();
    let joined = offer.affiliate.post(&format!("/api/network/join/{second}"), json!({})).await;
    let links = format!("/api/partnerships/{}/links", joined.expect(201)["id"].as_str().unwrap());
    let link = offer.affiliate.post(&links, json!({"destination_url": "https://example.com/"})).await;
    let other_token = link.expect(201)["token"].as_str().unwrap().to_owned();
    for (advertiser, token, name) in [
        (&offer.advertiser, &offer.token, "one"),
        (&offer.advertiser, &other_token, "two"),
        (&foreign.advertiser, &foreign.token, "theirs"),
    ] {
        let sale =
            json!({"tracking_token": token, "event_type": "sale", "revenue_amount": 10, "external_id": name});
        advertiser.post("/api/conversions/track", sale).await.expect(201);
        app.clock.advance(TimeDelta::minutes(1));
    }
    let of = async |query: &str| offer.advertiser.get(&format!("/api/conversions{query}")).await;
    assert_eq!(names(&of("").await), ["two", "one"]);
    assert_eq!(of("").await.body["pagination"]["total"], 2);
    assert_eq!(names(&of(&format!("?program_id={second}")).await), ["two"]);
    assert_eq!(names(&of(&format!("?program_id={}", foreign.program)).await), [""; 0]);
    assert_eq!(names(&of("?external_id=theirs").await), [""; 0]);
    assert_eq!(names(&of("?status=pending&per_page=1").await), ["two"]);
    assert_eq!(
        names(&offer.affiliate.get("/api/conversions").await),
        [""; 0],
        "an affiliate's are another list"
    );
    of("?page=0").await.is_error(400, "invalid_value");
}
