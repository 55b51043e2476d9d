//! Conversions of all programs or of one: those to decide, one by one or many at once.
//!
//! Each decision is a call of its own, so of many at once some may be refused (decided meanwhile, say): the
//! page then says how many were.

use super::{Own, own_programs};
use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts;
use crate::surfaces::dashboard::shapes::{Conversion, Joined, List};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::{PER_PAGE, words};
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const PATH: &str = "/my-dashboard/advertiser/conversions";
const STATES: [&str; 5] = ["pending", "approved", "paid", "rejected", "reversed"];
/// Decisions of one form at most: the rows of a page.
const DECIDED_MAX: usize = 100;

/// What beside the ticked conversions a form says.
#[derive(Deserialize)]
pub(super) struct Decision {
    /// The list it was made in: of a program, or of all.
    #[serde(default)]
    of: String,
    /// For all that are ticked.
    #[serde(default)]
    to: String,
    /// For a single one, ticked or not: the decision and its id.
    #[serde(default)]
    only: String,
    #[serde(default)]
    reason: String,
}

/// What the address says.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    of: String,
    status: Option<String>,
    page: Option<i64>,
    done: Option<String>,
    count: Option<i64>,
    refused: Option<i64>,
}

/// What is shown.
struct Shown<'a> {
    visit: &'a Visit,
    programs: &'a List<Own>,
    /// The program; of all when there is none.
    of: Option<Uuid>,
    /// The state; empty for all.
    status: &'static str,
    list: &'a List<Conversion>,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    let of: Option<Uuid> = asked.of.parse().ok();
    let wanted = |state: &&&str| Some(**state) == asked.status.as_deref();
    let status = STATES.iter().find(wanted).copied().unwrap_or_default();
    let path = of.map_or_else(
        || "/api/conversions".to_owned(),
        |program| format!("/api/programs/{program}/conversions"),
    );
    let (number, rows) = (parts::page_of(asked.page).to_string(), PER_PAGE.to_string());
    let path = with_query(&path, &[("status", status), ("page", &number), ("per_page", &rows)]);
    let (me, programs, list) = tokio::try_join!(
        layout::who(&visit),
        own_programs(&visit),
        visit.api.get::<List<Conversion>>(&path),
    )?;
    let shown = Shown { visit: &visit, programs: &programs, of, status, list: &list };
    let body = html! {
        @if programs.data.is_empty() {
            (parts::heading("Conversions", &html! {}))
            (parts::empty("Publish a program first", "Sales and leads that affiliates bring are decided here.", Some(("Make a program", "/my-dashboard/advertiser/programs"))))
        } @else {
            (shown.body(&html! { @if let Some(done) = asked.done.as_deref() { (said(done, asked.count.unwrap_or(0), asked.refused.unwrap_or(0))) } }))
        }
    };
    let page = Page { role: Role::Advertiser, at: "/conversions", title: "Conversions", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn said(done: &str, count: i64, refused: i64) -> Markup {
    html! {
        @if done == "none" {
            p.notice.bad role="alert" { "Nothing was ticked, so nothing was decided." }
        } @else if STATES.contains(&done) && count > 0 {
            p.notice role="status" {
                @if count == 1 { "The conversion is " (done) " now." } @else { (words::count(count)) " conversions are " (done) " now." }
            }
        }
        @if refused > 0 {
            p.notice.bad role="alert" { (words::counted(refused, "decision was", "decisions were")) " refused: decided meanwhile, or in a payout already." }
        }
    }
}

impl Shown<'_> {
    fn body(&self, notice: &Markup) -> Markup {
        let of = self.of.map(|of| of.to_string()).unwrap_or_default();
        let export = if of.is_empty() {
            ("All conversions", "/my-dashboard/export/conversions.csv".to_owned())
        } else {
            ("This program", format!("/my-dashboard/export/conversions.csv?of={of}"))
        };
        html! {
            (parts::heading("Conversions", &html! {
                (parts::picker(PATH, "of", "Program", super::picks(self.programs), self.of, Some("All programs")))
                (parts::export(&[(export.0, &export.1)]))
            }))
            (notice)
            (parts::filter(PATH, "State", &[("of", &of)], "status", &STATES, self.status))
            @if self.list.data.is_empty() {
                (parts::empty(
                    "Nothing here",
                    if self.status.is_empty() { "Report a sale or a lead from your server with POST /api/conversions/track: it is credited to the click that brought it." } else { "No conversion is in that state." },
                    None,
                ))
            } @else {
                section.card {
                    h2 { (self.list.pagination.counted("conversion", "conversions")) }
                    (self.form(&of))
                    (parts::pager(PATH, &[("of", &of), ("status", self.status)], self.list.pagination))
                }
            }
        }
    }

    /// The rows, with what decides about them around.
    fn form(&self, of: &str) -> Markup {
        let decidable = self.list.data.iter().any(|one| one.status == "pending");
        html! {
            form.stacked method="post" action=(PATH) {
                (layout::once(self.visit))
                input type="hidden" name="of" value=(of);
                // The first button is what the return key presses: this one does nothing.
                button.unseen type="submit" disabled tabindex="-1" aria-hidden="true" { "Nothing" }
                @if decidable {
                    div.actions.bulk {
                        label.tick hidden data-all="conversion" { input type="checkbox"; " All on this page" }
                        button.primary.small name="to" value="approved" { "Approve ticked" }
                        button.small name="to" value="rejected" { "Reject ticked" }
                        label.unseen for="reason" { "Why, for the affiliates" }
                        input #reason name="reason" maxlength="500" placeholder="Why, if you like: the affiliate reads it";
                    }
                }
                div.scroll tabindex="0" role="region" aria-label="Conversions" {
                    table.cards {
                        thead { tr { @if decidable { th scope="col" { span.unseen { "Tick" } } } th scope="col" { "When" } th scope="col" { "What" } th.number scope="col" { "Sale" } th.number scope="col" { "Commission" } th scope="col" { "State" } @if decidable { th scope="col" { "Decide" } } } }
                        tbody { @for one in &self.list.data { (self.row(one, decidable)) } }
                    }
                }
            }
        }
    }

    fn row(&self, one: &Conversion, decidable: bool) -> Markup {
        let name = one.external_id.as_deref().unwrap_or("without a name");
        let pending = one.status == "pending";
        let program = self.programs.data.iter().find(|program| program.id == one.program_id);
        html! {
            tr {
                @if decidable {
                    td { @if pending { input.tick type="checkbox" name="conversion" value=(one.id) aria-label={ "Tick " (name) }; } }
                }
                th.when scope="row" { (words::moment(one.created_at)) }
                td.name {
                    (words::state(&one.event_type)) " " bdi { (name) } br;
                    small { @if let (None, Some(program)) = (self.of, program) { bdi { (program.name) } " · " } "by " code { (one.tracking_token) } }
                }
                td.number data-label=[one.revenue_amount.map(|_| "Sale")] { (one.revenue_amount.map(words::money).unwrap_or_default()) }
                td.number data-label="Commission" { (words::money(one.commission_amount)) }
                td {
                    (parts::state(&one.status))
                    @if pending { br; small { "approves itself on " (words::day(one.auto_approve_at)) } }
                    @if let Some(reason) = &one.reason { br; small { bdi { (reason) } } }
                }
                @if decidable {
                    td {
                        @if pending {
                            div.actions.pair {
                                button.primary.small name="only" value={ "approved " (one.id) } aria-label={ "Approve " (name) } { "Approve" }
                                button.small name="only" value={ "rejected " (one.id) } aria-label={ "Reject " (name) } { "Reject" }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn decide(form: Posted<Decision>) -> Result<Response, Failure> {
    let Decision { of, to, only, reason } = &form.fields;
    let (to, ids) = match only.split_once(' ') {
        Some((to, id)) => (to, vec![id.to_owned()]),
        None => (to.as_str(), form.all("conversion")),
    };
    let back = |done: &str, count: i64, refused: i64| {
        let (count, refused) = (count.to_string(), refused.to_string());
        let pairs = [
            ("of", of.as_str()),
            ("status", "pending"),
            ("done", done),
            ("count", &count),
            ("refused", &refused),
        ];
        Redirect::to(&with_query(PATH, &pairs)).into_response()
    };
    if ids.is_empty() {
        return Ok(back("none", 0, 0));
    }
    let ids: Option<Vec<Uuid>> = ids.iter().map(|id| id.parse().ok()).collect();
    let ids = ids.filter(|ids| ids.len() <= DECIDED_MAX).ok_or_else(Failure::unreadable_form)?;
    let mut body = json!({"status": to});
    if let (false, Some(body)) = (reason.trim().is_empty(), body.as_object_mut()) {
        body.insert("reason".to_owned(), json!(reason.trim()));
    }
    let (mut decided, mut refused) = (0, 0);
    for id in &ids {
        let path = format!("/api/conversions/{id}");
        match form.visit.api.send::<Joined>(Method::PATCH, &path, &body, "").await {
            Ok(_) => decided += 1,
            // What can be said of one is said in full; of many, how many there were.
            Err(failure) if ids.len() == 1 || !failure.is("invalid_state") => return Err(failure),
            Err(_) => refused += 1,
        }
    }
    Ok(back(to, decided, refused))
}
