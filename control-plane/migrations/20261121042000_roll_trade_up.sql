-- Sums of conversions and commissions: by agent and hour, and by affiliate and program.
--
-- Stats, earnings and what a program owes summed the rows themselves: with a million conversions 0.1 to 0.5 s.
-- Every statement that writes rows appends, in its transaction and by trigger, what it changes the sums by; a
-- job folds that in. Nobody waits for a sum's row, and a reader adds what is not folded yet, so that sums are
-- always exact. The version before this one keeps working: the triggers run for it too.

-- By how much a statement changed the sums. Read whole, so it is kept small: vacuumed often, folded every second.
CREATE TABLE trade_deltas (
    id                BIGINT      NOT NULL GENERATED ALWAYS AS IDENTITY,
    advertiser_id     UUID        NOT NULL,
    program_id        UUID        NOT NULL,
    affiliate_id      UUID        NOT NULL,
    -- The hour in which the conversion, or the commission, came to be.
    hour              TIMESTAMPTZ NOT NULL,
    -- Of conversions.
    leads             BIGINT      NOT NULL DEFAULT 0,
    sales             BIGINT      NOT NULL DEFAULT 0,
    pending           BIGINT      NOT NULL DEFAULT 0,
    approved          BIGINT      NOT NULL DEFAULT 0,
    rejected          BIGINT      NOT NULL DEFAULT 0,
    revenue_micros    BIGINT      NOT NULL DEFAULT 0,
    -- Of commissions: how many that are not reversals, and how much in each state.
    commissions       BIGINT      NOT NULL DEFAULT 0,
    pending_micros    BIGINT      NOT NULL DEFAULT 0,
    -- Approved and in no payout; approved and in one.
    owed_micros       BIGINT      NOT NULL DEFAULT 0,
    processing_micros BIGINT      NOT NULL DEFAULT 0,
    paid_micros       BIGINT      NOT NULL DEFAULT 0,
    rejected_micros   BIGINT      NOT NULL DEFAULT 0,
    reversed_micros   BIGINT      NOT NULL DEFAULT 0,
    CONSTRAINT trade_deltas_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000);

CREATE TABLE trade_hours (
    agent_id          UUID        NOT NULL,
    -- Whether the agent reported it, or its link brought it.
    advertiser        BOOLEAN     NOT NULL,
    hour              TIMESTAMPTZ NOT NULL,
    leads             BIGINT      NOT NULL,
    sales             BIGINT      NOT NULL,
    pending           BIGINT      NOT NULL,
    approved          BIGINT      NOT NULL,
    rejected          BIGINT      NOT NULL,
    revenue_micros    BIGINT      NOT NULL,
    pending_micros    BIGINT      NOT NULL,
    -- In no payout or on its way in one.
    approved_micros   BIGINT      NOT NULL,
    paid_micros       BIGINT      NOT NULL,
    CONSTRAINT trade_hours_pkey PRIMARY KEY (agent_id, advertiser, hour)
) WITH (fillfactor = 80);

CREATE TABLE trade_sums (
    affiliate_id      UUID        NOT NULL,
    program_id        UUID        NOT NULL,
    commissions       BIGINT      NOT NULL,
    pending_micros    BIGINT      NOT NULL,
    owed_micros       BIGINT      NOT NULL,
    processing_micros BIGINT      NOT NULL,
    paid_micros       BIGINT      NOT NULL,
    rejected_micros   BIGINT      NOT NULL,
    reversed_micros   BIGINT      NOT NULL,
    CONSTRAINT trade_sums_pkey PRIMARY KEY (affiliate_id, program_id)
) WITH (fillfactor = 80);
CREATE INDEX trade_sums_program_id_idx ON trade_sums (program_id, affiliate_id);

