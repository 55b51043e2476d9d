//! What it costs: the wallet, topping up, its limits, the plan, the allowance, and every movement.

use super::overview::usage;
use super::plan;
use crate::money::Micros;
use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout::{self, Page, Role};
use crate::surfaces::dashboard::parts::{self, Tile};
use crate::surfaces::dashboard::shapes::{Any, List, Subscription, Topup, Transaction, Usage, Wallet};
use crate::surfaces::dashboard::visit::{Asking, Posted, Visit};
use crate::surfaces::dashboard::{PER_PAGE, words};
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const PATH: &str = "/my-dashboard/advertiser/wallet";
/// What the forms offer, in dollars.
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

/// What may be spent, and when the wallet fills itself. Empty fields set no limit.
#[derive(Deserialize)]
pub(super) struct Limits {
    cap: String,
    threshold: String,
    #[serde(default)]
    refill: Option<String>,
}

pub(super) async fn page(visit: Visit, Asking(asked): Asking<Asked>) -> Result<Response, Failure> {
    let transactions =
        format!("/api/wallet/transactions?per_page={PER_PAGE}&page={}", parts::page_of(asked.page));
    let (me, wallet, used, plan, transactions) = tokio::try_join!(
        layout::who(&visit),
        visit.api.get::<Wallet>("/api/wallet"),
        visit.api.get::<Usage>("/api/usage"),
        visit.api.get::<Subscription>("/api/subscription"),
        visit.api.get::<List<Transaction>>(&transactions),
    )?;
    let cap = wallet
        .monthly_spend_cap
        .map_or("no cap is set".to_owned(), |cap| format!("of {} a month", words::money(cap)));
    let body = html! {
        (parts::heading("Wallet", &parts::export(&[("Transactions", "/my-dashboard/export/wallet.csv")])))
        @if let Some(done) = asked.done.as_deref() { p.notice role="status" { (said(done)) } }
        (parts::tiles(&[
            Tile { name: "Balance", value: words::money(wallet.balance), change: None, note: "to spend on clicks, conversions, commissions".to_owned() },
            Tile { name: "Spent this month", value: words::money(wallet.spent_this_month), change: None, note: cap },
            Tile { name: "Set aside", value: words::money(wallet.held), change: None, note: "for payouts on their way".to_owned() },
            Tile { name: "Owed to us", value: words::money(wallet.owed), change: None, note: "the next top-up repays it first".to_owned() },
        ]))
        div.columns.even {
            (top_up(&visit, &wallet))
            section.card { h2 { "Allowance" } (usage(&used)) }
            (limits(&visit, &wallet))
            (plan::card(&visit, &plan, &wallet.provider))
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
    };
    let page = Page { role: Role::Advertiser, at: "/wallet", title: "Wallet", body };
    Ok(layout::page(&visit, &me, &page).into_response())
}

fn said(done: &str) -> &'static str {
    match done {
        "topup" => "Your wallet was topped up.",
        "limits" => "Your limits are set.",
        "pro" => "You are on Pro.",
        "pro-ends" => "Pro ends with the month that is paid.",
        "free" => "Pro has ended.",
        _ => "Done.",
    }
}

