//! `GET /api/programs`, `GET /api/programs/:id`.

use crate::harness::{Client, TestApp};
use chrono::TimeDelta;
use serde_json::{Value, json};

async fn names(client: &Client, path: &str) -> Vec<String> {
    let reply = client.get(path).await;
    let data = reply.expect(200)["data"].as_array().unwrap();
    data.iter().map(|program| program["name"].as_str().unwrap().to_owned()).collect()
}

/// Four programs, a minute apart.
async fn seeded() -> (TestApp, Client, Client) {
    let app = TestApp::start().await;
    let (one, two) = (app.agent("One").await, app.agent("Two").await);
    for (owner, program) in [
        (&one, json!({"name": "Alpha CRM", "niche": "SaaS", "commission_value": 30, "audience_type": "b2b"})),
        (
            &one,
            json!({"name": "Beta Shoes", "niche": "fashion", "commission_type": "fixed", "commission_value": 25, "description": "running shoes"}),
        ),
        (&two, json!({"name": "Gamma Mail", "niche": "saas", "commission_value": 12.5})),
        (
            &two,
            json!({"name": "Delta Host", "niche": "hosting", "commission_type": "fixed", "commission_value": 80}),
        ),
    ] {
        app.program_with(owner, program).await;
        app.clock.advance(TimeDelta::minutes(1));
    }
    (app, one, two)
}

#[tokio::test]
async fn filters_orders_and_searches() {
    let (app, one, _) = seeded().await;
    let anyone = app.anyone();
    let check = async |query: &str, wanted: &[&str]| {
        assert_eq!(names(&anyone, &format!("/api/programs{query}")).await, wanted, "{query}");
    };
    check("", &["Delta Host", "Gamma Mail", "Beta Shoes", "Alpha CRM"]).await;
    check("?status=active&niche=saas", &["Gamma Mail", "Alpha CRM"]).await;
    check("?niche=SAAS", &["Gamma Mail", "Alpha CRM"]).await;
    check("?audience_type=B2B", &["Alpha CRM"]).await;
    check("?commission_type=fixed", &["Delta Host", "Beta Shoes"]).await;
    check("?min_commission=25", &["Delta Host", "Beta Shoes", "Alpha CRM"]).await;
    check("?min_commission=25&commission_type=percentage", &["Alpha CRM"]).await;
    check("?min_commission=12.51", &["Delta Host", "Beta Shoes", "Alpha CRM"]).await;
    check(&format!("?advertiser_id={}", one.id()), &["Beta Shoes", "Alpha CRM"]).await;
    check("?sort=highest_commission", &["Delta Host", "Alpha CRM", "Beta Shoes", "Gamma Mail"]).await;
    check("?q=shoe", &["Beta Shoes"]).await;
    check("?q=Running%20SHOES", &["Beta Shoes"]).await;
    check("?q=saas", &["Gamma Mail", "Alpha CRM"]).await;
    check("?q=mail%20shoes", &[]).await;
    check("?q=%27%3B--%20%26%20%7C%20gam", &["Gamma Mail"]).await;
    check(&format!("?q={}", one.id()), &["Beta Shoes", "Alpha CRM"]).await;
    let handle = one.get("/api/agents/me").await.expect(200)["handle"].as_str().unwrap().to_owned();
    check(&format!("?q={handle}"), &["Beta Shoes", "Alpha CRM"]).await;
    check(&format!("?q=%40{}", handle.to_uppercase()), &["Beta Shoes", "Alpha CRM"]).await;
    let alpha =
        anyone.get("/api/programs?q=crm").await.expect(200)["data"][0]["id"].as_str().unwrap().to_owned();
    check(&format!("?q={alpha}"), &["Alpha CRM"]).await;
    check("?q=018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10", &[]).await;
    check("?niche=nothing", &[]).await;
    check("?status=paused", &[]).await;
    check("?status=archived", &[]).await;
}

