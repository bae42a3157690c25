//! What would survive, told from the platter.

use proptest::prelude::*;

use super::super::judge::Judge;
use super::rig::{self, Rig, content, index};
use super::*;

#[test]
fn a_group_counts_once_it_is_synced_and_whole() {
    let mut rig = Rig::new();
    rig.check();
    rig.append(&[100, 5000, 20]);
    rig.check();
    let before = rig.expected();
    rig.write(None, &[5000, 9000]);
    assert_eq!(Rig::survivors(&rig.disk), before);
    // Of its four blocks one is lost.
    for lost in 0..4 {
        let disk = rig.disk.duplicate();
        let mut block = 0;
        disk.power_cut(&mut |bound| {
            block += 1;
            u64::from(block != lost + 1).min(bound - 1)
        });
        assert_eq!(Rig::survivors(&disk), before, "without {lost}");
    }
    rig.disk.power_cut(&mut |bound| bound - 1);
    rig.check();
}

#[test]
fn term_and_vote_are_those_of_the_last_group_unless_meta_has_higher_ones() {
    let mut rig = Rig::new();
    rig.vote(3, 2);
    rig.check();
    rig.vote(4, 0);
    rig.check();
    rig.hard_state =
        crate::raft::HardState { voted_for: crate::types::NodeId::new(1), ..rig.hard_state };
    rig.note();
    rig.check();
}

#[test]
fn what_was_removed_is_gone_and_what_took_its_place_counts() {
    let mut rig = Rig::new();
    rig.append(&[1, 2, 3]);
    rig.begin_file(None);
    rig.append(&[4]);
    rig.write(Some(3), &[5, 6]);
    rig.sync();
    rig.check();
    rig.write(Some(2), &[]);
    rig.sync();
    rig.check();
    rig.append(&[7]);
    rig.check();
    // What is needed begins behind entries that were removed since.
    rig.seal(1, 1000, 2);
    rig.check();
}

#[test]
fn sealed_entries_are_in_segments_and_the_others_in_the_journal() {
    let mut rig = Rig::new();
    rig.append(&[100; 30]);
    rig.append(&[5000, 10]);
    rig.begin_file(None);
    rig.append(&[1, 2, 3, 4]);
    rig.seal(20, 2000, 1);
    rig.check();
    // The large entry is in three parts.
    rig.seal(33, 2000, 2);
    rig.check();
    let segment = |first, last| SealedSegment {
        first: index(first),
        last: index(last),
        content: content(usize::try_from(first).unwrap()),
    };
    assert_eq!(rig.disk.sealed_after(index(0)), [segment(1, 20), segment(21, 33)]);
    assert_eq!(rig.disk.sealed_after(index(1)), [segment(21, 33)]);
    assert_eq!(rig.disk.sealed_after(index(21)), []);
    // Entries that are neither sealed nor in a file that is needed would be lost.
    rig.append(&[1]);
    rig.begin_file(None);
    rig.append(&[2]);
    rig.journal_from = 3;
    rig.note();
    assert_eq!(rig.disk.durable_last(), index(33));
    assert_eq!(rig.disk.durable_entry(index(36)), None);
}

#[test]
fn a_file_that_is_used_again_holds_nothing_of_its_earlier_life() {
    let mut rig = Rig::new();
    rig.append(&[1]);
    rig.append(&[2]);
    rig.begin_file(None);
    rig.append(&[3]);
    rig.seal(2, 1000, 2);
    rig.begin_file(Some(1));
    rig.check();
    rig.append(&[4]);
    rig.check();
    // Without the file that is needed first there is no log.
    rig.journal_from = 1;
    rig.note();
    assert_eq!(rig.disk.durable_last(), index(2));
}

#[test]
fn a_group_that_does_not_follow_counts_for_nothing() {
    let mut rig = Rig::new();
    rig.append(&[1]);
    let before = rig.expected();
    rig.mark.1 += 1;
    rig.append(&[2]);
    assert_eq!(Rig::survivors(&rig.disk), before);
    rig.begin_file(None);
    rig.append(&[3]);
    assert_eq!(Rig::survivors(&rig.disk), before);
}

#[test]
fn nothing_that_changed_while_nobody_looked_is_missed() {
    let mut rig = Rig::new();
    rig.append(&[1]);
    rig.append(&[2]);
    rig.check();
    let state = &mut *rig.disk.state.lock().unwrap();
    let path = rig::file_of(1);
    let number = state.tree.find(tree::View::Platter, &path).unwrap();
    let file = state.tree.blocks_of_mut(number).unwrap();
    file.change_block(1, |block| block.fill(0));
    // The last change is behind all that was seen.
    file.write(3 * BLOCK, &blocks(&[9]));
    file.sync();
    assert_eq!(state.judge.look(&state.tree, 1).last, None);
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Replace(usize, Vec<usize>),
    Vote(u16),
    BeginFile { again: bool },
    Seal,
    Note,
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop::collection::vec(prop_oneof![0..200_usize, 3900..4200_usize], 0..4);
    prop_oneof![
        8 => sizes.clone().prop_map(Step::Append),
        3 => (0..4_usize, sizes).prop_map(|(back, sizes)| Step::Replace(back, sizes)),
        1 => (0..3_u16).prop_map(Step::Vote),
        2 => any::<bool>().prop_map(|again| Step::BeginFile { again }),
        1 => Just(Step::Seal),
        1 => Just(Step::Note),
    ]
}

fn perform(rig: &mut Rig, step: &Step) {
    match step {
        Step::Append(sizes) => rig.append(sizes),
        Step::Replace(back, sizes) => {
            let from = rig.log.len().saturating_sub(*back).max(rig.sealed) + 1;
            rig.write(Some(from as u64), sizes);
            rig.sync();
        }
        Step::Vote(vote) => rig.vote(rig.hard_state.current_term.get() + 1, *vote),
        Step::BeginFile { again } => {
            let old = rig.oldest_free().filter(|_| *again);
            rig.begin_file(old);
        }
        Step::Seal if rig.log.len() > rig.sealed => {
            let from = rig.number;
            let last = rig.log.len();
            rig.seal(last, 3000, from);
        }
        Step::Seal => (),
        Step::Note => {
            rig.synced = rig.mark;
            rig.note();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// What is remembered of what was read before makes no difference, whatever happens.
    #[test]
    fn what_would_survive_is_the_same_whoever_looks_for_the_first_time(
        steps in prop::collection::vec(step(), 1..30),
        seed in any::<u64>(),
    ) {
        let mut rig = Rig::new();
        let mut choose = choices(seed);
        for (number, step) in steps.iter().enumerate() {
            perform(&mut rig, step);
            if number % 3 != 0 {
                rig.check();
            }
            let ending = rig.disk.duplicate();
            if number % 2 == 0 {
                ending.rot(&mut choose);
            }
            ending.power_cut(&mut choose);
            let known = (ending.durable_hard_state(), ending.durable_last());
            let fresh = ending.duplicate();
            fresh.state().judge = Judge::default();
            prop_assert_eq!(known, (fresh.durable_hard_state(), fresh.durable_last()));
            for at in 1..=rig.log.len() as u64 {
                prop_assert_eq!(ending.durable_entry(index(at)), fresh.durable_entry(index(at)));
            }
        }
    }
}
