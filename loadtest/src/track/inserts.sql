-- One sale, as POST /api/conversions/track writes it: the same rows, so the same indexes, checks and triggers.
-- Each client has an advertiser of its own, as in the other half. Ids grow with time, as the service's do.
\set n :n + 1
BEGIN;
INSERT INTO conversions (id, advertiser_id, program_id, partnership_id, affiliate_id, link_id, event_type, revenue_micros,
                         currency, external_id, status, auto_approve_at, created_at, updated_at)
SELECT (lpad(to_hex(:round::BIGINT), 8, '0') || lpad(to_hex(:n::BIGINT), 8, '0') || '8000' || lpad(to_hex(:client_id::BIGINT), 12, '0'))::UUID,
       advertiser_id, program_id, partnership_id, affiliate_id, link_id, 'sale', 99000000, 'usd',
       'pgbench-' || :round::BIGINT || '-' || :client_id::BIGINT || '-' || :n::BIGINT, 'pending', now() + interval '45 days', now(), now()
  FROM bench_casts WHERE client = :client_id::BIGINT
ON CONFLICT (advertiser_id, program_id, event_type, external_id) WHERE external_id IS NOT NULL DO NOTHING;
INSERT INTO commissions (id, advertiser_id, conversion_id, program_id, partnership_id, affiliate_id, amount_micros, currency,
                         rate_bp, status, reversal, payable_at, created_at, updated_at)
SELECT (lpad(to_hex(:round::BIGINT), 8, '0') || lpad(to_hex(:n::BIGINT), 8, '0') || '8001' || lpad(to_hex(:client_id::BIGINT), 12, '0'))::UUID,
       advertiser_id,
       (lpad(to_hex(:round::BIGINT), 8, '0') || lpad(to_hex(:n::BIGINT), 8, '0') || '8000' || lpad(to_hex(:client_id::BIGINT), 12, '0'))::UUID,
       program_id, partnership_id, affiliate_id, 19800000, 'usd', 2000, 'pending', FALSE, now() + interval '14 days', now(), now()
  FROM bench_casts WHERE client = :client_id::BIGINT;
INSERT INTO event_objects AS known (object_id, sequence)
VALUES ((lpad(to_hex(:round::BIGINT), 8, '0') || lpad(to_hex(:n::BIGINT), 8, '0') || '8000' || lpad(to_hex(:client_id::BIGINT), 12, '0'))::UUID, 1)
ON CONFLICT (object_id) DO UPDATE SET sequence = known.sequence + 1;
WITH new AS (
    SELECT (lpad(to_hex(:round::BIGINT), 8, '0') || lpad(to_hex(:n::BIGINT), 8, '0') || '8002' || lpad(to_hex(:client_id::BIGINT), 12, '0'))::UUID AS id,
           (lpad(to_hex(:round::BIGINT), 8, '0') || lpad(to_hex(:n::BIGINT), 8, '0') || '8000' || lpad(to_hex(:client_id::BIGINT), 12, '0'))::UUID AS object_id,
           ARRAY[advertiser_id, affiliate_id] AS agent_ids, payload
      FROM bench_casts WHERE client = :client_id::BIGINT),
stored AS (
    INSERT INTO events (id, type, object_id, sequence, agent_ids, payload, created_at)
    SELECT id, 'conversion.created', object_id, 1, agent_ids, payload, now() FROM new)
INSERT INTO event_outbox (event_id) SELECT id FROM new;
INSERT INTO usage_months AS months (advertiser, month, metric, used, included)
SELECT number, date_trunc('month', now() AT TIME ZONE 'UTC')::DATE, 'conversions', 1, 1
  FROM bench_casts WHERE client = :client_id::BIGINT
ON CONFLICT (advertiser, month, metric) DO UPDATE
   SET used = months.used + 1, included = months.included + 1;
COMMIT;
