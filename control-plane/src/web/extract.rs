//! Reading requests so that whatever is wrong with them is answered in our own words.
//!
//! [`Payload`] only takes the body in; parsing is the handler's, because the order of refusal puts a
//! missing resource or a foreign one before a bad body. Limit: 64 KiB of JSON, 128 levels deep.

use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::web::respond::ApiError;
use axum::RequestPartsExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// Bytes of a body at most.
pub const BODY_LEN_MAX: usize = 64 * 1024;

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
    let pairs = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        decode_error("query parameter", &error.path().to_string(), &error.inner().to_string())
    })
}

/// A request's body as it came, with what an `Idempotency-Key` needs to know of the request.
pub struct Payload {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) idempotency_key: Option<String>,
    headers: HeaderMap,
    bytes: Result<Bytes, Option<Error>>,
}

impl FromRequest<App> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let headers = request.headers().clone();
        let idempotency_key = match headers.get("idempotency-key") {
            None => None,
            Some(value) => Some(idempotency_key(value)?),
        };
        let bytes = Bytes::from_request(request, app).await.map_err(|rejection| {
            let too_large = rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE;
            Some(if too_large {
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
            })
        });
        Ok(Self { method, path, idempotency_key, headers, bytes })
    }
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
        self.check_content_type()?;
        parse_json(&bytes)
    }

    /// The body as JSON, or the default when there is none: for calls that need no body.
    pub fn json_or_default<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        let bytes = self.bytes()?;
        if bytes.trim_ascii().is_empty() {
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

    fn check_content_type(&self) -> Result<()> {
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

/// Parses JSON, naming the field that is wrong and what would be right.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    // serde would take a list for a struct, member by member.
    if bytes.trim_ascii_start().first().is_some_and(|first| b"[\"0123456789-tfn".contains(first)) {
        return Err(Error::invalid(
            "body",
            "The body is not a JSON object.",
            "Send a JSON object as the body, such as {\"name\":\"MyAgent\"}.",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        match inner.classify() {
            serde_json::error::Category::Data => {
                decode_error("field", &error.path().to_string(), &inner.to_string())
            }
            _ => broken_json(inner, bytes),
        }
    })?;
    deserializer.end().map_err(|error| broken_json(&error, bytes))?;
    Ok(value)
}

fn broken_json(error: &serde_json::Error, bytes: &[u8]) -> Error {
    if bytes.trim_ascii().is_empty() {
        return Error::new(
            Code::InvalidValue,
            "The body is empty.",
            "Send a JSON object as the body, such as {\"name\":\"MyAgent\"}.",
        );
    }
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    Error::new(
        Code::InvalidValue,
        format!("The body is not valid JSON: {what} at line {}, column {}.", error.line(), error.column()),
        "Send one complete JSON object: double quotes around names and texts, no comma after the last member, every brace closed.",
    )
}

/// Turns serde's words about one field into ours. serde says, for instance,
/// ``unknown field `x`, expected one of `a`, `b` at line 1 column 9``.
fn decode_error(kind: &str, path: &str, message: &str) -> Error {
    let message = message.split(" at line ").next().unwrap_or_default();
    let path = if path == "." || path == "?" { "" } else { path };
    let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
    if message.starts_with("missing field") {
        let name = join(path, &quoted.next().unwrap_or_default());
        return Error::missing(&name, format!("Add `{name}` to the request."));
    }
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let given = quoted.next().unwrap_or_default();
        let allowed: Vec<String> = quoted.collect();
        let list = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let nearest = nearest(&given, &allowed);
        let shown = shorten(&given);
        if message.starts_with("unknown field") {
            let name = join(path, &given);
            let fix = match nearest {
                Some(nearest) => format!("Did you mean `{nearest}`? Allowed here: {list}."),
                None if allowed.is_empty() => format!("Leave out `{shown}`: nothing is allowed here."),
                None => format!("Leave out `{shown}`. Allowed here: {list}."),
            };
            return Error::invalid(&shorten(&name), format!("There is no {kind} `{shown}`."), fix);
        }
        let fix = match nearest {
            Some(nearest) => format!("Did you mean `{nearest}`? Allowed values of `{path}`: {list}."),
            None => format!("Send one of the allowed values of `{path}`: {list}."),
        };
        return Error::invalid(path, format!("`{path}` cannot be `{shown}`."), fix);
    }
    if message.starts_with("duplicate field") {
        let name = join(path, &quoted.next().unwrap_or_default());
        return Error::invalid(
            &name,
            format!("The {kind} `{name}` is given twice."),
            format!("Send `{name}` once."),
        );
    }
    let name = if path.is_empty() { "body" } else { path };
    let message = shorten_to(message, 200);
    Error::invalid(
        name,
        format!("The {kind} `{name}` is not what it should be: {message}."),
        format!("Send `{name}` with the type and range that /docs shows for this call."),
    )
}

fn join(path: &str, name: &str) -> String {
    // The path of a missing or unknown field may end in the field itself.
    if path.is_empty() || path == name || path.ends_with(&format!(".{name}")) {
        if path.is_empty() { name.to_owned() } else { path.to_owned() }
    } else {
        format!("{path}.{name}")
    }
}

/// The allowed name closest to what was given, if any is close enough to be meant.
pub fn nearest(given: &str, allowed: &[impl AsRef<str>]) -> Option<String> {
    let given = given.to_lowercase().replace(['-', ' '], "_");
    allowed
        .iter()
        .map(|name| (strsim::jaro_winkler(&given, name.as_ref()), name.as_ref()))
        .filter(|(likeness, _)| *likeness >= 0.82)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name.to_owned())
}

/// What a client sent is echoed in 64 bytes at most.
fn shorten(text: &str) -> String {
    shorten_to(text, 64)
}

fn shorten_to(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
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

#[cfg(test)]
#[path = "extract/tests.rs"]
mod tests;
