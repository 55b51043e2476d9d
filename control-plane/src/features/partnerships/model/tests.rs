//! Every step between two states, by either side.

use super::*;
use crate::money::Micros;

const ALL: [Status; 5] =
    [Status::Pending, Status::Approved, Status::Rejected, Status::Suspended, Status::Cancelled];

fn partnership(status: Status) -> Partnership {
    Partnership {
        id: PartnershipId::generate(),
        program_id: ProgramId::generate(),
        affiliate_id: AgentId::generate(),
        advertiser_id: AgentId::generate(),
        status,
        message: None,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        approved_at: None,
        ended_at: None,
        affiliate_name: String::new(),
        affiliate_handle: String::new(),
        program_name: String::new(),
        program_url: None,
        program_status: ProgramStatus::Active,
        commission: Commission::Fixed(Micros::ZERO),
    }
}

#[test]
fn only_these_steps_exist() {
    let mut allowed = Vec::new();
    for from in ALL {
        for to in ALL {
            match partnership(from).step(to) {
                Ok(next) => allowed.push(format!("{from} > {next}")),
                Err(error) => assert_eq!(error.code, Code::InvalidState),
            }
        }
    }
    assert_eq!(
        allowed,
        [
            "pending > approved",
            "pending > rejected",
            "pending > cancelled",
            "approved > suspended",
            "approved > cancelled",
            "rejected > cancelled",
            "suspended > approved",
            "suspended > cancelled",
        ]
    );
}

#[test]
fn an_affiliate_only_cancels() {
    for to in ALL {
        assert!(Partnership::may_set(Side::Advertiser, to).is_ok());
        assert_eq!(Partnership::may_set(Side::Affiliate, to).is_ok(), to == Status::Cancelled, "{to}");
    }
}

#[test]
fn an_archived_program_takes_nobody() {
    for (from, to, ok) in [
        (Status::Pending, Status::Approved, false),
        (Status::Suspended, Status::Approved, false),
        (Status::Pending, Status::Rejected, true),
        (Status::Approved, Status::Cancelled, true),
    ] {
        let archived = Partnership { program_status: ProgramStatus::Archived, ..partnership(from) };
        assert_eq!(archived.step(to).is_ok(), ok, "{from} > {to}");
    }
}

#[test]
fn sides() {
    let partnership = partnership(Status::Pending);
    assert_eq!(partnership.side_of(partnership.advertiser_id), Some(Side::Advertiser));
    assert_eq!(partnership.side_of(partnership.affiliate_id), Some(Side::Affiliate));
    assert_eq!(partnership.side_of(AgentId::generate()), None);
}
