//! Reading requests so that whatever is wrong with them is answered in our own words.
//!
//! [`Payload`] only takes the body in; parsing is the handler's, because the order of refusal puts a
//! missing resource or a foreign one before a bad body. Limit: 64 KiB of JSON, 128 levels deep.

use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::page;
use crate::web::decode::decode_error;
pub use crate::web::decode::{nearest, parse_json};
use crate::web::respond::ApiError;
use axum::RequestPartsExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use serde::de::DeserializeOwned;
use std::str::FromStr;
use std::time::Duration;

/// Bytes of a body at most.
pub const BODY_LEN_MAX: usize = 64 * 1024;
/// How long a whole body may take: 64 KiB arrive in it at 7 KB a second. One that drips holds its connection
/// no longer than this.
pub const BODY_FOR: Duration = Duration::from_secs(10);

/// An id in the path; anything else is `invalid_id`.
///
/// One parameter: `Path<ProgramId>`. Two, in the order of the route: `Path<(WebhookId, DeliveryId)>`.
pub struct Path<T>(pub T);

/// What [`Path`] can hold.
pub trait PathIds: Sized {
    /// Reads the parameters in their order.
    fn from_params(params: &[(&str, &str)]) -> Result<Self>;
}

fn one_id<T: FromStr>((name, text): (&str, &str)) -> Result<T> {
    text.parse().map_err(|_| {
        Error::new(
            Code::InvalidId,
            format!("The path parameter `{name}` is not a UUID."),
            format!(
                "Put the object's `id`, a UUID such as 018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10, in place of `{name}`."
            ),
        )
        .on_field(name)
    })
}

impl<T: FromStr> PathIds for T {
    fn from_params(params: &[(&str, &str)]) -> Result<Self> {
        one_id(params.first().copied().unwrap_or(("id", "")))
    }
}

/// Two ids in one path.
pub struct TwoIds<A, B>(pub A, pub B);

impl<A: FromStr + Send, B: FromStr + Send> FromRequestParts<App> for TwoIds<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let params = raw_params(parts).await?;
        let mut params = params.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        Ok(Self(one_id(params.next().unwrap_or(("id", "")))?, one_id(params.next().unwrap_or(("id", "")))?))
    }
}

impl<T: PathIds + Send> FromRequestParts<App> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let params = raw_params(parts).await?;
        let params: Vec<_> = params.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Ok(Self(T::from_params(&params)?))
    }
}

async fn raw_params(parts: &mut Parts) -> Result<Vec<(String, String)>> {
    let params = parts.extract::<RawPathParams>().await.map_err(|_| {
        Error::new(Code::InvalidId, "The path is not valid UTF-8.", "Send the path percent-encoded as UTF-8.")
    })?;
    Ok(params.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
}

/// The query, every parameter known and well-formed. Structs derive `Deserialize` with
/// `deny_unknown_fields`, so that a misspelt filter is heard of instead of ignored.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Ok(Self(parse_query(&parts.uri)?))
    }
}

/// The query of an address, as [`Query`] reads it.
pub fn parse_query<T: DeserializeOwned>(uri: &http::Uri) -> Result<T> {
    let query = uri.query().unwrap_or_default();
    // Postgres has no text with a NUL in it, so no row can be meant.
    if let Some((name, _)) =
        url::form_urlencoded::parse(query.as_bytes()).find(|(_, value)| value.contains('\0'))
    {
        return Err(Error::invalid(
            &name.chars().take(64).collect::<String>(),
            "A query parameter contains a NUL character.",
            "Send the parameter as plain visible text, percent-encoded.",
        ));
    }
    let pairs = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let error = decode_error("query parameter", &error.path().to_string(), &error.inner().to_string());
        match error.field.as_deref().and_then(page::bounds) {
            Some(fix) if error.code == Code::InvalidValue && !error.message.ends_with("twice.") => {
                Error { fix, ..error }
            }
            _ => error,
        }
    })
}

/// The name of the first query parameter, cut to what is sane to show.
pub(super) fn first_parameter(uri: &http::Uri) -> Option<String> {
    let (name, _) = url::form_urlencoded::parse(uri.query()?.as_bytes()).next()?;
    Some(name.chars().take(64).collect())
}

/// A request's body as it came, with what an `Idempotency-Key` needs to know of the request.
pub struct Payload {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) idempotency_key: Option<String>,
    headers: HeaderMap,
    /// The first parameter of the address: calls that write take everything in the body.
    unasked: Option<String>,
    bytes: Result<Bytes, Option<Error>>,
}

impl FromRequest<App> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let unasked = first_parameter(request.uri());
        let headers = request.headers().clone();
        let idempotency_key = match headers.get("idempotency-key") {
            None => None,
            Some(value) => Some(idempotency_key(value)?),
        };
        let bytes = read_body(request, app).await.map_err(Some);
        Ok(Self { method, path, idempotency_key, headers, unasked, bytes })
    }
}

