//! One commission followed by hand: sale, partial refund, payout, second refund, next payout.

use super::{balance, fund, process, sale};
use crate::harness::TestApp;
use serde_json::{Value, json};

/// A transfer as the ledger stores it: from whom, to whom, what for and how much.
type Row = (String, String, String, i64);

async fn transfers(app: &TestApp) -> Vec<Row> {
    sqlx::query_as(
        "SELECT debtor.name || ' ' || debit.kind, creditor.name || ' ' || credit.kind, transfer.kind, transfer.amount_micros
           FROM ledger_transfers AS transfer
           JOIN ledger_accounts AS debit ON debit.id = transfer.debit_account
           JOIN ledger_accounts AS credit ON credit.id = transfer.credit_account
           JOIN agents AS debtor ON debtor.id = debit.owner_id
           JOIN agents AS creditor ON creditor.id = credit.owner_id
          ORDER BY transfer.created_at, transfer.id",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap()
}

/// Every commission row: its amount, state, whether it takes back, and whether it is in a payout.
async fn commissions(app: &TestApp) -> Vec<(i64, String, bool, bool)> {
    sqlx::query_as(
        "SELECT amount_micros, status, reversal, payout_id IS NOT NULL FROM commissions ORDER BY created_at, id",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap()
}

fn row(from: &str, to: &str, kind: &str, micros: i64) -> Row {
    (from.to_owned(), to.to_owned(), kind.to_owned(), micros)
}

#[tokio::test]
async fn a_commission_from_its_sale_over_two_refunds_and_two_payouts() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    fund(&offer.advertiser, 50).await;
    // Each step at a time of its own, so that the rows are in the order of the story.
    let next = || app.clock.advance(chrono::TimeDelta::minutes(1));
    let refund = async |id: &str, amount: f64| {
        let path = format!("/api/conversions/{id}/refunds");
        let reply = offer.advertiser.post(&path, json!({"amount": amount})).await;
        (reply.expect(201)["commission_amount"].clone(), reply.body["conversion"]["status"].clone())
    };
    let pay = async || process(&offer, json!({})).await.expect(201)["total"].clone();

    next();
    // A fifth of $99.99, to the cent: $20.00.
    let order = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 99.99});
    let first = offer.advertiser.post("/api/conversions/track", order).await.expect(201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    offer
        .advertiser
        .patch(&format!("/api/conversions/{first}"), json!({"status": "approved"}))
        .await
        .expect(200);
    next();
    // Before the payout the commission shrinks: $6.67 of it go with $33.33 of the sale.
    assert_eq!(refund(&first, 33.33).await, (json!(6.67), json!("approved")));
    assert_eq!(commissions(&app).await, [(13_330_000, "approved".to_owned(), false, false)]);
    next();
    assert_eq!(pay().await, json!(13.33));
    next();
    // After it the rest is taken back by a row of its own.
    assert_eq!(refund(&first, 66.66).await, (json!(13.33), json!("reversed")));
    next();
    // Nothing is due yet: the affiliate owes more than it earned.
    let nothing = process(&offer, json!({})).await;
    assert_eq!(nothing.expect(200)["left"][0]["reason"], "nothing_due");
    // A second sale earns $19.80; the next payout nets the $13.33 off.
    sale(&offer, 99).await;
    next();
    assert_eq!(pay().await, json!(6.47));

    let rows = transfers(&app).await;
    let (advertiser, affiliate) = ("Advertiser wallet", "Affiliate wallet");
    assert_eq!(
        rows,
        [
            row("Advertiser sandbox", advertiser, "topup", 50_000_000),
            row(advertiser, affiliate, "payout", 13_330_000),
            row(advertiser, affiliate, "payout", 6_470_000),
        ]
    );
    let paid = |amount, reversal| (amount, "paid".to_owned(), reversal, true);
    let kept = commissions(&app).await;
    assert_eq!(kept, [paid(13_330_000, false), paid(-13_330_000, true), paid(19_800_000, false)]);
    println!("{:<20} {:<20} {:<8} {:>12}", "debit", "credit", "kind", "micros");
    for (from, to, kind, micros) in &rows {
        println!("{from:<20} {to:<20} {kind:<8} {micros:>12}");
    }
    let accounts: Vec<(String, i64)> = sqlx::query_as(
        "SELECT agents.name || ' ' || kind, balance_micros
           FROM ledger_accounts JOIN agents ON agents.id = owner_id
          ORDER BY 1",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap();
    for (account, micros) in &accounts {
        println!("{account:<20} {micros:>12}");
    }
    assert_eq!(accounts.iter().map(|(_, micros)| micros).sum::<i64>(), 0, "the ledger sums to zero");
    // First sale: 20.00 - 6.67 - 13.33 = 0. Both: 13.33 - 13.33 + 19.80 = 13.33 + 6.47.
    assert_eq!(kept.iter().map(|(micros, ..)| micros).sum::<i64>(), 19_800_000);
    assert_eq!(
        (balance(&offer.advertiser).await, balance(&offer.affiliate).await),
        (json!(30.2), json!(19.8))
    );
    let reversed: Value = offer.affiliate.get(&format!("/api/conversions/{first}")).await.body;
    assert_eq!(reversed["status"], "reversed");
    app.audit().await;
}
