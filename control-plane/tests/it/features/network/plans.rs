//! How lists are read when tables are large: by index, whatever the filter and the order.

use crate::harness::TestApp;
use serde_json::json;

/// Tables that grow with use.
const LARGE: [&str; 7] =
    ["agents", "programs", "partnerships", "links", "link_hours", "conversions", "api_keys"];

/// 3,000 programs of 100 among 30,000 agents, 20,000 partnerships, 20,000 links, hours and conversions.
async fn seed(app: &TestApp) {
    let mut connection = app.app.db_worker().acquire().await.unwrap();
    for statement in [
        "INSERT INTO agents (id, name, handle, created_at, updated_at)
         SELECT gen_random_uuid(), 'Agent', 'seed-' || n, now(), now() FROM generate_series(1, 30000) AS n",
        "INSERT INTO api_keys (id, agent_id, kind, digest, last_four, created_at)
         SELECT gen_random_uuid(), id, 'agent', sha256(id::TEXT::BYTEA), 'xxxx', now()
           FROM agents WHERE handle LIKE 'seed-%'",
        "INSERT INTO programs (id, advertiser_id, name, niche, commission_type, commission_rate_bp, pay_classes,
                               affiliates, epc_micros, status, created_at, updated_at)
         SELECT gen_random_uuid(), (ARRAY(SELECT id FROM agents ORDER BY handle LIMIT 100))[1 + n % 100],
                'Program ' || n || CASE WHEN n % 500 = 0 THEN ' zebra' ELSE '' END, 'niche ' || n % 60, 'percentage',
                n % 10000, 71, 0, nullif(n % 700, 0), CASE WHEN n % 10 = 0 THEN 'paused' ELSE 'active' END,
                now() - n * INTERVAL '1 minute', now()
           FROM generate_series(1, 3000) AS n",
        "INSERT INTO partnerships (id, program_id, affiliate_id, advertiser_id, status, created_at, updated_at)
         SELECT gen_random_uuid(), program.id, affiliate.id, program.advertiser_id, 'pending', now(), now()
           FROM (SELECT id, advertiser_id, row_number() OVER () AS n FROM programs) AS program
           JOIN (SELECT id, row_number() OVER () AS n FROM agents) AS affiliate
             ON affiliate.n % 3000 = program.n % 3000
          WHERE affiliate.id <> program.advertiser_id
          LIMIT 20000",
        "INSERT INTO links (id, key, token, partnership_id, program_id, affiliate_id, advertiser_id, destination_url,
                            created_at, updated_at)
         SELECT gen_random_uuid(), row_number() OVER (), 'seed', id, program_id, affiliate_id, advertiser_id,
                'https://example.com/', now(), now()
           FROM partnerships",
        "INSERT INTO link_hours (advertiser, link_key, hour, class, clicks, billable)
         SELECT 1, key, now(), 0, 1, 1 FROM links",
        "INSERT INTO conversions (id, advertiser_id, program_id, partnership_id, affiliate_id, link_id, event_type,
                                  currency, status, auto_approve_at, created_at, updated_at)
         SELECT gen_random_uuid(), advertiser_id, program_id, partnership_id, affiliate_id, id, 'lead', 'usd',
                'pending', now(), now(), now()
           FROM links",
    ] {
        sqlx::query(statement).execute(&mut *connection).await.unwrap();
    }
    // Rows read here are otherwise reported up to a second later, in the middle of what is measured.
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
    drop(connection);
    app.analyze().await;
}

#[tokio::test]
async fn no_list_reads_a_large_table_from_end_to_end() {
    let app = TestApp::start().await;
    seed(&app).await;
    let offer = app.offer().await;
    let (affiliate, advertiser, anyone) = (offer.affiliate.clone(), offer.advertiser.clone(), app.anyone());
    let deep = anyone.get("/api/programs?page=20&per_page=100").await;
    let cursor = deep.expect(200)["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    let mut calls = vec![
        (&anyone, format!("/api/programs/{}", offer.program)),
        (&anyone, "/api/programs?niche=niche%207".to_owned()),
        (&anyone, "/api/programs?q=zebra".to_owned()),
        (&anyone, format!("/api/programs?advertiser_id={}", advertiser.id())),
        (&anyone, format!("/api/programs?per_page=100&cursor={cursor}")),
        (&anyone, "/api/programs?status=archived".to_owned()),
        (&advertiser, format!("/api/programs/{}/affiliates", offer.program)),
        (&advertiser, format!("/api/programs/{}/affiliates?status=approved", offer.program)),
        (&affiliate, format!("/api/agents/{}/partnerships", affiliate.id())),
        (&affiliate, format!("/api/agents/{}/partnerships?status=approved", affiliate.id())),
        (&affiliate, format!("/api/partnerships/{}", offer.partnership)),
        (&affiliate, format!("/api/partnerships/{}/links", offer.partnership)),
        (&affiliate, format!("/api/partnerships/{}/links?sub_id=x", offer.partnership)),
        (&affiliate, format!("/api/links/{}", offer.link)),
    ];
    for order in ["newest", "highest_commission", "most_affiliates", "best_epc"] {
        calls.push((&anyone, format!("/api/programs?sort={order}")));
        calls.push((&affiliate, format!("/api/network/discover?sort={order}&per_page=100")));
        calls.push((&affiliate, format!("/api/network/discover?sort={order}&niche=niche%207")));
    }
    let mut before = app.scanned_rows().await;
    for (client, path) in calls {
        client.get(&path).await.expect(200);
        let after = app.scanned_rows().await;
        for table in LARGE {
            assert_eq!(after[table], before[table], "{path} reads {table} from end to end");
        }
        before = after;
    }
    // Writing takes no scan either.
    let links = format!("/api/partnerships/{}/links", offer.partnership);
    affiliate.post(&links, json!({"destination_url": "https://example.com/"})).await.expect(201);
    affiliate.patch(&format!("/api/links/{}", offer.link), json!({"sub_id": "x"})).await.expect(200);
    affiliate.delete(&format!("/api/links/{}", offer.link)).await.expect(200);
    advertiser
        .patch(&format!("/api/programs/{}", offer.program), json!({"allowed_hosts": ["a.test"]}))
        .await
        .expect(200);
    advertiser
        .patch(&format!("/api/partnerships/{}", offer.partnership), json!({"status": "suspended"}))
        .await
        .expect(200);
    advertiser.delete(&format!("/api/programs/{}", offer.program)).await.expect(200);
    let after = app.scanned_rows().await;
    for table in LARGE {
        assert_eq!(after[table], before[table], "a write reads {table} from end to end");
    }
}
