//! What must be true of sums that are kept beside their rows. Each check adds the sums and the deltas that wait,
//! subtracts the rows, and shows by how much a sum is off.

use crate::features::audit::queries::Check;

pub(in crate::features::audit) const CHECKS: &[Check] = &[
    Check {
        name: "I28",
        rule: "the sums of an agent's hour are those of its conversions and commissions",
        sql: "WITH written AS (
                     SELECT advertiser_id, affiliate_id, created_at, 'lead' = event_type AS lead, 'sale' = event_type AS sale,
                            status = 'pending' AS pending, status IN ('approved', 'paid') AS approved,
                            status IN ('rejected', 'reversed') AS rejected,
                            CASE currency WHEN 'usd' THEN coalesce(revenue_micros, 0) ELSE 0 END AS revenue_micros,
                            0 AS pending_micros, 0 AS approved_micros, 0 AS paid_micros
                       FROM conversions
                      UNION ALL
                     SELECT advertiser_id, affiliate_id, created_at, FALSE, FALSE, FALSE, FALSE, FALSE, 0,
                            CASE status WHEN 'pending' THEN amount_micros ELSE 0 END,
                            CASE status WHEN 'approved' THEN amount_micros ELSE 0 END,
                            CASE status WHEN 'paid' THEN amount_micros ELSE 0 END
                       FROM commissions
                      WHERE currency = 'usd'),
                   rows AS (
                     SELECT CASE side WHEN 1 THEN advertiser_id ELSE affiliate_id END AS agent_id, side = 1 AS advertiser,
                            date_trunc('hour', created_at, 'UTC') AS hour, written.*
                       FROM written, generate_series(0, 1) AS side),
                   parts AS (
                     SELECT agent_id, advertiser, hour, leads, sales, pending, approved, rejected, revenue_micros,
                            pending_micros, approved_micros, paid_micros
                       FROM trade_hours
                      UNION ALL
                     SELECT CASE side WHEN 1 THEN advertiser_id ELSE affiliate_id END, side = 1, hour, leads, sales,
                            pending, approved, rejected, revenue_micros, pending_micros,
                            owed_micros + processing_micros, paid_micros
                       FROM trade_deltas, generate_series(0, 1) AS side
                      UNION ALL
                     SELECT agent_id, advertiser, hour, -lead::INTEGER, -sale::INTEGER, -pending::INTEGER,
                            -approved::INTEGER, -rejected::INTEGER, -revenue_micros, -pending_micros, -approved_micros,
                            -paid_micros
                       FROM rows)
              SELECT to_jsonb(broken) AS row
                FROM (SELECT agent_id, advertiser, hour, sum(leads) AS leads, sum(sales) AS sales,
                             sum(pending) AS pending, sum(approved) AS approved, sum(rejected) AS rejected,
                             sum(revenue_micros) AS revenue_micros, sum(pending_micros) AS pending_micros,
                             sum(approved_micros) AS approved_micros, sum(paid_micros) AS paid_micros
                        FROM parts
                       GROUP BY agent_id, advertiser, hour
                      HAVING (sum(leads), sum(sales), sum(pending), sum(approved), sum(rejected), sum(revenue_micros),
                              sum(pending_micros), sum(approved_micros), sum(paid_micros))
                             IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0, 0, 0)) AS broken
               LIMIT 100",
    },
    Check {
        name: "I29",
        rule: "the sums of an affiliate in a program are those of its commissions",
        sql: "WITH parts AS (
                     SELECT affiliate_id, program_id, commissions, pending_micros, owed_micros, processing_micros,
                            paid_micros, rejected_micros, reversed_micros
                       FROM trade_sums
                      UNION ALL
                     SELECT affiliate_id, program_id, commissions, pending_micros, owed_micros, processing_micros,
                            paid_micros, rejected_micros, reversed_micros
                       FROM trade_deltas
                      UNION ALL
                     SELECT affiliate_id, program_id, -(NOT reversal)::INTEGER,
                            CASE WHEN status = 'pending' THEN -amount_micros ELSE 0 END,
                            CASE WHEN status = 'approved' AND payout_id IS NULL THEN -amount_micros ELSE 0 END,
                            CASE WHEN status = 'approved' AND payout_id IS NOT NULL THEN -amount_micros ELSE 0 END,
                            CASE WHEN status = 'paid' THEN -amount_micros ELSE 0 END,
                            CASE WHEN status = 'rejected' THEN -amount_micros ELSE 0 END,
                            CASE WHEN reversal THEN amount_micros ELSE 0 END
                       FROM commissions
                      WHERE currency = 'usd')
              SELECT to_jsonb(broken) AS row
                FROM (SELECT affiliate_id, program_id, sum(commissions) AS commissions, sum(pending_micros) AS pending_micros,
                             sum(owed_micros) AS owed_micros, sum(processing_micros) AS processing_micros,
                             sum(paid_micros) AS paid_micros, sum(rejected_micros) AS rejected_micros,
                             sum(reversed_micros) AS reversed_micros
                        FROM parts
                       GROUP BY affiliate_id, program_id
                      HAVING (sum(commissions), sum(pending_micros), sum(owed_micros), sum(processing_micros),
                              sum(paid_micros), sum(rejected_micros), sum(reversed_micros))
                             IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0)) AS broken
               LIMIT 100",
    },
];
