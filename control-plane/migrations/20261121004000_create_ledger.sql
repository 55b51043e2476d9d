-- Ledger: accounts and the immutable transfers between them. Money moves through ledger_post() alone.
-- New tables; the version before this one does not know them.

-- Every account belongs to an agent, the ones that stand for the outside world and for our fees too:
-- there is no row that all agents' money passes through, so none that they wait for.
CREATE TABLE ledger_accounts (
    id             UUID        NOT NULL,
    owner_id       UUID        NOT NULL,
    kind           TEXT        NOT NULL,
    currency       TEXT        NOT NULL,
    -- Credits minus debits, always: only the trigger on ledger_transfers writes it.
    balance_micros BIGINT      NOT NULL DEFAULT 0,
    -- Transfers so far, and the digest that chains them.
    version        BIGINT      NOT NULL DEFAULT 0,
    digest         BYTEA       NOT NULL DEFAULT '\x',
    created_at     TIMESTAMPTZ NOT NULL,
    CONSTRAINT ledger_accounts_pkey PRIMARY KEY (id),
    CONSTRAINT ledger_accounts_owner_id_kind_currency_key UNIQUE (owner_id, kind, currency),
    CONSTRAINT ledger_accounts_owner_id_fk FOREIGN KEY (owner_id) REFERENCES agents (id),
    CONSTRAINT ledger_accounts_currency_check CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT ledger_accounts_kind_check CHECK (kind IN (
        -- What the agent can spend, and what is set aside for a payout on its way.
        'wallet', 'held',
        -- What the agent paid us, by what for.
        'clicks', 'conversions', 'matching_requests', 'pro',
        -- What left for the affiliate's address.
        'paid_out',
        -- Where money came from (negative: that much came in), and what the agent owes us (negative).
        'sandbox', 'stripe', 'x402', 'arrears')),
    CONSTRAINT ledger_accounts_balance_micros_check CHECK (
        CASE WHEN kind IN ('sandbox', 'stripe', 'x402', 'arrears') THEN balance_micros <= 0
             ELSE balance_micros >= 0 END),
    CONSTRAINT ledger_accounts_size_check CHECK (balance_micros BETWEEN -1e17::BIGINT AND 1e17::BIGINT)
) WITH (fillfactor = 50);

CREATE TABLE ledger_transfers (
    id                   UUID        NOT NULL,
    debit_account        UUID        NOT NULL,
    credit_account       UUID        NOT NULL,
    amount_micros        BIGINT      NOT NULL,
    currency             TEXT        NOT NULL,
    kind                 TEXT        NOT NULL,
    -- What it is for; with the kind it names the transfer, so that it happens once.
    reference            TEXT        NOT NULL,
    -- For what is metered: how many, at what price, of which month.
    quantity             BIGINT,
    unit_micros          BIGINT,
    month                DATE,
    created_at           TIMESTAMPTZ NOT NULL,
    -- The account after this transfer, and the transfer's place in the account's chain.
    debit_version        BIGINT      NOT NULL,
    credit_version       BIGINT      NOT NULL,
    debit_balance_micros  BIGINT     NOT NULL,
    credit_balance_micros BIGINT     NOT NULL,
    debit_digest         BYTEA       NOT NULL,
    credit_digest        BYTEA       NOT NULL,
    CONSTRAINT ledger_transfers_pkey PRIMARY KEY (id),
    CONSTRAINT ledger_transfers_kind_reference_key UNIQUE (kind, reference),
    CONSTRAINT ledger_transfers_debit_account_version_key UNIQUE (debit_account, debit_version),
    CONSTRAINT ledger_transfers_credit_account_version_key UNIQUE (credit_account, credit_version),
    CONSTRAINT ledger_transfers_debit_account_fk FOREIGN KEY (debit_account) REFERENCES ledger_accounts (id),
    CONSTRAINT ledger_transfers_credit_account_fk FOREIGN KEY (credit_account) REFERENCES ledger_accounts (id),
    CONSTRAINT ledger_transfers_accounts_check CHECK (debit_account <> credit_account),
    CONSTRAINT ledger_transfers_amount_micros_check CHECK (amount_micros BETWEEN 1 AND 1e15::BIGINT),
    CONSTRAINT ledger_transfers_metered_check CHECK (
        (quantity IS NULL AND unit_micros IS NULL AND month IS NULL)
        OR (quantity > 0 AND unit_micros > 0 AND month IS NOT NULL
            AND quantity::NUMERIC * unit_micros = amount_micros AND extract(DAY FROM month) = 1))
);

