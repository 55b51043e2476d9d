//! The state machine, move by move, and attribution.

use super::*;
use shared::LinkKey;

#[test]
fn every_move_is_allowed_or_refused_as_written() {
    use Decision as D;
    use Status as S;
    for from in S::ALL {
        for decision in [D::Approved, D::Rejected] {
            for in_payout in [false, true] {
                let allowed = match (from, decision, in_payout) {
                    (S::Pending, D::Approved, _) => Some(S::Approved),
                    (S::Pending, D::Rejected, _) | (S::Approved, D::Rejected, false) => Some(S::Rejected),
                    _ => None,
                };
                let decided = from.decide(decision, in_payout);
                assert_eq!(decided.as_ref().ok().copied(), allowed, "{from:?} {decision:?} {in_payout}");
                if let Err(error) = decided {
                    assert_eq!(error.code, Code::InvalidState);
                    assert_eq!(error.details["status"], from.as_str());
                }
            }
        }
    }
}

fn tracked() -> Tracked {
    Tracked {
        link_id: LinkId::generate(),
        token: "t".to_owned(),
        link_deleted: false,
        partnership_id: PartnershipId::generate(),
        partnership_status: "approved".to_owned(),
        program_id: ProgramId::generate(),
        program_status: "active".to_owned(),
        advertiser_id: AgentId::generate(),
        advertiser_number: 1,
        affiliate_id: AgentId::generate(),
        terms: Terms::Percentage { rate_bp: 2000 },
        attribution_days: 30,
        hold_days: 0,
        auto_approve_days: 45,
        pay_classes: ClassSet::DEFAULT,
    }
}

#[test]
fn a_click_earns_for_its_link_and_its_days() {
    let now = DateTime::from_timestamp(1_780_000_000, 0).unwrap();
    let click = |link, ago: TimeDelta| ClickId {
        at_ms: (now - ago).timestamp_millis(),
        spool_tag: 7,
        seq: 1,
        link: LinkKey(link),
    };
    let attribute =
        |link, ago| tracked().attribute(&click(link, ago), LinkKey(1), now).map_err(|error| error.code);
    assert_eq!(attribute(1, TimeDelta::days(1)), Ok(now - TimeDelta::days(1)));
    assert_eq!(attribute(1, TimeDelta::days(30)), Ok(now - TimeDelta::days(30)));
    assert_eq!(attribute(1, TimeDelta::days(30) + TimeDelta::milliseconds(1)), Err(Code::AttributionExpired));
    assert_eq!(attribute(2, TimeDelta::days(1)), Err(Code::InvalidValue));
    // An edge whose clock runs a little ahead.
    assert_eq!(attribute(1, TimeDelta::seconds(-5)), Ok(now));
}

#[test]
fn only_approved_partnerships_of_living_programs_are_credited() {
    let code = |tracked: Tracked| tracked.must_be_creditable().map_err(|error| error.code);
    assert_eq!(code(tracked()), Ok(()));
    assert_eq!(code(Tracked { program_status: "paused".to_owned(), ..tracked() }), Ok(()));
    assert_eq!(code(Tracked { program_status: "archived".to_owned(), ..tracked() }), Err(Code::InvalidState));
    for status in ["pending", "rejected", "suspended", "cancelled"] {
        let unapproved = Tracked { partnership_status: status.to_owned(), ..tracked() };
        assert_eq!(code(unapproved), Err(Code::NotApproved), "{status}");
    }
}
