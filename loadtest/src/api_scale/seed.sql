-- Ten thousand programs and a million conversions, written past the API: rows, not history.
-- Run with session_replication_role = replica, so that triggers and foreign keys do not run row by row.
-- {big} owns a tenth of the programs and the busiest one; {busy} is its busiest affiliate.

INSERT INTO agents (id, name, handle, niche, audience_type, created_at, updated_at)
SELECT gen_random_uuid(), 'Agent ' || n, 'scale-' || n, (ARRAY['saas', 'ecommerce', 'finance', 'travel', 'games'])[n % 5 + 1],
       (ARRAY['b2b', 'b2c'])[n % 2 + 1], now() - n * interval '1 minute', now()
  FROM generate_series(1, {agents}) AS n;

CREATE TEMP TABLE scale_agents AS
SELECT row_number() OVER (ORDER BY handle) AS nth, id FROM agents WHERE handle LIKE 'scale-%';
CREATE UNIQUE INDEX ON scale_agents (nth);

INSERT INTO programs (id, advertiser_id, name, description, url, niche, audience_type, commission_type, commission_rate_bp,
                      commission_fixed_micros, approval_mode, pay_classes, status, created_at, updated_at, affiliates, epc_micros)
SELECT CASE n WHEN 1 THEN '{program}'::UUID ELSE gen_random_uuid() END,
       CASE WHEN n % 10 = 1 THEN '{big}'::UUID ELSE agent.id END,
       'Program ' || n, 'Sells thing ' || n % 97 || ' to everybody', 'https://shop.example/',
       (ARRAY['saas', 'ecommerce', 'finance', 'travel', 'games'])[n % 5 + 1], (ARRAY['b2b', 'b2c'])[n % 2 + 1],
       CASE WHEN n % 3 = 0 THEN 'fixed' ELSE 'percentage' END,
       CASE WHEN n % 3 <> 0 THEN n % 5000 END, CASE WHEN n % 3 = 0 THEN (n % 200) * 1000000 END,
       'auto', 46, CASE WHEN n % 20 = 0 THEN 'archived' WHEN n % 7 = 0 THEN 'paused' ELSE 'active' END,
       now() - n * interval '5 minutes', now(), n % 50, (n % 900) * 1000
  FROM generate_series(1, {programs}) AS n
  JOIN scale_agents AS agent ON agent.nth = n % {agents} + 1;

CREATE TEMP TABLE scale_programs AS
SELECT row_number() OVER (ORDER BY id) AS nth, id, advertiser_id FROM programs WHERE name LIKE 'Program %' AND id <> '{program}'::UUID;
CREATE UNIQUE INDEX ON scale_programs (nth);

-- Five affiliates in every program; {busy} in all; every agent in the busiest.
INSERT INTO partnerships (id, program_id, affiliate_id, advertiser_id, status, created_at, updated_at, approved_at)
SELECT gen_random_uuid(), program.id, agent.id, program.advertiser_id,
       (ARRAY['approved', 'pending', 'approved', 'suspended', 'approved'])[k], now() - (program.nth * 5 + k) * interval '1 minute', now(), now()
  FROM scale_programs AS program
 CROSS JOIN generate_series(1, 5) AS k
  JOIN scale_agents AS agent ON agent.nth = (program.nth * 5 + k) % {agents} + 1
 WHERE agent.id <> program.advertiser_id;
INSERT INTO partnerships (id, program_id, affiliate_id, advertiser_id, status, created_at, updated_at, approved_at)
SELECT gen_random_uuid(), id, '{busy}', advertiser_id, 'approved', now() - nth * interval '1 minute', now(), now()
  FROM scale_programs;
INSERT INTO partnerships (id, program_id, affiliate_id, advertiser_id, status, created_at, updated_at, approved_at)
SELECT gen_random_uuid(), '{program}', id, '{big}', CASE WHEN nth % 9 = 0 THEN 'pending' ELSE 'approved' END,
       now() - nth * interval '1 minute', now(), now()
  FROM scale_agents;
INSERT INTO partnerships (id, program_id, affiliate_id, advertiser_id, status, created_at, updated_at, approved_at)
VALUES ('{partnership}', '{program}', '{busy}', '{big}', 'approved', now(), now(), now());

CREATE TEMP TABLE scale_partnerships AS
SELECT row_number() OVER (ORDER BY id) AS nth, id, program_id, affiliate_id, advertiser_id FROM partnerships
 WHERE id <> '{partnership}'::UUID;
CREATE UNIQUE INDEX ON scale_partnerships (nth);

-- A link in each, ten thousand in the busiest.
INSERT INTO links (id, key, token, partnership_id, program_id, affiliate_id, advertiser_id, destination_url, sub_id, created_at, updated_at, host)
SELECT gen_random_uuid(), nth, 'scale' || lpad(nth::TEXT, 11, '0'), id, program_id, affiliate_id, advertiser_id,
       'https://shop.example/', 'sub-' || nth % 100, now() - nth * interval '1 second', now(), 'shop.example'
  FROM scale_partnerships;