/// Marks a request whose body did not arrive in time; its handler says so, at its place in the order of refusals.
#[derive(Clone, Copy, Debug)]
pub struct TooSlow;

/// Takes a whole body in, within [`BODY_LEN_MAX`] and [`BODY_FOR`].
pub async fn read_body(request: Request, app: &App) -> Result<Bytes> {
    let late = request.extensions().get::<TooSlow>().is_some();
    let reading = async { if late { None } else { Some(Bytes::from_request(request, app).await) } };
    let Ok(Some(read)) = tokio::time::timeout(BODY_FOR, reading).await else {
        let seconds = BODY_FOR.as_secs();
        return Err(Error::new(
            Code::RequestTimeout,
            format!("The body did not arrive within {seconds} seconds."),
            format!(
                "Send the same request again with the whole body within {seconds} seconds; with an Idempotency-Key it runs once."
            ),
        ));
    };
    read.map_err(|rejection| {
        let too_large = rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE;
        if too_large {
            Error::new(
                Code::PayloadTooLarge,
                format!("The body is larger than {BODY_LEN_MAX} bytes."),
                format!("Send a JSON body of at most {BODY_LEN_MAX} bytes."),
            )
        } else {
            Error::new(
                Code::InvalidValue,
                "The body ended before it was complete.",
                "Send the whole body, as long as Content-Length says.",
            )
        }
    })
}

fn idempotency_key(value: &http::HeaderValue) -> Result<String> {
    let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    key.map(str::to_owned).ok_or_else(|| {
        Error::invalid(
            "Idempotency-Key",
            "The Idempotency-Key header is not 1 to 255 printable ASCII characters.",
            "Send a UUID or another unique text of at most 255 characters as Idempotency-Key.",
        )
    })
}

impl Payload {
    /// The raw bytes; empty when they could not be read.
    pub(super) fn raw(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// The body as it came, for callers whose signature is over its bytes.
    pub fn bytes(&mut self) -> Result<Bytes> {
        match &mut self.bytes {
            Ok(bytes) => Ok(bytes.clone()),
            Err(error) => Err(error.take().unwrap_or_else(|| Error::bug(anyhow::anyhow!("body read twice")))),
        }
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let bytes = self.bytes()?;
        self.check_query()?;
        self.check_content_type()?;
        parse_json(&bytes)
    }

    /// The body as JSON, or the default when there is none: for calls that need no body.
    pub fn json_or_default<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        let bytes = self.bytes()?;
        self.check_query()?;
        if matches!(bytes.trim_ascii(), b"" | b"null") {
            return Ok(T::default());
        }
        self.check_content_type()?;
        parse_json(&bytes)
    }

    /// Checks that the body says nothing: for calls that take none. `{}` is fine.
    pub fn no_body(&mut self) -> Result<()> {
        #[derive(Default, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        self.json_or_default::<Nothing>().map(drop)
    }

    /// `?dry_run=true` beside a body without it would do what was only to be tried.
    fn check_query(&self) -> Result<()> {
        let Some(name) = &self.unasked else { return Ok(()) };
        Err(Error::invalid(
            name,
            format!("{} {} takes no query parameter `{name}`.", self.method, self.path),
            format!(
                "Send `{name}` as a member of the JSON body, if /docs lists it for this call; else leave it out."
            ),
        ))
    }

    fn check_content_type(&self) -> Result<()> {
        let encoding = self.headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Error::new(
                Code::UnsupportedMediaType,
                "The body is compressed.",
                "Send the JSON body as it is, without the header Content-Encoding.",
            ));
        }
        let content_type = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        let subtype = essence.strip_prefix("application/").unwrap_or_default();
        if subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json") {
            return Ok(());
        }
        let sent = if essence.is_empty() { "no Content-Type" } else { "another Content-Type" };
        Err(Error::new(
            Code::UnsupportedMediaType,
            format!("The request came with {sent} than application/json.")
                .replace("no Content-Type than", "no Content-Type instead of"),
            "Send the header `Content-Type: application/json` and a JSON body.",
        ))
    }
}

/// The body of a call that takes none: nothing, or an object without members.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoFields {}

/// For PATCH: absent keeps, `null` clears, a value sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Not in the body.
    #[default]
    Keep,
    /// `null`.
    Clear,
    /// A value.
    Set(T),
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Patch<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T> Patch<T> {
    /// Checks or changes the value, if there is one.
    pub fn try_map<U>(self, check: impl FnOnce(T) -> Result<U>) -> Result<Patch<U>> {
        Ok(match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(check(value)?),
        })
    }

    /// The new value of a nullable column.
    pub fn apply(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Keep => old,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}
