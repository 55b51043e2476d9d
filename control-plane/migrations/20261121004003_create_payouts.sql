-- Payouts: commissions on their way to affiliates, and the addresses they go to.
-- New tables; commissions get a foreign key and indexes the version before this one does not mind.

CREATE TABLE payouts (
    id            UUID        NOT NULL,
    advertiser_id UUID        NOT NULL,
    program_id    UUID        NOT NULL,
    affiliate_id  UUID        NOT NULL,
    -- The sum of its commissions, those that take back included.
    amount_micros BIGINT      NOT NULL,
    currency      TEXT        NOT NULL,
    method        TEXT        NOT NULL,
    status        TEXT        NOT NULL,
    -- usdc: where to, and not before when (an address that has just changed).
    address       TEXT,
    not_before    TIMESTAMPTZ,
    -- external: the advertiser's word for its payment. usdc: the transaction.
    reference     TEXT,
    failure       TEXT,
    -- The affiliate asked for it under /v1, instead of the advertiser.
    requested     BOOLEAN     NOT NULL DEFAULT FALSE,
    created_at    TIMESTAMPTZ NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    paid_at       TIMESTAMPTZ,
    CONSTRAINT payouts_pkey PRIMARY KEY (id, advertiser_id),
    CONSTRAINT payouts_program_id_fk FOREIGN KEY (program_id) REFERENCES programs (id),
    CONSTRAINT payouts_parties_check CHECK (affiliate_id <> advertiser_id),
    CONSTRAINT payouts_amount_micros_check CHECK (amount_micros > 0),
    CONSTRAINT payouts_currency_check CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT payouts_method_check CHECK (method IN ('wallet', 'external', 'usdc')),
    CONSTRAINT payouts_status_check CHECK (status IN ('awaiting_funds', 'pending', 'processing', 'paid', 'failed')),
    CONSTRAINT payouts_paid_at_check CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT payouts_address_check CHECK ((method = 'usdc') = (address IS NOT NULL)),
    CONSTRAINT payouts_address_form_check CHECK (address ~ '^0x[0-9a-fA-F]{40}$'),
    CONSTRAINT payouts_failure_check CHECK ((status = 'failed') = (failure IS NOT NULL))
);
CREATE INDEX payouts_advertiser_id_idx ON payouts (advertiser_id, created_at DESC, id DESC);
CREATE INDEX payouts_affiliate_id_idx ON payouts (affiliate_id, created_at DESC, id DESC);
CREATE INDEX payouts_open_idx ON payouts (method, status, created_at) WHERE status IN ('awaiting_funds', 'pending', 'processing');

-- A payout states its amount once; only its state moves on.
CREATE FUNCTION guard_payout() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.advertiser_id, NEW.program_id, NEW.affiliate_id, NEW.amount_micros, NEW.currency, NEW.method,
        NEW.address, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.advertiser_id, OLD.program_id, OLD.affiliate_id, OLD.amount_micros, OLD.currency,
        OLD.method, OLD.address, OLD.created_at) OR OLD.status IN ('paid', 'failed') THEN
        RAISE EXCEPTION 'payout % cannot change like this', OLD.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'payouts_immutable';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payouts_guard BEFORE UPDATE ON payouts FOR EACH ROW EXECUTE FUNCTION guard_payout();
CREATE TRIGGER payouts_kept BEFORE DELETE ON payouts FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE commissions
    ADD CONSTRAINT commissions_payout_id_fk FOREIGN KEY (payout_id, advertiser_id) REFERENCES payouts (id, advertiser_id),
    ADD CONSTRAINT commissions_paid_check CHECK (status <> 'paid' OR payout_id IS NOT NULL);
CREATE INDEX commissions_payable_idx ON commissions (program_id, affiliate_id)
    WHERE status = 'approved' AND payout_id IS NULL;
CREATE INDEX commissions_payout_id_idx ON commissions (payout_id) WHERE payout_id IS NOT NULL;

CREATE TABLE payout_addresses (
    agent_id   UUID        NOT NULL,
    address    TEXT        NOT NULL,
    -- A changed address is not paid to before: whoever stole a key must be noticed first.
    usable_at  TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT payout_addresses_pkey PRIMARY KEY (agent_id),
    CONSTRAINT payout_addresses_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT payout_addresses_address_check CHECK (address ~ '^0x[0-9a-fA-F]{40}$')
);
