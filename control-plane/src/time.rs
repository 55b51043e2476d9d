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

/// Reads the start of a span of time: RFC 3339, or a day, meant from its first moment in UTC.
pub fn parse_from(field: &str, text: &str) -> Result<DateTime<Utc>> {
    parse(field, text, 0)
}

/// Reads the end of a span of time, itself not in the span: RFC 3339, or a day, meant with all of it in UTC.
pub fn parse_to(field: &str, text: &str) -> Result<DateTime<Utc>> {
    parse(field, text, 1)
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
        let from = |text| parse_from("from", text).map(|at| At(at).to_string()).ok();
        let to = |text| parse_to("to", text).map(|at| At(at).to_string()).ok();
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
    }
}
