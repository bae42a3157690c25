//! Segments: rolling, sealing, truncating.

use super::super::disk::Disk;
use super::super::layout::Layout;
use super::super::meta::Floor;
use super::super::segment::{Appender, Segment, State, segment_shape};
use super::super::testing::*;
use super::super::*;

#[test]
fn full_segments_are_sealed_once_committed_and_read_from_then_on() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for _ in 0..3 {
        running.append(&[3000, 3000]);
        running.roll();
        assert!(!running.writer.is_sealed(), "sealed before it was committed");
        running.writer.committed(running.log.tip().id.index);
        eventually("sealing", || running.writer.is_sealed());
    }
    running.append(&[3000]);
    assert_eq!(running.all(), running.log.entries);
    let log = running.crash();

    for clean in [false, true] {
        let (running, recovered) = folder.open();
        assert_eq!(recovered.report.segments, 4);
        assert_eq!(recovered.entries, log.entries[6..], "only what is not sealed is read");
        assert_eq!(recovered.head.sessions, "sessions");
        assert_eq!(recovered.active_first, index(7));
        // Twice: the first time opens the sealed ones, which must leave their files as they were.
        assert_eq!(running.all(), log.entries);
        assert_eq!(running.all(), log.entries);
        assert_eq!(recovered.report.clean, clean);
        running.close();
    }
}

#[test]
fn more_sealed_segments_than_may_be_open_are_read() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for _ in 0..crate::limits::SEALED_OPEN_MAX + 2 {
        running.append(&[10]);
        running.roll();
        running.writer.committed(running.log.tip().id.index);
        eventually("sealing", || running.writer.is_sealed());
    }
    for _ in 0..2 {
        assert_eq!(running.all(), running.log.entries);
    }
    running.close();
}

#[test]
fn readers_of_more_segments_than_are_kept_open_do_not_hash_them_again() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    let segments = crate::limits::SEALED_OPEN_MAX as u64 + 1;
    for _ in 0..segments {
        running.append(&[10]);
        running.roll();
        running.writer.committed(running.log.tip().id.index);
        eventually("sealing", || running.writer.is_sealed());
    }
    for _ in 0..5 {
        for (number, entry) in (1..=segments).zip(&running.log.entries) {
            let read = running.reader.entries(index(number), index(number), 1).unwrap();
            assert_eq!(read, std::slice::from_ref(entry));
        }
    }
    assert_eq!(running.writer.verified(), segments);
    running.close();
}

#[test]
fn records_of_many_logs_are_found_in_sealed_segments() {
    const LOGS: u32 = 8_000;
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for logs in [0..LOGS, 0..1, LOGS / 2..LOGS] {
        let mut entries: Vec<_> = vec![running.log.add_to_all(logs.clone())];
        entries.push(running.log.add(10));
        running.write(Write { entries, ..nothing() });
        running.roll();
        running.writer.committed(running.log.tip().id.index);
        eventually("sealing", || running.writer.is_sealed());
    }
    let check = |running: &Running| {
        for log in [0, 1, LOGS / 2 - 1, LOGS / 2, LOGS - 1].map(LogNumber::new) {
            let next = running.log.next_offset(log);
            let holders = running.log.holders(log);
            assert_eq!(holders.len() as u64, next.get());
            for (offset, holder) in (0..).map(Offset::new).zip(holders) {
                let found = running.reader.locate(log, offset).unwrap();
                assert_eq!(found, Some(holder), "{log} at {offset}");
            }
            assert_eq!(running.reader.locate(log, next).unwrap(), None);
        }
    };
    check(&running);
    let log = running.crash();
    let (mut running, recovered) = folder.open();
    assert_eq!(recovered.report.segments, 4);
    running.log = log;
    check(&running);
    running.close();
}

#[test]
fn reading_a_sealed_segment_leaves_its_files_as_they_were() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for entries in [290, 300, 310, 320] {
        // As a follower that lags gets them: in one batch, in no order that sled's pages would like.
        running.append(&vec![10; entries]);
        running.append(&[3 << 20]);
        running.roll();
        running.writer.committed(running.log.tip().id.index);
        eventually("sealing", || running.writer.is_sealed());
    }
    let expected = running.log.entries.clone();
    for _ in 0..3 {
        assert!(running.all() == expected);
        running.crash();
        running = folder.open().0;
    }
}

#[test]
fn a_segment_grows_on_while_the_one_before_it_is_not_committed() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[3000, 3000]);
    running.roll();
    running.append(&[3000, 3000]);
    running.roll();
    running.append(&[10]);
    let log = running.crash();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.active_first, index(3));
    assert_eq!(recovered.report.segments, 2);
    assert_eq!(recovered.entries, log.entries);
    // The closing one is sealed as soon as this run hears that it is committed.
    running.writer.committed(index(2));
    eventually("sealing", || running.writer.is_sealed());
    assert_eq!(running.all(), log.entries);
    running.close();
}

#[test]
fn a_roll_without_entries_is_passed_over() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.roll();
    running.append(&[1]);
    running.crash();
    assert_eq!(folder.open().1.report.segments, 1);
}

#[test]
fn a_head_larger_than_a_group_commit_is_whole() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    let sessions: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    let head = Head { sessions: sessions.clone().into(), ..running.log.head() };
    running.write(Write { roll: Some(Box::new(head)), ..nothing() });
    running.append(&[2]);
    running.writer.committed(index(1));
    eventually("sealing", || running.writer.is_sealed());
    running.crash();
    let (_, recovered) = folder.open();
    assert_eq!(recovered.head.sessions, sessions);
    assert_eq!(recovered.entries.len(), 1);
}

