//! F69: events of Stripe repeated, late, forged, out of order; and money that goes back. Signed by the
//! official SDKs.

use super::{Sender, Shop, balance, deliver, dispute, event, refund, session};
use crate::harness::{Client, TestApp};
use chrono::TimeDelta;
use serde_json::{Value, json};

async fn topup(agent: &Client, dollars: i64) -> Value {
    agent.post("/api/wallet/topup", json!({"amount": dollars})).await.expect(201).clone()
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(app.app.db()).await.unwrap()
}

#[tokio::test]
async fn f69_an_event_sent_ten_times_credits_once() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Payer").await;
    let started = topup(&agent, 20).await;
    let mut sender = Sender::node();
    let paid = event(app, "evt_1", "checkout.session.completed", session(&started, "pi_1", 2000)).to_string();
    let signature = sender.sign(&paid, super::SECRET, app.now()).await;
    let sending: Vec<_> = (0..10)
        .map(|_| {
            let (anyone, paid, signature) = (app.anyone(), paid.clone(), signature.clone());
            tokio::spawn(async move {
                let request = anyone.request("POST", super::WEBHOOK).header("stripe-signature", signature);
                anyone.send(request.body(paid)).await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for reply in sending {
        outcomes.push(reply.await.unwrap().expect(200)["outcome"].as_str().unwrap().to_owned());
    }
    outcomes.sort();
    assert_eq!(
        (&*outcomes[0], outcomes.iter().filter(|outcome| *outcome == "repeated").count()),
        ("applied", 9)
    );
    // The same news under other names, by another SDK.
    let mut python = Sender::python();
    let news =
        event(app, "evt_2", "checkout.session.async_payment_succeeded", session(&started, "pi_1", 2000));
    assert_eq!(python.send(app, &news).await.expect(200)["outcome"], "applied");
    let intent = json!({"id": "pi_1", "object": "payment_intent", "amount_received": 2000, "currency": "usd",
                        "metadata": {"topup_id": started["id"]}});
    let news = event(app, "evt_3", "payment_intent.succeeded", intent);
    assert_eq!(python.send(app, &news).await.expect(200)["outcome"], "applied");
    assert_eq!(balance(&agent).await, json!([20, 0]));
    assert_eq!(count(app, "SELECT count(*) FROM ledger_transfers WHERE kind = 'topup'").await, 1);
    println!(
        "F69 repeated: 10 deliveries at once -> 1 applied, 9 repeated; 2 more under other ids; wallet $20"
    );
    app.audit().await;
}

#[tokio::test]
async fn f69_forged_and_late_events_change_nothing() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Payer").await;
    let started = topup(&agent, 20).await;
    let mut sender = Sender::node();
    let paid = event(app, "evt_1", "checkout.session.completed", session(&started, "pi_1", 2000)).to_string();
    let good = sender.sign(&paid, super::SECRET, app.now()).await;
    let foreign = sender.sign(&paid, "whsec_somebody", app.now()).await;
    let late = sender.sign(&paid, super::SECRET, app.now() - TimeDelta::seconds(301)).await;
    let early = sender.sign(&paid, super::SECRET, app.now() + TimeDelta::seconds(301)).await;
    let changed = paid.replace("2000", "9000");
    for (body, signature) in [
        (&paid, ""),
        (&paid, "t=1,v1="),
        (&paid, &*foreign),
        (&paid, &*late),
        (&paid, &*early),
        (&changed, &*good),
    ] {
        deliver(app, body, signature).await.is_error(400, "invalid_signature");
    }
    assert_eq!(balance(&agent).await, json!([0, 0]));
    assert_eq!(count(app, "SELECT count(*) FROM stripe_events").await, 0);
    // Right at the limit, signed twice because the secret is being rolled.
    let limit = sender.sign(&paid, super::SECRET, app.now() - TimeDelta::seconds(300)).await;
    let (at, right) = limit.split_once(',').unwrap();
    let wrong = foreign.split_once(',').unwrap().1;
    assert_eq!(deliver(app, &paid, &format!("{at},{wrong},{right}")).await.expect(200)["outcome"], "applied");
    assert_eq!(balance(&agent).await, json!([20, 0]));
    let nothing = sender.sign("[]", super::SECRET, app.now()).await;
    deliver(app, "[]", &nothing).await.is_error(400, "invalid_value");
    println!(
        "F69 forged: no signature, malformed, another secret, -301 s, +301 s, changed body -> 6 x 400, 0 rows; -300 s -> applied"
    );
    app.audit().await;
}

#[tokio::test]
async fn f69_any_order_of_events_comes_to_the_same() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let mut sender = Sender::node();
    let orders = orders(5);
    for (run, order) in orders.iter().enumerate() {
        let agent = app.agent(&format!("Payer {run}")).await;
        let started = topup(&agent, 20).await;
        let payment = format!("pi_{run}");
        let charge = json!({"id": format!("ch_{payment}"), "object": "charge", "amount": 2000, "amount_refunded": 500,
                            "payment_intent": payment, "currency": "usd", "metadata": {}});
        let (re, du) = (format!("re_{run}"), format!("du_{run}"));
        let happened = [
            ("checkout.session.completed", session(&started, &payment, 2000)),
            ("refund.created", refund(&re, &payment, 500, "pending")),
            ("refund.updated", refund(&re, &payment, 500, "succeeded")),
            ("charge.refunded", charge),
            ("charge.dispute.created", dispute(&du, &payment, 700, "needs_response")),
        ];
        for at in order {
            let (kind, object) = &happened[*at];
            let reply = sender.send(app, &event(app, &format!("evt_{run}_{at}"), kind, object.clone())).await;
            assert!(
                ["applied", "waiting"].contains(&reply.expect(200)["outcome"].as_str().unwrap()),
                "{reply}"
            );
        }
        assert_eq!(balance(&agent).await, json!([8, 0]), "order {order:?}");
    }
    println!(
        "F69 reordered: {} orders of payment, refund (x3) and dispute -> wallet $8 each time",
        orders.len()
    );
    app.audit().await;
}

/// Orders of so many things, every one of them first, second and so on at least once; all would be 120.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    for start in 0..count {
        for step in 1..count {
            // Steps that have no factor in common with the count visit everything.
            let order: Vec<usize> = (0..count).map(|n| (start + n * step) % count).collect();
            found.push(order);
        }
    }
    found
}

