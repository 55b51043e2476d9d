//! What can go wrong, in words a caller can act on. No HTTP here: `web/respond.rs` maps classes to statuses.
//!
//! One error type for the whole product, because every failure must end in the same four fields
//! (`error`, `message`, `fix`, `docs`) whichever door it leaves by. A [`Code`] is the contract: stable,
//! listed once, each with its class and meaning. `fix` is an instruction the caller can carry out.

use crate::money::Micros;
use std::fmt;

/// What kind of failure it is; decides the HTTP status and nothing else does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The request is malformed.
    Invalid,
    /// No key, or no valid one.
    Unauthenticated,
    /// Nothing left to pay with.
    PaymentRequired,
    /// The caller may not do this.
    Forbidden,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The route exists with another method.
    MethodNotAllowed,
    /// The state of things does not allow it.
    Conflict,
    /// It was there once.
    Gone,
    /// Too large a body.
    TooLarge,
    /// Too long an address.
    TooLong,
    /// Too large headers.
    HeadersTooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// Not JSON.
    UnsupportedMedia,
    /// Well-formed and understood, but not creditable.
    Unprocessable,
    /// Too many requests.
    TooMany,
    /// A part we need is away; try again.
    Unavailable,
    /// Our fault.
    Bug,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $class:ident;)*) => {
        /// The stable codes clients may match on.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text in `error`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The class that decides the status.
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)* }
            }

            /// What it means, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*),)* }
            }
        }
    };
}

codes! {
    /// Authorization header missing
    ApiKeyMissing = "api_key_missing", Unauthenticated;
    /// Bearer token invalid or revoked
    ApiKeyInvalid = "api_key_invalid", Unauthenticated;
    /// Required body field not provided
    MissingField = "missing_field", Invalid;
    /// Value malformed or out of range
    InvalidValue = "invalid_value", Invalid;
    /// UUID path parameter is invalid
    InvalidId = "invalid_id", Invalid;
    /// You don't own this resource
    NotOwner = "not_owner", Forbidden;
    /// The partnership is not approved
    NotApproved = "not_approved", Forbidden;
    /// An advertiser cannot be the affiliate of its own program
    OwnProgram = "own_program", Forbidden;
    /// The feature needs Infrastructure Pro
    FeatureRequiresPro = "feature_requires_pro", Forbidden;
    /// Resource does not exist
    NotFound = "not_found", NotFound;
    /// The route exists, but not with this method
    MethodNotAllowed = "method_not_allowed", MethodNotAllowed;
    /// Already joined this program
    AlreadyAffiliated = "already_affiliated", Conflict;
    /// Same external_id reused on this tracking link
    DuplicateConversion = "duplicate_conversion", Conflict;
    /// Same external_refund_id reused in this program
    DuplicateRefund = "duplicate_refund", Conflict;
    /// Handle exists; check returned suggestion
    HandleTaken = "handle_taken", Conflict;
    /// The domain is the account's already, or another account has proven that it is its own
    DomainTaken = "domain_taken", Conflict;
    /// This deployment issues no certificates, so it serves no custom domains
    DomainsUnavailable = "domains_unavailable", Conflict;
    /// Program is already active
    AlreadyActive = "already_active", Conflict;
    /// Program is already paused
    AlreadyPaused = "already_paused", Conflict;
    /// The object's state does not allow this
    InvalidState = "invalid_state", Conflict;
    /// The Idempotency-Key was used with another request
    IdempotencyKeyReused = "idempotency_key_reused", Conflict;
    /// Wallet balance too low for billable request
    InsufficientCredits = "insufficient_credits", PaymentRequired;
    /// Free allowance exhausted for this event type
    FreeTierLimitReached = "free_tier_limit_reached", PaymentRequired;
    /// The request was not signed by who it should be from, or too long ago
    InvalidSignature = "invalid_signature", Invalid;
    /// This call is paid within the request: sign the payment it asks for and send it again
    PaymentRequired = "payment_required", PaymentRequired;
    /// The click lies outside the attribution window
    AttributionExpired = "attribution_expired", Unprocessable;
    /// The SLAT token's signature does not verify
    InvalidSlatToken = "invalid_slat_token", Unauthenticated;
    /// The token or reference was already used for another order
    NonceReplay = "nonce_replay", Conflict;
    /// The token is outside the attribution window
    TokenExpired = "token_expired", Gone;
    /// The merchant does not exist
    MerchantNotFound = "merchant_not_found", NotFound;
    /// The publisher is not an approved affiliate of the merchant
    NotAffiliated = "not_affiliated", Forbidden;
    /// No approved commission is waiting for a payout
    NothingToPay = "nothing_to_pay", Conflict;
    /// The database was restored: payouts wait until the operator has compared them
    PayoutsFrozen = "payouts_frozen", Unavailable;
    /// The body is larger than allowed
    PayloadTooLarge = "payload_too_large", TooLarge;
    /// The request is not well-formed HTTP
    MalformedRequest = "malformed_request", Invalid;
    /// The address is longer than allowed
    UriTooLong = "uri_too_long", TooLong;
    /// The headers are larger than allowed
    HeadersTooLarge = "headers_too_large", HeadersTooLarge;
    /// The body did not arrive in time
    RequestTimeout = "request_timeout", TooSlow;
    /// The body is not application/json
    UnsupportedMediaType = "unsupported_media_type", UnsupportedMedia;
    /// Too many requests; wait as long as Retry-After says
    RateLimited = "rate_limited", TooMany;
    /// A part of the service is away for the moment; try again
    Unavailable = "unavailable", Unavailable;
    /// Our fault; the request id helps us to find it
    Internal = "internal", Bug;
}

