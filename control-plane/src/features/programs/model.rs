//! What a program is: its terms, its states, and which step leads from one to the next.

use crate::error::{Code, Error, Result};
use crate::money::Micros;
use crate::named::named;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::click::ClassSet;
use shared::id::{AgentId, ProgramId};

named! {
    /// Where a program stands.
    Status as ProgramStatus {
        /// Open: its links are counted.
        Active = "active",
        /// At rest: its links redirect, uncounted.
        Paused = "paused",
        /// Closed for good: its links answer 410. Kept because of its conversions.
        Archived = "archived",
    }
}

named! {
    /// How a commission is computed.
    CommissionType {
        /// A share of a sale's revenue.
        Percentage = "percentage",
        /// So much for each lead or sale.
        Fixed = "fixed",
    }
}

named! {
    /// Whether affiliates are let in at once.
    ApprovalMode {
        /// At once.
        Auto = "auto",
        /// The advertiser decides on each.
        Manual = "manual",
    }
}

named! {
    /// Order of a list of programs, each downwards.
    Sort as ProgramSort {
        /// The youngest first.
        Newest = "newest",
        /// By the number in `commission_value`; percent and dollars are not converted.
        HighestCommission = "highest_commission",
        /// By approved affiliates.
        MostAffiliates = "most_affiliates",
        /// By earnings per click of the last 30 days.
        BestEpc = "best_epc",
    }
}

/// Which programs, in which order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Filter {
    /// Where they stand; all but archived ones when `None`.
    pub status: Option<Status>,
    /// Their field, in any case of letters.
    pub niche: Option<String>,
    /// Whom they are for, in any case of letters.
    pub audience_type: Option<String>,
    /// How they pay.
    pub commission_type: Option<CommissionType>,
    /// At least this number, percent or dollars.
    pub min_commission: Option<Micros>,
    /// Whose they are.
    pub advertiser_id: Option<AgentId>,
    /// Words they have.
    pub q: Option<String>,
    /// Order.
    pub sort: Sort,
}

/// Words of a search at most; the rest is not looked at.
const SEARCH_WORDS_MAX: usize = 10;

impl Filter {
    /// The search in PostgreSQL's words: every word of `q` must be there or begin a word that is.
    pub fn search(&self) -> Option<String> {
        let words = self.q.as_deref()?.split(|letter: char| !letter.is_alphanumeric());
        let words = words.filter(|word| !word.is_empty()).take(SEARCH_WORDS_MAX);
        Some(words.map(|word| format!("'{word}':*")).collect::<Vec<_>>().join(" & "))
    }
}

/// What a conversion earns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commission {
    /// Hundredths of a percent of a sale's revenue, 0 to 10,000.
    Percentage(i32),
    /// So much for each lead or sale.
    Fixed(Micros),
}

/// Millionths of a percent in a hundredth of one.
const MICROS_PER_BASIS_POINT: i64 = 10_000;
/// What one lead or sale may pay at most, in dollars.
pub const FIXED_MAX: i64 = 100_000;

impl Commission {
    /// Reads type and number as the API has them.
    pub fn new(kind: CommissionType, value: Micros) -> Result<Self> {
        match kind {
            CommissionType::Percentage => {
                let bp = value.0.checked_div(MICROS_PER_BASIS_POINT).and_then(|bp| i32::try_from(bp).ok());
                bp.filter(|bp| (0..=10_000).contains(bp) && value.0.rem_euclid(MICROS_PER_BASIS_POINT) == 0)
                    .map(Self::Percentage)
                    .ok_or_else(|| {
                        Error::invalid(
                            "commission_value",
                            format!("{value} is not a percentage."),
                            "Send `commission_value` from 0 to 100 with at most two decimals, such as 20 or 12.5, or `commission_type` `fixed` for dollars.",
                        )
                    })
            }
            CommissionType::Fixed => dollars("commission_value", value, FIXED_MAX).map(Self::Fixed),
        }
    }

    /// What the three columns of a commission mean; a check constraint keeps them in step.
    pub fn from_columns(kind: CommissionType, rate_bp: Option<i32>, fixed_micros: Option<i64>) -> Self {
        match kind {
            CommissionType::Percentage => Self::Percentage(rate_bp.unwrap_or_default()),
            CommissionType::Fixed => Self::Fixed(Micros(fixed_micros.unwrap_or_default())),
        }
    }

    /// Which kind.
    pub const fn kind(self) -> CommissionType {
        match self {
            Self::Percentage(_) => CommissionType::Percentage,
            Self::Fixed(_) => CommissionType::Fixed,
        }
    }

    /// The number as the API shows it: percent or dollars.
    pub fn value(self) -> Micros {
        match self {
            Self::Percentage(bp) => Micros(i64::from(bp).saturating_mul(MICROS_PER_BASIS_POINT)),
            Self::Fixed(amount) => amount,
        }
    }
}

/// An amount of dollars and whole cents from 0 to `max`.
pub fn dollars(field: &str, value: Micros, max: i64) -> Result<Micros> {
    if value < Micros::ZERO
        || value > Micros(max.saturating_mul(crate::money::MICROS))
        || value.whole_cents().is_none()
    {
        return Err(Error::invalid(
            field,
            format!("`{field}` is {value}."),
            format!(
                "Send `{field}` in dollars, from 0 to {max} with at most two decimals, such as 25 or 9.99."
            ),
        ));
    }
    Ok(value)
}

