//! What an agent's links bring, on one page.

use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts::{self, Tile};
use crate::surfaces::dashboard::shapes::{Digest, Earnings, Stats};
use crate::surfaces::dashboard::visit::{Asking, Visit};
use crate::surfaces::dashboard::{chart, words};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

/// Over which time.
#[derive(Deserialize)]
pub(in crate::surfaces::dashboard) struct Asked {
    days: Option<String>,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    show(&visit, words::days_of(asked.days.as_deref())).await
}

/// The overview over so many days.
pub(in crate::surfaces::dashboard) async fn show(visit: &Visit, days: i64) -> Result<Response, Failure> {
    let (stats, earnings) =
        (format!("/api/agents/me/stats?days={days}"), format!("/api/agents/{}/earnings", visit.id));
    let (me, stats, earnings, digest) = tokio::try_join!(
        layout::who(visit),
        visit.api.get::<Stats>(&stats),
        visit.api.get::<Earnings>(&earnings),
        visit.api.get::<Digest>("/api/agents/me/weekly-digest"),
    )?;
    let body = body(&stats, &earnings, &digest);
    let page = Page { role: Role::Affiliate, at: "", title: "Overview", body };
    Ok(layout::page(visit, &me, &page).into_response())
}

fn body(stats: &Stats, earnings: &Earnings, digest: &Digest) -> Markup {
    let clicks = &stats.clicks.as_affiliate;
    let conversions = &stats.conversions.as_affiliate;
    let earned = &stats.commissions.as_affiliate;
    let nothing = clicks.total == 0 && clicks.previous_total == 0;
    let before = |value: String| format!("{value} in the {} days before", stats.period.days);
    html! {
        (parts::heading("What your links bring", &parts::spans(Role::Affiliate.path(), stats.period.days)))
        (next(digest, nothing))
        (parts::tiles(&[
            Tile { name: "Clicks", value: words::count(clicks.total), change: clicks.change_percent, note: before(words::count(clicks.previous_total)) },
            Tile { name: "Conversions", value: words::count(conversions.total), change: conversions.change_percent, note: before(words::count(conversions.previous_total)) },
            Tile { name: "Earned", value: words::money(earned.total), change: earned.change_percent, note: before(words::money(earned.previous_total)) },
            Tile { name: "Ready to be paid", value: words::money(earnings.totals.payable), change: None, note: format!("{} paid so far", words::money(earnings.totals.paid)) },
        ]))
        @if nothing {
            (parts::empty(
                "No clicks yet",
                "Join a program, make a tracking link and send it to somebody: the click is here within a second.",
                Some(("Find a program", "/my-dashboard/affiliate/programs")),
            ))
        } @else {
            div.columns {
                section.card.wide { h2 { "Clicks by day" } (chart::clicks_by_day(&clicks.by_day, stats.period.from, stats.period.to))
                    (parts::export(&[("Clicks by day", &format!("/my-dashboard/export/clicks-on-my-links.csv?days={}", stats.period.days))])) }
                section.card { h2 { "Who clicked" } (chart::shares(&clicks.by_class)) p.muted { (words::count(clicks.counted)) " of " (words::count(clicks.total)) " are of classes the programs pay for." } }
            }
            div.columns.even {
                (parts::ranking("Strongest links", "Leads to", clicks.by_link.iter().map(|row| (row.destination_url.as_str(), row.clicks, row.previous))))
                (parts::ranking("Programs", "Program", clicks.by_program.iter().map(|row| (row.program_name.as_str(), row.clicks, row.previous))))
                (parts::ranking("Countries", "Country", clicks.by_country.iter().map(|row| (row.name.as_str(), row.clicks, row.previous))))
                (parts::ranking("Sub ids", "sub1", clicks.by_sub_id.iter().map(|row| (row.name.as_str(), row.clicks, row.previous))))
            }
        }
    }
}

/// What helps most now. A page that is `empty` says how to begin itself.
pub(in crate::surfaces::dashboard) fn next(digest: &Digest, empty: bool) -> Markup {
    if empty && digest.cta.path.starts_with("/api/network/discover") {
        return html! {};
    }
    html! {
        section.next aria-label="Your week" {
            p { (digest.summary) }
            @if let Some(place) = parts::place_of(&digest.cta.path) {
                p { a.button href=(place) { (digest.cta.text.trim_end_matches('.')) } }
            }
        }
    }
}
