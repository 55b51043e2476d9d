//! Metering. The caller owns the transaction and meters last in it: the account's month stays locked
//! until it ends.

#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects, clippy::as_conversions)]

use super::hammered::{self, LinkUse};
use super::model::{self, Metric, Split, Tier};
use super::queries::{self, MonthRow};
use crate::error::{Code, Error, Result};
use crate::features::ledger::model::{Account, Metered, Posted, Posting};
use crate::features::ledger::ops as ledger;
use crate::money::Micros;
use chrono::{DateTime, NaiveDate, Utc};
use shared::id::{AgentId, ConversionId};
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};

/// The largest spend cap: a million dollars a month.
pub const SPEND_CAP_MAX: Micros = Micros(1_000_000_000_000);

/// Meters one conversion of an advertiser, or refuses with 402.
pub async fn charge_conversion(
    conn: &mut PgConnection,
    advertiser_number: i32,
    conversion: ConversionId,
    now: DateTime<Utc>,
) -> Result<Micros> {
    charge(conn, advertiser_number, Metric::Conversions, &conversion.to_string(), now).await
}

/// Meters one matching request of its caller, or refuses with 402. `request` names it and is new.
pub async fn charge_matching_request(
    conn: &mut PgConnection,
    caller_number: i32,
    request: &str,
    now: DateTime<Utc>,
) -> Result<Micros> {
    charge(conn, caller_number, Metric::MatchingRequests, request, now).await
}

/// Meters one unit; gives what it cost.
async fn charge(
    conn: &mut PgConnection,
    number: i32,
    metric: Metric,
    reference: &str,
    now: DateTime<Utc>,
) -> Result<Micros> {
    let month = model::month_of(now);
    if queries::add_included(conn, number, month, metric).await? {
        return Ok(Micros::ZERO);
    }
    let Some((agent, tier)) = queries::find_payer(conn, number).await? else {
        return Err(Error::bug(anyhow::anyhow!("account number {number} does not exist")));
    };
    let price = metric.price(tier);
    // Locks the month: what is read of it below stays true.
    queries::add_billed(conn, number, month, metric, price).await?;
    if let Some(cap) = queries::lock_spend_cap(conn, number).await?
        && queries::sum_spent(conn, number, month).await? > cap
    {
        return Err(cap_reached(cap));
    }
    let posting = Posting {
        debit: Account::wallet(agent),
        credit: Account::of(agent, metric.account()),
        amount: price,
        kind: metric.transfer(),
        reference: reference.to_owned(),
        metered: Some(Metered { quantity: 1, unit: price, month }),
    };
    match ledger::post(conn, now, &posting).await? {
        Posted::Done(_) => Ok(price),
        Posted::Repeated(_) => {
            Err(Error::bug(anyhow::anyhow!("{} {reference} is metered twice", metric.as_str())))
        }
        Posted::Short(missing) => {
            let wallet = ledger::standing(conn, Account::wallet(agent)).await?;
            Err(not_covered(metric, tier, price, wallet.balance_micros, wallet.version > 0).lacking(missing))
        }
    }
}

/// The 402 of a unit that neither allowance nor wallet covers.
fn not_covered(metric: Metric, tier: Tier, price: Micros, balance: Micros, funded: bool) -> Error {
    let name = metric.as_str().replace('_', " ");
    let allowance = metric.allowance(tier);
    let topup = "Add money with POST /api/wallet/topup and {\"amount\":20}";
    let (code, fix) = match tier {
        Tier::Free if metric == Metric::MatchingRequests => (Code::FreeTierLimitReached, format!("{topup}.")),
        Tier::Free => (
            Code::FreeTierLimitReached,
            format!(
                "{topup}, or get {} {name} a month with POST /api/subscription/pro.",
                metric.allowance(Tier::Pro)
            ),
        ),
        Tier::Pro => (Code::InsufficientCredits, format!("{topup}.")),
    };
    let code = if funded { Code::InsufficientCredits } else { code };
    let message = format!(
        "This month's {allowance} {name} of the {} plan are used up, and one more costs ${price}; the wallet holds ${balance}.",
        tier.as_str()
    );
    Error::new(code, message, fix)
        .with("price", price.to_json())
        .with("balance", balance.to_json())
        .with("metric", metric.as_str())
}

fn cap_reached(cap: Micros) -> Error {
    Error::new(
        Code::InsufficientCredits,
        format!("This month's spending has reached the wallet's own cap of ${cap}."),
        "Raise it with PATCH /api/wallet and {\"monthly_spend_cap\":…}, or lift it with {\"monthly_spend_cap\":null}.",
    )
    .with("monthly_spend_cap", cap.to_json())
}

