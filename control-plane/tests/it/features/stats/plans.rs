//! How figures and lists are read when tables are large: by index, and quickly.

use crate::harness::{Client, TestApp};

const LARGE: [&str; 11] = [
    "agents",
    "links",
    "link_hours",
    "link_sources",
    "conversions",
    "commissions",
    "partnerships",
    "payouts",
    "attribution_events",
    "trade_hours",
    "trade_sums",
];
/// Postgres may settle on a general plan after five.
const REQUESTS: usize = 7;

/// Another 20,000 affiliates with a link, a day of hours, sources, a conversion and a commission each, and
/// 20,000 rows of the agents that are asked for.
async fn seed(app: &TestApp, offer: &crate::harness::Offer) {
    let mut connection = app.app.db_worker().acquire().await.unwrap();
    for statement in [
        "INSERT INTO agents (id, name, handle, created_at, updated_at)
         SELECT gen_random_uuid(), 'Agent', 'seed-' || n, now(), now() FROM generate_series(1, 20000) AS n",
        "INSERT INTO programs (id, advertiser_id, name, commission_type, commission_rate_bp, pay_classes, created_at,
                               updated_at)
         SELECT gen_random_uuid(), id, 'Program', 'percentage', 1, 71, now(), now()
           FROM agents WHERE handle LIKE 'seed-%' ORDER BY handle LIMIT 200",
        "ANALYZE",
        // Past the trigger that counts a program's affiliates, one by one.
        "SET session_replication_role = replica",
        "INSERT INTO partnerships (id, program_id, affiliate_id, advertiser_id, status, created_at, updated_at)
         SELECT gen_random_uuid(), program.id, affiliate.id, program.advertiser_id, 'approved', now(), now()
           FROM (SELECT id, advertiser_id, row_number() OVER () AS n FROM programs WHERE name = 'Program') AS program
           JOIN (SELECT id, row_number() OVER () AS n FROM agents WHERE handle LIKE 'seed-%') AS affiliate
             ON affiliate.n % 200 + 1 = program.n
          WHERE affiliate.id <> program.advertiser_id",
        "SET session_replication_role = origin",
        "INSERT INTO links (id, key, token, partnership_id, program_id, affiliate_id, advertiser_id, destination_url,
                            created_at, updated_at)
         SELECT gen_random_uuid(), row_number() OVER (), 'seed', id, program_id, affiliate_id, advertiser_id,
                'https://example.com/', now(), now()
           FROM partnerships",
        "INSERT INTO link_hours (advertiser, link_key, hour, class, clicks, billable)
         SELECT agents.number, links.key, TIMESTAMPTZ '2026-06-10 00:00:00Z' + hour * INTERVAL '1 hour', 0, 5, 5
           FROM links JOIN agents ON agents.id = links.advertiser_id, generate_series(0, 4) AS hour
          WHERE links.token = 'seed'",
        "INSERT INTO link_sources (advertiser, link_key, day, kind, name, clicks)
         SELECT agents.number, links.key, DATE '2026-06-10', 0, 'DE', 5
           FROM links JOIN agents ON agents.id = links.advertiser_id
          WHERE links.token = 'seed'",
        "INSERT INTO conversions (id, advertiser_id, program_id, partnership_id, affiliate_id, link_id, event_type,
                                  currency, status, auto_approve_at, created_at, updated_at)
         SELECT gen_random_uuid(), advertiser_id, program_id, partnership_id, affiliate_id, id, 'lead', 'usd',
                'pending', now(), '2026-06-10 00:00:00Z', now()
           FROM links",
        "INSERT INTO commissions (id, advertiser_id, conversion_id, program_id, partnership_id, affiliate_id,
                                  amount_micros, currency, fixed_micros, status, payable_at, created_at, updated_at)
         SELECT gen_random_uuid(), advertiser_id, id, program_id, partnership_id, affiliate_id, 1000000, 'usd',
                1000000, 'pending', now(), '2026-06-10 00:00:00Z', now()
           FROM conversions",
        "INSERT INTO payouts (id, advertiser_id, program_id, affiliate_id, amount_micros, currency, method, status,
                              created_at, updated_at)
         SELECT gen_random_uuid(), advertiser_id, program_id, affiliate_id, 1000000, 'usd', 'external', 'pending',
                '2026-06-10 00:00:00Z', now()
           FROM partnerships",
        "INSERT INTO attribution_events (id, advertiser_id, program_id, partnership_id, affiliate_id, link_key, click_id,
                                         kind, created_at)
         SELECT gen_random_uuid(), advertiser_id, program_id, partnership_id, affiliate_id, key, 'seed-' || key,
                'recommendation', '2026-06-10 00:00:00Z'
           FROM links",
    ] {
        sqlx::query(statement).execute(&mut *connection).await.unwrap();
    }
    // A busy link of the agents that are asked for: 2,160 hours of two classes.
    sqlx::query(
        "INSERT INTO link_hours (advertiser, link_key, hour, class, clicks, billable)
         SELECT number, $2, TIMESTAMPTZ '2026-06-15 12:00:00Z' - hour * INTERVAL '1 hour', class, 100, 100
           FROM agents, generate_series(1, 4300) AS hour, generate_series(0, 1) AS class
          WHERE id = $1",
    )
    .bind(offer.advertiser.agent_id())
    .bind(offer.key.to_i64())
    .execute(&mut *connection)
    .await
    .unwrap();
    sqlx::query("SELECT fold_trade(NULL)").execute(&mut *connection).await.unwrap();
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    drop(connection);
    app.analyze().await;
}

