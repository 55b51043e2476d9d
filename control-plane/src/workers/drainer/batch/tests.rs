//! Any order, any number of copies, any split into batches: each sequence once.

use super::*;
use proptest::prelude::*;
use shared::frame;
use shared::{ClickClass, LinkKey};

const SPOOL: Uuid = Uuid::from_u128(7);

fn click(seq: u64) -> Click<'static> {
    Click {
        at_ms: 1_795_000_000_000 + seq as i64,
        link: LinkKey(seq + 1),
        advertiser: 1,
        visitor: 0,
        class: ClickClass::Human,
        flags: 1,
        country: [0; 2],
        notes: &[],
    }
}

fn bytes(first_seq: u64, lost_before: u64, clicks: u64, last: bool) -> Vec<u8> {
    let header = FrameHeader { spool: SPOOL, edge: 1, first_seq, clock_ms: 0, lost_before, last };
    let clicks: Vec<_> = (first_seq..first_seq + clicks).map(click).collect();
    let mut out = Vec::new();
    frame::encode(&header, &clicks, &mut out);
    out
}

/// Applies frames one batch at a time; gives the sequences stored and the state reached.
fn apply(batches: &[Vec<&Vec<u8>>], state: SpoolState) -> (Vec<u64>, SpoolState) {
    let mut spools = BTreeMap::from([(SPOOL, state)]);
    let mut stored = Vec::new();
    for batch in batches {
        let items: Vec<_> = batch.iter().map(|bytes| Item::Frame(frame::decode(bytes).unwrap())).collect();
        let plan = plan(&items, &mut spools);
        for taken in &plan.taken {
            for (seq, taken) in (taken.first_seq..).zip(taken.clicks) {
                assert_eq!(taken.link, LinkKey(seq + 1), "a click stands at its sequence");
                stored.push(seq);
            }
        }
    }
    (stored, spools.remove(&SPOOL).unwrap())
}

fn balanced(state: &SpoolState) -> bool {
    state.watermark == state.stored + state.parked + state.declared_loss
}

prop_compose! {
    /// A spool cut into frames, some sequences lost, and a way to deliver it: indexes of frames.
    fn any_delivery()(cuts in prop::collection::vec((0u64..4, 0u64..6), 1..12))
        (order in prop::collection::vec(0..cuts.len(), 0..60), cuts in Just(cuts),
         batch in 1usize..7) -> (Vec<Vec<u8>>, Vec<u64>, Vec<usize>, usize) {
        let mut next = 0;
        let mut kept = Vec::new();
        let frames = cuts.iter().map(|(lost, clicks)| {
            let first = next + lost;
            kept.extend(first..first + clicks);
            next = first + clicks;
            bytes(first, *lost, *clicks, false)
        }).collect();
        (frames, kept, order, batch)
    }
}

proptest! {
    /// I15: any multiset of frames that contains each at least once, in any order, split in any way, is each
    /// once. The last round delivers all in order, as an edge does that goes on from the watermark.
    #[test]
    fn each_sequence_is_taken_once((frames, kept, order, batch) in any_delivery()) {
        let mut delivered: Vec<&Vec<u8>> = order.iter().map(|at| &frames[*at]).collect();
        delivered.extend(&frames);
        let batches: Vec<Vec<&Vec<u8>>> = delivered.chunks(batch).map(<[_]>::to_vec).collect();
        let (stored, state) = apply(&batches, SpoolState::default());
        prop_assert_eq!(stored, kept.clone());
        prop_assert_eq!(state.stored, kept.len() as u64);
        prop_assert!(balanced(&state), "{:?}", state);
    }
}

#[test]
fn an_overlap_gives_its_suffix() {
    let (first, longer) = (bytes(0, 0, 4, false), bytes(2, 0, 5, false));
    let (stored, state) = apply(&[vec![&first, &longer]], SpoolState::default());
    assert_eq!(stored, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(state.watermark, 7);
}

#[test]
fn a_gap_takes_nothing_until_it_is_filled() {
    let (first, second) = (bytes(0, 0, 3, false), bytes(3, 0, 3, false));
    let (stored, state) = apply(&[vec![&second, &second]], SpoolState::default());
    assert!(stored.is_empty() && state.watermark == 0);
    assert_eq!(apply(&[vec![&second], vec![&first], vec![&second]], SpoolState::default()).0.len(), 6);
}

#[test]
fn the_same_name_with_other_content_is_never_applied() {
    let mine = bytes(0, 0, 3, false);
    let header =
        FrameHeader { spool: SPOOL, edge: 1, first_seq: 0, clock_ms: 0, lost_before: 0, last: false };
    for clicks in [vec![click(9)], (0..9).map(click).collect()] {
        let mut other = Vec::new();
        frame::encode(&header, &clicks, &mut other);
        let mut spools = BTreeMap::from([(SPOOL, SpoolState::default())]);
        let items = [&mine, &other].map(|bytes| Item::Frame(frame::decode(bytes).unwrap()));
        let plan = plan(&items, &mut spools);
        assert_eq!((plan.clicks(), plan.conflicts), (3, 1));
        assert_eq!(plan.parked[0].counted, None, "its sequences are stored already");
        assert!(balanced(&spools[&SPOOL]));
    }
}

#[test]
fn a_parked_frame_is_passed_and_counted() {
    let first = bytes(0, 0, 2, false);
    let header =
        FrameHeader { spool: SPOOL, edge: 1, first_seq: 3, clock_ms: 0, lost_before: 1, last: false };
    let next = bytes(7, 0, 2, false);
    let items = [
        Item::Frame(frame::decode(&first).unwrap()),
        Item::Park { reason: "malformed", header: Some((header, 4)), moves: true },
        Item::Frame(frame::decode(&next).unwrap()),
        Item::Park { reason: "damaged", header: Some((header, 4)), moves: false },
        Item::Park { reason: "foreign", header: None, moves: false },
    ];
    let mut spools = BTreeMap::from([(SPOOL, SpoolState::default())]);
    let plan = plan(&items, &mut spools);
    let state = &spools[&SPOOL];
    assert_eq!((state.watermark, state.stored, state.parked, state.declared_loss), (9, 4, 4, 1));
    assert_eq!(
        plan.parked.iter().map(|parked| parked.counted).collect::<Vec<_>>(),
        [Some((3, 4)), None, None]
    );
}

#[test]
fn a_spool_is_finished_when_its_last_frame_fits() {
    let (all, last) = (bytes(0, 0, 3, false), bytes(3, 0, 0, true));
    assert!(!apply(&[vec![&last]], SpoolState::default()).1.finished, "clicks are missing before it");
    assert!(apply(&[vec![&all, &last]], SpoolState::default()).1.finished);
    assert!(apply(&[vec![&all], vec![&all], vec![&last]], SpoolState::default()).1.finished);
}
