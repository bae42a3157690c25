//! The store as a whole: write, roll, truncate, stop, start, and every kind of damage.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::layout::Layout;
use super::meta::{Floor, Meta};
use super::segment::{Appender, Segment, State, segment_shape};
use super::testing::*;
use super::*;

fn index(number: u64) -> Index {
    Index::new(number)
}

/// The damage that an open finds; the folder must be as it was before.
fn damage_found(folder: &Folder) -> Fault {
    let before = folder.contents();
    let error = folder.try_open().map(|(_, recovered)| recovered.report).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert!(!error.hint().is_empty());
    assert!(folder.contents() == before, "a damaged folder was changed: {error}");
    match error {
        StoreError::Damage { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

fn open_meta(folder: &Folder) -> Meta {
    Meta::open(&Layout::of(folder.path()).meta()).unwrap()
}

// ---- write, stop, start ----

#[test]
fn what_was_written_is_there_after_a_clean_stop_and_after_a_crash() {
    let folder = Folder::with_store();
    let (mut running, recovered) = folder.open();
    assert!(recovered.entries.is_empty());
    assert_eq!(recovered.head.configuration, configuration());
    assert!(!recovered.report.clean);
    running.append(&[10, 100, 0]);
    running.append(&[300_000]);
    let log = running.close();

    let (mut running, recovered) = folder.open();
    assert!(recovered.report.clean);
    assert_eq!(recovered.entries, log.entries);
    assert_eq!(recovered.report.floor, log.tip().id);
    running.append(&[7]);
    let log = running.crash();

    let (running, recovered) = folder.open();
    assert!(!recovered.report.clean);
    assert_eq!(recovered.entries, log.entries);
    assert_eq!(running.all(), log.entries);
    assert!(recovered.report.to_string().contains("5 entries verified"), "{}", recovered.report);
    running.close();
}

#[test]
fn tickets_come_in_order_and_the_newest_comes() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for bytes in 0..200 {
        let entries = vec![running.log.add(bytes)];
        running.queue(Write { entries, ..nothing() });
    }
    running.wait();
    let log = running.crash();
    assert_eq!(folder.open().1.entries, log.entries);
}

#[test]
fn a_write_larger_than_a_group_commit_is_whole() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[4 << 20, 100, 4 << 20, 4 << 20]);
    running.append(&[10; 3000]);
    running.replace(2, &[5, 4 << 20]);
    let log = running.crash();
    assert_eq!(log.entries.len(), 3);
    assert_eq!(folder.open().1.entries, log.entries);
    assert!(!folder.segment(1).join("blobs").read_dir().unwrap().any(|_| true));
}

#[test]
fn the_commit_index_is_remembered_and_never_passes_the_log() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    let entries = vec![running.log.add(1), running.log.add(1)];
    running.write(Write { entries, commit_index: index(1), ..nothing() });
    running.crash();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.commit_index, index(1));
    running.writer.committed(index(900));
    running.close();
    assert_eq!(folder.open().1.commit_index, index(2));
}

#[test]
fn the_floor_follows_within_a_second() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1, 2, 3]);
    let started = Instant::now();
    eventually("a floor", || running.writer.floor().index == index(3));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    running.crash();
    assert_eq!(folder.open().1.report.floor.index, index(3));
}

#[test]
fn a_closed_store_reads_no_more() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    let reader = running.reader.clone();
    assert_eq!(reader.entries(index(1), index(1), 0).unwrap().len(), 1);
    running.close();
    assert!(matches!(reader.entries(index(1), index(1), 0), Err(ReadError::Closed)));
    assert!(matches!(reader.locate(LogNumber::MAIN, Offset::ZERO), Err(ReadError::Closed)));
}

// ---- reading ----

