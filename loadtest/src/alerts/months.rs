//! A month that stays open: a system of its own, whose clocks are put forward past the month's end. The month of the
//! system that everything else stands on goes on.

use super::scene::Scene;
use crate::clicker::{self, Load, Progress, Target};
use crate::stack::{Clock, Options, Stack};
use anyhow::{Context, ensure};
use std::sync::Arc;
use std::time::Duration;

const CAUSED_FOR: Duration = Duration::from_mins(1);
/// From then on nothing is waited for.
const GRACE_SECONDS: i64 = 72 * 3_600;
const CLICKS: u64 = 100;

pub(super) async fn stays_open(scene: &mut Scene) -> anyhow::Result<()> {
    let options = Options { clock: Some(Clock::MonthEnd), ..Options::default() };
    let mut later = Stack::start(&scene.stack.ground, options).await?;
    let cast = later.api()?.cast().await?;
    let target = Target {
        addr: later.edge_addr,
        path: format!("/api/track/{}", cast.token),
        location: cast.destination.clone(),
    };
    later.wait_for_link(&target).await?;
    let load = Load { clicks: CLICKS, connections: 1, per_second: None, one_each: false };
    clicker::run(&target, load, Arc::new(Progress::default())).await?;
    let database = later.database().await?;
    Scene::until("the month has its usage", CAUSED_FOR, || async {
        let used = "SELECT coalesce(sum(used), 0)::BIGINT FROM usage_months WHERE metric = 'clicks'";
        let used: i64 = sqlx::query_scalar(used).fetch_one(&database).await?;
        Ok(used.unsigned_abs() >= CLICKS)
    })
    .await?;
    // A transaction that somebody left open: a month is closed under this row.
    let mut holding = database.begin().await?;
    sqlx::raw_sql("SELECT FROM usage_closed FOR UPDATE").execute(&mut *holding).await?;
    let left = later.seconds_to_month_end().context("the stack has no clock of its own")?;
    later.move_clock(left + GRACE_SECONDS + 3_600)?;
    let admin = later.control_plane.admin();
    scene.watch.control(admin, true)?;
    let told = scene.fires(&["MonthStaysOpen"]).await;
    holding.rollback().await?;
    told?;
    scene.mended(&["MonthStaysOpen"]);
    // Watched until then: a control plane that is gone says nothing, which ends the alert as well.
    scene.ended(&["MonthStaysOpen"]).await?;
    let closed: bool =
        sqlx::query_scalar("SELECT through IS NOT NULL FROM usage_closed").fetch_one(&database).await?;
    ensure!(closed, "the month is not closed");
    scene.watch.control(admin, false)?;
    later.stop()
}
