-- Agents, their keys, programs, partnerships and links: the business objects behind every click.
-- First migration: nothing runs before it.

CREATE TABLE agents (
    id            UUID        NOT NULL,
    -- Short number for wire formats and large tables; an account keeps it for ever.
    number        INTEGER     NOT NULL GENERATED ALWAYS AS IDENTITY,
    name          TEXT        NOT NULL,
    handle        TEXT        NOT NULL,
    description   TEXT,
    niche         TEXT,
    audience_type TEXT,
    website_url   TEXT,
    tier          TEXT        NOT NULL DEFAULT 'free',
    created_at    TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    deleted_at    TIMESTAMPTZ,
    CONSTRAINT agents_pkey PRIMARY KEY (id),
    CONSTRAINT agents_number_key UNIQUE (number),
    CONSTRAINT agents_handle_check CHECK (handle ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    CONSTRAINT agents_tier_check CHECK (tier IN ('free', 'pro'))
);
CREATE UNIQUE INDEX agents_handle_key ON agents (handle) WHERE deleted_at IS NULL;
CREATE INDEX agents_created_at_idx ON agents (created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE api_keys (
    id           UUID        NOT NULL,
    agent_id     UUID        NOT NULL,
    kind         TEXT        NOT NULL,
    -- SHA-256 of the key; the key itself is shown once and never stored.
    digest       BYTEA       NOT NULL,
    last_four    TEXT        NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT api_keys_digest_key UNIQUE (digest),
    CONSTRAINT api_keys_digest_check CHECK (octet_length(digest) = 32),
    CONSTRAINT api_keys_kind_check CHECK (kind IN ('agent', 'publisher', 'merchant'))
);
CREATE INDEX api_keys_agent_id_idx ON api_keys (agent_id);
-- An agent has one live agent key; rotating replaces it.
CREATE UNIQUE INDEX api_keys_agent_id_live_key ON api_keys (agent_id) WHERE kind = 'agent' AND revoked_at IS NULL;

CREATE TABLE programs (
    id                     UUID        NOT NULL,
    number                 INTEGER     NOT NULL GENERATED ALWAYS AS IDENTITY,
    advertiser_id          UUID        NOT NULL,
    name                   TEXT        NOT NULL,
    description            TEXT,
    url                    TEXT,
    niche                  TEXT,
    audience_type          TEXT,
    commission_type        TEXT        NOT NULL,
    -- percentage: hundredths of a percent; fixed: micro-dollars per lead or sale.
    commission_rate_bp     INTEGER,
    commission_fixed_micros BIGINT,
    approval_mode          TEXT        NOT NULL DEFAULT 'manual',
    attribution_days       INTEGER     NOT NULL DEFAULT 30,
    hold_days              INTEGER     NOT NULL DEFAULT 0,
    auto_approve_days      INTEGER     NOT NULL DEFAULT 45,
    -- Bit set of click classes that are metered and credited (shared::ClassSet).
    pay_classes            SMALLINT    NOT NULL,
    dedup_seconds          INTEGER     NOT NULL DEFAULT 10,
    min_payout_micros      BIGINT      NOT NULL DEFAULT 0,
    click_id_param         TEXT,
    allowed_hosts          TEXT[]      NOT NULL DEFAULT '{}',
    status                 TEXT        NOT NULL DEFAULT 'active',
    created_at             TIMESTAMPTZ NOT NULL,
    updated_at             TIMESTAMPTZ NOT NULL,
    CONSTRAINT programs_pkey PRIMARY KEY (id),
    CONSTRAINT programs_number_key UNIQUE (number),
    CONSTRAINT programs_advertiser_id_fk FOREIGN KEY (advertiser_id) REFERENCES agents (id),
    CONSTRAINT programs_commission_check CHECK (
        (commission_type = 'percentage' AND commission_fixed_micros IS NULL
            AND commission_rate_bp IS NOT NULL AND commission_rate_bp BETWEEN 0 AND 10000)
        OR (commission_type = 'fixed' AND commission_rate_bp IS NULL
            AND commission_fixed_micros IS NOT NULL AND commission_fixed_micros >= 0)),
    CONSTRAINT programs_approval_mode_check CHECK (approval_mode IN ('auto', 'manual')),
    CONSTRAINT programs_days_check CHECK (
        attribution_days BETWEEN 1 AND 365 AND hold_days BETWEEN 0 AND 365 AND auto_approve_days BETWEEN 1 AND 365),
    CONSTRAINT programs_dedup_seconds_check CHECK (dedup_seconds BETWEEN 0 AND 65535),
    CONSTRAINT programs_min_payout_micros_check CHECK (min_payout_micros >= 0),
    CONSTRAINT programs_status_check CHECK (status IN ('active', 'paused', 'archived'))
);
CREATE INDEX programs_advertiser_id_idx ON programs (advertiser_id, created_at DESC, id DESC);
CREATE INDEX programs_created_at_idx ON programs (created_at DESC, id DESC);
CREATE INDEX programs_niche_idx ON programs (niche, created_at DESC, id DESC);

CREATE TABLE partnerships (
    id            UUID        NOT NULL,
    program_id    UUID        NOT NULL,
    affiliate_id  UUID        NOT NULL,
    advertiser_id UUID        NOT NULL,
    status        TEXT        NOT NULL,
    message       TEXT,
    created_at    TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    approved_at   TIMESTAMPTZ,
    ended_at      TIMESTAMPTZ,
    CONSTRAINT partnerships_pkey PRIMARY KEY (id),
    CONSTRAINT partnerships_program_id_fk FOREIGN KEY (program_id) REFERENCES programs (id),
    CONSTRAINT partnerships_affiliate_id_fk FOREIGN KEY (affiliate_id) REFERENCES agents (id),
    CONSTRAINT partnerships_advertiser_id_fk FOREIGN KEY (advertiser_id) REFERENCES agents (id),
    CONSTRAINT partnerships_parties_check CHECK (affiliate_id <> advertiser_id),
    CONSTRAINT partnerships_status_check CHECK (
        status IN ('pending', 'approved', 'rejected', 'suspended', 'cancelled'))
);
-- One partnership per affiliate and program, until it is cancelled.
CREATE UNIQUE INDEX partnerships_program_id_affiliate_id_key
    ON partnerships (program_id, affiliate_id) WHERE status <> 'cancelled';
CREATE INDEX partnerships_affiliate_id_idx ON partnerships (affiliate_id, created_at DESC, id DESC);
CREATE INDEX partnerships_program_id_idx ON partnerships (program_id, created_at DESC, id DESC);

CREATE TABLE links (
    id              UUID        NOT NULL,
    -- The 64 random bits of the token (shared::LinkKey).
    key             BIGINT      NOT NULL,
    token           TEXT        NOT NULL,
    partnership_id  UUID        NOT NULL,
    program_id      UUID        NOT NULL,
    affiliate_id    UUID        NOT NULL,
    advertiser_id   UUID        NOT NULL,
    destination_url TEXT        NOT NULL,
    sub_id          TEXT,
    custom_domain   TEXT,
    created_at      TIMESTAMPTZ NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL,
    deleted_at      TIMESTAMPTZ,
    CONSTRAINT links_pkey PRIMARY KEY (id),
    CONSTRAINT links_key_key UNIQUE (key),
    CONSTRAINT links_partnership_id_fk FOREIGN KEY (partnership_id) REFERENCES partnerships (id),
    CONSTRAINT links_program_id_fk FOREIGN KEY (program_id) REFERENCES programs (id),
    CONSTRAINT links_destination_url_check CHECK (octet_length(destination_url) BETWEEN 1 AND 2048)
);
CREATE INDEX links_partnership_id_idx ON links (partnership_id, created_at DESC, id DESC);
CREATE INDEX links_program_id_idx ON links (program_id);
CREATE INDEX links_affiliate_id_idx ON links (affiliate_id);

-- What changed about links and has not been published yet. The row is written in the transaction of
-- the change; the publisher reads the state as it is then, so order within the table does not matter.
CREATE TABLE link_outbox (
    id         BIGINT      NOT NULL GENERATED ALWAYS AS IDENTITY,
    subject    TEXT        NOT NULL,
    subject_id UUID        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT link_outbox_pkey PRIMARY KEY (id),
    CONSTRAINT link_outbox_subject_check CHECK (subject IN ('link', 'partnership', 'program'))
);

-- Versions of link records: taken only by the publisher, which is one at a time.
CREATE SEQUENCE link_record_version AS BIGINT;
