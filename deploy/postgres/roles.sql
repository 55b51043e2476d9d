-- Roles of least privilege, once per cluster, by a superuser, connected to the database of AffiliateOS:
--
--   createdb affiliateos && psql -d affiliateos -f roles.sql
--
-- then `control-plane migrate` as affiliateos_owner: it gives the others what they may do, table by table, each time it
-- runs (control-plane/src/db/grants.rs). Set passwords with \password; none is here.
--
--   affiliateos_owner     owns the tables; only `migrate` logs in as it
--   affiliateos_app       control-plane: reads and writes rows, changes no table
--   affiliateos_drain     `control-plane drain`, where it runs apart: clicks and nothing else
--   affiliateos_payouts   payouts-evm: its own tables, and what a payout touches
--   affiliateos_readonly  psql, reports, `control-plane reconcile` and the exporter of metrics
-- Safe to run again.

\set ON_ERROR_STOP on

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['affiliateos_owner', 'affiliateos_app', 'affiliateos_drain', 'affiliateos_payouts', 'affiliateos_readonly'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO affiliateos_owner, affiliateos_app, affiliateos_drain, affiliateos_payouts, affiliateos_readonly',
        current_database());
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO affiliateos_owner;
GRANT USAGE ON SCHEMA public TO affiliateos_app, affiliateos_drain, affiliateos_payouts, affiliateos_readonly;

-- The exporter inherits what it may read of the server's own state.
ALTER ROLE affiliateos_readonly INHERIT;
GRANT pg_monitor TO affiliateos_readonly;
ALTER ROLE affiliateos_readonly SET default_transaction_read_only = on;
ALTER ROLE affiliateos_readonly SET statement_timeout = '60s';
ALTER ROLE affiliateos_readonly CONNECTION LIMIT 20;
