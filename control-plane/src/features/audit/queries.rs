//! The checks. Each gives the rows that break it, as JSON in one column `row`. Those of the ledger, of usage and
//! of payouts are here; where money and commissions come from is in `causes`, how clicks get there in `pipeline`,
//! what is kept beside rows in `sums`.

use super::{causes, pipeline, sums};
use crate::error::Result;
use sqlx::PgConnection;

pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) sql: &'static str,
}

/// Shows a transaction that has just begun the rows of this moment until it ends, and lets it write none.
pub(crate) async fn take_snapshot(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(conn).await?;
    Ok(())
}

pub(crate) async fn rows(conn: &mut PgConnection, sql: &'static str) -> Result<Vec<serde_json::Value>> {
    Ok(sqlx::query_scalar(sql).fetch_all(conn).await?)
}

/// Every check.
pub(crate) fn all() -> impl Iterator<Item = &'static Check> {
    [CHECKS, causes::queries::CHECKS, pipeline::queries::CHECKS, sums::queries::CHECKS].into_iter().flatten()
}

const CHECKS: &[Check] = &[
    Check {
        name: "I1",
        rule: "all balances of a currency sum to zero",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT currency, sum(balance_micros) AS balance_micros
                        FROM ledger_accounts
                       GROUP BY currency
                      HAVING sum(balance_micros) <> 0) AS broken
               LIMIT 100",
    },
    Check {
        name: "I2",
        rule: "a balance is the sum of its account's transfers",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT account.id, account.owner_id, account.kind, account.balance_micros, account.version,
                             coalesce(sum(entry.amount_micros), 0) AS transfers_micros, count(entry.amount_micros) AS transfers
                        FROM ledger_accounts AS account
                        LEFT JOIN (SELECT debit_account AS account, -amount_micros AS amount_micros FROM ledger_transfers
                                   UNION ALL
                                   SELECT credit_account, amount_micros FROM ledger_transfers) AS entry
                          ON entry.account = account.id
                       GROUP BY account.id
                      HAVING account.balance_micros <> coalesce(sum(entry.amount_micros), 0)
                          OR account.version <> count(entry.amount_micros)) AS broken
               LIMIT 100",
    },
    Check {
        name: "I3",
        rule: "no wallet is negative, nor anything that is set aside",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT id, owner_id, kind, balance_micros
                        FROM ledger_accounts
                       WHERE kind NOT IN ('sandbox', 'stripe', 'x402', 'arrears') AND balance_micros < 0) AS broken
               LIMIT 100",
    },
    Check {
        name: "I4",
        rule: "each account's chain of transfers holds from its first to its newest",
        sql: "WITH entries AS (
                     SELECT debit_account AS account, debit_version AS version, debit_digest AS digest,
                            debit_balance_micros AS balance_micros, -amount_micros AS amount_micros, t AS transfer
                       FROM ledger_transfers AS t
                      UNION ALL
                     SELECT credit_account, credit_version, credit_digest, credit_balance_micros, amount_micros, t
                       FROM ledger_transfers AS t),
                   chained AS (
                     SELECT account, version, digest, balance_micros, amount_micros, transfer,
                            lag(version, 1, 0::BIGINT) OVER chain AS version_before,
                            lag(digest, 1, '\\x'::BYTEA) OVER chain AS digest_before,
                            lag(balance_micros, 1, 0::BIGINT) OVER chain AS balance_before,
                            lead(version) OVER chain AS version_after
                       FROM entries
                     WINDOW chain AS (PARTITION BY account ORDER BY version))
              SELECT to_jsonb(broken) AS row
                FROM (SELECT chained.account, chained.version, (chained.transfer).id AS transfer
                        FROM chained
                        JOIN ledger_accounts AS kept ON kept.id = chained.account
                       WHERE chained.version <> chained.version_before + 1
                          OR chained.digest <> ledger_digest(chained.digest_before, chained.transfer)
                          OR chained.balance_micros <> chained.balance_before + chained.amount_micros
                          OR (chained.version_after IS NULL
                              AND (kept.digest <> chained.digest OR kept.version <> chained.version))) AS broken
               LIMIT 100",
    },
    Check {
        name: "I6",
        rule: "transfers are positive, bounded, and between accounts of their own currency",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT transfer.id, transfer.amount_micros, transfer.currency
                        FROM ledger_transfers AS transfer
                        JOIN ledger_accounts AS debit ON debit.id = debit_account
                        JOIN ledger_accounts AS credit ON credit.id = credit_account
                       WHERE transfer.amount_micros NOT BETWEEN 1 AND 1000000000000000
                          OR debit.currency <> transfer.currency
                          OR credit.currency <> transfer.currency) AS broken
               LIMIT 100",
    },
    Check {
        name: "I9",
        rule: "what was used is included, billed or over the limit, and the allowance went first",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT advertiser, month, metric, used, included, billed, over_limit, capped
                        FROM usage_months
                       WHERE used <> included + billed + over_limit + capped
                          OR ((billed > 0 OR over_limit > 0 OR capped > 0)
                              AND included < CASE metric WHEN 'clicks' THEN 10000 WHEN 'conversions' THEN 100 ELSE 50 END)
                          OR (over_limit + capped > 0 AND metric <> 'clicks')) AS broken
               LIMIT 100",
    },
    Check {
        name: "I9b",
        rule: "the clicks capped in a month are those that its links' hours were capped by",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT coalesce(usage.advertiser, links.advertiser) AS advertiser,
                             coalesce(usage.month, links.month) AS month, usage.capped, links.capped AS of_links
                        FROM (SELECT advertiser, month, capped FROM usage_months WHERE capped > 0) AS usage
                        FULL JOIN (SELECT advertiser, month, sum(capped) AS capped
                                     FROM link_charges
                                    WHERE capped > 0
                                    GROUP BY advertiser, month) AS links
                          ON links.advertiser = usage.advertiser AND links.month = usage.month
                       WHERE usage.capped IS DISTINCT FROM links.capped) AS broken
               LIMIT 100",
    },
    Check {
        name: "I10",
        rule: "what was billed in a month is what the ledger moved for it, at a price of the list",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT coalesce(usage.agent_id, moved.owner_id) AS agent_id, coalesce(usage.month, moved.month) AS month,
                             coalesce(usage.metric, moved.kind) AS metric, usage.billed, usage.amount_micros,
                             moved.quantity, moved.moved_micros, moved.prices
                        FROM (SELECT agents.id AS agent_id, month, metric, billed, amount_micros
                                FROM usage_months
                                JOIN agents ON agents.number = usage_months.advertiser
                               WHERE billed > 0 OR amount_micros > 0) AS usage
                        FULL JOIN (SELECT account.owner_id, transfer.month, account.kind, sum(transfer.quantity) AS quantity,
                                          sum(transfer.amount_micros) AS moved_micros,
                                          array_agg(DISTINCT transfer.unit_micros) AS prices
                                     FROM ledger_transfers AS transfer
                                     JOIN ledger_accounts AS account ON account.id = transfer.credit_account
                                    WHERE account.kind IN ('clicks', 'conversions', 'matching_requests')
                                    GROUP BY account.owner_id, transfer.month, account.kind) AS moved
                          ON moved.owner_id = usage.agent_id AND moved.month = usage.month AND moved.kind = usage.metric
                       WHERE usage.billed IS DISTINCT FROM moved.quantity
                          OR usage.amount_micros IS DISTINCT FROM moved.moved_micros
                          OR NOT moved.prices <@ CASE moved.kind WHEN 'clicks' THEN ARRAY[2000, 1000]
                                                                WHEN 'conversions' THEN ARRAY[300000, 150000]
                                                                ELSE ARRAY[50000, 25000] END::BIGINT[]) AS broken
               LIMIT 100",
    },
    Check {
        name: "I11",
        rule: "no month includes more than the largest allowance",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT advertiser, month, metric, included
                        FROM usage_months
                       WHERE included > CASE metric WHEN 'clicks' THEN 500000 WHEN 'conversions' THEN 1000 ELSE 50 END) AS broken
               LIMIT 100",
    },
    Check {
        name: "I20",
        rule: "a conversion and its commission are in the same state",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT conversion.id, conversion.status, commission.status AS commission_status
                        FROM conversions AS conversion
                        LEFT JOIN commissions AS commission
                          ON commission.conversion_id = conversion.id AND NOT commission.reversal
                       WHERE coalesce(commission.status, '')
                             <> CASE conversion.status WHEN 'reversed' THEN 'paid' ELSE conversion.status END) AS broken
               LIMIT 100",
    },
    Check {
        name: "I21",
        rule: "a payout's amount is the sum of its commissions, and a failed one has none",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT payout.id, payout.status, payout.amount_micros, coalesce(sum(commission.amount_micros), 0) AS commissions_micros
                        FROM payouts AS payout
                        LEFT JOIN commissions AS commission ON commission.payout_id = payout.id
                       GROUP BY payout.id, payout.status, payout.amount_micros
                      HAVING coalesce(sum(commission.amount_micros), 0)
                             <> CASE payout.status WHEN 'failed' THEN 0 ELSE payout.amount_micros END) AS broken
               LIMIT 100",
    },
    Check {
        name: "I21b",
        rule: "a commission is paid when its payout is, and its program, affiliate and currency are the payout's",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT commission.id, commission.status, commission.payout_id, payout.status AS payout_status
                        FROM commissions AS commission
                        LEFT JOIN payouts AS payout ON payout.id = commission.payout_id
                       WHERE (commission.status = 'paid') <> (coalesce(payout.status, '') = 'paid')
                          OR (commission.payout_id IS NOT NULL
                              AND (commission.status NOT IN ('approved', 'paid') OR payout.program_id <> commission.program_id
                                   OR payout.affiliate_id <> commission.affiliate_id
                                   OR payout.currency <> commission.currency))) AS broken
               LIMIT 100",
    },
    Check {
        name: "I22",
        rule: "the ledger moved each payout's amount exactly as its method and state say",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT payout.id, payout.method, payout.status, payout.amount_micros, moved.kinds, moved.amounts
                        FROM payouts AS payout
                        LEFT JOIN (SELECT reference, array_agg(kind ORDER BY kind) AS kinds,
                                          array_agg(DISTINCT amount_micros) AS amounts
                                     FROM ledger_transfers
                                    WHERE kind IN ('payout', 'payout_held', 'payout_returned', 'payout_sent')
                                    GROUP BY reference) AS moved ON moved.reference = payout.id::TEXT
                       WHERE coalesce(moved.amounts <> ARRAY[payout.amount_micros], FALSE)
                          OR NOT CASE payout.method || ' ' || payout.status
                                 WHEN 'wallet paid' THEN coalesce(moved.kinds = ARRAY['payout'], FALSE)
                                 WHEN 'usdc pending' THEN coalesce(moved.kinds = ARRAY['payout_held'], FALSE)
                                 WHEN 'usdc processing' THEN coalesce(moved.kinds = ARRAY['payout_held'], FALSE)
                                 WHEN 'usdc paid' THEN coalesce(moved.kinds = ARRAY['payout_held', 'payout_sent'], FALSE)
                                 WHEN 'usdc failed' THEN
                                     coalesce(moved.kinds = ARRAY['payout_held', 'payout_returned'], TRUE)
                                 ELSE moved.kinds IS NULL END) AS broken
               LIMIT 100",
    },
    Check {
        name: "I22b",
        rule: "what is set aside is what payouts on their way need",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT coalesce(account.owner_id, open.advertiser_id) AS agent_id, account.balance_micros, open.open_micros
                        FROM (SELECT owner_id, balance_micros FROM ledger_accounts WHERE kind = 'held') AS account
                        FULL JOIN (SELECT advertiser_id, sum(amount_micros) AS open_micros
                                     FROM payouts
                                    WHERE method = 'usdc' AND status IN ('pending', 'processing')
                                    GROUP BY advertiser_id) AS open ON open.advertiser_id = account.owner_id
                       WHERE coalesce(account.balance_micros, 0) <> coalesce(open.open_micros, 0)) AS broken
               LIMIT 100",
    },
    Check {
        name: "I22d",
        rule: "a conversion's commissions sum to what its terms earn, less what refunds took back, and to nothing once it is all refunded",
        sql: "WITH earned AS (
                     SELECT conversion.id, conversion.status, conversion.revenue_micros, conversion.refunded_micros,
                            commission.fixed_micros, coalesce(conversion.revenue_micros, 0)::NUMERIC * commission.rate_bp AS exact
                       FROM conversions AS conversion
                       JOIN commissions AS commission ON commission.conversion_id = conversion.id AND NOT commission.reversal
                      WHERE conversion.currency = 'usd'),
                   rounded AS (
                     -- A cent is 1e8 of them; a half goes to the even cent.
                     SELECT id, status, revenue_micros, refunded_micros,
                            coalesce(fixed_micros, 10000 * (div(exact, 1e8) + CASE
                                WHEN mod(exact, 1e8) * 2 > 1e8
                                  OR (mod(exact, 1e8) * 2 = 1e8 AND mod(div(exact, 1e8), 2) = 1) THEN 1 ELSE 0 END)) AS earned_micros
                       FROM earned)
              SELECT to_jsonb(broken) AS row
                FROM (SELECT rounded.*, left_over.left_micros, coalesce(taken.taken_micros, 0) AS taken_micros
                        FROM rounded
                        JOIN (SELECT conversion_id, sum(amount_micros) AS left_micros
                                FROM commissions GROUP BY conversion_id) AS left_over ON left_over.conversion_id = rounded.id
                        LEFT JOIN (SELECT conversion_id, sum(commission_micros) AS taken_micros, sum(amount_micros) AS refunds_micros
                                     FROM refunds GROUP BY conversion_id) AS taken ON taken.conversion_id = rounded.id
                       WHERE left_over.left_micros <> rounded.earned_micros - coalesce(taken.taken_micros, 0)
                          OR left_over.left_micros < 0
                          OR coalesce(taken.refunds_micros, 0) <> rounded.refunded_micros
                          OR (rounded.refunded_micros = rounded.revenue_micros AND left_over.left_micros <> 0)) AS broken
               LIMIT 100",
    },
    Check {
        name: "I22e",
        rule: "what an affiliate was paid is what its paid commissions come to",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT coalesce(paid.affiliate_id, earned.affiliate_id) AS affiliate_id, paid.paid_micros, earned.earned_micros
                        FROM (SELECT affiliate_id, sum(amount_micros) AS paid_micros
                                FROM payouts WHERE status = 'paid' GROUP BY affiliate_id) AS paid
                        FULL JOIN (SELECT affiliate_id, sum(amount_micros) AS earned_micros
                                     FROM commissions WHERE status = 'paid' GROUP BY affiliate_id) AS earned
                          ON earned.affiliate_id = paid.affiliate_id
                       WHERE paid.paid_micros IS DISTINCT FROM earned.earned_micros) AS broken
               LIMIT 100",
    },
    Check {
        name: "I24",
        rule: "a usdc payout on its way or paid has one transfer, of its amount and to its address, and no other has",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT coalesce(payout.id, transfer.payout_id) AS payout_id, payout.status, transfer.state,
                             payout.amount_micros, transfer.amount_micros AS transfer_micros, signed.versions
                        FROM (SELECT id, status, amount_micros, address FROM payouts WHERE method = 'usdc') AS payout
                        FULL JOIN usdc_transfers AS transfer ON transfer.payout_id = payout.id
                        LEFT JOIN (SELECT payout_id, count(*) AS versions, max(version) AS newest
                                     FROM usdc_transactions
                                    GROUP BY payout_id) AS signed ON signed.payout_id = transfer.payout_id
                       WHERE payout.id IS NULL
                          OR payout.amount_micros <> transfer.amount_micros
                          OR payout.address <> transfer.recipient
                          OR (transfer.payout_id IS NOT NULL AND signed.versions IS DISTINCT FROM signed.newest + 1)
                          OR NOT CASE payout.status
                                 WHEN 'processing' THEN coalesce(transfer.state IN ('signed', 'unknown', 'submitted', 'mined'), FALSE)
                                 WHEN 'paid' THEN coalesce(transfer.state IN ('unknown', 'submitted', 'mined', 'confirmed'), FALSE)
                                 WHEN 'failed' THEN coalesce(transfer.state = 'failed', TRUE)
                                 ELSE transfer.payout_id IS NULL END) AS broken
               LIMIT 100",
    },
    Check {
        name: "I26",
        rule: "a conversion and its commissions belong to the program's advertiser, and nobody pays itself",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT conversion.id, conversion.advertiser_id, conversion.affiliate_id, commission.id AS commission_id
                        FROM conversions AS conversion
                        JOIN programs AS program ON program.id = conversion.program_id
                        JOIN commissions AS commission ON commission.conversion_id = conversion.id
                       WHERE conversion.advertiser_id = conversion.affiliate_id
                          OR conversion.advertiser_id <> program.advertiser_id
                          OR (commission.advertiser_id, commission.affiliate_id, commission.program_id)
                             <> (conversion.advertiser_id, conversion.affiliate_id, conversion.program_id)) AS broken
               LIMIT 100",
    },
    Check {
        name: "PRO",
        rule: "an agent is on Pro exactly while a subscription is active or in grace, and each month was paid once",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT agent.id, agent.tier, live.status, live.periods, paid.months
                        FROM agents AS agent
                        LEFT JOIN (SELECT agent_id, status, id, source, periods
                                     FROM subscriptions
                                    WHERE status IN ('active', 'past_due')) AS live ON live.agent_id = agent.id
                        LEFT JOIN (SELECT subscription.id, count(transfer.id) AS months
                                     FROM subscriptions AS subscription
                                     JOIN ledger_transfers AS transfer
                                       ON transfer.kind = 'pro' AND starts_with(transfer.reference, subscription.id::TEXT)
                                    GROUP BY subscription.id) AS paid ON paid.id = live.id
                       WHERE (agent.tier = 'pro') <> (live.status IS NOT NULL)
                          OR (live.source <> 'stripe' AND live.periods <> coalesce(paid.months, 0))) AS broken
               LIMIT 100",
    },
    Check {
        name: "I22a",
        rule: "a top-up credited its wallet once, with its amount, if it was paid and only then",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT topup.id, topup.status, topup.amount_micros, transfer.amount_micros AS credited_micros
                        FROM topups AS topup
                        LEFT JOIN ledger_transfers AS transfer
                          ON transfer.kind = 'topup' AND transfer.reference = topup.id::TEXT
                       WHERE (topup.status = 'paid') <> (transfer.id IS NOT NULL)
                          OR topup.amount_micros <> transfer.amount_micros) AS broken
               LIMIT 100",
    },
    Check {
        name: "I22f",
        rule: "what went back of Pro's payments is what the ledger gave back for it, less what came again",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT coalesce(payment.payment_ref, moved.payment_ref) AS payment_ref, payment.back_micros, moved.micros
                        FROM (SELECT payment_ref, back_micros FROM stripe_payments WHERE back_micros <> 0) AS payment
                        FULL JOIN (SELECT split_part(reference, ':', 2) AS payment_ref,
                                          sum(CASE kind WHEN 'pro_refund' THEN amount_micros ELSE -amount_micros END) AS micros
                                     FROM ledger_transfers
                                    WHERE kind IN ('pro_refund', 'pro_reinstated')
                                    GROUP BY 1) AS moved ON moved.payment_ref = payment.payment_ref
                       WHERE coalesce(payment.back_micros, 0) <> coalesce(moved.micros, 0)) AS broken
               LIMIT 100",
    },
    Check {
        name: "I22c",
        rule: "what went back of a top-up is what the ledger took for it, less what came again",
        sql: "SELECT to_jsonb(broken) AS row
                FROM (SELECT topup.id, topup.refunded_micros, coalesce(moved.micros, 0) AS moved_micros
                        FROM topups AS topup
                        LEFT JOIN (SELECT split_part(reference, ':', 1) AS topup_id,
                                          sum(CASE kind WHEN 'topup_reinstated' THEN -amount_micros ELSE amount_micros END)
                                              AS micros
                                     FROM ledger_transfers
                                    WHERE kind IN ('topup_refund', 'topup_refund_owed', 'topup_reinstated')
                                    GROUP BY 1) AS moved ON moved.topup_id = topup.id::TEXT
                       WHERE topup.refunded_micros <> coalesce(moved.micros, 0)) AS broken
               LIMIT 100",
    },
];
