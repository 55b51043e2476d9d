-- The click pipeline: spools and their watermarks, clicks by day, deltas waiting for the fold, rollups, usage.
-- First release: nothing runs before it.

CREATE TABLE spools (
    spool          UUID        NOT NULL,
    edge           BIGINT      NOT NULL,
    shard          SMALLINT    NOT NULL,
    -- Every sequence below is committed here: stored, parked or declared lost.
    watermark      BIGINT      NOT NULL,
    stored         BIGINT      NOT NULL DEFAULT 0,
    parked         BIGINT      NOT NULL DEFAULT 0,
    declared_loss  BIGINT      NOT NULL DEFAULT 0,
    -- The edge's wall clock in the newest frame; a month closes when every live spool has passed it.
    clock_at       TIMESTAMPTZ NOT NULL,
    finished       BOOLEAN     NOT NULL DEFAULT FALSE,
    -- Identity of the newest applied frame, to tell a repeat from another frame under the same name.
    last_first_seq BIGINT,
    last_checksum  BIGINT,
    updated_at     TIMESTAMPTZ NOT NULL,
    CONSTRAINT spools_pkey PRIMARY KEY (spool),
    CONSTRAINT spools_counts_check CHECK (watermark >= 0 AND stored >= 0 AND parked >= 0 AND declared_loss >= 0)
) WITH (fillfactor = 20);

-- Eight-byte columns first, then four, then two: no padding. No btree: an index costs more than the row.
CREATE TABLE clicks (
    at         TIMESTAMPTZ NOT NULL,
    seq        BIGINT      NOT NULL,
    link_key   BIGINT      NOT NULL,
    visitor    BIGINT      NOT NULL,
    -- First four bytes of the spool id; with seq and at it names the click (shared::ClickId).
    spool_tag  INTEGER     NOT NULL,
    advertiser INTEGER     NOT NULL,
    class      SMALLINT    NOT NULL,
    -- Bit 0: metered.
    flags      SMALLINT    NOT NULL,
    -- Two ASCII letters, high byte first; 0 when unknown.
    country    SMALLINT    NOT NULL,
    -- Sub ids and referrer host (shared::click::note), NULL when there are none.
    notes      BYTEA
) PARTITION BY RANGE (at);
CREATE INDEX clicks_at_idx ON clicks USING brin (at) WITH (pages_per_range = 16);
-- Where a mad clock's clicks go; empty in a healthy deployment.
CREATE TABLE clicks_default PARTITION OF clicks DEFAULT;

-- Makes the day partitions from one day to another, both included; days are UTC.
CREATE FUNCTION ensure_click_partitions(first_day DATE, last_day DATE) RETURNS INTEGER
    LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    day DATE := first_day;
    made INTEGER := 0;
BEGIN
    WHILE day <= last_day LOOP
        IF to_regclass(format('clicks_%s', to_char(day, 'YYYYMMDD'))) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE clicks_%s PARTITION OF clicks FOR VALUES FROM (%L) TO (%L)',
                to_char(day, 'YYYYMMDD'), day::TIMESTAMPTZ, (day + 1)::TIMESTAMPTZ);
            made := made + 1;
        END IF;
        day := day + 1;
    END LOOP;
    RETURN made;
END $$;

-- The metering counters of drained batches, appended in the drain's transaction, taken by the fold.
CREATE TABLE click_deltas (
    id          BIGINT      NOT NULL GENERATED ALWAYS AS IDENTITY,
    advertisers INTEGER[]   NOT NULL,
    link_keys   BIGINT[]    NOT NULL,
    -- Hours since the Unix epoch.
    hours       INTEGER[]   NOT NULL,
    classes     SMALLINT[]  NOT NULL,
    billable    BOOLEAN[]   NOT NULL,
    counts      INTEGER[]   NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    CONSTRAINT click_deltas_pkey PRIMARY KEY (id)
);

CREATE TABLE link_hours (
    advertiser INTEGER     NOT NULL,
    link_key   BIGINT      NOT NULL,
    hour       TIMESTAMPTZ NOT NULL,
    class      SMALLINT    NOT NULL,
    clicks     BIGINT      NOT NULL,
    billable   BIGINT      NOT NULL,
    CONSTRAINT link_hours_pkey PRIMARY KEY (advertiser, link_key, hour, class),
    CONSTRAINT link_hours_counts_check CHECK (clicks >= billable AND billable >= 0)
) WITH (fillfactor = 80);
CREATE INDEX link_hours_link_key_idx ON link_hours (link_key);

-- What an account used of a metric in a UTC month. Allowance first, then wallet, the rest over the limit:
-- used = included + billed + over_limit.
CREATE TABLE usage_months (
    advertiser    INTEGER NOT NULL,
    month         DATE    NOT NULL,
    metric        TEXT    NOT NULL,
    used          BIGINT  NOT NULL DEFAULT 0,
    included      BIGINT  NOT NULL DEFAULT 0,
    billed        BIGINT  NOT NULL DEFAULT 0,
    over_limit    BIGINT  NOT NULL DEFAULT 0,
    amount_micros BIGINT  NOT NULL DEFAULT 0,
    CONSTRAINT usage_months_pkey PRIMARY KEY (advertiser, month, metric),
    CONSTRAINT usage_months_metric_check CHECK (metric IN ('clicks', 'conversions', 'matching_requests')),
    CONSTRAINT usage_months_sum_check CHECK (used = included + billed + over_limit),
    CONSTRAINT usage_months_counts_check CHECK (
        included >= 0 AND billed >= 0 AND over_limit >= 0 AND amount_micros >= 0)
) WITH (fillfactor = 50);

-- Frames that could not be stored, with their bytes. The watermark has moved past them.
CREATE TABLE parked_frames (
    id         BIGINT      NOT NULL GENERATED ALWAYS AS IDENTITY,
    shard      SMALLINT    NOT NULL,
    stream_id  TEXT        NOT NULL,
    spool      UUID,
    first_seq  BIGINT,
    clicks     BIGINT      NOT NULL DEFAULT 0,
    reason     TEXT        NOT NULL,
    bytes      BYTEA       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT parked_frames_pkey PRIMARY KEY (id),
    CONSTRAINT parked_frames_shard_stream_id_key UNIQUE (shard, stream_id)
);
