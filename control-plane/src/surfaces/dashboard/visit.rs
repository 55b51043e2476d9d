//! A request of somebody who is signed in, and the checks of what a form sends.
//!
//! A form is accepted when the browser says it comes from our own page, and when it carries the session's
//! form token, which only our pages know. Either alone would do; neither needs anything stored.

use super::api::{Api, ApiRouter};
use super::error::Failure;
use crate::app::App;
use crate::auth::sessions::{self, SessionToken};
use crate::web::extract::{parse_query, read_body};
use crate::web::server::Peer;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use serde::de::DeserializeOwned;
use shared::id::AgentId;
use subtle::ConstantTimeEq;

/// Somebody who is signed in.
pub(super) struct Visit {
    /// The API as that agent.
    pub(super) api: Api,
    /// Who.
    pub(super) id: AgentId,
    /// The same as large tables know it.
    pub(super) number: i32,
    /// The session.
    pub(super) session: SessionToken,
}

/// The same, or nobody.
pub(super) struct MaybeVisit(pub(super) Option<Visit>);

/// A form of a page of ours, sent by whoever is signed in.
pub(super) struct Posted<T> {
    pub(super) visit: Visit,
    /// Names this press of the button.
    pub(super) once: String,
    /// What was filled in.
    pub(super) fields: T,
    /// All of it, in order, for fields that come more than once.
    pairs: Vec<(String, String)>,
}

impl<T> Posted<T> {
    /// Every value of a field.
    pub(super) fn all(&self, field: &str) -> Vec<String> {
        let named = self.pairs.iter().filter(|(name, _)| name == field);
        named.map(|(_, value)| value.clone()).collect()
    }
}

/// What the address asks for; a page says what is wrong with it.
pub(super) struct Asking<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asking<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        Ok(Self(parse_query(&parts.uri)?))
    }
}

impl FromRequestParts<App> for MaybeVisit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Some(session) = session(&parts.headers, is_secure(app)) else { return Ok(Self(None)) };
        let Some(agent) = sessions::find(app, &session).await? else { return Ok(Self(None)) };
        let router = parts.extensions.get::<ApiRouter>();
        let router = router.ok_or_else(|| Failure::bug(anyhow::anyhow!("the dashboard has no API")))?;
        let peer = parts.extensions.get::<Peer>().copied();
        Ok(Self(Some(Visit {
            api: Api::new(router, agent, peer),
            id: agent.id,
            number: agent.number,
            session,
        })))
    }
}

impl FromRequestParts<App> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        MaybeVisit::from_request_parts(parts, app).await?.0.ok_or(Failure::SignedOut)
    }
}

impl<T: DeserializeOwned> FromRequest<App> for Posted<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        must_be_same_origin(&parts.headers)?;
        let visit = Visit::from_request_parts(&mut parts, app).await?;
        let bytes = read_body(Request::from_parts(parts, body), app).await?;
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&bytes).into_owned().collect();
        let field = |wanted: &str| {
            let found = pairs.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let expected = visit.session.form_token();
        if !bool::from(field("token").as_bytes().ct_eq(expected.as_bytes())) {
            return Err(Failure::foreign_form());
        }
        let once = field("once");
        let usable = (1..=64).contains(&once.len()) && once.bytes().all(|byte| byte.is_ascii_graphic());
        let fields = serde_urlencoded::from_bytes(&bytes).map_err(|_| Failure::unreadable_form())?;
        Ok(Self { visit, once: if usable { once } else { String::new() }, fields, pairs })
    }
}

/// Refuses what a browser says comes from a page of another origin.
pub(super) fn must_be_same_origin(headers: &HeaderMap) -> Result<(), Failure> {
    if let Some(site) = headers.get("sec-fetch-site") {
        return if site == "same-origin" || site == "none" { Ok(()) } else { Err(Failure::foreign_form()) };
    }
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Some(origin) = text(headers.get(header::ORIGIN)) else { return Ok(()) };
    let host = text(headers.get(header::HOST)).unwrap_or_default();
    let same = origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(&host));
    if same { Ok(()) } else { Err(Failure::foreign_form()) }
}

/// The name of the cookie: a `__Host-` one cannot be set by another host or over plain HTTP.
const fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-aos_session" } else { "aos_session" }
}

fn is_secure(app: &App) -> bool {
    app.config().api_origin.starts_with("https://")
}

/// The session of a request. Over HTTPS only the `__Host-` cookie counts: the other could be another host's.
fn session(headers: &HeaderMap, secure: bool) -> Option<SessionToken> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == cookie_name(secure))?;
    SessionToken::parse(value)
}

/// The header that gives a browser its session, or takes it away.
pub(super) fn set_cookie(app: &App, session: Option<&SessionToken>) -> HeaderValue {
    let secure = is_secure(app);
    let (value, seconds) =
        session.map_or(("", 0), |session| (session.reveal(), sessions::KEPT_FOR.num_seconds()));
    let cookie = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{}",
        cookie_name(secure),
        if secure { "; Secure" } else { "" }
    );
    let mut header = HeaderValue::try_from(cookie).expect("a cookie of ours is printable ASCII");
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn forms_of_other_origins_are_refused() {
        for (given, allowed) in [
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("origin", "http://127.0.0.1:8081"), ("host", "127.0.0.1:8081")], true),
            (&[("origin", "http://127.0.0.1:8082"), ("host", "127.0.0.1:8081")], false),
            (&[("origin", "null"), ("host", "127.0.0.1:8081")], false),
            (&[], true),
        ] {
            assert_eq!(must_be_same_origin(&headers(given)).is_ok(), allowed, "{given:?}");
        }
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        let token = "ab".repeat(32);
        let line = format!("theme=dark; aos_session={token}; other=1");
        assert_eq!(session(&headers(&[("cookie", &line)]), false).unwrap().reveal(), token);
        assert!(session(&headers(&[("cookie", &line)]), true).is_none(), "a cookie that any host may set");
        let line = line.replace("aos_session", "__Host-aos_session");
        assert_eq!(session(&headers(&[("cookie", &line)]), true).unwrap().reveal(), token);
        for bad in ["", "aos_session=", "aos_session=xyz", "not_aos_session=ab"] {
            assert!(session(&headers(&[("cookie", bad)]), false).is_none(), "{bad}");
        }
    }
}
