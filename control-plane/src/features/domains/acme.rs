//! Certificates from an ACME server (RFC 8555) by HTTP-01.
//!
//! An order's URL and key are kept from its beginning, so that whoever comes after a crash goes on with it instead
//! of asking for another one. Answers to challenges are put where edges look for them. Limits: 30 s for a call,
//! 256 KiB of an answer, [`POLL_FOR`] for each of the two waits.

use super::certificate::{self, Certified};
use super::model::Problem;
use crate::app::App;
use crate::config::AcmeSettings;
use crate::error::{Error as OurError, Result as OurResult};
use crate::seal;
use crate::web::egress::{Call, Egress};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error,
    HttpClient, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use shared::keys::is_acme_token;
use shared::{Clock, SystemClock};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

const CALL_FOR: Duration = Duration::from_secs(30);
const ANSWER_LEN_MAX: usize = 256 * 1024;
/// Waiting for a validation, or for the certificate: authorities look from several places and take their time.
const POLL_FOR: Duration = Duration::from_secs(90);
/// How long the answer to a challenge stays.
const CHALLENGE_SECONDS: u64 = 3600;
/// What a rate limit without a time is taken for.
const RATE_LIMIT_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Refused {
    /// In the owner's words.
    pub(super) problem: Problem,
    /// It is the name's or its owner's doing: the authority has judged.
    pub(super) judged: bool,
    /// How long the authority asks to wait.
    pub(super) retry_after: Option<TimeDelta>,
    /// The order cannot go on: the next try begins another one.
    pub(super) order_is_over: bool,
    /// The server does not know our account any more: the next try makes another one.
    pub(super) account_is_gone: bool,
}

/// An order in progress, as it is kept.
#[derive(Clone)]
pub(super) struct Begun {
    /// Where it is.
    pub(super) url: String,
    /// The key of the certificate to be.
    pub(super) key_pem: Zeroizing<String>,
}

/// What was issued.
pub(super) struct Issued {
    /// PEM.
    pub(super) chain_pem: String,
    /// PEM.
    pub(super) key_pem: Zeroizing<String>,
    /// Its dates.
    pub(super) certified: Certified,
}

/// A client of the configured server.
pub(super) struct Client {
    account: Account,
    http: AcmeHttp,
}

