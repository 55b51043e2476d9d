//! A program's conversions: those to decide first.

use super::{AskedOf, ListOf, Own, list_of, own_programs};
use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts;
use crate::surfaces::dashboard::shapes::{Conversion, Joined, List};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::words;
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const PATH: &str = "/my-dashboard/advertiser/conversions";
const STATES: [&str; 5] = ["pending", "approved", "paid", "rejected", "reversed"];

/// A decision.
#[derive(Deserialize)]
pub(super) struct Decision {
    of: Uuid,
    conversion: Uuid,
    to: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<AskedOf>) -> Result<Response, Failure> {
    let (me, programs) = tokio::try_join!(layout::who(&visit), own_programs(&visit))?;
    let body = match list_of(&visit, &programs, &asked, "conversions", &STATES).await? {
        None => html! {
            (parts::heading("Conversions", &html! {}))
            (parts::empty("Publish a program first", "Sales and leads that affiliates bring are decided here.", Some(("Make a program", "/my-dashboard/advertiser/programs"))))
        },
        Some(list) => body(&visit, &programs, &list, asked.done.as_deref()),
    };
    let page = Page { role: Role::Advertiser, at: "/conversions", title: "Conversions", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn body(visit: &Visit, programs: &List<Own>, list: &ListOf<Conversion>, done: Option<&str>) -> Markup {
    let ListOf { of, status, rows: list } = list;
    let (of, status) = (*of, *status);
    let id = of.to_string();
    html! {
        (parts::heading("Conversions", &html! {
            (parts::picker(PATH, "of", "Program", super::picks(programs), of))
            (parts::export(&[("This program", &format!("/my-dashboard/export/conversions.csv?of={of}"))]))
        }))
        @if let Some(done) = done.filter(|done| STATES.contains(done)) { p.notice role="status" { "The conversion is " (done) " now." } }
        (parts::filter(PATH, "State", &[("of", &id)], "status", &STATES, status))
        @if list.data.is_empty() {
            (parts::empty(
                "Nothing here",
                if status.is_empty() { "Report a sale or a lead from your server with POST /api/conversions/track: it is credited to the click that brought it." } else { "No conversion of this program is in that state." },
                None,
            ))
        } @else {
            section.card {
                h2 { (words::counted(list.pagination.total, "conversion", "conversions")) }
                div.scroll tabindex="0" role="region" aria-label="Conversions" {
                    table {
                        thead { tr { th scope="col" { "When" } th scope="col" { "What" } th.number scope="col" { "Sale" } th.number scope="col" { "Commission" } th scope="col" { "State" } th scope="col" { "Decide" } } }
                        tbody { @for one in &list.data { (row(visit, of, one)) } }
                    }
                }
                (parts::pager(PATH, &[("of", &id), ("status", status)], list.pagination))
            }
        }
    }
}

fn row(visit: &Visit, of: Uuid, one: &Conversion) -> Markup {
    let name = one.external_id.as_deref().unwrap_or("without a name");
    html! {
        tr {
            th.when scope="row" { (words::moment(one.created_at)) }
            td.name { (words::state(&one.event_type)) " " bdi { (name) } br; small { "by " code { (one.tracking_token) } } }
            td.number { (one.revenue_amount.map(words::money).unwrap_or_default()) }
            td.number { (words::money(one.commission_amount)) }
            td {
                (parts::state(&one.status))
                @if one.status == "pending" { br; small { "approves itself on " (words::day(one.auto_approve_at)) } }
                @if let Some(reason) = &one.reason { br; small { bdi { (reason) } } }
            }
            td {
                @if one.status == "pending" {
                    form.actions method="post" action=(PATH) {
                        (layout::token(visit))
                        input type="hidden" name="of" value=(of);
                        input type="hidden" name="conversion" value=(one.id);
                        button.primary.small name="to" value="approved" aria-label={ "Approve " (name) } { "Approve" }
                        button.small name="to" value="rejected" aria-label={ "Reject " (name) } { "Reject" }
                        label.unseen for={ "reason-" (one.id) } { "Why, for the affiliate of " (name) }
                        input.small id={ "reason-" (one.id) } name="reason" maxlength="500" placeholder="Why, if you like";
                    }
                }
            }
        }
    }
}

pub(super) async fn decide(form: Posted<Decision>) -> Result<Response, Failure> {
    let Decision { of, conversion, to, reason } = form.fields;
    let mut body = json!({"status": to});
    if let (false, Some(body)) = (reason.trim().is_empty(), body.as_object_mut()) {
        body.insert("reason".to_owned(), json!(reason.trim()));
    }
    let path = format!("/api/conversions/{conversion}");
    let decided: Joined = form.visit.api.send(Method::PATCH, &path, &body, "").await?;
    let (of, done) = (of.to_string(), decided.status);
    Ok(Redirect::to(&with_query(PATH, &[("of", &of), ("status", "pending"), ("done", &done)]))
        .into_response())
}
