-- The drainer: what a parked frame stands for in its spool's sum, and who drains which stream.
-- Safe while the previous version runs: it writes neither the new columns nor the new tables.

ALTER TABLE parked_frames
    -- How many sequences of the frame the spool counts as parked: 0 when a sound frame has stored them.
    ADD COLUMN counted       BIGINT NOT NULL DEFAULT 0,
    -- The first of them; with `counted` the part that a replay stores.
    ADD COLUMN counted_first BIGINT,
    ADD CONSTRAINT parked_frames_counted_check CHECK (counted >= 0 AND (counted = 0) = (counted_first IS NULL));
CREATE INDEX parked_frames_spool_idx ON parked_frames (spool);

COMMENT ON COLUMN clicks.flags IS
    'Bit 0: metered. Bit 1: the edge''s clock was out of range and the time is the nearest allowed one.';

-- Drainers that are alive, by the database's clock.
CREATE TABLE drain_workers (
    worker  UUID        NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT drain_workers_pkey PRIMARY KEY (worker)
) WITH (fillfactor = 20);

-- Which drainer reads which stream. It only avoids double work: the row locks on spools are the fence.
CREATE TABLE drain_leases (
    shard      INTEGER     NOT NULL,
    worker     UUID        NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT drain_leases_pkey PRIMARY KEY (shard)
) WITH (fillfactor = 20);
