//! Putting figures together. The caller owns the connection; nothing is written.

use super::model::{self, Part, Span, Week, change_percent};
use super::queries::{self, ClickRow};
use super::wire::{
    ClickStats, Clicks, CommissionStats, Commissions, ConversionStats, Conversions, DayClicks, LinkClicks,
    ProgramClicks, SourceClicks, StatsResponse, WalletStats, WeeklyDigestResponse,
};
use crate::auth;
use crate::error::{Error, Result};
use crate::features::ledger::model::{Account, CURRENCY};
use crate::features::ledger::ops as ledger;
use crate::features::trade::queries::{self as trade, Traded};
use crate::features::usage;
use shared::{ClickClass, Clock};
use sqlx::PgConnection;

/// Every figure of an agent over the last so many days.
pub async fn stats(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: auth::Agent,
    days: Option<i64>,
) -> Result<StatsResponse> {
    let now = clock.now();
    let span = Span::last(days, now)?;
    let clicks = clicks(conn, agent, span).await?;
    let (conversions, commissions) = sales(conn, agent, span).await?;
    let tier = usage::report::tier_of(conn, agent.number).await?;
    Ok(StatsResponse {
        agent_id: agent.id.uuid(),
        currency: CURRENCY,
        period: span.into(),
        clicks,
        conversions,
        commissions,
        usage: usage::report::of(conn, agent.number, tier, now).await?,
        wallet: WalletStats {
            balance: ledger::standing(conn, Account::wallet(agent.id)).await?.balance_micros,
            currency: CURRENCY,
        },
        referral: queries::load_referral(conn, agent.id, span).await?,
    })
}

/// The last week of an agent, in words.
pub async fn weekly_digest(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: auth::Agent,
) -> Result<WeeklyDigestResponse> {
    let now = clock.now();
    let span = Span::last(Some(7), now)?;
    let clicks = clicks(conn, agent, span).await?;
    let (conversions, commissions) = sales(conn, agent, span).await?;
    let standing = queries::load_standing(conn, agent.id, agent.number, usage::model::month_of(now)).await?;
    let (own, programs) = (&clicks.as_affiliate, &clicks.as_advertiser);
    let (sold, reported) = (conversions.as_affiliate, conversions.as_advertiser);
    let (earned, owed) = (commissions.as_affiliate, commissions.as_advertiser);
    let week = Week {
        clicks: (own.total, own.previous_total),
        conversions: (sold.total, sold.previous_total),
        earned: (earned.total, earned.previous_total),
        received: (programs.total, programs.previous_total),
        reported: (reported.total, reported.previous_total),
        owed: (owed.total, owed.previous_total),
    };
    Ok(WeeklyDigestResponse {
        agent_id: agent.id.uuid(),
        period: span.into(),
        highlights: model::highlights(&week),
        summary: model::summary(&week),
        cta: model::next_action(&standing, &week),
        top_link: clicks.as_affiliate.by_link.into_iter().find(|link| link.clicks > 0),
    })
}

async fn clicks(conn: &mut PgConnection, agent: auth::Agent, span: Span) -> Result<Clicks> {
    let own = queries::list_clicks_of_affiliate(conn, agent.id, span).await?;
    let received = queries::list_clicks_of_advertiser(conn, agent.number, span).await?;
    Ok(Clicks { as_affiliate: together(own), as_advertiser: together(received) })
}

async fn sales(
    conn: &mut PgConnection,
    agent: auth::Agent,
    span: Span,
) -> Result<(Conversions, Commissions)> {
    let hours = (span.before, span.from, span.to);
    let sold = trade::sum_hours(conn, agent.id, false, hours).await?;
    let reported = trade::sum_hours(conn, agent.id, true, hours).await?;
    Ok((
        Conversions { as_affiliate: conversions(&sold), as_advertiser: conversions(&reported) },
        Commissions { as_affiliate: commissions(&sold)?, as_advertiser: commissions(&reported)? },
    ))
}

fn conversions(traded: &Traded) -> ConversionStats {
    let total = traded.leads + traded.sales;
    ConversionStats {
        total,
        leads: traded.leads,
        sales: traded.sales,
        pending: traded.pending,
        approved: traded.approved,
        rejected: traded.rejected,
        revenue: traded.revenue,
        previous_total: traded.previous,
        change_percent: change_percent(total, traded.previous),
    }
}

fn commissions(traded: &Traded) -> Result<CommissionStats> {
    let Traded { commissions_pending, commissions_approved, commissions_paid, commissions_previous, .. } =
        *traded;
    let open = commissions_pending.plus(commissions_approved).map_err(Error::bug)?;
    let total = open.plus(commissions_paid).map_err(Error::bug)?;
    Ok(CommissionStats {
        total,
        pending: commissions_pending,
        approved: commissions_approved,
        paid: commissions_paid,
        previous_total: commissions_previous,
        change_percent: change_percent(total.0, commissions_previous.0),
    })
}

/// Sorts rows into their lists.
fn together(rows: Vec<ClickRow>) -> ClickStats {
    let mut stats = ClickStats::default();
    for row in rows {
        let ClickRow { part, id, class, label, clicks, counted, previous } = row;
        let (id, label) = (id.unwrap_or_default(), label.unwrap_or_default());
        match part {
            Part::Class => {
                stats.total += clicks;
                stats.counted += counted;
                stats.previous_total += previous;
                let class = class.and_then(|class| u8::try_from(class).ok()).and_then(ClickClass::from_u8);
                if let Some(class) = class.filter(|_| clicks > 0) {
                    stats.by_class.insert(class.name(), clicks);
                }
            }
            Part::Day => stats.by_day.push(DayClicks { date: label, clicks, counted }),
            Part::Link => {
                stats.by_link.push(LinkClicks {
                    link_id: id,
                    destination_url: label,
                    clicks,
                    counted,
                    previous,
                });
            }
            Part::Program => stats.by_program.push(ProgramClicks {
                program_id: id,
                program_name: label,
                clicks,
                counted,
                previous,
            }),
            Part::Country => stats.by_country.push(SourceClicks { name: label, clicks, previous }),
            Part::SubId => {
                let name = if label.is_empty() { "(other)".to_owned() } else { label };
                stats.by_sub_id.push(SourceClicks { name, clicks, previous });
            }
        }
    }
    stats.change_percent = change_percent(stats.total, stats.previous_total);
    stats
}
