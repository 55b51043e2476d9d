-- GET /api/conversions: an advertiser's conversions over all its programs, whole or in one state, by index alone.
-- Indexes alone: the version before this one does not mind them.

CREATE INDEX conversions_advertiser_id_idx
    ON conversions (advertiser_id, created_at DESC, id DESC) INCLUDE (program_id, affiliate_id, status, event_type);
CREATE INDEX conversions_advertiser_id_status_idx
    ON conversions (advertiser_id, status, created_at DESC, id DESC) INCLUDE (program_id, affiliate_id, event_type);
