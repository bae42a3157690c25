//! Damage, and what counts of it.

use std::collections::BTreeSet;

use super::rig::{Rig, file_of, index};
use super::*;
use crate::types::Index;

/// A store with two sealed segments and three files of the journal that are needed.
fn old_rig() -> Rig {
    let mut rig = Rig::new();
    rig.append(&[10, 20, 30]);
    rig.append(&[5000, 10]);
    rig.begin_file(None);
    rig.vote(1, 2);
    rig.append(&[10, 20, 30]);
    rig.seal(3, 300, 1);
    rig.seal(7, 2000, 2);
    rig.begin_file(None);
    rig.append(&[9000, 50]);
    rig.vote(2, 1);
    rig.append(&[50]);
    rig.begin_file(Some(1));
    rig.append(&[60]);
    rig.write(Some(10), &[70, 80]);
    rig.sync();
    rig.append(&[90]);
    rig.check();
    rig
}

fn is_journal(rot: &Rot) -> bool {
    rot.place.extension().is_some_and(|extension| extension == "journal")
}

#[test]
fn damage_hurts_what_it_says_and_nothing_below() {
    let rig = old_rig();
    let last = rig.log.len() as u64;
    let mut seen = BTreeSet::new();
    for seed in 0..1000 {
        let disk = rig.disk.duplicate();
        let Some(rot) = disk.rot(&mut choices(seed)) else { continue };
        let name = rot.place.file_name().unwrap().to_str().unwrap();
        seen.insert((name.trim_matches('0').to_owned(), format!("{:?}", rot.kind)));
        let is_seen = |at: u64| {
            let entry = &rig.log[usize::try_from(at - 1).unwrap()];
            disk.durable_entry(index(at)) == Some((entry.id(), entry.chain()))
        };
        let lowest = rot.lowest.map_or(u64::MAX, Index::get);
        let is_of_entries = is_journal(&rot) || rot.place.starts_with("memory/log");
        if is_of_entries {
            assert!(
                (rig.sealed as u64 + 1..lowest.min(last + 1)).all(is_seen),
                "seed {seed}: {rot}"
            );
        }
        let is_by_itself = name == "conf" || name.contains("head");
        if rot.lowest.is_some() && !is_by_itself {
            assert!(!is_seen(lowest), "seed {seed}: {rot}");
        }
        if is_journal(&rot) {
            // Only the last group is not answered for, and it has the last entry alone.
            assert!(!is_seen(last), "seed {seed}: {rot}");
            assert!(lowest > rig.sealed as u64, "seed {seed}: {rot}");
        }
        assert_eq!(disk.faults().rots, 1);
    }
    let kinds = |place: &str| seen.iter().filter(|(found, _)| found.ends_with(place)).count();
    // Of the last file only a change of what stands there tells that there was more.
    assert_eq!(["2", "3", "4"].map(|file| kinds(&format!("{file}.journal"))), [5, 5, 2]);
    assert_eq!(kinds("8.head"), 4);
    assert!(kinds("meta") >= 3 && kinds("db") >= 3 && kinds("conf") == 1, "{seen:?}");
}

#[test]
fn the_newest_group_counts_only_if_meta_knows_of_it() {
    let mut rig = Rig::new();
    rig.append(&[10]);
    rig.begin_file(None);
    let rots = |rig: &Rig| {
        let rots = (0..300).filter_map(|seed| rig.disk.duplicate().rot(&mut choices(seed)));
        rots.filter(is_journal).collect::<Vec<_>>()
    };
    // Only if the header of its file is damaged, it is still there to tell.
    let of_header = rots(&rig);
    assert!(of_header.len() < 100);
    let kinds = [RotKind::Bit, RotKind::Zeroed];
    assert!(of_header.iter().all(|rot| kinds.contains(&rot.kind)), "{of_header:?}");
    rig.synced = rig.mark;
    rig.note();
    let found = rots(&rig);
    assert!(found.len() > 50);
    assert!(found.iter().all(|rot| rot.lowest == Some(index(1)) && rot.place == file_of(1)));
    // A group that says only who got a vote is known to be there by the next.
    rig.vote(1, 2);
    rig.append(&[]);
    let of_votes: Vec<_> = rots(&rig).into_iter().filter(|rot| rot.place == file_of(2)).collect();
    assert!(of_votes.len() > 20);
    assert!(of_votes.iter().all(|rot| rot.lowest.is_none()), "{of_votes:?}");
    // If an entry comes behind it, that cannot be trusted.
    rig.append(&[20]);
    let hurt = rots(&rig).into_iter().filter(|rot| rot.place == file_of(2));
    assert!(hurt.clone().count() > 20 && hurt.clone().all(|rot| rot.lowest == Some(index(2))));
}

#[test]
fn the_end_of_the_journal_counts_only_if_something_tells_that_it_was_there() {
    let mut rig = Rig::new();
    rig.append(&[10]);
    rig.begin_file(None);
    rig.append(&[20]);
    rig.synced = rig.mark;
    rig.note();
    let lost = |rig: &Rig| {
        let rots = (0..600).filter_map(|seed| rig.disk.duplicate().rot(&mut choices(seed)));
        let is_end = |rot: &Rot| rot.place == file_of(2);
        let lost = [RotKind::FileGone, RotKind::Short, RotKind::Older];
        let rots = rots.filter(is_end).filter(|rot| lost.contains(&rot.kind));
        rots.map(|rot| rot.lowest.unwrap().get()).collect::<BTreeSet<_>>()
    };
    assert_eq!(lost(&rig), BTreeSet::from([2]));
    rig.append(&[30]);
    rig.append(&[40]);
    // Without the last two it is as it was. What is gone with the second is known.
    assert_eq!(lost(&rig), BTreeSet::from([2]));
    rig.begin_file(None);
    rig.append(&[50]);
    // Now something stands behind them.
    assert_eq!(lost(&rig), BTreeSet::from([2, 3, 4]));
}

#[test]
fn a_process_that_runs_sees_what_it_saw_and_the_next_sees_the_damage() {
    for cache_is_forgotten in [false, true] {
        let (disk, _, file) = with_file(&[1, 2, 3]);
        file.write_at(0, &blocks(&[4])).unwrap();
        file.sync().unwrap();
        file.write_at(2 * BLOCK, &blocks(&[5])).unwrap();
        let damage = |change: &dyn Fn(&mut super::super::blocks::BlockFile)| {
            let state = &mut *disk.state();
            let number = state.tree.find(tree::View::Now, &place("file")).unwrap();
            change(state.tree.blocks_of_mut(number).unwrap());
        };
        let look = || {
            let length = usize::try_from(mounted(&disk).length(&place("file")).unwrap()).unwrap();
            seen(&file.read_at(0, length).unwrap())
        };
        damage(&|file| file.change_block(1, |block| block.fill(9)));
        assert_eq!(look(), [4, 2, 5]);
        damage(&|file| file.rewind(1));
        damage(&|file| file.cut_short(2 * BLOCK));
        assert_eq!(look(), [4, 2, 5]);
        if cache_is_forgotten {
            mounted(&disk).forget_cached(&place("file")).unwrap();
            assert_eq!(look(), [1, 9]);
        }
        disk.restart();
        assert_eq!(all_of(&mounted(&disk), "file"), [1, 9]);
        disk.power_cut(&mut |_| 0);
        assert_eq!(all_of(&mounted(&disk), "file"), [1, 9]);
    }
}
