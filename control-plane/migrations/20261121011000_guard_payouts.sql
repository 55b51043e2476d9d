-- Which incarnation of the database payouts were last known to be right in. A restored or promoted database may
-- have forgotten payouts that were sent: payouts wait there until somebody has compared and moved this row on.
-- A new table; the version before this one does not look at it.

CREATE TABLE payout_guard (
    -- One row.
    only_row          BOOLEAN     NOT NULL DEFAULT TRUE,
    -- Of the cluster: a dump that is loaded elsewhere has another.
    system_identifier BIGINT      NOT NULL,
    -- Grows with every promotion and every restore to a point in time.
    timeline          BIGINT      NOT NULL,
    since             TIMESTAMPTZ NOT NULL,
    CONSTRAINT payout_guard_pkey PRIMARY KEY (only_row),
    CONSTRAINT payout_guard_only_row_check CHECK (only_row)
);

-- The first eight digits of the name of a file of the write-ahead log are its timeline.
INSERT INTO payout_guard (system_identifier, timeline, since)
SELECT system_identifier,
       ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::BIT(32)::BIGINT,
       now()
  FROM pg_control_system();
