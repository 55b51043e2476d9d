//! Settings of traces, under the names that OpenTelemetry gives them: what is read of them and what is shown. Every
//! program that sends spans takes the same.
//!
//! Must stay true: a value that cannot be honoured is refused. The standard would have it warned of and ignored,
//! which is found out when the spans are missed. While nothing is to be sent, no other of these settings matters.

use super::{Problems, domains};
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// Where the standard looks for a collector that nobody has named.
const NEARBY: &str = "http://localhost:4318";
/// A batch, with everything that is tried to get rid of it: half of the standard's, for a stop waits on it too.
const SEND_FOR_MS: u64 = 5_000;
const SEND_FOR_MS_MAX: u64 = 600_000;
/// Spans that wait, of about a kilobyte each: twice the standard's.
const QUEUE_MAX: usize = 4_096;
const QUEUE_MAX_MAX: usize = 65_536;
const BATCH_MAX: usize = 512;
const EVERY_MS: u64 = 5_000;
const EVERY_MS_MAX: u64 = 3_600_000;

/// Settings of traces as they are given.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces (OpenTelemetry)")]
pub struct TracingArgs {
    /// `true` switches all of this off.
    #[arg(long, env = "OTEL_SDK_DISABLED", global = true)]
    pub otel_sdk_disabled: Option<String>,
    /// `otlp` or `none`; with `otlp` and no endpoint, spans go to `http://localhost:4318`.
    #[arg(long, env = "OTEL_TRACES_EXPORTER", global = true)]
    pub otel_traces_exporter: Option<String>,
    /// Where an OpenTelemetry collector takes spans over OTLP/HTTP, such as `http://127.0.0.1:4318`; without one
    /// nothing is traced.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", global = true)]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// The same as a whole address, with its path; goes before the other.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", global = true)]
    pub otel_exporter_otlp_traces_endpoint: Option<String>,
    /// What the collector wants to see, as `name=value,name=value`, percent-encoded.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", global = true, hide_env_values = true)]
    pub otel_exporter_otlp_headers: Option<String>,
    /// The same for traces alone; goes before the other.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_HEADERS", global = true, hide_env_values = true)]
    pub otel_exporter_otlp_traces_headers: Option<String>,
    /// File with the certificate (PEM) of the authority behind the collector's own, when it is a private one.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", global = true)]
    pub otel_exporter_otlp_certificate: Option<String>,
    /// The same for traces alone; goes before the other.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", global = true)]
    pub otel_exporter_otlp_traces_certificate: Option<String>,
    /// `gzip` or `none`, the default.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_COMPRESSION", global = true)]
    pub otel_exporter_otlp_compression: Option<String>,
    /// The same for traces alone; goes before the other.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", global = true)]
    pub otel_exporter_otlp_traces_compression: Option<String>,
    /// `http/protobuf`: no other is built in.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", global = true)]
    pub otel_exporter_otlp_protocol: Option<String>,
    /// The same for traces alone; goes before the other.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", global = true)]
    pub otel_exporter_otlp_traces_protocol: Option<String>,
    /// Milliseconds in which a batch is taken, or dropped.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TIMEOUT", global = true)]
    pub otel_exporter_otlp_timeout: Option<String>,
    /// The same for traces alone; goes before the other.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", global = true)]
    pub otel_exporter_otlp_traces_timeout: Option<String>,
    /// The same again; the shorter of the two counts.
    #[arg(long, env = "OTEL_BSP_EXPORT_TIMEOUT", global = true)]
    pub otel_bsp_export_timeout: Option<String>,
    /// Milliseconds between two batches that are not full.
    #[arg(long, env = "OTEL_BSP_SCHEDULE_DELAY", global = true)]
    pub otel_bsp_schedule_delay: Option<String>,
    /// Spans that wait; what comes beside them is dropped and counted.
    #[arg(long, env = "OTEL_BSP_MAX_QUEUE_SIZE", global = true)]
    pub otel_bsp_max_queue_size: Option<String>,
    /// Spans of a batch.
    #[arg(long, env = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", global = true)]
    pub otel_bsp_max_export_batch_size: Option<String>,
    /// How this process is called there; the program's name when left out.
    #[arg(long, env = "OTEL_SERVICE_NAME", global = true)]
    pub otel_service_name: Option<String>,
    /// What else is said of it, as `name=value,name=value`, percent-encoded.
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", global = true)]
    pub otel_resource_attributes: Option<String>,
    /// `always_on`, `always_off` or `traceidratio`, each with or without `parentbased_` before it.
    #[arg(long, env = "OTEL_TRACES_SAMPLER", global = true)]
    pub otel_traces_sampler: Option<String>,
    /// The share of traces that `traceidratio` lets through, 0 to 1.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", global = true)]
    pub otel_traces_sampler_arg: Option<String>,
    /// `tracecontext`, or `none` to follow no caller's trace and to tell no webhook of ours. `baggage` beside it
    /// changes nothing: there is none.
    #[arg(long, env = "OTEL_PROPAGATORS", global = true)]
    pub otel_propagators: Option<String>,
    /// Refused, as are the next three: no certificate is shown to a collector, and no file is read.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", global = true, hide = true)]
    pub otel_exporter_otlp_client_certificate: Option<String>,
    /// Refused.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", global = true, hide = true)]
    pub otel_exporter_otlp_traces_client_certificate: Option<String>,
    /// Refused.
    #[arg(long, env = "OTEL_CONFIG_FILE", global = true, hide = true)]
    pub otel_config_file: Option<String>,
    /// Refused.
    #[arg(long, env = "OTEL_EXPERIMENTAL_CONFIG_FILE", global = true, hide = true)]
    pub otel_experimental_config_file: Option<String>,
}

