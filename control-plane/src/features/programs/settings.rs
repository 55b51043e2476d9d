//! Reading what an advertiser decides about a program: bounds, defaults, contradictions.
//!
//! Creating is changing the defaults, so that both go through the same checks.

use super::hosts;
use super::model::{ApprovalMode, Commission, Settings, dollars};
use super::wire::{CreateProgramRequest, UpdateProgramRequest};
use crate::error::{Error, Result};
use crate::features::agents;
use crate::money::Micros;
use crate::text;
use crate::web::extract::{Patch, nearest};
use shared::click::{ClassSet, ClickClass};
use std::ops::RangeInclusive;

/// Dollars a program may want to gather before it pays out.
const MIN_PAYOUT_MAX: i64 = 100_000;
const ATTRIBUTION_DAYS: i32 = 30;
const HOLD_DAYS: i32 = 0;
const AUTO_APPROVE_DAYS: i32 = 45;
const DEDUP_SECONDS: i32 = 10;

impl Settings {
    /// The settings of a new program.
    pub(super) fn create(request: CreateProgramRequest) -> Result<Self> {
        fn set<T>(value: Option<T>) -> Patch<T> {
            value.map_or(Patch::Keep, Patch::Set)
        }
        let defaults = Self {
            name: String::new(),
            description: None,
            url: None,
            niche: None,
            audience_type: None,
            commission: Commission::new(request.commission_type, request.commission_value)?,
            approval_mode: ApprovalMode::Manual,
            attribution_days: ATTRIBUTION_DAYS,
            hold_days: HOLD_DAYS,
            auto_approve_days: AUTO_APPROVE_DAYS,
            pay_classes: ClassSet::DEFAULT,
            dedup_seconds: DEDUP_SECONDS,
            min_payout: Micros::ZERO,
            click_id_param: None,
            allowed_hosts: Vec::new(),
            disclosure_text: None,
        };
        defaults.update(UpdateProgramRequest {
            name: Patch::Set(request.name),
            commission_type: Patch::Keep,
            commission_value: Patch::Keep,
            description: set(request.description),
            url: set(request.url),
            niche: set(request.niche),
            audience_type: set(request.audience_type),
            approval_mode: set(request.approval_mode),
            auto_approve_affiliates: set(request.auto_approve_affiliates),
            attribution_days: set(request.attribution_days),
            hold_days: set(request.hold_days),
            auto_approve_days: set(request.auto_approve_days),
            pay_classes: set(request.pay_classes),
            dedup_seconds: set(request.dedup_seconds),
            min_payout: set(request.min_payout),
            click_id_param: set(request.click_id_param),
            allowed_hosts: set(request.allowed_hosts),
            disclosure_text: set(request.disclosure_text),
        })
    }

    /// The settings after a change.
    pub(super) fn update(self, request: UpdateProgramRequest) -> Result<Self> {
        let commission = self.commission_after(&request)?;
        let approval_mode = self.approval_mode_after(&request)?;
        Ok(Self {
            name: match request.name {
                Patch::Keep => self.name,
                Patch::Set(name) => text::line("name", &name, 100)?,
                Patch::Clear => return Err(needed("name")),
            },
            description: optional(request.description, self.description, |given| {
                text::paragraph("description", given, 5000)
            })?,
            url: optional(request.url, self.url, |given| agents::ops::web_address("url", given))?,
            niche: optional(request.niche, self.niche, |given| text::line("niche", given, 60))?,
            audience_type: optional(request.audience_type, self.audience_type, |given| {
                text::line("audience_type", given, 60)
            })?,
            commission,
            approval_mode,
            attribution_days: number(
                "attribution_days",
                request.attribution_days,
                self.attribution_days,
                ATTRIBUTION_DAYS,
                1..=365,
            )?,
            hold_days: number("hold_days", request.hold_days, self.hold_days, HOLD_DAYS, 0..=365)?,
            auto_approve_days: number(
                "auto_approve_days",
                request.auto_approve_days,
                self.auto_approve_days,
                AUTO_APPROVE_DAYS,
                1..=365,
            )?,
            pay_classes: defaulted(request.pay_classes, self.pay_classes, ClassSet::DEFAULT, |given| {
                pay_classes(&given)
            })?,
            dedup_seconds: number(
                "dedup_seconds",
                request.dedup_seconds,
                self.dedup_seconds,
                DEDUP_SECONDS,
                0..=3600,
            )?,
            min_payout: defaulted(request.min_payout, self.min_payout, Micros::ZERO, |given| {
                dollars("min_payout", given, MIN_PAYOUT_MAX)
            })?,
            click_id_param: optional(request.click_id_param, self.click_id_param, click_id_param)?,
            allowed_hosts: defaulted(request.allowed_hosts, self.allowed_hosts, Vec::new(), |given| {
                hosts::parse_rules(&given)
            })?,
            disclosure_text: optional(request.disclosure_text, self.disclosure_text, |given| {
                text::line("disclosure_text", given, 300)
            })?,
        })
    }

