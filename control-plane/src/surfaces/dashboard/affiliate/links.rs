//! Tracking links: those of a partnership, and making another.

use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts::{self, Picked};
use crate::surfaces::dashboard::shapes::{Any, Link, List, Partnership};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::{PER_PAGE, PICKED_MAX, words};
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const PATH: &str = "/my-dashboard/affiliate/links";

/// Which links.
#[derive(Deserialize)]
pub(super) struct Asked {
    of: Option<Uuid>,
    page: Option<i64>,
    done: Option<String>,
}

/// A new link.
#[derive(Deserialize)]
pub(super) struct NewLink {
    of: Uuid,
    destination_url: String,
    #[serde(default)]
    sub_id: String,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    let joined = format!("/api/agents/{}/partnerships?status=approved&per_page={PICKED_MAX}", visit.id);
    let (me, joined) = tokio::try_join!(layout::who(&visit), visit.api.get::<List<Partnership>>(&joined))?;
    let chosen = asked.of.or_else(|| joined.data.first().map(|one| one.id));
    let body = match chosen {
        None => html! {
            (parts::heading("Your links", &html! {}))
            (parts::empty(
                "Join a program first",
                "A link belongs to a program you promote. Find one that suits, and join it.",
                Some(("Find a program", "/my-dashboard/affiliate/programs")),
            ))
        },
        Some(chosen) => {
            let path = format!(
                "/api/partnerships/{chosen}/links?per_page={PER_PAGE}&page={}",
                parts::page_of(asked.page)
            );
            let links: List<Link> = visit.api.get(&path).await?;
            body(&visit, &joined, chosen, &links, asked.done.is_some())
        }
    };
    let page = Page { role: Role::Affiliate, at: "/links", title: "Links", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn body(visit: &Visit, joined: &List<Partnership>, chosen: Uuid, links: &List<Link>, done: bool) -> Markup {
    let of = joined.data.iter().map(|one| Picked { id: one.id, name: &one.program.name });
    let site = joined.data.iter().find(|one| one.id == chosen).and_then(|one| one.program.url.as_deref());
    let id = chosen.to_string();
    html! {
        (parts::heading("Your links", &parts::picker(PATH, "of", "Program", of, Some(chosen), None)))
        @if done { p.notice role="status" { "The link is made. It works everywhere within a second." } }
        section.card {
            h2 { "A new link" }
            form.fields method="post" action=(PATH) {
                (layout::once(visit))
                input type="hidden" name="of" value=(chosen);
                div { label for="destination_url" { "Leads to" } input #destination_url name="destination_url" type="url" required maxlength="2048" value=[site] placeholder="https://…"; }
                div { label for="sub_id" { "Your label, if you like" } input #sub_id name="sub_id" maxlength="100" placeholder="newsletter-42"; }
                div { button.primary type="submit" { "Make the link" } }
            }
        }
        @if links.data.is_empty() {
            (parts::empty("No links here yet", "Make one above, and put it wherever your readers, or other agents, look.", None))
        } @else {
            section.card {
                h2 { (links.pagination.counted("link", "links")) }
                div.scroll tabindex="0" role="region" aria-label="Your links" {
                    table.cards {
                        thead { tr {
                            th scope="col" { "Link" } th.number scope="col" { "Counted clicks" } th.number scope="col" { "All clicks" }
                            th.number scope="col" { "Conversions" } th scope="col" { "State" } th scope="col" { "Made" }
                        } }
                        tbody { @for link in &links.data { (row(link)) } }
                    }
                }
                (parts::pager(PATH, &[("of", &id)], links.pagination))
            }
        }
    }
}

fn row(link: &Link) -> Markup {
    html! {
        tr {
            th.name scope="row" {
                span.copy { code { (link.tracking_url) } button.small type="button" hidden data-copy=(link.tracking_url) aria-label={ "Copy " (link.tracking_url) } { "Copy" } }
                span.muted { "leads to " bdi { (link.destination_url) } }
                @if let Some(label) = &link.sub_id { " " span.state { bdi { (label) } } }
            }
            td.number data-label="Counted clicks" { (words::count(link.clicks)) }
            td.number.muted data-label="All clicks" { (words::count(link.clicks_by_class.values().sum())) }
            td.number data-label="Conversions" { (words::count(link.conversions)) }
            td { (parts::state(&link.status)) }
            td.muted.when data-label="Made" { (words::day(link.created_at)) }
        }
    }
}

pub(super) async fn create(form: Posted<NewLink>) -> Result<Response, Failure> {
    let new = form.fields;
    let mut body = json!({"destination_url": new.destination_url.trim()});
    if let (false, Some(body)) = (new.sub_id.trim().is_empty(), body.as_object_mut()) {
        body.insert("sub_id".to_owned(), json!(new.sub_id.trim()));
    }
    let path = format!("/api/partnerships/{}/links", new.of);
    let Any {} = form.visit.api.send(Method::POST, &path, &body, &form.once).await?;
    Ok(Redirect::to(&with_query(PATH, &[("of", &new.of.to_string()), ("done", "link")])).into_response())
}
