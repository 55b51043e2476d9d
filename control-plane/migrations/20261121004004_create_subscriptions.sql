-- Subscriptions to Pro.
-- New table; the version before this one does not know it.

CREATE TABLE subscriptions (
    id                   UUID        NOT NULL,
    agent_id             UUID        NOT NULL,
    -- How it is paid: by the payment provider, or from the wallet.
    source               TEXT        NOT NULL,
    status               TEXT        NOT NULL,
    price_micros         BIGINT      NOT NULL,
    currency             TEXT        NOT NULL,
    -- Months are counted from the anchor, so that the 31st does not creep to the 28th.
    anchor_at            TIMESTAMPTZ,
    periods              INTEGER     NOT NULL DEFAULT 0,
    current_period_start TIMESTAMPTZ,
    current_period_end   TIMESTAMPTZ,
    cancel_at_period_end BOOLEAN     NOT NULL DEFAULT FALSE,
    -- A failed renewal: Pro stays until then, and payment is tried again at retry_at.
    grace_until          TIMESTAMPTZ,
    retry_at             TIMESTAMPTZ,
    -- Stripe's names, and where the agent's owner pays.
    provider_ref         TEXT,
    checkout_ref         TEXT,
    checkout_url         TEXT,
    created_at           TIMESTAMPTZ NOT NULL,
    updated_at           TIMESTAMPTZ NOT NULL,
    ended_at             TIMESTAMPTZ,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (id),
    CONSTRAINT subscriptions_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT subscriptions_source_check CHECK (source IN ('sandbox', 'stripe', 'wallet')),
    CONSTRAINT subscriptions_status_check CHECK (status IN ('pending', 'active', 'past_due', 'canceled')),
    CONSTRAINT subscriptions_price_micros_check CHECK (price_micros > 0),
    CONSTRAINT subscriptions_period_check CHECK (
        status NOT IN ('active', 'past_due') OR (current_period_end > current_period_start AND periods > 0)),
    CONSTRAINT subscriptions_grace_until_check CHECK ((status = 'past_due') = (grace_until IS NOT NULL)),
    CONSTRAINT subscriptions_ended_at_check CHECK ((status = 'canceled') = (ended_at IS NOT NULL))
);
-- One at a time.
CREATE UNIQUE INDEX subscriptions_agent_id_key ON subscriptions (agent_id) WHERE status <> 'canceled';
CREATE INDEX subscriptions_agent_id_idx ON subscriptions (agent_id, created_at DESC);
CREATE INDEX subscriptions_due_idx ON subscriptions (coalesce(retry_at, current_period_end))
    WHERE status IN ('active', 'past_due') AND source <> 'stripe';
CREATE UNIQUE INDEX subscriptions_provider_ref_key ON subscriptions (provider_ref) WHERE provider_ref IS NOT NULL;