/// Where spans go, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingSettings {
    /// The address that takes them, `…/v1/traces` mostly.
    pub endpoint: String,
    /// What goes along with every batch; shown by none of them.
    pub headers: HeaderMap,
    /// What the collector's certificate is signed with, when that is not a public authority: PEM.
    pub root_pem: Option<Vec<u8>>,
    /// Whether batches are compressed.
    pub gzip: bool,
    /// How long a batch is tried.
    pub send_for: Duration,
    /// How long a batch that is not full waits.
    pub every: Duration,
    /// Spans that wait at most.
    pub queue_max: usize,
    /// Spans of a batch at most.
    pub batch_max: usize,
    /// What is said of this process: `service.name` and others.
    pub attributes: Vec<(String, String)>,
    /// The share of traces that are sent, 0 to 1.
    pub share: f64,
    /// Whether callers' traces are gone on with, and receivers told of ours.
    pub propagates: bool,
}

impl TracingSettings {
    /// The settings in force, a line each, without secrets.
    pub fn describe(of: Option<&Self>) -> String {
        let Some(settings) = of else { return "OTEL_TRACES_EXPORTER=none".to_owned() };
        let attributes: Vec<_> =
            settings.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let either = |whether, yes: &'static str, no| if whether { yes } else { no };
        [
            "OTEL_TRACES_EXPORTER=otlp".to_owned(),
            format!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={}", settings.endpoint),
            format!("OTEL_EXPORTER_OTLP_HEADERS={}", either(settings.headers.is_empty(), "", "(set)")),
            format!("OTEL_EXPORTER_OTLP_CERTIFICATE={}", either(settings.root_pem.is_some(), "(set)", "")),
            format!("OTEL_EXPORTER_OTLP_COMPRESSION={}", either(settings.gzip, "gzip", "none")),
            format!("OTEL_EXPORTER_OTLP_TIMEOUT={}", settings.send_for.as_millis()),
            format!("OTEL_BSP_SCHEDULE_DELAY={}", settings.every.as_millis()),
            format!("OTEL_BSP_MAX_QUEUE_SIZE={}", settings.queue_max),
            format!("OTEL_BSP_MAX_EXPORT_BATCH_SIZE={}", settings.batch_max),
            format!("OTEL_RESOURCE_ATTRIBUTES={}", attributes.join(",")),
            "OTEL_TRACES_SAMPLER=parentbased_traceidratio".to_owned(),
            format!("OTEL_TRACES_SAMPLER_ARG={}", settings.share),
            format!("OTEL_PROPAGATORS={}", either(settings.propagates, "tracecontext", "none")),
        ]
        .join("\n")
    }
}

/// Empty is not set.
fn given(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).map(str::trim).filter(|value| !value.is_empty())
}

/// A setting under its name.
type Named<'a> = (&'static str, Option<&'a str>);

