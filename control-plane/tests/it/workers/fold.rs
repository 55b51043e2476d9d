//! The fold: sums become hours and usage, each once.

use crate::harness::{SHARDS, TestApp};
use control_plane::features::clicks::fold::fold;
use control_plane::workers::drainer::Drainer;

#[tokio::test]
async fn a_click_shows_in_the_usage_before_and_after_the_fold() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let number = app.count("SELECT number::BIGINT FROM agents WHERE name = 'Advertiser'").await;
    let spool = app.spool(number as u32);
    let unpaid = shared::Click { flags: 0, class: shared::ClickClass::Crawler, ..spool.click(312) };
    let mut clicks: Vec<_> = (0..312).map(|seq| spool.click(seq)).collect();
    clicks.push(unpaid);
    spool.ship(&spool.frame_of(spool.header(0, 0), &clicks)).await;
    Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
    for folded in [false, true] {
        if folded {
            let mut conn = app.app.db_worker().acquire().await.unwrap();
            assert_eq!(fold(&mut conn, app.now()).await.unwrap().clicks, 313);
            assert_eq!(fold(&mut conn, app.now()).await.unwrap().rows, 0);
        }
        let reply = offer.advertiser.get("/api/usage").await;
        assert_eq!(
            *reply.expect(200),
            serde_json::json!({
                "tier": "free",
                "period": "2026-06",
                "usage": {
                    "clicks": {"used": 312, "limit": 10000, "remaining": 9688},
                    "conversions": {"used": 0, "limit": 100, "remaining": 100},
                    "matching_requests": {"used": 0, "limit": 50, "remaining": 50}
                },
                "resets_at": "2026-07-01T00:00:00.000Z",
                "upgrade_url": "POST /api/subscription/pro"
            }),
            "folded: {folded}"
        );
        let me = offer.advertiser.get("/api/agents/me").await;
        assert_eq!(me.expect(200)["usage_summary"]["clicks"]["used"], 312);
    }
    assert_eq!(app.count("SELECT sum(clicks)::BIGINT FROM link_hours").await, 313);
    assert_eq!(app.count("SELECT sum(billable)::BIGINT FROM link_hours").await, 312);
    app.audit().await;
}
