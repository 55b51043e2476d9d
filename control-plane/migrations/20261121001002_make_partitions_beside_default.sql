-- Click partitions: two processes that make them at once wait for each other, and rows that went to the
-- default partition while their day was missing move to it.
-- Safe while the previous version runs: the function keeps its name, its arguments and its answer.

CREATE OR REPLACE FUNCTION ensure_click_partitions(first_day DATE, last_day DATE) RETURNS INTEGER
    LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    day DATE;
    part TEXT;
    made INTEGER := 0;
BEGIN
    FOR day IN SELECT generate_series(first_day, last_day, INTERVAL '1 day')::DATE LOOP
        part := format('clicks_%s', to_char(day, 'YYYYMMDD'));
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        IF made = 0 THEN
            PERFORM pg_advisory_xact_lock(hashtextextended('click partitions', 0));
            CONTINUE WHEN to_regclass(part) IS NOT NULL;
        END IF;
        -- Nobody adds to the day's rows between moving them and taking the partition in.
        LOCK TABLE clicks_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE %I (LIKE clicks INCLUDING DEFAULTS)', part);
        EXECUTE format(
            'WITH moved AS (DELETE FROM clicks_default WHERE at >= %1$L AND at < %2$L RETURNING *)
             INSERT INTO %3$I SELECT * FROM moved', day::TIMESTAMPTZ, (day + 1)::TIMESTAMPTZ, part);
        EXECUTE format('ALTER TABLE clicks ATTACH PARTITION %3$I FOR VALUES FROM (%1$L) TO (%2$L)',
            day::TIMESTAMPTZ, (day + 1)::TIMESTAMPTZ, part);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;
