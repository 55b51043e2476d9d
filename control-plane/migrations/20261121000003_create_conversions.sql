-- Conversions and the commissions they earn; stored answers for Idempotency-Key.
-- First release: nothing runs before it.

CREATE TABLE conversions (
    id              UUID        NOT NULL,
    advertiser_id   UUID        NOT NULL,
    program_id      UUID        NOT NULL,
    partnership_id  UUID        NOT NULL,
    affiliate_id    UUID        NOT NULL,
    link_id         UUID        NOT NULL,
    event_type      TEXT        NOT NULL,
    revenue_micros  BIGINT,
    currency        TEXT        NOT NULL,
    external_id     TEXT,
    click_id        TEXT,
    clicked_at      TIMESTAMPTZ,
    status          TEXT        NOT NULL,
    auto_approve_at TIMESTAMPTZ NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL,
    decided_at      TIMESTAMPTZ,
    -- Large tables have the advertiser in every key, so that they can be distributed by it.
    CONSTRAINT conversions_pkey PRIMARY KEY (id, advertiser_id),
    CONSTRAINT conversions_event_type_check CHECK (event_type IN ('lead', 'sale')),
    CONSTRAINT conversions_revenue_micros_check CHECK (revenue_micros > 0),
    CONSTRAINT conversions_sale_check CHECK (event_type <> 'sale' OR revenue_micros IS NOT NULL),
    CONSTRAINT conversions_currency_check CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT conversions_status_check CHECK (status IN ('pending', 'approved', 'rejected', 'paid', 'reversed'))
);
-- One conversion per order, program and kind of event.
CREATE UNIQUE INDEX conversions_external_id_key
    ON conversions (advertiser_id, program_id, event_type, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX conversions_program_id_idx ON conversions (program_id, created_at DESC, id DESC);
CREATE INDEX conversions_affiliate_id_idx ON conversions (affiliate_id, created_at DESC, id DESC);
CREATE INDEX conversions_link_id_idx ON conversions (link_id);
CREATE INDEX conversions_auto_approve_at_idx ON conversions (auto_approve_at) WHERE status = 'pending';

CREATE TABLE commissions (
    id             UUID        NOT NULL,
    advertiser_id  UUID        NOT NULL,
    conversion_id  UUID        NOT NULL,
    program_id     UUID        NOT NULL,
    partnership_id UUID        NOT NULL,
    affiliate_id   UUID        NOT NULL,
    -- Negative for what is taken back after it was paid.
    amount_micros  BIGINT      NOT NULL,
    currency       TEXT        NOT NULL,
    -- The terms it was computed with, as they were at the conversion.
    rate_bp        INTEGER,
    fixed_micros   BIGINT,
    status         TEXT        NOT NULL,
    -- Not paid out before: the program's hold.
    payable_at     TIMESTAMPTZ NOT NULL,
    payout_id      UUID,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL,
    CONSTRAINT commissions_pkey PRIMARY KEY (id, advertiser_id),
    CONSTRAINT commissions_currency_check CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT commissions_status_check CHECK (status IN ('pending', 'approved', 'rejected', 'paid', 'reversed'))
);
CREATE INDEX commissions_conversion_id_idx ON commissions (conversion_id);
CREATE INDEX commissions_affiliate_id_idx ON commissions (affiliate_id, created_at DESC, id DESC);
CREATE INDEX commissions_program_id_idx ON commissions (program_id, status);

CREATE TABLE idempotency_keys (
    -- The agent, or what stands for a caller without one.
    scope       TEXT        NOT NULL,
    key         TEXT        NOT NULL,
    -- SHA-256 of method, path and body.
    fingerprint BYTEA       NOT NULL,
    status      SMALLINT,
    body        BYTEA,
    created_at  TIMESTAMPTZ NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