#[test]
fn reads_are_bounded_and_return_at_least_one() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1000, 1000, 1000, 200_000, 1000]);
    let read = |first, last, bytes_max| -> Vec<u64> {
        let entries = running.reader.entries(index(first), index(last), bytes_max).unwrap();
        entries.iter().map(|entry| entry.id().index.get()).collect()
    };
    assert_eq!(read(1, 5, usize::MAX), [1, 2, 3, 4, 5]);
    assert_eq!(read(2, 3, usize::MAX), [2, 3]);
    assert_eq!(read(1, 5, 2500), [1, 2]);
    assert_eq!(read(4, 5, 10), [4]);
    assert_eq!(read(6, 9, 10), [0; 0]);
    assert_eq!(read(3, 2, 10), [0; 0]);
    running.crash();
}

#[test]
fn every_offset_is_located_in_every_kind_of_segment() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for segment in 0..4 {
        for step in 0..150_usize {
            let log = u32::try_from(step % 3 + segment / 2).unwrap();
            let bytes = if step % 50 == 0 { 70_000 } else { step };
            let entries = vec![running.log.add_to(log, 1, bytes)];
            running.queue(Write { entries, ..nothing() });
        }
        running.wait();
        if segment < 3 {
            running.roll();
        }
        if segment < 2 {
            running.writer.committed(running.log.tip().id.index);
            eventually("sealing", || running.writer.is_sealed());
        }
    }
    for entry in &running.log.entries {
        for request in entry.requests().unwrap() {
            let found = running.reader.locate(request.log, request.first_offset).unwrap();
            assert_eq!(found, Some(entry.id().index), "{:?}", request.log);
        }
    }
    for (log, next) in &running.log.next_offsets {
        assert_eq!(running.reader.locate(*log, *next).unwrap(), None);
    }
    assert_eq!(running.reader.locate(LogNumber::new(9), Offset::ZERO).unwrap(), None);
    running.close();
}

#[test]
fn readers_on_other_threads_see_only_whole_histories_while_the_writer_truncates() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[200; 20]);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (reader, stop) = (running.reader.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut reads = 0_u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let entries = reader.entries(index(1), index(99), usize::MAX).unwrap();
                    for (one, next) in entries.iter().zip(entries.iter().skip(1)) {
                        next.check_follows(&one.tip()).unwrap();
                    }
                    reader.locate(LogNumber::MAIN, Offset::new(15)).unwrap();
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for round in 0..100 {
        running.replace(10 + round % 5, &[200_000, 200, 200, 200]);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in threads {
        assert!(thread.join().unwrap() > 0);
    }
    running.crash();
}

// ---- segments ----

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

// ---- truncation ----

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
    eventually("the end of the trash", || {
        Layout::of(folder.path()).leftovers().unwrap().is_empty()
    });
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
            let segment = Segment::open(&folder.segment(1), index(1), segment_shape(1 << 20));
            let mut appender = Appender::new(segment.unwrap().into(), expected[2].tip(), 9000);
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
        assert!(Layout::of(folder.path()).leftovers().unwrap().is_empty());
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
    let segment = Segment::open(&folder.segment(1), index(1), segment_shape(1 << 20)).unwrap();
    let mut appender = Appender::new(segment.into(), log.tip(), 1000);
    appender.write(Some(index(3)), &[], &State::default()).unwrap();
    drop(appender);
    assert!(matches!(damage_found(&folder), Fault::BelowFloor { .. }));
}

// ---- term and vote ----

#[test]
fn a_vote_is_in_both_places_before_its_ticket() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(3, Some(2))), ..nothing() });
    running.crash();
    assert_eq!(open_meta(&folder).record().hard_state, hard_state(3, Some(2)));
    let segment = Segment::open(&folder.segment(1), index(1), segment_shape(1 << 20)).unwrap();
    assert_eq!(segment.state().unwrap().hard_state, hard_state(3, Some(2)));
    drop(segment);
    assert_eq!(folder.open().1.hard_state, hard_state(3, Some(2)));
}

