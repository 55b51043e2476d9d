//! Traces, from a call over its event to the webhook, as a collector gets them over OTLP/HTTP.

use crate::harness::{Answer, Client, Process, Received, Receiver, Site};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Said;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const PATIENCE: Duration = Duration::from_secs(30);
/// The caller has not sampled it.
const FROM_CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn batches(received: &[Received]) -> Vec<ResourceSpans> {
    let decode = |one: &Received| ExportTraceServiceRequest::decode(one.body.clone()).expect("it is OTLP");
    received.iter().flat_map(|one| decode(one).resource_spans).collect()
}

fn spans(received: &[Received]) -> Vec<Span> {
    batches(received).into_iter().flat_map(|batch| batch.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Said> {
    attributes.iter().find(|one| one.key == name)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    match attribute(&span.attributes, name) {
        Some(Said::StringValue(text)) => text,
        other => panic!("{name} is {other:?} in {}", span.name),
    }
}

/// The span of this name in this trace, once it has come.
async fn span(collector: &Receiver, trace: &str, name: &'static str) -> Span {
    let find = |received: &[Received]| {
        let of_trace = |span: &Span| hex::encode(&span.trace_id) == trace && span.name == name;
        spans(received).into_iter().find(of_trace)
    };
    find(&collector.wait_until(name, |received| find(received).is_some()).await).unwrap()
}

/// A control plane that sends its spans there.
async fn traced(site: &Site, collector: &str, settings: &[(&str, &str)]) -> Process {
    let ours = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    site.start_with("all", "http://127.0.0.1:1", &[&ours[..], settings].concat()).await
}

/// An advertiser on Pro with a webhook for new conversions, and a link to one of its programs.
struct Scene {
    advertiser: Client,
    affiliate: Client,
    token: String,
    secret: String,
}

impl Scene {
    async fn set(running: &Process, hook: &Receiver) -> Self {
        let advertiser = Site::agent(running, "Advertiser").await;
        let affiliate = Site::agent(running, "Affiliate").await;
        let text = |value: &Value, name: &str| value[name].as_str().expect("it is in the reply").to_owned();
        advertiser.post("/api/subscription/pro", json!({})).await.expect(201);
        let program = json!({"name": "My SaaS", "commission_type": "percentage", "commission_value": 20, "approval_mode": "auto"});
        let program = text(advertiser.post("/api/programs", program).await.expect(201), "id");
        let joined = affiliate.post(&format!("/api/network/join/{program}"), json!({})).await;
        let links = format!("/api/partnerships/{}/links", text(joined.expect(201), "id"));
        let link = json!({"destination_url": "https://example.com/"});
        let token = text(affiliate.post(&links, link).await.expect(201), "token");
        let body = json!({"url": hook.url("/hook-of-a-customer"), "events": ["conversion.created"]});
        let secret = text(advertiser.post("/api/webhooks", body).await.expect(201), "secret");
        Self { advertiser, affiliate, token, secret }
    }

    /// A sale that is reported with these headers; the id of its request.
    async fn sale(&self, headers: &[(&str, &str)]) -> String {
        let body = json!({"tracking_token": self.token, "event_type": "sale", "revenue_amount": 50, "external_id": "order-of-a-customer"});
        let mut request = self.advertiser.request("POST", "/api/conversions/track").json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = self.advertiser.send(request).await;
        reply.expect(201);
        reply.headers["x-request-id"].to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn one_call_is_one_trace_up_to_the_webhook() {
    let (site, collector, hook) = (Site::new().await, Receiver::start().await, Receiver::start().await);
    let running = traced(&site, &collector.url(""), &[]).await;
    let scene = Scene::set(&running, &hook).await;
    let id = scene.sale(&[("traceparent", FROM_CALLER), ("tracestate", "vendor=opaque")]).await;

    let call = span(&collector, TRACE, "POST /api/conversions/track").await;
    assert_eq!((call.kind(), hex::encode(&call.parent_span_id)), (SpanKind::Server, CALLER.to_owned()));
    assert_eq!(call.trace_state, "vendor=opaque");
    assert_eq!(text(&call, "http.route"), "/api/conversions/track");
    assert_eq!(text(&call, "http.request.method"), "POST");
    assert_eq!(text(&call, "affiliateos.request.id"), id);
    assert_eq!(attribute(&call.attributes, "http.response.status_code"), Some(&Said::IntValue(201)));

    let queued = span(&collector, TRACE, "process event_outbox").await;
    assert_eq!((queued.kind(), &queued.parent_span_id), (SpanKind::Consumer, &call.span_id));
    assert_eq!(text(&queued, "affiliateos.event.type"), "conversion.created");

    let delivered = &hook.wait_for(1).await[0];
    let tried = span(&collector, TRACE, "POST webhook").await;
    assert_eq!((tried.kind(), &tried.parent_span_id), (SpanKind::Client, &call.span_id));
    assert_eq!(text(&tried, "messaging.message.id"), delivered.header("webhook-id"));
    assert_eq!(text(&tried, "affiliateos.delivery.id"), delivered.header("x-affiliateos-delivery"));
    assert_eq!(attribute(&tried.attributes, "http.response.status_code"), Some(&Said::IntValue(200)));
    let told = format!("00-{TRACE}-{}-01", hex::encode(&tried.span_id));
    assert_eq!((delivered.header("traceparent"), delivered.header("tracestate")), (told.as_str(), ""));

    // The path of a link: from the call that made it to the publisher.
    let published = |received: &[Received]| {
        let spans = spans(received);
        let made = spans.iter().find(|span| span.name == "POST /api/partnerships/{id}/links").cloned();
        made.is_some_and(|made| {
            let links = spans.iter().filter(|span| span.name == "publish links").flat_map(|span| &span.links);
            links.into_iter().any(|link| (&link.trace_id, &link.span_id) == (&made.trace_id, &made.span_id))
        })
    };
    let received = collector.wait_until("the link's publishing", published).await;

    let name = batches(&received)[0].resource.clone().unwrap().attributes;
    assert_eq!(attribute(&name, "service.name"), Some(&Said::StringValue("control-plane".to_owned())));
    let sent: Vec<u8> = received.iter().flat_map(|one| one.body.to_vec()).collect();
    let sent = String::from_utf8_lossy(&sent).into_owned();
    assert!(sent.contains(&id), "what is looked for would be found");
    for secret in [
        scene.advertiser.key(),
        scene.affiliate.key(),
        &scene.secret,
        &scene.token,
        "127.0.0.1",
        "hook-of-a-customer",
        "order-of-a-customer",
        "Advertiser",
        &site.database_url(),
    ] {
        assert!(!sent.contains(secret), "{secret} is in a span");
    }
}

#[tokio::test]
async fn queries_are_not_told_and_failed_deliveries_are() {
    let (site, collector, hook) = (Site::new().await, Receiver::start().await, Receiver::start().await);
    hook.answers(|_| Answer::Status(503));
    let running = traced(&site, &collector.url(""), &[]).await;
    let scene = Scene::set(&running, &hook).await;
    scene.advertiser.get("/api/conversions?external_id=order-of-a-customer&per_page=7").await.expect(200);
    scene.sale(&[("traceparent", FROM_CALLER)]).await;
    let tried = span(&collector, TRACE, "POST webhook").await;
    assert_eq!(
        (tried.status.clone().unwrap().code(), text(&tried, "error.type")),
        (StatusCode::Error, "503")
    );
    let listed =
        |received: &[Received]| spans(received).iter().any(|span| span.name == "GET /api/conversions");
    let received = collector.wait_until("the list", listed).await;
    let sent: Vec<u8> = received.iter().flat_map(|one| one.body.to_vec()).collect();
    assert!(!String::from_utf8_lossy(&sent).contains("per_page"));
}

#[tokio::test]
async fn a_caller_chooses_the_trace_and_not_whether_it_is_sent() {
    let (site, collector, hook) = (Site::new().await, Receiver::start().await, Receiver::start().await);
    let mut running = traced(&site, &collector.url(""), &[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    let scene = Scene::set(&running, &hook).await;
    let sampled = format!("00-{TRACE}-{CALLER}-01");
    scene.sale(&[("traceparent", &sampled)]).await;
    let told = hook.wait_for(1).await[0].header("traceparent").to_owned();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    running.stop().await;
    assert_eq!(collector.received().len(), 0);
}

#[tokio::test]
async fn what_is_no_traceparent_is_not_followed() {
    let (site, collector) = (Site::new().await, Receiver::start().await);
    let running = traced(&site, &collector.url(""), &[]).await;
    let client = Site::client(&running, None);
    for wrong in [
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "",
    ] {
        let request = client.request("GET", "/api/events").header("traceparent", wrong);
        let reply = client.send(request).await;
        let id = reply.headers["x-request-id"].to_str().unwrap();
        let find = |received: &[Received]| {
            let is_it = |span: &Span| {
                let said = attribute(&span.attributes, "affiliateos.request.id");
                said == Some(&Said::StringValue(id.to_owned()))
            };
            spans(received).into_iter().find(is_it)
        };
        let span =
            find(&collector.wait_until("its span", |received| find(received).is_some()).await).unwrap();
        assert!(span.parent_span_id.is_empty() && hex::encode(&span.trace_id) != TRACE, "{wrong}");
    }
    // Two of them are none.
    let request = client.request("GET", "/api/events");
    let request = request.header("traceparent", FROM_CALLER).header("traceparent", FROM_CALLER);
    client.send(request).await;
    let calls = |received: &[Received]| {
        spans(received).into_iter().filter(|span| span.kind() == SpanKind::Server).collect::<Vec<_>>()
    };
    let received = collector.wait_until("all spans", |received| calls(received).len() == 7).await;
    assert!(calls(&received).iter().all(|span| hex::encode(&span.trace_id) != TRACE));
}

#[tokio::test]
async fn without_a_collector_nothing_is_read_kept_or_passed_on() {
    let (site, hook) = (Site::new().await, Receiver::start().await);
    let running = site.start("all", "http://127.0.0.1:1").await;
    let scene = Scene::set(&running, &hook).await;
    scene.sale(&[("traceparent", FROM_CALLER), ("tracestate", "vendor=opaque")]).await;
    let delivered = &hook.wait_for(1).await[0];
    assert_eq!((delivered.header("traceparent"), delivered.header("tracestate")), ("", ""));
    let mut conn = PgConnection::connect(&site.database_url()).await.unwrap();
    let count = "SELECT count(*), count(trace_context) FROM events";
    let (events, kept): (i64, i64) = sqlx::query_as(count).fetch_one(&mut conn).await.unwrap();
    assert!(events > 0 && kept == 0, "{events} events, {kept} of them with a trace");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_nothing_up() {
    let (site, collector, hook) = (Site::new().await, Receiver::start().await, Receiver::start().await);
    collector.answers(|_| Answer::Silence);
    let mut running = traced(&site, &collector.url(""), &[]).await;
    let scene = Scene::set(&running, &hook).await;
    collector.wait_for(1).await;
    scene.sale(&[]).await;
    hook.wait_for(1).await;
    running.stop().await;
}

#[tokio::test]
async fn spans_that_nobody_takes_are_counted() {
    let (site, hook) = (Site::new().await, Receiver::start().await);
    // Nobody listens there.
    let mut running = traced(&site, "http://127.0.0.1:1", &[]).await;
    let scene = Scene::set(&running, &hook).await;
    scene.sale(&[]).await;
    hook.wait_for(1).await;
    let admin = Site::client_at(&format!("http://{}", running.admin()), None);
    let counted = async {
        let dropped = "cp_spans_dropped_total{because=\"not_taken\"}";
        while !admin.get("/metrics").await.text.lines().any(|line| line.starts_with(dropped)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("they are counted");
    running.stop().await;
}

#[tokio::test]
async fn what_is_there_at_a_stop_is_sent() {
    let (site, collector) = (Site::new().await, Receiver::start().await);
    // Nothing is sent before by itself.
    let slow = [("OTEL_BSP_SCHEDULE_DELAY", "3600000"), ("OTEL_SERVICE_NAME", "mine")];
    let mut running = traced(&site, &collector.url(""), &slow).await;
    Site::client(&running, None).get("/api/events").await;
    running.stop().await;
    let received = collector.received();
    assert!(spans(&received).iter().any(|span| span.name == "GET /api/events"));
    let name = batches(&received)[0].resource.clone().unwrap().attributes;
    assert_eq!(attribute(&name, "service.name"), Some(&Said::StringValue("mine".to_owned())));
}
