-- Programs: counting the active ones reads the index alone. Replaces an index by its superset.

DROP INDEX programs_created_at_idx;
CREATE INDEX programs_created_at_idx ON programs (created_at DESC, id DESC) INCLUDE (status)
    WHERE status <> 'archived';
