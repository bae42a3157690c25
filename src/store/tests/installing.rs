//! A store that begins at a head in the place of one that lacks what is before it.

use super::super::meta::SealedRow;
use super::super::testing::*;
use super::super::*;
use super::witness::End;
use crate::types::{Incarnation, LogId};

const NODE: fn(u16) -> NodeId = |number| NodeId::new(number).unwrap();

/// A log of two segments; the head behind them has a configuration of its own.
fn log_and_head() -> (Log, Head) {
    let mut log = Log::new();
    for sizes in [[10, 20_000], [30, 40]] {
        for bytes in sizes {
            log.add(bytes);
        }
        log.end_segment();
    }
    let head = Head { configuration: Configuration::of([1, 2, 3, 4].map(NODE)), ..log.head() };
    *log.heads.last_mut().unwrap() = head.clone();
    (log, head)
}

fn installation() -> Installation {
    Installation { head: log_and_head().1, hard_state: hard_state(3, Some(2)) }
}

/// A node that has one entry, has voted, and remembers a peer.
fn behind(disk: &MemoryDisk) {
    create_in(disk, IDENTITY, &configuration(), &small()).unwrap();
    let (store, _) = open_in(disk, IDENTITY, small()).unwrap();
    let mut writer = store.into_stepped_writer();
    let entries = vec![Log::new().add(10)];
    let vote = Some(hard_state(3, Some(2)));
    writer.write(Write { hard_state: vote, entries, ticket: Ticket::new(1), ..nothing() });
    assert!(writer.begin());
    writer.finish().unwrap().unwrap();
    let remembered = crate::raft::Remembered { starts: 7, ..Default::default() };
    writer.remember([(NODE(2), remembered)]);
    writer.close().unwrap();
}

/// What a start finds: whether it begins at the head. Either way it has what it promised.
#[track_caller]
fn has_begun(disk: &MemoryDisk, starts_before: u64) -> bool {
    let (store, recovered) = open_in(disk, IDENTITY, small()).unwrap();
    assert_eq!(recovered.hard_state, hard_state(3, Some(2)));
    assert_eq!(store.remembered()[&NODE(2)].starts, 7);
    assert!(store.lineage().starts > starts_before, "a start is missing");
    let has_begun = recovered.head == log_and_head().1;
    if has_begun {
        assert_eq!((recovered.commit_index, &recovered.entries[..]), (index(4), &[][..]));
        assert_eq!(store.reader().first(), index(5));
        assert_eq!((disk.durable_first(), disk.durable_last()), (index(5), index(4)));
    } else {
        assert_eq!(recovered.entries.len(), 1, "it is neither as it was nor as it will be");
    }
    has_begun
}

#[test]
fn a_store_begins_at_a_head_or_is_as_it_was_wherever_that_is_cut_off() {
    let made = MemoryDisk::new();
    behind(&made);
    let (mut as_it_was, mut begun) = (0, 0);
    for operations in 0.. {
        let killed = made.duplicate();
        killed.fail_after(operations);
        let outcome = install_in(&killed, IDENTITY, small(), &installation());
        for end in End::ALL {
            let disk = killed.duplicate();
            end.strike(&disk);
            // Whoever takes the disk out finds term and vote at any moment.
            assert_eq!(disk.durable_hard_state(), hard_state(3, Some(2)), "{operations} {end:?}");
            let has_begun = has_begun(&disk, 1);
            *(if has_begun { &mut begun } else { &mut as_it_was }) += 1;
            assert!(has_begun || outcome.is_err(), "{operations} {end:?}: it was done");
            // And nothing of either is in the way of the next.
            disk.restart();
            let (again, head) = (has_begun_again(&disk), &installation().head);
            assert_eq!(again, *head, "{operations} {end:?}");
        }
        if outcome.is_ok() {
            assert!(as_it_was > 50 && begun >= 8, "{as_it_was} as it was, {begun} begun");
            return;
        }
    }
}

/// The head that a store has once another begins in its place.
fn has_begun_again(disk: &MemoryDisk) -> Head {
    let further = Installation {
        head: {
            let (mut log, head) = log_and_head();
            log.add(50);
            Head { tip: log.tip(), ..head }
        },
        hard_state: hard_state(3, Some(2)),
    };
    install_in(disk, IDENTITY, small(), &further).unwrap();
    disk.restart();
    let (_, recovered) = open_in(disk, IDENTITY, small()).unwrap();
    assert_eq!(recovered.head, further.head);
    installation().head
}

