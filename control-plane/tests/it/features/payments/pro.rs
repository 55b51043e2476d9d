//! Pro by card: Checkout through `emulate`, months through `localstripe`, and what only hand-made events say.

use super::{SECRET, Sender, Shop, WEBHOOK, account, balance, event};
use crate::harness::providers::{self, Script, Server};
use crate::harness::{Client, TestApp};
use chrono::{DateTime, Months, TimeDelta, Utc};
use control_plane::features::payments;
use control_plane::features::subscriptions::months;
use control_plane::workers::jobs::Turn;
use serde_json::{Value, json};
use shared::{Clock, SystemClock};
use std::time::Duration;

async fn state(agent: &Client) -> (String, String) {
    let reply = agent.get("/api/subscription").await;
    let text = |name: &str| reply.expect(200)[name].as_str().unwrap().to_owned();
    (text("status"), text("plan"))
}

fn is(status: &str, plan: &str) -> (String, String) {
    (status.to_owned(), plan.to_owned())
}

/// Waits until a subscription has come to this; events come when their sender pleases.
async fn becomes(agent: &Client, status: &str, plan: &str) {
    let waiting = async {
        while state(agent).await != is(status, plan) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), waiting).await;
    assert!(waited.is_ok(), "{:?} did not become {status} {plan}", state(agent).await);
}

#[tokio::test]
async fn show_4_pro_from_request_to_active_through_checkout() {
    let shop = Shop::open().await;
    let agent = shop.app.agent("Upgrader").await;
    let started = agent.post("/api/subscription/pro", json!({})).await;
    let body = started.expect(201);
    assert_eq!(
        (&body["status"], &body["plan"], &body["payment"]),
        (&json!("pending"), &json!("free"), &json!("stripe"))
    );
    // Asked again, it is the same page.
    let again = agent.post("/api/subscription/pro", json!({})).await;
    assert_eq!(again.expect(201)["checkout_url"], body["checkout_url"]);
    assert_eq!(shop.pay(body["checkout_url"].as_str().unwrap()).await, 302);
    let active = agent.get("/api/subscription").await;
    assert_eq!(state(&agent).await, is("active", "pro"), "{active}");
    assert_eq!(active.body["checkout_url"], Value::Null);
    let end: DateTime<Utc> = active.body["current_period_end"].as_str().unwrap().parse().unwrap();
    let due = shop.app.now() + Months::new(1);
    assert!((end - due).abs() < TimeDelta::minutes(5), "{end} is a month from now");
    assert_eq!(agent.get("/api/agents/me").await.body["tier"], "pro");
    agent.post("/api/subscription/pro", json!({})).await.is_error(409, "already_active");
    println!(
        "Pro: 201 pending -> pay page -> {} {}, until {end}",
        state(&agent).await.0,
        state(&agent).await.1
    );
    shop.app.audit().await;
}