/// The one for traces, or else the one for everything.
fn nearer<'a>(traces: Named<'a>, all: Named<'a>) -> Named<'a> {
    if traces.1.is_some() { traces } else { all }
}

impl TracingArgs {
    /// Checks everything; nothing when no spans are to be sent.
    pub fn check(&self) -> Result<Option<TracingSettings>, Vec<String>> {
        let mut problems = Problems::default();
        let settings = problems.tracing(self);
        if problems.0.is_empty() { Ok(settings) } else { Err(problems.0) }
    }
}

impl Problems {
    /// Nothing, and no problem, when no spans are to be sent.
    pub(super) fn tracing(&mut self, args: &TracingArgs) -> Option<TracingSettings> {
        if self
            .optional(("OTEL_SDK_DISABLED", given(args.otel_sdk_disabled.as_ref())), yes_or_no)?
            .unwrap_or(false)
        {
            return None;
        }
        let exporter = ("OTEL_TRACES_EXPORTER", given(args.otel_traces_exporter.as_ref()));
        let wanted = self.optional(exporter, |name| one_of(name, &[("otlp", true), ("none", false)]))?;
        let endpoint = nearer(
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", given(args.otel_exporter_otlp_traces_endpoint.as_ref())),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", given(args.otel_exporter_otlp_endpoint.as_ref())),
        );
        let endpoint = match (wanted, endpoint) {
            (Some(false), _) | (None, (_, None)) => return None,
            (_, (name @ "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Some(whole))) => {
                self.take(name, collector(whole))
            }
            (_, (name, base)) => self.take(name, collector(&signal(base.unwrap_or(NEARBY)))),
        };
        self.refuse(args);
        let (headers, root_pem, gzip) = (self.headers(args), self.collector_root(args), self.gzip(args));
        let (send_for, every) = (self.send_for(args), self.every(args));
        let sizes = self.sizes(args);
        let attributes = self.attributes(args);
        let share = self.share(args);
        let propagators = ("OTEL_PROPAGATORS", given(args.otel_propagators.as_ref()));
        let propagates = self.optional(propagators, propagates)?.unwrap_or(true);
        let (queue_max, batch_max) = sizes?;
        Some(TracingSettings {
            endpoint: endpoint?,
            headers: headers?,
            root_pem: root_pem?,
            gzip: gzip?,
            send_for: send_for?,
            every: every?,
            queue_max,
            batch_max,
            attributes: attributes?,
            share: share?,
            propagates,
        })
    }

    /// What a setting says, if it is set; nothing at all after a problem.
    #[expect(clippy::option_option, reason = "a problem, nothing given, or a value")]
    fn optional<T, E: Display>(
        &mut self,
        (name, value): Named<'_>,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        value.map_or(Some(None), |value| self.take(name, read(value)).map(Some))
    }

