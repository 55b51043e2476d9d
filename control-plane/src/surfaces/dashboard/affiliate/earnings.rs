//! What was earned: by state, by program, conversion by conversion, and what was paid out.

use crate::surfaces::dashboard::advertiser::payouts::settle_form;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts::{self, Tile};
use crate::surfaces::dashboard::shapes::{Conversion, Earnings, List, Payout};
use crate::surfaces::dashboard::visit::{Asking, Visit};
use crate::surfaces::dashboard::{PER_PAGE, words};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

const PATH: &str = "/my-dashboard/affiliate/earnings";

/// Which page of the conversions.
#[derive(Deserialize)]
pub(super) struct Asked {
    page: Option<i64>,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    let number = parts::page_of(asked.page);
    let conversions = format!("/api/agents/{}/conversions?per_page={PER_PAGE}&page={number}", visit.id);
    let earnings = format!("/api/agents/{}/earnings", visit.id);
    let (me, earnings, conversions, payouts) = tokio::try_join!(
        layout::who(&visit),
        visit.api.get::<Earnings>(&earnings),
        visit.api.get::<List<Conversion>>(&conversions),
        visit.api.get::<List<Payout>>("/api/payouts?role=affiliate&per_page=20"),
    )?;
    let sums = &earnings.totals;
    let body = html! {
        (parts::heading("What you earned", &parts::export(&[("Conversions", "/my-dashboard/export/earned.csv"), ("Payouts", "/my-dashboard/export/paid-to-me.csv")])))
        (parts::tiles(&[
            Tile { name: "To be decided", value: words::money(sums.pending), change: None, note: "reported, and not decided yet".to_owned() },
            Tile { name: "Approved", value: words::money(sums.approved), change: None, note: format!("{} of it is past its hold", words::money(sums.payable)) },
            Tile { name: "On its way", value: words::money(sums.processing), change: None, note: "in a payout".to_owned() },
            Tile { name: "Paid", value: words::money(sums.paid), change: None, note: "net of what was taken back".to_owned() },
        ]))
        @if conversions.pagination.total == 0 {
            (parts::empty("Nothing earned yet", "When somebody buys after a click on your link, the sale is here with what it earns you.", Some(("Your links", "/my-dashboard/affiliate/links"))))
        } @else {
            (by_program(&earnings))
            section.card {
                h2 { (conversions.pagination.counted("conversion", "conversions")) }
                (list(&conversions))
                (parts::pager(PATH, &[], conversions.pagination))
            }
        }
        section.card {
            h2 { "Payouts to you" }
            (payout_list(&payouts, "No payout yet. Advertisers pay what is approved and past its hold.", None))
        }
    };
    let page = Page { role: Role::Affiliate, at: "/earnings", title: "Earnings", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn by_program(earnings: &Earnings) -> Markup {
    html! {
        section.card {
            h2 { "By program" }
            div.scroll tabindex="0" role="region" aria-label="Earnings by program" {
                table {
                    thead { tr { th scope="col" { "Program" } th.number scope="col" { "Conversions" } th.number scope="col" { "To be decided" } th.number scope="col" { "Approved" } th.number scope="col" { "Paid" } } }
                    tbody {
                        @for one in &earnings.programs {
                            tr {
                                th.name scope="row" { bdi { (one.program_name) } }
                                td.number { (words::count(one.conversions)) }
                                td.number { (words::money(one.pending)) }
                                td.number { (words::money(one.approved)) }
                                td.number { (words::money(one.paid)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn list(conversions: &List<Conversion>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Conversions" {
            table.cards {
                thead { tr { th scope="col" { "When" } th scope="col" { "What" } th.number scope="col" { "Sale" } th.number scope="col" { "You earn" } th scope="col" { "State" } } }
                tbody {
                    @for one in &conversions.data {
                        tr {
                            th.when scope="row" { (words::moment(one.created_at)) }
                            td { (words::state(&one.event_type)) " by " code { (one.tracking_token) } }
                            td.number data-label=[one.revenue_amount.map(|_| "Sale")] { (one.revenue_amount.map(words::money).unwrap_or_default()) }
                            td.number data-label="You earn" { (words::money(one.commission_amount)) }
                            td {
                                (parts::state(&one.status))
                                @if one.status == "pending" { " " span.muted { "approves itself on " (words::day(one.auto_approve_at)) } }
                                @if let Some(reason) = &one.reason { " " span.muted { bdi { (reason) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Payouts, of either side; for who pays, with a form for those that are paid outside.
pub(in crate::surfaces::dashboard) fn payout_list(
    payouts: &List<Payout>,
    none: &str,
    payer: Option<&Visit>,
) -> Markup {
    html! {
        @if payouts.data.is_empty() {
            p.muted { (none) }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Payouts" {
                table.cards {
                    thead { tr { th scope="col" { "When" } th scope="col" { "To" } th.number scope="col" { "Amount" } th.number scope="col" { "Commissions" } th scope="col" { "How" } th scope="col" { "State" } } }
                    tbody {
                        @for one in &payouts.data {
                            tr {
                                th.when scope="row" { (words::moment(one.created_at)) }
                                td data-label="To" { "@" (one.affiliate_handle) }
                                td.number data-label="Amount" { (words::money(one.amount)) }
                                td.number data-label="Commissions" { (words::count(one.commission_count)) }
                                td data-label="How" { (words::state(&one.method)) @if let Some(reference) = &one.reference { " " span.muted { bdi { (reference) } } } }
                                td {
                                    (parts::state(&one.status)) @if let Some(failure) = &one.failure { " " span.muted { bdi { (failure) } } }
                                    @if let (Some(visit), "external", "pending" | "processing") = (payer, one.method.as_str(), one.status.as_str()) { (settle_form(visit, one)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
