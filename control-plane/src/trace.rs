//! Traces: what a call led to, from the request over the event to the webhook, told in spans of OpenTelemetry.
//!
//! Owns which spans there are and what they say. Spans are made here and nowhere else, so nothing gets into one that
//! is not named in this file: no query strings, bodies, keys, addresses or hosts. Without a collector in the settings
//! nothing is made, read from a request, kept or passed on.
//!
//! Must stay true: a caller chooses the ids of a trace but not whether it is sent. Its `sampled` flag is replaced by
//! a throw of our own, and not one by its trace id, which it chooses too; within a trace everything follows that
//! throw. What an event carries ([`carried`]) is what this process decided, and is believed.

mod export;

use crate::config::TracingSettings;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
pub use opentelemetry::trace::FutureExt;
use opentelemetry::trace::{
    Link, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use shared::id::{DeliveryId, EventId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Bytes of a caller's `tracestate` that are kept: what its specification asks for. A longer one is left out.
const TRACESTATE_LEN_MAX: usize = 512;
/// A turn of a job that found nothing is not told, unless it took longer.
const IDLE_FOR_MAX: Duration = Duration::from_millis(100);
/// Marks such a turn.
const IDLE: &str = "affiliateos.job.idle";

struct Tracing {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    share: f64,
    propagates: bool,
}

static TRACING: OnceLock<Tracing> = OnceLock::new();

/// Sends spans of this program from now on. Once per process, on the runtime that is to send them.
pub fn start(settings: &TracingSettings, program: &'static str) -> anyhow::Result<()> {
    let provider = export::provider(settings, program)?;
    let tracer = provider.tracer(program);
    let (share, propagates) = (settings.share, settings.propagates);
    // A second start is a test's and changes nothing.
    TRACING.set(Tracing { tracer, provider, share, propagates }).ok();
    Ok(())
}

/// Sends what is there, for as long as that may hold up a stop. The runtime must still be running: it sends.
pub fn stop() {
    if let Some(tracing) = TRACING.get() {
        // What could not be sent has been counted and told of.
        tracing.provider.shutdown_with_timeout(export::FLUSH_FOR).ok();
    }
}

/// Now, as spans say it.
pub fn now() -> SystemTime {
    opentelemetry::time::now()
}

/// A span to be, in the trace of `parent`, or in one of its own.
struct Beginning<'a> {
    kind: SpanKind,
    name: Cow<'static, str>,
    parent: &'a Context,
    links: Vec<Link>,
    since: Option<SystemTime>,
}

impl Beginning<'_> {
    fn with(self, attributes: Vec<KeyValue>) -> Context {
        let Some(tracing) = TRACING.get() else { return Context::new() };
        let mut span =
            tracing.tracer.span_builder(self.name).with_kind(self.kind).with_attributes(attributes);
        if !self.links.is_empty() {
            span = span.with_links(self.links);
        }
        if let Some(since) = self.since {
            span = span.with_start_time(since);
        }
        self.parent.with_span(tracing.tracer.build_with_context(span, self.parent))
    }
}

/// A call of the API. One that another call makes is a part of it; any other goes on with the caller's trace.
pub fn request(
    method: &Method,
    route: Option<&str>,
    scheme: &'static str,
    id: &HeaderValue,
    headers: &HeaderMap,
) -> Context {
    let Some(tracing) = TRACING.get() else { return Context::new() };
    let here = Context::current();
    let (kind, parent) = if here.span().span_context().is_valid() {
        (SpanKind::Internal, here)
    } else {
        (SpanKind::Server, caller(headers, tracing))
    };
    let method = known(method);
    let name = match (method, route) {
        ("_OTHER", _) => Cow::Borrowed("HTTP"),
        (method, Some(route)) => Cow::Owned(format!("{method} {route}")),
        (method, None) => Cow::Borrowed(method),
    };
    let mut attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("url.scheme", scheme),
        KeyValue::new("affiliateos.request.id", id.to_str().unwrap_or_default().to_owned()),
    ];
    attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
    Beginning { kind, name, parent: &parent, links: Vec::new(), since: None }.with(attributes)
}