#[tokio::test]
async fn what_does_not_fit_is_kept_and_moves_nothing() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Payer").await;
    let started = topup(&agent, 20).await;
    let mut sender = Sender::node();
    let fine = session(&started, "pi_1", 2000);
    let with = |name: &str, value: Value| {
        let mut changed = fine.clone();
        changed[name] = value;
        changed
    };
    let kind = "checkout.session.completed";
    let mut live = event(app, "evt_live", kind, fine.clone());
    live["livemode"] = json!(true);
    for (what, event) in [
        ("amount", event(app, "evt_amount", kind, with("amount_total", json!(500_000)))),
        ("amount", event(app, "evt_without", kind, with("amount_total", Value::Null))),
        ("currency", event(app, "evt_currency", kind, with("currency", json!("jpy")))),
        ("livemode", live),
        ("unreadable", event(app, "evt_unreadable", kind, with("id", Value::Null))),
    ] {
        assert_eq!(sender.send(app, &event).await.expect(200)["outcome"], "mismatch", "{what}");
        let detail: Option<String> = sqlx::query_scalar("SELECT detail FROM stripe_events WHERE id = $1")
            .bind(event["id"].as_str())
            .fetch_one(app.app.db())
            .await
            .unwrap();
        assert_eq!(detail.as_deref(), Some(what));
    }
    let strange = event(app, "evt_strange", "customer.created", json!({"id": "cus_1"}));
    assert_eq!(sender.send(app, &strange).await.expect(200)["outcome"], "ignored");
    let waits = event(app, "evt_unpaid", kind, with("payment_status", json!("unpaid")));
    assert_eq!(sender.send(app, &waits).await.expect(200)["outcome"], "waiting");
    assert_eq!(balance(&agent).await, json!([0, 0]));
    // A page that ran out, and a payment that came all the same: the money is there.
    let over = event(app, "evt_over", "checkout.session.expired", with("payment_status", json!("unpaid")));
    sender.send(app, &over).await.expect(200);
    let path = format!("/api/wallet/topups/{}", started["id"].as_str().unwrap());
    assert_eq!(agent.get(&path).await.body["status"], "expired");
    sender.send(app, &event(app, "evt_late", kind, fine.clone())).await.expect(200);
    assert_eq!(balance(&agent).await, json!([20, 0]));
    app.audit().await;
}

