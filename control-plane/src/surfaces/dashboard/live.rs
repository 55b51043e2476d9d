//! Clicks as they arrive: the last minute with the page, and from then on as server-sent events.
//!
//! A watcher asks the stored clicks once a second for those of the last [`WINDOW`], so it shows a click that
//! the drainer stored within that time of its making. Must stay true: a watcher ends with its session and
//! with the process. Limits: [`WATCHERS_MAX`] in a process, each for [`WATCHED_FOR`] (browsers come back by
//! themselves), [`SHOWN_MAX`] clicks a second; of more the newest are shown and the rest are counted elsewhere.

use super::error::Failure;
use super::layout::{self, Page, Role};
use super::parts;
use super::visit::Visit;
use super::words;
use crate::app::App;
use crate::auth::sessions::{self, SessionToken};
use crate::error::{Code, Error};
use crate::features::clicks::ops::{self as clicks, LiveClick, Whose};
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use chrono::TimeDelta;
use futures_util::stream;
use maud::{Markup, html};
use serde::Serialize;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How far back a look goes.
const WINDOW: TimeDelta = TimeDelta::seconds(15);
/// How far back the page itself goes.
const BEFORE: TimeDelta = TimeDelta::seconds(60);
/// Clicks of one look at most.
const SHOWN_MAX: i64 = 50;
const PAUSE: Duration = Duration::from_secs(1);
/// Looks between two checks of the session.
const CHECKED_EVERY: u32 = 5;
/// How long one watcher is served.
const WATCHED_FOR: Duration = Duration::from_mins(10);
/// Watchers of a process at most.
const WATCHERS_MAX: usize = 50;

#[derive(Clone)]
struct Watchers(Arc<Semaphore>);

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/my-dashboard/affiliate/live", get(affiliate))
        .route("/my-dashboard/advertiser/live", get(advertiser))
        .route("/my-dashboard/affiliate/live/clicks", get(affiliate_clicks))
        .route("/my-dashboard/advertiser/live/clicks", get(advertiser_clicks))
        .layer(Extension(Watchers(Arc::new(Semaphore::new(WATCHERS_MAX)))))
}

/// A click as the script shows it, and as the page does.
#[derive(Serialize)]
struct Shown {
    id: String,
    at: String,
    class: String,
    country: String,
    program: String,
    destination: String,
    label: String,
    counted: bool,
}

impl From<LiveClick> for Shown {
    fn from(live: LiveClick) -> Self {
        let class = live.click.class().map_or("", shared::ClickClass::name);
        let notes = live.click.notes();
        let sub =
            notes.into_iter().find(|(kind, _)| *kind == shared::click::note::SUB1).map(|(_, text)| text);
        Self {
            id: format!("{:08x}-{}", live.spool_tag, live.seq),
            at: words::second(live.click.at),
            class: words::class(class).to_owned(),
            country: live.click.country().unwrap_or_default(),
            counted: live.click.billable(),
            program: live.program_name,
            destination: live.destination_url,
            label: sub.unwrap_or_default(),
        }
    }
}

async fn affiliate(State(app): State<App>, visit: Visit) -> Result<Response, Failure> {
    let whose = Whose::Affiliate(visit.id);
    page(&app, &visit, whose, Role::Affiliate).await
}

async fn advertiser(State(app): State<App>, visit: Visit) -> Result<Response, Failure> {
    let whose = Whose::Advertiser(visit.number);
    page(&app, &visit, whose, Role::Advertiser).await
}

async fn page(app: &App, visit: &Visit, whose: Whose, role: Role) -> Result<Response, Failure> {
    let me = layout::who(visit).await?;
    let shown = look(app, whose, BEFORE).await?;
    let page = Page { role, at: "/live", title: "Live", body: body(role, &shown) };
    Ok(layout::page(visit, &me, &page).into_response())
}