/// Methods are few; what else a client makes up is none.
fn known(method: &Method) -> &'static str {
    let names = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    names.into_iter().find(|name| *name == method.as_str()).unwrap_or("_OTHER")
}

/// The caller's trace, with our own decision in place of its flag. Empty when there is none, or more than one, or
/// when none is to be followed.
fn caller(headers: &HeaderMap, tracing: &Tracing) -> Context {
    if !tracing.propagates {
        return Context::new();
    }
    let mut one = HeaderMap::new();
    let mut given = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (given.next(), given.next()) else { return Context::new() };
    one.insert(TRACEPARENT, parent.clone());
    let mut states = headers.get_all(TRACESTATE).iter();
    if let (Some(state), None) = (states.next(), states.next())
        && state.len() <= TRACESTATE_LEN_MAX
    {
        one.insert(TRACESTATE, state.clone());
    }
    let theirs = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(&one));
    let span = theirs.span();
    let theirs = span.span_context();
    if !theirs.is_valid() {
        return Context::new();
    }
    let flags = if throw() < tracing.share { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span, state) = (theirs.trace_id(), theirs.span_id(), theirs.trace_state().clone());
    Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, state))
}

/// At least 0, less than 1.
fn throw() -> f64 {
    let mut dice = [0; 4];
    getrandom::fill(&mut dice).expect("the operating system has randomness");
    f64::from(u32::from_le_bytes(dice)) / (f64::from(u32::MAX) + 1.0)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// The id of a span's trace, for the log.
pub fn id(of: &Context) -> Option<String> {
    let span = of.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// Ends the span of a call.
pub fn answered(of: &Context, status: StatusCode) {
    let span = of.span();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
        span.set_status(Status::error(""));
    }
    span.end();
}

/// Whether a turn of a job has written something that carries its trace on.
#[derive(Clone, Default)]
struct Carried(Arc<AtomicBool>);

/// What a row written now takes along, so that what it causes goes on with this trace: a `traceparent`.
pub fn carried() -> Option<String> {
    TRACING.get()?;
    Context::map_current(|here| {
        if let Some(Carried(carried)) = here.get() {
            carried.store(true, Relaxed);
        }
        traceparent(here)
    })
}

fn traceparent(of: &Context) -> Option<String> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(of, &mut headers);
    headers.remove(TRACEPARENT.as_str())
}

/// The trace that a row has carried here.
pub fn continued(carried: Option<&str>) -> Context {
    let (Some(carried), Some(_)) = (carried, TRACING.get()) else { return Context::new() };
    let headers = HashMap::from([(TRACEPARENT.as_str().to_owned(), carried.to_owned())]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &headers)
}

/// That an event's deliveries have been queued, a child of what caused the event.
pub fn queued(carried: Option<&str>, event: EventId, event_type: &str, deliveries: usize, since: SystemTime) {
    let parent = continued(carried);
    if !parent.span().span_context().is_sampled() {
        return;
    }
    let (kind, name) = (SpanKind::Consumer, "process event_outbox".into());
    let span = Beginning { kind, name, parent: &parent, links: Vec::new(), since: Some(since) }.with(vec![
        KeyValue::new("messaging.system", "postgresql"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.operation.name", "process"),
        KeyValue::new("messaging.destination.name", "event_outbox"),
        KeyValue::new("messaging.message.id", event.to_string()),
        KeyValue::new("affiliateos.event.type", event_type.to_owned()),
        KeyValue::new("affiliateos.deliveries", deliveries as i64),
    ]);
    span.span().end();
}

/// A try of a delivery, in the trace of what caused its event, or of the call that tries an endpoint out.
pub fn delivery(delivery: DeliveryId, event: EventId, event_type: &'static str, attempt: i32) -> Context {
    if TRACING.get().is_none() {
        return Context::new();
    }
    let mut attributes = vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("messaging.message.id", event.to_string()),
        KeyValue::new("affiliateos.event.type", event_type),
        KeyValue::new("affiliateos.delivery.id", delivery.to_string()),
    ];
    if attempt > 1 {
        attributes.push(KeyValue::new("http.request.resend_count", i64::from(attempt) - 1));
    }
    let (kind, parent) = (SpanKind::Client, Context::current());
    Beginning { kind, name: "POST webhook".into(), parent: &parent, links: Vec::new(), since: None }
        .with(attributes)
}

