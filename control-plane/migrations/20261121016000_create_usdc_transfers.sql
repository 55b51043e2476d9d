-- Payouts in usdc: what was signed for them, before it was sent.
-- New tables; the version before this one does not know them and sends nothing.

-- The next nonce of each address that pays. Nonces are handed out here, under lock, and nowhere else.
CREATE TABLE usdc_senders (
    chain_id   BIGINT NOT NULL,
    address    TEXT   NOT NULL,
    next_nonce BIGINT NOT NULL,
    CONSTRAINT usdc_senders_pkey PRIMARY KEY (chain_id, address),
    CONSTRAINT usdc_senders_next_nonce_check CHECK (next_nonce >= 0)
);

-- One per payout, for ever: a chain executes one transaction per sender and nonce, so whatever is sent
-- how often, a payout is paid once at most.
CREATE TABLE usdc_transfers (
    payout_id     UUID        NOT NULL,
    advertiser_id UUID        NOT NULL,
    chain_id      BIGINT      NOT NULL,
    sender        TEXT        NOT NULL,
    nonce         BIGINT      NOT NULL,
    token         TEXT        NOT NULL,
    recipient     TEXT        NOT NULL,
    amount_micros BIGINT      NOT NULL,
    -- signed: stored, not sent. unknown: sent, and no reply came. submitted: a node has it. mined: in a block.
    -- confirmed: deep enough. failed: the chain refused it, or its nonce went to another transaction.
    state         TEXT        NOT NULL,
    -- Of the version that is in a block.
    hash          TEXT,
    block_number  BIGINT,
    block_hash    TEXT,
    created_at    TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    CONSTRAINT usdc_transfers_pkey PRIMARY KEY (payout_id, advertiser_id),
    CONSTRAINT usdc_transfers_payout_id_fk FOREIGN KEY (payout_id, advertiser_id) REFERENCES payouts (id, advertiser_id),
    CONSTRAINT usdc_transfers_nonce_key UNIQUE (chain_id, sender, nonce),
    CONSTRAINT usdc_transfers_amount_micros_check CHECK (amount_micros > 0),
    CONSTRAINT usdc_transfers_state_check
        CHECK (state IN ('signed', 'unknown', 'submitted', 'mined', 'confirmed', 'failed')),
    CONSTRAINT usdc_transfers_block_check CHECK (
        (hash IS NULL) = (block_number IS NULL) AND (hash IS NULL) = (block_hash IS NULL)
        AND (state NOT IN ('mined', 'confirmed') OR hash IS NOT NULL))
);
CREATE INDEX usdc_transfers_open_idx ON usdc_transfers (chain_id, sender, nonce)
    WHERE state IN ('signed', 'unknown', 'submitted', 'mined');
CREATE INDEX usdc_transfers_confirmed_idx ON usdc_transfers (chain_id, sender, block_number) WHERE state = 'confirmed';

-- The signed bytes: version 0, and one more for each time the fee was raised. All have the transfer's nonce.
CREATE TABLE usdc_transactions (
    hash          TEXT        NOT NULL,
    payout_id     UUID        NOT NULL,
    advertiser_id UUID        NOT NULL,
    version       INTEGER     NOT NULL,
    raw           BYTEA       NOT NULL,
    gas           BIGINT      NOT NULL,
    -- Wei for a unit of gas: at most, and to whoever makes the block.
    fee_wei       BIGINT      NOT NULL,
    tip_wei       BIGINT      NOT NULL,
    signed_at     TIMESTAMPTZ NOT NULL,
    CONSTRAINT usdc_transactions_pkey PRIMARY KEY (hash),
    CONSTRAINT usdc_transactions_version_key UNIQUE (payout_id, version),
    CONSTRAINT usdc_transactions_payout_id_fk
        FOREIGN KEY (payout_id, advertiser_id) REFERENCES usdc_transfers (payout_id, advertiser_id),
    CONSTRAINT usdc_transactions_fee_check CHECK (gas > 0 AND fee_wei >= tip_wei AND tip_wei >= 0)
);
CREATE TRIGGER usdc_transactions_immutable BEFORE UPDATE OR DELETE ON usdc_transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- What a transfer pays, where to and with which nonce never changes, or it would be a second one.
CREATE FUNCTION guard_usdc_transfer() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.payout_id, NEW.advertiser_id, NEW.chain_id, NEW.sender, NEW.nonce, NEW.token, NEW.recipient,
        NEW.amount_micros, NEW.created_at)
        IS DISTINCT FROM (OLD.payout_id, OLD.advertiser_id, OLD.chain_id, OLD.sender, OLD.nonce, OLD.token,
        OLD.recipient, OLD.amount_micros, OLD.created_at) OR OLD.state = 'failed' THEN
        RAISE EXCEPTION 'the transfer of payout % cannot change like this', OLD.payout_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'usdc_transfers_immutable';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usdc_transfers_guard BEFORE UPDATE ON usdc_transfers
    FOR EACH ROW EXECUTE FUNCTION guard_usdc_transfer();
CREATE TRIGGER usdc_transfers_kept BEFORE DELETE ON usdc_transfers FOR EACH ROW EXECUTE FUNCTION refuse_change();
