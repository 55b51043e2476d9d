-- The sums of a batch live for about a second: to compress them cost the drainer a quarter of its time and the
-- fold some more. Rows that are there stay as they are; both kinds are read alike.

ALTER TABLE click_deltas
    ALTER COLUMN advertisers        SET STORAGE EXTERNAL,
    ALTER COLUMN link_keys          SET STORAGE EXTERNAL,
    ALTER COLUMN hours              SET STORAGE EXTERNAL,
    ALTER COLUMN classes            SET STORAGE EXTERNAL,
    ALTER COLUMN billable           SET STORAGE EXTERNAL,
    ALTER COLUMN counts             SET STORAGE EXTERNAL,
    ALTER COLUMN source_advertisers SET STORAGE EXTERNAL,
    ALTER COLUMN source_link_keys   SET STORAGE EXTERNAL,
    ALTER COLUMN source_days        SET STORAGE EXTERNAL,
    ALTER COLUMN source_kinds       SET STORAGE EXTERNAL,
    ALTER COLUMN source_names       SET STORAGE EXTERNAL,
    ALTER COLUMN source_counts      SET STORAGE EXTERNAL;
