//! An advertiser's programs: what they pay, who is in them, opening another.

use crate::money::Micros;
use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts;
use crate::surfaces::dashboard::shapes::{Any, List, Program};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::{PER_PAGE, words};
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const PATH: &str = "/my-dashboard/advertiser/programs";

/// Which page.
#[derive(Deserialize)]
pub(super) struct Asked {
    page: Option<i64>,
    done: Option<String>,
}

/// A program to publish.
#[derive(Deserialize)]
pub(super) struct NewProgram {
    name: String,
    url: String,
    description: String,
    niche: String,
    commission_type: String,
    commission_value: String,
    approval_mode: String,
}

/// A switch to turn.
#[derive(Deserialize)]
pub(super) struct Switch {
    program: Uuid,
    to: String,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    let path = format!(
        "/api/programs?advertiser_id={}&per_page={PER_PAGE}&page={}",
        visit.id,
        parts::page_of(asked.page)
    );
    let (me, programs) = tokio::try_join!(layout::who(&visit), visit.api.get::<List<Program>>(&path))?;
    let body = html! {
        (parts::heading("Your programs", &html! {}))
        @if asked.done.is_some() { p.notice role="status" { "Done. Every edge follows within a second." } }
        @if programs.data.is_empty() {
            (parts::empty("No program yet", "Say below what you pay for a sale or a lead. Affiliates find it at once.", None))
        } @else {
            h2.unseen { "Published" }
            ul.offers { @for program in &programs.data { (card(&visit, program)) } }
            (parts::pager(PATH, &[], programs.pagination))
        }
        (new_program(&visit))
    };
    let page = Page { role: Role::Advertiser, at: "/programs", title: "Programs", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn card(visit: &Visit, program: &Program) -> Markup {
    let (to, verb) = if program.status == "active" { ("pause", "Pause") } else { ("activate", "Activate") };
    html! {
        li.card {
            div.about {
                h3 { bdi { (program.name) } }
                p { (parts::state(&program.status)) }
                p.pays { (words::commission(&program.commission_type, program.commission_value)) }
            }
            @if let Some(text) = &program.description { p.clamp { bdi { (text) } } }
            p.muted {
                (words::counted(program.affiliates, "affiliate", "affiliates")) " · "
                (words::counted(program.attribution_days, "day", "days")) " after a click · "
                @if program.approval_mode == "auto" { "lets everybody in" } @else { "you decide who is in" }
                @if let Some(epc) = program.epc { " · a click earns " (words::money(epc)) }
            }
            div.actions {
                a href={ "/my-dashboard/advertiser/affiliates?of=" (program.id) } aria-label={ "Affiliates of " (program.name) } { "Affiliates" }
                a href={ "/my-dashboard/advertiser/conversions?of=" (program.id) } aria-label={ "Conversions of " (program.name) } { "Conversions" }
                form method="post" action="/my-dashboard/advertiser/programs/switch" {
                    (layout::once(visit))
                    input type="hidden" name="program" value=(program.id);
                    button.small name="to" value=(to) aria-label={ (verb) " " (program.name) } { (verb) }
                }
            }
        }
    }
}

fn new_program(visit: &Visit) -> Markup {
    html! {
        section.card {
            h2 { "A new program" }
            form.fields method="post" action=(PATH) {
                (layout::once(visit))
                div { label for="name" { "Name" } input #name name="name" required maxlength="100"; }
                div { label for="url" { "Your site" } input #url name="url" type="url" maxlength="2048" placeholder="https://…"; }
                div { label for="niche" { "Field" } input #niche name="niche" maxlength="60" placeholder="saas"; }
                div { label for="commission_type" { "Pays" } select #commission_type name="commission_type" { option value="percentage" { "percent of each sale" } option value="fixed" { "dollars for each" } } }
                div { label for="commission_value" { "How much" } input #commission_value name="commission_value" required inputmode="decimal" pattern="[0-9]{1,6}(\\.[0-9]{1,2})?" placeholder="20"; }
                div { label for="approval_mode" { "Who may promote it" } select #approval_mode name="approval_mode" { option value="auto" { "everybody, at once" } option value="manual" { "whom I let in" } } }
                div.across { label for="description" { "What it offers" } textarea #description name="description" rows="3" maxlength="5000" {} }
                div { button.primary type="submit" { "Publish" } }
            }
        }
    }
}

pub(super) async fn create(form: Posted<NewProgram>) -> Result<Response, Failure> {
    let new = form.fields;
    let value = Micros::parse(new.commission_value.trim()).ok_or_else(Failure::unreadable_form)?;
    let mut body = json!({
        "name": new.name.trim(), "commission_type": new.commission_type, "commission_value": value.to_json(),
        "approval_mode": new.approval_mode,
    });
    for (name, text) in [("url", new.url), ("description", new.description), ("niche", new.niche)] {
        // Browsers send line breaks as CR LF.
        let text = text.replace("\r\n", "\n");
        if let (false, Some(body)) = (text.trim().is_empty(), body.as_object_mut()) {
            body.insert(name.to_owned(), json!(text.trim()));
        }
    }
    let Any {} = form.visit.api.send(Method::POST, "/api/programs", &body, &form.once).await?;
    Ok(Redirect::to(&with_query(PATH, &[("done", "made")])).into_response())
}

pub(super) async fn switch(form: Posted<Switch>) -> Result<Response, Failure> {
    let verb = match form.fields.to.as_str() {
        "pause" => "pause",
        "activate" => "activate",
        _ => return Err(Failure::unreadable_form()),
    };
    let path = format!("/api/programs/{}/{verb}", form.fields.program);
    let Any {} = form.visit.api.send(Method::POST, &path, &json!({}), &form.once).await?;
    Ok(Redirect::to(&with_query(PATH, &[("done", verb)])).into_response())
}
