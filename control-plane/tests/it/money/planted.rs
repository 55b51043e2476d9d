//! Every invariant sees its fault: rows are broken behind the guards' back, one fault at a time, in a
//! transaction that is rolled back. I13, I15 and I16 are sums over spools; their faults are in `commands::reconcile`.

use crate::harness::{SHARDS, TestApp};
use control_plane::features::audit::ops::{broken, names};
use control_plane::features::clicks::fold::fold;
use control_plane::workers::drainer::Drainer;
use serde_json::json;
use sqlx::AssertSqlSafe;
use std::collections::BTreeSet;

/// An invariant, and statements that break it.
const FAULTS: &[(&str, &[&str])] = &[
    ("I1", &["UPDATE ledger_accounts SET balance_micros = balance_micros + 1 WHERE kind = 'wallet'"]),
    ("I2", &["UPDATE ledger_accounts SET version = version + 1 WHERE kind = 'wallet'"]),
    (
        "I3",
        &[
            "ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_accounts_balance_micros_check",
            "UPDATE ledger_accounts SET balance_micros = -1 WHERE kind = 'held'",
        ],
    ),
    ("I4", &["UPDATE ledger_transfers SET created_at = created_at + INTERVAL '1 s' WHERE kind = 'payout'"]),
    (
        "I5",
        &[
            "ALTER TABLE ledger_transfers DROP CONSTRAINT ledger_transfers_kind_reference_key",
            "UPDATE ledger_transfers SET reference = 'one' WHERE kind = 'topup'",
        ],
    ),
    ("I6", &["UPDATE ledger_transfers SET currency = 'eur' WHERE kind = 'topup'"]),
    ("I7", &["UPDATE ledger_transfers SET reference = gen_random_uuid() WHERE kind = 'payout'"]),
    ("I7", &["UPDATE ledger_transfers SET reference = gen_random_uuid() WHERE kind = 'topup'"]),
    ("I7", &["DELETE FROM subscriptions"]),
    ("I7", &["DELETE FROM usage_months"]),
    ("I8", &["UPDATE ledger_transfers SET debit_balance_micros = -1 WHERE kind = 'payout'"]),
    (
        "I8",
        &[
            "UPDATE ledger_transfers SET credit_version = credit_version + 1000 WHERE kind = 'topup' AND debit_version = 1",
        ],
    ),
    (
        "I9",
        &[
            "UPDATE usage_months SET used = used + 1, billed = billed + 1 WHERE included < 100 AND metric = 'conversions'",
        ],
    ),
    (
        "I9b",
        &[
            "UPDATE usage_months SET used = used + 1, capped = capped + 1 WHERE included >= 10000 AND metric = 'clicks'",
        ],
    ),
    ("I10", &["UPDATE usage_months SET amount_micros = amount_micros + 2000 WHERE metric = 'clicks'"]),
    (
        "I11",
        &[
            "UPDATE usage_months SET used = used - included + 500001, included = 500001 WHERE metric = 'clicks'",
        ],
    ),
    (
        "I12",
        &[
            "UPDATE usage_months SET used = used - 1, included = included - 1 WHERE metric = 'clicks' AND included > 0",
        ],
    ),
    ("I12", &["UPDATE usage_months SET month = '2026-07-01' WHERE metric = 'clicks'"]),
    ("I12", &["UPDATE links SET advertiser_id = affiliate_id"]),
    ("I14", &["UPDATE clicks SET flags = 0 WHERE seq = 1"]),
    (
        "I14",
        &["UPDATE usage_months SET used = used + 1, included = included + 1 WHERE metric = 'conversions'"],
    ),
    ("I17", &["UPDATE clicks SET seq = 99999 WHERE seq = 1"]),
    ("I17", &["UPDATE spools SET last_first_seq = 99999"]),
    ("I18", &["UPDATE clicks SET class = 9 WHERE seq = 1"]),
    ("I18", &["UPDATE clicks SET flags = 9 WHERE seq = 1"]),
    ("I18", &["UPDATE clicks SET country = 1 WHERE seq = 1"]),
    ("I18", &["UPDATE clicks SET notes = '' WHERE seq = 1"]),
    ("I19", &["DELETE FROM clicks WHERE seq = 1"]),
    ("I20", &["UPDATE conversions SET status = 'rejected' WHERE status = 'paid'"]),
    ("I21", &["UPDATE payouts SET amount_micros = amount_micros + 1"]),
    ("I21b", &["UPDATE commissions SET status = 'approved' WHERE status = 'paid'"]),
    ("I22", &["DELETE FROM ledger_transfers WHERE kind = 'payout'"]),
    ("I22a", &["UPDATE topups SET status = 'pending'"]),
    ("I22b", &["UPDATE payouts SET status = 'failed', failure = 'planted' WHERE method = 'usdc'"]),
    ("I22c", &["UPDATE topups SET refunded_micros = 1"]),
    ("I22d", &["UPDATE commissions SET amount_micros = amount_micros + 10000"]),
    ("I22e", &["DELETE FROM payouts WHERE status = 'paid'"]),
    (
        "I22f",
        &[
            "INSERT INTO stripe_payments (payment_ref, back_micros, updated_at) VALUES ('pi_planted', 1, now())",
        ],
    ),
    ("I24", &["UPDATE payouts SET status = 'processing' WHERE method = 'usdc'"]),
    ("I25", &["UPDATE conversions SET partnership_id = gen_random_uuid()"]),
    ("I25", &["UPDATE commissions SET amount_micros = 1000000000 WHERE NOT reversal"]),
    (
        "I25",
        &[
            "DROP INDEX conversions_external_id_key",
            "UPDATE conversions SET external_id = 'same', event_type = 'sale'",
        ],
    ),
    ("I26", &["UPDATE conversions SET affiliate_id = advertiser_id"]),
    ("I27", &["DELETE FROM programs"]),
    ("I27", &["DELETE FROM links"]),
    ("I27", &["DELETE FROM agents WHERE name = 'Affiliate'"]),
    ("I28", &["UPDATE trade_hours SET sales = sales + 1 WHERE advertiser"]),
    ("I28", &["UPDATE trade_hours SET hour = hour + INTERVAL '1 hour' WHERE NOT advertiser"]),
    ("I28", &["DELETE FROM trade_deltas WHERE sales > 0"]),
    ("I28", &["UPDATE conversions SET revenue_micros = revenue_micros + 10000 WHERE event_type = 'sale'"]),
    ("I29", &["UPDATE trade_sums SET owed_micros = owed_micros + 1"]),
    ("I29", &["DELETE FROM trade_deltas WHERE paid_micros > 0"]),
    ("I29", &["UPDATE commissions SET payout_id = NULL WHERE status = 'approved'"]),
    ("PRO", &["UPDATE agents SET tier = 'free'"]),
];

