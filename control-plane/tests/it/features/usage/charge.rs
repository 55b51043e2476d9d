//! Units that are refused when nothing covers them: conversions and matching requests.

use crate::harness::{Client, TestApp};
use control_plane::error::Result;
use control_plane::features::usage::ops;
use control_plane::money::Micros;
use serde_json::{Value, json};
use shared::id::{ConversionId, EventId};
use std::sync::Arc;

async fn convert(app: &TestApp, agent: &Client) -> Result<Micros> {
    Ok(convert_all(app, agent, 1).await?[0])
}

/// So many conversions in one transaction, one after the other.
async fn convert_all(app: &TestApp, agent: &Client, times: usize) -> Result<Vec<Micros>> {
    let number = app.number(agent).await;
    let mut tx = app.app.begin().await?;
    let mut costs = Vec::new();
    for _ in 0..times {
        costs.push(ops::charge_conversion(&mut tx, number, ConversionId::generate(), app.now()).await?);
    }
    tx.commit().await?;
    Ok(costs)
}

async fn match_once(app: &TestApp, agent: &Client) -> Result<Micros> {
    let number = app.number(agent).await;
    let mut tx = app.app.begin().await?;
    let cost =
        ops::charge_matching_request(&mut tx, number, &EventId::generate().to_string(), app.now()).await?;
    tx.commit().await?;
    Ok(cost)
}

async fn spend_all<F: Future<Output = Result<Micros>>>(times: usize, one: impl Fn() -> F) -> Vec<Micros> {
    let mut costs = Vec::new();
    for _ in 0..times {
        costs.push(one().await.unwrap());
    }
    costs
}

async fn balance(agent: &Client) -> Value {
    agent.get("/api/wallet").await.body["balance"].clone()
}

#[tokio::test]
async fn conversion_101_of_a_month_for_an_unfunded_a_funded_and_a_pro_agent() {
    let app = TestApp::start().await;
    let (unfunded, funded, pro) =
        (app.agent("Unfunded").await, app.agent("Funded").await, app.agent("Pro").await);
    funded.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    pro.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    app.set_tier(&pro, "pro").await;
    for agent in [&unfunded, &funded, &pro] {
        assert_eq!(convert_all(&app, agent, 100).await.unwrap(), vec![Micros::ZERO; 100]);
    }
    let refused = convert(&app, &unfunded).await.unwrap_err();
    assert_eq!(refused.code.as_str(), "free_tier_limit_reached");
    assert!(
        refused.fix.contains("POST /api/wallet/topup") && refused.fix.contains("POST /api/subscription/pro")
    );
    assert_eq!(convert(&app, &funded).await.unwrap(), Micros(300_000));
    assert_eq!(balance(&funded).await, json!(4.7));
    assert_eq!(convert(&app, &pro).await.unwrap(), Micros::ZERO);
    // Sixteen in all fit into $5; the next is refused in other words, because this wallet was funded.
    assert_eq!(convert_all(&app, &funded, 15).await.unwrap(), vec![Micros(300_000); 15]);
    let refused = convert(&app, &funded).await.unwrap_err();
    assert_eq!(refused.code.as_str(), "insufficient_credits");
    assert_eq!(refused.details["price"], json!(0.3));
    assert_eq!(refused.details["balance"], json!(0.2));
    assert_eq!(balance(&funded).await, json!(0.2));
    // Pro: 1,000 are included, and then half the price.
    assert_eq!(convert_all(&app, &pro, 899).await.unwrap(), vec![Micros::ZERO; 899]);
    assert_eq!(convert(&app, &pro).await.unwrap(), Micros(150_000));
    assert_eq!(balance(&pro).await, json!(4.85));
    app.audit_books().await;
}

#[tokio::test]
async fn matching_request_51_costs_five_cents_and_half_of_it_on_pro() {
    let app = TestApp::start().await;
    let agent = app.agent("Matcher").await;
    assert_eq!(spend_all(50, || match_once(&app, &agent)).await, vec![Micros::ZERO; 50]);
    assert_eq!(match_once(&app, &agent).await.unwrap_err().code.as_str(), "free_tier_limit_reached");
    agent.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    assert_eq!(match_once(&app, &agent).await.unwrap(), Micros(50_000));
    app.set_tier(&agent, "pro").await;
    assert_eq!(match_once(&app, &agent).await.unwrap(), Micros(25_000));
    assert_eq!(balance(&agent).await, json!(4.925));
    let debits = agent.get("/api/wallet/transactions?type=debit").await;
    let newest = &debits.expect(200)["data"][0];
    assert_eq!(
        (&newest["kind"], &newest["amount"], &newest["unit_price"], &newest["quantity"]),
        (&json!("matching_request"), &json!(0.025), &json!(0.025), &json!(1))
    );
    app.audit_books().await;
}