    /// What would be missed if it were ignored.
    fn refuse(&mut self, args: &TracingArgs) {
        let protocol = nearer(
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", given(args.otel_exporter_otlp_traces_protocol.as_ref())),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", given(args.otel_exporter_otlp_protocol.as_ref())),
        );
        self.optional(protocol, |name| one_of(name, &[("http/protobuf", ())]));
        for (name, value, why) in [
            (
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                &args.otel_exporter_otlp_client_certificate,
                "no certificate is shown to a collector",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
                &args.otel_exporter_otlp_traces_client_certificate,
                "no certificate is shown to a collector",
            ),
            ("OTEL_CONFIG_FILE", &args.otel_config_file, "no such file is read"),
            ("OTEL_EXPERIMENTAL_CONFIG_FILE", &args.otel_experimental_config_file, "no such file is read"),
        ] {
            if given(value.as_ref()).is_some() {
                self.0.push(format!("{name}: {why}"));
            }
        }
    }

    fn headers(&mut self, args: &TracingArgs) -> Option<HeaderMap> {
        let list = nearer(
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", given(args.otel_exporter_otlp_traces_headers.as_ref())),
            ("OTEL_EXPORTER_OTLP_HEADERS", given(args.otel_exporter_otlp_headers.as_ref())),
        );
        self.optional(list, headers).map(Option::unwrap_or_default)
    }

    #[expect(clippy::option_option, reason = "a problem, nothing given, or a certificate")]
    fn collector_root(&mut self, args: &TracingArgs) -> Option<Option<Vec<u8>>> {
        let path = nearer(
            (
                "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
                given(args.otel_exporter_otlp_traces_certificate.as_ref()),
            ),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", given(args.otel_exporter_otlp_certificate.as_ref())),
        );
        self.optional(path, domains::root)
    }

    fn gzip(&mut self, args: &TracingArgs) -> Option<bool> {
        let how = nearer(
            (
                "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
                given(args.otel_exporter_otlp_traces_compression.as_ref()),
            ),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", given(args.otel_exporter_otlp_compression.as_ref())),
        );
        let gzip = self.optional(how, |name| one_of(name, &[("gzip", true), ("none", false)]));
        gzip.map(Option::unwrap_or_default)
    }

    fn send_for(&mut self, args: &TracingArgs) -> Option<Duration> {
        let exporters = nearer(
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", given(args.otel_exporter_otlp_traces_timeout.as_ref())),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", given(args.otel_exporter_otlp_timeout.as_ref())),
        );
        let processors = ("OTEL_BSP_EXPORT_TIMEOUT", given(args.otel_bsp_export_timeout.as_ref()));
        let read = |text: &str| within(text, 1, SEND_FOR_MS_MAX);
        let (exporters, processors) = (self.optional(exporters, read), self.optional(processors, read));
        let shorter = [exporters?, processors?].into_iter().flatten().min();
        Some(Duration::from_millis(shorter.unwrap_or(SEND_FOR_MS)))
    }

    fn every(&mut self, args: &TracingArgs) -> Option<Duration> {
        let delay = ("OTEL_BSP_SCHEDULE_DELAY", given(args.otel_bsp_schedule_delay.as_ref()));
        let every = self.optional(delay, |text| within(text, 1, EVERY_MS_MAX))?;
        Some(Duration::from_millis(every.unwrap_or(EVERY_MS)))
    }

    /// Of the queue and of a batch.
    fn sizes(&mut self, args: &TracingArgs) -> Option<(usize, usize)> {
        let queue = ("OTEL_BSP_MAX_QUEUE_SIZE", given(args.otel_bsp_max_queue_size.as_ref()));
        let queue = self.optional(queue, |text| within(text, 1, QUEUE_MAX_MAX))?.unwrap_or(QUEUE_MAX);
        let batch = ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", given(args.otel_bsp_max_export_batch_size.as_ref()));
        let batch = self.optional(batch, |text| within(text, 1, queue))?;
        Some((queue, batch.unwrap_or(BATCH_MAX.min(queue))))
    }

    fn attributes(&mut self, args: &TracingArgs) -> Option<Vec<(String, String)>> {
        let list = ("OTEL_RESOURCE_ATTRIBUTES", given(args.otel_resource_attributes.as_ref()));
        let mut attributes = self.optional(list, pairs)?.unwrap_or_default();
        if let Some(name) = given(args.otel_service_name.as_ref()) {
            attributes.retain(|(key, _)| key != "service.name");
            attributes.push(("service.name".to_owned(), name.to_owned()));
        }
        Some(attributes)
    }

    fn share(&mut self, args: &TracingArgs) -> Option<f64> {
        let sampler = ("OTEL_TRACES_SAMPLER", given(args.otel_traces_sampler.as_ref()));
        let known = [("always_on", Some(1.0)), ("always_off", Some(0.0)), ("traceidratio", None)];
        let fixed = self.optional(sampler, |name| {
            let name = name.to_ascii_lowercase();
            one_of(name.strip_prefix("parentbased_").unwrap_or(&name), &known)
        })?;
        let argument = ("OTEL_TRACES_SAMPLER_ARG", given(args.otel_traces_sampler_arg.as_ref()));
        match (fixed.unwrap_or(Some(1.0)), argument) {
            (Some(share), (_, None)) => Some(share),
            (None, argument) => Some(self.optional(argument, ratio)?.unwrap_or(1.0)),
            (Some(_), (name, Some(_))) => {
                self.take(name, Err("only traceidratio and parentbased_traceidratio take one"))
            }
        }
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    one_of(text, &[("true", true), ("false", false)])
}

/// Names are taken in capitals, too.
fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        format!("`{text}` is not honoured, only {}", names.join(", "))
    })
}

fn within<T: FromStr + PartialOrd + Display>(text: &str, least: T, most: T) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("`{text}` is no whole number from {least} to {most}"))
}

