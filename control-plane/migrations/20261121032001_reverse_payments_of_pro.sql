-- Payments: which invoice of Pro a payment paid, and what went back of it.
-- New columns with defaults; the version before this one leaves them alone.

ALTER TABLE stripe_payments
    ADD COLUMN invoice_ref TEXT,
    -- What the ledger has given back of the invoice, in so many steps.
    ADD COLUMN back_micros BIGINT  NOT NULL DEFAULT 0,
    ADD COLUMN adjustments INTEGER NOT NULL DEFAULT 0,
    ADD CONSTRAINT stripe_payments_back_micros_check CHECK (back_micros >= 0);
CREATE INDEX stripe_payments_invoice_ref_idx ON stripe_payments (invoice_ref) WHERE invoice_ref IS NOT NULL;
