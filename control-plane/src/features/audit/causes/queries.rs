//! What must be true of the reasons that money moved for, and of the rows that commissions come from.

use crate::features::audit::queries::Check;

pub(in crate::features::audit) const CHECKS: &[Check] = &[
    Check {
        name: "I5",
        rule: "one name, one transfer",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT kind, reference, count(*) AS transfers, sum(amount_micros) AS moved_micros
                        FROM ledger_transfers
                       GROUP BY kind, reference
                      HAVING count(*) > 1) AS broken
               LIMIT 100",
    },
    Check {
        name: "I7",
        rule: "what was refused or broken off moved nothing: every transfer has the row it was made for",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT id, kind, reference, amount_micros
                        FROM ledger_transfers
                       WHERE CASE
                             WHEN kind = 'conversion' THEN reference NOT IN (SELECT id::TEXT FROM conversions)
                             WHEN kind LIKE 'topup%' THEN split_part(reference, ':', 1) NOT IN (SELECT id::TEXT FROM topups)
                             WHEN kind LIKE 'payout%' THEN reference NOT IN (SELECT id::TEXT FROM payouts)
                             WHEN kind LIKE 'pro%' THEN split_part(reference, ':', 1) NOT IN (SELECT id::TEXT FROM subscriptions)
                             WHEN kind = 'clicks' THEN split_part(reference, ':', 1) NOT IN (
                                 SELECT agents.id::TEXT
                                   FROM usage_months
                                   JOIN agents ON agents.number = usage_months.advertiser
                                  WHERE usage_months.metric = 'clicks' AND usage_months.billed > 0)
                             ELSE FALSE END) AS broken
               LIMIT 100",
    },
    Check {
        name: "I8",
        rule: "accounts saw the transfers between them in one order, and no step of it went below zero",
        sql: "WITH pairs AS (
                     SELECT id, debit_account < credit_account AS forth,
                            least(debit_account, credit_account) AS one, greatest(debit_account, credit_account) AS other,
                            CASE WHEN debit_account < credit_account THEN debit_version ELSE credit_version END AS one_version,
                            CASE WHEN debit_account < credit_account THEN credit_version ELSE debit_version END AS other_version
                       FROM ledger_transfers),
                   steps AS (
                     SELECT id, debit_account AS account, debit_balance_micros AS balance_micros FROM ledger_transfers
                      UNION ALL
                     SELECT id, credit_account, credit_balance_micros FROM ledger_transfers)
              SELECT to_jsonb(broken) AS row
                FROM (SELECT id, one AS account, NULL::BIGINT AS balance_micros
                        FROM (SELECT id, one, other_version < lag(other_version) OVER (
                                                PARTITION BY one, other ORDER BY one_version) AS turned
                                FROM pairs) AS ordered
                       WHERE turned
                       UNION ALL
                      SELECT steps.id, steps.account, steps.balance_micros
                        FROM steps
                        JOIN ledger_accounts AS kept ON kept.id = steps.account
                       WHERE CASE WHEN kept.kind IN ('sandbox', 'stripe', 'x402', 'arrears') THEN steps.balance_micros > 0
                                  ELSE steps.balance_micros < 0 END) AS broken
               LIMIT 100",
    },
    Check {
        name: "I25",
        rule: "one conversion per order and kind, by its link's affiliate and program, and no share above the sale",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT conversion.id, conversion.link_id, commission.amount_micros, conversion.revenue_micros,
                             NULL AS external_id
                        FROM conversions AS conversion
                        LEFT JOIN links AS link ON link.id = conversion.link_id
                        LEFT JOIN commissions AS commission
                          ON commission.conversion_id = conversion.id AND NOT commission.reversal
                       WHERE link.id IS NULL
                          OR (link.program_id, link.affiliate_id, link.partnership_id)
                             <> (conversion.program_id, conversion.affiliate_id, conversion.partnership_id)
                          OR (commission.rate_bp IS NOT NULL
                              AND commission.amount_micros > coalesce(conversion.revenue_micros, 0))
                       UNION ALL
                      SELECT NULL, NULL, NULL, NULL, external_id
                        FROM conversions
                       WHERE external_id IS NOT NULL
                       GROUP BY advertiser_id, program_id, event_type, external_id
                      HAVING count(*) > 1) AS broken
               LIMIT 100",
    },
    Check {
        name: "I27",
        rule: "what has conversions or moved money is never deleted: its program, partnership, link and accounts are there",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT 'conversion' AS of, conversion.id
                        FROM conversions AS conversion
                       WHERE NOT EXISTS (SELECT FROM programs WHERE id = conversion.program_id)
                          OR NOT EXISTS (SELECT FROM partnerships WHERE id = conversion.partnership_id)
                          OR NOT EXISTS (SELECT FROM links WHERE id = conversion.link_id)
                          OR NOT EXISTS (SELECT FROM agents WHERE id = conversion.advertiser_id)
                          OR NOT EXISTS (SELECT FROM agents WHERE id = conversion.affiliate_id)
                       UNION ALL
                      SELECT 'payout', payout.id
                        FROM payouts AS payout
                       WHERE NOT EXISTS (SELECT FROM programs WHERE id = payout.program_id)
                          OR NOT EXISTS (SELECT FROM agents WHERE id = payout.affiliate_id)
                       UNION ALL
                      SELECT 'account', account.id
                        FROM ledger_accounts AS account
                       WHERE NOT EXISTS (SELECT FROM agents WHERE id = account.owner_id)) AS broken
               LIMIT 100",
    },
];
