//! Clocks that jump, by a library that is loaded into our programs and lies to them about the time.

use crate::faults::scene::Scene;
use anyhow::{Context, ensure};
use std::time::Duration;

const HOUR_SECONDS: i64 = 3_600;
/// The library looks for a new offset this often.
const NOTICED_FOR: Duration = Duration::from_secs(2);

/// The edge's clock jumps an hour ahead, and an hour back.
pub(in crate::faults) async fn jumps(scene: &mut Scene) -> anyhow::Result<()> {
    for offset in [HOUR_SECONDS, -HOUR_SECONDS, 0] {
        scene.stack.set_clock(offset)?;
        tokio::time::sleep(NOTICED_FOR).await;
        scene.outage().await;
    }
    let database = scene.stack.database().await?;
    let (ahead, behind): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE at > now() + INTERVAL '6 minutes'),
                count(*) FILTER (WHERE at < now() - INTERVAL '30 minutes')
           FROM clicks",
    )
    .fetch_one(&database)
    .await?;
    scene.note(format!("{behind} clicks kept an hour that had passed, {ahead} one to come"));
    ensure!(behind > 0, "the clock never jumped");
    ensure!(ahead == 0, "{ahead} clicks are dated more than six minutes ahead");
    Ok(())
}

/// From the hour before the month's end, where the stack began, to five seconds before the end.
pub(in crate::faults) async fn month_ends(scene: &mut Scene) -> anyhow::Result<()> {
    let left = scene.stack.seconds_to_month_end().context("the stack has no clock of its own")?;
    scene.stack.move_clock(left - 5)?;
    tokio::time::sleep(NOTICED_FOR + Duration::from_secs(5)).await;
    scene.outage().await;
    let database = scene.stack.database().await?;
    let months = "SELECT count(*) FROM usage_months WHERE metric = 'clicks' AND used > 0";
    Scene::until("both months have clicks", Duration::from_secs(10), || async {
        Ok(sqlx::query_scalar::<_, i64>(months).fetch_one(&database).await? == 2)
    })
    .await?;
    let (used, billable): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT min(used) FROM usage_months WHERE metric = 'clicks'),
                (SELECT count(*) FROM usage_months WHERE metric = 'clicks' AND used < 0)",
    )
    .fetch_one(&database)
    .await?;
    ensure!(billable == 0, "a month has less than nothing");
    let usage = scene.cast.advertiser.call("GET", "/api/usage", None).await?;
    let clicks = &usage["usage"]["clicks"];
    ensure!(clicks["remaining"].as_i64().is_none_or(|remaining| remaining >= 0), "negative: {usage}");
    scene.note(format!("two months, the smaller with {used} clicks; now {} used", clicks["used"]));
    Ok(())
}