impl Client {
    /// Our account at a server. `stored` are sealed credentials; new ones come back to be stored.
    pub(super) async fn open(
        app: &App,
        settings: &AcmeSettings,
        stored: Option<Vec<u8>>,
    ) -> Result<(Self, Option<Vec<u8>>), Refused> {
        let http = AcmeHttp { egress: app.acme_egress().clone(), asked: Arc::default() };
        let key = app.config().secret.derive("acme account v1");
        let opened = stored.and_then(|sealed| seal::open(&key, &sealed)).map(Zeroizing::new);
        let credentials = opened.and_then(|json| serde_json::from_slice::<AccountCredentials>(&json).ok());
        let builder = Account::builder_with_http(Box::new(http.clone()));
        if let Some(credentials) = credentials {
            let account =
                builder.from_credentials(credentials).await.map_err(|error| http.refused(&error))?;
            return Ok((Self { account, http }, None));
        }
        let contact = settings.contact.as_deref().map(|address| format!("mailto:{address}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let made = builder.create(&new, settings.directory.clone(), None).await;
        let (account, credentials) = made.map_err(|error| http.refused(&error))?;
        let json = serde_json::to_vec(&credentials).map(Zeroizing::new);
        let json = json.map_err(|error| http.refused(&Error::Json(error)))?;
        Ok((Self { account, http }, Some(seal::seal(&key, &json))))
    }

    /// Begins an order, to be kept before anything is done with it.
    pub(super) async fn begin(&self, host: &str) -> Result<Begun, Refused> {
        let key_pem = certificate::generate_key().map_err(|_| ours())?;
        let names = [Identifier::Dns(host.to_owned())];
        let order = self.account.new_order(&NewOrder::new(&names)).await;
        let order = order.map_err(|error| self.http.refused(&error))?;
        Ok(Begun { url: order.url().to_owned(), key_pem })
    }

    /// Brings an order to its end from wherever it stands.
    pub(super) async fn finish(&self, app: &App, host: &str, begun: &Begun) -> Result<Issued, Refused> {
        let over = |mut refused: Refused| {
            // What is not the server's or the network's trouble will not be mended by asking again.
            refused.order_is_over |= refused.judged;
            refused
        };
        let refused = |error: Error| over(self.http.refused(&error));
        let mut order = self.account.order(begun.url.clone()).await.map_err(|error| Refused {
            order_is_over: matches!(error, Error::Api(_)),
            ..self.http.refused(&error)
        })?;
        let polling =
            RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(POLL_FOR);
        if order.state().status == OrderStatus::Pending {
            self.answer_challenges(app, &mut order).await?;
            if order.poll_ready(&polling).await.map_err(refused)? == OrderStatus::Invalid {
                return Err(over(self.why_invalid(&mut order).await));
            }
        }
        match order.state().status {
            OrderStatus::Invalid => return Err(over(self.why_invalid(&mut order).await)),
            OrderStatus::Ready => {
                let csr = certificate::request(host, &begun.key_pem).map_err(|_| ours())?;
                order.finalize_csr(&csr).await.map_err(refused)?;
            }
            _ => {}
        }
        let chain_pem = order.poll_certificate(&polling).await.map_err(refused)?;
        match certificate::inspect(host, &begun.key_pem, &chain_pem) {
            Ok(certified) => Ok(Issued { chain_pem, key_pem: begun.key_pem.clone(), certified }),
            Err(wrong) => {
                tracing::error!(wrong, "an ACME server issued what was not asked for");
                Err(Refused { order_is_over: true, ..ours() })
            }
        }
    }

    async fn answer_challenges(&self, app: &App, order: &mut Order) -> Result<(), Refused> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.http.refused(&error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let challenge = authorization.challenge(ChallengeType::Http01);
            let Some(mut challenge) = challenge.filter(|challenge| is_acme_token(&challenge.token)) else {
                return Err(Refused { order_is_over: true, ..ours() });
            };
            put_answer(app, &challenge.token, challenge.key_authorization().as_str())
                .await
                .map_err(|_| ours())?;
            challenge.set_ready().await.map_err(|error| self.http.refused(&error))?;
        }
        Ok(())
    }

    /// What the server says was wrong with the validation.
    async fn why_invalid(&self, order: &mut Order) -> Refused {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { continue };
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.clone());
            if let Some(problem) = problem {
                return self.http.refused(&Error::Api(problem));
            }
        }
        Refused {
            problem: Problem::new("The certificate authority could not validate the domain.", REACHABLE),
            judged: true,
            retry_after: None,
            order_is_over: true,
            account_is_gone: false,
        }
    }

    /// When the server wants a certificate to be renewed; `None` when it has no opinion.
    pub(super) async fn suggested_renewal(&self, chain_pem: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let identifier = certificate::identifier(chain_pem)?;
        let (info, _) = self.account.renewal_info(&identifier).await.ok()?;
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let window = info.suggested_window;
        Some((at(window.start.unix_timestamp())?, at(window.end.unix_timestamp())?))
    }
}

/// Puts the answer to a challenge where every edge finds it.
async fn put_answer(app: &App, token: &str, answer: &str) -> OurResult<()> {
    let mut redis = app.redis().get().await.map_err(OurError::unavailable)?;
    redis::cmd("SET")
        .arg(app.keys().acme_challenge(token))
        .arg(answer)
        .arg("EX")
        .arg(CHALLENGE_SECONDS)
        .query_async(&mut redis)
        .await
        .map_err(OurError::unavailable)
}

const REACHABLE: &str = "Let the CNAME (or A and AAAA) record of the domain lead to us alone, let port 80 through, remove any CAA record that excludes the authority, and ask again with POST /api/domains/:id/verify.";

/// Our own trouble, of which the owner need know no more.
fn ours() -> Refused {
    Refused {
        problem: Problem::new(
            "The certificate could not be issued because of trouble on our side.",
            "Nothing is to be done: it is tried again by itself.",
        ),
        judged: false,
        retry_after: None,
        order_is_over: false,
        account_is_gone: false,
    }
}

/// Calls to the server over the product's own client; remembers how long the server asks to wait.
#[derive(Clone)]
struct AcmeHttp {
    egress: Egress,
    asked: Arc<Mutex<Option<TimeDelta>>>,
}

