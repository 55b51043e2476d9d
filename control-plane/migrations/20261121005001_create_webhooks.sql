-- Webhook endpoints, and the deliveries of events to them with every try.
-- New tables only: the version before this one keeps working.

CREATE TABLE webhook_endpoints (
    id                     UUID        NOT NULL,
    agent_id               UUID        NOT NULL,
    url                    TEXT        NOT NULL,
    events                 TEXT[]      NOT NULL,
    status                 TEXT        NOT NULL,
    -- Why it is paused: by its owner, because it failed for days, or because it said 410 Gone.
    paused_because         TEXT,
    paused_at              TIMESTAMPTZ,
    -- Sealed with a key derived from the deployment's secret.
    secret                 BYTEA       NOT NULL,
    previous_secret        BYTEA,
    previous_secret_until  TIMESTAMPTZ,
    -- The first failure since the last success.
    failing_since          TIMESTAMPTZ,
    last_success_at        TIMESTAMPTZ,
    last_failure_at        TIMESTAMPTZ,
    last_failure           TEXT,
    created_at             TIMESTAMPTZ NOT NULL,
    updated_at             TIMESTAMPTZ NOT NULL,
    deleted_at             TIMESTAMPTZ,
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_endpoints_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT webhook_endpoints_url_check CHECK (octet_length(url) BETWEEN 1 AND 2048),
    CONSTRAINT webhook_endpoints_events_check CHECK (cardinality(events) >= 1),
    CONSTRAINT webhook_endpoints_status_check CHECK (
        (status = 'active' AND paused_because IS NULL AND paused_at IS NULL)
        OR (status = 'paused' AND paused_because IN ('owner', 'failures', 'gone') AND paused_at IS NOT NULL)),
    CONSTRAINT webhook_endpoints_previous_secret_check CHECK (
        (previous_secret IS NULL) = (previous_secret_until IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX webhook_endpoints_agent_id_idx
    ON webhook_endpoints (agent_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

-- One event on its way to one endpoint. What is due is `ready`; what failed waits until `due_at`;
-- what is being tried is `sending` until its lease ends; what a paused endpoint keeps back is `held`.
CREATE TABLE webhook_deliveries (
    id           UUID        NOT NULL,
    agent_id     UUID        NOT NULL,
    endpoint_id  UUID        NOT NULL,
    event_id     UUID        NOT NULL,
    event_type   TEXT        NOT NULL,
    state        TEXT        NOT NULL,
    -- Tries in all, and in this round: a redelivery starts a new round.
    attempts     INTEGER     NOT NULL DEFAULT 0,
    round        INTEGER     NOT NULL DEFAULT 0,
    due_at       TIMESTAMPTZ NOT NULL,
    lease_until  TIMESTAMPTZ,
    -- When it is given up, whatever is left of the schedule.
    expires_at   TIMESTAMPTZ NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    finished_at  TIMESTAMPTZ,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (agent_id, id),
    CONSTRAINT webhook_deliveries_state_check CHECK (
        state IN ('ready', 'waiting', 'sending', 'held', 'delivered', 'failed')),
    CONSTRAINT webhook_deliveries_lease_check CHECK ((state = 'sending') = (lease_until IS NOT NULL)),
    CONSTRAINT webhook_deliveries_finished_check CHECK (
        (state IN ('delivered', 'failed')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 80);
-- The queue: walked agent by agent, endpoint by endpoint, oldest first.
CREATE INDEX webhook_deliveries_ready_idx
    ON webhook_deliveries (agent_id, endpoint_id, due_at, id) WHERE state = 'ready';
CREATE INDEX webhook_deliveries_waiting_idx ON webhook_deliveries (due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_sending_idx ON webhook_deliveries (lease_until) WHERE state = 'sending';
CREATE INDEX webhook_deliveries_expires_at_idx
    ON webhook_deliveries (expires_at) WHERE state IN ('ready', 'waiting', 'held');
CREATE INDEX webhook_deliveries_endpoint_id_idx ON webhook_deliveries (endpoint_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_created_at_idx
    ON webhook_deliveries USING brin (created_at) WITH (pages_per_range = 16);

-- Every try. No part of an answer but its status is kept.
CREATE TABLE webhook_attempts (
    delivery_id UUID        NOT NULL,
    number      INTEGER     NOT NULL,
    at          TIMESTAMPTZ NOT NULL,
    outcome     TEXT        NOT NULL,
    status      SMALLINT,
    took_ms     INTEGER,
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (delivery_id, number)
);
CREATE INDEX webhook_attempts_at_idx ON webhook_attempts USING brin (at) WITH (pages_per_range = 16);
