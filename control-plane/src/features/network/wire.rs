//! JSON shapes of the network.

use crate::error::Result;
use crate::features::partnerships::model::Status as PartnershipStatus;
use crate::features::programs::model::{CommissionType, Filter, Sort, Status};
use crate::features::programs::wire::{ListProgramsQuery, ProgramResponse};
use crate::money::Micros;
use crate::time::At;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A wish to promote a program.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"message": "I can promote this to AI founders"}))]
pub struct JoinRequest {
    /// A word to the advertiser, at most 1,000 characters.
    #[schema(max_length = 1000)]
    pub message: Option<String>,
}

/// Which active programs, in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiscoverQuery {
    /// Their field, in any case of letters.
    #[param(max_length = 60, example = "saas")]
    pub niche: Option<String>,
    /// Whom they are for, in any case of letters.
    #[param(max_length = 60)]
    pub audience_type: Option<String>,
    /// How they pay.
    #[param(inline)]
    pub commission_type: Option<CommissionType>,
    /// At least this `commission_value`: percent for percentages, dollars for fixed ones.
    #[param(pattern = "^[0-9]{1,6}(\\.[0-9]{1,2})?$", example = "10")]
    pub min_commission: Option<String>,
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

impl DiscoverQuery {
    /// The filter this asks for: active programs only.
    pub fn filter(&self) -> Result<Filter> {
        ListProgramsQuery {
            status: Some(Status::Active),
            niche: self.niche.clone(),
            audience_type: self.audience_type.clone(),
            commission_type: self.commission_type,
            min_commission: self.min_commission.clone(),
            q: self.q.clone(),
            sort: self.sort,
            ..ListProgramsQuery::default()
        }
        .filter()
    }
}

/// A program to join. The last three members are there when the request had a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct DiscoveredProgram {
    /// The program.
    #[serde(flatten)]
    pub program: ProgramResponse,
    /// Whether the caller has a partnership with it that is not cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<bool>,
    /// Where that partnership stands; `null` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PartnershipStatus>)]
    pub partnership_status: Option<Option<PartnershipStatus>>,
    /// That partnership's id; `null` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub partnership_id: Option<Option<Uuid>>,
}

/// The fields of active programs.
#[derive(Debug, Serialize, ToSchema)]
pub struct NichesResponse {
    /// The niches, those with most programs first.
    pub data: Vec<Niche>,
}

/// A field with active programs.
#[derive(Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Niche {
    /// Its name, in small letters.
    #[schema(example = "saas")]
    pub niche: String,
    /// Active programs in it.
    pub programs: i64,
    /// Approved affiliates of those programs.
    pub affiliates: i64,
}

/// The network in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsResponse {
    /// Accounts.
    pub agents: i64,
    /// Active programs.
    pub active_programs: i64,
    /// Agents with an active program.
    pub advertisers: i64,
    /// Approved partnerships.
    pub partnerships: i64,
    /// Niches with an active program.
    pub niches: i64,
    /// Counted clicks of the last 30 days.
    pub clicks: i64,
    /// Leads and sales of the last 30 days, rejected ones left out.
    pub conversions: i64,
    /// What they earned affiliates.
    pub commissions: Micros,
    /// Currency of amounts.
    #[schema(example = "usd")]
    pub currency: &'static str,
    /// When the figures of the last 30 days were taken.
    pub as_of: At,
}