-- Link of an account's chain: nothing of a transfer can change without breaking every later link.
CREATE FUNCTION ledger_digest(previous BYTEA, transfer ledger_transfers) RETURNS BYTEA
    LANGUAGE sql IMMUTABLE AS $$
    SELECT sha256(
        previous || uuid_send(transfer.id) || uuid_send(transfer.debit_account) || uuid_send(transfer.credit_account)
        || int8send(transfer.amount_micros) || timestamptz_send(transfer.created_at)
        || convert_to(concat_ws(E'\x1f', transfer.currency, transfer.kind, transfer.reference,
            coalesce(transfer.quantity, 0)::TEXT, coalesce(transfer.unit_micros, 0)::TEXT,
            coalesce(transfer.month::TEXT, '')), 'UTF8'))
$$;

CREATE FUNCTION refuse_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_TABLE_NAME || '_immutable';
END $$;
CREATE TRIGGER ledger_transfers_immutable BEFORE UPDATE OR DELETE ON ledger_transfers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_transfers_kept BEFORE TRUNCATE ON ledger_transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_accounts_kept BEFORE DELETE ON ledger_accounts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_accounts_not_truncated BEFORE TRUNCATE ON ledger_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A new transfer moves both balances; nothing else may. A transfer that does not continue both chains
-- from where they are is refused.
CREATE FUNCTION apply_transfer() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger_accounts
       SET balance_micros = balance_micros - NEW.amount_micros, version = version + 1, digest = NEW.debit_digest
     WHERE id = NEW.debit_account AND currency = NEW.currency AND version = NEW.debit_version - 1
       AND balance_micros - NEW.amount_micros = NEW.debit_balance_micros
       AND ledger_digest(digest, NEW) = NEW.debit_digest;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'transfer % does not continue its debit account', NEW.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    UPDATE ledger_accounts
       SET balance_micros = balance_micros + NEW.amount_micros, version = version + 1, digest = NEW.credit_digest
     WHERE id = NEW.credit_account AND currency = NEW.currency AND version = NEW.credit_version - 1
       AND balance_micros + NEW.amount_micros = NEW.credit_balance_micros
       AND ledger_digest(digest, NEW) = NEW.credit_digest;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'transfer % does not continue its credit account', NEW.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_transfers_apply AFTER INSERT ON ledger_transfers
    FOR EACH ROW EXECUTE FUNCTION apply_transfer();

CREATE FUNCTION guard_account() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.balance_micros <> 0 OR NEW.version <> 0 OR NEW.digest <> '\x' THEN
            RAISE EXCEPTION 'an account starts empty'
                USING ERRCODE = 'restrict_violation', CONSTRAINT = 'ledger_accounts_immutable';
        END IF;
    -- 1: this trigger itself; 2: called out of apply_transfer().
    ELSIF pg_trigger_depth() < 2 OR (NEW.id, NEW.owner_id, NEW.kind, NEW.currency, NEW.created_at)
            IS DISTINCT FROM (OLD.id, OLD.owner_id, OLD.kind, OLD.currency, OLD.created_at) THEN
        RAISE EXCEPTION 'a balance is the sum of its transfers'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'ledger_accounts_immutable';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_accounts_guard BEFORE INSERT OR UPDATE ON ledger_accounts
    FOR EACH ROW EXECUTE FUNCTION guard_account();

