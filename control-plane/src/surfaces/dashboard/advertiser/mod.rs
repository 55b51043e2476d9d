//! Pages of whoever has others promote: programs, affiliates, what to decide, what it costs.

mod affiliates;
mod conversions;
pub(super) mod overview;
mod programs;
mod wallet;

use super::PICKED_MAX;
use super::error::Failure;
use super::parts::Picked;
use super::shapes::List;
use super::visit::Visit;
use crate::app::App;
use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;
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

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/my-dashboard/advertiser", get(overview::page))
        .route("/my-dashboard/advertiser/programs", get(programs::page).post(programs::create))
        .route("/my-dashboard/advertiser/programs/switch", post(programs::switch))
        .route("/my-dashboard/advertiser/affiliates", get(affiliates::page).post(affiliates::step))
        .route("/my-dashboard/advertiser/conversions", get(conversions::page).post(conversions::decide))
        .route("/my-dashboard/advertiser/wallet", get(wallet::page))
        .route("/my-dashboard/advertiser/wallet/topup", post(wallet::topup))
}

/// The newest programs of the visitor.
async fn own_programs(visit: &Visit) -> Result<List<Own>, Failure> {
    visit.api.get(&format!("/api/programs?advertiser_id={}&per_page={PICKED_MAX}", visit.id)).await
}

fn picks(programs: &List<Own>) -> impl Iterator<Item = Picked<'_>> {
    programs.data.iter().map(|one| Picked { id: one.id, name: &one.name })
}