-- Adds waiting deltas to the sums, the oldest first; gives how many. One at a time.
CREATE FUNCTION fold_trade(most BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    folded BIGINT;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fold trade', 0));
    WITH taken AS MATERIALIZED (
        DELETE FROM trade_deltas
         WHERE id IN (SELECT id FROM trade_deltas ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED)
        RETURNING *),
    hours AS (
        INSERT INTO trade_hours AS kept (agent_id, advertiser, hour, leads, sales, pending, approved, rejected,
                                         revenue_micros, pending_micros, approved_micros, paid_micros)
        SELECT agent_id, advertiser, hour, sum(leads), sum(sales), sum(pending), sum(approved), sum(rejected),
               sum(revenue_micros), sum(pending_micros), sum(owed_micros + processing_micros), sum(paid_micros)
          FROM (SELECT advertiser_id AS agent_id, TRUE AS advertiser, taken.* FROM taken
                UNION ALL
                SELECT affiliate_id, FALSE, taken.* FROM taken) AS sides
         GROUP BY agent_id, advertiser, hour
         ORDER BY agent_id, advertiser, hour
        ON CONFLICT (agent_id, advertiser, hour) DO UPDATE
           SET leads = kept.leads + excluded.leads, sales = kept.sales + excluded.sales,
               pending = kept.pending + excluded.pending, approved = kept.approved + excluded.approved,
               rejected = kept.rejected + excluded.rejected,
               revenue_micros = kept.revenue_micros + excluded.revenue_micros,
               pending_micros = kept.pending_micros + excluded.pending_micros,
               approved_micros = kept.approved_micros + excluded.approved_micros,
               paid_micros = kept.paid_micros + excluded.paid_micros),
    sums AS (
        INSERT INTO trade_sums AS kept (affiliate_id, program_id, commissions, pending_micros, owed_micros,
                                        processing_micros, paid_micros, rejected_micros, reversed_micros)
        SELECT affiliate_id, program_id, sum(commissions), sum(pending_micros), sum(owed_micros),
               sum(processing_micros), sum(paid_micros), sum(rejected_micros), sum(reversed_micros)
          FROM taken
         GROUP BY affiliate_id, program_id
         ORDER BY affiliate_id, program_id
        ON CONFLICT (affiliate_id, program_id) DO UPDATE
           SET commissions = kept.commissions + excluded.commissions,
               pending_micros = kept.pending_micros + excluded.pending_micros,
               owed_micros = kept.owed_micros + excluded.owed_micros,
               processing_micros = kept.processing_micros + excluded.processing_micros,
               paid_micros = kept.paid_micros + excluded.paid_micros,
               rejected_micros = kept.rejected_micros + excluded.rejected_micros,
               reversed_micros = kept.reversed_micros + excluded.reversed_micros)
    SELECT count(*) INTO folded FROM taken;
    RETURN folded;
END $$;

-- What rows change the sums by is said once for each of the two tables: %s is which rows, with a `sign` of -1 for
-- what they were before. From it come the triggers, and the function that makes the sums anew.
DO $do$
DECLARE
    of_conversions CONSTANT TEXT := $text$
        INSERT INTO trade_deltas (advertiser_id, program_id, affiliate_id, hour, leads, sales, pending, approved,
                                  rejected, revenue_micros)
        SELECT * FROM (
            SELECT advertiser_id, program_id, affiliate_id,
                   date_bin('1 hour', created_at, TIMESTAMPTZ '2000-01-01 00:00:00Z') AS hour,
                   coalesce(sum(sign) FILTER (WHERE event_type = 'lead'), 0) AS leads,
                   coalesce(sum(sign) FILTER (WHERE event_type = 'sale'), 0) AS sales,
                   coalesce(sum(sign) FILTER (WHERE status = 'pending'), 0) AS pending,
                   coalesce(sum(sign) FILTER (WHERE status IN ('approved', 'paid')), 0) AS approved,
                   coalesce(sum(sign) FILTER (WHERE status IN ('rejected', 'reversed')), 0) AS rejected,
                   coalesce(sum(sign * revenue_micros) FILTER (WHERE currency = 'usd'), 0) AS revenue
              FROM (%s) AS rows
             GROUP BY 1, 2, 3, 4) AS changed
         WHERE (leads, sales, pending, approved, rejected, revenue) IS DISTINCT FROM (0, 0, 0, 0, 0, 0);
    $text$;
    of_commissions CONSTANT TEXT := $text$
        INSERT INTO trade_deltas (advertiser_id, program_id, affiliate_id, hour, commissions, pending_micros,
                                  owed_micros, processing_micros, paid_micros, rejected_micros, reversed_micros)
        SELECT * FROM (
            SELECT advertiser_id, program_id, affiliate_id,
                   date_bin('1 hour', created_at, TIMESTAMPTZ '2000-01-01 00:00:00Z') AS hour,
                   coalesce(sum(sign) FILTER (WHERE NOT reversal), 0) AS commissions,
                   coalesce(sum(sign * amount_micros) FILTER (WHERE status = 'pending'), 0) AS pending,
                   coalesce(sum(sign * amount_micros) FILTER (
                       WHERE status = 'approved' AND payout_id IS NULL), 0) AS owed,
                   coalesce(sum(sign * amount_micros) FILTER (
                       WHERE status = 'approved' AND payout_id IS NOT NULL), 0) AS processing,
                   coalesce(sum(sign * amount_micros) FILTER (WHERE status = 'paid'), 0) AS paid,
                   coalesce(sum(sign * amount_micros) FILTER (WHERE status = 'rejected'), 0) AS rejected,
                   coalesce(-sum(sign * amount_micros) FILTER (WHERE reversal), 0) AS reversed
              FROM (%s) AS rows
             WHERE currency = 'usd'
             GROUP BY 1, 2, 3, 4) AS changed
         WHERE (commissions, pending, owed, processing, paid, rejected, reversed) IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0);
    $text$;
    source TEXT;
    statement TEXT;
    operation TEXT;
    rows TEXT;
    tables TEXT;
