-- Usage: months are closed. A closed one never changes again; clicks of it that come later count in the
-- month that is current then, and are counted as late.
-- Safe while the previous version runs: it closes nothing, and until something is closed nothing changes.

-- The last month that is closed; one row.
CREATE TABLE usage_closed (
    one       BOOLEAN     NOT NULL DEFAULT TRUE,
    -- First day of the month; NULL when none is closed yet.
    through   DATE,
    closed_at TIMESTAMPTZ,
    CONSTRAINT usage_closed_pkey PRIMARY KEY (one),
    CONSTRAINT usage_closed_one_check CHECK (one),
    CONSTRAINT usage_closed_through_check CHECK (extract(DAY FROM through) = 1)
);
INSERT INTO usage_closed DEFAULT VALUES;

-- Of `used`: clicks that happened in a month that was closed when they came.
ALTER TABLE usage_months
    ADD COLUMN late BIGINT NOT NULL DEFAULT 0,
    ADD CONSTRAINT usage_months_late_check CHECK (late BETWEEN 0 AND used);

-- What was invoiced stays what it was, whoever asks.
CREATE FUNCTION refuse_closed_months() RETURNS TRIGGER
    LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM usage_closed WHERE through >= NEW.month) THEN
        RAISE EXCEPTION 'the usage of % is closed', NEW.month
            USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_months_closed_check', TABLE = 'usage_months';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_months_closed BEFORE INSERT OR UPDATE ON usage_months
    FOR EACH ROW EXECUTE FUNCTION refuse_closed_months();
