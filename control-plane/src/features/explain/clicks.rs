//! Explaining a click. The caller owns the connection.

use super::model::{ClickExplanation, Reason, Step};
use super::queries::{self, LinkRow};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::features::clicks;
use crate::features::clicks::model::StoredClick;
use crate::features::conversions::clicks::SPOOL_TAG;
use crate::features::usage::model::{Metric, month_of};
use crate::features::usage::report;
use crate::time::At;
use chrono::{DateTime, TimeDelta, Utc};
use shared::id::AgentId;
use shared::{ClickClass, ClickId};
use sqlx::PgConnection;

/// Explains a click to one of its two sides; strangers hear that there is none.
pub(super) async fn explain(
    conn: &mut PgConnection,
    app: &App,
    caller: AgentId,
    text: &str,
) -> Result<ClickExplanation> {
    let id = app.click_id_key().parse(text).ok_or_else(not_a_click)?;
    let link = queries::find_link(conn, id.link).await?;
    let link = link.filter(|link| [link.advertiser_id, link.affiliate_id].contains(&caller));
    let link = link.ok_or_else(missing)?;
    let now = app.clock().now();
    let stored = clicks::ops::find(conn, &id).await?;
    let minted_at = DateTime::from_timestamp_millis(id.at_ms).unwrap_or(now);
    let clicked_at = stored.as_ref().map_or(minted_at, |click| click.at);
    let mut steps = vec![minted(&id, minted_at), recorded(conn, stored.as_ref(), minted_at).await?];
    if let Some(click) = &stored {
        steps.push(class(click, &link));
        if click.billable() && caller == link.advertiser_id {
            steps.extend(metered(conn, &link, click.at).await?);
        }
    }
    steps.extend(credited(conn, text, &link, clicked_at, now).await?);
    Ok(ClickExplanation {
        click_id: text.to_owned(),
        link_id: link.id.uuid(),
        tracking_token: link.token,
        program_id: link.program_id.uuid(),
        affiliate_id: link.affiliate_id.uuid(),
        advertiser_id: link.advertiser_id.uuid(),
        clicked_at: clicked_at.into(),
        counted: stored.map(|click| click.billable()),
        steps,
    })
}

fn not_a_click() -> Error {
    Error::new(
        Code::InvalidId,
        "The path parameter `click_id` is not the id of a click of ours.",
        "Put the 43 characters that came with the click in place of `click_id`: `{click_id}` in the destination, the program's click_id_param, or the reply of POST /api/conversions/track-click.",
    )
    .on_field("click_id")
}

fn missing() -> Error {
    Error::not_found(
        "click",
        "Explain clicks on your own links or on those of your programs; GET /api/partnerships/:id/links lists links.",
    )
}

fn minted(id: &ClickId, at: DateTime<Utc>) -> Step {
    if id.spool_tag == SPOOL_TAG {
        let text = "It was reported with POST /api/conversions/track-click.";
        return Step::new("clicked", Reason::ByReport, text).at(at);
    }
    let text = "An edge redirected the visitor and made this id; its checksum is right.";
    Step::new("clicked", Reason::ByRedirect, text)
        .with("edge", format!("{:08x}", id.spool_tag))
        .with("sequence", id.seq)
        .at(at)
}

async fn recorded(
    conn: &mut PgConnection,
    stored: Option<&StoredClick>,
    minted_at: DateTime<Utc>,
) -> Result<Step> {
    let step = |reason, text: &str| Step::new("recorded", reason, text);
    Ok(match stored {
        Some(click) if click.is_time_corrected() => step(
            Reason::StoredTimeCorrected,
            "It is stored. The edge's clock was out of range, so the time it arrived counts.",
        )
        .at(click.at),
        Some(click) => step(Reason::Stored, "It is stored.").at(click.at),
        None if queries::is_day_dropped(conn, minted_at.date_naive()).await? => {
            step(Reason::RowDropped, "Its day is older than clicks are kept. It stays in every sum.")
        }
        None => step(
            Reason::NotStoredYet,
            "It has not arrived from the edge. Ask again in a few seconds; after a fault it can take longer.",
        ),
    })
}

