//! Instants as the API writes them: RFC 3339, UTC, milliseconds.

use crate::error::{Error, Result};
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

/// An instant in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub DateTime<Utc>);

impl From<DateTime<Utc>> for At {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at)
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl utoipa::PartialSchema for At {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC, milliseconds"))
            .examples([serde_json::json!("2026-04-01T00:00:00.000Z")])
            .into()
    }
}

impl utoipa::ToSchema for At {
    fn name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
}

/// The description of an end of a span of time.
pub fn moment() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    let text = |format| {
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)))
    };
    utoipa::openapi::schema::AnyOfBuilder::new()
        .item(text(KnownFormat::Date))
        .item(text(KnownFormat::DateTime))
        .into()
}

/// A span of time, `from` in it and `to` not, each open when it is not given.
pub type Span = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Reads `from` and `to`: RFC 3339, or a day in UTC, meant with all of it. A span that ends before it begins would
/// find nothing, which is never what was meant.
pub fn span(from: Option<&str>, to: Option<&str>) -> Result<Span> {
    let start = from.map(|text| parse("from", text, 0)).transpose()?;
    let end = to.map(|text| parse("to", text, 1)).transpose()?;
    if start.zip(end).is_some_and(|(start, end)| start >= end) {
        return Err(Error::invalid(
            "to",
            "`to` is not after `from`.",
            "Exchange `from` and `to`, or leave one of them out.",
        ));
    }
    Ok((start, end))
}

fn parse(field: &str, text: &str, days_on: u64) -> Result<DateTime<Utc>> {
    // A `+` in a query that was not percent-encoded arrives as a space.
    let instant = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|at| at.to_utc());
    let day = || {
        let day = text.parse::<NaiveDate>().ok()?.checked_add_days(Days::new(days_on))?;
        Some(day.and_time(NaiveTime::MIN).and_utc())
    };
    // Postgres ends before chrono does.
    instant.or_else(day).filter(|at| (1..=9999).contains(&at.year())).ok_or_else(|| {
        Error::invalid(
            field,
            format!("`{field}` is not a time."),
            format!(
                "Send `{field}` as a day such as 2026-04-01 or as RFC 3339 such as 2026-04-01T00:00:00Z."
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let from = |text| span(Some(text), None).map(|(at, _)| At(at.unwrap()).to_string()).ok();
        let to = |text| span(None, Some(text)).map(|(_, at)| At(at.unwrap()).to_string()).ok();
        assert_eq!(from("2026-04-01").as_deref(), Some("2026-04-01T00:00:00.000Z"));
        assert_eq!(to("2026-04-30").as_deref(), Some("2026-05-01T00:00:00.000Z"));
        assert_eq!(to("2026-04-30T12:00:00Z").as_deref(), Some("2026-04-30T12:00:00.000Z"));
        assert_eq!(from("2026-04-30T12:00:00 02:00").as_deref(), Some("2026-04-30T10:00:00.000Z"));
        for bad in
            ["", "yesterday", "2026-13-01", "2026-02-30", "1780000000", "+99999-01-01", "9999-12-31T23:59:60"]
        {
            assert_eq!(from(bad), None, "{bad}");
        }
        assert_eq!(to("9999-12-31"), None);
        for (start, end, finds) in [
            ("2026-04-01", "2026-04-01", true),
            ("2026-04-02", "2026-04-01", false),
            ("2026-04-01T10:00:00Z", "2026-04-01T10:00:00Z", false),
            ("2026-04-01T10:00:00Z", "2026-04-01T10:00:01Z", true),
        ] {
            assert_eq!(span(Some(start), Some(end)).is_ok(), finds, "{start} to {end}");
        }
    }
}