-- Posts transfers, all columns one array each. The only door.
--   Accounts are made when they are first used, then all of them are locked in the order of their ids, so
--   that no two calls wait for each other in a circle. A debit that the account cannot cover is skipped
--   (`short`, with what is missing); the same transfer again is `repeated`; the same name with other fields fails.
CREATE FUNCTION ledger_post(
    ids UUID[], debit_owners UUID[], debit_kinds TEXT[], credit_owners UUID[], credit_kinds TEXT[],
    amounts BIGINT[], kinds TEXT[], refs TEXT[], quantities BIGINT[], units BIGINT[], months DATE[],
    in_currency TEXT, at TIMESTAMPTZ)
    RETURNS TABLE (transfer_id UUID, outcome TEXT, missing_micros BIGINT) LANGUAGE plpgsql AS $$
DECLARE
    debits UUID[];
    credits UUID[];
    debit ledger_accounts;
    credit ledger_accounts;
    new ledger_transfers;
    old ledger_transfers;
BEGIN
    INSERT INTO ledger_accounts (id, owner_id, kind, currency, created_at)
    SELECT gen_random_uuid(), wanted.owner_id, wanted.kind, in_currency, at
      FROM (SELECT * FROM unnest(debit_owners, debit_kinds) UNION SELECT * FROM unnest(credit_owners, credit_kinds))
           AS wanted (owner_id, kind)
     WHERE NOT EXISTS (
           SELECT FROM ledger_accounts AS known
            WHERE known.owner_id = wanted.owner_id AND known.kind = wanted.kind AND known.currency = in_currency)
     ORDER BY wanted.owner_id, wanted.kind
        ON CONFLICT (owner_id, kind, currency) DO NOTHING;
    SELECT array_agg(d.id ORDER BY n), array_agg(c.id ORDER BY n)
      INTO debits, credits
      FROM unnest(debit_owners, debit_kinds, credit_owners, credit_kinds)
           WITH ORDINALITY AS given (debit_owner, debit_kind, credit_owner, credit_kind, n)
      JOIN ledger_accounts AS d ON d.owner_id = debit_owner AND d.kind = debit_kind AND d.currency = in_currency
      JOIN ledger_accounts AS c ON c.owner_id = credit_owner AND c.kind = credit_kind AND c.currency = in_currency;
    PERFORM FROM ledger_accounts AS locked WHERE locked.id = ANY (debits || credits) ORDER BY locked.id FOR NO KEY UPDATE;
    FOR n IN 1 .. cardinality(ids) LOOP
        missing_micros := 0;
        SELECT * INTO old FROM ledger_transfers AS known WHERE known.kind = kinds[n] AND known.reference = refs[n];
        IF FOUND THEN
            IF (old.debit_account, old.credit_account, old.amount_micros, old.currency, old.quantity, old.unit_micros, old.month)
                IS DISTINCT FROM (debits[n], credits[n], amounts[n], in_currency, quantities[n], units[n], months[n]) THEN
                RAISE EXCEPTION 'transfer % % exists with other fields', kinds[n], refs[n]
                    USING ERRCODE = 'unique_violation', CONSTRAINT = 'ledger_transfers_kind_reference_key';
            END IF;
            transfer_id := old.id;
            outcome := 'repeated';
            RETURN NEXT;
            CONTINUE;
        END IF;
        SELECT * INTO debit FROM ledger_accounts AS known WHERE known.id = debits[n];
        SELECT * INTO credit FROM ledger_accounts AS known WHERE known.id = credits[n];
        transfer_id := ids[n];
        IF debit.balance_micros < amounts[n] AND debit_kinds[n] NOT IN ('sandbox', 'stripe', 'x402', 'arrears') THEN
            outcome := 'short';
            missing_micros := amounts[n] - debit.balance_micros;
            RETURN NEXT;
            CONTINUE;
        END IF;
        new := ROW(ids[n], debits[n], credits[n], amounts[n], in_currency, kinds[n], refs[n], quantities[n], units[n],
            months[n], at, debit.version + 1, credit.version + 1, debit.balance_micros - amounts[n],
            credit.balance_micros + amounts[n], '\x', '\x');
        new.debit_digest := ledger_digest(debit.digest, new);
        new.credit_digest := ledger_digest(credit.digest, new);
        INSERT INTO ledger_transfers SELECT new.*;
        outcome := 'posted';
        RETURN NEXT;
    END LOOP;
END $$;
