//! The dashboard in headless Chromium: every page, both roles, both themes, wide and narrow.
//!
//! One browser for all of it: starting one costs more than the pages. Set `DASHBOARD_SHOTS` to a folder to
//! keep the pictures.

use super::hostile;
use crate::features::stats::{drain, fold_all, spool_of};
use crate::harness::{TestApp, peers};
use serde_json::{Value, json};
use std::time::Duration;

/// Some fifteen seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::test]
async fn a_browser_finds_nothing_wrong_and_no_key() {
    let app = TestApp::start().await;
    let offer = app.offer_named("Northwind Analytics", "Scout").await;
    let spool = spool_of(&app, &offer).await;
    let clicks: Vec<_> = (0..40).map(|seq| spool.click(seq)).collect();
    drain(&spool, &clicks).await;
    fold_all(&app).await;
    for order in 0..4 {
        let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 99, "external_id": format!("order-{order}")});
        let made = offer.advertiser.post("/api/conversions/track", sale).await;
        if order == 3 {
            let decide = format!("/api/conversions/{}", made.expect(201)["id"].as_str().unwrap());
            offer.advertiser.patch(&decide, json!({"status": "approved"})).await.expect(200);
        }
    }
    offer.advertiser.post("/api/wallet/topup", json!({"amount": 20})).await.expect(201);
    let program = app.program_with(&offer.advertiser, json!({"name": hostile::PAYLOADS[0], "description": hostile::PAYLOADS[1], "approval_mode": "manual"})).await;
    let eager = app.agent(hostile::PAYLOADS[2]).await;
    let join = format!("/api/network/join/{}", program["id"].as_str().unwrap());
    eager.post(&join, json!({"message": hostile::PAYLOADS[3]})).await.expect(201);
    let newcomer = app.agent("Fresh Start").await;

    let port = app.origin().rsplit(':').next().unwrap();
    let asked = json!({
        "origin": app.origin(),
        "elsewhere": format!("http://localhost:{port}"),
        "affiliate": offer.affiliate.key(),
        "advertiser": offer.advertiser.key(),
        "newcomer": newcomer.key(),
        "more": [
            format!("/my-dashboard/advertiser/payouts?of={}", offer.program),
            format!("/my-dashboard/advertiser/payouts/preview?of={}&method=wallet", offer.program),
        ],
        // All four in one run cost four times as much: each width and each theme is seen once.
        "views": [["light", 1440], ["dark", 360]],
    });
    let said =
        peers::run_within(PATIENCE, &peers::script("dashboard/browse.mjs"), &[], &asked.to_string()).await;
    let saw: Value = serde_json::from_str(said.trim().lines().last().unwrap()).unwrap();

    let pages = saw["pages"].as_array().unwrap();
    assert!(pages.len() >= 48, "{} pages", pages.len());
    let failed: Vec<_> = pages.iter().filter(|page| page["status"] != 200).collect();
    assert!(failed.is_empty(), "{failed:?}");
    for (what, nothing) in [
        ("axe", "a person with a screen reader or a keyboard stumbles over"),
        ("overflow", "is wider than the screen"),
        ("scripts", "ran or became an element"),
        ("blocked", "the policy refused"),
        ("keyIn", "holds the key"),
        ("foreign", "was asked for elsewhere"),
    ] {
        assert_eq!(saw[what], json!([]), "{nothing}");
    }
    assert_eq!(saw["skipped"], "main");
    assert_eq!(
        saw["bulk"],
        json!({"before": 3, "ticked": 3, "still": 3, "said": "3 conversions are rejected now.", "left": 0})
    );
    let link = offer.affiliate.get(&format!("/api/links/{}", offer.link)).await;
    assert_eq!(saw["copied"], link.expect(200)["tracking_url"]);
    assert_eq!(saw["afterSignOut"], format!("{}/my-dashboard/sign-in", app.origin()));
    assert_eq!(saw["fromElsewhere"]["title"], "Overview · AffiliateOS");
    assert_eq!(saw["fromElsewhere"]["url"], format!("{}/my-dashboard", app.origin()));
    let cost = &saw["cost"];
    assert!(cost["bytes"].as_i64().unwrap() <= 150_000 && cost["requests"].as_i64().unwrap() <= 5, "{cost}");
}
