//! Who is in the database, and how the rows get there.

use crate::api::{Api, text};
use crate::stack::Stack;
use anyhow::Context;
use serde_json::json;
use shared::id::{PartnershipId, ProgramId};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

const ROWS: &str = include_str!("seed.sql");

/// What the lists are read with.
pub(super) struct Seeded {
    pub(super) anyone: Api,
    pub(super) big: Api,
    pub(super) busy: Api,
    pub(super) big_id: String,
    pub(super) busy_id: String,
    pub(super) program: Uuid,
    pub(super) partnership: Uuid,
    pub(super) webhook: String,
}

/// How many.
pub(super) struct Size {
    pub(super) agents: u64,
    pub(super) programs: u64,
    pub(super) conversions: u64,
}

/// Signs up who reads the lists, and makes the rows.
pub(super) async fn seed(stack: &Stack, size: &Size) -> anyhow::Result<Seeded> {
    let anyone = stack.api()?;
    let (big, big_id) = anyone.sign_up("Big").await?;
    let (busy, busy_id) = anyone.sign_up("Busy").await?;
    big.call("POST", "/api/subscription/pro", Some(json!({}))).await?;
    let hook = json!({"url": "http://127.0.0.1:9/"});
    let webhook = text(&big.call("POST", "/api/webhooks", Some(hook)).await?, "id")?;
    let (program, partnership) = (ProgramId::generate().uuid(), PartnershipId::generate().uuid());
    let mut rows = ROWS.to_owned();
    let values = [
        ("{agents}", size.agents.to_string()),
        ("{programs}", size.programs.to_string()),
        ("{conversions}", size.conversions.to_string()),
        ("{big}", big_id.clone()),
        ("{busy}", busy_id.clone()),
        ("{program}", program.to_string()),
        ("{partnership}", partnership.to_string()),
        ("{webhook}", webhook.clone()),
    ];
    for (name, value) in values {
        rows = rows.replace(name, &value);
    }
    let mut conn = stack.database().await?.acquire().await?;
    conn.execute("SET session_replication_role = replica").await?;
    conn.execute(AssertSqlSafe(rows)).await.context("the rows could not be made")?;
    conn.execute("SELECT rebuild_trade()").await?;
    conn.execute("VACUUM ANALYZE").await?;
    Ok(Seeded { anyone, big, busy, big_id, busy_id, program, partnership, webhook })
}
