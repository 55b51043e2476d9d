//! The `webhooks` of the OpenAPI description: what is posted to endpoints, with a schema and an example
//! for each event type. Whatever is delivered is valid by it: the tests validate real deliveries.

use super::event::{
    ConversionObject, EventType, LinkCappedObject, PartnershipObject, PayoutAddressObject, PayoutObject,
    SuggestionObject,
};
use super::sample;
use super::wire::Envelope;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    ContentBuilder, OpenApi, PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

/// Headers of every delivery: name, whether always there, meaning.
const HEADERS: &[(&str, bool, &str)] = &[
    ("X-AffiliateOS-Event", true, "The event's type"),
    ("X-AffiliateOS-Delivery", true, "The delivery's id, the same on every try"),
    ("X-AffiliateOS-Signature", true, "Hex HMAC-SHA256 of the body, keyed with the secret's text"),
    (
        "X-AffiliateOS-Signature-Previous",
        false,
        "The same with the secret before, for 24 hours after a change",
    ),
    ("webhook-id", true, "The event's id (Standard Webhooks)"),
    ("webhook-timestamp", true, "When this try was sent, in seconds since the Unix epoch"),
    (
        "webhook-signature",
        true,
        "`v1,` and a base64 HMAC-SHA256 of id, timestamp and body; two of them for 24 hours after a change",
    ),
    (
        "traceparent",
        false,
        "The trace it belongs to (W3C Trace Context), where the service is traced; not signed",
    ),
];

impl EventType {
    /// The name of the schema of its payload.
    const fn schema_name(self) -> &'static str {
        match self {
            Self::AffiliateJoined | Self::AffiliateApproved => "PartnershipEvent",
            Self::ConversionCreated | Self::ConversionApproved | Self::ConversionRejected => {
                "ConversionEvent"
            }
            Self::PayoutProcessed => "PayoutEvent",
            Self::PayoutAddressChanged => "PayoutAddressEvent",
            Self::LinkCapped => "LinkCappedEvent",
            Self::MatchSuggested | Self::MatchProgramSuggested => "SuggestionEvent",
        }
    }
}

/// Adds `webhooks`, and the schemas they need.
pub fn add(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let mut schemas = Vec::new();
    envelope::<PartnershipObject>("PartnershipEvent", &mut schemas);
    envelope::<ConversionObject>("ConversionEvent", &mut schemas);
    envelope::<PayoutObject>("PayoutEvent", &mut schemas);
    envelope::<PayoutAddressObject>("PayoutAddressEvent", &mut schemas);
    envelope::<LinkCappedObject>("LinkCappedEvent", &mut schemas);
    envelope::<SuggestionObject>("SuggestionEvent", &mut schemas);
    components.schemas.extend(schemas);
    let webhooks = EventType::ALL.iter().fold(PathsBuilder::new(), |webhooks, event| {
        webhooks.path(event.as_str(), PathItem::new(HttpMethod::Post, operation(*event)))
    });
    document.webhooks = Some(webhooks.build());
}

fn envelope<T: ToSchema>(name: &str, schemas: &mut Vec<(String, RefOr<Schema>)>) {
    Envelope::<T>::schemas(schemas);
    schemas.push((name.to_owned(), Envelope::<T>::schema()));
}

fn operation(event: EventType) -> utoipa::openapi::path::Operation {
    let name = event.as_str();
    // The shared schema, and the one type that this webhook has.
    let its_type = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(Some([name]));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name(event.schema_name()))
        .item(ObjectBuilder::new().property("type", its_type).build())
        .build();
    let example = sample::document(event).expect("an example is plain data");
    let example: serde_json::Value = serde_json::from_str(&example).expect("it is JSON");
    let content = ContentBuilder::new().schema(Some(Schema::AllOf(schema))).example(Some(example)).build();
    let body = RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
    let mut operation = OperationBuilder::new()
        .operation_id(Some(format!("on_{}", name.replace('.', "_"))))
        .tag("webhooks")
        .summary(Some(event.meaning().trim()))
        .description(Some("Posted to each of your active webhooks that asked for it, at least once, and kept in GET /api/events. Answer with 2xx within 10 seconds; verify the signature first."))
        .request_body(Some(body.build()))
        .response("2XX", ResponseBuilder::new().description("Taken: it is not sent again").build())
        .response("410", ResponseBuilder::new().description("The webhook is paused at once").build())
        .response("default", ResponseBuilder::new().description("It is tried again, up to eight times over a day").build())
        // The signature is the proof; no key of the API is sent.
        .securities(Some([SecurityRequirement::default()]));
    for (name, always, meaning) in HEADERS {
        let parameter = ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Header)
            .required(if *always { Required::True } else { Required::False })
            .description(Some(*meaning))
            .schema(Some(ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).build()));
        operation = operation.parameter(parameter.build());
    }
    operation.build()
}
