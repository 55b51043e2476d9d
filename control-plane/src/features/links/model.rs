//! What a link is, what a click on it does, and what happened to it so far.

use crate::features::partnerships::model::{Side, Status as PartnershipStatus};
use crate::features::programs::model::Status as ProgramStatus;
use crate::named::named;
use chrono::{DateTime, Utc};
use shared::LinkKey;
use shared::click::ClickClass;
use shared::id::{AgentId, LinkId, PartnershipId, ProgramId};

named! {
    /// What a click on a link does.
    LinkStatus {
        /// Redirects and is counted.
        Active = "active",
        /// Redirects uncounted: the program is paused or the partnership not approved.
        Untracked = "untracked",
        /// Answers 410: the program is archived, or does not allow the destination's host any more.
        Gone = "gone",
    }
}

/// A tracking link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// The random bits that name it in tokens, frames and tables.
    pub key: LinkKey,
    /// Its token.
    pub token: String,
    /// For which partnership.
    pub partnership_id: PartnershipId,
    /// For which program.
    pub program_id: ProgramId,
    /// Whose it is.
    pub affiliate_id: AgentId,
    /// Who owns the program.
    pub advertiser_id: AgentId,
    /// Where it leads.
    pub destination_url: String,
    /// The affiliate's label.
    pub sub_id: Option<String>,
    /// The host it is reached under, when not ours.
    pub custom_domain: Option<String>,
    /// Since when its host is not allowed any more.
    pub blocked_at: Option<DateTime<Utc>>,
    /// Where the partnership stands.
    pub partnership_status: PartnershipStatus,
    /// Where the program stands.
    pub program_status: ProgramStatus,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Link {
    /// What a click on it does now.
    pub fn status(&self) -> LinkStatus {
        if self.program_status == ProgramStatus::Archived || self.blocked_at.is_some() {
            LinkStatus::Gone
        } else if self.program_status == ProgramStatus::Paused
            || self.partnership_status != PartnershipStatus::Approved
        {
            LinkStatus::Untracked
        } else {
            LinkStatus::Active
        }
    }

    /// Where visitors are sent: under the custom domain if it has one, else under ours.
    pub fn tracking_url(&self, tracking_origin: &str) -> String {
        match &self.custom_domain {
            Some(host) => format!("https://{host}/{}", self.token),
            None => format!("{tracking_origin}/api/track/{}", self.token),
        }
    }

    /// Which side an agent is on; `None` for a stranger, who may not know that it exists.
    pub fn side_of(&self, agent: AgentId) -> Option<Side> {
        if agent == self.advertiser_id {
            Some(Side::Advertiser)
        } else if agent == self.affiliate_id {
            Some(Side::Affiliate)
        } else {
            None
        }
    }
}

/// What happened to a link so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Clicks of the classes the program pays for, over any limit included.
    pub clicks: i64,
    /// Of those, clicks that were not billed because the link was far above its mean.
    pub capped: i64,
    /// All clicks, by class; classes without any are left out.
    pub by_class: Vec<(ClickClass, i64)>,
    /// Leads and sales, rejected ones left out.
    pub conversions: i64,
}
