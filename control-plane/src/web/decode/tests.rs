//! What a client reads when its JSON is not what we expect.

use super::*;
use crate::error::Code;
use crate::money::Micros;
use crate::web::extract::Patch;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its decoding is looked at")]
struct Body {
    name: String,
    commission_type: Kind,
    commission_value: Micros,
    #[serde(default)]
    url: Patch<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Percentage,
    Fixed,
}

fn check(body: &str, code: Code, field: Option<&str>, fix: &str) {
    let error = parse_json::<Body>(body.as_bytes()).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (code, field), "{body}: {error:?}");
    assert!(error.fix.contains(fix), "{body}: {}", error.fix);
}

#[test]
fn each_mistake_names_its_field_and_its_cure() {
    let missing = Code::MissingField;
    let invalid = Code::InvalidValue;
    check(r#"{"commission_type":"fixed","commission_value":1}"#, missing, Some("name"), "Add `name`");
    check(
        r#"{"name":"x","commission_type":"fixed","comission_value":1}"#,
        invalid,
        Some("comission_value"),
        "Did you mean `commission_value`?",
    );
    check(
        r#"{"name":"x","commission_type":"fixd","commission_value":1}"#,
        invalid,
        Some("commission_type"),
        "Did you mean `fixed`?",
    );
    check(r#"{"name":5,"commission_type":"fixed","commission_value":1}"#, invalid, Some("name"), "`name`");
    check(
        r#"{"name":"x","commission_type":"fixed","commission_value":"20"}"#,
        invalid,
        Some("commission_value"),
        "`commission_value`",
    );
    check(r#"{"name":"x","name":"y"}"#, invalid, Some("name"), "once");
    check(r#"{"name":"x""#, invalid, Some("body"), "close every brace");
    check("", invalid, Some("body"), "JSON object");
    check("{} {}", missing, Some("name"), "name");
    check(
        r#"{"name":"x","commission_type":20,"commission_value":1}"#,
        invalid,
        Some("commission_type"),
        "`percentage`, `fixed`",
    );
    check(
        r#"{"name":"x","commission_type":[],"commission_value":1}"#,
        invalid,
        Some("commission_type"),
        "`percentage`, `fixed`",
    );
    check(r#"{"name":null}"#, invalid, Some("name"), "as a text in quotes");
    check(
        r#"{"name":"x","commission_type":"fixed","commission_value":1e3}"#,
        invalid,
        Some("commission_value"),
        "without exponent",
    );
    check(r#"{"name":"x","url":["y"]}"#, invalid, Some("url"), "as a text in quotes");
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    check(&deep, invalid, Some("body"), "body");
}

#[test]
fn amounts_come_through_exactly() {
    let body: Body =
        parse_json(br#"{"name":"x","commission_type":"percentage","commission_value":29.7,"url":null}"#)
            .unwrap();
    assert_eq!(body.commission_value, Micros(29_700_000));
    assert_eq!(body.url, Patch::Clear);
}
