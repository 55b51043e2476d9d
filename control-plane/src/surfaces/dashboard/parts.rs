//! Pieces that several pages are made of.

use super::PER_PAGE;
use super::api::with_query;
use super::layout::Role;
use super::shapes::Pagination;
use super::words;
use crate::page::REACH_MAX;
use maud::{Markup, html};
use uuid::Uuid;

/// A figure with the span before it.
pub(super) struct Tile<'a> {
    pub(super) name: &'a str,
    pub(super) value: String,
    /// By how many percent it grew.
    pub(super) change: Option<i64>,
    /// What is said below it.
    pub(super) note: String,
}

/// Figures side by side.
pub(super) fn tiles(tiles: &[Tile<'_>]) -> Markup {
    html! {
        dl.tiles {
            @for tile in tiles {
                div.tile {
                    dt { (tile.name) }
                    dd.value { (tile.value) }
                    dd.note { (change(tile.change)) (tile.note) }
                }
            }
        }
    }
}

/// How much a figure changed.
pub(super) fn change(percent: Option<i64>) -> Markup {
    html! {
        @match percent {
            Some(percent) if percent > 0 => { span.change.up { span aria-hidden="true" { "↑ " } span.unseen { "up " } (words::count(percent)) "%" } " " }
            Some(percent) if percent < 0 => { span.change.down { span aria-hidden="true" { "↓ " } span.unseen { "down " } (words::count(percent.saturating_abs())) "%" } " " }
            Some(_) => { span.change { "unchanged" } " " }
            None => {}
        }
    }
}

/// The spans of time to choose from.
pub(super) fn spans(path: &str, days: i64) -> Markup {
    html! {
        nav.spans aria-label="Span of time" {
            @for span in words::SPANS {
                a href=(format!("{path}?days={span}")) aria-current=[(span == days).then_some("true")] { (span) " days" }
            }
        }
    }
}

/// A title and what stands beside it.
pub(super) fn heading(title: &str, beside: &Markup) -> Markup {
    html! { div.heading { h1 { (title) } (beside) } }
}

/// What to do when there is nothing to show.
pub(super) fn empty(title: &str, text: &str, action: Option<(&str, &str)>) -> Markup {
    html! {
        div.empty {
            p.title { (title) }
            p { (text) }
            @if let Some((name, href)) = action { p { a.button href=(href) { (name) } } }
        }
    }
}

/// A state as a label.
pub(super) fn state(name: &str) -> Markup {
    let kind = match name {
        "approved" | "paid" | "active" | "credit" => "good",
        "rejected" | "failed" | "cancelled" | "reversed" | "archived" => "bad",
        "pending" | "processing" | "awaiting_funds" | "suspended" | "paused" => "open",
        _ => "",
    };
    html! { span class=(format!("state {kind}")) { (words::state(name)) } }
}

/// A list of names with clicks now and before.
pub(super) fn ranking<'a>(
    title: &str,
    column: &str,
    rows: impl Iterator<Item = (&'a str, i64, i64)>,
) -> Markup {
    let rows: Vec<_> = rows.filter(|(_, clicks, previous)| *clicks > 0 || *previous > 0).collect();
    html! {
        @if !rows.is_empty() {
            section.card {
                h2 { (title) }
                div.scroll tabindex="0" role="region" aria-label=(title) {
                    table {
                        thead { tr { th scope="col" { (column) } th.number scope="col" { "Clicks" } th.number scope="col" { "Before" } } }
                        tbody {
                            @for (name, clicks, previous) in rows {
                                tr { th.name scope="row" { bdi { (name) } } td.number { (words::count(clicks)) } td.number.muted { (words::count(previous)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Something to pick from a list.
pub(super) struct Picked<'a> {
    pub(super) id: Uuid,
    pub(super) name: &'a str,
}

/// A list to pick from, with a name for all of it where that can be picked; it works without scripts.
pub(super) fn picker<'a>(
    path: &str,
    field: &str,
    label: &str,
    of: impl Iterator<Item = Picked<'a>>,
    chosen: Option<Uuid>,
    all: Option<&str>,
) -> Markup {
    html! {
        form.picker method="get" action=(path) {
            label for=(field) { (label) }
            select id=(field) name=(field) {
                @if let Some(all) = all { option value="" selected[chosen.is_none()] { (all) } }
                @for one in of { option value=(one.id) selected[Some(one.id) == chosen] { (one.name) } }
            }
            button type="submit" { "Show" }
        }
    }
}

/// States to narrow a list to.
pub(super) fn filter(
    path: &str,
    label: &str,
    kept: &[(&str, &str)],
    field: &str,
    choices: &[&str],
    chosen: &str,
) -> Markup {
    let to = |value: &str| {
        let pairs: Vec<(&str, &str)> = kept.iter().copied().chain([(field, value)]).collect();
        with_query(path, &pairs)
    };
    html! {
        nav.spans.filter aria-label=(label) {
            a href=(to("")) aria-current=[chosen.is_empty().then_some("true")] { "All" }
            @for choice in choices {
                a href=(to(choice)) aria-current=[(*choice == chosen).then_some("true")] { (words::state(choice)) }
            }
        }
    }
}

/// The pages before and after.
pub(super) fn pager(path: &str, kept: &[(&str, &str)], at: Pagination) -> Markup {
    let to = |number: i64| {
        let number = number.to_string();
        let pairs: Vec<(&str, &str)> = kept.iter().copied().chain([("page", number.as_str())]).collect();
        with_query(path, &pairs)
    };
    html! {
        @if at.total_pages > 1 {
            nav.pager aria-label="Pages of the list" {
                @if at.page > 1 { a href=(to(at.page - 1)) rel="prev" { "Newer" } }
                span { "Page " (words::count(at.page)) " of " (words::count(at.total_pages)) }
                @if at.page < at.total_pages { a href=(to(at.page + 1)) rel="next" { "Older" } }
            }
        }
    }
}

/// The page a query asks for; the first for whatever is none.
pub(super) fn page_of(asked: Option<i64>) -> i64 {
    asked.unwrap_or(1).clamp(1, REACH_MAX / PER_PAGE)
}

/// Lists to download.
pub(super) fn export(lists: &[(&str, &str)]) -> Markup {
    html! {
        p.exports {
            "As CSV: "
            @for (at, (name, href)) in lists.iter().enumerate() {
                @if at > 0 { ", " }
                a href=(href) download { (name) }
            }
        }
    }
}

/// The page of ours where what an API call is for is done.
pub(super) fn place_of(api_path: &str) -> Option<String> {
    let (role, at) = match api_path {
        path if path.ends_with("/conversions?status=pending") => (Role::Advertiser, "/conversions"),
        path if path.ends_with("/affiliates?status=pending") => (Role::Advertiser, "/affiliates"),
        path if path.starts_with("/api/payouts") => (Role::Advertiser, "/payouts"),
        path if path.starts_with("/api/wallet") => (Role::Advertiser, "/wallet"),
        path if path.starts_with("/api/network/discover") => (Role::Affiliate, "/programs"),
        path if path.ends_with("/links") => (Role::Affiliate, "/links"),
        path if path.starts_with("/api/outreach") => (Role::Advertiser, "/affiliates"),
        _ => return None,
    };
    Some(format!("{}{at}", role.path()))
}