#[test]
fn a_truncation_replaces_the_tail() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[100, 200_000, 300, 400]);
    eventually("a floor", || running.writer.floor().index == index(4));
    running.replace(2, &[7]);
    assert_eq!(running.all(), running.log.entries);
    for (offset, expected) in [(0, Some(1)), (1, Some(2)), (2, None)] {
        let found = running.reader.locate(LogNumber::MAIN, Offset::new(offset)).unwrap();
        assert_eq!(found, expected.map(index));
    }
    let log = running.crash();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries);
    assert!(recovered.report.floor.index <= index(2), "{}", recovered.report);
    running.crash();
}

#[test]
fn a_truncation_of_everything_leaves_the_head() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[100, 200]);
    running.replace(1, &[]);
    running.append(&[5]);
    let log = running.crash();
    assert_eq!(folder.open().1.entries, log.entries);
}

#[test]
fn a_truncation_reaches_into_the_closing_segment() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[3000, 3000, 3000]);
    running.roll();
    running.append(&[1000, 1000]);
    eventually("a floor", || running.writer.floor().index == index(5));
    running.replace(3, &[1, 2]);
    assert_eq!(running.all(), running.log.entries);
    assert!(running.writer.floor().index <= index(4));
    eventually("the end of the trash", || Layout::of(folder.path()).trash().unwrap().is_empty());
    let log = running.crash();

    let (mut running, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries);
    assert_eq!(recovered.active_first, index(1));
    assert!(!folder.segment(4).exists());
    // And the same border can be crossed again.
    running.roll();
    running.append(&[9]);
    let log = running.close();
    assert_eq!(folder.open().1.entries, log.entries);
}

/// A crash after each of the three steps of a truncation into the closing segment, made by hand.
#[test]
fn a_crash_within_a_truncation_across_segments_leaves_a_shorter_log() {
    for steps in 1..=3 {
        let folder = Folder::with_store();
        let (mut running, _) = folder.open();
        running.append(&[3000, 3000, 3000]);
        running.roll();
        running.append(&[1000, 1000]);
        eventually("a floor", || running.writer.floor().index == index(5));
        let log = running.crash();

        let mut meta = open_meta(&folder);
        let floor = Floor::from(&log.entries[0].tip());
        segments::give_up_in_meta(&mut meta, Some(floor)).unwrap();
        drop(meta);
        if steps >= 2 {
            Layout::of(folder.path()).discard(index(4)).unwrap();
        }
        let mut expected = log.entries[..3].to_vec();
        if steps >= 3 {
            let segment =
                Segment::open(&Disk::real(), &folder.segment(1), index(1), segment_shape(1 << 20));
            let mut appender =
                Appender::new(segment.unwrap().into(), expected[2].tip(), 9000).unwrap();
            let hard_state = hard_state(2, None);
            let state = State { hard_state, ..State::default() };
            appender.write(Some(index(2)), &[], &state).unwrap();
            expected.truncate(1);
        }

        let (running, recovered) = folder.open();
        assert_eq!(recovered.entries, expected, "after step {steps}");
        assert_eq!(recovered.active_first, index(1));
        assert_eq!(recovered.report.segments, 1);
        assert!(!folder.segment(4).exists());
        assert!(Layout::of(folder.path()).trash().unwrap().is_empty());
        running.close();
        assert_eq!(folder.open().1.entries, expected);
    }
}

/// The floor is lowered before anything below it goes: without that, a crash right after the
/// truncation would look like damage, and did in this test's first form.
#[test]
fn without_a_lowered_floor_a_shorter_log_is_damage() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1, 2, 3]);
    let log = running.close();
    // Clean marks pin the files: go on as after a crash.
    open_meta(&folder).update(|record| record.clean = None).unwrap();
    let segment =
        Segment::open(&Disk::real(), &folder.segment(1), index(1), segment_shape(1 << 20)).unwrap();
    let mut appender = Appender::new(segment.into(), log.tip(), 1000).unwrap();
    appender.write(Some(index(3)), &[], &State::default()).unwrap();
    drop(appender);
    assert!(matches!(damage_found(&folder), Fault::BelowFloor { .. }));
}

#[test]
fn a_segment_whose_making_was_cut_off_is_given_up() {
    for named_by_mark in [true, false] {
        let folder = Folder::with_store();
        let (mut running, _) = folder.open();
        running.append(&[10, 20]);
        let log = running.crash();
        // As a power cut may leave it: the names are there, and what is in the files is not.
        let layout = Layout::of(folder.path());
        let next = index(3);
        let half = layout.segment(next);
        std::fs::create_dir(&half).unwrap();
        std::fs::write(half.join("conf"), [0; 40]).unwrap();
        std::fs::write(half.join("db"), vec![7; 10_000]).unwrap();
        if !named_by_mark {
            assert!(folder.try_open().unwrap_err().is_damage(), "it may be what somebody had");
            continue;
        }
        layout.begin_making(next).unwrap();
        let (mut running, recovered) = folder.open();
        assert_eq!(recovered.entries, log.entries);
        assert!(!half.exists() && !layout.is_unfinished(next).unwrap());
        running.append(&[30]);
        running.roll();
        running.append(&[40]);
        assert!(!layout.is_unfinished(index(4)).unwrap(), "what is made is not marked");
        let log = running.crash();
        assert_eq!(folder.open().1.entries, log.entries);
    }
}