#[test]
fn the_higher_term_wins_and_the_other_place_is_rewritten() {
    for (first, second) in
        [((3, None), (4, None)), ((3, None), (3, Some(2))), ((3, Some(1)), (4, None))]
    {
        for meta_is_higher in [false, true] {
            let folder = Folder::with_store();
            let (mut running, _) = folder.open();
            let higher = hard_state(second.0, second.1);
            running.write(Write { hard_state: Some(hard_state(first.0, first.1)), ..nothing() });
            if !meta_is_higher {
                running.write(Write { hard_state: Some(higher), ..nothing() });
            }
            running.crash();
            let in_meta = if meta_is_higher { higher } else { hard_state(first.0, first.1) };
            open_meta(&folder).update(|record| record.hard_state = in_meta).unwrap();

            let (running, recovered) = folder.open();
            assert_eq!(recovered.hard_state, higher);
            running.crash();
            assert_eq!(open_meta(&folder).record().hard_state, higher);
            let segment = Segment::open(&folder.segment(1), index(1), segment_shape(1 << 20));
            assert_eq!(segment.unwrap().state().unwrap().hard_state, higher);
        }
    }
}

#[test]
fn two_votes_in_a_term_are_damage() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(3, Some(1))), ..nothing() });
    running.crash();
    open_meta(&folder).update(|record| record.hard_state = hard_state(3, Some(2))).unwrap();
    assert!(matches!(damage_found(&folder), Fault::TwoVotes { .. }));
}

// ---- what open refuses ----

#[test]
fn a_folder_is_opened_once() {
    let folder = Folder::with_store();
    let (running, _) = folder.open();
    assert!(matches!(folder.try_open(), Err(StoreError::Locked { .. })));
    running.close();
    folder.open().0.close();
}

#[test]
fn the_store_of_another_is_refused() {
    let folder = Folder::with_store();
    let before = folder.contents();
    let others = [
        Identity { cluster: ClusterId::new(8), ..IDENTITY },
        Identity { node: NodeId::new(2).unwrap(), ..IDENTITY },
    ];
    for other in others {
        let error = open(folder.path(), other, SMALL, lock(folder.path()).unwrap()).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    }
    assert_eq!(folder.contents(), before);
}

#[test]
fn a_format_of_the_future_is_refused() {
    let folder = Folder::with_store();
    let meta = Layout::of(folder.path()).meta();
    let database = database::Database::open(&meta, meta::META_SHAPE).unwrap();
    let mut batch = sled::Batch::default();
    batch.insert(&[1], &2_u32.to_le_bytes());
    database.write(batch).unwrap();
    drop(database);
    let error = folder.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Format { found: 2, .. }), "{error}");
    assert!(!error.is_damage());
}

#[test]
fn an_emptied_folder_is_damage_and_not_a_new_store() {
    let folder = Folder::with_store();
    folder.open().0.close();
    assert!(exists(folder.path()));
    assert!(matches!(
        create(folder.path(), IDENTITY, &configuration(), &SMALL),
        Err(StoreError::Exists { .. })
    ));
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    let error = folder.try_open().unwrap_err();
    assert!(error.is_damage(), "{error}");
    fs::remove_dir_all(folder.path().join("meta")).unwrap();
    assert!(!exists(folder.path()));
    let error = folder.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }) && error.is_damage(), "{error}");
}

#[test]
fn a_log_whose_meta_is_gone_is_not_made_anew() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    running.close();
    fs::remove_dir_all(folder.path().join("meta")).unwrap();
    assert!(folder.try_open().unwrap_err().is_damage());
    let error = create(folder.path(), IDENTITY, &configuration(), &SMALL).unwrap_err();
    assert!(error.is_damage(), "{error}");
}

#[test]
fn an_interrupted_making_is_done_again() {
    let folder = Folder::with_store();
    fs::rename(folder.path().join("meta"), folder.path().join("meta-unfinished")).unwrap();
    assert!(!exists(folder.path()));
    create(folder.path(), IDENTITY, &configuration(), &SMALL).unwrap();
    folder.open().0.close();
}

