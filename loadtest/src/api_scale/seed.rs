//! Who is in the database, and how the rows get there.

use crate::api::{Api, text};
use crate::stack::Stack;
use anyhow::Context;
use serde_json::{Value, json};
use shared::id::{PartnershipId, ProgramId};
use sqlx::{AssertSqlSafe, Executor};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const ROWS: &str = include_str!("seed.sql");
/// In a folder that a database is kept in: the database, and whom it has.
const DATA: &str = "postgres";
const NAMES: &str = "names.json";

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

/// The database of a folder that [`keep`] filled.
pub(super) fn kept(folder: &Path) -> Option<PathBuf> {
    folder.join(NAMES).exists().then(|| folder.join(DATA))
}

/// Leaves the seeded database, and whom it has, in a folder for later runs. Nothing else may write meanwhile.
pub(super) async fn keep(stack: &mut Stack, seeded: &Seeded, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).context("cannot make the folder to keep the database in")?;
    stack.control_plane.stop()?;
    stack.postgres.stop()?;
    stack.postgres.copy_to(&folder.join(DATA))?;
    let key = |api: &Api| api.key().map(str::to_owned);
    let names = json!({
        "big": key(&seeded.big), "busy": key(&seeded.busy), "big_id": seeded.big_id, "busy_id": seeded.busy_id,
        "program": seeded.program, "partnership": seeded.partnership, "webhook": seeded.webhook,
    });
    std::fs::write(folder.join(NAMES), names.to_string()).context("cannot keep the names")?;
    stack.postgres.start()?;
    stack.postgres.ready().await?;
    stack.control_plane.start()?;
    stack.control_plane.ready().await
}

/// Whom a kept database has.
pub(super) fn names(stack: &Stack, folder: &Path) -> anyhow::Result<Seeded> {
    let names = std::fs::read_to_string(folder.join(NAMES)).context("the folder has no names")?;
    let names: Value = serde_json::from_str(&names)?;
    let anyone = stack.api()?;
    let id = |name: &str| anyhow::Ok(text(&names, name)?.parse::<Uuid>()?);
    Ok(Seeded {
        big: anyone.with_key(&text(&names, "big")?),
        busy: anyone.with_key(&text(&names, "busy")?),
        anyone,
        big_id: text(&names, "big_id")?,
        busy_id: text(&names, "busy_id")?,
        program: id("program")?,
        partnership: id("partnership")?,
        webhook: text(&names, "webhook")?,
    })
}