fn body(role: Role, shown: &[Shown]) -> Markup {
    html! {
        (parts::heading("Clicks as they arrive", &html! { p.live #live-state role="status" data-live={ (role.path()) "/live/clicks" } { "The last minute. Reload for more." } }))
        section.card {
            div.scroll tabindex="0" role="region" aria-label="Clicks as they arrive" {
                table #live {
                    thead { tr { th scope="col" { "Time, UTC" } th scope="col" { "Who" } th scope="col" { "Country" } th scope="col" { "Program" } th scope="col" { "Leads to" } th scope="col" { "sub1" } th scope="col" { "Counted" } } }
                    tbody { @for click in shown { (row(click)) } }
                }
            }
            p.muted #live-none hidden[!shown.is_empty()] {
                "No click in the last minute. "
                @match role {
                    Role::Affiliate => { "Open " a href="/my-dashboard/affiliate/links" { "one of your links" } " yourself: it shows here within a second." },
                    Role::Advertiser => { "As soon as somebody follows a link to one of " a href="/my-dashboard/advertiser/programs" { "your programs" } ", it shows here." },
                }
            }
        }
    }
}

fn row(click: &Shown) -> Markup {
    html! {
        tr data-id=(click.id) {
            th.when scope="row" { (click.at) }
            td { (click.class) }
            td { (click.country) }
            td.name { bdi { (click.program) } }
            td.name { bdi { (click.destination) } }
            td { bdi { (click.label) } }
            td { @if click.counted { "yes" } @else { "no" } }
        }
    }
}

async fn affiliate_clicks(
    State(app): State<App>,
    Extension(watchers): Extension<Watchers>,
    visit: Visit,
) -> Result<Response, Failure> {
    let whose = Whose::Affiliate(visit.id);
    watch(app, &watchers, visit, whose)
}

async fn advertiser_clicks(
    State(app): State<App>,
    Extension(watchers): Extension<Watchers>,
    visit: Visit,
) -> Result<Response, Failure> {
    let whose = Whose::Advertiser(visit.number);
    watch(app, &watchers, visit, whose)
}

/// Somebody who watches.
struct Watch {
    app: App,
    session: SessionToken,
    whose: Whose,
    seen: HashSet<String>,
    looks: u32,
    until: tokio::time::Instant,
    _permit: OwnedSemaphorePermit,
}

fn watch(app: App, watchers: &Watchers, visit: Visit, whose: Whose) -> Result<Response, Failure> {
    let Ok(permit) = watchers.0.clone().try_acquire_owned() else {
        return Err(Error::new(
            Code::RateLimited,
            "Too many people watch at the moment.",
            "Reload the page in a minute; its figures are up to date each time.",
        )
        .into());
    };
    let watch = Watch {
        app,
        session: visit.session,
        whose,
        seen: HashSet::new(),
        looks: 0,
        until: tokio::time::Instant::now() + WATCHED_FOR,
        _permit: permit,
    };
    Ok(Sse::new(stream::unfold(watch, Watch::next)).keep_alive(KeepAlive::new()).into_response())
}

impl Watch {
    /// Waits for clicks that were not shown yet.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if self.looks > 0 {
                tokio::select! {
                    () = self.app.tasks().stopping() => return None,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
            if tokio::time::Instant::now() >= self.until {
                return None;
            }
            if self.looks.is_multiple_of(CHECKED_EVERY)
                && !matches!(sessions::find(&self.app, &self.session).await, Ok(Some(_)))
            {
                return None;
            }
            self.looks = self.looks.wrapping_add(1);
            // A look that fails is made again a second later.
            let Ok(found) = look(&self.app, self.whose, WINDOW).await else { continue };
            let within: HashSet<String> = found.iter().map(|click| click.id.clone()).collect();
            let new: Vec<Shown> = found.into_iter().filter(|click| !self.seen.contains(&click.id)).collect();
            let first = self.looks == 1;
            self.seen = within;
            // The first one says that the line is open.
            if (first || !new.is_empty())
                && let Ok(event) = Event::default().event("clicks").json_data(&new)
            {
                return Some((Ok(event), self));
            }
        }
    }
}

/// The latest clicks, the newest first.
async fn look(app: &App, whose: Whose, back: TimeDelta) -> Result<Vec<Shown>, Error> {
    let mut conn = app.read().await?;
    let found = clicks::latest(&mut conn, whose, app.clock().now() - back, SHOWN_MAX).await?;
    Ok(found.into_iter().map(Shown::from).collect())
}
