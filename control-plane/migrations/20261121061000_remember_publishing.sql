-- That every link has been in Redis once. A Redis that is found empty has lost them then; before, it is new.
-- A new table; the version before this one does not look at it, and the first turn of a publisher fills it.

CREATE TABLE links_published (
    -- One row.
    only_row BOOLEAN     NOT NULL DEFAULT TRUE,
    since    TIMESTAMPTZ NOT NULL,
    CONSTRAINT links_published_pkey PRIMARY KEY (only_row),
    CONSTRAINT links_published_only_row_check CHECK (only_row)
);
