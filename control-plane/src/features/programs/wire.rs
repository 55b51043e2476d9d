//! JSON shapes of programs.

use super::model::{ApprovalMode, CommissionType, Filter, Program, Sort, Status};
use crate::error::{Error, Result};
use crate::money::Micros;
use crate::time::At;
use crate::web::extract::Patch;
use serde::{Deserialize, Serialize};
use shared::id::AgentId;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Said beside a link unless the advertiser asks for other words.
const DISCLOSURE: &str = "I earn a commission when you buy through this link.";

/// A new program. Needed: `name`, `commission_type`, `commission_value`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "My SaaS", "commission_type": "percentage", "commission_value": 25, "niche": "saas", "approval_mode": "auto"}))]
pub struct CreateProgramRequest {
    /// Name, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "My SaaS")]
    pub name: String,
    /// `percentage` of each sale, or `fixed` dollars for each lead or sale.
    pub commission_type: CommissionType,
    /// Percent from 0 to 100, or dollars from 0 to 100,000; at most two decimals.
    #[schema(value_type = f64, minimum = 0, maximum = 100_000, example = 20)]
    pub commission_value: Micros,
    /// What it offers, at most 5,000 characters.
    #[schema(max_length = 5000)]
    pub description: Option<String>,
    /// The product's site, http or https.
    #[schema(max_length = 2048, pattern = "^https?://[A-Za-z0-9]", example = "https://example.com/")]
    pub url: Option<String>,
    /// Its field, such as `saas`; at most 60 characters.
    #[schema(min_length = 1, max_length = 60, example = "saas")]
    pub niche: Option<String>,
    /// Whom it is for, such as `b2b`; at most 60 characters.
    #[schema(min_length = 1, max_length = 60, example = "b2b")]
    pub audience_type: Option<String>,
    /// `auto` lets affiliates in at once; `manual` (the default) leaves each to you.
    pub approval_mode: Option<ApprovalMode>,
    /// The same switch by its other name: `true` is `auto`.
    pub auto_approve_affiliates: Option<bool>,
    /// Days after a click in which a conversion is credited to it.
    #[schema(minimum = 1, maximum = 365, default = 30)]
    pub attribution_days: Option<i64>,
    /// Days a commission is kept back before it can be paid out.
    #[schema(minimum = 0, maximum = 365, default = 0)]
    pub hold_days: Option<i64>,
    /// Days after which a conversion left pending approves itself.
    #[schema(minimum = 1, maximum = 365, default = 45)]
    pub auto_approve_days: Option<i64>,
    /// Classes of clicks that are metered and credited: `human`, `agent`, `agent_verified`, `preview`,
    /// `crawler`, `scanner`, `tool`, `prefetch`, `duplicate`. By default the first three and `tool`.
    #[schema(example = json!(["human", "agent", "agent_verified", "tool"]))]
    pub pay_classes: Option<Vec<String>>,
    /// Seconds in which a second click of one visitor on one link is a `duplicate`; 0 switches that off.
    #[schema(minimum = 0, maximum = 3600, default = 10)]
    pub dedup_seconds: Option<i64>,
    /// Payouts of less wait for more, in dollars.
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 100_000, example = 0)]
    pub min_payout: Option<Micros>,
    /// Query parameter that is appended to destinations with the click's id.
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9_.~-]+$", example = "click_id")]
    pub click_id_param: Option<String>,
    /// Hosts that links may lead to, each with every host below it. Empty: the host of `url`, or any.
    #[schema(example = json!(["example.com"]))]
    pub allowed_hosts: Option<Vec<String>>,
    /// What affiliates are to say beside a link, at most 300 characters; a plain sentence unless you say more.
    #[schema(
        min_length = 1,
        max_length = 300,
        example = "I earn a commission when you buy through this link."
    )]
    pub disclosure_text: Option<String>,
}

