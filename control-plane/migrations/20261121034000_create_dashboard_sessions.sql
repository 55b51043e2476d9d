-- Sessions of people in a browser, each begun with an agent key and over with it.
--
-- A cookie holds 32 random bytes; only their SHA-256 is here. There are few rows: some per key, and expired
-- ones of a key go when it begins a new one. Takes no lock on another table beyond the foreign key's.

CREATE TABLE dashboard_sessions (
    digest     BYTEA       NOT NULL,
    key_id     UUID        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT dashboard_sessions_pkey PRIMARY KEY (digest),
    CONSTRAINT dashboard_sessions_key_id_fk FOREIGN KEY (key_id) REFERENCES api_keys (id) ON DELETE CASCADE,
    CONSTRAINT dashboard_sessions_digest_check CHECK (octet_length(digest) = 32),
    CONSTRAINT dashboard_sessions_times_check CHECK (expires_at > created_at)
);
CREATE INDEX dashboard_sessions_key_id_idx ON dashboard_sessions (key_id, created_at);
