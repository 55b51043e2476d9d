-- Deliveries are given up by age when they are looked at, not by a scan: the index by age goes, and one
-- for holding back and releasing an endpoint's deliveries comes. Older versions need neither.

DROP INDEX webhook_deliveries_expires_at_idx;
CREATE INDEX webhook_deliveries_open_idx
    ON webhook_deliveries (endpoint_id) WHERE state IN ('ready', 'waiting', 'held');