#[test]
fn a_marked_folder_is_refused() {
    for name in ["meta.damaged", "log/00000000000000000001.damaged"] {
        let folder = Folder::with_store();
        fs::write(folder.path().join(name), "").unwrap();
        assert!(matches!(damage_found(&folder), Fault::Marked));
    }
}

#[test]
fn a_blob_file_is_damage() {
    let folder = Folder::with_store();
    fs::write(folder.segment(1).join("blobs/17"), "page").unwrap();
    assert!(matches!(damage_found(&folder), Fault::Blob));
}

#[test]
fn a_missing_segment_is_damage() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[3000]);
    running.roll();
    running.append(&[3000]);
    running.writer.committed(index(1));
    eventually("sealing", || running.writer.is_sealed());
    running.close();
    for first in [1, 2] {
        let away = folder.path().join("away");
        fs::rename(folder.segment(first), &away).unwrap();
        assert!(matches!(damage_found(&folder), Fault::SegmentGone { .. }));
        fs::rename(&away, folder.segment(first)).unwrap();
    }
    folder.open().0.close();
}

#[test]
fn the_rest_of_an_unfinished_roll_is_cleared_away() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1, 2]);
    let log = running.crash();
    let shape = segment_shape(1 << 20);
    drop(Segment::create(&folder.segment(3), &log.head(), &State::default(), shape).unwrap());
    let (mut running, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries);
    assert!(!folder.segment(3).exists());
    running.roll();
    running.append(&[3]);
    let log = running.crash();
    assert_eq!(folder.open().1.entries, log.entries);
}

#[test]
fn leftovers_of_sled_and_of_earlier_starts_are_cleared_away() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    let log = running.crash();
    for place in [folder.segment(1), folder.path().join("meta")] {
        fs::write(place.join("snap.00000000000000AA.generating"), "half a snapshot").unwrap();
    }
    fs::create_dir(folder.path().join("trial-meta")).unwrap();
    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries);
    running.close();
    assert!(!folder.path().join("trial-meta").exists());
    assert!(!folder.segment(1).join("snap.00000000000000AA.generating").exists());
}

// ---- older copies and other histories ----

fn put_back(saved: &Path, place: &Path) {
    fs::remove_dir_all(place).unwrap();
    copy_folder(saved, place);
}

#[test]
fn an_older_meta_is_damage() {
    let folder = Folder::with_store();
    let saved = Folder::new();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    running.crash();
    copy_folder(&folder.path().join("meta"), saved.path());
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(2, None)), ..nothing() });
    running.append(&[2]);
    running.crash();
    put_back(saved.path(), &folder.path().join("meta"));
    assert!(matches!(damage_found(&folder), Fault::OlderMeta { .. }));
}

#[test]
fn a_meta_from_before_the_last_roll_is_damage() {
    let folder = Folder::with_store();
    let saved = Folder::new();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    running.crash();
    copy_folder(&folder.path().join("meta"), saved.path());
    let (mut running, _) = folder.open();
    running.roll();
    running.append(&[2]);
    running.crash();
    put_back(saved.path(), &folder.path().join("meta"));
    let fault = damage_found(&folder);
    assert!(matches!(fault, Fault::SegmentUnknown), "{fault}");
}

#[test]
fn an_older_active_segment_is_damage() {
    for clean in [false, true] {
        let folder = Folder::with_store();
        let saved = Folder::new();
        let (mut running, _) = folder.open();
        running.append(&[1]);
        running.close();
        copy_folder(&folder.segment(1), saved.path());
        let (mut running, _) = folder.open();
        running.append(&[2]);
        eventually("a floor", || running.writer.floor().index == index(2));
        if clean {
            running.close();
        } else {
            running.crash();
        }
        put_back(saved.path(), &folder.segment(1));
        let fault = damage_found(&folder);
        let expected = matches!(fault, Fault::Hash) == clean
            && matches!(fault, Fault::BelowFloor { .. }) != clean;
        assert!(expected, "{fault}");
    }
}

