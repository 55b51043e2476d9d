//! `GET /api/payouts`: both sides of an agent in one order, by page and by cursor.

use crate::harness::{Client, TestApp};
use std::collections::BTreeSet;

/// Payouts between two agents in both directions, two of each made at the same instant.
async fn between(app: &TestApp, left: &Client, right: &Client) {
    for (pays, gets) in [(left, right), (right, left)] {
        let program = app.program(pays).await;
        app.joined(gets, &program).await;
        sqlx::query(
            "INSERT INTO payouts (id, advertiser_id, program_id, affiliate_id, amount_micros, currency, method, status,
                                  created_at, updated_at)
             SELECT gen_random_uuid(), $1, $2::TEXT::UUID, $3, 1000000, 'usd', 'external', 'pending',
                    TIMESTAMPTZ '2026-06-10 00:00:00Z' + n / 2 * interval '1 hour', now()
               FROM generate_series(0, 4) AS n",
        )
        .bind(pays.agent_id())
        .bind(&program)
        .bind(gets.agent_id())
        .execute(app.app.db())
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn cursors_go_through_both_sides_without_repeats() {
    let app = TestApp::start().await;
    let (left, right) = (app.agent("Left").await, app.agent("Right").await);
    between(&app, &left, &right).await;
    for (filter, total) in
        [("", 10), ("&role=advertiser", 5), ("&role=affiliate", 5), ("&status=pending", 10)]
    {
        let mut path = format!("/api/payouts?per_page=3{filter}");
        let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
        loop {
            let reply = left.get(&path).await;
            let page = reply.expect(200);
            assert_eq!(page["pagination"]["total"], total, "{path}");
            for row in page["data"].as_array().unwrap() {
                assert!(seen.insert(row["id"].as_str().unwrap().to_owned()), "{path} repeats {row}");
                order.push((row["created_at"].to_string(), row["id"].to_string()));
            }
            let Some(cursor) = page["pagination"]["next_cursor"].as_str() else { break };
            path = format!("/api/payouts?per_page=3{filter}&cursor={cursor}");
        }
        assert_eq!(seen.len(), total, "{filter}");
        assert!(order.is_sorted_by(|newer, older| newer > older), "{filter}: {order:?}");
        // Pages by number show the same rows.
        let pages = [1, 2, 3, 4].map(|page| format!("/api/payouts?per_page=3{filter}&page={page}"));
        let mut by_number = BTreeSet::new();
        for path in pages {
            let reply = left.get(&path).await;
            let rows = reply.expect(200)["data"].as_array().unwrap();
            by_number.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        }
        assert_eq!(by_number, seen, "{filter}");
    }
    left.get("/api/payouts?page=2&cursor=x").await.is_error(400, "invalid_value");
}
