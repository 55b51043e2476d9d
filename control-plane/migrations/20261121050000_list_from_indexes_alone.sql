-- Lists: every filter finds its page in an index alone, and its count; and one index of conversions less.
--
-- Indexes alone: the version before this one does not mind them, and its ON CONFLICT names columns, whose order in
-- an index is free.

-- GET /api/conversions?event_type=…: read all of an advertiser's conversions (0.1 s).
CREATE INDEX conversions_advertiser_id_event_type_idx
    ON conversions (advertiser_id, event_type, created_at DESC, id DESC) INCLUDE (program_id, affiliate_id, status);

-- One conversion per order, program and kind of event, still; with the order first it also finds the conversions of
-- an order for everybody who lists them, which was an index of its own.
ALTER INDEX conversions_external_id_key RENAME TO conversions_external_id_key_before;
CREATE UNIQUE INDEX conversions_external_id_key
    ON conversions (external_id, program_id, event_type, advertiser_id) WHERE external_id IS NOT NULL;
DROP INDEX conversions_external_id_key_before;
DROP INDEX conversions_external_id_idx;

-- Pages far behind the first read each row before them.
DROP INDEX partnerships_affiliate_id_idx;
CREATE INDEX partnerships_affiliate_id_idx
    ON partnerships (affiliate_id, created_at DESC, id DESC) INCLUDE (status);
DROP INDEX partnerships_program_id_idx;
CREATE INDEX partnerships_program_id_idx
    ON partnerships (program_id, created_at DESC, id DESC) INCLUDE (status);
DROP INDEX links_partnership_id_idx;
CREATE INDEX links_partnership_id_idx
    ON links (partnership_id, created_at DESC, id DESC) INCLUDE (sub_id, deleted_at);
DROP INDEX webhook_deliveries_endpoint_id_idx;
CREATE INDEX webhook_deliveries_endpoint_id_idx
    ON webhook_deliveries (endpoint_id, created_at DESC, id DESC) INCLUDE (agent_id, state);

-- Filters of discovery that no index of their own answers.
DROP INDEX programs_created_at_idx;
CREATE INDEX programs_created_at_idx ON programs (created_at DESC, id DESC)
    INCLUDE (status, niche, audience_type, commission_type, commission_rank, advertiser_id)
    WHERE status <> 'archived';
