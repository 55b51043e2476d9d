//! Steps on deliveries. The caller owns the transaction.

use super::queries;
use crate::error::{Error, Result};
use crate::features::webhooks::model::{DELIVERY_FOR_MAX, Delivery, DeliveryStatus, Endpoint};
use crate::page::{Page, Paged};
use shared::Clock;
use shared::id::DeliveryId;
use sqlx::PgConnection;

/// A page of an endpoint's deliveries.
pub async fn list(
    conn: &mut PgConnection,
    endpoint: &Endpoint,
    status: Option<DeliveryStatus>,
    page: Page,
) -> Result<Paged<Delivery>> {
    queries::list(conn, endpoint.id, status, page).await
}

/// A delivery of this endpoint.
pub async fn load(conn: &mut PgConnection, endpoint: &Endpoint, id: DeliveryId) -> Result<Delivery> {
    queries::find(conn, endpoint, id).await?.ok_or_else(|| {
        Error::not_found(
            "delivery",
            format!("List this webhook's with GET /api/webhooks/{}/deliveries.", endpoint.id),
        )
    })
}

/// Sends a delivery again: the same id, the same bytes, as soon as a worker is free.
pub async fn redeliver(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    endpoint: &Endpoint,
    delivery: &Delivery,
) -> Result<Delivery> {
    endpoint.must_be_active()?;
    let now = clock.now();
    queries::requeue(conn, endpoint.agent_id, delivery.id, now + DELIVERY_FOR_MAX, now).await?;
    load(conn, endpoint, delivery.id).await
}