/// A failure: a code, what was attempted, how to mend it.
pub struct Error {
    /// The stable code.
    pub code: Code,
    /// What went wrong, one sentence.
    pub message: String,
    /// What the caller should do now: names the call, the field, the allowed values.
    pub fix: String,
    /// The body field or query parameter that is wrong.
    pub field: Option<String>,
    /// Further members of the answer (`suggestion`, `conversion_id`, …).
    pub details: serde_json::Map<String, serde_json::Value>,
    /// What the caller's wallet lacks: a payment of that much would mend it.
    pub lacking: Option<Micros>,
    /// When trying again makes sense, in seconds.
    pub retry_after: Option<u32>,
    /// The cause, for the log alone.
    pub source: Option<anyhow::Error>,
    /// The transaction lost a race and nothing of it happened: the same request may do well at once.
    pub lost_race: bool,
}

/// The result of everything below the routes.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure with its words.
    pub fn new(code: Code, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            fix: fix.into(),
            field: None,
            details: serde_json::Map::new(),
            lacking: None,
            retry_after: None,
            source: None,
            lost_race: false,
        }
    }

    /// A field with a value that is not allowed.
    pub fn invalid(field: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Code::InvalidValue, message, fix).on_field(field)
    }

    /// A required field that is not there.
    pub fn missing(field: &str, fix: impl Into<String>) -> Self {
        Self::new(Code::MissingField, format!("The field `{field}` is required."), fix).on_field(field)
    }

    /// Nothing under this id, or nothing the caller may know of.
    pub fn not_found(what: &str, fix: impl Into<String>) -> Self {
        Self::new(Code::NotFound, format!("There is no such {what}."), fix)
    }

    /// Our own fault, with its cause for the log.
    pub fn bug(source: impl Into<anyhow::Error>) -> Self {
        let mut error = Self::new(
            Code::Internal,
            "Something went wrong on our side.",
            "Try again; if it stays, report the X-Request-Id header of this reply.",
        );
        error.source = Some(source.into());
        error
    }

    /// A part we depend on is away.
    pub fn unavailable(source: impl Into<anyhow::Error>) -> Self {
        let mut error = Self::new(
            Code::Unavailable,
            "A part of the service is away for the moment.",
            "Send the same request again after the seconds in Retry-After; with an Idempotency-Key it runs once.",
        );
        error.retry_after = Some(1);
        error.source = Some(source.into());
        error
    }

    /// Names the field.
    #[must_use]
    pub fn on_field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Says what the wallet lacks.
    #[must_use]
    pub fn lacking(mut self, amount: Micros) -> Self {
        self.lacking = Some(amount);
        self
    }

    /// Adds a member to the answer.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)?;
        if let Some(source) = &self.source {
            write!(f, " ({source:#})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Error {}

impl From<sqlx::Error> for Error {
    /// A database that is away is [`Code::Unavailable`], and so is a race that was lost; anything else it
    /// says is our fault. Violations a feature expects are recognised by constraint name before they get here.
    fn from(error: sqlx::Error) -> Self {
        let lost_race = crate::db::is_retryable(&error);
        if lost_race || crate::db::is_unavailable(&error) {
            Self { lost_race, ..Self::unavailable(error) }
        } else {
            Self::bug(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut seen: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), Code::ALL.len());
    }
}
