-- What each role may do, by the owner of the tables, after every `control-plane migrate`:
--
--   psql -d affiliateos -U affiliateos_owner -f grants.sql
--
-- Safe to run again, also while everything runs.

\set ON_ERROR_STOP on
BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM affiliateos_app, affiliateos_payouts, affiliateos_readonly;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO affiliateos_readonly, affiliateos_payouts;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO affiliateos_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO affiliateos_app, affiliateos_payouts;

-- Keys, sessions, secrets and stored replies are nobody's reading but the application's.
REVOKE SELECT ON api_keys, dashboard_sessions, idempotency_keys, webhook_endpoints FROM affiliateos_readonly;
REVOKE SELECT ON api_keys, dashboard_sessions, idempotency_keys FROM affiliateos_payouts;

-- What is booked stays booked: a transfer is added, and never changed or taken away. The list of migrations is the owner's.
REVOKE UPDATE, DELETE ON ledger_transfers FROM affiliateos_app;
REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM affiliateos_app;

-- payouts-evm signs, follows and settles; a payout that failed gives its commissions and its money back, and says so.
GRANT INSERT, UPDATE ON usdc_senders, usdc_transfers, usdc_transactions TO affiliateos_payouts;
GRANT UPDATE ON payouts, commissions, conversions TO affiliateos_payouts;
GRANT INSERT ON ledger_transfers, trade_deltas TO affiliateos_payouts;
GRANT INSERT, UPDATE ON ledger_accounts TO affiliateos_payouts;
GRANT INSERT ON events, event_objects, event_outbox, event_feed, webhook_deliveries TO affiliateos_payouts;

-- Days of clicks are made and dropped by the application, as their owner and by these two functions alone.
ALTER FUNCTION ensure_click_partitions(DATE, DATE) SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION drop_click_partition(DATE, TIMESTAMPTZ) SECURITY DEFINER SET search_path = public, pg_temp;
REVOKE EXECUTE ON FUNCTION ensure_click_partitions(DATE, DATE), drop_click_partition(DATE, TIMESTAMPTZ) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_click_partitions(DATE, DATE), drop_click_partition(DATE, TIMESTAMPTZ) TO affiliateos_app;

-- New days, and new tables of the next version until this is run again.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO affiliateos_payouts;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO affiliateos_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO affiliateos_app, affiliateos_payouts;

COMMIT;