/// What the advertiser decides about a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// What it offers.
    pub description: Option<String>,
    /// The advertiser's site.
    pub url: Option<String>,
    /// Its field.
    pub niche: Option<String>,
    /// Whom it is for.
    pub audience_type: Option<String>,
    /// What a conversion earns.
    pub commission: Commission,
    /// Whether affiliates are let in at once.
    pub approval_mode: ApprovalMode,
    /// Days after a click in which a conversion is credited to it.
    pub attribution_days: i32,
    /// Days a commission is kept back before it can be paid out.
    pub hold_days: i32,
    /// Days after which a conversion left pending approves itself.
    pub auto_approve_days: i32,
    /// Classes of clicks that are metered and credited.
    pub pay_classes: ClassSet,
    /// Window in which a repeat by the same visitor is a duplicate.
    pub dedup_seconds: i32,
    /// Payouts below this wait.
    pub min_payout: Micros,
    /// Query parameter of destinations that gets the click's id.
    pub click_id_param: Option<String>,
    /// Hosts that links may lead to; empty: the host of `url`.
    pub allowed_hosts: Vec<String>,
    /// What affiliates are asked to say beside a link.
    pub disclosure_text: Option<String>,
}

impl Settings {
    /// Whether edges must hear of a change from `self` to `next`.
    pub fn differs_at_the_edge(&self, next: &Self) -> bool {
        self.pay_classes != next.pay_classes
            || self.dedup_seconds != next.dedup_seconds
            || self.click_id_param != next.click_id_param
    }

    /// The hosts that links may lead to; none: every host.
    pub fn host_rules(&self) -> Vec<String> {
        super::hosts::rules(&self.allowed_hosts, self.url.as_deref())
    }
}

/// An affiliate program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its id.
    pub id: ProgramId,
    /// Its number on the wire.
    pub number: i32,
    /// Whose it is.
    pub advertiser_id: AgentId,
    /// The owner's name.
    pub advertiser_name: String,
    /// The owner's handle.
    pub advertiser_handle: String,
    /// What the advertiser decided.
    pub settings: Settings,
    /// Where it stands.
    pub status: Status,
    /// Approved affiliates.
    pub affiliates: i32,
    /// What a counted click of the last 30 days earned on average.
    pub epc: Option<Micros>,
    /// Decided conversions that were not rejected, in hundredths of a percent.
    pub approval_bp: Option<i32>,
    /// From a commission to its payment, in tenths of a day.
    pub days_to_pay_tenths: Option<i32>,
    /// Whether the advertiser's wallet covers what it owes to affiliates.
    pub funded: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Program {
    /// Refuses everybody but the owner. Programs are public, so a stranger hears that it is not theirs.
    pub fn owned_by(&self, caller: AgentId) -> Result<()> {
        if self.advertiser_id == caller {
            return Ok(());
        }
        Err(Error::new(
            Code::NotOwner,
            "This program belongs to another agent.",
            "Use the key of the program's advertiser, or one of your own programs: GET /api/programs?advertiser_id=YOUR_AGENT_ID.",
        ))
    }

    /// Refuses what an archived program can't do any more.
    pub fn not_archived(&self) -> Result<()> {
        if self.status != Status::Archived {
            return Ok(());
        }
        Err(Error::new(
            Code::InvalidState,
            "The program is archived, which is final.",
            "Create a new program with POST /api/programs.",
        ))
    }

    /// The state after a pause.
    pub fn paused(&self) -> Result<Status> {
        self.not_archived()?;
        if self.status == Status::Paused {
            return Err(Error::new(
                Code::AlreadyPaused,
                "The program is already paused.",
                "Nothing is to do. To open it again: POST /api/programs/:id/activate.",
            ));
        }
        Ok(Status::Paused)
    }

    /// The state after an activation.
    pub fn activated(&self) -> Result<Status> {
        self.not_archived()?;
        if self.status == Status::Active {
            return Err(Error::new(
                Code::AlreadyActive,
                "The program is already active.",
                "Nothing is to do. To pause it: POST /api/programs/:id/pause.",
            ));
        }
        Ok(Status::Active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commissions_are_exact() {
        let read = |kind, text: &str| Commission::new(kind, Micros::parse(text).unwrap());
        let percent = |text, bp| assert_eq!(read(CommissionType::Percentage, text).ok(), bp, "{text}");
        percent("20", Some(Commission::Percentage(2000)));
        percent("12.5", Some(Commission::Percentage(1250)));
        percent("0.01", Some(Commission::Percentage(1)));
        percent("0", Some(Commission::Percentage(0)));
        percent("100", Some(Commission::Percentage(10_000)));
        for bad in ["100.01", "-1", "0.001", "12.345", "9223372036854"] {
            percent(bad, None);
        }
        let fixed = |text, amount: Option<i64>| {
            assert_eq!(
                read(CommissionType::Fixed, text).ok(),
                amount.map(|micros| Commission::Fixed(Micros(micros))),
                "{text}"
            );
        };
        fixed("25", Some(25_000_000));
        fixed("9.99", Some(9_990_000));
        fixed("100000", Some(100_000_000_000));
        for bad in ["100000.01", "-0.01", "9.999", "9223372036854"] {
            fixed(bad, None);
        }
        assert_eq!(Commission::Percentage(1250).value().to_string(), "12.5");
    }
}