#[tokio::test]
async fn months_are_paid_missed_and_ended_as_an_independent_server_says() {
    let port = providers::free_port();
    let port_text = port.to_string();
    let app = TestApp::start_with(|config| {
        config.stripe = Some(account(&format!("http://127.0.0.1:{port}")));
    })
    .await;
    app.clock.set(SystemClock.now());
    let server =
        Server::start(".venv/bin/localstripe", &["--port", &port_text, "--from-scratch"], port).await;
    let script = providers::path("stripe/subscriber.py");
    let mut subscriber = Script::start(".venv/bin/python", &[script.to_str().unwrap(), &server.origin]);
    let hook = json!({"do": "listen", "url": format!("{}{WEBHOOK}", app.origin()), "secret": SECRET});
    subscriber.ask_json(&hook).await;
    let agent = app.agent("Subscriber").await;
    // It has no Checkout: the start is written, and the customer subscribes as Checkout would have it.
    let mut tx = app.app.begin().await.unwrap();
    months::open(&mut tx, app.app.clock(), agent.agent_id()).await.unwrap();
    tx.commit().await.unwrap();
    let pending = agent.get("/api/subscription").await;
    let ours = pending.expect(200)["id"].clone();
    let started = subscriber.ask_json(&json!({"do": "start", "subscription_id": ours})).await;
    assert_eq!(started["status"], "active");
    becomes(&agent, "active", "pro").await;
    assert_eq!(subscriber.ask_json(&json!({"do": "renew"})).await["invoice"], "paid");
    let paid = "SELECT count(*) FROM ledger_transfers WHERE kind = 'pro' AND amount_micros = 99000000";
    let booked = async || sqlx::query_scalar::<_, i64>(paid).fetch_one(app.app.db()).await.unwrap();
    let waiting = async {
        while booked().await < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("the second month is booked");
    app.audit().await;

    // The card goes bad, then good.
    assert_ne!(subscriber.ask_json(&json!({"do": "fail"})).await["invoice"], "paid");
    becomes(&agent, "past_due", "pro").await;
    let grace = agent.get("/api/subscription").await;
    assert!(grace.body["grace_until"].is_string(), "{grace}");
    assert_eq!(subscriber.ask_json(&json!({"do": "repay"})).await["invoice"], "paid");
    becomes(&agent, "active", "pro").await;
    assert_eq!(booked().await, 3);

    // Cancelling is told to the server, and so is going on.
    let tell = async || while payments::pro::tell_job(app.app.clone()).await.unwrap() == Turn::Again {};
    let show = json!({"do": "show"});
    let cancelled = agent.delete("/api/subscription").await;
    assert_eq!(cancelled.expect(200)["cancel_at_period_end"], true);
    tell().await;
    told(&app).await;
    assert_eq!(subscriber.ask_json(&show).await["cancel_at_period_end"], true);
    assert_eq!(state(&agent).await, is("active", "pro"), "it was paid");
    agent.post("/api/subscription/pro", json!({})).await.expect(200);
    tell().await;
    told(&app).await;
    assert_eq!(subscriber.ask_json(&show).await["cancel_at_period_end"], false);
    subscriber.ask_json(&json!({"do": "delete"})).await;
    becomes(&agent, "canceled", "free").await;
    println!(
        "localstripe: started, renewed, failed -> past_due, repaid -> active, cancelled and resumed there, deleted -> canceled; 3 months booked"
    );
    app.audit().await;
}

/// Waits until nothing is left to tell the server.
async fn told(app: &TestApp) {
    let waiting = async {
        let open = "SELECT count(*) FROM subscriptions WHERE provider_wish IS NOT NULL";
        while sqlx::query_scalar::<_, i64>(open).fetch_one(app.app.db()).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("the server was told");
}

/// An invoice of the subscription, of the `month`th month from the start.
fn invoice(ours: &Value, id: &str, start: DateTime<Utc>, month: u32, cents: i64) -> Value {
    let at = |months: u32| (start + Months::new(months)).timestamp();
    json!({
        "id": id, "object": "invoice", "amount_paid": cents, "currency": "usd", "customer": "cus_1",
        "parent": {"type": "subscription_details", "subscription_details": {
            "subscription": "sub_1", "metadata": {"subscription_id": ours}}},
        "lines": {"data": [{"period": {"start": at(month - 1), "end": at(month)}}]},
    })
}

fn subscription(ours: &Value, status: &str) -> Value {
    json!({"id": "sub_1", "object": "subscription", "status": status, "cancel_at_period_end": false,
           "customer": "cus_1", "metadata": {"subscription_id": ours}})
}

#[tokio::test]
async fn a_month_that_stays_unpaid_ends_pro_after_a_week_and_used_counts_stay() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Subscriber").await;
    let mut sender = Sender::node();
    sqlx::query("INSERT INTO usage_months (advertiser, month, metric, used, included) VALUES ($1, $2, 'clicks', 9000, 9000)")
        .bind(app.number(&agent).await)
        .bind(control_plane::features::usage::model::month_of(app.now()))
        .execute(app.app.db())
        .await
        .unwrap();
    let ours = agent.post("/api/subscription/pro", json!({})).await.expect(201)["id"].clone();
    let start = app.now();
    // The invoices come before anything else, the second month's before the first's.
    for (id, kind, object) in [
        ("evt_1", "invoice.paid", invoice(&ours, "in_2", start, 2, 9900)),
        ("evt_2", "invoice.paid", invoice(&ours, "in_1", start, 1, 9900)),
        ("evt_3", "invoice.payment_failed", invoice(&ours, "in_1", start, 1, 0)),
        ("evt_4", "customer.subscription.updated", subscription(&ours, "active")),
        ("evt_5", "customer.subscription.created", subscription(&ours, "incomplete")),
    ] {
        sender.send(app, &event(app, id, kind, object)).await.expect(200);
    }
    assert_eq!(state(&agent).await, is("active", "pro"));
    let clicks =
        |reply: Value| (reply["usage"]["clicks"]["used"].clone(), reply["usage"]["clicks"]["limit"].clone());
    let usage = agent.get("/api/usage").await;
    assert_eq!(
        clicks(usage.body),
        (json!(9000), json!(500_000)),
        "used in this month is used, whatever the plan"
    );
    // The third month is not paid.
    let due = start + Months::new(2);
    app.clock.set(due);
    let failed = invoice(&ours, "in_3", start, 3, 0);
    sender.send(app, &event(app, "evt_6", "invoice.payment_failed", failed)).await.expect(200);
    assert_eq!(state(&agent).await, is("past_due", "pro"));
    let lapse = async || while months::lapse_job(app.app.clone()).await.unwrap() == Turn::Again {};
    app.clock.set(due + TimeDelta::days(6));
    lapse().await;
    assert_eq!(state(&agent).await, is("past_due", "pro"));
    app.audit_books().await;
    app.clock.set(due + TimeDelta::days(8));
    lapse().await;
    assert_eq!(state(&agent).await, is("canceled", "free"));
    let wish: Option<String> =
        sqlx::query_scalar("SELECT provider_wish FROM subscriptions").fetch_one(app.app.db()).await.unwrap();
    assert_eq!(wish.as_deref(), Some("cancel"), "Stripe is to stop charging");
    // Paid after all: the money is booked, Pro does not come back by itself.
    let late = invoice(&ours, "in_3", start, 3, 9900);
    sender.send(app, &event(app, "evt_7", "invoice.paid", late)).await.expect(200);
    assert_eq!(state(&agent).await, is("canceled", "free"));
    assert_eq!(balance(&agent).await, json!([0, 0]));
    app.audit_books().await;
}

#[tokio::test]
async fn a_start_that_is_never_paid_leaves_nothing_behind() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Hesitant").await;
    agent.post("/api/subscription/pro", json!({})).await.expect(201);
    assert_eq!(agent.delete("/api/subscription").await.expect(200)["status"], "canceled");
    while payments::pro::tell_job(app.app.clone()).await.unwrap() == Turn::Again {}
    told(app).await;
    let expired: i64 =
        sqlx::query_scalar("SELECT count(*) FROM stripe_events WHERE type = 'checkout.session.expired'")
            .fetch_one(app.app.db())
            .await
            .unwrap();
    assert_eq!(expired, 1, "the page was closed there, and the server said so");
    agent.post("/api/subscription/portal", json!({})).await.is_error(404, "not_found");
    app.audit().await;
}

