//! Examples of requests and replies, as the running service took and gave them.
//!
//! `assets/examples.json` is written by the test that sends every one of them
//! (`tests/it/openapi/tour.rs`), operation by operation and status by status; ids, keys and instants are
//! made the same on every run. Nothing in it is written by hand.

use super::complete::{codes_of, operations, replies};
use crate::error::Code;
use serde_json::{Map, Value, json};

const RECORDED: &str = include_str!("../../../assets/examples.json");

/// Adds them to every operation, and one of each error's shape.
pub(super) fn add(document: &mut Value, origin: &str) {
    let recorded = RECORDED.replace("{origin}", origin);
    let recorded: Value = serde_json::from_str(&recorded).expect("assets/examples.json is JSON");
    for (path, _, operation) in operations(document) {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        add_requests(operation, &recorded[&id]);
        let v1 = path.starts_with("/v1/");
        for (status, reply) in replies(operation) {
            let examples = match recorded[&id][status].get("reply") {
                Some(body) => Map::from_iter([(id.clone(), json!({"value": body}))]),
                None => errors(reply, v1, origin),
            };
            if let Some(content) = reply.pointer_mut("/content/application~1json")
                && !examples.is_empty()
            {
                content["examples"] = examples.into();
            }
        }
    }
}

/// The bodies that were sent, and the values of the path and query.
fn add_requests(operation: &mut Value, recorded: &Value) {
    let sent = recorded.as_object().into_iter().flatten();
    let bodies: Map<_, _> = sent
        .filter_map(|(status, one)| {
            Some((format!("answered_{status}"), json!({"value": one.get("request")?})))
        })
        .collect();
    if let Some(content) = operation.pointer_mut("/requestBody/content/application~1json")
        && !bodies.is_empty()
    {
        content["examples"] = bodies.into();
    }
    let first = recorded.as_object().and_then(|sent| sent.values().next()).unwrap_or(&Value::Null);
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        if let Some(value) = first["parameters"].get(name) {
            let number = value.as_str().and_then(|text| text.parse::<i64>().ok());
            let number = number.filter(|_| parameter["schema"]["type"] == "integer");
            parameter["example"] = number.map_or_else(|| value.clone(), Value::from);
        }
    }
}

/// One error for each code a reply can have, in its shape.
fn errors(reply: &Value, v1: bool, origin: &str) -> Map<String, Value> {
    let codes = codes_of(reply["description"].as_str().unwrap_or_default());
    let listed = reply["x-error-codes"].as_array().map_or(&[][..], Vec::as_slice);
    codes
        .filter(|code| listed.contains(&json!(code.as_str())))
        .map(|code| {
            let (message, fix) = (format!("{}.", code.meaning().trim()), fix(code));
            let body = if v1 {
                json!({"error": {"code": code.as_str(), "message": message, "details": {"fix": fix}}})
            } else {
                json!({"error": code.as_str(), "message": message, "fix": fix, "docs": format!("{origin}/docs")})
            };
            (code.as_str().to_owned(), json!({"value": body}))
        })
        .collect()
}

/// What mends it, in general; a real reply names the field and the call at hand.
const fn fix(code: Code) -> &'static str {
    match code {
        Code::ApiKeyMissing => "Send `Authorization: Bearer aos_live_…`; POST /api/quickstart gives a key.",
        Code::ApiKeyInvalid => {
            "Send the whole key as it was shown; it may have been rotated or revoked since."
        }
        Code::MissingField => "Add the field named in `field` to the request.",
        Code::InvalidValue => "Send the field named in `field` with the type and range this call shows.",
        Code::InvalidId => "Put the object's `id`, a UUID, into the path.",
        Code::NotOwner => "Use the key of the agent that owns it.",
        Code::NotApproved => {
            "Wait until the advertiser approves: PATCH /api/partnerships/{id} {\"status\":\"approved\"}."
        }
        Code::OwnProgram => "Join another advertiser's program: GET /api/network/discover.",
        Code::FeatureRequiresPro => "Upgrade with POST /api/subscription/pro.",
        Code::NotFound => "Take the id from the list it came from.",
        Code::MethodNotAllowed => "Use one of the methods in the Allow header of this reply.",
        Code::AlreadyAffiliated => "Go on with the partnership you have: GET /api/agents/{id}/partnerships.",
        Code::DuplicateConversion => "Use the conversion named in `conversion_id`, or another `external_id`.",
        Code::DuplicateRefund => "Use the refund named in `refund_id`, or another `external_refund_id`.",
        Code::HandleTaken => "Send the `suggestion` of this reply as `handle`, or leave `handle` out.",
        Code::AlreadyActive => "Nothing to do: it is active.",
        Code::DomainTaken => {
            "Use the domain you have, GET /api/domains, or claim another one such as a subdomain of yours."
        }
        Code::DomainsUnavailable => {
            "Use tracking URLs on our domain, or ask the operator to set AOS_ACME_DIRECTORY."
        }
        Code::AlreadyPaused => "Nothing to do: it is paused.",
        Code::InvalidState => "Read the object again and take a step that its `status` allows.",
        Code::IdempotencyKeyReused => "Send a new Idempotency-Key for a new request.",
        Code::InsufficientCredits => {
            "Top up with POST /api/wallet/topup {\"amount\":20}, then send the same again."
        }
        Code::FreeTierLimitReached => {
            "Top up with POST /api/wallet/topup {\"amount\":20} or upgrade with POST /api/subscription/pro."
        }
        Code::InvalidSignature => {
            "Only the payment provider calls this; its endpoint secret must be the configured one."
        }
        Code::PaymentRequired => "Sign one of the payments in `accepts` and send the same request with it.",
        Code::PayoutsFrozen => {
            "Wait: an operator is looking into it. Choose another `method`, or ask again later."
        }
        Code::AttributionExpired => {
            "Report it without `click_id` if the sale belongs to the link all the same."
        }
        Code::InvalidSlatToken => {
            "Send the `slat_token` exactly as POST /v1/track gave it, with its merchant's key."
        }
        Code::NonceReplay => {
            "Send the order this token was first used for, or a token of its own for this order."
        }
        Code::TokenExpired => "Have the publisher track the event again: POST /v1/track.",
        Code::MerchantNotFound => "Take `merchant_id` from the merchant's GET /api/agents/me.",
        Code::NotAffiliated => "Join one of the merchant's programs: POST /api/network/join/{program_id}.",
        Code::NothingToPay => "Wait until a commission is approved: GET /v1/commissions?status=approved.",
        Code::PayloadTooLarge => "Send a JSON body of at most 65536 bytes.",
        Code::MalformedRequest => "Send HTTP/1.1 as your HTTP library writes it.",
        Code::UriTooLong => "Send a shorter query.",
        Code::HeadersTooLarge => "Send fewer and shorter headers.",
        Code::RequestTimeout => {
            "Send the same request again with the whole body in time; with an Idempotency-Key it runs once."
        }
        Code::UnsupportedMediaType => "Send the header `Content-Type: application/json` and a JSON body.",
        Code::RateLimited => "Wait as many seconds as Retry-After says, then send the same again.",
        Code::Unavailable => "Send the same request again after the seconds in Retry-After.",
        Code::Internal => "Try again; if it stays, report the X-Request-Id header of this reply.",
    }
}