fn class(click: &StoredClick, link: &LinkRow) -> Step {
    let class = click.class();
    let name = class.map_or("unknown", ClickClass::name);
    let step = if click.billable() {
        let text = format!("Its class is `{name}`, which the program paid for at that time: it is counted.");
        Step::new("class", Reason::ClassCounted, text)
    } else if class == Some(ClickClass::Duplicate) {
        let text = format!(
            "The same visitor had clicked this link within dedup_seconds ({} now): it is not counted again.",
            link.dedup_seconds
        );
        Step::new("class", Reason::Duplicate, text).with("dedup_seconds", link.dedup_seconds)
    } else {
        let text = format!(
            "Its class is `{name}`, which was not among the program's pay_classes: it is kept, not counted."
        );
        Step::new("class", Reason::ClassNotCounted, text)
    };
    let step = match click.country() {
        Some(country) => step.with("country", country),
        None => step,
    };
    step.with("class", name)
}

/// What became of the month's clicks. They are metered in the order they arrive, many at once, so one of
/// them is not told from the others.
async fn metered(conn: &mut PgConnection, link: &LinkRow, at: DateTime<Utc>) -> Result<Option<Step>> {
    let month = month_of(at);
    let Some(row) = queries::find_click_month(conn, link.advertiser_number, month).await? else {
        return Ok(None);
    };
    let tier = report::tier_of(conn, link.advertiser_number).await?;
    let (allowance, price) = (Metric::Clicks.allowance(tier), Metric::Clicks.price(tier));
    let (reason, text) = if row.over_limit > 0 {
        let text = format!(
            "Of the month's {} metered clicks, {} were within the allowance, {} paid from the wallet, and {} over the limit: recorded, unbilled.",
            row.used, row.included, row.billed, row.over_limit
        );
        (Reason::OverLimit, text)
    } else if row.capped > 0 {
        let text = format!(
            "Of the month's {} metered clicks, {} were within the allowance, {} paid from the wallet, and {} of links that had far more than usual in an hour: recorded, unbilled.",
            row.used, row.included, row.billed, row.capped
        );
        (Reason::LinkCapped, text)
    } else if row.billed > 0 {
        let text = format!(
            "Of the month's {} metered clicks, {} were within the allowance and {} paid from the wallet, ${} in all.",
            row.used, row.included, row.billed, row.amount_micros
        );
        (Reason::PaidFromWallet, text)
    } else {
        let text = format!("All of the month's {} metered clicks are within the allowance.", row.used);
        (Reason::WithinAllowance, text)
    };
    Ok(Some(
        Step::new("metered", reason, text)
            .with("month", month.format("%Y-%m").to_string())
            .with("allowance", allowance)
            .with("used", row.used)
            .with("included", row.included)
            .with("billed", row.billed)
            .with("over_limit", row.over_limit)
            .with("capped", row.capped)
            .amount("amount", row.amount_micros)
            .amount("price", price),
    ))
}

async fn credited(
    conn: &mut PgConnection,
    text: &str,
    link: &LinkRow,
    clicked_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Step>> {
    let conversions = queries::list_credited(conn, text).await?;
    if conversions.is_empty() {
        let until = clicked_at + TimeDelta::days(link.attribution_days.into());
        let (reason, text) = if until >= now {
            (Reason::AttributionOpen, format!("No conversion names it. One can until {}.", At(until)))
        } else {
            (Reason::AttributionClosed, format!("No conversion names it. One could until {}.", At(until)))
        };
        let step = Step::new("credited", reason, text).with("attribution_days", link.attribution_days);
        return Ok(vec![step.at(until)]);
    }
    let steps = conversions.into_iter().map(|conversion| {
        let text = format!(
            "It led to a {}: GET /api/conversions/{}/explain says what that earns.",
            conversion.event_type, conversion.id
        );
        Step::new("credited", Reason::ConversionCredited, text)
            .with("conversion_id", conversion.id.to_string())
            .with("status", conversion.status)
            .at(conversion.created_at)
    });
    Ok(steps.collect())
}
