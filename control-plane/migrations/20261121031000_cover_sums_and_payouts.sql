-- Sums of commissions and reports of runtimes are read from indexes alone, and payouts by side in order.
--
-- With a million conversions, half of them of one affiliate, its earnings read the whole table of commissions,
-- the figures of an agent each of its rows, and a page of payouts sorted all of an agent's.

DROP INDEX commissions_affiliate_id_status_idx;
CREATE INDEX commissions_affiliate_id_program_id_idx
    ON commissions (affiliate_id, program_id) INCLUDE (status, amount_micros, payout_id, payable_at, reversal);
DROP INDEX commissions_program_id_idx;
CREATE INDEX commissions_program_id_affiliate_id_idx
    ON commissions (program_id, affiliate_id) INCLUDE (status, amount_micros, payout_id, payable_at, reversal);

DROP INDEX commissions_affiliate_id_idx;
CREATE INDEX commissions_affiliate_id_created_at_idx
    ON commissions (affiliate_id, created_at DESC, id DESC) INCLUDE (status, amount_micros, currency);
DROP INDEX commissions_program_id_created_at_idx;
CREATE INDEX commissions_program_id_created_at_idx
    ON commissions (program_id, created_at) INCLUDE (status, amount_micros, currency);

DROP INDEX conversions_program_id_idx;
CREATE INDEX conversions_program_id_idx
    ON conversions (program_id, created_at DESC, id DESC)
    INCLUDE (advertiser_id, affiliate_id, status, event_type, revenue_micros, currency);
DROP INDEX conversions_affiliate_id_idx;
CREATE INDEX conversions_affiliate_id_idx
    ON conversions (affiliate_id, created_at DESC, id DESC)
    INCLUDE (advertiser_id, program_id, status, event_type, revenue_micros, currency);

CREATE INDEX conversions_affiliate_id_event_type_idx
    ON conversions (affiliate_id, event_type, created_at DESC, id DESC) INCLUDE (advertiser_id, program_id, status);

DROP INDEX attribution_events_program_id_idx;
CREATE INDEX attribution_events_program_id_idx
    ON attribution_events (program_id, created_at DESC, id DESC) INCLUDE (agent_runtime, affiliate_id, kind);

DROP INDEX payouts_advertiser_id_idx;
CREATE INDEX payouts_advertiser_id_idx ON payouts (advertiser_id, created_at DESC, id DESC) INCLUDE (status);
DROP INDEX payouts_affiliate_id_idx;
CREATE INDEX payouts_affiliate_id_idx
    ON payouts (affiliate_id, created_at DESC, id DESC) INCLUDE (advertiser_id, status);
