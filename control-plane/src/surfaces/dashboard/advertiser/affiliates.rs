//! A program's affiliates: who asks to join, who is in, what each has earned.

use super::{AskedOf, ListOf, Own, list_of, own_programs};
use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts;
use crate::surfaces::dashboard::shapes::{Joined, List, Partnership};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::words;
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const PATH: &str = "/my-dashboard/advertiser/affiliates";
const STATES: [&str; 5] = ["pending", "approved", "suspended", "rejected", "cancelled"];

/// A step of a partnership.
#[derive(Deserialize)]
pub(super) struct Step {
    of: Uuid,
    partnership: Uuid,
    to: String,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<AskedOf>) -> Result<Response, Failure> {
    let (me, programs) = tokio::try_join!(layout::who(&visit), own_programs(&visit))?;
    let body = match list_of(&visit, &programs, &asked, "affiliates", &STATES).await? {
        None => html! {
            (parts::heading("Your affiliates", &html! {}))
            (parts::empty("Publish a program first", "Affiliates join a program. Yours are here as soon as there is one.", Some(("Make a program", "/my-dashboard/advertiser/programs"))))
        },
        Some(list) => body(&visit, &programs, &list, asked.done.as_deref()),
    };
    let page = Page { role: Role::Advertiser, at: "/affiliates", title: "Affiliates", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn body(visit: &Visit, programs: &List<Own>, list: &ListOf<Partnership>, done: Option<&str>) -> Markup {
    let ListOf { of, status, rows: list } = list;
    let (of, status) = (*of, *status);
    let id = of.to_string();
    html! {
        (parts::heading("Your affiliates", &parts::picker(PATH, "of", "Program", super::picks(programs), Some(of), None)))
        @if let Some(done) = done.filter(|done| STATES.contains(done)) { p.notice role="status" { "The partnership is " (done) " now." } }
        (parts::filter(PATH, "State", &[("of", &id)], "status", &STATES, status))
        @if list.data.is_empty() {
            (parts::empty("Nobody here", if status.is_empty() { "No affiliate has joined this program yet. Programs that let everybody in, and say what they offer, are joined first." } else { "No partnership of this program is in that state." }, None))
        } @else {
            section.card {
                div.scroll tabindex="0" role="region" aria-label="Affiliates" {
                    table.cards {
                        thead { tr { th scope="col" { "Affiliate" } th scope="col" { "In their words" } th scope="col" { "State" } th scope="col" { "Since" } th scope="col" { "Decide" } } }
                        tbody { @for one in &list.data { (row(visit, of, one)) } }
                    }
                }
                (parts::pager(PATH, &[("of", &id), ("status", status)], list.pagination))
            }
        }
    }
}

fn row(visit: &Visit, of: Uuid, one: &Partnership) -> Markup {
    let steps: &[(&str, &str)] = match one.status.as_str() {
        "pending" => &[("approved", "Approve"), ("rejected", "Reject")],
        "approved" => &[("suspended", "Suspend")],
        "suspended" => &[("approved", "Approve again")],
        _ => &[],
    };
    html! {
        tr {
            th.name scope="row" { bdi { (one.affiliate.name) } br; small { "@" (one.affiliate.handle) } }
            td.words { @if let Some(message) = &one.message { bdi { (message) } } }
            td { (parts::state(&one.status)) }
            td.muted.when data-label="Since" { (words::day(one.created_at)) }
            td {
                @if !steps.is_empty() {
                    form.actions method="post" action=(PATH) {
                        (layout::token(visit))
                        input type="hidden" name="of" value=(of);
                        input type="hidden" name="partnership" value=(one.id);
                        @for (to, verb) in steps {
                            button.small.primary[*to == "approved"] name="to" value=(to) aria-label={ (verb) " " (one.affiliate.name) } { (verb) }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn step(form: Posted<Step>) -> Result<Response, Failure> {
    let Step { of, partnership, to } = form.fields;
    let path = format!("/api/partnerships/{partnership}");
    let changed: Joined = form.visit.api.send(Method::PATCH, &path, &json!({"status": to}), "").await?;
    let (of, done) = (of.to_string(), changed.status);
    Ok(Redirect::to(&with_query(PATH, &[("of", &of), ("done", &done)])).into_response())
}
