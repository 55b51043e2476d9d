//! What a partnership is, and which step of whom leads from one state to the next.

use crate::error::{Code, Error, Result};
use crate::features::programs::model::{Commission, Status as ProgramStatus};
use crate::features::webhooks::event::PartnershipObject;
use crate::named::named;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::id::{AgentId, PartnershipId, ProgramId};

named! {
    /// Where a partnership stands.
    Status as PartnershipStatus {
        /// The advertiser has not decided yet.
        Pending = "pending",
        /// Links are counted and conversions credited.
        Approved = "approved",
        /// The advertiser declined.
        Rejected = "rejected",
        /// Halted by the advertiser: links redirect, uncounted.
        Suspended = "suspended",
        /// Ended by either side, for good. The affiliate may join again.
        Cancelled = "cancelled",
    }
}

/// Which side of a partnership an agent is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Owns the program.
    Advertiser,
    /// Promotes it.
    Affiliate,
}

/// An affiliate in a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partnership {
    /// Its id.
    pub id: PartnershipId,
    /// The program.
    pub program_id: ProgramId,
    /// Who promotes.
    pub affiliate_id: AgentId,
    /// Who owns the program.
    pub advertiser_id: AgentId,
    /// Where it stands.
    pub status: Status,
    /// What the affiliate said when it joined.
    pub message: Option<String>,
    /// When the affiliate joined.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was first approved.
    pub approved_at: Option<DateTime<Utc>>,
    /// When it was rejected or cancelled.
    pub ended_at: Option<DateTime<Utc>>,
    /// The affiliate's name.
    pub affiliate_name: String,
    /// The affiliate's handle.
    pub affiliate_handle: String,
    /// The program's name.
    pub program_name: String,
    /// The program's address.
    pub program_url: Option<String>,
    /// Where the program stands.
    pub program_status: ProgramStatus,
    /// What the program pays.
    pub commission: Commission,
}

/// Which partnerships.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Filter {
    /// Where they stand.
    pub status: Option<Status>,
}

impl Partnership {
    /// What its events say.
    pub fn as_event(&self) -> PartnershipObject {
        PartnershipObject {
            id: self.id,
            status: self.status.as_str().to_owned(),
            program_id: self.program_id,
            program_name: self.program_name.clone(),
            advertiser_id: self.advertiser_id,
            affiliate_id: self.affiliate_id,
            affiliate_name: self.affiliate_name.clone(),
            affiliate_handle: self.affiliate_handle.clone(),
            message: self.message.clone(),
            created_at: self.created_at.into(),
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

    /// Refuses a step that is the other side's. The advertiser approves, rejects and suspends; either
    /// side cancels.
    pub fn may_set(side: Side, to: Status) -> Result<()> {
        if side == Side::Advertiser || to == Status::Cancelled {
            return Ok(());
        }
        Err(Error::new(
            Code::NotOwner,
            "Only the program's advertiser can decide on a partnership.",
            "Wait for the advertiser; as the affiliate you can leave with {\"status\":\"cancelled\"}.",
        ))
    }

    /// Refuses a step that this state does not allow.
    pub fn step(&self, to: Status) -> Result<Status> {
        use Status::{Approved, Cancelled, Pending, Rejected, Suspended};
        let allowed = matches!(
            (self.status, to),
            (Pending, Approved | Rejected)
                | (Approved, Suspended)
                | (Suspended, Approved)
                | (Pending | Approved | Suspended | Rejected, Cancelled)
        );
        if !allowed {
            let next = match self.status {
                Pending => "Allowed now: `approved`, `rejected`, `cancelled`.",
                Approved => "Allowed now: `suspended`, `cancelled`.",
                Suspended => "Allowed now: `approved`, `cancelled`.",
                Rejected => "Allowed now: `cancelled`, after which the affiliate can join again.",
                Cancelled => {
                    "It is final; the affiliate can join again with POST /api/network/join/:program_id."
                }
            };
            return Err(Error::new(
                Code::InvalidState,
                format!("The partnership is {} and cannot become {to}.", self.status),
                next,
            )
            .with("status", self.status.as_str()));
        }
        if to == Approved && self.program_status == ProgramStatus::Archived {
            return Err(Error::new(
                Code::InvalidState,
                "The program is archived and takes no affiliates.",
                "Send {\"status\":\"rejected\"} or {\"status\":\"cancelled\"} instead.",
            ));
        }
        Ok(to)
    }
}

#[cfg(test)]
#[path = "model/tests.rs"]
mod tests;
