//! Rules of matching, by cases.

use super::*;
use proptest::prelude::*;
use uuid::Uuid;

fn now() -> DateTime<Utc> {
    "2026-06-15T12:00:00Z".parse().expect("an instant")
}

fn candidate(number: u128) -> Candidate {
    Candidate {
        id: ProgramId::from_uuid(Uuid::from_u128(number)),
        niche: None,
        audience_type: None,
        commission: Micros(20_000_000),
        percentage: true,
        epc: Some(Micros(100_000)),
        approval_bp: None,
        days_to_pay_tenths: None,
        funded: false,
        open: false,
        created_at: now() - TimeDelta::days(100),
        shared: Vec::new(),
    }
}

fn profile() -> Profile {
    Profile::new(Some("SaaS"), Some("b2b"), &[Some("Invoices for founders, invoices!"), None])
}

fn stems(words: &[(&str, &str)]) -> Stems {
    Stems(words.iter().map(|(word, stem)| ((*word).to_owned(), (*stem).to_owned())).collect())
}

fn order(candidates: &[Candidate]) -> Vec<u128> {
    let found = rank(&profile(), &stems(&[("invoices", "invoic")]), candidates, now());
    found.iter().map(|one| one.id.uuid().as_u128()).collect()
}

#[test]
fn words_are_small_letters_each_once() {
    assert_eq!(profile().words, ["saas", "invoices", "for", "founders"]);
    let long = "a bb ".to_owned() + &"x".repeat(41) + " Ünï";
    assert_eq!(Profile::new(None, None, &[Some(&long)]).words, ["bb", "ünï"]);
    let many = (10..99).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(Profile::new(None, None, &[Some(&many)]).words.len(), WORDS_MAX);
}

#[test]
fn every_part_moves_a_program_up() {
    let better: [fn(&mut Candidate); 8] = [
        |one| one.niche = Some("saas".to_owned()),
        |one| one.audience_type = Some("B2B".to_owned()),
        |one| one.shared = vec!["invoic".to_owned()],
        |one| one.epc = Some(Micros(200_000)),
        |one| one.approval_bp = Some(9_900),
        |one| one.days_to_pay_tenths = Some(5),
        |one| one.funded = true,
        |one| one.open = true,
    ];
    for (part, change) in better.into_iter().enumerate() {
        let mut second = candidate(2);
        change(&mut second);
        assert_eq!(order(&[candidate(1), second]), [2, 1], "part {part}");
    }
    assert_eq!(order(&[candidate(2), candidate(1)]), [1, 2], "equal ones stay in the order of their ids");
}

#[test]
fn rare_words_weigh_more_than_common_ones() {
    let stems = stems(&[("invoices", "invoic"), ("best", "best")]);
    let with = |number, stem: &str| Candidate { shared: vec![stem.to_owned()], ..candidate(number) };
    let candidates = [with(1, "best"), with(2, "best"), with(3, "best"), with(4, "invoic")];
    let found = rank(&profile(), &stems, &candidates, now());
    assert_eq!(found[0].id, candidates[3].id);
    assert!(found[0].reasons.contains(&"Shared words: invoices".to_owned()), "{:?}", found[0].reasons);
}

#[test]
fn one_place_of_five_goes_to_a_program_nobody_has_measured() {
    let mut candidates: Vec<Candidate> =
        (1..=12).map(|number| Candidate { niche: Some("saas".to_owned()), ..candidate(number) }).collect();
    candidates.push(Candidate { epc: None, ..candidate(100) });
    let found = rank(&profile(), &Stems::default(), &candidates, now());
    let places: Vec<u128> = found.iter().map(|one| one.id.uuid().as_u128()).collect();
    assert_eq!(places, [1, 2, 3, 4, 100, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert!(found.iter().all(|one| one.exploration == (one.id.uuid().as_u128() == 100)));
}

#[test]
fn an_answer_is_given_once() {
    let suggestion = |status| Suggestion {
        id: SuggestionId::from_uuid(Uuid::nil()),
        agent_id: AgentId::from_uuid(Uuid::nil()),
        program_id: ProgramId::from_uuid(Uuid::nil()),
        score: 0.5,
        reasons: Vec::new(),
        status,
        created_at: now(),
        responded_at: None,
    };
    use SuggestionStatus::{Accepted, Declined, Pending};
    let check = |status, decision, takes: Option<bool>| {
        assert_eq!(suggestion(status).takes(decision).ok(), takes, "{status} {decision}");
    };
    check(Pending, Decision::Accept, Some(true));
    check(Pending, Decision::Decline, Some(true));
    check(Accepted, Decision::Accept, Some(false));
    check(Accepted, Decision::Decline, None);
    check(Declined, Decision::Decline, Some(false));
    check(Declined, Decision::Accept, None);
}

proptest! {
    #[test]
    fn scores_are_0_to_1_and_nothing_is_lost(
        rows in prop::collection::vec((any::<Option<i64>>(), any::<Option<i32>>(), any::<Option<i32>>(), any::<bool>(), 0..3_usize), 0..60)
    ) {
        let words = ["invoic", "founder", "best"];
        let candidates: Vec<Candidate> = rows.iter().enumerate().map(|(at, (epc, approval, days, flag, shared))| Candidate {
            epc: epc.map(Micros),
            approval_bp: approval.map(|bp| bp.rem_euclid(10_001)),
            days_to_pay_tenths: days.map(|days| days & i32::MAX),
            funded: *flag,
            open: !*flag,
            shared: words[..*shared].iter().map(|word| (*word).to_owned()).collect(),
            ..candidate(at as u128)
        }).collect();
        let found = rank(&profile(), &Stems::default(), &candidates, now());
        let ids: BTreeSet<_> = found.iter().map(|one| one.id.uuid()).collect();
        prop_assert_eq!(ids.len(), candidates.len());
        for one in &found {
            prop_assert!((0.0..=1.0).contains(&one.score) && !one.reasons.is_empty());
        }
    }
}
