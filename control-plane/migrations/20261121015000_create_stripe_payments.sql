-- Payments: what Stripe said, and what top-ups and subscriptions need to be paid through it.
-- New tables and nullable columns; the version before this one does not know them.

-- Events applied, each in the transaction of its effect, so that one sent again changes nothing.
CREATE TABLE stripe_events (
    -- Stripe's id of the event.
    id          TEXT        NOT NULL,
    type        TEXT        NOT NULL,
    -- What it is about.
    object_ref  TEXT,
    -- applied, ignored (none of our business), waiting (its payment is not known yet), mismatch (not what we asked for).
    outcome     TEXT        NOT NULL,
    detail      TEXT,
    created_at  TIMESTAMPTZ NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT stripe_events_pkey PRIMARY KEY (id),
    CONSTRAINT stripe_events_outcome_check CHECK (outcome IN ('applied', 'ignored', 'waiting', 'mismatch'))
);
CREATE INDEX stripe_events_received_at_idx ON stripe_events (received_at);

-- The agents' customers at Stripe.
CREATE TABLE stripe_customers (
    agent_id     UUID        NOT NULL,
    customer_ref TEXT        NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    CONSTRAINT stripe_customers_pkey PRIMARY KEY (agent_id),
    CONSTRAINT stripe_customers_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id)
);

-- A payment at Stripe, and for what it was: known once its own event came, which may be after its refund's.
CREATE TABLE stripe_payments (
    payment_ref     TEXT        NOT NULL,
    topup_id        UUID,
    -- The most that any event said had been refunded of it.
    refunded_micros BIGINT      NOT NULL DEFAULT 0,
    updated_at      TIMESTAMPTZ NOT NULL,
    CONSTRAINT stripe_payments_pkey PRIMARY KEY (payment_ref),
    CONSTRAINT stripe_payments_topup_id_fk FOREIGN KEY (topup_id) REFERENCES topups (id),
    CONSTRAINT stripe_payments_refunded_micros_check CHECK (refunded_micros >= 0)
);
CREATE INDEX stripe_payments_topup_id_idx ON stripe_payments (topup_id) WHERE topup_id IS NOT NULL;

-- Refunds and disputes. Their stage only rises, so that events may come in any order.
CREATE TABLE stripe_reversals (
    id            TEXT        NOT NULL,
    payment_ref   TEXT        NOT NULL,
    kind          TEXT        NOT NULL,
    amount_micros BIGINT      NOT NULL,
    stage         SMALLINT    NOT NULL,
    -- Whether the money is away at this stage.
    taken         BOOLEAN     NOT NULL,
    updated_at    TIMESTAMPTZ NOT NULL,
    CONSTRAINT stripe_reversals_pkey PRIMARY KEY (id),
    CONSTRAINT stripe_reversals_payment_ref_fk FOREIGN KEY (payment_ref) REFERENCES stripe_payments (payment_ref),
    CONSTRAINT stripe_reversals_kind_check CHECK (kind IN ('refund', 'dispute')),
    CONSTRAINT stripe_reversals_amount_micros_check CHECK (amount_micros > 0)
);
CREATE INDEX stripe_reversals_payment_ref_idx ON stripe_reversals (payment_ref);

-- What is known of subscriptions at Stripe, whether or not we know yet whose they are.
CREATE TABLE stripe_subscriptions (
    ref                  TEXT        NOT NULL,
    subscription_id      UUID,
    ended                BOOLEAN     NOT NULL DEFAULT FALSE,
    cancel_at_period_end BOOLEAN     NOT NULL DEFAULT FALSE,
    -- The time of the event that said so; an older one changes nothing.
    as_of                TIMESTAMPTZ NOT NULL,
    CONSTRAINT stripe_subscriptions_pkey PRIMARY KEY (ref),
    CONSTRAINT stripe_subscriptions_subscription_id_fk FOREIGN KEY (subscription_id) REFERENCES subscriptions (id)
);
CREATE INDEX stripe_subscriptions_subscription_id_idx ON stripe_subscriptions (subscription_id)
    WHERE subscription_id IS NOT NULL;

-- Their invoices. The stage only rises: 1 open, 2 its payment failed, 3 given up, 4 paid.
CREATE TABLE stripe_invoices (
    id              TEXT        NOT NULL,
    subscription_ref TEXT,
    subscription_id UUID,
    stage           SMALLINT    NOT NULL,
    amount_micros   BIGINT      NOT NULL,
    period_start    TIMESTAMPTZ,
    period_end      TIMESTAMPTZ,
    -- Whether the ledger has it.
    booked          BOOLEAN     NOT NULL DEFAULT FALSE,
    created_at      TIMESTAMPTZ NOT NULL,
    CONSTRAINT stripe_invoices_pkey PRIMARY KEY (id),
    CONSTRAINT stripe_invoices_subscription_id_fk FOREIGN KEY (subscription_id) REFERENCES subscriptions (id),
    CONSTRAINT stripe_invoices_amount_micros_check CHECK (amount_micros >= 0)
);
CREATE INDEX stripe_invoices_subscription_ref_idx ON stripe_invoices (subscription_ref) WHERE subscription_ref IS NOT NULL;
CREATE INDEX stripe_invoices_subscription_id_idx ON stripe_invoices (subscription_id) WHERE subscription_id IS NOT NULL;

ALTER TABLE topups
    -- Names the request that started it, so that the request sent again finds it.
    ADD COLUMN request_key TEXT,
    -- Times the money in it went back or came again: names those transfers.
    ADD COLUMN adjustments INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX topups_request_key_key ON topups (agent_id, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX topups_pending_idx ON topups (created_at) WHERE status = 'pending';

ALTER TABLE subscriptions
    -- What Stripe has still to be told, since when, and when that is tried next.
    ADD COLUMN provider_wish TEXT,
    ADD COLUMN provider_wish_at TIMESTAMPTZ,
    ADD COLUMN provider_try_at TIMESTAMPTZ,
    -- When the page to pay on was asked for: those of Stripe live for a day.
    ADD COLUMN checkout_at TIMESTAMPTZ,
    ADD CONSTRAINT subscriptions_provider_wish_check
        CHECK (provider_wish IN ('cancel_at_period_end', 'resume', 'cancel', 'expire_checkout')) NOT VALID;
CREATE INDEX subscriptions_provider_try_at_idx ON subscriptions (provider_try_at) WHERE provider_wish IS NOT NULL;
CREATE INDEX subscriptions_stripe_live_idx ON subscriptions (id) WHERE source = 'stripe' AND status <> 'canceled';

-- Who owes: few rows among all accounts.
CREATE INDEX ledger_accounts_owed_idx ON ledger_accounts (owner_id) WHERE kind = 'arrears' AND balance_micros < 0;
