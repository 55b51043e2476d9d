//! GET /api/agents/me/weekly-digest.

use super::{drain, fold_all, spool_of};
use crate::harness::TestApp;
use serde_json::json;

const PATH: &str = "/api/agents/me/weekly-digest";

#[tokio::test]
async fn a_week_without_anything_says_what_to_do() {
    let app = TestApp::start().await;
    let agent = app.agent("Newcomer").await;
    let reply = agent.get(PATH).await;
    let digest = reply.expect(200);
    assert_eq!(digest["highlights"], json!([]));
    assert_eq!(digest["summary"], "Nothing happened this week: no clicks and no conversions.");
    assert_eq!(digest["top_link"], json!(null));
    assert_eq!(digest["period"]["days"], 7);
    assert_eq!(
        digest["cta"],
        json!({
            "text": "Find a program to promote, or create one of your own.",
            "method": "GET", "path": "/api/network/discover",
        })
    );
    let call = agent.get(digest["cta"]["path"].as_str().unwrap()).await;
    call.expect(200);
}

#[tokio::test]
async fn a_week_is_told_in_figures_words_and_a_next_step() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let spool = spool_of(&app, &offer).await;
    let clicks: Vec<_> = (0..12).map(|seq| spool.click(seq)).collect();
    drain(&spool, &clicks).await;
    fold_all(&app).await;
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 99.00});
    offer.advertiser.post("/api/conversions/track", sale).await.expect(201);
    let reply = offer.affiliate.get(PATH).await;
    let digest = reply.expect(200);
    assert_eq!(
        digest["summary"],
        "Your links brought 12 clicks and 1 conversion, worth $19.8 in commissions."
    );
    let line = |title: &str, value: &str, previous: &str| json!({"title": title, "value": value, "previous": previous, "change_percent": null});
    assert_eq!(
        digest["highlights"],
        json!([
            line("Clicks on your links", "12", "0"),
            line("Conversions from your links", "1", "0"),
            line("Commissions earned", "$19.8", "$0"),
        ])
    );
    assert_eq!(digest["top_link"]["link_id"], offer.link);
    assert_eq!(digest["cta"]["path"], "/api/agents/me/stats");
    let reply = offer.advertiser.get(PATH).await;
    let digest = reply.expect(200);
    assert_eq!(
        digest["summary"],
        "Your programs received 12 clicks and 1 conversion, for which you owe $19.8."
    );
    assert_eq!(digest["cta"]["text"], "Decide 1 pending conversion of your programs.");
    assert_eq!(digest["top_link"], json!(null));
}
