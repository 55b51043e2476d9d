//! Plans and states.

use super::*;
use shared::id::ConversionId;

fn payable(affiliate: AgentId, amount: i64) -> Payable {
    Payable {
        id: CommissionId::generate(),
        conversion_id: ConversionId::generate(),
        affiliate_id: affiliate,
        amount_micros: Micros(amount),
    }
}

#[test]
fn what_was_taken_back_is_netted_off_and_small_sums_wait() {
    let [rich, poor, owing, even] = [(); 4].map(|()| AgentId::generate());
    let rows = [
        payable(rich, 30),
        payable(rich, -5),
        payable(poor, 9),
        payable(owing, 10),
        payable(owing, -11),
        payable(even, 4),
        payable(even, -4),
    ];
    let plan = Plan::of(&rows, Micros(10)).expect("in range");
    assert_eq!(plan.due.iter().map(|due| (due.affiliate, due.amount.0)).collect::<Vec<_>>(), [(rich, 25)]);
    assert_eq!(plan.due[0].commissions.len(), 2);
    let left: Vec<_> = plan.left.iter().map(|left| (left.affiliate, left.amount.0, left.reason)).collect();
    assert_eq!(
        left,
        [
            (poor, 9, LeftReason::BelowMinPayout),
            (owing, -1, LeftReason::NothingDue),
            (even, 0, LeftReason::NothingDue)
        ]
    );
    assert_eq!(plan.total(), Ok(Micros(25)));
}

#[test]
fn a_token_names_one_plan_whatever_order_the_rows_came_in() {
    let (one, two) = (AgentId::generate(), AgentId::generate());
    let program = ProgramId::generate();
    let mut rows = vec![payable(one, 30), payable(two, 10), payable(one, 5)];
    let token =
        |rows: &[Payable], method| Plan::of(rows, Micros::ZERO).expect("in range").token(program, method);
    let first = token(&rows, Method::Wallet);
    rows.reverse();
    assert_eq!(token(&rows, Method::Wallet), first);
    assert_ne!(token(&rows, Method::Usdc), first);
    rows[0].amount_micros = Micros(6);
    assert_ne!(token(&rows, Method::Wallet), first);
    rows[0].amount_micros = Micros(5);
    rows[0].id = CommissionId::generate();
    assert_ne!(token(&rows, Method::Wallet), first);
}

#[test]
fn states_only_move_on() {
    for from in Status::ALL {
        for to in Status::ALL {
            let done = matches!(from, Status::Paid | Status::Failed);
            let back = *to == Status::AwaitingFunds || from == to;
            let jump = (*from, *to) == (Status::AwaitingFunds, Status::Processing)
                || (*from, *to) == (Status::Processing, Status::Pending);
            assert_eq!(from.may_become(*to), !done && !back && !jump, "{from:?} {to:?}");
        }
    }
}

#[test]
fn one_call_pays_a_thousand_affiliates() {
    let rows: Vec<_> = (0..1_003).map(|_| payable(AgentId::generate(), 1)).collect();
    let plan = Plan::of(&rows, Micros::ZERO).expect("in range");
    assert_eq!((plan.due.len(), plan.left.len()), (1_000, 3));
    assert!(plan.left.iter().all(|left| left.reason == LeftReason::NextCall));
}
