-- What is published of programs and of the network is taken by index: what was decided and paid in its window, what
-- is owed now, what was reported lately. The job that takes it read each of these tables from end to end.
-- Indexes alone: the version before this one does not mind them. By time, rows lie as they came in: BRIN finds a
-- month of them, and costs those who write next to nothing.

CREATE INDEX conversions_decided_at_idx ON conversions (decided_at) INCLUDE (program_id, status)
    WHERE decided_at IS NOT NULL;
CREATE INDEX payouts_paid_at_idx ON payouts (paid_at) WHERE paid_at IS NOT NULL;
CREATE INDEX commissions_owed_idx ON commissions (advertiser_id) INCLUDE (amount_micros, payout_id)
    WHERE status = 'approved' AND currency = 'usd';
CREATE INDEX conversions_created_at_idx ON conversions USING brin (created_at) WITH (pages_per_range = 32);
CREATE INDEX commissions_created_at_idx ON commissions USING brin (created_at) WITH (pages_per_range = 32);
