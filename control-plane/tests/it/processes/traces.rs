//! Traces, from a call over its event to the webhook, as a collector gets them over OTLP/HTTP: one of the test's own,
//! and one that somebody else has written.

use crate::harness::{Answer, Client, Pooler, Process, Received, Receiver, SHARDS, Site, TestApp, providers};
use chrono::DateTime;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Said;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use serde_json::{Value, json};
use shared::{Clock, SystemClock};
use sqlx::{Connection, PgConnection};
use std::io::Read;
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const PATIENCE: Duration = Duration::from_secs(30);
/// The caller has not sampled it.
const FROM_CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn batches(received: &[Received]) -> Vec<ResourceSpans> {
    let decode = |one: &Received| {
        let mut body = one.body.to_vec();
        if one.header("content-encoding") == "gzip" {
            body.clear();
            GzDecoder::new(&*one.body).read_to_end(&mut body).expect("it is compressed");
        }
        ExportTraceServiceRequest::decode(&*body).expect("it is OTLP")
    };
    received.iter().flat_map(|one| decode(one).resource_spans).collect()
}

fn spans(received: &[Received]) -> Vec<Span> {
    batches(received).into_iter().flat_map(|batch| batch.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Said> {
    attributes.iter().find(|one| one.key == name)?.value.as_ref()?.value.as_ref()
}

fn number(span: &Span, name: &str) -> i64 {
    match attribute(&span.attributes, name) {
        Some(Said::IntValue(number)) => *number,
        other => panic!("{name} is {other:?} in {}", span.name),
    }
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
    site.start_with("all", "http://127.0.0.1:1", &[&to(collector)[..], settings].concat()).await
}

/// Settings that send spans there, and soon.
fn to(collector: &str) -> [(&'static str, &str); 2] {
    [("OTEL_EXPORTER_OTLP_ENDPOINT", collector), ("OTEL_BSP_SCHEDULE_DELAY", "50")]
}

/// What a counter of the program stands at.
async fn counter(running: &Process, line: &str) -> u64 {
    let metrics = Site::client_at(&format!("http://{}", running.admin()), None).get("/metrics").await.text;
    let value = metrics.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
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
async fn a_collector_of_others_understands_all_of_it() {
    let (site, next, hook) = (Site::new().await, Receiver::start().await, Receiver::start().await);
    hook.answers(|_| Answer::Status(503));
    let collector = providers::rotel(&next.url("")).await;
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=pre%20prod");
    let compressed = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    let running = traced(&site, &collector.origin, &[attributes, compressed]).await;
    let scene = Scene::set(&running, &hook).await;
    let id = scene.sale(&[("traceparent", FROM_CALLER), ("tracestate", "vendor=opaque")]).await;

    let call = span(&next, TRACE, "POST /api/conversions/track").await;
    assert_eq!((call.kind(), hex::encode(&call.parent_span_id)), (SpanKind::Server, CALLER.to_owned()));
    assert_eq!(
        (call.trace_state.as_str(), call.status.clone().unwrap_or_default().code()),
        ("vendor=opaque", StatusCode::Unset)
    );
    assert_eq!(
        (text(&call, "affiliateos.request.id"), number(&call, "http.response.status_code")),
        (&*id, 201)
    );
    assert!(0 < call.start_time_unix_nano && call.start_time_unix_nano <= call.end_time_unix_nano);

    let queued = span(&next, TRACE, "process event_outbox").await;
    assert_eq!((queued.kind(), &queued.parent_span_id), (SpanKind::Consumer, &call.span_id));
    let tried = span(&next, TRACE, "POST webhook").await;
    assert_eq!((tried.kind(), &tried.parent_span_id), (SpanKind::Client, &call.span_id));
    assert_eq!(
        (tried.status.clone().unwrap().code(), number(&tried, "http.response.status_code")),
        (StatusCode::Error, 503)
    );

    let links = |received: &[Received]| spans(received).iter().any(|span| !span.links.is_empty());
    let received = next.wait_until("a span with links", links).await;
    for batch in batches(&received) {
        let about = batch.resource.unwrap().attributes;
        let said = |name: &str| match attribute(&about, name) {
            Some(Said::StringValue(text)) => text.clone(),
            other => panic!("{name} is {other:?}"),
        };
        assert_eq!(
            (said("service.name").as_str(), said("deployment.environment.name").as_str()),
            ("control-plane", "pre prod")
        );
        assert_eq!(
            (said("service.version").as_str(), said("telemetry.sdk.language").as_str()),
            (env!("CARGO_PKG_VERSION"), "rust")
        );
    }
}

#[tokio::test]
async fn a_batch_of_clicks_and_the_job_that_folds_it_are_told() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    // Processes have the real time.
    app.clock.set(DateTime::from_timestamp_millis(SystemClock.now_ms()).unwrap());
    let offer = app.offer().await;
    let mut spool = app.spool(app.number(&offer.advertiser).await.unsigned_abs());
    spool.link = offer.key;
    for frame in spool.frames(2, 10) {
        spool.ship(&frame).await;
    }
    let endpoint = collector.url("");
    let _drain = Process::start_with(&app, "drain", &to(&endpoint)).await;
    let drained = |received: &[Received]| {
        let spans = spans(received);
        let batches: Vec<_> = spans.iter().filter(|span| span.name == "drain clicks").cloned().collect();
        let sum = |name: &str| batches.iter().map(|span| number(span, name)).sum::<i64>();
        (sum("affiliateos.frames"), sum("affiliateos.clicks"), batches)
    };
    let all = |received: &[Received]| {
        let (frames, clicks, _) = drained(received);
        (frames, clicks) == (2, 20)
    };
    let (.., batches) = drained(&collector.wait_until("both frames", all).await);
    for batch in batches {
        assert_eq!((batch.kind(), batch.parent_span_id.len(), batch.links.len()), (SpanKind::Consumer, 0, 0));
    }
    assert_eq!(SHARDS.len(), usize::from(app.app.config().click_shards), "all of them were drained");

    let _work = Process::start_with(&app, "work", &to(&endpoint)).await;
    let folded = |received: &[Received]| {
        let folded = spans(received).into_iter().filter(|span| span.name == "job fold clicks");
        folded.min_by_key(|span| span.start_time_unix_nano)
    };
    let received = collector.wait_until("the fold", |received| folded(received).is_some()).await;
    let fold = folded(&received).unwrap();
    assert_eq!((fold.kind(), fold.parent_span_id.len()), (SpanKind::Internal, 0));
    assert_eq!(text(&fold, "affiliateos.job"), "fold clicks");
    assert_eq!(app.count("SELECT count(*) FROM click_deltas").await, 0);
}

#[tokio::test]
async fn what_a_job_causes_goes_on_with_its_trace() {
    let (app, collector, hook) = (TestApp::start().await, Receiver::start().await, Receiver::start().await);
    // Processes have the real time.
    app.clock.set(DateTime::from_timestamp_millis(SystemClock.now_ms()).unwrap());
    let offer = app.offer().await;
    offer.advertiser.post("/api/subscription/pro", json!({})).await.expect(201);
    let webhook = json!({"url": hook.url("/"), "events": ["conversion.approved"]});
    offer.advertiser.post("/api/webhooks", webhook).await.expect(201);
    let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 50});
    offer.advertiser.post("/api/conversions/track", sale).await.expect(201);
    let overdue = "UPDATE conversions SET auto_approve_at = now() - INTERVAL '1 day'";
    sqlx::query(overdue).execute(app.app.db_worker()).await.unwrap();

    let _work = Process::start_with(&app, "work", &to(&collector.url(""))).await;
    let told = hook.wait_for(1).await[0].header("traceparent").to_owned();
    let trace = told.split('-').nth(1).expect("it is a traceparent");
    let job = span(&collector, trace, "job approve overdue conversions").await;
    assert_eq!((job.kind(), job.parent_span_id.len()), (SpanKind::Internal, 0));
    let queued = span(&collector, trace, "process event_outbox").await;
    assert_eq!(queued.parent_span_id, job.span_id);
    let tried = span(&collector, trace, "POST webhook").await;
    assert_eq!(tried.parent_span_id, job.span_id);
    assert_eq!(told, format!("00-{trace}-{}-01", hex::encode(&tried.span_id)));
    // Of turns that found nothing, only those are told that took long.
    for idle in spans(&collector.received()).iter().filter(|span| span.name == "job tell Stripe") {
        let took = Duration::from_nanos(idle.end_time_unix_nano - idle.start_time_unix_nano);
        assert!(took >= Duration::from_millis(100), "{took:?}");
    }
}

#[tokio::test]
async fn the_log_of_a_request_names_its_trace() {
    let mut pooler = Pooler::start(2).await;
    let (site, collector) = (Site::new().await, Receiver::start().await);
    let url = pooler.url(&site.database_url());
    let mut running = traced(&site, &collector.url(""), &[("AOS_DATABASE_POOLER_URL", &url)]).await;
    let agent = Site::agent(&running, "Agent").await;
    pooler.kill().await;
    let reply = agent.send(agent.request("GET", "/api/wallet").header("traceparent", FROM_CALLER)).await;
    reply.is_error(503, "unavailable");
    let line = running.says("request could not be served").await;
    assert_eq!(line["span"]["trace_id"], TRACE, "{line}");
    assert_eq!(line["span"]["request.id"], reply.headers["x-request-id"].to_str().unwrap());
    let call = span(&collector, TRACE, "GET /api/wallet").await;
    assert_eq!((call.status.clone().unwrap().code(), text(&call, "error.type")), (StatusCode::Error, "503"));
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
async fn what_finds_the_queue_full_is_counted_and_neither_requests_nor_the_stop_wait() {
    const CALLS: u64 = 40;
    const QUEUE: u64 = 8;
    let (site, collector) = (Site::new().await, Receiver::start().await);
    collector.answers(|_| Answer::Silence);
    // The first batch is tried for longer than anything here is waited for.
    let settings = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
    ];
    let endpoint = collector.url("");
    let settings = [&to(&endpoint)[..], &settings].concat();
    let mut running = site.start_with("serve", "http://127.0.0.1:1", &settings).await;
    let client = Site::client(&running, None);
    for _ in 0..CALLS {
        client.get("/api/events").await;
    }
    collector.wait_for(1).await;
    assert_eq!(counter(&running, "cp_spans_dropped_total{because=\"full\"}").await, CALLS - QUEUE);
    assert_eq!(counter(&running, "cp_spans_sent_total").await, 0);
    running.stop().await;
    let lost = running.says("the collector did not take the last spans in time; they are lost").await;
    assert_eq!((&lost["spans"], collector.received().len()), (&json!(QUEUE), 1));
}

#[tokio::test]
async fn spans_that_nobody_takes_are_counted() {
    let (site, hook) = (Site::new().await, Receiver::start().await);
    // Nobody listens there.
    let mut running = traced(&site, "http://127.0.0.1:1", &[]).await;
    let scene = Scene::set(&running, &hook).await;
    scene.sale(&[]).await;
    hook.wait_for(1).await;
    let counted = async {
        while counter(&running, "cp_spans_dropped_total{because=\"not_taken\"}").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("they are counted");
    running.says("the collector does not take spans; they are dropped until it does").await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_there_at_a_stop_is_sent_as_the_settings_say() {
    let (site, collector) = (Site::new().await, Receiver::start().await);
    let settings = [
        // Nothing is sent before by itself.
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=everybodys"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=a%2Cb"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_PROPAGATORS", "none"),
    ];
    let mut running = traced(&site, &collector.url(""), &settings).await;
    let client = Site::client(&running, None);
    client.send(client.request("GET", "/api/events").header("traceparent", FROM_CALLER)).await;
    running.stop().await;
    let received = collector.received();
    let call = spans(&received).into_iter().find(|span| span.name == "GET /api/events").expect("it was sent");
    assert!(hex::encode(&call.trace_id) != TRACE && call.parent_span_id.is_empty(), "no propagator");
    let name = batches(&received)[0].resource.clone().unwrap().attributes;
    assert_eq!(attribute(&name, "service.name"), Some(&Said::StringValue("mine".to_owned())));
    let headers = ["api-key", "content-encoding", "content-type"].map(|name| received[0].header(name));
    assert_eq!(headers, ["a,b", "gzip", "application/x-protobuf"]);
}

#[tokio::test]
async fn switched_off_nothing_is_sent() {
    let (site, collector) = (Site::new().await, Receiver::start().await);
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let mut running = traced(&site, &collector.url(""), &[off]).await;
        Site::client(&running, None).get("/api/events").await;
        running.stop().await;
        assert_eq!(collector.received().len(), 0, "{off:?}");
    }
}
