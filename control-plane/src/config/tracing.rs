//! Settings of traces, under the names that OpenTelemetry gives them: what is read of them and what is shown.
//!
//! The library reads the rest itself: `OTEL_EXPORTER_OTLP_HEADERS` (and `…_TRACES_HEADERS`), `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_SCHEDULE_DELAY` and `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.

use super::{Config, Problems, Settings};
use url::Url;

/// Where spans go, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingSettings {
    /// The address that takes them, `…/v1/traces` mostly.
    pub endpoint: String,
    /// The share of traces that are sent, 0 to 1.
    pub share: f64,
}

impl Config {
    pub(super) fn describe_tracing(&self) -> String {
        let (endpoint, share) = match &self.tracing {
            Some(tracing) => (tracing.endpoint.as_str(), tracing.share.to_string()),
            None => ("", String::new()),
        };
        format!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={endpoint}\nOTEL_TRACES_SAMPLER_ARG={share}")
    }
}

impl Problems {
    /// Nothing without an endpoint: then no other of these settings matters.
    pub(super) fn tracing(&mut self, settings: &Settings) -> Option<TracingSettings> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let endpoint = match (
            given(&settings.otel_exporter_otlp_traces_endpoint),
            given(&settings.otel_exporter_otlp_endpoint),
        ) {
            (Some(whole), _) => self.take("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector(&whole)),
            (None, Some(base)) => self.take(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                collector(&format!("{}/v1/traces", base.trim_end_matches('/'))),
            ),
            (None, None) => return None,
        };
        let (name, share) = ("OTEL_TRACES_SAMPLER", settings.otel_traces_sampler_arg.as_str());
        let share = match settings.otel_traces_sampler.trim_start_matches("parentbased_") {
            "always_on" | "" => Some(1.0),
            "always_off" => Some(0.0),
            "traceidratio" => self.take("OTEL_TRACES_SAMPLER_ARG", ratio(share)),
            other => {
                self.take(name, Err(format!("`{other}` is none of always_on, always_off, traceidratio")))
            }
        };
        Some(TracingSettings { endpoint: endpoint?, share: share? })
    }
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

fn ratio(text: &str) -> Result<f64, &'static str> {
    let share = if text.is_empty() { Ok(1.0) } else { text.parse() };
    share.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("a number from 0 to 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_addresses_are_checked() {
        assert_eq!((ratio(""), ratio("0.25"), ratio("1")), (Ok(1.0), Ok(0.25), Ok(1.0)));
        assert!(["-0.1", "1.1", "NaN", "half"].iter().all(|text| ratio(text).is_err()));
        assert_eq!(collector("http://otel:4318/v1/traces").as_deref(), Ok("http://otel:4318/v1/traces"));
        for wrong in ["otel:4318", "grpc://otel:4317", "http://me:secret@otel:4318"] {
            assert!(collector(wrong).is_err(), "{wrong}");
        }
    }
}