#[tokio::test]
async fn the_allowance_comes_back_with_the_month_and_not_before() {
    let app = TestApp::start().await;
    let agent = app.agent("Matcher").await;
    spend_all(50, || match_once(&app, &agent)).await;
    app.clock.set("2026-06-30T23:59:59.999Z".parse().unwrap());
    assert_eq!(match_once(&app, &agent).await.unwrap_err().code.as_str(), "free_tier_limit_reached");
    app.clock.set("2026-07-01T00:00:00Z".parse().unwrap());
    assert_eq!(spend_all(50, || match_once(&app, &agent)).await, vec![Micros::ZERO; 50]);
    assert_eq!(match_once(&app, &agent).await.unwrap_err().code.as_str(), "free_tier_limit_reached");
    app.audit_books().await;
}

#[tokio::test]
async fn f68_sixty_four_at_once_on_ten_times_the_price_grant_ten() {
    let app = Arc::new(TestApp::start().await);
    let agent = app.agent("Matcher").await;
    spend_all(50, || match_once(&app, &agent)).await;
    agent.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
    // $5 at $0.05 is a hundred; all but ten of them go first.
    spend_all(90, || match_once(&app, &agent)).await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (app, agent) = (app.clone(), agent.clone());
            tokio::spawn(async move { match_once(&app, &agent).await })
        })
        .collect();
    let mut granted = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(cost) => {
                assert_eq!(cost, Micros(50_000));
                granted += 1;
            }
            Err(refused) => assert_eq!(refused.code.as_str(), "insufficient_credits"),
        }
    }
    assert_eq!((granted, balance(&agent).await), (10, json!(0)));
    app.audit_books().await;
}

#[tokio::test]
async fn f68_the_last_of_the_allowance_is_given_once() {
    let app = Arc::new(TestApp::start().await);
    let agent = app.agent("Matcher").await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (app, agent) = (app.clone(), agent.clone());
            tokio::spawn(async move { match_once(&app, &agent).await.is_ok() })
        })
        .collect();
    let mut granted = 0;
    for task in tasks {
        granted += usize::from(task.await.unwrap());
    }
    assert_eq!(granted, 50);
    app.audit_books().await;
}

#[tokio::test]
async fn a_spend_cap_holds_to_the_cent_and_only_for_its_month() {
    let app = Arc::new(TestApp::start().await);
    let agent = app.agent("Careful").await;
    agent.post("/api/wallet/topup", json!({"amount": 50})).await.expect(201);
    spend_all(50, || match_once(&app, &agent)).await;
    agent.patch("/api/wallet", json!({"monthly_spend_cap": 0.52})).await.expect(200);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (app, agent) = (app.clone(), agent.clone());
            tokio::spawn(async move { match_once(&app, &agent).await })
        })
        .collect();
    let mut refusals = Vec::new();
    for task in tasks {
        refusals.extend(task.await.unwrap().err());
    }
    assert_eq!(refusals.len(), 22);
    assert!(refusals.iter().all(|refused| refused.code.as_str() == "insufficient_credits"
        && refused.fix.contains("PATCH /api/wallet")));
    let wallet = agent.get("/api/wallet").await;
    assert_eq!((&wallet.body["balance"], &wallet.body["spent_this_month"]), (&json!(49.5), &json!(0.5)));
    agent.patch("/api/wallet", json!({"monthly_spend_cap": 0.55})).await.expect(200);
    assert_eq!(match_once(&app, &agent).await.unwrap(), Micros(50_000));
    app.clock.set("2026-07-01T00:00:00Z".parse().unwrap());
    spend_all(50, || match_once(&app, &agent)).await;
    assert_eq!(match_once(&app, &agent).await.unwrap(), Micros(50_000));
    app.audit_books().await;
}