/// An intact segment of another history does not fit: not behind a sealed one, not behind a
/// closing one, and not where something else was synced.
#[test]
fn a_segment_of_another_history_is_damage() {
    for (committed, lower_floor) in [(true, true), (false, true), (false, false)] {
        let make = |first_bytes: usize| {
            let folder = Folder::with_store();
            let (mut running, _) = folder.open();
            running.append(&[first_bytes]);
            running.roll();
            running.append(&[5]);
            if committed {
                running.writer.committed(index(1));
                eventually("sealing", || running.writer.is_sealed());
            }
            eventually("a floor", || running.writer.floor().index == index(2));
            running.crash();
            folder
        };
        let (folder, other) = (make(1), make(2));
        put_back(&other.segment(2), &folder.segment(2));
        if lower_floor {
            // The floor alone would notice; the border has to as well.
            open_meta(&folder).update(|record| record.floor = Floor::default()).unwrap();
        }
        let fault = damage_found(&folder);
        assert!(matches!(fault, Fault::Border { .. }), "{fault}");
    }
    let make = |bytes: usize| {
        let folder = Folder::with_store();
        let (mut running, _) = folder.open();
        running.append(&[bytes]);
        eventually("a floor", || running.writer.floor().index == index(1));
        running.crash();
        folder
    };
    let (folder, other) = (make(1), make(2));
    put_back(&other.segment(1), &folder.segment(1));
    let fault = damage_found(&folder);
    assert!(matches!(fault, Fault::OtherFloor { .. }), "{fault}");
}

// ---- flipped bits and cut files ----

/// A store whose floor is entry 6 of 12, and its log. Its files are not those of a clean stop.
fn half_synced() -> (Folder, Log) {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.write(Write { hard_state: Some(hard_state(1, Some(3))), ..nothing() });
    for bytes in [10, 500, 20, 2000, 30, 40] {
        running.append(&[bytes]);
    }
    eventually("a floor", || running.writer.floor().index == index(6));
    for bytes in [50, 600, 60, 3000, 70, 80] {
        running.append(&[bytes]);
    }
    let log = running.crash();
    (folder, log)
}

/// The bytes that a file really holds, before the zeroes at its end.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Opens a store one of whose files was changed. Whatever comes of it must be honest.
fn check_outcome(folder: &Folder, log: &Log, what: &str) -> bool {
    let before = folder.contents();
    match folder.try_open() {
        Ok((store, recovered)) => {
            drop(store);
            let found = recovered.entries.len();
            assert!(found >= 6, "{what}: only {found} entries, and 6 were synced");
            assert_eq!(recovered.entries, log.entries[..found], "{what}: not a prefix");
            assert_eq!(recovered.hard_state, hard_state(1, Some(3)), "{what}");
            true
        }
        Err(error) => {
            assert!(error.is_damage(), "{what}: {error}");
            assert!(folder.contents() == before, "{what}: changed although {error}");
            false
        }
    }
}

/// Changes a file in many ways, one at a time, and counts how often the store could be opened.
fn try_changes(folder: &Folder, log: &Log, file: &Path, tries: usize) -> (usize, usize) {
    let pristine = Folder::new();
    copy_folder(folder.path(), pristine.path());
    let bytes = fs::read(file).unwrap();
    let length = used(&bytes);
    let (mut opened, mut refused) = (0, 0);
    for step in 0..tries {
        let position = length * step / tries;
        let mut flipped = bytes.clone();
        flipped[position] ^= 1 << (step % 8);
        let cut = bytes[..position].to_vec();
        for (changed, what) in [(flipped, "bit flipped"), (cut, "cut")] {
            for name in ["log", "meta"] {
                put_back(&pristine.path().join(name), &folder.path().join(name));
            }
            fs::write(file, changed).unwrap();
            let what = format!("{} {what} at {position} of {length}", file.display());
            if check_outcome(folder, log, &what) { opened += 1 } else { refused += 1 }
        }
    }
    (opened, refused)
}