#[tokio::test]
async fn what_a_wallet_cannot_give_back_is_owed_and_repaid_first() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Payer").await;
    let mut sender = Sender::node();
    let first = topup(&agent, 100).await;
    sender
        .send(app, &event(app, "evt_1", "checkout.session.completed", session(&first, "pi_1", 10_000)))
        .await;
    agent.post("/api/subscription/pro", json!({"payment": "wallet"})).await.expect(201);
    assert_eq!(balance(&agent).await, json!([1, 0]));
    // The bank takes all of it back; $99 are spent.
    let opened = dispute("du_1", "pi_1", 10_000, "needs_response");
    sender.send(app, &event(app, "evt_2", "charge.dispute.created", opened)).await.expect(200);
    assert_eq!(balance(&agent).await, json!([0, 99]));
    app.audit().await;
    // New money repays first.
    let second = topup(&agent, 20).await;
    sender
        .send(app, &event(app, "evt_3", "checkout.session.completed", session(&second, "pi_2", 2000)))
        .await;
    assert_eq!(balance(&agent).await, json!([0, 79]));
    // The dispute is won: everything is as if it had never been.
    let won = dispute("du_1", "pi_1", 10_000, "won");
    sender.send(app, &event(app, "evt_4", "charge.dispute.funds_reinstated", won.clone())).await.expect(200);
    sender.send(app, &event(app, "evt_5", "charge.dispute.closed", won)).await.expect(200);
    assert_eq!(balance(&agent).await, json!([21, 0]));
    // What opened it comes once more, late: it is over.
    let late = dispute("du_1", "pi_1", 10_000, "under_review");
    sender.send(app, &event(app, "evt_6", "charge.dispute.updated", late)).await.expect(200);
    assert_eq!(balance(&agent).await, json!([21, 0]));
    // A refund that fails comes back too.
    for (id, kind, status, after) in [
        ("evt_7", "refund.created", "pending", json!([16, 0])),
        ("evt_8", "refund.failed", "failed", json!([21, 0])),
    ] {
        sender.send(app, &event(app, id, kind, refund("re_1", "pi_2", 500, status))).await.expect(200);
        assert_eq!(balance(&agent).await, after);
    }
    app.audit().await;
}

#[tokio::test]
async fn a_debt_is_collected_from_whatever_comes_in() {
    let shop = Shop::open().await;
    let app = &shop.app;
    let agent = app.agent("Payer").await;
    let mut sender = Sender::node();
    let first = topup(&agent, 100).await;
    sender
        .send(app, &event(app, "evt_1", "checkout.session.completed", session(&first, "pi_1", 10_000)))
        .await;
    agent.post("/api/subscription/pro", json!({"payment": "wallet"})).await.expect(201);
    let lost = dispute("du_1", "pi_1", 10_000, "lost");
    sender.send(app, &event(app, "evt_2", "charge.dispute.closed", lost)).await.expect(200);
    // As a payout of another advertiser would come in.
    let mut conn = app.app.db().acquire().await.unwrap();
    let posting = control_plane::features::ledger::model::Posting {
        debit: control_plane::features::ledger::model::Account::of(
            agent.agent_id(),
            control_plane::features::ledger::model::AccountKind::Sandbox,
        ),
        credit: control_plane::features::ledger::model::Account::wallet(agent.agent_id()),
        amount: control_plane::money::Micros(30_000_000),
        kind: control_plane::features::ledger::model::TransferKind::Payout,
        reference: "from elsewhere".to_owned(),
        metered: None,
    };
    control_plane::features::ledger::ops::post(&mut conn, app.now(), &posting).await.unwrap();
    drop(conn);
    assert_eq!(balance(&agent).await, json!([30, 99]));
    let collect = || control_plane::features::wallet::payments::collect_job(app.app.clone());
    collect().await.unwrap();
    assert_eq!(balance(&agent).await, json!([0, 69]));
    assert_eq!(collect().await.unwrap(), control_plane::workers::jobs::Turn::Idle);
}
