-- Retention of clicks: what was dropped with its day stays in the sums that `reconcile` compares.
-- Safe while the previous version runs: it drops no partition.

CREATE TABLE click_days_dropped (
    day        DATE        NOT NULL,
    clicks     BIGINT      NOT NULL,
    dropped_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT click_days_dropped_pkey PRIMARY KEY (day)
);

-- Rows dropped of the spools with this tag (the first four bytes of a spool's id).
CREATE TABLE dropped_clicks (
    spool_tag INTEGER NOT NULL,
    clicks    BIGINT  NOT NULL,
    CONSTRAINT dropped_clicks_pkey PRIMARY KEY (spool_tag)
);

-- Drops a day of clicks, whose rows nobody adds to any more. False when there is no such day.
CREATE FUNCTION drop_click_partition(day DATE, now TIMESTAMPTZ) RETURNS BOOLEAN
    LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    part TEXT := format('clicks_%s', to_char(day, 'YYYYMMDD'));
    rows BIGINT;
BEGIN
    IF to_regclass(part) IS NULL THEN
        RETURN FALSE;
    END IF;
    EXECUTE format(
        'WITH tags AS (
             INSERT INTO dropped_clicks AS dropped (spool_tag, clicks)
             SELECT spool_tag, count(*) FROM %I GROUP BY spool_tag ORDER BY spool_tag
             ON CONFLICT (spool_tag) DO UPDATE SET clicks = dropped.clicks + excluded.clicks)
         SELECT count(*) FROM %1$I', part) INTO rows;
    INSERT INTO click_days_dropped (day, clicks, dropped_at) VALUES (day, rows, now);
    EXECUTE format('DROP TABLE %I', part);
    RETURN TRUE;
END $$;