#[test]
fn a_changed_segment_is_an_honest_prefix_or_damage() {
    let (folder, log) = half_synced();
    let (opened, refused) = try_changes(&folder, &log, &folder.segment(1).join("db"), 40);
    // Neither outcome is rare: a test that never sees one of them would not notice a mistake in it.
    assert!(opened >= 10 && refused >= 10, "{opened} opened, {refused} refused");
}

#[test]
fn a_changed_meta_is_harmless_or_damage() {
    let (folder, log) = half_synced();
    let (opened, refused) = try_changes(&folder, &log, &folder.path().join("meta/db"), 40);
    assert!(opened + refused == 80 && refused >= 10, "{opened} opened, {refused} refused");
}

#[test]
fn changed_settings_and_snapshots_of_sled_are_harmless_or_damage() {
    let (folder, log) = half_synced();
    for place in [folder.segment(1), folder.path().join("meta")] {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("db") {
                let (opened, refused) = try_changes(&folder, &log, &path, 8);
                assert!(refused > 0, "{}: {opened} opened", path.display());
            }
        }
    }
}

#[test]
fn after_a_clean_stop_any_change_is_damage() {
    let (folder, _) = half_synced();
    folder.open().0.close();
    let file = folder.segment(1).join("db");
    let bytes = fs::read(&file).unwrap();
    for position in [0, 21, used(&bytes) / 2, used(&bytes) - 1, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[position] ^= 4;
        fs::write(&file, flipped).unwrap();
        assert!(matches!(damage_found(&folder), Fault::Hash), "at {position}");
    }
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(damage_found(&folder), Fault::Hash));
    fs::write(&file, bytes).unwrap();
    folder.open().0.close();
}

#[test]
fn a_changed_sealed_segment_is_never_opened() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[3000, 10]);
    running.roll();
    running.append(&[20]);
    running.writer.committed(index(2));
    eventually("sealing", || running.writer.is_sealed());
    running.close();
    let file = folder.segment(1).join("db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = used(&bytes) / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();

    let (running, recovered) = folder.open();
    assert_eq!(recovered.entries.len(), 1, "the start does not need it");
    let before = contents_of(&folder.segment(1));
    let error = running.reader.entries(index(1), index(3), 10).unwrap_err();
    assert!(matches!(&error, ReadError::Store(store) if store.is_damage()), "{error}");
    assert!(running.reader.locate(LogNumber::MAIN, Offset::ZERO).is_err());
    assert_eq!(contents_of(&folder.segment(1)), before);
    assert_eq!(running.reader.entries(index(3), index(3), 10).unwrap().len(), 1);
    running.close();
}

// ---- random histories ----

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Replace(u64, Vec<usize>),
    Roll,
    Commit(u64),
    Vote(Option<u16>),
    Close,
    Crash,
    Locate(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let sizes =
        || prop::collection::vec(prop_oneof![4 => 0..300_usize, 1 => 0..300_000_usize], 0..5);
    prop_oneof![
        8 => sizes().prop_map(Step::Append),
        4 => (1..8_u64, sizes()).prop_map(|(back, sizes)| Step::Replace(back, sizes)),
        4 => Just(Step::Roll),
        3 => (0..8_u64).prop_map(Step::Commit),
        2 => prop::option::of(1..4_u16).prop_map(Step::Vote),
        1 => Just(Step::Close),
        2 => Just(Step::Crash),
        3 => (0..40_u64).prop_map(Step::Locate),
    ]
}

/// The store beside a vector.
struct Model {
    folder: Folder,
    running: Option<Running>,
    committed: Index,
    hard_state: HardState,
}

