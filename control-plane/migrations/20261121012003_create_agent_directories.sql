-- Signers: what the key directories of AI agents said last.
-- New table; the version before this one does not know it.

CREATE TABLE agent_directories (
    -- Such as https://agent.example; the directory lies at its well-known path.
    origin     TEXT        NOT NULL,
    -- The keys it listed, as shared::agent_keys writes them; NULL before the first answer.
    keys       TEXT,
    fetched_at TIMESTAMPTZ,
    -- The last try, and why it failed if it did.
    tried_at   TIMESTAMPTZ NOT NULL,
    failure    TEXT,
    CONSTRAINT agent_directories_pkey PRIMARY KEY (origin),
    CONSTRAINT agent_directories_fetched_check CHECK ((keys IS NULL) = (fetched_at IS NULL))
);
