-- Domains that are served although the DNS says no more that they are their owner's.
-- A nullable column; the version before this one does not mind it.

ALTER TABLE domains ADD COLUMN proof_lost_at TIMESTAMPTZ;