/// What changes about a program. Absent members stay; `null` clears a member or puts its default back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"commission_value": 30}))]
pub struct UpdateProgramRequest {
    /// Name, 1 to 100 characters.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    #[serde(default)]
    pub name: Patch<String>,
    /// `percentage` or `fixed`; a new one needs a new `commission_value` with it.
    #[schema(value_type = CommissionType)]
    #[serde(default)]
    pub commission_type: Patch<CommissionType>,
    /// Percent or dollars, for conversions from now on.
    #[schema(value_type = f64, minimum = 0, maximum = 100_000)]
    #[serde(default)]
    pub commission_value: Patch<Micros>,
    /// What it offers.
    #[schema(value_type = Option<String>, max_length = 5000)]
    #[serde(default)]
    pub description: Patch<String>,
    /// The product's site.
    #[schema(value_type = Option<String>, max_length = 2048, pattern = "^https?://[A-Za-z0-9]")]
    #[serde(default)]
    pub url: Patch<String>,
    /// Its field.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 60)]
    #[serde(default)]
    pub niche: Patch<String>,
    /// Whom it is for.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 60)]
    #[serde(default)]
    pub audience_type: Patch<String>,
    /// `auto` or `manual`.
    #[schema(value_type = Option<ApprovalMode>)]
    #[serde(default)]
    pub approval_mode: Patch<ApprovalMode>,
    /// The same switch by its other name.
    #[schema(value_type = Option<bool>)]
    #[serde(default)]
    pub auto_approve_affiliates: Patch<bool>,
    /// Attribution window.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 365)]
    #[serde(default)]
    pub attribution_days: Patch<i64>,
    /// Days before payout.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 365)]
    #[serde(default)]
    pub hold_days: Patch<i64>,
    /// Days until a pending conversion approves itself.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 365)]
    #[serde(default)]
    pub auto_approve_days: Patch<i64>,
    /// Classes that are metered and credited.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(default)]
    pub pay_classes: Patch<Vec<String>>,
    /// Window of duplicates.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 3600)]
    #[serde(default)]
    pub dedup_seconds: Patch<i64>,
    /// Smallest payout.
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 100_000)]
    #[serde(default)]
    pub min_payout: Patch<Micros>,
    /// Parameter that gets the click's id.
    #[schema(value_type = Option<String>, max_length = 64)]
    #[serde(default)]
    pub click_id_param: Patch<String>,
    /// Hosts that links may lead to. Links outside new hosts answer 410 until their hosts are allowed again.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(default)]
    pub allowed_hosts: Patch<Vec<String>>,
    /// What affiliates are to say beside a link.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 300)]
    #[serde(default)]
    pub disclosure_text: Patch<String>,
}

/// An affiliate program.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgramResponse {
    /// Its id.
    pub id: Uuid,
    /// The advertiser's id.
    pub advertiser_id: Uuid,
    /// Whose program it is.
    pub advertiser: AgentSummary,
    /// Its name.
    #[schema(example = "My SaaS")]
    pub name: String,
    /// What it offers.
    pub description: Option<String>,
    /// The product's site.
    pub url: Option<String>,
    /// Its field.
    #[schema(example = "saas")]
    pub niche: Option<String>,
    /// Whom it is for.
    pub audience_type: Option<String>,
    /// Percentage of each sale, or fixed for each lead or sale.
    pub commission_type: CommissionType,
    /// Percent or dollars.
    #[schema(example = 20)]
    pub commission_value: Micros,
    /// Currency of amounts.
    #[schema(example = "usd")]
    pub currency: &'static str,
    /// How affiliates are let in.
    pub approval_mode: ApprovalMode,
    /// Whether that is at once.
    pub auto_approve_affiliates: bool,
    /// Days after a click in which a conversion is credited to it.
    pub attribution_days: i32,
    /// Days a commission is kept back before it can be paid out.
    pub hold_days: i32,
    /// Days after which a conversion left pending approves itself.
    pub auto_approve_days: i32,
    /// Classes of clicks that are metered and credited.
    #[schema(value_type = Vec<String>)]
    pub pay_classes: Vec<&'static str>,
    /// Window in which a second click of one visitor on one link is a duplicate.
    pub dedup_seconds: i32,
    /// Payouts of less wait for more.
    pub min_payout: Micros,
    /// Parameter that gets the click's id.
    pub click_id_param: Option<String>,
    /// Hosts that links may lead to; empty: the host of `url`, or any.
    pub allowed_hosts: Vec<String>,
    /// Where it stands.
    pub status: Status,
    /// Approved affiliates.
    pub affiliates: i32,
    /// Earnings per click: what a counted click of the last 30 days earned its affiliate on average.
    /// `null` until there are 100 such clicks.
    pub epc: Option<Micros>,
    /// Of decided leads and sales of 90 days, those not rejected, in percent. `null` until ten are decided.
    #[schema(value_type = Option<f64>, example = 97.5)]
    pub approval_rate: Option<Micros>,
    /// Days from a commission to its payment, the mean of 90 days. `null` until three were paid.
    #[schema(value_type = Option<f64>, example = 6.5)]
    pub days_to_pay: Option<Micros>,
    /// Whether the advertiser's wallet holds something, and at least what it owes to affiliates. This and the
    /// figures above are taken every five minutes.
    pub funded: bool,
    /// What to say beside a link: readers must know that you are paid.
    #[schema(example = "I earn a commission when you buy through this link.")]
    pub disclosure_text: String,
    /// Whether its place here was paid for. Always `false`: no place can be bought, in no list and no ranking.
    pub sponsored: bool,
    /// When it was made.
    pub created_at: At,
    /// When it last changed.
    pub updated_at: At,
}