BEGIN
    FOR source, statement IN VALUES ('conversions', of_conversions), ('commissions', of_commissions) LOOP
        FOR operation, rows, tables IN VALUES
            ('insert', 'SELECT 1 AS sign, * FROM new_rows', 'NEW TABLE AS new_rows'),
            ('delete', 'SELECT -1 AS sign, * FROM old_rows', 'OLD TABLE AS old_rows'),
            ('update', 'SELECT -1 AS sign, * FROM old_rows UNION ALL SELECT 1, * FROM new_rows',
                       'OLD TABLE AS old_rows NEW TABLE AS new_rows')
        LOOP
            EXECUTE format($text$
                CREATE FUNCTION append_trade_of_%1$s_%2$s() RETURNS TRIGGER LANGUAGE plpgsql AS $body$
                BEGIN
                    %3$s
                    RETURN NULL;
                END $body$;
                CREATE TRIGGER %1$s_append_trade_%2$s AFTER %2$s ON %1$s REFERENCING %4$s
                    FOR EACH STATEMENT EXECUTE FUNCTION append_trade_of_%1$s_%2$s();
                $text$, source, operation, format(statement, rows), tables);
        END LOOP;
    END LOOP;
    -- For an operator whose database was written past the triggers; `reconcile` tells.
    EXECUTE format($text$
        CREATE FUNCTION rebuild_trade() RETURNS VOID LANGUAGE plpgsql AS $body$
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('fold trade', 0));
            LOCK TABLE conversions, commissions IN SHARE MODE;
            DELETE FROM trade_deltas;
            DELETE FROM trade_hours;
            DELETE FROM trade_sums;
            %s
            %s
            PERFORM fold_trade(NULL);
        END $body$;
        $text$, format(of_conversions, 'SELECT 1 AS sign, * FROM conversions'),
                format(of_commissions, 'SELECT 1 AS sign, * FROM commissions'));
END $do$;

SELECT rebuild_trade();

-- What is held back is subtracted from what is owed: few rows, found by when their hold ends.
CREATE INDEX commissions_affiliate_id_payable_at_idx ON commissions (affiliate_id, payable_at)
    INCLUDE (program_id, amount_micros) WHERE status = 'approved' AND payout_id IS NULL;
CREATE INDEX commissions_program_id_payable_at_idx ON commissions (program_id, payable_at)
    INCLUDE (affiliate_id, amount_micros) WHERE status = 'approved' AND payout_id IS NULL;

-- Nothing sums these any more.
DROP INDEX commissions_affiliate_id_program_id_idx;
DROP INDEX commissions_program_id_affiliate_id_idx;
DROP INDEX commissions_program_id_created_at_idx;

-- A publisher's list by status, found in its order.
DROP INDEX commissions_affiliate_id_created_at_idx;
CREATE INDEX commissions_affiliate_id_created_at_idx ON commissions (affiliate_id, created_at DESC, id DESC);
CREATE INDEX commissions_affiliate_id_status_idx ON commissions (affiliate_id, status, created_at DESC, id DESC);

DROP INDEX conversions_program_id_idx;
CREATE INDEX conversions_program_id_idx
    ON conversions (program_id, created_at DESC, id DESC) INCLUDE (advertiser_id, affiliate_id, status, event_type);
DROP INDEX conversions_affiliate_id_idx;
CREATE INDEX conversions_affiliate_id_idx
    ON conversions (affiliate_id, created_at DESC, id DESC) INCLUDE (advertiser_id, program_id, status, event_type);
