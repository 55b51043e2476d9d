//! Paying affiliates: what a program owes, what a payment now would come to, the payment, and those made.
//!
//! Nothing is paid that was not shown: the button carries the token of what the page showed, and the API
//! refuses to pay when anything has changed since.

use super::own_programs;
use crate::surfaces::dashboard::affiliate::earnings::payout_list;
use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts::{self, Tile};
use crate::surfaces::dashboard::shapes::{Any, List, OwedTo, Payout, Preview, Processed, ProgramOwed};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::{PER_PAGE, words};
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

const PATH: &str = "/my-dashboard/advertiser/payouts";
const PREVIEW_PATH: &str = "/my-dashboard/advertiser/payouts/preview";
/// Ways to pay and what they are called.
const METHODS: [(&str, &str); 3] = [
    ("wallet", "from my wallet to theirs, at once"),
    ("external", "I pay outside, and note it here"),
    ("usdc", "in USDC, to their addresses"),
];

/// Which program, and which page of the payouts.
#[derive(Deserialize)]
pub(super) struct Asked {
    of: Option<Uuid>,
    page: Option<i64>,
    done: Option<String>,
}

/// What to look at before it is paid.
#[derive(Deserialize)]
pub(super) struct Look {
    of: Uuid,
    method: String,
}

/// The press of the button.
#[derive(Deserialize)]
pub(super) struct Order {
    of: Uuid,
    method: String,
    preview: String,
}

