//! What it costs: the wallet, its movements, the allowance, topping up, payouts made.

use super::overview::usage;
use crate::money::Micros;
use crate::surfaces::dashboard::affiliate::earnings::payout_list;
use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts::{self, Tile};
use crate::surfaces::dashboard::shapes::{List, Payout, Topup, Transaction, Usage, Wallet};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::{PER_PAGE, words};
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

const PATH: &str = "/my-dashboard/advertiser/wallet";
/// What the form offers, in dollars.
const AMOUNTS: [i64; 6] = [5, 20, 50, 100, 200, 500];

/// Which page of the transactions.
#[derive(Deserialize)]
pub(super) struct Asked {
    page: Option<i64>,
    done: Option<String>,
}

/// Money to add.
#[derive(Deserialize)]
pub(super) struct NewTopup {
    amount: i64,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    let transactions =
        format!("/api/wallet/transactions?per_page={PER_PAGE}&page={}", parts::page_of(asked.page));
    let (me, wallet, used, transactions, payouts) = tokio::try_join!(
        layout::who(&visit),
        visit.api.get::<Wallet>("/api/wallet"),
        visit.api.get::<Usage>("/api/usage"),
        visit.api.get::<List<Transaction>>(&transactions),
        visit.api.get::<List<Payout>>("/api/payouts?role=advertiser&per_page=20"),
    )?;
    let cap = wallet
        .monthly_spend_cap
        .map_or("no cap is set".to_owned(), |cap| format!("of {} a month", words::money(cap)));
    let body = html! {
        (parts::heading("Wallet", &parts::export(&[("Transactions", "/my-dashboard/export/wallet.csv"), ("Payouts", "/my-dashboard/export/paid-by-me.csv")])))
        @if asked.done.is_some() { p.notice role="status" { "Your wallet was topped up." } }
        (parts::tiles(&[
            Tile { name: "Balance", value: words::money(wallet.balance), change: None, note: "to spend on clicks, conversions, commissions".to_owned() },
            Tile { name: "Spent this month", value: words::money(wallet.spent_this_month), change: None, note: cap },
            Tile { name: "Set aside", value: words::money(wallet.held), change: None, note: "for payouts on their way".to_owned() },
            Tile { name: "Owed to us", value: words::money(wallet.owed), change: None, note: "the next top-up repays it first".to_owned() },
        ]))
        div.columns.even {
            (top_up(&visit, &wallet))
            section.card { h2 { "Allowance" } (usage(&used)) }
        }
        section.card {
            h2 { "Movements" }
            @if transactions.data.is_empty() {
                p.muted { "Nothing moved yet. What is within the allowance costs nothing." }
            } @else {
                (movements(&transactions))
                (parts::pager(PATH, &[], transactions.pagination))
            }
        }
        section.card {
            h2 { "Payouts to your affiliates" }
            (payout_list(&payouts, "No payout yet. Pay what is due with POST /api/payouts/process: look first with dry_run."))
        }
    };
    let page = Page { role: Role::Advertiser, at: "/wallet", title: "Wallet", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn top_up(visit: &Visit, wallet: &Wallet) -> Markup {
    html! {
        section.card {
            h2 { "Top up" }
            form.stack method="post" action="/my-dashboard/advertiser/wallet/topup" {
                (layout::once(visit))
                label for="amount" { "How much" }
                select #amount name="amount" { @for amount in AMOUNTS { option value=(amount) selected[amount == 20] { "$" (amount) } } }
                button.primary type="submit" { "Top up" }
            }
            @if wallet.provider == "sandbox" {
                p.muted { "This deployment takes payments in its sandbox: the wallet is credited at once and nobody is charged." }
            } @else {
                p.muted { "You pay on our provider's page; the wallet is credited once that is done." }
            }
        }
    }
}

fn movements(transactions: &List<Transaction>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Movements" {
            table {
                thead { tr { th scope="col" { "When" } th scope="col" { "What for" } th.number scope="col" { "How many" } th.number scope="col" { "Amount" } th.number scope="col" { "Balance after" } } }
                tbody {
                    @for one in &transactions.data {
                        tr {
                            th.when scope="row" { (words::moment(one.created_at)) }
                            td { (words::state(&one.kind)) }
                            td.number { (one.quantity.map(words::count).unwrap_or_default()) }
                            td.number { @if one.r#type == "debit" { "−" } @else { "+" } (words::money(one.amount)) }
                            td.number { (words::money(one.balance_after)) }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn topup(form: Posted<NewTopup>) -> Result<Response, Failure> {
    let amount = form.fields.amount;
    let body = json!({"amount": amount});
    let topup: Topup = form.visit.api.send(Method::POST, "/api/wallet/topup", &body, &form.once).await?;
    let Some(checkout) = topup.checkout_url else {
        return Ok(Redirect::to(&with_query(PATH, &[("done", "topup")])).into_response());
    };
    // A redirect out of a form is what the policy of the page refuses; a link is not.
    let page = layout::bare(
        "Pay",
        &html! {
            p.kicker { "Top up" }
            h1 { "Pay " (Micros::from_cents(amount.saturating_mul(100)).map(words::money).unwrap_or_default()) " by card" }
            p.lead { "On our payment provider's page. Your wallet is credited as soon as it is paid." }
            p { a.button href=(checkout) rel="noreferrer" { "Go to the payment page" } }
            p { a href=(PATH) { "Back to the wallet" } }
        },
    );
    Ok(page.into_response())
}
