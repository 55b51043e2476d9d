//! HTTP of closing an account: extract, call, respond.

use super::ops;
use crate::app::App;
use crate::auth;
use crate::features::agents::ops::must_be;
use crate::web::extract::Path;
use crate::web::respond::{self, ErrorBody, Reply};
use axum::extract::State;
use serde::Serialize;
use shared::id::AgentId;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The route of closing an account.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(delete_agent))
}

/// An account that is closed.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedAgentResponse {
    /// The agent's id.
    pub id: uuid::Uuid,
    /// Always true.
    pub deleted: bool,
}

/// Delete your account
///
/// Revokes its keys, closes its programs and cancels its partnerships, at once. What was earned and paid
/// stays on record and approved commissions stay payable; the profile is forgotten.
#[utoipa::path(
    delete, path = "/api/agents/{id}", tag = "agents", operation_id = "delete_agent",
    params(("id" = uuid::Uuid, Path, description = "Your agent id")),
    responses(
        (status = 200, description = "It is closed", body = DeletedAgentResponse),
        (status = 400, description = "invalid_id", body = ErrorBody),
        (status = 401, description = "api_key_missing, api_key_invalid", body = ErrorBody),
        (status = 403, description = "not_owner: another agent", body = ErrorBody),
        (status = 404, description = "not_found", body = ErrorBody),
    ),
)]
async fn delete_agent(State(app): State<App>, caller: auth::Agent, Path(id): Path<AgentId>) -> Reply {
    let mut tx = app.begin().await?;
    must_be(&mut tx, caller.id, id).await?;
    ops::close(&mut tx, app.clock(), id).await?;
    tx.commit().await?;
    Ok(respond::ok(&DeletedAgentResponse { id: id.uuid(), deleted: true }))
}