/// An advertiser on Pro with a paid payout, one in usdc on its way, a refund, and clicks that were billed.
async fn world() -> TestApp {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let advertiser = &offer.advertiser;
    for _ in 0..2 {
        advertiser.post("/api/wallet/topup", json!({"amount": 200})).await.expect(201);
    }
    let mut spool = app.spool(app.number(advertiser).await as u32);
    spool.link = offer.key;
    for first in (0..20 * 501).step_by(501) {
        spool.ship(&spool.frame(first, 501)).await;
    }
    while app.entries().await > 0 {
        Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    }
    while fold(&mut app.app.db_worker().acquire().await.unwrap(), app.now()).await.unwrap().rows > 0 {}
    let sell = async |order: &str| {
        let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 90, "external_id": order});
        let id = advertiser.post("/api/conversions/track", body).await.expect(201)["id"]
            .as_str()
            .unwrap()
            .to_owned();
        advertiser.patch(&format!("/api/conversions/{id}"), json!({"status": "approved"})).await.expect(200);
        id
    };
    let process = async |method: &str| {
        let body = json!({"program_id": offer.program, "method": method, "dry_run": false});
        assert_eq!(
            advertiser.post("/api/payouts/process", body).await.expect(201)["payouts"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    };
    let sold = sell("order-1").await;
    sqlx::query("SELECT fold_trade(NULL)").execute(app.app.db_worker()).await.unwrap();
    advertiser.post(&format!("/api/conversions/{sold}/refunds"), json!({"amount": 10})).await.expect(201);
    process("wallet").await;
    let address = json!({"address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"});
    let path = format!("/api/agents/{}/payout-address", offer.affiliate.id());
    offer.affiliate.send(offer.affiliate.request("PUT", &path).json(&address)).await.expect(200);
    sell("order-2").await;
    process("usdc").await;
    advertiser.post("/api/subscription/pro", json!({"payment": "wallet"})).await.expect(201);
    app
}

#[tokio::test]
async fn every_invariant_sees_its_fault() {
    let planted: BTreeSet<_> = FAULTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(planted, names().into_iter().collect(), "every check has a fault, and every fault a check");
    let app = world().await;
    app.audit().await;
    for (name, statements) in FAULTS {
        let mut tx = app.app.db_worker().begin().await.unwrap();
        // No trigger and no foreign key stands in the way.
        sqlx::query("SET LOCAL session_replication_role = replica").execute(&mut *tx).await.unwrap();
        let mut rows = 0;
        for sql in *statements {
            rows = sqlx::query(AssertSqlSafe(*sql)).execute(&mut *tx).await.unwrap().rows_affected();
        }
        assert!(rows > 0, "{name}: nothing to break: {statements:?}");
        let found = broken(&mut tx).await.unwrap();
        assert!(found.iter().any(|row| row.check == *name), "{name} does not see {statements:?}: {found:?}");
        tx.rollback().await.unwrap();
    }
    app.audit().await;
    println!("{} invariants, {} planted faults, all seen", planted.len(), FAULTS.len());
}
