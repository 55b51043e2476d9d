-- Links: counting a link's conversions reads the index alone. Nothing else looks conversions up by link.

DROP INDEX conversions_link_id_idx;
CREATE INDEX conversions_link_id_idx ON conversions (link_id) WHERE status <> 'rejected';
