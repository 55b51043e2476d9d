//! What must be true of clicks between an edge's frame and an account's month. The sums of whole spools, that is
//! conservation (I13), each batch once (I15) and each sequence once (I16), are `workers::reconcile`'s.

use crate::features::audit::queries::Check;

pub(in crate::features::audit) const CHECKS: &[Check] = &[
    Check {
        name: "I12",
        rule: "a click counts in the month it happened in, or as late in a later one, and on a link of its account",
        sql: "WITH counted AS (
                     SELECT hours.advertiser, date_trunc('month', hours.hour, 'UTC')::DATE AS month,
                            sum(hours.billable) AS billable
                       FROM link_hours AS hours
                       JOIN agents ON agents.number = hours.advertiser
                      GROUP BY 1, 2),
                   metered AS (
                     SELECT advertiser, month, used - late AS on_time FROM usage_months WHERE metric = 'clicks')
              SELECT to_jsonb(broken) AS row
                FROM (SELECT coalesce(metered.advertiser, counted.advertiser) AS advertiser,
                             coalesce(metered.month, counted.month) AS month, counted.billable, metered.on_time,
                             NULL::BIGINT AS link_key
                        FROM metered
                        FULL JOIN counted ON counted.advertiser = metered.advertiser AND counted.month = metered.month
                       CROSS JOIN usage_closed AS closed
                       WHERE coalesce(metered.on_time, 0) > coalesce(counted.billable, 0)
                          OR (coalesce(metered.on_time, 0) < coalesce(counted.billable, 0)
                              AND coalesce(metered.month, counted.month) > coalesce(closed.through, '-infinity'))
                       UNION ALL
                      SELECT hours.advertiser, NULL, sum(hours.clicks), NULL, hours.link_key
                        FROM link_hours AS hours
                        JOIN links ON links.key = hours.link_key
                        JOIN agents ON agents.id = links.advertiser_id
                       WHERE agents.number <> hours.advertiser
                       GROUP BY hours.advertiser, hours.link_key) AS broken
               LIMIT 100",
    },
    Check {
        name: "I14",
        rule: "nothing is metered but conversions that were taken and clicks that were stored as metered",
        sql: "WITH kept AS (
                     -- Days before it are dropped.
                     SELECT coalesce((max(day) + 1)::TIMESTAMP AT TIME ZONE 'UTC', '-infinity') AS since
                       FROM click_days_dropped),
                   clicks_of AS (
                     SELECT advertiser, sum(stored) AS stored, sum(metered) AS metered
                       FROM (SELECT advertiser, count(*) AS stored, 0 AS metered
                               FROM clicks, kept
                              WHERE at >= kept.since AND flags & 1 = 1
                              GROUP BY advertiser
                              UNION ALL
                             SELECT advertiser, 0, sum(billable)
                               FROM link_hours, kept
                              WHERE hour >= kept.since
                              GROUP BY advertiser
                              UNION ALL
                             SELECT delta.advertiser, 0, sum(delta.clicks)
                               FROM click_deltas, kept,
                                    unnest(advertisers, hours, billable, counts) AS delta (advertiser, hour, billable, clicks)
                              WHERE delta.billable AND to_timestamp(delta.hour * 3600::BIGINT) >= kept.since
                              GROUP BY delta.advertiser) AS stages
                      GROUP BY advertiser),
                   taken AS (
                     SELECT agents.number AS advertiser, date_trunc('month', conversions.created_at, 'UTC')::DATE AS month,
                            count(*) AS conversions
                       FROM conversions
                       JOIN agents ON agents.id = conversions.advertiser_id
                      GROUP BY 1, 2)
              SELECT to_jsonb(broken) AS row
                FROM (SELECT advertiser, NULL::DATE AS month, 'clicks' AS metric, stored AS recorded, metered
                        FROM clicks_of
                       WHERE stored <> metered
                       UNION ALL
                      SELECT coalesce(usage.advertiser, taken.advertiser), coalesce(usage.month, taken.month), 'conversions',
                             coalesce(taken.conversions, 0), coalesce(usage.used, 0)
                        FROM (SELECT advertiser, month, used FROM usage_months WHERE metric = 'conversions') AS usage
                        FULL JOIN taken ON taken.advertiser = usage.advertiser AND taken.month = usage.month
                       WHERE coalesce(usage.used, 0) <> coalesce(taken.conversions, 0)) AS broken
               LIMIT 100",
    },
    Check {
        name: "I17",
        rule: "nothing of a spool lies beyond its watermark",
        sql: "WITH tags AS (
                     SELECT ('x' || left(spool::TEXT, 8))::BIT(32)::INTEGER AS spool_tag, max(watermark) AS watermark
                       FROM spools
                      GROUP BY 1)
              SELECT to_jsonb(broken) AS row
                FROM (SELECT newest.spool_tag, newest.seq, tags.watermark
                        FROM (SELECT spool_tag, max(seq) AS seq FROM clicks WHERE spool_tag <> 0 GROUP BY spool_tag) AS newest
                        LEFT JOIN tags ON tags.spool_tag = newest.spool_tag
                       WHERE newest.seq >= coalesce(tags.watermark, 0)
                       UNION ALL
                      SELECT ('x' || left(frame.spool::TEXT, 8))::BIT(32)::INTEGER, frame.counted_first + frame.counted - 1,
                             spools.watermark
                        FROM parked_frames AS frame
                        LEFT JOIN spools ON spools.spool = frame.spool
                       WHERE frame.counted > 0 AND frame.counted_first + frame.counted > coalesce(spools.watermark, 0)
                       UNION ALL
                      SELECT ('x' || left(spool::TEXT, 8))::BIT(32)::INTEGER, last_first_seq, watermark
                        FROM spools
                       WHERE last_first_seq > watermark) AS broken
               LIMIT 100",
    },
    Check {
        name: "I18",
        rule: "a stored click is one that a frame can say",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT at, spool_tag, seq, class, flags, country, octet_length(notes) AS notes
                        FROM clicks
                       WHERE class NOT BETWEEN 0 AND 8 OR flags NOT BETWEEN 0 AND 7 OR seq < 0
                          OR (country <> 0
                              AND (country >> 8 NOT BETWEEN 65 AND 90 OR country & 255 NOT BETWEEN 65 AND 90))
                          OR octet_length(notes) = 0) AS broken
               LIMIT 100",
    },
    Check {
        name: "I19",
        rule: "the sequences missing below a watermark are those that were parked or declared lost",
        sql: "WITH tags AS (
                     SELECT ('x' || left(spool::TEXT, 8))::BIT(32)::INTEGER AS spool_tag, sum(watermark) AS watermark,
                            sum(parked + declared_loss) AS absent, count(*) AS spools
                       FROM spools
                      GROUP BY 1)
              SELECT to_jsonb(broken) AS row
                FROM (SELECT tags.spool_tag, tags.watermark, tags.absent, coalesce(kept.sequences, 0) AS sequences
                        FROM tags
                        LEFT JOIN (SELECT spool_tag, count(DISTINCT seq) AS sequences FROM clicks GROUP BY spool_tag) AS kept
                          ON kept.spool_tag = tags.spool_tag
                       WHERE tags.spools = 1
                         AND NOT EXISTS (SELECT FROM dropped_clicks WHERE dropped_clicks.spool_tag = tags.spool_tag)
                         AND tags.watermark - tags.absent <> coalesce(kept.sequences, 0)) AS broken
               LIMIT 100",
    },
];
