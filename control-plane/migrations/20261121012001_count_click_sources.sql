-- Stats: clicks by country and by sub id, a row per link and day; indexes for reading stats by link and by time.
-- Safe while the previous version runs: the columns have defaults, and a fold that does not know them
-- folds the rest.

CREATE TABLE link_sources (
    advertiser INTEGER  NOT NULL,
    link_key   BIGINT   NOT NULL,
    day        DATE     NOT NULL,
    -- 0: the country, two letters; 1: `sub1` of the click. An empty sub id stands for all beyond the limit.
    kind       SMALLINT NOT NULL,
    name       TEXT     NOT NULL,
    clicks     BIGINT   NOT NULL,
    CONSTRAINT link_sources_pkey PRIMARY KEY (advertiser, link_key, day, kind, name),
    CONSTRAINT link_sources_kind_check CHECK (kind IN (0, 1)),
    CONSTRAINT link_sources_clicks_check CHECK (clicks > 0)
) WITH (fillfactor = 80);
CREATE INDEX link_sources_link_key_idx ON link_sources (link_key, day);
CREATE INDEX link_sources_advertiser_idx ON link_sources (advertiser, day);

ALTER TABLE click_deltas
    ADD COLUMN source_advertisers INTEGER[]  NOT NULL DEFAULT '{}',
    ADD COLUMN source_link_keys   BIGINT[]   NOT NULL DEFAULT '{}',
    -- Days since the Unix epoch.
    ADD COLUMN source_days        INTEGER[]  NOT NULL DEFAULT '{}',
    ADD COLUMN source_kinds       SMALLINT[] NOT NULL DEFAULT '{}',
    ADD COLUMN source_names       TEXT[]     NOT NULL DEFAULT '{}',
    ADD COLUMN source_counts      INTEGER[]  NOT NULL DEFAULT '{}';

CREATE INDEX link_hours_link_key_hour_idx ON link_hours (link_key, hour);
DROP INDEX link_hours_link_key_idx;
CREATE INDEX link_hours_advertiser_hour_idx ON link_hours (advertiser, hour);
CREATE INDEX commissions_program_id_created_at_idx ON commissions (program_id, created_at);
