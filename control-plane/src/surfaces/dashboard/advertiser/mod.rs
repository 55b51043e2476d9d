//! Pages of whoever has others promote: programs, affiliates, what to decide, what it costs.

mod affiliates;
mod conversions;
pub(super) mod overview;
pub(super) mod payouts;
mod plan;
mod programs;
mod wallet;

use super::api::with_query;
use super::error::Failure;
use super::parts::{self, Picked};
use super::shapes::List;
use super::visit::Visit;
use super::{PER_PAGE, PICKED_MAX};
use crate::app::App;
use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Over which time.
#[derive(Deserialize)]
pub(super) struct Asked {
    days: Option<String>,
}

/// A program of one's own, to pick.
#[derive(Deserialize)]
struct Own {
    id: Uuid,
    name: String,
}

/// Of which program a list is, in which state.
#[derive(Deserialize)]
struct AskedOf {
    of: Option<Uuid>,
    status: Option<String>,
    page: Option<i64>,
    done: Option<String>,
}

/// A page of a program's list.
struct ListOf<T> {
    of: Uuid,
    /// The state that was asked for; empty for all.
    status: &'static str,
    rows: List<T>,
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/my-dashboard/advertiser", get(overview::page))
        .route("/my-dashboard/advertiser/programs", get(programs::page).post(programs::create))
        .route("/my-dashboard/advertiser/programs/switch", post(programs::switch))
        .route("/my-dashboard/advertiser/affiliates", get(affiliates::page).post(affiliates::step))
        .route("/my-dashboard/advertiser/conversions", get(conversions::page).post(conversions::decide))
        .route("/my-dashboard/advertiser/payouts", get(payouts::page).post(payouts::pay))
        .route("/my-dashboard/advertiser/payouts/preview", get(payouts::preview))
        .route("/my-dashboard/advertiser/payouts/settle", post(payouts::settle))
        .route("/my-dashboard/advertiser/wallet", get(wallet::page))
        .route("/my-dashboard/advertiser/wallet/limits", post(wallet::limit))
        .route("/my-dashboard/advertiser/wallet/plan", post(plan::change))
        .route("/my-dashboard/advertiser/wallet/topup", post(wallet::topup))
}

/// The newest programs of the visitor.
async fn own_programs(visit: &Visit) -> Result<List<Own>, Failure> {
    visit.api.get(&format!("/api/programs?advertiser_id={}&per_page={PICKED_MAX}", visit.id)).await
}

fn picks(programs: &List<Own>) -> impl Iterator<Item = Picked<'_>> {
    programs.data.iter().map(|one| Picked { id: one.id, name: &one.name })
}

/// The page of `what` a program has, of the newest one when none is named; nothing without any program.
async fn list_of<T: DeserializeOwned>(
    visit: &Visit,
    programs: &List<Own>,
    asked: &AskedOf,
    what: &str,
    states: &[&'static str],
) -> Result<Option<ListOf<T>>, Failure> {
    let Some(of) = asked.of.or_else(|| programs.data.first().map(|one| one.id)) else { return Ok(None) };
    let wanted = |state: &&&str| Some(**state) == asked.status.as_deref();
    let status = states.iter().find(wanted).copied().unwrap_or_default();
    let (number, rows) = (parts::page_of(asked.page).to_string(), PER_PAGE.to_string());
    let path = with_query(
        &format!("/api/programs/{of}/{what}"),
        &[("status", status), ("page", &number), ("per_page", &rows)],
    );
    Ok(Some(ListOf { of, status, rows: visit.api.get(&path).await? }))
}
