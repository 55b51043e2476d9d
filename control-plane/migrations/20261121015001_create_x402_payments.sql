-- Payments over x402: what was shown, and how far it has come.
-- New table; the version before this one does not know it.

CREATE TABLE x402_payments (
    topup_id     UUID        NOT NULL,
    agent_id     UUID        NOT NULL,
    -- Chain, token, payer and nonce: an authorization moves money at most once.
    reference    TEXT        NOT NULL,
    -- What the payer showed and what we asked for, to have it carried out again.
    payload      JSONB       NOT NULL,
    requirements JSONB       NOT NULL,
    -- The newest block when it was first seen: nothing of it is in an earlier one.
    from_block   BIGINT      NOT NULL,
    state        TEXT        NOT NULL DEFAULT 'settling',
    -- Who is having it carried out keeps it until then.
    lease_until  TIMESTAMPTZ NOT NULL,
    transaction  TEXT,
    failure      TEXT,
    -- Whom the payment is attributed to, as the X-SL-Attribution header said.
    attribution_reference TEXT,
    attribution_publisher TEXT,
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL,
    CONSTRAINT x402_payments_pkey PRIMARY KEY (topup_id),
    CONSTRAINT x402_payments_topup_id_fk FOREIGN KEY (topup_id) REFERENCES topups (id),
    CONSTRAINT x402_payments_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT x402_payments_reference_key UNIQUE (reference),
    CONSTRAINT x402_payments_state_check CHECK (state IN ('settling', 'settled', 'failed')),
    CONSTRAINT x402_payments_transaction_check CHECK ((state = 'settled') = (transaction IS NOT NULL))
);
CREATE INDEX x402_payments_open_idx ON x402_payments (lease_until) WHERE state = 'settling';