/// An agent in few words.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentSummary {
    /// Its id.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Unique handle.
    pub handle: String,
}

impl From<Program> for ProgramResponse {
    fn from(program: Program) -> Self {
        let settings = program.settings;
        Self {
            id: program.id.uuid(),
            advertiser_id: program.advertiser_id.uuid(),
            advertiser: AgentSummary {
                id: program.advertiser_id.uuid(),
                name: program.advertiser_name,
                handle: program.advertiser_handle,
            },
            name: settings.name,
            description: settings.description,
            url: settings.url,
            niche: settings.niche,
            audience_type: settings.audience_type,
            commission_type: settings.commission.kind(),
            commission_value: settings.commission.value(),
            currency: "usd",
            approval_mode: settings.approval_mode,
            auto_approve_affiliates: settings.approval_mode == ApprovalMode::Auto,
            attribution_days: settings.attribution_days,
            hold_days: settings.hold_days,
            auto_approve_days: settings.auto_approve_days,
            pay_classes: settings.pay_classes.iter().map(|class| class.name()).collect(),
            dedup_seconds: settings.dedup_seconds,
            min_payout: settings.min_payout,
            click_id_param: settings.click_id_param,
            allowed_hosts: settings.allowed_hosts,
            status: program.status,
            affiliates: program.affiliates,
            epc: program.epc,
            // A hundredth of a percent is 10,000 millionths of one, a tenth of a day 100,000 of one.
            approval_rate: program.approval_bp.map(|bp| Micros(i64::from(bp).saturating_mul(10_000))),
            days_to_pay: program
                .days_to_pay_tenths
                .map(|tenths| Micros(i64::from(tenths).saturating_mul(100_000))),
            funded: program.funded,
            disclosure_text: settings.disclosure_text.unwrap_or_else(|| DISCLOSURE.to_owned()),
            sponsored: false,
            created_at: program.created_at.into(),
            updated_at: program.updated_at.into(),
        }
    }
}

/// What became of a deleted program.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeleteProgramResponse {
    /// The program's id.
    pub id: Uuid,
    /// Gone for good, with its partnerships and links.
    pub deleted: bool,
    /// Kept because of its conversions, closed for good.
    pub archived: bool,
}

/// Which programs, in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListProgramsQuery {
    /// Where they stand; all but archived ones when left out.
    #[param(inline)]
    pub status: Option<Status>,
    /// Their field, in any case of letters.
    #[param(max_length = 60, example = "saas")]
    pub niche: Option<String>,
    /// Whom they are for, in any case of letters.
    #[param(max_length = 60)]
    pub audience_type: Option<String>,
    /// How they pay.
    #[param(inline)]
    pub commission_type: Option<CommissionType>,
    /// At least this `commission_value`, percent or dollars.
    #[param(pattern = "^[0-9]{1,6}(\\.[0-9]{1,2})?$", example = "10")]
    pub min_commission: Option<String>,
    /// Programs of one agent.
    pub advertiser_id: Option<Uuid>,
    /// Words that name, niche or description have, or begin with; or a program's id, or its advertiser's id or
    /// handle.
    #[param(max_length = 200)]
    pub q: Option<String>,
    /// Order; `newest` when left out.
    #[param(inline)]
    pub sort: Option<Sort>,
    /// Page, from 1: `page` times `per_page` is 10,000 at most, go on by cursor.
    #[param(minimum = 1, maximum = 10000, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
    /// `pagination.next_cursor` of the page before, instead of `page`.
    #[param(pattern = "^[A-Za-z0-9_-]{44}$")]
    pub cursor: Option<String>,
}

impl ListProgramsQuery {
    /// The filter this asks for.
    pub fn filter(&self) -> Result<Filter> {
        let word = |field: &str, value: &Option<String>| {
            value.as_deref().map(|value| crate::text::line(field, value, 60)).transpose()
        };
        let min_commission = self.min_commission.as_deref().map(parse_min_commission).transpose()?;
        Ok(Filter {
            status: self.status,
            niche: word("niche", &self.niche)?,
            audience_type: word("audience_type", &self.audience_type)?,
            commission_type: self.commission_type,
            min_commission,
            advertiser_id: self.advertiser_id.map(AgentId::from_uuid),
            q: self.q.as_deref().map(|q| crate::text::line("q", q, 200)).transpose()?,
            sort: self.sort.unwrap_or(Sort::Newest),
        })
    }
}

/// Reads the number of `min_commission`.
pub fn parse_min_commission(text: &str) -> Result<Micros> {
    Micros::parse(text).filter(|value| *value >= Micros::ZERO).ok_or_else(|| {
        Error::invalid(
            "min_commission",
            "`min_commission` is not a number.",
            "Send `min_commission` as a plain decimal such as 10 or 12.5: percent or dollars, compared within each commission type.",
        )
    })
}