#[tokio::test]
async fn a_page_that_is_paid_before_it_is_closed_is_ended_at_the_provider() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Second Thoughts").await;
    let mut sender = Sender::node();
    let ours = agent.post("/api/subscription/pro", json!({})).await.expect(201)["id"].clone();
    assert_eq!(agent.delete("/api/subscription").await.expect(200)["status"], "canceled");
    let wish = async || {
        let wish = "SELECT provider_wish FROM subscriptions";
        sqlx::query_scalar::<_, Option<String>>(wish).fetch_one(app.app.db()).await.unwrap()
    };
    assert_eq!(wish().await.as_deref(), Some("expire_checkout"), "not told yet");
    let paid = invoice(&ours, "in_1", app.now(), 1, 9900);
    sender.send(app, &event(app, "evt_1", "invoice.paid", paid)).await.expect(200);
    assert_eq!(wish().await.as_deref(), Some("cancel"), "there is no page to close any more");
    assert_eq!(state(&agent).await, is("canceled", "free"));
    app.audit_books().await;
}

#[tokio::test]
async fn the_portal_is_opened_for_the_customer_that_paid() {
    // Neither of the independent servers has a portal: what is checked is what we ask for.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let echo = axum::Router::new().fallback(|request: axum::extract::Request| async move {
        let path = request.uri().path().to_owned();
        let form = axum::body::to_bytes(request.into_body(), 4096).await.unwrap();
        json!({"url": format!("https://billing.example{path}?{}", String::from_utf8_lossy(&form))})
            .to_string()
    });
    tokio::spawn(async move { axum::serve(listener, echo).await });
    let app = TestApp::start_with(|config| config.stripe = Some(account(&base))).await;
    let (agent, stranger) = (app.agent("Subscriber").await, app.agent("Stranger").await);
    let mut tx = app.app.begin().await.unwrap();
    months::open(&mut tx, app.app.clock(), agent.agent_id()).await.unwrap();
    tx.commit().await.unwrap();
    let ours = agent.get("/api/subscription").await.body["id"].clone();
    let mut sender = Sender::node();
    let started = event(&app, "evt_1", "customer.subscription.created", subscription(&ours, "active"));
    sender.send(&app, &started).await.expect(200);
    let opened = agent.post("/api/subscription/portal", json!({})).await;
    let url = opened.expect(201)["url"].as_str().unwrap();
    assert!(
        url.starts_with("https://billing.example/v1/billing_portal/sessions?customer=cus_1&return_url="),
        "{url}"
    );
    stranger.post("/api/subscription/portal", json!({})).await.is_error(404, "not_found");
}

