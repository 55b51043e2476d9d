-- Agents: a code to bring others with, and who came by whose. The default gives every account one.
-- Safe while the previous version runs: it leaves the columns alone.

ALTER TABLE agents
    ADD COLUMN referral_code TEXT NOT NULL DEFAULT substr(replace(gen_random_uuid()::TEXT, '-', ''), 1, 12),
    ADD COLUMN referred_by   UUID,
    ADD CONSTRAINT agents_referral_code_check CHECK (referral_code ~ '^[0-9a-f]{12}$'),
    ADD CONSTRAINT agents_referred_by_fk FOREIGN KEY (referred_by) REFERENCES agents (id),
    ADD CONSTRAINT agents_referred_by_check CHECK (referred_by <> id);
CREATE UNIQUE INDEX agents_referral_code_key ON agents (referral_code);
CREATE INDEX agents_referred_by_idx ON agents (referred_by) WHERE referred_by IS NOT NULL;
