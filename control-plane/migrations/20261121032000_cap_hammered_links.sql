-- Usage: clicks of a link that suddenly bills far above its mean are kept and not billed.
-- Safe while the previous version runs: it caps nothing, and the new column is 0 then.

ALTER TABLE usage_months
    ADD COLUMN capped BIGINT NOT NULL DEFAULT 0,
    DROP CONSTRAINT usage_months_sum_check,
    ADD CONSTRAINT usage_months_sum_check CHECK (used = included + billed + over_limit + capped),
    ADD CONSTRAINT usage_months_capped_check CHECK (capped >= 0);

-- Paid clicks of a link by hour: what was let through to the wallet, and what was capped. Ordinary hours are
-- forgotten after some days.
CREATE TABLE link_charges (
    advertiser INTEGER     NOT NULL,
    link_key   BIGINT      NOT NULL,
    hour       TIMESTAMPTZ NOT NULL,
    -- The month they count in, which is a later one for late clicks.
    month      DATE        NOT NULL,
    passed     BIGINT      NOT NULL,
    capped     BIGINT      NOT NULL,
    CONSTRAINT link_charges_pkey PRIMARY KEY (advertiser, link_key, hour, month),
    CONSTRAINT link_charges_counts_check CHECK (passed >= 0 AND capped >= 0)
) WITH (fillfactor = 50);
CREATE INDEX link_charges_hour_idx ON link_charges (hour) WHERE capped = 0;
CREATE INDEX link_charges_link_key_idx ON link_charges (link_key) WHERE capped > 0;
