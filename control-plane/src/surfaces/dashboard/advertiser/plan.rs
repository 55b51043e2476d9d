//! The plan: what is in force, starting Pro, ending it, going on, and the card that pays for it.

use crate::surfaces::dashboard::api::with_query;
use crate::surfaces::dashboard::error::Failure;
use crate::surfaces::dashboard::layout;
use crate::surfaces::dashboard::parts;
use crate::surfaces::dashboard::shapes::{Portal, Subscription};
use crate::surfaces::dashboard::visit::{Posted, Visit};
use crate::surfaces::dashboard::words;
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

/// A step of the plan.
#[derive(Deserialize)]
pub(super) struct Step {
    step: String,
}

/// The plan as a card; `provider` is how this deployment takes money.
pub(super) fn card(visit: &Visit, plan: &Subscription, provider: &str) -> Markup {
    let by_card = plan.payment.as_deref() == Some("stripe");
    html! {
        section.card {
            div.heading { h2 { "Plan" } (parts::state(if plan.plan == "pro" { "Pro" } else { "Free" })) }
            @if plan.plan == "pro" {
                p { (standing(plan)) }
                form.actions method="post" action="/my-dashboard/advertiser/wallet/plan" {
                    (layout::once(visit))
                    @if plan.cancel_at_period_end {
                        button.primary name="step" value="start" { "Keep Pro" }
                    } @else {
                        button name="step" value="end" { "End Pro" }
                    }
                    @if by_card { button name="step" value="card" { "Card and invoices" } }
                }
            } @else {
                p { "Pro is " (words::money(plan.price)) " a month: 500,000 clicks and 1,000 conversions included, half the price for what comes on top, webhooks, links on your own domain." }
                @if let (Some(checkout), "pending") = (&plan.checkout_url, plan.status.as_str()) {
                    p.notice role="status" { "Pro begins once it is paid. " a href=(checkout) rel="noreferrer" { "Go to the payment page" } }
                }
                form.actions method="post" action="/my-dashboard/advertiser/wallet/plan" {
                    (layout::once(visit))
                    button.primary name="step" value="start" { @if provider == "sandbox" { "Start Pro" } @else { "Start Pro by card" } }
                    @if provider != "sandbox" { button name="step" value="start-from-wallet" { "Start Pro from my wallet" } }
                }
                @if provider == "sandbox" { p.muted { "This deployment takes payments in its sandbox: nobody is charged." } }
            }
        }
    }
}

fn standing(plan: &Subscription) -> String {
    let until = plan.current_period_end.map(words::day).unwrap_or_default();
    if plan.cancel_at_period_end {
        return format!("Pro ends on {until}. Until then nothing changes.");
    }
    match plan.grace_until {
        Some(grace) => {
            format!(
                "The last renewal failed. Pro goes on until {}: see that it can be paid.",
                words::day(grace)
            )
        }
        None => format!("{} a month; it renews on {until}.", words::money(plan.price)),
    }
}

pub(super) async fn change(form: Posted<Step>) -> Result<Response, Failure> {
    let api = &form.visit.api;
    let start = "/api/subscription/pro";
    let plan: Subscription = match form.fields.step.as_str() {
        "start" => api.send(Method::POST, start, &json!({}), &form.once).await?,
        "start-from-wallet" => {
            api.send(Method::POST, start, &json!({"payment": "wallet"}), &form.once).await?
        }
        "end" => api.ask(Method::DELETE, "/api/subscription", "").await?,
        "card" => return portal(&form).await,
        _ => return Err(Failure::unreadable_form()),
    };
    match &plan.checkout_url {
        Some(checkout) => Ok(super::wallet::go_and_pay("Pro", plan.price, checkout)),
        None => {
            let done = if plan.cancel_at_period_end { "pro-ends" } else { plan.plan.as_str() };
            Ok(Redirect::to(&with_query(super::wallet::PATH, &[("done", done)])).into_response())
        }
    }
}

async fn portal(form: &Posted<Step>) -> Result<Response, Failure> {
    let path = "/api/subscription/portal";
    let page: Portal = form.visit.api.ask(Method::POST, path, &form.once).await?;
    let page = layout::bare(
        "Card and invoices",
        &html! {
            p.kicker { "Pro" }
            h1 { "Card and invoices" }
            p.lead { "They are kept by our payment provider. The link works once, for a few minutes." }
            p { a.button href=(page.url) rel="noreferrer" { "Go to the provider's page" } }
            p { a href=(super::wallet::PATH) { "Back to the wallet" } }
        },
    );
    Ok(page.into_response())
}
