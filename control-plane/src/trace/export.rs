//! How spans leave the process: in batches over OTLP/HTTP, from a bounded queue, by a thread that nobody waits for.
//!
//! Limits, by the settings: so many spans wait, those being sent among them; what comes beside them is dropped and
//! counted. A batch that is not taken in time is dropped and counted, too. A stop waits [`FLUSH_FOR`] at most. A
//! collector that is away is told of once in the log, and once when it is back.

use super::IDLE;
use crate::config::TracingSettings;
use crate::web::egress::{Call, Egress, Policy};
use http::{HeaderMap, Method, Request, Response};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{Compression, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter,
    SpanProcessor,
};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::Handle;

/// What a stop waits for the last batch.
pub(super) const FLUSH_FOR: Duration = Duration::from_secs(2);
/// What a collector answers is a few bytes, or an error in words.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// Everything from a finished span to the collector. Call it on the runtime that is to send.
pub(super) fn provider(
    settings: &TracingSettings,
    program: &'static str,
) -> anyhow::Result<SdkTracerProvider> {
    let egress = match &settings.root_pem {
        Some(root) => Egress::with_root(Policy::of_operator(), root)?,
        None => Egress::new(Policy::of_operator())?,
    };
    let (headers, send_for) = (settings.headers.clone(), settings.send_for);
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Client { egress, runtime: Handle::current(), headers, send_for })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&settings.endpoint)
        .with_timeout(send_for);
    if settings.gzip {
        exporter = exporter.with_compression(Compression::Gzip);
    }
    let waiting = Arc::new(AtomicUsize::new(0));
    let exporter =
        Counted { exporter: exporter.build()?, waiting: waiting.clone(), away: AtomicBool::new(false) };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(settings.queue_max)
        .with_max_export_batch_size(settings.batch_max)
        .with_scheduled_delay(settings.every)
        .build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(Bounded { batches, waiting, waiting_max: settings.queue_max })
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.share))))
        .with_resource(resource(settings, program))
        .build())
}

/// Who sends, where the settings do not say otherwise.
fn resource(settings: &TracingSettings, program: &'static str) -> Resource {
    let given = settings.attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new("service.name", program),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .with_attributes(given)
        .build()
}

fn dropped(because: &'static str, spans: usize) {
    metrics::counter!("cp_spans_dropped_total", "because" => because).increment(spans as u64);
}

/// Lets as many spans wait as fit, and counts the rest: the library drops them without a word.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.attributes.iter().any(|attribute| attribute.key.as_str() == IDLE) {
            return;
        }
        if self.waiting.fetch_add(1, Relaxed) >= self.waiting_max {
            self.waiting.fetch_sub(1, Relaxed);
            dropped("full", 1);
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let stopped = self.batches.shutdown_with_timeout(timeout);
        let left = self.waiting.load(Relaxed);
        if left > 0 {
            dropped("stopped", left);
            tracing::warn!(spans = left, "the collector did not take the last spans in time; they are lost");
        }
        stopped
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Counts what becomes of batches, and tells when that changes.
#[derive(Debug)]
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    waiting: Arc<AtomicUsize>,
    away: AtomicBool,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        self.waiting.fetch_sub(spans, Relaxed);
        match &sent {
            Ok(()) => {
                metrics::counter!("cp_spans_sent_total").increment(spans as u64);
                if self.away.swap(false, Relaxed) {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(error) => {
                dropped("not_taken", spans);
                if !self.away.swap(true, Relaxed) {
                    tracing::warn!(%error, "the collector does not take spans; they are dropped until it does");
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The client for services that the operator chose, lent to a thread that is not the runtime's.
struct Client {
    egress: Egress,
    runtime: Handle,
    headers: HeaderMap,
    send_for: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

// What `#[async_trait]` makes of the library's method, written out: no macro for one method.
impl HttpClient for Client {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sent<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let egress = self.egress.clone();
        let (mut head, body) = request.into_parts();
        for (name, value) in &self.headers {
            head.headers.insert(name, value.clone());
        }
        let call = Call {
            method: Method::POST,
            url: head.uri.to_string(),
            headers: head.headers,
            body,
            deadline: self.send_for,
            answer_len_max: ANSWER_LEN_MAX,
        };
        Box::pin(async move {
            let fetched = self.runtime.spawn(async move { egress.fetch(call).await }).await?;
            let fetched = fetched.map_err(|failure| format!("{failure:?}"))?;
            let mut response = Response::new(fetched.body);
            *response.status_mut() = fetched.status;
            *response.headers_mut() = fetched.headers;
            Ok(response)
        })
    }
}