#[test]
fn what_was_made_whole_is_moved_in_wherever_the_start_after_it_is_cut_off() {
    let made = MemoryDisk::new();
    behind(&made);
    install_in(&made, IDENTITY, small(), &installation()).unwrap();
    for operations in 0.. {
        let killed = made.duplicate();
        killed.restart();
        killed.fail_after(operations);
        let outcome = open_in(&killed, IDENTITY, small()).map(drop);
        for end in End::ALL {
            let disk = killed.duplicate();
            end.strike(&disk);
            assert_eq!(disk.durable_hard_state(), hard_state(3, Some(2)), "{operations} {end:?}");
            assert_eq!(disk.durable_first(), index(5), "{operations} {end:?}");
            assert!(has_begun(&disk, 1), "{operations} {end:?}");
        }
        if outcome.is_ok() {
            assert!(operations > 20, "only {operations} operations");
            return;
        }
    }
}

#[test]
fn a_node_that_begins_anew_meanwhile_sets_aside_what_was_to_be_moved_in() {
    let disk = MemoryDisk::new();
    behind(&disk);
    install_in(&disk, IDENTITY, small(), &installation()).unwrap();
    disk.restart();
    assert_eq!(begin_anew_in(&disk, IDENTITY, &configuration(), &small()).unwrap(), 1);
    disk.restart();
    let (store, recovered) = open_in(&disk, IDENTITY, small()).unwrap();
    assert!(store.lineage().in_place);
    assert_eq!(recovered.head.tip, Tip::default());
}

#[test]
fn a_store_that_began_at_a_head_has_from_there_on_what_the_others_have() {
    let (log, head) = log_and_head();
    let theirs = Folder::with_store();
    let (mut running, _) = theirs.open();
    running.write(Write { entries: log.entries.clone(), ..nothing() });
    running.log = log.clone();
    running.tell(log.heads.clone());
    running.seal();

    let ours = Folder::with_store();
    let (behind, _) = ours.open();
    let store = behind.close();
    assert_eq!(store.tip(), Tip::default());
    let lock = lock(ours.path()).unwrap();
    let start = Options { start: Incarnation::new(77), ..small() };
    install(ours.path(), IDENTITY, start, &installation(), &lock).unwrap();
    drop(lock);
    assert!(exists(ours.path()).unwrap());
    let looked = inspect(ours.path(), None);
    assert!(matches!(looked, Err(StoreError::Installing { .. })), "{looked:?}");
    let (follower, _) = ours.open_with(log.clone());
    follower.close();
    let found = inspect(ours.path(), None).unwrap();
    assert_eq!((found.damage, found.first_index, found.last), (vec![], index(5), log.tip()));
    let (mut follower, recovered) = ours.open_with(log);
    assert_eq!((&recovered.head, recovered.commit_index), (&head, index(4)));

    for running in [&mut running, &mut follower] {
        running.append(&[50, 60_000]);
        running.roll();
        running.append(&[70]);
        running.roll();
        running.seal();
        running.append(&[80]);
    }
    // The entry before the first is not there, and known: who has it goes on behind it.
    let lacking = |prev| follower.reader.for_follower(prev, index(8)).unwrap();
    let Lacking::Entries { previous, entries } = lacking(head.tip.id) else {
        panic!("they are there")
    };
    assert_eq!((previous, &entries[0]), (head.tip, &running.log.entries[4]));
    let Lacking::Head { info, form } = lacking(index_id(&running.log, 2)) else {
        panic!("it was given up")
    };
    assert_eq!((info.id, decode_head(&form)), (head.tip.id, Some(head.clone())));
    assert_eq!((info.bytes, info.hash), (form.len() as u64, *blake3::hash(&form).as_bytes()));

    let logs = [running.close(), follower.close()];
    assert_eq!(logs[0].entries, logs[1].entries);
    let found = inspect(ours.path(), None).unwrap();
    assert_eq!((found.damage, found.first_index, found.last), (vec![], index(5), logs[0].tip()));
    let rows = |folder| -> Vec<SealedRow> {
        let mut meta = open_meta(folder);
        let rows = meta.sealed_rows().into_iter().filter(|row| row.first > index(4)).collect();
        meta.close();
        rows
    };
    let contents = |row: &SealedRow| (row.first, row.last, row.content, row.ends_parts);
    let all = [&theirs, &ours].map(|folder| rows(folder).iter().map(contents).collect::<Vec<_>>());
    assert_eq!((all[0].len(), &all[0]), (2, &all[1]));
    let (running, recovered) = ours.open_with(logs[1].clone());
    assert!(recovered.report.clean);
    running.close();
}

fn index_id(log: &Log, at: usize) -> LogId {
    log.entries[at - 1].id()
}