INSERT INTO links (id, key, token, partnership_id, program_id, affiliate_id, advertiser_id, destination_url, sub_id, created_at, updated_at, host)
SELECT gen_random_uuid(), 10000000 + n, 'busy' || lpad(n::TEXT, 12, '0'), '{partnership}', '{program}', '{busy}', '{big}',
       'https://shop.example/', 'sub-' || n % 100, now() - n * interval '1 second', now(), 'shop.example'
  FROM generate_series(1, 10000) AS n;

CREATE TEMP TABLE scale_links AS
SELECT row_number() OVER (ORDER BY purpose, key) AS nth, id, partnership_id, program_id, affiliate_id, advertiser_id
  FROM links WHERE token LIKE 'scale%' OR token LIKE 'busy%';
CREATE UNIQUE INDEX ON scale_links (nth);

-- Every fourth through a link of the busiest partnership, the others spread over all links.
CREATE TEMP TABLE scale_conversions AS
SELECT n, gen_random_uuid() AS id, gen_random_uuid() AS commission_id, link.id AS link_id, link.partnership_id, link.program_id,
       link.affiliate_id, link.advertiser_id, CASE WHEN n % 5 = 0 THEN 'lead' ELSE 'sale' END AS event_type,
       (ARRAY['pending', 'approved', 'approved', 'rejected', 'approved', 'pending', 'approved'])[n % 7 + 1] AS status,
       now() - n * interval '3 seconds' AS created_at
  FROM generate_series(1, {conversions}) AS n
  JOIN scale_links AS link
    ON link.nth = CASE WHEN n % 4 = 0 THEN (SELECT max(nth) FROM scale_links) - n % 10000 ELSE n % (SELECT max(nth) FROM scale_links) + 1 END;
INSERT INTO conversions (id, advertiser_id, program_id, partnership_id, affiliate_id, link_id, event_type, revenue_micros, currency,
                         external_id, status, auto_approve_at, created_at, updated_at)
SELECT id, advertiser_id, program_id, partnership_id, affiliate_id, link_id, event_type,
       CASE WHEN event_type = 'sale' THEN 99000000 END, 'usd', 'order-' || n, status, created_at + interval '45 days', created_at, created_at
  FROM scale_conversions;
INSERT INTO commissions (id, advertiser_id, conversion_id, program_id, partnership_id, affiliate_id, amount_micros, currency, rate_bp,
                         status, payable_at, created_at, updated_at)
SELECT commission_id, advertiser_id, id, program_id, partnership_id, affiliate_id, CASE WHEN event_type = 'sale' THEN 19800000 ELSE 0 END,
       'usd', 2000, status, created_at, created_at, created_at
  FROM scale_conversions;

INSERT INTO payouts (id, advertiser_id, program_id, affiliate_id, amount_micros, currency, method, status, created_at, updated_at)
SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN '{big}'::UUID ELSE partnership.advertiser_id END, partnership.program_id,
       CASE WHEN n % 5 = 0 THEN '{busy}'::UUID ELSE partnership.affiliate_id END, 10000000, 'usd', 'external', 'pending',
       now() - n * interval '1 minute', now()
  FROM generate_series(1, {programs} * 10) AS n
  JOIN scale_partnerships AS partnership ON partnership.nth = n % (SELECT max(nth) FROM scale_partnerships) + 1
 WHERE partnership.affiliate_id <> '{big}'::UUID AND partnership.advertiser_id <> '{busy}'::UUID;

INSERT INTO webhook_deliveries (id, agent_id, endpoint_id, event_id, event_type, state, due_at, expires_at, created_at, finished_at)
SELECT gen_random_uuid(), '{big}', '{webhook}', gen_random_uuid(), 'conversion.created', CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'delivered' END,
       now(), now(), now() - n * interval '1 second', now()
  FROM generate_series(1, {programs} * 10) AS n;

INSERT INTO attribution_events (id, advertiser_id, program_id, partnership_id, affiliate_id, link_key, click_id, kind, agent_runtime, created_at)
SELECT gen_random_uuid(), '{big}', '{program}', '{partnership}', '{busy}', n, 'seeded-' || n, 'recommendation',
       (ARRAY['langchain', 'claude', 'autogen'])[n % 3 + 1], now() - n * interval '1 second'
  FROM generate_series(1, {programs} * 10) AS n;

INSERT INTO api_keys (id, agent_id, kind, digest, last_four, created_at, revoked_at)
SELECT gen_random_uuid(), id, 'merchant', sha256(id::TEXT::BYTEA), '0000', now(), now() FROM scale_agents;