/// Clicks of an advertiser in a month, to be metered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClickUse {
    /// The advertiser's account number.
    pub advertiser: i32,
    /// The first day of the month they count in.
    pub month: NaiveDate,
    /// How many.
    pub count: i64,
    /// How many of them happened in a month that is closed.
    pub late: i64,
}

/// Meters clicks of many advertisers: allowance, then wallet, the rest over the limit. Never refuses.
/// Several entries of one advertiser and month count together. Clicks of an account that does not exist
/// are nobody's: they are left out, and logged. `links` says which links they were on, as far as a link that
/// is hammered shall be capped; their hours are counted already.
pub async fn meter_clicks(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    uses: &[ClickUse],
    links: &[LinkUse],
) -> Result<()> {
    let mut uses = merged(uses)?;
    uses.sort_unstable_by_key(|one| (one.advertiser, one.month));
    if uses.is_empty() {
        return Ok(());
    }
    queries::ensure_months(conn, Metric::Clicks, &uses).await?;
    let months = queries::lock_months(conn, Metric::Clicks, &uses).await?;
    if months.len() != uses.len() {
        // One bad record must not stop the fold of all the others.
        let known: HashSet<_> = months.iter().map(|month| (month.advertiser, month.month)).collect();
        uses.retain(|one| known.contains(&(one.advertiser, one.month)));
        tracing::error!("clicks of an account that does not exist were left out of the metering");
    }
    let funds = Funds::lock(conn, &months, &uses).await?;
    let caps = hammered::caps(conn, &months, &funds.payable(&months)?, links).await?;
    let (decided, postings) = divide(&uses, &months, funds, &caps)?;
    for posted in ledger::post_all(conn, now, &postings).await? {
        if !matches!(posted, Posted::Done(_)) {
            return Err(Error::bug(anyhow::anyhow!("clicks were not billed as computed: {posted:?}")));
        }
    }
    queries::add_decided(conn, Metric::Clicks, &decided).await?;
    hammered::note(conn, now, caps).await
}

fn merged(uses: &[ClickUse]) -> Result<Vec<ClickUse>> {
    let mut counts: HashMap<(i32, NaiveDate), (i64, i64)> = HashMap::new();
    for one in uses.iter().filter(|one| one.count > 0) {
        let (count, late) = counts.entry((one.advertiser, one.month)).or_default();
        let sums = count.checked_add(one.count).zip(late.checked_add(one.late));
        (*count, *late) =
            sums.ok_or_else(|| Error::bug(anyhow::anyhow!("a count of clicks is out of range")))?;
    }
    let one = |((advertiser, month), (count, late))| ClickUse { advertiser, month, count, late };
    Ok(counts.into_iter().map(one).collect())
}

/// Where clicks went and what was billed for them.
pub(crate) struct Decided {
    pub(crate) clicks: ClickUse,
    pub(crate) split: Split,
    pub(crate) amount: Micros,
}

/// What accounts can spend, locked: by the wallet, and by the cap of a month.
struct Funds {
    wallets: HashMap<AgentId, Micros>,
    caps: HashMap<i32, Micros>,
    spent: HashMap<(i32, NaiveDate), Micros>,
}

impl Funds {
    /// Looks only at accounts that have used up an allowance.
    async fn lock(conn: &mut PgConnection, months: &[MonthRow], uses: &[ClickUse]) -> Result<Self> {
        let paying: Vec<&MonthRow> = months
            .iter()
            .zip(uses)
            .filter(|(month, one)| one.count > month.allowance_left(Metric::Clicks))
            .map(|(month, _)| month)
            .collect();
        let mut numbers: Vec<i32> = paying.iter().map(|month| month.advertiser).collect();
        numbers.dedup();
        let caps: HashMap<i32, Micros> =
            queries::lock_spend_caps(conn, &numbers).await?.into_iter().collect();
        let mut spent = HashMap::new();
        for month in paying.iter().filter(|month| caps.contains_key(&month.advertiser)) {
            let sum = queries::sum_spent(conn, month.advertiser, month.month).await?;
            spent.insert((month.advertiser, month.month), sum);
        }
        let mut owners: Vec<AgentId> = paying.iter().map(|month| month.agent_id).collect();
        owners.dedup();
        let wallets = ledger::lock_wallets(conn, &owners).await?;
        Ok(Self { wallets, caps, spent })
    }

