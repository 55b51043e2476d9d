-- Wallet: payments into it, and its settings. Balances are the ledger's.
-- New tables; the version before this one does not know them.

CREATE TABLE wallets (
    agent_id                    UUID        NOT NULL,
    -- Below the threshold, the amount is topped up by itself; both or neither.
    auto_topup_threshold_micros BIGINT,
    auto_topup_amount_micros    BIGINT,
    updated_at                  TIMESTAMPTZ NOT NULL,
    CONSTRAINT wallets_pkey PRIMARY KEY (agent_id),
    CONSTRAINT wallets_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT wallets_auto_topup_check CHECK (
        (auto_topup_threshold_micros IS NULL AND auto_topup_amount_micros IS NULL)
        OR (auto_topup_threshold_micros BETWEEN 0 AND 500000000
            AND auto_topup_amount_micros BETWEEN 5000000 AND 500000000
            AND auto_topup_amount_micros % 5000000 = 0))
);

CREATE TABLE topups (
    id              UUID        NOT NULL,
    agent_id        UUID        NOT NULL,
    provider        TEXT        NOT NULL,
    amount_micros   BIGINT      NOT NULL,
    -- What went back since, by refunds and disputes.
    refunded_micros BIGINT      NOT NULL DEFAULT 0,
    currency        TEXT        NOT NULL,
    status          TEXT        NOT NULL,
    -- The payment's name at the provider.
    provider_ref    TEXT,
    -- Where the agent's owner pays.
    checkout_url    TEXT,
    -- Who started it: the agent, or the wallet by itself.
    automatic       BOOLEAN     NOT NULL DEFAULT FALSE,
    created_at      TIMESTAMPTZ NOT NULL,
    updated_at      TIMESTAMPTZ NOT NULL,
    CONSTRAINT topups_pkey PRIMARY KEY (id),
    CONSTRAINT topups_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT topups_provider_check CHECK (provider IN ('sandbox', 'stripe', 'x402')),
    CONSTRAINT topups_status_check CHECK (status IN ('pending', 'paid', 'failed', 'expired')),
    CONSTRAINT topups_amount_micros_check CHECK (
        amount_micros BETWEEN 5000000 AND 500000000 AND amount_micros % 5000000 = 0),
    CONSTRAINT topups_refunded_micros_check CHECK (
        refunded_micros BETWEEN 0 AND amount_micros AND (refunded_micros = 0 OR status = 'paid'))
);
CREATE INDEX topups_agent_id_idx ON topups (agent_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX topups_provider_ref_key ON topups (provider, provider_ref) WHERE provider_ref IS NOT NULL;
