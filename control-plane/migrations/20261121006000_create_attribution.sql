-- Attribution events (what an agent recommended) and verifications (what a merchant confirmed), for /v1.
-- New tables only: an older version does not look at them.

CREATE TABLE attribution_events (
    id             UUID        NOT NULL,
    advertiser_id  UUID        NOT NULL,
    program_id     UUID        NOT NULL,
    partnership_id UUID        NOT NULL,
    affiliate_id   UUID        NOT NULL,
    link_key       BIGINT      NOT NULL,
    click_id       TEXT        NOT NULL,
    kind           TEXT        NOT NULL,
    product_id     TEXT,
    -- Flat object of short texts, numbers and booleans, as the agent sent it.
    metadata       JSONB       NOT NULL DEFAULT '{}',
    -- metadata.agent_runtime, what merchants group their reports by.
    agent_runtime  TEXT,
    created_at     TIMESTAMPTZ NOT NULL,
    CONSTRAINT attribution_events_pkey PRIMARY KEY (id, advertiser_id),
    CONSTRAINT attribution_events_kind_check CHECK (kind IN ('recommendation', 'click', 'impression'))
);
CREATE INDEX attribution_events_advertiser_id_idx ON attribution_events (advertiser_id, created_at DESC, id DESC);

CREATE TABLE verifications (
    id            UUID        NOT NULL,
    advertiser_id UUID        NOT NULL,
    affiliate_id  UUID        NOT NULL,
    -- `slat:` and the token's nonce, or `atxp:` and the header's reference: spent once per merchant.
    nonce         TEXT        NOT NULL,
    event_id      UUID,
    order_id      TEXT        NOT NULL,
    conversion_id UUID,
    -- The reply, for whoever asks again.
    answer        JSONB,
    created_at    TIMESTAMPTZ NOT NULL,
    CONSTRAINT verifications_pkey PRIMARY KEY (id, advertiser_id),
    CONSTRAINT verifications_advertiser_id_nonce_key UNIQUE (advertiser_id, nonce)
);
CREATE INDEX verifications_conversion_id_idx ON verifications (conversion_id);

-- A partnership's one link for what is tracked through /v1; listed and counted like any other.
ALTER TABLE links ADD COLUMN purpose TEXT NOT NULL DEFAULT 'tracking';
ALTER TABLE links ADD CONSTRAINT links_purpose_check CHECK (purpose IN ('tracking', 'attribution'));
CREATE UNIQUE INDEX links_partnership_id_attribution_key
    ON links (partnership_id) WHERE purpose = 'attribution' AND deleted_at IS NULL;
