//! `GET /api/partnerships/:id/links`, `GET /api/links/:id`.

use crate::harness::TestApp;
use chrono::TimeDelta;
use serde_json::json;

#[tokio::test]
async fn both_sides_read_links_and_nobody_else_knows_of_them() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let stranger = app.agent("Stranger").await;
    let (one, all) =
        (format!("/api/links/{}", offer.link), format!("/api/partnerships/{}/links", offer.partnership));
    let link = offer.affiliate.get(&one).await;
    assert_eq!(link.expect(200)["token"], offer.token.as_str());
    assert_eq!(offer.advertiser.get(&one).await.expect(200), &link.body);
    for client in [&offer.affiliate, &offer.advertiser] {
        assert_eq!(client.get(&all).await.expect(200)["data"], json!([link.body]));
    }
    for path in [&one, &all] {
        stranger.get(path).await.is_error(404, "not_found");
        app.anyone().get(path).await.is_error(401, "api_key_missing");
    }
    let missing = "018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10";
    offer.affiliate.get(&format!("/api/links/{missing}")).await.is_error(404, "not_found");
    offer.affiliate.get(&format!("/api/partnerships/{missing}/links?bad=1")).await.is_error(404, "not_found");
    offer.affiliate.get("/api/links/x").await.is_error(400, "invalid_id");
    offer.affiliate.get("/api/partnerships/x/links").await.is_error(400, "invalid_id");
    offer.affiliate.get(&format!("{all}?bad=1")).await.is_error(400, "invalid_value");
}

#[tokio::test]
async fn lists_page_filter_and_leave_deleted_links_out() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let path = format!("/api/partnerships/{}/links", offer.partnership);
    let mut ids = vec![offer.link.clone()];
    for n in 0..3 {
        app.clock.advance(TimeDelta::seconds(1));
        let body = json!({"destination_url": "https://example.com/", "sub_id": format!("s{}", n % 2)});
        ids.insert(0, offer.affiliate.post(&path, body).await.expect(201)["id"].as_str().unwrap().to_owned());
    }
    let list = async |query: &str| {
        let reply = offer.affiliate.get(&format!("{path}{query}")).await;
        let rows = reply.expect(200)["data"].as_array().unwrap().clone();
        (rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), reply)
    };
    assert_eq!(list("").await.0, ids);
    let (labelled, reply) = list("?sub_id=s0").await;
    assert_eq!(
        (labelled, &reply.body["query"]),
        (vec![ids[0].clone(), ids[2].clone()], &json!({"sub_id": "s0"}))
    );
    let (first, reply) = list("?per_page=3").await;
    let cursor = reply.body["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!([first, list(&format!("?per_page=3&cursor={cursor}")).await.0].concat(), ids);
    offer.affiliate.delete(&format!("/api/links/{}", ids[1])).await.expect(200);
    ids.remove(1);
    let (left, reply) = list("").await;
    assert_eq!((left, &reply.body["pagination"]["total"]), (ids, &json!(3)));
}

#[tokio::test]
async fn clicks_show_at_once_and_conversions_too() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let other = app.another_affiliate(&offer, "Other").await;
    let number = app.number(&offer.advertiser).await;
    let hour = app.now() - TimeDelta::hours(1);
    for (key, class, clicks, billable) in
        [(offer.key, 0i16, 5i64, 4i64), (offer.key, 3, 2, 0), (other.key, 0, 100, 100)]
    {
        sqlx::query("INSERT INTO link_hours VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(number)
            .bind(key.to_i64())
            .bind(hour)
            .bind(class)
            .bind(clicks)
            .bind(billable)
            .execute(app.app.db())
            .await
            .unwrap();
    }
    // Not folded yet: three counted clicks of an agent, one that is not, and some of another link.
    sqlx::query(
        "INSERT INTO click_deltas (advertisers, link_keys, hours, classes, billable, counts, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, now())",
    )
    .bind(vec![number; 3])
    .bind(vec![offer.key.to_i64(), offer.key.to_i64(), other.key.to_i64()])
    .bind(vec![495_000; 3])
    .bind(vec![1i16, 1, 0])
    .bind(vec![true, false, true])
    .bind(vec![3, 1, 50])
    .execute(app.app.db())
    .await
    .unwrap();
    for (n, status) in [(1, None), (2, None), (3, Some("rejected"))] {
        let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 10, "external_id": n.to_string()});
        let conversion = offer.advertiser.post("/api/conversions/track", body).await;
        let id = conversion.expect(201)["id"].as_str().unwrap().to_owned();
        if let Some(status) = status {
            offer
                .advertiser
                .patch(&format!("/api/conversions/{id}"), json!({"status": status}))
                .await
                .expect(200);
        }
    }
    let link = offer.affiliate.get(&format!("/api/links/{}", offer.link)).await;
    assert_eq!(link.expect(200)["clicks"], 7);
    assert_eq!(link.body["clicks_by_class"], json!({"human": 5, "agent": 4, "preview": 2}));
    assert_eq!(link.body["conversions"], 2);
    let list = other.affiliate.get(&format!("/api/partnerships/{}/links", other.partnership)).await;
    assert_eq!(
        (&list.expect(200)["data"][0]["clicks"], &list.body["data"][0]["conversions"]),
        (&json!(150), &json!(0))
    );
}