impl Model {
    fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    fn perform(&mut self, step: Step) {
        let last = self.running().log.tip().id.index;
        match step {
            Step::Append(sizes) => self.running().append(&sizes),
            Step::Replace(back, sizes) => {
                let from = last.get().saturating_sub(back).max(self.committed.get()) + 1;
                self.running().replace(from, &sizes);
            }
            Step::Roll => self.running().roll(),
            Step::Commit(back) => {
                self.committed = self.committed.max(index(last.get().saturating_sub(back)));
                let committed = self.committed;
                self.running().writer.committed(committed);
            }
            Step::Vote(vote) => {
                self.hard_state.current_term = self.hard_state.current_term.next();
                self.hard_state.voted_for = vote.and_then(NodeId::new);
                let hard_state = Some(self.hard_state);
                self.running().write(Write { hard_state, ..nothing() });
            }
            Step::Close => {
                let log = self.running.take().unwrap().close();
                self.start(log);
            }
            Step::Crash => {
                let log = self.running.take().unwrap().crash();
                self.start(log);
            }
            Step::Locate(offset) => self.locate(Offset::new(offset)),
        }
        let running = self.running();
        assert_eq!(running.all(), running.log.entries);
    }

    fn start(&mut self, log: Log) {
        let (store, recovered) = self.folder.try_open().unwrap();
        let before = usize::try_from(recovered.head.tip.id.index.get()).unwrap();
        assert_eq!(recovered.entries, log.entries[before..]);
        assert!(recovered.head.tip.id.index <= self.committed, "only what is committed is sealed");
        assert_eq!(recovered.hard_state, self.hard_state);
        assert!(recovered.commit_index <= self.committed);
        assert!(recovered.report.floor.index <= log.tip().id.index);
        let mut running = Running::start(store, &recovered);
        running.log = log;
        self.running = Some(running);
    }

    fn locate(&mut self, offset: Offset) {
        let running = self.running();
        let holds = |entry: &&SealedEntry| {
            entry
                .requests()
                .unwrap()
                .iter()
                .any(|request| (request.first_offset..request.next_offset()).contains(&offset))
        };
        let expected = running.log.entries.iter().find(holds).map(|entry| entry.id().index);
        assert_eq!(running.reader.locate(LogNumber::MAIN, offset).unwrap(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_a_vector_would_hold(steps in prop::collection::vec(step(), 1..30)) {
        let folder = Folder::with_store();
        let running = Some(folder.open().0);
        let mut model =
            Model { folder, running, committed: Index::ZERO, hard_state: HardState::default() };
        steps.into_iter().for_each(|step| model.perform(step));
        let log = model.running.take().unwrap().crash();
        model.start(log);
    }
}

#[test]
#[ignore = "prints times: cargo test --lib store::tests::measured -- --ignored --nocapture"]
fn measured() {
    let folder = Folder::on_disk();
    let time = |what: &str, act: &mut dyn FnMut()| {
        let started = Instant::now();
        act();
        println!("{what}: {:?}", started.elapsed());
    };
    time("create", &mut || create(folder.path(), IDENTITY, &configuration(), &SMALL).unwrap());
    let mut running = None;
    time("open", &mut || running = Some(folder.open().0));
    let mut running = running.unwrap();
    for _ in 0..3 {
        time("append 100 B", &mut || running.append(&[100]));
    }
    time("append 100 B, 1000 times", &mut || (0..1000).for_each(|_| running.append(&[100])));
    time("append 4 MiB", &mut || running.append(&[4 << 20]));
    time("append 4 MiB", &mut || running.append(&[4 << 20]));
    time("vote", &mut || {
        running.write(Write { hard_state: Some(hard_state(1, Some(1))), ..nothing() });
    });
    time("roll", &mut || running.roll());
    let log = running.crash();
    let mut running = None;
    time("open after a crash", &mut || running = Some(folder.open().0));
    let running = running.unwrap();
    assert_eq!(running.all(), log.entries);
    time("seal", &mut || {
        running.writer.committed(index(u64::MAX));
        eventually("sealing", || running.writer.is_sealed());
    });
    let mut running = Some(running);
    time("close", &mut || drop(running.take().unwrap().close()));
    time("open after a clean stop", &mut || running = Some(folder.open().0));
}
