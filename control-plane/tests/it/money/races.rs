//! F73, F74, F76: keys, programs, accounts and rates that change while requests are under way.

use crate::harness::{Offer, TestApp};
use control_plane::{App, web};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Another node over the same database; its origin.
async fn another_node(app: &TestApp) -> (App, String) {
    let node = App::with_clock(app.app.config().clone(), app.clock.clone()).unwrap();
    let listener = web::server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let serving =
        web::server::serve(listener, web::router::build(&node), node.tasks().clone(), Duration::ZERO);
    node.tasks().spawn(serving);
    (node, origin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f73_after_a_rotation_no_node_takes_the_old_key() {
    let app = TestApp::start().await;
    let (node, other) = another_node(&app).await;
    let agent = app.agent("Rotator").await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let rotated: Arc<std::sync::OnceLock<Instant>> = Arc::default();
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let origin = if n % 2 == 0 { app.origin().to_owned() } else { other.clone() };
            let (http, key) = (http.clone(), agent.key().to_owned());
            let (rotated, answered) = (rotated.clone(), answered.clone());
            tokio::spawn(async move {
                let mut counts = [0_usize; 3];
                while counts[2] < 25 {
                    let begun = Instant::now();
                    let reply =
                        http.get(format!("{origin}/api/agents/me")).bearer_auth(&key).send().await.unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                    let after = rotated.get().is_some_and(|at| begun > *at);
                    match (after, reply.status().as_u16()) {
                        (false, 200) => counts[0] += 1,
                        // Begun before the rotation was answered, and read after it took effect.
                        (false, 401) => counts[1] += 1,
                        (true, 401) => counts[2] += 1,
                        (after, status) => panic!("{status}, begun after the rotation: {after}"),
                    }
                }
                counts
            })
        })
        .collect();
    while answered.load(Ordering::Relaxed) < 200 {
        tokio::task::yield_now().await;
    }
    let path = format!("/api/agents/{}/rotate-key", agent.id());
    let reply = agent.post(&path, json!({})).await;
    rotated.set(Instant::now()).unwrap();
    let new = reply.expect(200)["api_key"].as_str().unwrap().to_owned();
    let mut sums = [0; 3];
    for caller in callers {
        for (sum, count) in sums.iter_mut().zip(caller.await.unwrap()) {
            *sum += count;
        }
    }
    println!(
        "F73 two nodes: {} taken before, {} refused on the way, {} begun after: all refused",
        sums[0], sums[1], sums[2]
    );
    assert!(sums[0] > 0 && sums[2] == 200);
    for origin in [app.origin(), &other] {
        let reply = http.get(format!("{origin}/api/agents/me")).bearer_auth(&new).send().await.unwrap();
        assert_eq!(reply.status(), 200);
    }
    node.tasks().stop();
}

async fn sell(offer: &Offer) -> crate::harness::Reply {
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 100});
    offer.advertiser.post("/api/conversions/track", body).await
}

async fn approve(offer: &Offer, conversion: &Value) {
    let path = format!("/api/conversions/{}", conversion["id"].as_str().unwrap());
    offer.advertiser.patch(&path, json!({"status": "approved"})).await.expect(200);
}

async fn ledger(app: &TestApp) -> Vec<Value> {
    sqlx::query_scalar("SELECT to_jsonb(t) FROM ledger_transfers AS t ORDER BY id")
        .fetch_all(app.app.db())
        .await
        .unwrap()
}

#[tokio::test]
async fn f74_a_program_or_an_account_that_goes_leaves_no_orphan_and_what_is_owed() {
    let app = TestApp::start().await;
    let mut owed = 0;
    for (round, leaving) in ["program", "affiliate"].into_iter().enumerate() {
        let offer = Arc::new(app.offer_named(&format!("Seller {round}"), &format!("Promoter {round}")).await);
        offer.advertiser.post("/api/wallet/topup", json!({"amount": 500})).await.expect(201);
        approve(&offer, sell(&offer).await.expect(201)).await;
        let before = ledger(&app).await;
        let selling: Vec<_> = (0..12)
            .map(|_| {
                let offer = offer.clone();
                tokio::spawn(async move { sell(&offer).await })
            })
            .collect();
        let gone = match leaving {
            "program" => offer.advertiser.delete(&format!("/api/programs/{}", offer.program)).await,
            _ => offer.affiliate.delete(&format!("/api/agents/{}", offer.affiliate.id())).await,
        };
        gone.expect(200);
        let mut kept = 1;
        for sale in selling {
            let sale = sale.await.unwrap();
            if sale.status == 201 {
                approve(&offer, &sale.body).await;
                kept += 1;
            } else {
                assert!([403, 404, 409].contains(&sale.status), "{sale}");
            }
        }
        // Every conversion that was taken is still owed, and paid.
        let paid = offer.advertiser.post("/api/payouts/process", json!({"program_id": offer.program})).await;
        assert_eq!(paid.expect(201)["total"], json!(20 * kept), "{leaving}");
        owed += kept;
        let after = ledger(&app).await;
        assert!(before.iter().all(|row| after.contains(row)), "rows of the ledger stay as they are");
        println!(
            "F74 {leaving} gone amid 12 sales: {kept} kept and paid, {} transfers untouched",
            before.len()
        );
    }
    let orphans: i64 = sqlx::query_scalar(
        "SELECT count(*)
           FROM conversions
           LEFT JOIN programs ON programs.id = conversions.program_id
           LEFT JOIN commissions ON commissions.conversion_id = conversions.id
          WHERE programs.id IS NULL OR commissions.id IS NULL OR commissions.status <> 'paid'",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap();
    let all: i64 =
        sqlx::query_scalar("SELECT count(*) FROM conversions").fetch_one(app.app.db()).await.unwrap();
    assert_eq!((orphans, all), (0, owed));
    app.audit().await;
}

#[tokio::test]
async fn f76_each_commission_keeps_the_rate_of_its_moment() {
    let app = TestApp::start().await;
    let offer = Arc::new(app.offer().await);
    let selling: Vec<_> = (0..48)
        .map(|_| {
            let offer = offer.clone();
            tokio::spawn(async move { sell(&offer).await.expect(201)["commission_amount"].as_f64().unwrap() })
        })
        .collect();
    let mut rates = vec![20.0];
    for rate in [10, 15, 25, 30, 35, 40] {
        let path = format!("/api/programs/{}", offer.program);
        offer.advertiser.patch(&path, json!({"commission_value": rate})).await.expect(200);
        rates.push(f64::from(rate));
    }
    let mut seen = std::collections::BTreeMap::<i64, usize>::new();
    for sale in selling {
        let earned = sale.await.unwrap();
        assert!(rates.contains(&earned), "{earned} is none of {rates:?}");
        *seen.entry(earned as i64).or_default() += 1;
    }
    // Whatever the program says now, the terms are on the row, and the amount is theirs.
    let off: i64 = sqlx::query_scalar(
        "SELECT count(*)
           FROM commissions
           JOIN conversions ON conversions.id = commissions.conversion_id
          WHERE commissions.amount_micros <> conversions.revenue_micros * commissions.rate_bp / 10000",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap();
    assert_eq!(off, 0);
    println!("F76 48 sales of $100 amid 6 changes of the rate, by rate: {seen:?}");
    app.audit().await;
}
