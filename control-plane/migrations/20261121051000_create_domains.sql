-- Custom domains: hosts of agents' own, their certificates, and our accounts at ACME servers.
-- New tables and a sequence, and an index of links; the version before this one does not mind them.

-- Drawn for each record of a domain that is published; the higher one is right.
CREATE SEQUENCE domain_record_version;

CREATE TABLE domains (
    id           UUID        NOT NULL,
    agent_id     UUID        NOT NULL,
    -- Lower-case ASCII, no dot at the end.
    host         TEXT        NOT NULL,
    -- pending_dns (ownership is not proven), issuing, active, failed.
    status       TEXT        NOT NULL,
    -- What keeps it from going on, and what its owner can do.
    problem      TEXT,
    fix          TEXT,
    -- Since when its owner is known by the DNS.
    verified_at  TIMESTAMPTZ,
    -- Looked at last, and next; never again by itself when null.
    checked_at   TIMESTAMPTZ,
    check_at     TIMESTAMPTZ,
    -- Since when it is looked at in vain, and how often.
    waiting_since TIMESTAMPTZ,
    attempts     INTEGER     NOT NULL DEFAULT 0,
    -- A worker has it until then.
    leased_until TIMESTAMPTZ,
    -- An order that was begun and its sealed key: whoever comes after a crash goes on with it.
    order_url    TEXT,
    order_key    BYTEA,
    -- The certificate in force.
    chain_pem    TEXT,
    sealed_key   BYTEA,
    issued_at    TIMESTAMPTZ,
    renew_at     TIMESTAMPTZ,
    expires_at   TIMESTAMPTZ,
    -- Since when the owner is not on Pro, and since when it is not served because of that.
    lapsed_at    TIMESTAMPTZ,
    suspended_at TIMESTAMPTZ,
    -- Edges have not been told of its last change.
    unpublished  BOOLEAN     NOT NULL DEFAULT FALSE,
    -- When edges were first told of it; those that never were need not hear of its end.
    published_at TIMESTAMPTZ,
    -- The version of the record that was published last, to compare with what Redis has.
    published_version BIGINT,
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL,
    deleted_at   TIMESTAMPTZ,
    CONSTRAINT domains_pkey PRIMARY KEY (id),
    CONSTRAINT domains_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT domains_status_check CHECK (status IN ('pending_dns', 'issuing', 'active', 'failed')),
    CONSTRAINT domains_host_check CHECK (host ~ '^[a-z0-9.-]{1,253}$'),
    CONSTRAINT domains_owner_check CHECK (verified_at IS NOT NULL OR status IN ('pending_dns', 'failed')),
    CONSTRAINT domains_certificate_check
        CHECK ((chain_pem IS NULL) = (expires_at IS NULL) AND (chain_pem IS NULL) = (sealed_key IS NULL)
               AND (status <> 'active' OR chain_pem IS NOT NULL)),
    CONSTRAINT domains_order_check CHECK ((order_url IS NULL) = (order_key IS NULL))
);

-- One owner per host; any number may claim one that nobody has proven to be theirs.
CREATE UNIQUE INDEX domains_host_key ON domains (host) WHERE verified_at IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX domains_agent_id_host_key ON domains (agent_id, host) WHERE deleted_at IS NULL;
CREATE INDEX domains_host_idx ON domains (host);
CREATE INDEX domains_agent_id_created_at_idx ON domains (agent_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX domains_check_at_idx ON domains (check_at) WHERE check_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX domains_unpublished_idx ON domains (id) WHERE unpublished;
CREATE INDEX domains_deleted_at_idx ON domains (deleted_at) WHERE deleted_at IS NOT NULL;

-- Links on a domain are found by it when it is removed.
CREATE INDEX links_custom_domain_idx ON links (custom_domain) WHERE custom_domain IS NOT NULL;

-- Our accounts at ACME servers, sealed whole: their keys are in them.
CREATE TABLE acme_accounts (
    directory  TEXT        NOT NULL,
    sealed     BYTEA       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT acme_accounts_pkey PRIMARY KEY (directory)
);