impl AcmeHttp {
    fn refused(&self, error: &Error) -> Refused {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Error::Api(problem) = error else {
            tracing::warn!(cause = %error, "an ACME server cannot be used");
            return Refused {
                problem: Problem::new(
                    "The certificate authority does not answer as it should.",
                    "Nothing is to be done: it is tried again by itself.",
                ),
                retry_after: asked,
                ..ours()
            };
        };
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
        let detail: String =
            problem.detail.as_deref().unwrap_or("no reason given").chars().take(500).collect();
        let limited = kind == "rateLimited";
        let theirs =
            matches!(kind, "serverInternal" | "badNonce" | "accountDoesNotExist" | "unauthorizedAccount");
        let fix =
            if limited || theirs { "Nothing is to be done: it is tried again by itself." } else { REACHABLE };
        Refused {
            problem: Problem::new(format!("The certificate authority refused ({kind}): {detail}"), fix),
            judged: !limited && !theirs,
            retry_after: asked.or(limited.then_some(RATE_LIMIT_PAUSE)),
            order_is_over: false,
            account_is_gone: kind == "accountDoesNotExist",
        }
    }

    async fn call(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await;
        let call = Call {
            method: parts.method,
            url: parts.uri.to_string(),
            headers: parts.headers,
            body: body.to_bytes(),
            deadline: CALL_FOR,
            answer_len_max: ANSWER_LEN_MAX,
        };
        let fetched = self.egress.fetch(call).await;
        let fetched = fetched.map_err(|failure| Error::Other(format!("{failure:?}").into()))?;
        if !fetched.status.is_success() {
            *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked_to_wait(&fetched.headers);
        }
        let mut response = Response::new(Full::new(fetched.body));
        *response.status_mut() = fetched.status;
        *response.headers_mut() = fetched.headers;
        Ok(BytesResponse::from(response))
    }
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().call(request))
    }
}

/// `Retry-After`, in seconds or as a date.
fn asked_to_wait(headers: &HeaderMap) -> Option<TimeDelta> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(TimeDelta::seconds(seconds.into()));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?;
    Some((until.to_utc() - SystemClock.now()).max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::egress::Policy;
    use http::HeaderValue;
    use serde_json::json;

    fn said(kind: &str, asked: Option<TimeDelta>) -> Refused {
        let egress = Egress::new(Policy::of_operator()).expect("a client can be made");
        let http = AcmeHttp { egress, asked: Arc::new(Mutex::new(asked)) };
        let problem =
            json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "x".repeat(9_000)});
        http.refused(&Error::Api(serde_json::from_value(problem).expect("a problem")))
    }

    #[test]
    fn limits_are_waited_for_and_only_judgements_are_the_owners() {
        let limited = said("rateLimited", None);
        assert_eq!((limited.judged, limited.retry_after), (false, Some(RATE_LIMIT_PAUSE)));
        assert!(limited.problem.fix.contains("by itself"));
        let asked = said("rateLimited", Some(TimeDelta::hours(3)));
        assert_eq!(asked.retry_after, Some(TimeDelta::hours(3)));
        for kind in ["caa", "dns", "connection", "unauthorized", "rejectedIdentifier"] {
            let judged = said(kind, None);
            assert!(judged.judged && judged.retry_after.is_none(), "{kind}");
            assert!(judged.problem.problem.contains(kind) && judged.problem.problem.len() < 600);
            assert!(judged.problem.fix.contains("/verify"));
        }
        assert!(said("accountDoesNotExist", None).account_is_gone);
        assert!(!said("serverInternal", None).judged);
    }

    #[test]
    fn waits_are_read_in_seconds_and_as_dates() {
        let read = |text: &'static str| {
            asked_to_wait(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]))
        };
        assert_eq!(read("120"), Some(TimeDelta::seconds(120)));
        assert_eq!(read("Fri, 31 Dec 1999 23:59:59 GMT"), Some(TimeDelta::zero()));
        assert!(read("Tue, 31 Dec 2199 23:59:59 GMT").is_some_and(|wait| wait > TimeDelta::days(1000)));
        assert_eq!([read("soon"), read("-5"), read("")], [None; 3]);
    }
}