    /// The months something can be taken for.
    fn payable(&self, months: &[MonthRow]) -> Result<HashSet<(i32, NaiveDate)>> {
        let mut payable = HashSet::new();
        for month in months {
            if self.available(month)? > Micros::ZERO {
                payable.insert((month.advertiser, month.month));
            }
        }
        Ok(payable)
    }

    /// What can be spent on this month.
    fn available(&self, month: &MonthRow) -> Result<Micros> {
        let wallet = self.wallets.get(&month.agent_id).copied().unwrap_or_default();
        let Some(cap) = self.caps.get(&month.advertiser) else { return Ok(wallet) };
        let spent = self.spent.get(&(month.advertiser, month.month)).copied().unwrap_or_default();
        Ok(wallet.min(cap.minus(spent).map_err(Error::bug)?))
    }

    fn spend(&mut self, month: &MonthRow, amount: Micros) -> Result<()> {
        if let Some(wallet) = self.wallets.get_mut(&month.agent_id) {
            *wallet = wallet.minus(amount).map_err(Error::bug)?;
        }
        let spent = self.spent.entry((month.advertiser, month.month)).or_default();
        *spent = spent.plus(amount).map_err(Error::bug)?;
        Ok(())
    }
}

/// Decides where every click goes, and what is billed for it.
fn divide(
    uses: &[ClickUse],
    months: &[MonthRow],
    mut funds: Funds,
    caps: &[hammered::Charge],
) -> Result<(Vec<Decided>, Vec<Posting>)> {
    let mut decided = Vec::with_capacity(uses.len());
    let mut postings = Vec::new();
    for (one, month) in uses.iter().zip(months) {
        let price = Metric::Clicks.price(month.tier()?);
        let left = month.allowance_left(Metric::Clicks);
        let capped = hammered::sum_capped(caps, one.advertiser, one.month);
        let split = model::split(one.count, left, capped, funds.available(month)?, price);
        let amount = price.times(split.billed).map_err(Error::bug)?;
        if split.billed > 0 {
            funds.spend(month, amount)?;
            // Named by how far the month's count has come, which no other fold can reach again.
            let used = month.used.saturating_add(one.count);
            postings.push(Posting {
                debit: Account::wallet(month.agent_id),
                credit: Account::of(month.agent_id, Metric::Clicks.account()),
                amount,
                kind: Metric::Clicks.transfer(),
                reference: format!("{}:{}:{used}", month.agent_id, one.month.format("%Y-%m")),
                metered: Some(Metered { quantity: split.billed, unit: price, month: one.month }),
            });
        }
        decided.push(Decided { clicks: *one, split, amount });
    }
    Ok((decided, postings))
}

/// The last closed month, which stays the last until the transaction ends; others may hold it too.
pub async fn hold_closed(conn: &mut PgConnection) -> Result<Option<NaiveDate>> {
    queries::hold_closed(conn).await
}

/// The last closed month, as it is now.
pub async fn last_closed(conn: &mut PgConnection) -> Result<Option<NaiveDate>> {
    queries::last_closed(conn).await
}

/// The last closed month, locked: whoever meters clicks waits.
pub async fn lock_closed(conn: &mut PgConnection) -> Result<Option<NaiveDate>> {
    queries::lock_closed(conn).await
}

/// The first month anything was used in.
pub async fn first_month(conn: &mut PgConnection) -> Result<Option<NaiveDate>> {
    queries::first_month(conn).await
}

/// Closes every month through this one.
pub async fn close_through(conn: &mut PgConnection, month: NaiveDate, now: DateTime<Utc>) -> Result<()> {
    queries::close_through(conn, month, now).await
}

/// What an account lets itself be billed for in a month.
pub async fn spend_cap(conn: &mut PgConnection, number: i32) -> Result<Option<Micros>> {
    queries::find_spend_cap(conn, number).await
}

/// What an account was billed for in a month, so far.
pub async fn spent(conn: &mut PgConnection, number: i32, month: NaiveDate) -> Result<Micros> {
    queries::sum_spent(conn, number, month).await
}

/// Sets or lifts the cap.
pub async fn set_spend_cap(
    conn: &mut PgConnection,
    number: i32,
    cap: Option<Micros>,
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(cap) = cap else { return queries::delete_spend_cap(conn, number).await };
    if cap < Micros::ZERO || cap > SPEND_CAP_MAX {
        return Err(Error::invalid(
            "monthly_spend_cap",
            format!("`monthly_spend_cap` is {cap}."),
            "Send `monthly_spend_cap` as dollars from 0 to 1000000, or null for none.",
        ));
    }
    queries::save_spend_cap(conn, number, cap, now).await
}
