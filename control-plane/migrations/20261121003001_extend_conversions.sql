-- Conversions: refunds, the reason of a decision, numbers of server-side clicks. Columns come with
-- defaults and nothing is dropped, so the version before this one keeps working.

ALTER TABLE conversions
    ADD COLUMN refunded_micros BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN reason          TEXT,
    ADD CONSTRAINT conversions_refunded_micros_check
        CHECK (refunded_micros >= 0 AND refunded_micros <= COALESCE(revenue_micros, 0));

CREATE TABLE refunds (
    id                 UUID        NOT NULL,
    advertiser_id      UUID        NOT NULL,
    conversion_id      UUID        NOT NULL,
    program_id         UUID        NOT NULL,
    amount_micros      BIGINT      NOT NULL,
    currency           TEXT        NOT NULL,
    -- How much commission it took back.
    commission_micros  BIGINT      NOT NULL,
    -- The negative commission, when the original was in a payout already.
    reversal_id        UUID,
    reason             TEXT,
    external_refund_id TEXT,
    created_at         TIMESTAMPTZ NOT NULL,
    CONSTRAINT refunds_pkey PRIMARY KEY (id, advertiser_id),
    CONSTRAINT refunds_amount_micros_check CHECK (amount_micros >= 0),
    CONSTRAINT refunds_commission_micros_check CHECK (commission_micros >= 0)
);
CREATE INDEX refunds_conversion_id_idx ON refunds (conversion_id, created_at, id);
-- A refund of the advertiser's books is one refund here, however often it is reported.
CREATE UNIQUE INDEX refunds_external_refund_id_key
    ON refunds (advertiser_id, program_id, external_refund_id) WHERE external_refund_id IS NOT NULL;

-- Server-side clicks have no spool. They are numbered here, under spool tag 0.
CREATE SEQUENCE server_click_seq AS BIGINT;

-- What takes a commission back after it was paid is a row of its own; a conversion has one that is not.
ALTER TABLE commissions ADD COLUMN reversal BOOLEAN NOT NULL DEFAULT FALSE;
CREATE UNIQUE INDEX commissions_conversion_id_key
    ON commissions (conversion_id, advertiser_id) WHERE NOT reversal;

-- Lists of one affiliate in one program, and the sums of earnings.
CREATE INDEX conversions_program_id_affiliate_id_idx
    ON conversions (program_id, affiliate_id, created_at DESC, id DESC);
CREATE INDEX commissions_affiliate_id_status_idx
    ON commissions (affiliate_id, program_id, status) INCLUDE (amount_micros);