/// What became of a payment made outside.
#[derive(Deserialize)]
pub(super) struct Settled {
    payout: Uuid,
    outcome: String,
    word: String,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    let number = parts::page_of(asked.page);
    let payouts = format!("/api/payouts?role=advertiser&per_page={PER_PAGE}&page={number}");
    let (me, programs, payouts) = tokio::try_join!(
        layout::who(&visit),
        own_programs(&visit),
        visit.api.get::<List<Payout>>(&payouts),
    )?;
    let owed = match asked.of.or_else(|| programs.data.first().map(|one| one.id)) {
        Some(of) => Some((of, visit.api.get::<ProgramOwed>(&format!("/api/programs/{of}/payouts")).await?)),
        None => None,
    };
    let body = html! {
        (parts::heading("Pay your affiliates", &html! {
            @if let Some((of, _)) = &owed { (parts::picker(PATH, "of", "Program", super::picks(&programs), Some(*of), None)) }
        }))
        @if let Some(done) = asked.done.as_deref() { p.notice role="status" { (said(done)) } }
        @match &owed {
            Some((of, owed)) => (due(*of, owed)),
            None => (parts::empty("Publish a program first", "What affiliates have earned in it is paid here.", Some(("Make a program", "/my-dashboard/advertiser/programs")))),
        }
        section.card {
            div.heading { h2 { "Payouts made" } (parts::export(&[("Payouts", "/my-dashboard/export/paid-by-me.csv")])) }
            (payout_list(&payouts, "No payout yet. What is approved and past its hold can be paid above.", Some(&visit)))
            (parts::pager(PATH, &[], payouts.pagination))
        }
    };
    let page = Page { role: Role::Advertiser, at: "/payouts", title: "Payouts", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn said(done: &str) -> &'static str {
    match done {
        "wallet" => "Paid. Your affiliates have the money in their wallets.",
        "external" => "The payouts are made. Pay them, then note each payment's reference below.",
        "usdc" => "On its way. Each payout below says when it has arrived.",
        "nothing" => "Nothing was due any more, so nothing was paid.",
        "paid" => "Noted as paid.",
        "failed" => "Noted as failed. Its commissions are due again.",
        _ => "Done.",
    }
}

fn due(of: Uuid, owed: &ProgramOwed) -> Markup {
    let sums = &owed.totals;
    html! {
        (parts::tiles(&[
            Tile { name: "Can be paid now", value: words::money(sums.payable), change: None, note: "approved, and past its hold".to_owned() },
            Tile { name: "Approved", value: words::money(sums.approved), change: None, note: "the part on hold included".to_owned() },
            Tile { name: "To be decided", value: words::money(sums.pending), change: None, note: "approves itself in time".to_owned() },
            Tile { name: "Paid so far", value: words::money(sums.paid), change: None, note: format!("{} more is on its way", words::money(sums.processing)) },
        ]))
        section.card {
            h2 { "Pay what is due" }
            form.fields method="get" action=(PREVIEW_PATH) {
                input type="hidden" name="of" value=(of);
                div { label for="method" { "How" } select #method name="method" { @for (method, name) in METHODS { option value=(method) { (name) } } } }
                div { button.primary type="submit" { "See what would be paid" } }
            }
            p.muted { "Nothing is paid before you have seen each amount and said yes." }
        }
        @if !owed.affiliates.is_empty() {
            section.card {
                h2 { "What they earned" }
                div.scroll tabindex="0" role="region" aria-label="What affiliates earned" {
                    table {
                        thead { tr { th scope="col" { "Affiliate" } th.number scope="col" { "Conversions" } th.number scope="col" { "To be decided" } th.number scope="col" { "Approved" } th.number scope="col" { "Can be paid" } th.number scope="col" { "Paid" } } }
                        tbody { @for one in &owed.affiliates { (earned(one)) } }
                    }
                }
            }
        }
    }
}

fn earned(one: &OwedTo) -> Markup {
    html! {
        tr {
            th.name scope="row" { (who(Some(one))) }
            td.number { (words::count(one.conversions)) }
            td.number { (words::money(one.pending)) }
            td.number { (words::money(one.approved)) }
            td.number { (words::money(one.payable)) }
            td.number { (words::money(one.paid)) }
        }
    }
}

fn who(affiliate: Option<&OwedTo>) -> Markup {
    html! {
        @match affiliate {
            Some(one) => { bdi { (one.affiliate_name) } @if let Some(handle) = &one.affiliate_handle { br; small { "@" (handle) } } },
            None => { "An affiliate" },
        }
    }
}

pub(super) async fn preview(visit: Visit, Asking(look): Asking<Look>) -> Result<Response, Failure> {
    let order = json!({"program_id": look.of, "method": look.method, "dry_run": true});
    let owed = format!("/api/programs/{}/payouts", look.of);
    let (me, programs, owed, preview) = tokio::try_join!(
        layout::who(&visit),
        own_programs(&visit),
        visit.api.get::<ProgramOwed>(&owed),
        visit.api.send::<Preview>(Method::POST, "/api/payouts/process", &order, ""),
    )?;
    let name = programs.data.iter().find(|one| one.id == look.of).map(|one| one.name.as_str());
    let body = shown(&visit, &look, name, &owed, &preview);
    let page = Page { role: Role::Advertiser, at: "/payouts", title: "Confirm the payout", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn shown(visit: &Visit, look: &Look, name: Option<&str>, owed: &ProgramOwed, preview: &Preview) -> Markup {
    let back = with_query(PATH, &[("of", &look.of.to_string())]);
    let find = |id: Uuid| owed.affiliates.iter().find(|one| one.affiliate_id == id);
    let payees = i64::try_from(preview.payouts.len()).unwrap_or(i64::MAX);
    html! {
        (parts::heading("Pay this?", &html! { p.muted { @if let Some(name) = name { bdi { (name) } ", " } (method_name(&look.method)) } }))
        @if preview.payouts.is_empty() {
            (parts::empty("Nothing is due", "What is approved and past its hold can be paid. Approve conversions, or wait for their hold to end.", Some(("Conversions to decide", "/my-dashboard/advertiser/conversions?status=pending"))))
        } @else {
            section.card {
                h2 { (words::counted(payees, "payout", "payouts")) }
                div.scroll tabindex="0" role="region" aria-label="What would be paid" {
                    table {
                        thead { tr { th scope="col" { "To" } th.number scope="col" { "Commissions" } th.number scope="col" { "Amount" } } }
                        tbody {
                            @for one in &preview.payouts {
                                tr {
                                    th.name scope="row" { (who(find(one.affiliate_id))) @if let Some(address) = &one.address { br; code { (address) } } @if let Some(at) = one.not_before { br; small { "not before " (words::moment(at)) ": the address has just changed" } } }
                                    td.number { (words::count(one.commissions)) }
                                    td.number { (words::money(one.amount)) }
                                }
                            }
                        }
                    }
                }
                dl.lines {
                    div { dt { "In all" } dd.number { b { (words::money(preview.total)) } } }
                    @if look.method != "external" { div { dt { "In your wallet" } dd.number { (words::money(preview.wallet_balance)) } } }
                }
                @if preview.missing.0 > 0 {
                    p.notice.bad role="alert" { "Your wallet lacks " (words::money(preview.missing)) "." }
                    div.actions { a.button href="/my-dashboard/advertiser/wallet" { "Top up" } a href=(back) { "Not now" } }
                } @else {
                    form.actions method="post" action=(PATH) {
                        (layout::once(visit))
                        input type="hidden" name="of" value=(look.of);
                        input type="hidden" name="method" value=(look.method);
                        input type="hidden" name="preview" value=(preview.token);
                        button.primary type="submit" { "Pay " (words::money(preview.total)) " to " (words::counted(payees, "affiliate", "affiliates")) }
                        a href=(back) { "Not now" }
                    }
                }
            }
        }
        @if !preview.left.is_empty() {
            section.card {
                h2 { "Not paid now" }
                div.scroll tabindex="0" role="region" aria-label="Not paid now" {
                    table {
                        thead { tr { th scope="col" { "Affiliate" } th.number scope="col" { "Open" } th scope="col" { "Why" } } }
                        tbody { @for one in &preview.left { tr { th.name scope="row" { (who(find(one.affiliate_id))) } td.number { (words::money(one.amount)) } td { (why(&one.reason)) } } } }
                    }
                }
            }
        }
        @if preview.payouts.is_empty() { p { a href=(back) { "Back to payouts" } } }
    }
}

fn method_name(method: &str) -> &str {
    METHODS.iter().find(|(known, _)| *known == method).map_or(method, |(_, name)| name)
}

fn why(reason: &str) -> String {
    match reason {
        "below_min_payout" => "less than the program's smallest payout".to_owned(),
        "nothing_due" => "refunds outweigh what it earned since".to_owned(),
        "no_address" => "has set no address for USDC".to_owned(),
        "next_call" => "more than one payment takes: pay again afterwards".to_owned(),
        other => words::state(other),
    }
}

pub(super) async fn pay(form: Posted<Order>) -> Result<Response, Failure> {
    let Order { of, method, preview } = form.fields;
    let order = json!({"program_id": of, "method": method, "preview_token": preview, "dry_run": false});
    let path = "/api/payouts/process";
    let made: Processed = form.visit.api.send(Method::POST, path, &order, &form.once).await?;
    let done = if made.payouts.is_empty() { "nothing" } else { &method };
    Ok(Redirect::to(&with_query(PATH, &[("of", &of.to_string()), ("done", done)])).into_response())
}

/// What can be said of a payment made outside.
pub(in crate::surfaces::dashboard) fn settle_form(visit: &Visit, payout: &Payout) -> Markup {
    let to = &payout.affiliate_handle;
    html! {
        form.actions method="post" action="/my-dashboard/advertiser/payouts/settle" {
            (layout::once(visit))
            input type="hidden" name="payout" value=(payout.id);
            label.unseen for={ "word-" (payout.id) } { "Reference, or why it failed, of the payout to " (to) }
            input id={ "word-" (payout.id) } name="word" required maxlength="200" placeholder="Reference, or why not";
            button.small.primary name="outcome" value="paid" aria-label={ "The payout to " (to) " is paid" } { "Paid" }
            button.small name="outcome" value="failed" aria-label={ "The payout to " (to) " failed" } { "Failed" }
        }
    }
}

pub(super) async fn settle(form: Posted<Settled>) -> Result<Response, Failure> {
    let Settled { payout, outcome, word } = form.fields;
    let (verb, body) = match outcome.as_str() {
        "paid" => ("mark-paid", json!({"reference": word.trim()})),
        "failed" => ("mark-failed", json!({"reason": word.trim()})),
        _ => return Err(Failure::unreadable_form()),
    };
    let path = format!("/api/payouts/{payout}/{verb}");
    let Any {} = form.visit.api.send(Method::POST, &path, &body, &form.once).await?;
    Ok(Redirect::to(&with_query(PATH, &[("done", &outcome)])).into_response())
}
