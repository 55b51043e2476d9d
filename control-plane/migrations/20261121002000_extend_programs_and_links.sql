-- Programs and links: what discovery sorts and searches by, hosts of destinations, tombstones of links.
-- Safe beside the old version: columns are added with defaults, indexes and constraints are its superset.

-- Approved partnerships, and what a counted click of the last 30 days earned its affiliate on average.
ALTER TABLE programs
    ADD COLUMN affiliates INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN epc_micros BIGINT,
    -- The number in `commission_value`, in millionths: percent or dollars, compared within a type.
    ADD COLUMN commission_rank BIGINT NOT NULL GENERATED ALWAYS AS (
        COALESCE(commission_rate_bp::BIGINT * 10000, commission_fixed_micros)) STORED,
    ADD COLUMN search TSVECTOR NOT NULL GENERATED ALWAYS AS (
        to_tsvector('simple', name || ' ' || COALESCE(niche, '') || ' ' || COALESCE(description, ''))) STORED,
    ADD CONSTRAINT programs_affiliates_check CHECK (affiliates >= 0);

DROP INDEX programs_created_at_idx;
DROP INDEX programs_niche_idx;
CREATE INDEX programs_created_at_idx ON programs (created_at DESC, id DESC) WHERE status <> 'archived';
CREATE INDEX programs_niche_idx ON programs (lower(niche), created_at DESC, id DESC) WHERE status <> 'archived';
CREATE INDEX programs_commission_rank_idx ON programs (commission_rank DESC, id DESC) WHERE status <> 'archived';
CREATE INDEX programs_affiliates_idx ON programs (affiliates DESC, id DESC) WHERE status <> 'archived';
CREATE INDEX programs_epc_micros_idx ON programs ((COALESCE(epc_micros, -1)) DESC, id DESC) WHERE status <> 'archived';
CREATE INDEX programs_archived_idx ON programs (created_at DESC, id DESC) WHERE status = 'archived';
CREATE INDEX programs_search_idx ON programs USING gin (search);

-- Keeps programs.affiliates, whoever writes a partnership. Takes the program's row lock: whoever changes
-- a partnership's status locks the program first, then the partnership.
CREATE FUNCTION count_affiliates() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    was INTEGER := CASE WHEN TG_OP <> 'INSERT' AND OLD.status = 'approved' THEN 1 ELSE 0 END;
    now_is INTEGER := CASE WHEN TG_OP <> 'DELETE' AND NEW.status = 'approved' THEN 1 ELSE 0 END;
BEGIN
    IF now_is <> was THEN
        UPDATE programs SET affiliates = affiliates + now_is - was
         WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.program_id ELSE NEW.program_id END;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER partnerships_count_affiliates AFTER INSERT OR UPDATE OF status OR DELETE ON partnerships
    FOR EACH ROW EXECUTE FUNCTION count_affiliates();
UPDATE programs SET affiliates = (
    SELECT count(*) FROM partnerships WHERE program_id = programs.id AND status = 'approved');

-- The destination's host, to check it again when the program's hosts change; a link whose host is no
-- longer allowed is blocked and answers as if it were deleted.
ALTER TABLE links
    ADD COLUMN host TEXT NOT NULL DEFAULT '',
    ADD COLUMN blocked_at TIMESTAMPTZ,
    -- A deleted program's links stay as tombstones, so that edges go on answering 410 for them.
    DROP CONSTRAINT links_program_id_fk,
    DROP CONSTRAINT links_partnership_id_fk;

-- The network's trade of the last 30 days, taken by a job; one row.
CREATE TABLE network_trade (
    singleton          BOOLEAN     NOT NULL,
    clicks             BIGINT      NOT NULL,
    conversions        BIGINT      NOT NULL,
    commissions_micros BIGINT      NOT NULL,
    as_of              TIMESTAMPTZ NOT NULL,
    CONSTRAINT network_trade_pkey PRIMARY KEY (singleton),
    CONSTRAINT network_trade_singleton_check CHECK (singleton)
);