#[tokio::test]
async fn a_list_says_which_query_it_answered() {
    let (app, ..) = seeded().await;
    let reply = app.anyone().get("/api/programs?niche=saas&min_commission=10.0&per_page=1").await;
    let body = reply.expect(200);
    assert_eq!(body["query"], json!({"niche": "saas", "min_commission": 10, "sort": "newest"}));
    let pagination = &body["pagination"];
    assert_eq!(
        (&pagination["page"], &pagination["per_page"], &pagination["total"], &pagination["total_pages"]),
        (&json!(1), &json!(1), &json!(2), &json!(2))
    );
    assert!(pagination["next_cursor"].is_string());
}

#[tokio::test]
async fn pages_and_cursors_go_through_every_order_without_repeats() {
    let (app, one, _) = seeded().await;
    for order in ["newest", "highest_commission", "most_affiliates", "best_epc"] {
        let whole = names(&app.anyone(), &format!("/api/programs?sort={order}")).await;
        let mut by_page = Vec::new();
        for page in 1..=5 {
            by_page.extend(
                names(&app.anyone(), &format!("/api/programs?sort={order}&per_page=1&page={page}")).await,
            );
        }
        assert_eq!(by_page, whole, "{order}");
        let (mut by_cursor, mut cursor, mut page) = (Vec::new(), String::new(), 1);
        loop {
            let reply = app.anyone().get(&format!("/api/programs?sort={order}&per_page=1{cursor}")).await;
            let body = reply.expect(200);
            assert_eq!(body["pagination"]["page"], page, "{order}");
            by_cursor.push(body["data"][0]["name"].as_str().unwrap().to_owned());
            let Some(next) = body["pagination"]["next_cursor"].as_str() else { break };
            (cursor, page) = (format!("&cursor={next}"), page + 1);
        }
        assert_eq!(by_cursor, whole, "{order}");
    }
    // What is added meanwhile neither shifts nor repeats a row behind a cursor.
    let first = app.anyone().get("/api/programs?per_page=2").await;
    let cursor = first.expect(200)["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    app.program_with(&one, json!({"name": "Newcomer"})).await;
    assert_eq!(
        names(&app.anyone(), &format!("/api/programs?per_page=2&cursor={cursor}")).await,
        ["Beta Shoes", "Alpha CRM"]
    );
}

#[tokio::test]
async fn a_bad_query_is_answered_in_our_words() {
    let app = TestApp::start().await;
    for (query, field) in [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=9223372036854775807", "page"),
        ("page=99999999999999999999", "page"),
        ("per_page=0", "per_page"),
        ("per_page=101", "per_page"),
        ("per_page=x", "per_page"),
        ("status=open", "status"),
        ("commission_type=cpa", "commission_type"),
        ("min_commission=much", "min_commission"),
        ("min_commission=-1", "min_commission"),
        ("min_commission=1e5", "min_commission"),
        ("advertiser_id=me", "advertiser_id"),
        ("sort=oldest", "sort"),
        ("niche=", "niche"),
        ("q=%20", "q"),
        ("q=%21%3F", "q"),
        ("cursor=abc", "cursor"),
        ("cursor=abc&page=1", "cursor"),
        ("nich=saas", "nich"),
    ] {
        let reply = app.anyone().get(&format!("/api/programs?{query}")).await;
        reply.is_error(400, "invalid_value");
        assert_eq!(reply.body["field"], field, "{query}: {reply}");
    }
    let typo = app.anyone().get("/api/programs?comission_type=fixed").await;
    assert!(typo.is_error(400, "invalid_value").contains("`commission_type`"), "{typo}");
}

#[tokio::test]
async fn one_program_is_anybodys_to_read() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let program = app.program(&advertiser).await;
    let path = format!("/api/programs/{program}");
    let mine: Value = advertiser.get(&path).await.expect(200).clone();
    assert_eq!(app.anyone().get(&path).await.expect(200), &mine);
    app.anyone().get("/api/programs/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10").await.is_error(404, "not_found");
    app.anyone().get("/api/programs/PROGRAM_ID").await.is_error(400, "invalid_id");
}