#[tokio::test]
async fn a_dispute_of_a_month_is_booked_and_reinstated_whatever_comes_first() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let mut sender = Sender::node();
    // What Pro earned and what came in through Stripe, in micro-dollars.
    let books = async |agent: &Client| -> (i64, i64) {
        sqlx::query_as(
            "SELECT coalesce(sum(balance_micros) FILTER (WHERE kind = 'pro'), 0)::BIGINT,
                    coalesce(sum(balance_micros) FILTER (WHERE kind = 'stripe'), 0)::BIGINT
               FROM ledger_accounts WHERE owner_id = $1",
        )
        .bind(agent.agent_id())
        .fetch_one(app.app.db())
        .await
        .unwrap()
    };
    // 0: the invoice names its payment, as before 2025-03-31; 1: a list does; 2: an event of its own does, last.
    for run in 0..3 {
        let agent = app.agent(&format!("Subscriber {run}")).await;
        let ours = agent.post("/api/subscription/pro", json!({})).await.expect(201)["id"].clone();
        let (payment, id) = (format!("pi_{run}"), format!("in_{run}"));
        let mut paid = invoice(&ours, &id, app.now(), 1, 9900);
        paid["parent"]["subscription_details"]["subscription"] = json!(format!("sub_{run}"));
        match run {
            0 => paid["payment_intent"] = json!(payment),
            1 => {
                let one = json!({"payment": {"type": "payment_intent", "payment_intent": payment}});
                paid["payments"] = json!({"data": [one]});
            }
            _ => {}
        }
        let named = json!({"id": format!("inpay_{run}"), "object": "invoice_payment", "invoice": id,
                           "payment": {"type": "payment_intent", "payment_intent": payment}});
        let opened = super::dispute(&format!("du_{run}"), &payment, 9900, "needs_response");
        let part = super::refund(&format!("re_{run}"), &payment, 1000, "succeeded");
        let mut happened =
            [("invoice.paid", paid), ("charge.dispute.created", opened), ("invoice_payment.paid", named)];
        if run == 1 {
            // The dispute is told before the month is.
            happened.swap(0, 1);
        }
        for (at, (kind, object)) in happened.iter().enumerate() {
            let reply = sender.send(app, &event(app, &format!("evt_{run}_{at}"), kind, object.clone())).await;
            let outcome = reply.expect(200)["outcome"].as_str().unwrap().to_owned();
            assert!(["applied", "waiting"].contains(&&*outcome), "{run} {kind}: {reply}");
        }
        assert_eq!(books(&agent).await, (0, 0), "{run}: the month is back with its payer");
        assert_eq!(balance(&agent).await, json!([0, 0]), "{run}: the wallet has nothing to do with it");
        assert_eq!(
            state(&agent).await,
            is("active", "pro"),
            "{run}: Stripe ends the subscription, or does not"
        );
        let won = super::dispute(&format!("du_{run}"), &payment, 9900, "won");
        for name in ["won", "again"] {
            let closed = event(app, &format!("evt_{run}_{name}"), "charge.dispute.closed", won.clone());
            sender.send(app, &closed).await.expect(200);
            assert_eq!(books(&agent).await, (99_000_000, -99_000_000), "{run} {name}");
        }
        sender.send(app, &event(app, &format!("evt_{run}_re"), "refund.created", part)).await.expect(200);
        assert_eq!(books(&agent).await, (89_000_000, -89_000_000), "{run}: a part was refunded");
    }
    println!("Pro disputed: $99 booked, back, won again, $10 refunded -> $89, in three orders of events");
    app.audit().await;
}