fn signal(base: &str) -> String {
    format!("{}/v1/traces", base.trim_end_matches('/'))
}

fn collector(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let login = !url.username().is_empty() || url.password().is_some();
    if !["http", "https"].contains(&url.scheme()) || url.host().is_none() || login {
        return Err(
            "an http(s) address without a login; a key goes into OTEL_EXPORTER_OTLP_HEADERS".to_owned()
        );
    }
    Ok(url.into())
}

/// `name=value,name=value`, percent-encoded. Says nothing about the values: they may be secrets.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    const WRONG: &str = "not a list such as name=value,name=value, percent-encoded";
    let decode = |part: &str| percent_decode_str(part.trim()).decode_utf8().map(String::from).ok();
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((decode(name).filter(|name| !name.is_empty())?, decode(value)?))
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts.map(pair).collect::<Option<_>>().ok_or(WRONG)
}

fn headers(text: &str) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(text)? {
        let name = HeaderName::from_str(&name).map_err(|_| "a name is none of a header")?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| "a value is none of a header")?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn propagates(text: &str) -> Result<bool, String> {
    let known = [("tracecontext", true), ("baggage", false), ("none", false)];
    let names = text.split(',').map(|name| one_of(name.trim(), &known));
    Ok(names.collect::<Result<Vec<_>, _>>()?.contains(&true))
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("a number from 0 to 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct OnlyTracing {
        #[command(flatten)]
        tracing: TracingArgs,
    }

    fn check(args: &[&str]) -> Result<Option<TracingSettings>, Vec<String>> {
        let flags = args.iter().map(|arg| format!("--otel-{arg}"));
        OnlyTracing::parse_from(std::iter::once("program".to_owned()).chain(flags)).tracing.check()
    }

    /// With a collector.
    fn sent(args: &[&str]) -> TracingSettings {
        let collector = ["exporter-otlp-endpoint=http://otel:4318"];
        check(&[&collector, args].concat()).expect("they hold").expect("spans are sent")
    }

    #[test]
    fn nothing_is_sent_unless_somebody_wants_it() {
        let collector = "exporter-otlp-endpoint=http://otel:4318";
        for none in [
            &[][..],
            &["exporter-otlp-endpoint="],
            &["sdk-disabled=TRUE", collector],
            &["traces-exporter=none", collector],
            // What would be wrong does not matter then.
            &["traces-exporter=None", collector, "traces-sampler=odd", "exporter-otlp-protocol=grpc"],
        ] {
            assert_eq!(check(none), Ok(None), "{none:?}");
        }
        let nearby = check(&["traces-exporter=otlp"]).unwrap().unwrap();
        assert_eq!(nearby.endpoint, "http://localhost:4318/v1/traces");
        assert_eq!(sent(&["sdk-disabled=false", "traces-exporter=OTLP"]), sent(&[]));
    }

    #[test]
    fn what_is_said_for_traces_goes_before() {
        assert_eq!(sent(&[]).endpoint, "http://otel:4318/v1/traces");
        let own = sent(&["exporter-otlp-traces-endpoint=https://traces.example/in"]);
        assert_eq!(own.endpoint, "https://traces.example/in");
        let headers = ["exporter-otlp-headers=a=1", "exporter-otlp-traces-headers=api-key=a%2Cb, b=2"];
        let headers = sent(&headers).headers;
        assert!(headers.len() == 2 && headers["api-key"] == "a,b" && headers["b"] == "2");
        assert_eq!(sent(&["exporter-otlp-headers=a=1", "exporter-otlp-traces-headers="]).headers.len(), 1);
        let how = ["exporter-otlp-compression=gzip", "exporter-otlp-traces-compression=none"];
        assert!(sent(&how[..1]).gzip && !sent(&how).gzip);
    }

    #[test]
    fn numbers_are_taken_and_have_bounds() {
        let (usual, ms) = (sent(&[]), Duration::from_millis);
        assert_eq!((usual.send_for, usual.every), (ms(5000), ms(5000)));
        assert_eq!((usual.queue_max, usual.batch_max), (4096, 512));
        let given = sent(&["exporter-otlp-timeout=9000", "bsp-schedule-delay=50", "bsp-max-queue-size=100"]);
        assert_eq!((given.send_for, given.every), (ms(9000), ms(50)));
        assert_eq!((given.queue_max, given.batch_max), (100, 100));
        assert_eq!(
            sent(&["exporter-otlp-timeout=9000", "bsp-export-timeout=8000"]).send_for,
            ms(8000),
            "both bound it"
        );
        assert_eq!(sent(&["traces-sampler=parentbased_traceidratio"]).share.to_string(), "1");
        assert_eq!(
            sent(&["traces-sampler=TraceIdRatio", "traces-sampler-arg=0.25"]).share.to_string(),
            "0.25"
        );
        assert_eq!(sent(&["traces-sampler=always_off"]).share.to_string(), "0");
    }

    #[test]
    fn the_process_is_called_what_it_is_told() {
        let attributes = ["resource-attributes=service.name=a,deployment.environment.name=pre%20prod"];
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = pair("deployment.environment.name", "pre prod");
        assert_eq!(sent(&attributes).attributes, [pair("service.name", "a"), environment.clone()]);
        let named = sent(&[attributes[0], "service-name=b"]).attributes;
        assert_eq!(named, [environment, pair("service.name", "b")]);
    }

    #[test]
    fn propagators_other_than_ours_are_refused_and_none_is_none() {
        let propagates = |names: &str| {
            check(&["traces-exporter=otlp", &format!("propagators={names}")]).map(Option::unwrap)
        };
        assert!(propagates("tracecontext,baggage").unwrap().propagates);
        assert!(!propagates("none").unwrap().propagates);
        assert!(propagates("tracecontext,b3").is_err());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name_and_secrets_are_not_shown() {
        let wrong = [
            (
                "exporter-otlp-traces-endpoint=http://me:hunter2@otel:4318",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            ),
            ("exporter-otlp-protocol=grpc", "OTEL_EXPORTER_OTLP_PROTOCOL"),
            ("exporter-otlp-traces-protocol=http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
            ("exporter-otlp-compression=zstd", "OTEL_EXPORTER_OTLP_COMPRESSION"),
            ("exporter-otlp-headers=hunter2", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("exporter-otlp-headers=api key=hunter2", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("exporter-otlp-headers=key=hunter2%0A", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("exporter-otlp-certificate=/nowhere.pem", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
            ("exporter-otlp-client-certificate=/cert.pem", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
            ("exporter-otlp-timeout=0", "OTEL_EXPORTER_OTLP_TIMEOUT"),
            ("bsp-export-timeout=-1", "OTEL_BSP_EXPORT_TIMEOUT"),
            ("bsp-schedule-delay=5s", "OTEL_BSP_SCHEDULE_DELAY"),
            ("bsp-max-queue-size=0", "OTEL_BSP_MAX_QUEUE_SIZE"),
            ("bsp-max-export-batch-size=4097", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
            ("resource-attributes=production", "OTEL_RESOURCE_ATTRIBUTES"),
            ("sdk-disabled=1", "OTEL_SDK_DISABLED"),
            ("traces-exporter=zipkin", "OTEL_TRACES_EXPORTER"),
            ("traces-sampler=jaeger_remote", "OTEL_TRACES_SAMPLER"),
            ("traces-sampler=parentbased_parentbased_always_on", "OTEL_TRACES_SAMPLER"),
            // Alone it would change nothing.
            ("traces-sampler-arg=0.1", "OTEL_TRACES_SAMPLER_ARG"),
            ("config-file=/otel.yaml", "OTEL_CONFIG_FILE"),
        ];
        for (flag, name) in wrong {
            let problems = check(&["exporter-otlp-endpoint=http://otel:4318", flag]).unwrap_err();
            assert!(problems[0].starts_with(&format!("{name}: ")) && problems.len() == 1, "{problems:?}");
            assert!(!problems[0].contains("hunter2"), "{problems:?}");
        }
        let shown = sent(&["exporter-otlp-headers=key=hunter2"]);
        let shown = format!("{}\n{shown:?}", TracingSettings::describe(Some(&shown)));
        assert!(shown.contains("OTEL_EXPORTER_OTLP_HEADERS=(set)") && !shown.contains("hunter2"), "{shown}");
        for wrong in ["-0.1", "1.1", "NaN", "half"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
        for wrong in ["otel:4318", "grpc://otel:4317"] {
            assert!(collector(wrong).is_err(), "{wrong}");
        }
    }
}
