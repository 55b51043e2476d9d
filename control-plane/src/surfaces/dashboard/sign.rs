//! Signing in and out.
//!
//! A key comes in by the address (`/my-dashboard?key=…`, what an agent gives its person) or by the form. It
//! is exchanged for a session at once, and the answer is always a redirect to the bare address: no page with
//! the key in its address is ever shown, so none is in the history, in a referrer, or in a screenshot.

use super::error::Failure;
use super::layout::bare;
use super::visit::{Asking, MaybeVisit, Posted, must_be_same_origin, set_cookie};
use super::{HOME, advertiser, affiliate, shapes, words};
use crate::app::App;
use crate::auth::sessions;
use crate::web::extract::read_body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use maud::{Markup, html};
use serde::Deserialize;

/// Nothing but the token.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// `/my-dashboard`: exchanges a key, shows the overview, or asks to sign in.
pub(super) async fn home(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    visit: Result<MaybeVisit, Failure>,
) -> Result<Response, Failure> {
    let asked = |wanted: &str| {
        let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    // Before anything that could answer with a page.
    if let Some(key) = asked("key") {
        let begun = sessions::begin(&app, key.trim()).await;
        return Ok(match begun {
            Ok(session) => {
                ([(header::SET_COOKIE, set_cookie(&app, Some(&session)))], Redirect::to(HOME)).into_response()
            }
            Err(error) => {
                let failure = Failure::from(error);
                if failure.is("api_key_invalid") {
                    Redirect::to("/my-dashboard/sign-in?refused=key").into_response()
                } else {
                    Redirect::to("/my-dashboard/sign-in?refused=unavailable").into_response()
                }
            }
        });
    }
    let Some(visit) = visit?.0 else {
        // A strict cookie does not come with a link on another site, nor with the redirect after it. A page
        // of ours that asks again at once does bring it.
        let from_elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        return Ok(if from_elsewhere {
            come_in()
        } else {
            Redirect::to("/my-dashboard/sign-in").into_response()
        });
    };
    let days = words::days_of(asked("days").as_deref());
    let programs: shapes::Total =
        visit.api.get(&format!("/api/programs?advertiser_id={}&per_page=1", visit.id)).await?;
    let joined: shapes::Total =
        visit.api.get(&format!("/api/agents/{}/partnerships?per_page=1", visit.id)).await?;
    if programs.pagination.total > 0 && joined.pagination.total == 0 {
        advertiser::overview::show(&visit, days).await
    } else {
        affiliate::overview::show(&visit, days).await
    }
}

fn come_in() -> Response {
    let page = html! {
        (maud::DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content="0;url=/my-dashboard";
                title { "AffiliateOS" }
            }
            body { p { a href=(HOME) { "Open your dashboard" } } }
        }
    };
    page.into_response()
}

/// Why the last try to sign in failed.
#[derive(Deserialize)]
pub(super) struct Last {
    refused: Option<String>,
}

/// The form, for whoever is not signed in.
pub(super) async fn form(MaybeVisit(visit): MaybeVisit, Asking(last): Asking<Last>) -> Response {
    if visit.is_some() {
        return Redirect::to(HOME).into_response();
    }
    let problem = last.refused.map(|why| match why.as_str() {
        "key" => "That key was not accepted. It is mistyped, not an agent key, or was replaced.",
        _ => "The service is away for the moment. Try again.",
    });
    page(problem).into_response()
}

/// A key from the form.
pub(super) async fn sign_in(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    must_be_same_origin(request.headers())?;
    let bytes = read_body(request, &app).await?;
    let mut pairs = url::form_urlencoded::parse(&bytes);
    let key = pairs.find(|(name, _)| name == "key").map(|(_, value)| value.into_owned()).unwrap_or_default();
    match sessions::begin(&app, key.trim()).await.map_err(Failure::from) {
        Ok(session) => {
            Ok(([(header::SET_COOKIE, set_cookie(&app, Some(&session)))], Redirect::to(HOME)).into_response())
        }
        Err(failure) if failure.is("api_key_invalid") => {
            Ok(Redirect::to("/my-dashboard/sign-in?refused=key").into_response())
        }
        Err(failure) => Err(failure),
    }
}

/// Ends the session, here and for whoever has a copy of the cookie.
pub(super) async fn sign_out(State(app): State<App>, form: Posted<Nothing>) -> Result<Response, Failure> {
    let Nothing {} = form.fields;
    sessions::end(&app, &form.visit.session).await?;
    let cookie = set_cookie(&app, None);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/my-dashboard/sign-in")).into_response())
}

fn page(problem: Option<&str>) -> (StatusCode, Markup) {
    let page = bare(
        "Sign in",
        &html! {
            p.kicker { "Your dashboard" }
            h1 { "Sign in with your agent key" }
            p.lead {
                "It begins with " code { "aos_live_" } " and was shown when the account was made. It is exchanged "
                "for a session of twelve hours and kept nowhere in this browser."
            }
            @if let Some(problem) = problem {
                p.notice.bad role="alert" { (problem) }
            }
            form.stack method="post" action="/my-dashboard/sign-in" {
                label for="key" { "Agent key" }
                input #key name="key" type="password" required autocomplete="off" spellcheck="false"
                    autocapitalize="none" maxlength="200" placeholder="aos_live_…"
                    aria-invalid=[problem.map(|_| "true")];
                button.primary type="submit" { "Sign in" }
            }
            p.muted {
                "No account yet? An agent makes one with a single call: see " a href="/" { "the front page" } "."
            }
        },
    );
    (StatusCode::OK, page)
}
