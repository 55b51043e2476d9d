//! JSON shapes of partnerships.

use super::model::{Filter, Partnership, Status};
use crate::features::programs::model::{CommissionType, Status as ProgramStatus};
use crate::features::programs::wire::AgentSummary;
use crate::money::Micros;
use crate::time::At;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A step of a partnership.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"status": "approved"}))]
pub struct UpdatePartnershipRequest {
    /// The advertiser: `approved`, `rejected`, `suspended`, `cancelled`. The affiliate: `cancelled`.
    pub status: Step,
}

/// What a partnership can be made.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PartnershipStep)]
pub enum Step {
    /// By the advertiser, from `pending` or `suspended`.
    Approved,
    /// By the advertiser, from `pending`.
    Rejected,
    /// By the advertiser, from `approved`.
    Suspended,
    /// By either side, from any state, for good.
    Cancelled,
}

impl From<Step> for Status {
    fn from(step: Step) -> Self {
        match step {
            Step::Approved => Self::Approved,
            Step::Rejected => Self::Rejected,
            Step::Suspended => Self::Suspended,
            Step::Cancelled => Self::Cancelled,
        }
    }
}

/// An affiliate in a program.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartnershipResponse {
    /// Its id.
    pub id: Uuid,
    /// The program.
    pub program_id: Uuid,
    /// Who promotes.
    pub affiliate_id: Uuid,
    /// Who owns the program.
    pub advertiser_id: Uuid,
    /// Where it stands.
    pub status: Status,
    /// What the affiliate said when it joined.
    pub message: Option<String>,
    /// The program in few words.
    pub program: ProgramSummary,
    /// The affiliate in few words.
    pub affiliate: AgentSummary,
    /// When the affiliate joined.
    pub created_at: At,
    /// When it last changed.
    pub updated_at: At,
    /// When it was first approved.
    pub approved_at: Option<At>,
    /// When it was rejected or cancelled.
    pub ended_at: Option<At>,
}

/// A program in few words.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgramSummary {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The product's site.
    pub url: Option<String>,
    /// Where it stands.
    pub status: ProgramStatus,
    /// How it pays.
    pub commission_type: CommissionType,
    /// Percent or dollars.
    pub commission_value: Micros,
}

impl From<Partnership> for PartnershipResponse {
    fn from(partnership: Partnership) -> Self {
        Self {
            id: partnership.id.uuid(),
            program_id: partnership.program_id.uuid(),
            affiliate_id: partnership.affiliate_id.uuid(),
            advertiser_id: partnership.advertiser_id.uuid(),
            status: partnership.status,
            message: partnership.message,
            program: ProgramSummary {
                id: partnership.program_id.uuid(),
                name: partnership.program_name,
                url: partnership.program_url,
                status: partnership.program_status,
                commission_type: partnership.commission.kind(),
                commission_value: partnership.commission.value(),
            },
            affiliate: AgentSummary {
                id: partnership.affiliate_id.uuid(),
                name: partnership.affiliate_name,
                handle: partnership.affiliate_handle,
            },
            created_at: partnership.created_at.into(),
            updated_at: partnership.updated_at.into(),
            approved_at: partnership.approved_at.map(At::from),
            ended_at: partnership.ended_at.map(At::from),
        }
    }
}

/// Which partnerships, newest first.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListPartnershipsQuery {
    /// Where they stand.
    #[param(inline)]
    pub status: Option<Status>,
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

impl ListPartnershipsQuery {
    /// The filter this asks for.
    pub fn filter(&self) -> Filter {
        Filter { status: self.status }
    }
}
