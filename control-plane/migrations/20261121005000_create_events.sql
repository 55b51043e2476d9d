-- Events: what happened, in the transaction in which it happened, and the feed that agents read.
-- New tables only: the version before this one keeps working.

-- How many events an object has had. It outlives them, so that a sequence never starts again.
CREATE TABLE event_objects (
    object_id UUID   NOT NULL,
    sequence  BIGINT NOT NULL,
    CONSTRAINT event_objects_pkey PRIMARY KEY (object_id)
) WITH (fillfactor = 80);

CREATE TABLE events (
    id         UUID        NOT NULL,
    type       TEXT        NOT NULL,
    object_id  UUID        NOT NULL,
    sequence   BIGINT      NOT NULL,
    -- Whose events it is among: the two sides of what happened.
    agent_ids  UUID[]      NOT NULL,
    -- The JSON text as it is signed, delivered and pulled, byte for byte.
    payload    TEXT        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (id),
    CONSTRAINT events_sequence_check CHECK (sequence >= 1),
    CONSTRAINT events_agent_ids_check CHECK (cardinality(agent_ids) BETWEEN 1 AND 2)
);
-- Old ones are removed by age; rows come in order of age.
CREATE INDEX events_created_at_idx ON events USING brin (created_at) WITH (pages_per_range = 16);

-- Events that are committed and not yet in the feed. Numbers are given before the commit, so two
-- transactions may commit in the other order: a reader who trusted them would miss events.
CREATE TABLE event_outbox (
    id       BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    event_id UUID   NOT NULL,
    CONSTRAINT event_outbox_pkey PRIMARY KEY (id)
);

-- Each agent's events in the order in which they became visible. Positions are given by one writer at a
-- time, under a lock held until its commit: whoever has read up to a position has missed nothing below it.
CREATE TABLE event_feed (
    agent_id   UUID        NOT NULL,
    position   BIGINT      NOT NULL GENERATED ALWAYS AS IDENTITY,
    event_id   UUID        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT event_feed_pkey PRIMARY KEY (agent_id, position)
);
CREATE INDEX event_feed_created_at_idx ON event_feed USING brin (created_at) WITH (pages_per_range = 16);