    fn commission_after(&self, request: &UpdateProgramRequest) -> Result<Commission> {
        let kind = match request.commission_type {
            Patch::Keep => self.commission.kind(),
            Patch::Set(kind) => kind,
            Patch::Clear => return Err(needed("commission_type")),
        };
        match request.commission_value {
            Patch::Set(value) => Commission::new(kind, value),
            Patch::Clear => Err(needed("commission_value")),
            Patch::Keep if kind == self.commission.kind() => Ok(self.commission),
            // 20 percent must not become 20 dollars by leaving something out.
            Patch::Keep => Err(Error::missing(
                "commission_value",
                format!("Send `commission_value` together with the new `commission_type` `{kind}`."),
            )),
        }
    }

    fn approval_mode_after(&self, request: &UpdateProgramRequest) -> Result<ApprovalMode> {
        let by_mode = match request.approval_mode {
            Patch::Keep => None,
            Patch::Clear => Some(ApprovalMode::Manual),
            Patch::Set(mode) => Some(mode),
        };
        let by_switch = match request.auto_approve_affiliates {
            Patch::Keep => None,
            Patch::Clear | Patch::Set(false) => Some(ApprovalMode::Manual),
            Patch::Set(true) => Some(ApprovalMode::Auto),
        };
        match (by_mode, by_switch) {
            (Some(mode), Some(switch)) if mode != switch => Err(Error::invalid(
                "auto_approve_affiliates",
                format!("`approval_mode` says {mode}, `auto_approve_affiliates` says {switch}."),
                "They are one switch by two names: send only `approval_mode`, `auto` or `manual`.",
            )),
            (mode, switch) => Ok(mode.or(switch).unwrap_or(self.approval_mode)),
        }
    }
}

fn needed(field: &str) -> Error {
    Error::invalid(
        field,
        format!("`{field}` cannot be null."),
        format!("Send a value for `{field}`, or leave it out to keep what it is."),
    )
}

/// A member that may be absent: `null` clears it.
fn optional(
    patch: Patch<String>,
    old: Option<String>,
    check: impl FnOnce(&str) -> Result<String>,
) -> Result<Option<String>> {
    match patch {
        Patch::Keep => Ok(old),
        Patch::Clear => Ok(None),
        Patch::Set(given) => check(&given).map(Some),
    }
}

/// A member that always has a value: `null` puts the default back.
fn defaulted<T, U>(patch: Patch<T>, old: U, default: U, check: impl FnOnce(T) -> Result<U>) -> Result<U> {
    match patch {
        Patch::Keep => Ok(old),
        Patch::Clear => Ok(default),
        Patch::Set(given) => check(given),
    }
}

fn number(field: &str, patch: Patch<i64>, old: i32, default: i32, range: RangeInclusive<i32>) -> Result<i32> {
    defaulted(patch, old, default, |given| {
        i32::try_from(given).ok().filter(|given| range.contains(given)).ok_or_else(|| {
            Error::invalid(
                field,
                format!("`{field}` is {given}."),
                format!("Send `{field}` as a whole number from {} to {}.", range.start(), range.end()),
            )
        })
    })
}

fn pay_classes(given: &[String]) -> Result<ClassSet> {
    let names = ClickClass::ALL.map(ClickClass::name);
    let list = names.map(|name| format!("`{name}`")).join(", ");
    if given.is_empty() {
        return Err(Error::invalid(
            "pay_classes",
            "`pay_classes` is empty.",
            format!("Send at least one of {list}, or null for the default."),
        ));
    }
    given.iter().try_fold(ClassSet::NONE, |set, name| {
        ClickClass::from_name(name).map(|class| set.with(class)).ok_or_else(|| {
            let shown: String = name.chars().filter(|letter| !letter.is_control()).take(40).collect();
            let hint =
                nearest(name, &names).map(|name| format!("Did you mean `{name}`? ")).unwrap_or_default();
            Error::invalid(
                "pay_classes",
                format!("There is no class of clicks `{shown}`."),
                format!("{hint}Allowed in `pay_classes`: {list}."),
            )
        })
    })
}

fn click_id_param(given: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte);
    if !(1..=64).contains(&given.len()) || !given.bytes().all(plain) {
        return Err(Error::invalid(
            "click_id_param",
            "`click_id_param` is not a parameter name.",
            "Send 1 to 64 letters, digits, `_`, `-`, `.` or `~`, such as `click_id`; null switches it off.",
        ));
    }
    Ok(given.to_owned())
}

#[cfg(test)]
#[path = "settings/tests.rs"]
mod tests;