/// Tells the other side of a call of ours where it belongs.
pub fn tell(of: &Context, headers: &mut HeaderMap) {
    if !TRACING.get().is_some_and(|tracing| tracing.propagates) {
        return;
    }
    if let Some(value) = traceparent(of).and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Ends the span of a try.
pub fn tried(of: &Context, status: Option<StatusCode>, outcome: &'static str) {
    let span = of.span();
    if let Some(status) = status {
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    }
    if !status.is_some_and(|status| status.is_success()) {
        let error = status.map_or(outcome.to_owned(), |status| status.as_str().to_owned());
        span.set_attribute(KeyValue::new("error.type", error));
        span.set_status(Status::error(""));
    }
    span.end();
}

/// A turn of a job: what it writes carries its trace.
pub fn job(name: &'static str) -> Context {
    if TRACING.get().is_none() {
        return Context::new();
    }
    let parent = Context::new().with_value(Carried::default());
    let attributes = vec![KeyValue::new("affiliateos.job", name)];
    let (kind, name) = (SpanKind::Internal, format!("job {name}").into());
    Beginning { kind, name, parent: &parent, links: Vec::new(), since: None }.with(attributes)
}

/// Ends the span of a turn; there are many that find nothing, and those are not told.
pub fn turned(of: &Context, idle: bool, failed: bool, took: Duration) {
    let span = of.span();
    let carried = of.get().is_some_and(|Carried(carried)| carried.load(Relaxed));
    if failed {
        span.set_status(Status::error(""));
    } else if idle && !carried && took < IDLE_FOR_MAX {
        span.set_attribute(KeyValue::new(IDLE, true));
    }
    span.end();
}

/// A call of a node that changes something, by the name that JSON-RPC gives it, within what makes it.
pub fn rpc(method: &'static str) -> Context {
    if TRACING.get().is_none() {
        return Context::new();
    }
    let attributes = vec![KeyValue::new("rpc.system", "jsonrpc"), KeyValue::new("rpc.method", method)];
    let (kind, parent) = (SpanKind::Client, Context::current());
    Beginning { kind, name: method.into(), parent: &parent, links: Vec::new(), since: None }.with(attributes)
}

/// Ends the span of such a call.
pub fn replied(of: &Context, error: Option<&'static str>) {
    let span = of.span();
    if let Some(error) = error {
        span.set_attribute(KeyValue::new("error.type", error));
        span.set_status(Status::error(""));
    }
    span.end();
}

/// A batch that a worker has done since then, with its counts, and what caused it.
pub fn batch<'a>(
    name: &'static str,
    since: SystemTime,
    counts: &[(&'static str, u64)],
    carried: impl IntoIterator<Item = Option<&'a str>>,
) {
    if TRACING.get().is_none() {
        return;
    }
    let links = carried.into_iter().flatten().map(|carried| continued(Some(carried)));
    let links = links.map(|cause| Link::with_context(cause.span().span_context().clone())).collect();
    let attributes = counts.iter().map(|(name, count)| KeyValue::new(*name, *count as i64)).collect();
    let (kind, parent) = (SpanKind::Consumer, Context::new());
    let span = Beginning { kind, name: name.into(), parent: &parent, links, since: Some(since) };
    span.with(attributes).span().end();
}