#[tokio::test]
async fn figures_read_no_large_table_from_end_to_end() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    seed(&app, &offer).await;
    let mut before = app.scanned_rows().await;
    for (client, side) in [(&offer.affiliate, "as_affiliate"), (&offer.advertiser, "as_advertiser")] {
        for path in
            ["/api/agents/me/stats?days=7", "/api/agents/me/stats?days=90", "/api/agents/me/weekly-digest"]
        {
            let reply = client.get(path).await;
            let body = reply.expect(200);
            if path.ends_with("90") {
                // The busy link, and five hours of five on the one all partnerships got.
                assert_eq!(body["clicks"][side]["total"], 2 * 100 * (90 * 24 - 1) + 25, "{path}");
            }
            let after = app.scanned_rows().await;
            for table in LARGE {
                assert_eq!(after[table], before[table], "{side}: {path} reads {table} from end to end");
            }
            before = after;
        }
    }
}

#[tokio::test]
async fn lists_and_sums_read_no_large_table_from_end_to_end() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    seed(&app, &offer).await;
    let (program, partnership) = (&offer.program, &offer.partnership);
    let affiliate = offer.affiliate.id();
    let sales =
        ["", "?status=pending", "?event_type=lead", "?external_id=order-4", "?from=2026-06-01", "?page=2"];
    let sides = ["", "?role=advertiser", "?role=affiliate", "?status=pending", "?page=2"];
    let mut paths: Vec<(&Client, String)> = Vec::new();
    for query in sales {
        paths.push((&offer.advertiser, format!("/api/conversions{query}")));
        paths.push((&offer.advertiser, format!("/api/programs/{program}/conversions{query}")));
        paths.push((&offer.affiliate, format!("/api/agents/{affiliate}/conversions{query}")));
    }
    for query in sides {
        paths.extend(
            [&offer.advertiser, &offer.affiliate].map(|client| (client, format!("/api/payouts{query}"))),
        );
    }
    for list in [
        "affiliates",
        "affiliates?status=approved",
        "payouts",
        "payouts?per_page=5&page=2",
        "agent-runtimes",
        "attribution-events",
    ] {
        paths.push((&offer.advertiser, format!("/api/programs/{program}/{list}")));
    }
    for list in ["partnerships", "partnerships?status=approved", "earnings", "keys"] {
        paths.push((&offer.affiliate, format!("/api/agents/{affiliate}/{list}")));
    }
    for list in ["links", "links?sub_id=x"] {
        paths.push((&offer.affiliate, format!("/api/partnerships/{partnership}/{list}")));
    }
    let mut broken = Vec::new();
    let mut before = app.scanned_rows().await;
    for (client, path) in paths {
        for _ in 0..REQUESTS {
            client.get(&path).await.expect(200);
        }
        let after = app.scanned_rows().await;
        let whole = LARGE.iter().filter(|table| after[**table] != before[**table]);
        broken.extend(whole.map(|table| format!("{path} reads {table} from end to end")));
        before = after;
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