fn top_up(visit: &Visit, wallet: &Wallet) -> Markup {
    html! {
        section.card {
            h2 { "Top up" }
            form.fields method="post" action="/my-dashboard/advertiser/wallet/topup" {
                (layout::once(visit))
                div { label for="amount" { "How much" } select #amount name="amount" { @for amount in AMOUNTS { option value=(amount) selected[amount == 20] { "$" (amount) } } } }
                div { button.primary type="submit" { "Top up" } }
            }
            @if wallet.provider == "sandbox" {
                p.muted { "This deployment takes payments in its sandbox: the wallet is credited at once and nobody is charged." }
            } @else {
                p.muted { "You pay on our provider's page; the wallet is credited once that is done." }
            }
        }
    }
}

fn limits(visit: &Visit, wallet: &Wallet) -> Markup {
    let refill = &wallet.auto_topup;
    let typed = |amount: Option<Micros>| amount.map(|amount| amount.to_string());
    html! {
        section.card {
            h2 { "Limits" }
            form.stack method="post" action="/my-dashboard/advertiser/wallet/limits" {
                (layout::once(visit))
                label for="cap" { "Spend at most, in dollars a month" }
                input #cap name="cap" inputmode="decimal" pattern="[0-9]{1,7}([.][0-9]{1,2})?" value=[typed(wallet.monthly_spend_cap)] placeholder="no limit" aria-describedby="cap-note";
                p.muted #cap-note { "For clicks, conversions and matching requests beyond the allowance. Clicks go on over it, unpaid and not billed. Payouts are not part of it." }
                @if wallet.provider == "sandbox" {
                    label for="threshold" { "Top up by itself when less is left than, in dollars" }
                    input #threshold name="threshold" inputmode="decimal" pattern="[0-9]{1,3}([.][0-9]{1,2})?" value=[typed(refill.threshold)] placeholder="never";
                    label for="refill" { "Each time by" }
                    select #refill name="refill" { @for amount in AMOUNTS { option value=(amount) selected[refill.enabled && refill.amount == Micros::from_cents(amount.saturating_mul(100)).ok()] { "$" (amount) } } }
                } @else {
                    input type="hidden" name="threshold" value="";
                }
                button.primary type="submit" { "Set limits" }
            }
        }
    }
}

pub(super) async fn limit(form: Posted<Limits>) -> Result<Response, Failure> {
    let amount = |text: &str| match text.trim() {
        "" => Ok(Value::Null),
        text => Micros::parse(text).map(|amount| amount.to_json()).ok_or_else(Failure::unreadable_form),
    };
    let Limits { cap, threshold, refill } = &form.fields;
    let mut body = json!({"monthly_spend_cap": amount(cap)?});
    // A form without the field says nothing of it.
    if let (Some(refill), Some(body)) = (refill, body.as_object_mut()) {
        let threshold = amount(threshold)?;
        let wanted = if threshold.is_null() {
            Value::Null
        } else {
            json!({"threshold": threshold, "amount": amount(refill)?})
        };
        body.insert("auto_topup".to_owned(), wanted);
    }
    let Any {} = form.visit.api.send(Method::PATCH, "/api/wallet", &body, "").await?;
    Ok(Redirect::to(&with_query(PATH, &[("done", "limits")])).into_response())
}

fn movements(transactions: &List<Transaction>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Movements" {
            table.cards {
                thead { tr { th scope="col" { "When" } th scope="col" { "What for" } th.number scope="col" { "How many" } th.number scope="col" { "Amount" } th.number scope="col" { "Balance after" } } }
                tbody {
                    @for one in &transactions.data {
                        tr {
                            th.when scope="row" { (words::moment(one.created_at)) }
                            td { (words::state(&one.kind)) }
                            td.number data-label=[one.quantity.map(|_| "How many")] { (one.quantity.map(words::count).unwrap_or_default()) }
                            td.number data-label="Amount" { @if one.r#type == "debit" { "−" } @else { "+" } (words::money(one.amount)) }
                            td.number data-label="Balance after" { (words::money(one.balance_after)) }
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
    let paid = Micros::from_cents(amount.saturating_mul(100)).unwrap_or_default();
    Ok(go_and_pay("Top up", paid, &checkout))
}

/// The way to the payment page. A redirect out of a form is what the policy of our pages refuses; a link is not.
pub(super) fn go_and_pay(what: &str, amount: Micros, checkout: &str) -> Response {
    let page = layout::bare(
        "Pay",
        &html! {
            p.kicker { (what) }
            h1 { "Pay " (words::money(amount)) " by card" }
            p.lead { "On our payment provider's page. It counts as soon as it is paid." }
            p { a.button href=(checkout) rel="noreferrer" { "Go to the payment page" } }
            p { a href=(PATH) { "Back to the wallet" } }
        },
    );
    page.into_response()
}
