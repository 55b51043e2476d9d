-- Prospects: who could promote programs and is not on the network yet; and what a program asks affiliates to say.
-- Safe beside the old version: a new table, and a column that may be NULL.

CREATE TABLE prospects (
    id            UUID        NOT NULL,
    -- What names them in a file: the address of the site, or else the contact; in small letters.
    key           TEXT        NOT NULL,
    name          TEXT        NOT NULL,
    website_url   TEXT,
    contact       TEXT,
    niche         TEXT,
    audience_type TEXT,
    description   TEXT,
    imported_at   TIMESTAMPTZ NOT NULL,
    match_words   TSVECTOR    NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', name || ' ' || COALESCE(niche, '')), 'A')
        || setweight(to_tsvector('english', COALESCE(description, '')), 'B')) STORED,
    CONSTRAINT prospects_pkey PRIMARY KEY (id),
    CONSTRAINT prospects_key_key UNIQUE (key),
    CONSTRAINT prospects_reachable_check CHECK (website_url IS NOT NULL OR contact IS NOT NULL)
);
CREATE INDEX prospects_match_words_idx ON prospects USING gin (match_words);
CREATE INDEX prospects_niche_idx ON prospects (lower(niche), imported_at DESC, id DESC);
CREATE INDEX prospects_imported_at_idx ON prospects (imported_at DESC, id DESC);

ALTER TABLE programs ADD COLUMN disclosure_text TEXT;
