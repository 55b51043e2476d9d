//! What an agent's programs receive and cost, on one page.

use crate::surfaces::dashboard::affiliate;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts::{self, Tile};
use crate::surfaces::dashboard::shapes::{Digest, Stats, Usage};
use crate::surfaces::dashboard::visit::{Asking, Visit};
use crate::surfaces::dashboard::{chart, words};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

pub(super) async fn page(visit: Visit, Asking(asked): Asking<super::Asked>) -> Result<Response, Failure> {
    show(&visit, words::days_of(asked.days.as_deref())).await
}

/// The overview over so many days.
pub(in crate::surfaces::dashboard) async fn show(visit: &Visit, days: i64) -> Result<Response, Failure> {
    let stats = format!("/api/agents/me/stats?days={days}");
    let (me, stats, digest) = tokio::try_join!(
        layout::who(visit),
        visit.api.get::<Stats>(&stats),
        visit.api.get::<Digest>("/api/agents/me/weekly-digest"),
    )?;
    let page = Page { role: Role::Advertiser, at: "", title: "Overview", body: body(&stats, &digest) };
    Ok(layout::page(visit, &me, &page).into_response())
}

fn body(stats: &Stats, digest: &Digest) -> Markup {
    let clicks = &stats.clicks.as_advertiser;
    let conversions = &stats.conversions.as_advertiser;
    let owed = &stats.commissions.as_advertiser;
    let nothing = clicks.total == 0 && clicks.previous_total == 0;
    let before = |value: String| format!("{value} in the {} days before", stats.period.days);
    html! {
        (parts::heading("What your programs receive", &parts::spans(Role::Advertiser.path(), stats.period.days)))
        (affiliate::overview::next(digest, nothing))
        (parts::tiles(&[
            Tile { name: "Clicks received", value: words::count(clicks.total), change: clicks.change_percent, note: before(words::count(clicks.previous_total)) },
            Tile { name: "Conversions", value: words::count(conversions.total), change: conversions.change_percent, note: before(words::count(conversions.previous_total)) },
            Tile { name: "Sales", value: words::money(conversions.revenue), change: None, note: format!("{} and {}", words::counted(conversions.sales, "sale", "sales"), words::counted(conversions.leads, "lead", "leads")) },
            Tile { name: "Commissions", value: words::money(owed.total), change: owed.change_percent, note: before(words::money(owed.previous_total)) },
        ]))
        @if nothing {
            (parts::empty(
                "No clicks yet",
                "Make a program, let affiliates in, and what they bring shows here within a second.",
                Some(("Your programs", "/my-dashboard/advertiser/programs")),
            ))
        } @else {
            div.columns {
                section.card.wide { h2 { "Clicks by day" } (chart::clicks_by_day(&clicks.by_day, stats.period.from, stats.period.to))
                    (parts::export(&[("Clicks by day", &format!("/my-dashboard/export/clicks-to-my-programs.csv?days={}", stats.period.days))])) }
                section.card { h2 { "Who clicked" } (chart::shares(&clicks.by_class)) p.muted { "You pay for " (words::count(clicks.counted)) " of " (words::count(clicks.total)) ": the classes your programs count." } }
            }
        }
        div.columns.even {
            (standing(stats))
            (parts::ranking("Strongest programs", "Program", clicks.by_program.iter().map(|row| (row.program_name.as_str(), row.clicks, row.previous))))
            (parts::ranking("Strongest links", "Leads to", clicks.by_link.iter().map(|row| (row.destination_url.as_str(), row.clicks, row.previous))))
            (parts::ranking("Countries", "Country", clicks.by_country.iter().map(|row| (row.name.as_str(), row.clicks, row.previous))))
        }
    }
}

fn standing(stats: &Stats) -> Markup {
    let owed = &stats.commissions.as_advertiser;
    html! {
        section.card {
            h2 { "This month" }
            (usage(&stats.usage))
            dl.lines {
                div { dt { "In your wallet" } dd.number { (words::money(stats.wallet.balance)) } }
                div { dt { "To decide" } dd.number { (words::money(owed.pending)) } }
                div { dt { "Approved, not paid" } dd.number { (words::money(owed.approved)) } }
            }
            p { a href="/my-dashboard/advertiser/wallet" { "Wallet and top-up" } }
        }
    }
}

/// What is used of the allowance.
pub(super) fn usage(usage: &Usage) -> Markup {
    html! {
        (chart::meter("Clicks", usage.meters.clicks.used, usage.meters.clicks.limit))
        (chart::meter("Conversions", usage.meters.conversions.used, usage.meters.conversions.limit))
        (chart::meter("Matching requests", usage.meters.matching_requests.used, usage.meters.matching_requests.limit))
        p.muted { "Allowance of the " (words::state(&usage.tier)) " plan for " (usage.period) "; it starts again on " (words::day(usage.resets_at)) "." }
    }
}
