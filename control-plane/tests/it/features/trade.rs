//! Sums that are kept beside their rows: exact before, while and after they are folded.

use crate::harness::{Offer, TestApp};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn fold(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT fold_trade(NULL)").fetch_one(app.app.db_worker()).await.unwrap()
}

async fn waiting(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM trade_deltas").fetch_one(app.app.db_worker()).await.unwrap()
}

async fn sell(offer: &Offer, amount: i64) -> String {
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": amount});
    let reply = offer.advertiser.post("/api/conversions/track", body).await;
    reply.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn decide(offer: &Offer, id: &str, status: &str) {
    let path = format!("/api/conversions/{id}");
    offer.advertiser.patch(&path, json!({"status": status})).await.expect(200);
}

/// Everything that is told from the sums.
async fn told(offer: &Offer) -> Value {
    let (affiliate, program) = (&offer.affiliate, &offer.program);
    let earnings = affiliate.get(&format!("/api/agents/{}/earnings", affiliate.id())).await;
    let owed = offer.advertiser.get(&format!("/api/programs/{program}/payouts")).await;
    let mut told = json!({"earnings": earnings.expect(200), "owed": owed.expect(200)});
    for (name, client) in [("affiliate", affiliate), ("advertiser", &offer.advertiser)] {
        let reply = client.get("/api/agents/me/stats?days=7").await;
        let stats = reply.expect(200);
        told[name] = json!([stats["conversions"], stats["commissions"]]);
    }
    told
}

#[tokio::test]
async fn what_is_told_is_the_same_before_and_after_the_fold() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let mut ids = Vec::new();
    for amount in [10, 20, 40, 80] {
        ids.push(sell(&offer, amount).await);
    }
    decide(&offer, &ids[1], "approved").await;
    let before = told(&offer).await;
    assert_eq!(before["advertiser"][0]["as_advertiser"]["total"], 4);
    assert_eq!(before["advertiser"][0]["as_advertiser"]["revenue"], 150);
    assert_eq!(before["affiliate"][1]["as_affiliate"]["total"], 30);
    assert!(fold(&app).await > 0);
    assert_eq!((waiting(&app).await, told(&offer).await), (0, before));
    // On top of what is folded, in every state there is.
    decide(&offer, &ids[2], "rejected").await;
    decide(&offer, &ids[3], "approved").await;
    let pay = json!({"program_id": offer.program, "method": "external", "dry_run": false});
    offer.advertiser.post("/api/payouts/process", pay).await.expect(201);
    let refund = json!({"amount": 8, "reason": "Came back"});
    offer.advertiser.post(&format!("/api/conversions/{}/refunds", ids[3]), refund).await.expect(201);
    let before = told(&offer).await;
    assert_eq!(before["earnings"]["totals"]["processing"], 20);
    assert_eq!(before["earnings"]["totals"]["reversed"], 1.6);
    assert_eq!(before["owed"]["totals"], before["earnings"]["totals"]);
    app.audit().await;
    assert!(fold(&app).await > 0);
    assert_eq!(told(&offer).await, before);
    app.audit().await;
}

#[tokio::test]
async fn a_write_that_changes_no_sum_appends_nothing_and_many_rows_append_few() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    for _ in 0..5 {
        sell(&offer, 10).await;
    }
    fold(&app).await;
    let run = async |sql: &'static str| {
        sqlx::query(sql).execute(app.app.db_worker()).await.unwrap().rows_affected()
    };
    assert_eq!(run("UPDATE commissions SET updated_at = now()").await, 5);
    assert_eq!(run("UPDATE conversions SET reason = 'Seen'").await, 5);
    assert_eq!(waiting(&app).await, 0);
    assert_eq!(run("UPDATE commissions SET status = 'rejected'").await, 5);
    assert_eq!(run("UPDATE conversions SET status = 'rejected'").await, 5);
    assert_eq!(waiting(&app).await, 2);
    app.audit().await;
}

#[tokio::test]
async fn rows_written_past_the_triggers_are_summed_up_anew() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sell(&offer, 10).await;
    fold(&app).await;
    let mut tx = app.app.db_worker().begin().await.unwrap();
    for sql in [
        "SET LOCAL session_replication_role = replica",
        "UPDATE conversions SET revenue_micros = 20000000",
        "UPDATE commissions SET amount_micros = 4000000",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let broken = control_plane::features::audit::ops::broken_in_snapshot(app.app.db_worker()).await.unwrap();
    let checks: BTreeSet<_> = broken.iter().map(|row| row.check).collect();
    assert_eq!(checks, BTreeSet::from(["I28", "I29"]));
    sqlx::query("SELECT rebuild_trade()").execute(app.app.db_worker()).await.unwrap();
    app.audit().await;
    assert_eq!(told(&offer).await["earnings"]["totals"]["pending"], 4);
}

#[tokio::test]
async fn sums_hold_while_they_are_folded_and_written() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let writers = async {
        for round in 0..10 {
            let id = sell(&offer, 10).await;
            decide(&offer, &id, if round % 2 == 0 { "approved" } else { "rejected" }).await;
        }
    };
    let folders = async {
        for _ in 0..20 {
            let (one, other) = tokio::join!(fold(&app), fold(&app));
            assert!(one >= 0 && other >= 0);
        }
    };
    let readers = async {
        let mut last = 0;
        for _ in 0..20 {
            let told = told(&offer).await;
            let now = told["earnings"]["totals"]["conversions"].as_i64().unwrap();
            assert!(now >= last, "a fold is seen on one side only: {now} after {last}");
            last = now;
        }
    };
    tokio::join!(writers, folders, readers);
    assert_eq!(told(&offer).await["earnings"]["totals"]["conversions"], 10);
    app.audit().await;
}

#[tokio::test]
async fn sums_are_read_page_by_page() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    sell(&offer, 10).await;
    for name in ["Second", "Third"] {
        let other = app.another_affiliate(&offer, name).await;
        let body = json!({"tracking_token": other.token, "event_type": "lead"});
        offer.advertiser.post("/api/conversions/track", body).await.expect(201);
    }
    let path = format!("/api/programs/{}/payouts", offer.program);
    let reply = offer.advertiser.get(&path).await;
    let whole = reply.expect(200);
    assert_eq!(whole["pagination"], json!({"page": 1, "per_page": 100, "total": 3, "total_pages": 1}));
    let names = |body: &Value| -> Vec<String> {
        let rows = body["affiliates"].as_array().unwrap();
        rows.iter().map(|row| row["affiliate_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(whole), ["Third", "Second", "Affiliate"]);
    let reply = offer.advertiser.get(&format!("{path}?per_page=2")).await;
    let first = reply.expect(200);
    assert_eq!((names(first), &first["totals"]), (vec!["Third".into(), "Second".into()], &whole["totals"]));
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap();
    for next in ["page=2".to_owned(), format!("cursor={cursor}")] {
        let reply = offer.advertiser.get(&format!("{path}?per_page=2&{next}")).await;
        let second = reply.expect(200);
        assert_eq!((names(second), &second["totals"]), (vec!["Affiliate".into()], &whole["totals"]));
        assert_eq!(second["pagination"]["page"], 2);
        assert!(second["pagination"]["next_cursor"].is_null());
    }
    for bad in ["per_page=0", "per_page=101", "page=0", "cursor=x", "pages=1"] {
        offer.advertiser.get(&format!("{path}?{bad}")).await.is_error(400, "invalid_value");
    }
    // Whose program it is comes first.
    offer.affiliate.get(&format!("{path}?per_page=0")).await.is_error(403, "not_owner");
}
