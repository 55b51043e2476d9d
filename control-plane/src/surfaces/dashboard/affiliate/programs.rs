//! Programs: those suggested, those joined, and all there are to join.

use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts;
use crate::surfaces::dashboard::shapes::{
    Answered, Discovered, Joined, List, Partnership, Pending, Suggestion,
};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::{PICKED_MAX, words};
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const PATH: &str = "/my-dashboard/affiliate/programs";
/// Programs of a page to choose from.
const OFFERED: i64 = 12;

/// Which programs.
#[derive(Deserialize)]
pub(super) struct Asked {
    q: Option<String>,
    page: Option<i64>,
    done: Option<String>,
}

/// A program to join.
#[derive(Deserialize)]
pub(super) struct Wish {
    program: Uuid,
    #[serde(default)]
    message: String,
}

/// An answer to a suggestion.
#[derive(Deserialize)]
pub(super) struct Answer {
    suggestion: Uuid,
    decision: String,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    let q = asked.q.as_deref().unwrap_or_default().trim().to_owned();
    let joined = format!("/api/agents/{}/partnerships?per_page={PICKED_MAX}", visit.id);
    let (number, offered) = (parts::page_of(asked.page).to_string(), OFFERED.to_string());
    let discover = with_query(
        "/api/network/discover",
        &[("q", &q), ("page", &number), ("per_page", &offered), ("sort", "best_epc")],
    );
    let (me, pending, joined, found) = tokio::try_join!(
        layout::who(&visit),
        visit.api.get::<Pending>("/api/match-suggestions"),
        visit.api.get::<List<Partnership>>(&joined),
        visit.api.get::<List<Discovered>>(&discover),
    )?;
    let done = asked.done.as_deref();
    let body = html! {
        (parts::heading("Programs to promote", &html! {}))
        @if let Some(done) = done { p.notice role="status" { (said(done)) } }
        (suggested(&visit, &pending.data))
        (mine(&joined.data))
        (offers(&visit, &q, &found))
    };
    let page = Page { role: Role::Affiliate, at: "/programs", title: "Programs", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn said(done: &str) -> &'static str {
    match done {
        "approved" => "You are in. Make a link and send it to somebody.",
        "pending" => "You asked to join. The advertiser decides; you will see it here.",
        "decline" => "Declined. It will not be suggested again.",
        _ => "Done.",
    }
}

fn suggested(visit: &Visit, suggestions: &[Suggestion]) -> Markup {
    html! {
        section aria-labelledby="suggested" {
            h2 #suggested { "Suggested to you" }
            @if suggestions.is_empty() {
                p.muted { "Nothing waits for your answer. Suggestions come when a program appears that suits what your profile says: the more it says, the better they are." }
            } @else {
                ul.offers {
                    @for suggestion in suggestions {
                        li.card {
                            (about(&suggestion.program.name, &suggestion.program.advertiser.name, &words::commission(&suggestion.program.commission_type, suggestion.program.commission_value)))
                            ul.reasons { @for reason in &suggestion.reasons { li { bdi { (reason) } } } }
                            form.actions method="post" action="/my-dashboard/affiliate/suggestions" {
                                (layout::token(visit))
                                input type="hidden" name="suggestion" value=(suggestion.id);
                                button.primary.small name="decision" value="accept" aria-label={ "Accept " (suggestion.program.name) } { "Accept" }
                                button.small name="decision" value="decline" aria-label={ "Decline " (suggestion.program.name) } { "Decline" }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn about(name: &str, advertiser: &str, pays: &str) -> Markup {
    html! {
        div.about {
            h3 { bdi { (name) } }
            p.muted { "by " bdi { (advertiser) } }
            p.pays { (pays) }
        }
    }
}

fn mine(joined: &[Partnership]) -> Markup {
    html! {
        section.card {
            h2 { "Joined" }
            @if joined.is_empty() {
                p.muted { "You promote no program yet. Join one below." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Programs you joined" {
                    table.cards {
                        thead { tr { th scope="col" { "Program" } th scope="col" { "Pays" } th scope="col" { "State" } th scope="col" { "Since" } th scope="col" { span.unseen { "Links" } } } }
                        tbody {
                            @for one in joined {
                                tr {
                                    th.name scope="row" { bdi { (one.program.name) } @if one.program.status != "active" { " " (parts::state(&one.program.status)) } }
                                    td data-label="Pays" { (words::commission(&one.program.commission_type, one.program.commission_value)) }
                                    td { (parts::state(&one.status)) }
                                    td.muted.when data-label="Since" { (words::day(one.created_at)) }
                                    td { @if one.status == "approved" { a href={ "/my-dashboard/affiliate/links?of=" (one.id) } aria-label={ "Links of " (one.program.name) } { "Links" } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn offers(visit: &Visit, q: &str, found: &List<Discovered>) -> Markup {
    html! {
        section aria-labelledby="offers" {
            div.heading {
                h2 #offers { "All programs" }
                form.search method="get" action=(PATH) role="search" {
                    label.unseen for="q" { "Search programs" }
                    input #q name="q" type="search" maxlength="200" value=(q) placeholder="Name, field, words";
                    button type="submit" { "Search" }
                }
            }
            @if found.data.is_empty() {
                @if q.is_empty() {
                    (parts::empty("No program is open", "As soon as an advertiser publishes one, it is here.", None))
                } @else {
                    (parts::empty("Nothing found", "Try fewer or other words.", Some(("All programs", PATH))))
                }
            } @else {
                ul.offers { @for one in &found.data { (offer(visit, one)) } }
                (parts::pager(PATH, &[("q", q)], found.pagination))
            }
        }
    }
}

fn offer(visit: &Visit, one: &Discovered) -> Markup {
    html! {
        li.card {
            (about(&one.name, &one.advertiser.name, &words::commission(&one.commission_type, one.commission_value)))
            @if let Some(text) = &one.description { p.clamp { bdi { (text) } } }
            p.muted {
                (words::counted(one.affiliates, "affiliate", "affiliates"))
                @if let Some(epc) = one.epc { " · a click earns " (words::money(epc)) }
                @if let Some(niche) = &one.niche { " · " bdi { (niche) } }
            }
            @match &one.partnership_status {
                Some(status) => p { (parts::state(status)) },
                None => form.actions method="post" action="/my-dashboard/affiliate/programs" {
                    (layout::once(visit))
                    input type="hidden" name="program" value=(one.id);
                    label.unseen for={ "message-" (one.id) } { "A word to " (one.advertiser.name) }
                    @if one.approval_mode == "manual" {
                        input id={ "message-" (one.id) } name="message" maxlength="1000" placeholder="A word to the advertiser";
                    } @else {
                        input id={ "message-" (one.id) } name="message" type="hidden" value="";
                    }
                    button.small type="submit" aria-label={ @if one.approval_mode == "auto" { "Join " } @else { "Ask to join " } (one.name) } {
                        @if one.approval_mode == "auto" { "Join" } @else { "Ask to join" }
                    }
                },
            }
        }
    }
}

pub(super) async fn join(form: Posted<Wish>) -> Result<Response, Failure> {
    let path = format!("/api/network/join/{}", form.fields.program);
    let message = form.fields.message.trim();
    let body = if message.is_empty() { json!({}) } else { json!({"message": message}) };
    let joined: Joined = form.visit.api.send(Method::POST, &path, &body, &form.once).await?;
    Ok(Redirect::to(&with_query(PATH, &[("done", &joined.status)])).into_response())
}

pub(super) async fn answer(form: Posted<Answer>) -> Result<Response, Failure> {
    let Answer { suggestion, decision } = form.fields;
    let path = format!("/api/match-suggestions/{suggestion}/respond");
    let body = json!({"decision": decision});
    let answered: Answered = form.visit.api.send(Method::PATCH, &path, &body, "").await?;
    let done = answered.partnership.map_or_else(|| "decline".to_owned(), |partnership| partnership.status);
    Ok(Redirect::to(&with_query(PATH, &[("done", &done)])).into_response())
}
