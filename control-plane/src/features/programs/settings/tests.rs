//! Bounds, defaults and contradictions of a program's settings.

use super::*;
use crate::error::Code;
use crate::web::extract::parse_json;
use serde_json::{Value, json};

fn create(extra: Value) -> Result<Settings> {
    let mut body = json!({"name": "My SaaS", "commission_type": "percentage", "commission_value": 20});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    parse_json(body.to_string().as_bytes()).and_then(Settings::create)
}

fn update(settings: Settings, body: Value) -> Result<Settings> {
    parse_json(body.to_string().as_bytes()).and_then(|request| settings.update(request))
}

#[test]
fn defaults_are_the_documented_ones() {
    let settings = create(json!({})).unwrap();
    assert_eq!(settings.approval_mode, ApprovalMode::Manual);
    assert_eq!((settings.attribution_days, settings.hold_days, settings.auto_approve_days), (30, 0, 45));
    assert_eq!((settings.pay_classes, settings.dedup_seconds), (ClassSet::DEFAULT, 10));
    assert_eq!((settings.min_payout, settings.click_id_param), (Micros::ZERO, None));
}

#[test]
fn what_is_out_of_bounds_is_refused_by_field() {
    let check = |field: &str, value: Value| {
        let error = create(json!({field: value})).expect_err(field);
        assert_eq!((error.code, error.field.as_deref()), (Code::InvalidValue, Some(field)), "{value}");
    };
    for (field, values) in [
        ("attribution_days", [json!(0), json!(366), json!(1.5), json!("30"), json!(i64::MAX)]),
        ("hold_days", [json!(-1), json!(366), json!([]), json!(true), json!(1e30)]),
        ("auto_approve_days", [json!(0), json!(366), json!({}), json!(""), json!(i64::MIN)]),
        ("dedup_seconds", [json!(-1), json!(3601), json!(0.5), json!("x"), json!(u64::MAX)]),
        ("min_payout", [json!(-1), json!(100_000.01), json!(0.001), json!("5"), json!(true)]),
        ("click_id_param", [json!(""), json!("a b"), json!("a=b"), json!("x".repeat(65)), json!(5)]),
        (
            "allowed_hosts",
            [
                json!(["com"]),
                json!("example.com"),
                json!(["https://a.test"]),
                json!([""]),
                json!(["*.a.test"]),
            ],
        ),
        ("name", [json!(""), json!(" "), json!("x".repeat(101)), json!("a\u{202e}b"), json!(5)]),
        (
            "url",
            [
                json!("example.com"),
                json!("ftp://a.test"),
                json!("javascript:alert(1)"),
                json!("https://u@a.test"),
                json!(""),
            ],
        ),
        ("niche", [json!(""), json!("x".repeat(61)), json!("a\nb"), json!(5), json!([])]),
    ] {
        for value in values {
            check(field, value);
        }
    }
    let unknown = create(json!({"pay_classes": ["humans"]})).unwrap_err();
    assert!(unknown.fix.contains("`human`"), "{}", unknown.fix);
    assert_eq!(create(json!({"pay_classes": []})).unwrap_err().field.as_deref(), Some("pay_classes"));
}

#[test]
fn the_two_names_of_the_switch_must_agree() {
    let mode = |extra| create(extra).map(|settings| settings.approval_mode);
    assert_eq!(mode(json!({"approval_mode": "auto"})).unwrap(), ApprovalMode::Auto);
    assert_eq!(mode(json!({"auto_approve_affiliates": true})).unwrap(), ApprovalMode::Auto);
    assert_eq!(
        mode(json!({"auto_approve_affiliates": true, "approval_mode": "auto"})).unwrap(),
        ApprovalMode::Auto
    );
    let contradiction =
        mode(json!({"auto_approve_affiliates": true, "approval_mode": "manual"})).unwrap_err();
    assert_eq!(contradiction.field.as_deref(), Some("auto_approve_affiliates"));
    let auto = create(json!({"approval_mode": "auto"})).unwrap();
    assert_eq!(
        update(auto, json!({"auto_approve_affiliates": false})).unwrap().approval_mode,
        ApprovalMode::Manual
    );
}

#[test]
fn absent_keeps_and_null_clears() {
    let full = create(json!({
        "description": "d", "url": "https://a.test", "niche": "saas", "audience_type": "b2b", "hold_days": 7,
        "attribution_days": 60, "auto_approve_days": 10, "pay_classes": ["human"], "dedup_seconds": 0,
        "min_payout": 50, "click_id_param": "cid", "allowed_hosts": ["b.test", "a.test", "a.test"],
    }))
    .unwrap();
    assert_eq!(full.allowed_hosts, ["a.test", "b.test"]);
    assert_eq!(update(full.clone(), json!({})).unwrap(), full);
    let cleared = update(
        full.clone(),
        json!({
            "description": null, "url": null, "niche": null, "audience_type": null, "hold_days": null,
            "attribution_days": null, "auto_approve_days": null, "pay_classes": null, "dedup_seconds": null,
            "min_payout": null, "click_id_param": null, "allowed_hosts": null,
        }),
    );
    assert_eq!(cleared.unwrap(), create(json!({})).unwrap());
    for field in ["name", "commission_type", "commission_value"] {
        assert_eq!(update(full.clone(), json!({field: null})).unwrap_err().field.as_deref(), Some(field));
    }
}

#[test]
fn another_type_of_commission_needs_its_own_number() {
    let settings = create(json!({})).unwrap();
    let without = update(settings.clone(), json!({"commission_type": "fixed"})).unwrap_err();
    assert_eq!((without.code, without.field.as_deref()), (Code::MissingField, Some("commission_value")));
    let with = update(settings, json!({"commission_type": "fixed", "commission_value": 5})).unwrap();
    assert_eq!(with.commission, Commission::Fixed(Micros(5_000_000)));
}
