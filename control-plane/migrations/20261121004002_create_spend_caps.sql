-- Usage: what an account lets itself be billed for in a month.
-- New table; the version before this one does not know it.

CREATE TABLE spend_caps (
    -- The account's number, as in usage_months.
    advertiser INTEGER     NOT NULL,
    cap_micros BIGINT      NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT spend_caps_pkey PRIMARY KEY (advertiser),
    CONSTRAINT spend_caps_cap_micros_check CHECK (cap_micros BETWEEN 0 AND 1e12::BIGINT)
);
