-- {clicks} clicks of the last 90 days over {links} links, written past the drainer: as it stores them (those that are
-- kept, of the last 29 days), and as the fold counts them (by hour and class, by day and source).

CREATE TEMP TABLE page_links AS
SELECT row_number() OVER (ORDER BY links.key) AS nth, links.key, agents.number AS advertiser
  FROM links
  JOIN agents ON agents.id = links.advertiser_id
 ORDER BY links.key
 LIMIT {links};

CREATE TEMP TABLE page_clicks AS
SELECT n, now() - n * (interval '90 days' / {clicks}) AS at, link.key, link.advertiser,
       -- People, agents, tools; crawlers and repeats, which are not counted.
       (ARRAY[0, 0, 0, 0, 0, 1, 1, 6, 4, 8])[n % 10 + 1] AS class
  FROM generate_series(1, {clicks}) AS n
  JOIN page_links AS link ON link.nth = (n / 10 + n % 7) % {links} + 1;

INSERT INTO clicks (at, seq, link_key, visitor, spool_tag, advertiser, class, flags, country, notes)
SELECT at, n, key, n % 100000, 1, advertiser, class, 0, 0, NULL
  FROM page_clicks
 WHERE at > now() - interval '29 days'
 ORDER BY at;

INSERT INTO link_hours (advertiser, link_key, hour, class, clicks, billable)
SELECT advertiser, key, date_trunc('hour', at), class, count(*), count(*) FILTER (WHERE class IN (0, 1, 6))
  FROM page_clicks
 GROUP BY advertiser, key, date_trunc('hour', at), class;

INSERT INTO link_sources (advertiser, link_key, day, kind, name, clicks)
SELECT advertiser, key, at::DATE, kind, CASE kind WHEN 0 THEN country ELSE 'campaign-' || n % 40 END, count(*)
  FROM page_clicks
 CROSS JOIN generate_series(0, 1) AS kind
 CROSS JOIN LATERAL (SELECT (ARRAY['US', 'DE', 'GB', 'IN', 'FR', 'BR', 'JP', 'CA', 'NL', 'ES'])[n % 10 + 1] AS country) AS place
 GROUP BY advertiser, key, at::DATE, kind, CASE kind WHEN 0 THEN country ELSE 'campaign-' || n % 40 END;
