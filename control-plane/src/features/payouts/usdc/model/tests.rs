//! What is done about a transfer, case by case.

use super::*;
use proptest::prelude::*;

const NOW: &str = "2026-06-15T12:00:00Z";

fn policy() -> Policy {
    Policy { confirmations: 3, stuck_after: TimeDelta::seconds(60), fee_max: 1_000, open_max: 4 }
}

fn transfer(state: State, block_hash: Option<&str>) -> Transfer {
    Transfer {
        payout_id: PayoutId::generate(),
        advertiser_id: AgentId::generate(),
        nonce: 7,
        recipient: String::new(),
        amount_micros: Micros(1),
        state,
        block_hash: block_hash.map(str::to_owned),
    }
}

fn mined(block: u64, hash: &str, outcome: Outcome) -> Mined {
    Mined { hash: TxHash("0x1".to_owned()), block_number: block, block_hash: hash.to_owned(), outcome }
}

/// The step for a transfer whose newest version was signed `age` seconds ago.
fn step(transfer: &Transfer, seen: &Seen, head: u64, age: i64) -> Step {
    let now: DateTime<Utc> = NOW.parse().unwrap();
    let newest = Transaction {
        hash: TxHash("0x1".to_owned()),
        payout_id: transfer.payout_id,
        version: 0,
        raw: Vec::new(),
        gas: 1,
        fee_wei: 1,
        tip_wei: 1,
        signed_at: now - TimeDelta::seconds(age),
    };
    transfer.step(seen, head, &newest, now, &policy())
}

#[test]
fn outside_a_block_it_is_sent_again_replaced_or_waited_for() {
    for state in [State::Signed, State::Unknown, State::Submitted] {
        let transfer = transfer(state, None);
        assert_eq!(step(&transfer, &Seen::Nowhere, 9, 59), Step::SendAgain);
        assert_eq!(step(&transfer, &Seen::Nowhere, 9, 60), Step::Replace);
        assert_eq!(step(&transfer, &Seen::Waiting, 9, 60), Step::Replace);
        let expected = if state == State::Submitted { Step::Wait } else { Step::Arrived };
        assert_eq!(step(&transfer, &Seen::Waiting, 9, 59), expected);
    }
    for state in [State::Mined, State::Confirmed] {
        for seen in [Seen::Nowhere, Seen::Waiting] {
            assert_eq!(step(&transfer(state, Some("a")), &seen, 9, 999), Step::Reorganised);
        }
    }
}

#[test]
fn in_a_block_it_is_final_at_the_third_confirmation_and_not_before() {
    let fresh = transfer(State::Submitted, None);
    let known = transfer(State::Mined, Some("a"));
    let at = |head, outcome| (head, Seen::Mined(mined(10, "a", outcome)));
    for head in [9, 10, 11] {
        for outcome in [Outcome::Moved, Outcome::Reverted, Outcome::Strange] {
            let (head, seen) = at(head, outcome);
            assert_eq!(step(&fresh, &seen, head, 999), Step::Mined(mined(10, "a", outcome)));
            assert_eq!(step(&known, &seen, head, 999), Step::Wait);
        }
    }
    let (head, moved) = at(12, Outcome::Moved);
    assert_eq!(step(&known, &moved, head, 0), Step::Settle(mined(10, "a", Outcome::Moved)));
    assert_eq!(step(&fresh, &moved, head, 0), Step::Settle(mined(10, "a", Outcome::Moved)));
    let (head, reverted) = at(12, Outcome::Reverted);
    assert_eq!(step(&known, &reverted, head, 0), Step::Fail(mined(10, "a", Outcome::Reverted)));
    let (head, strange) = at(12, Outcome::Strange);
    assert_eq!(step(&known, &strange, head, 0), Step::Alarm(mined(10, "a", Outcome::Strange)));
    // Final, and looked at again: nothing to do, unless it is in another block now.
    let done = transfer(State::Confirmed, Some("a"));
    assert_eq!(step(&done, &moved, 12, 0), Step::Wait);
    assert_eq!(step(&done, &moved, 11, 0), Step::Wait);
    let elsewhere = mined(11, "b", Outcome::Moved);
    assert_eq!(step(&done, &Seen::Mined(elsewhere.clone()), 11, 0), Step::Mined(elsewhere.clone()));
    assert_eq!(step(&done, &Seen::Mined(elsewhere.clone()), 13, 0), Step::Settle(elsewhere));
}

#[test]
fn the_furthest_version_counts() {
    let block = || Seen::Mined(mined(1, "a", Outcome::Moved));
    let check = |all: Vec<Seen>, expected: Seen| assert_eq!(furthest(all), expected);
    check(vec![], Seen::Nowhere);
    check(vec![Seen::Nowhere, Seen::Waiting], Seen::Waiting);
    check(vec![Seen::Waiting, Seen::Nowhere], Seen::Waiting);
    check(vec![Seen::Nowhere, block(), Seen::Waiting], block());
}

proptest! {
    #[test]
    fn a_raised_fee_replaces_the_old_one_and_stays_below_the_limit(
        fee in 1..2_000_u64, tip in 0..2_000_u64, asked_fee in 0..2_000_u64, asked_tip in 0..2_000_u64,
    ) {
        let old = Fees { fee: fee.max(tip), tip };
        let asked = Fees { fee: asked_fee.max(asked_tip), tip: asked_tip };
        match old.raised(asked, 1_500) {
            Some(new) => {
                // A tenth is what nodes ask for.
                prop_assert!(new.fee * 10 >= old.fee * 11 && new.tip * 10 >= old.tip * 11 && new.tip > old.tip);
                prop_assert!(new.fee >= asked.fee && new.tip >= asked.tip && new.fee >= new.tip && new.fee <= 1_500);
            }
            None => prop_assert!(old.fee + old.fee.div_ceil(8) > 1_500 || asked.fee > 1_500 || old.tip + old.tip.div_ceil(8) > 1_500),
        }
    }
}

#[test]
fn states_are_their_words() {
    for state in State::ALL {
        assert_eq!(State::try_from(state.as_str().to_owned()).unwrap(), *state);
    }
    assert!(State::try_from("lost".to_owned()).is_err());
}
