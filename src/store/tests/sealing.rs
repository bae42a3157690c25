//! Sealing: what a segment holds, and what goes on beside it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::Duration;

use super::super::database::{Database, FilesHash};
use super::super::disk::Disk;
use super::super::group::Group;
use super::super::group_writer::GroupWriter;
use super::super::layout::Layout;
use super::super::meta::{LastEntry, Meta, SealedRow};
use super::super::segment::{ContentHash, load, segment_shape};
use super::super::segments::Found;
use super::super::testing::*;
use super::super::upkeep::Upkeep;
use super::super::*;
use crate::limits::{JOURNAL_SPARES_MAX, UNSEALED_SEGMENTS_MAX};

/// The rows of a store's sealed segments.
fn sealed_rows(folder: &Folder) -> Vec<SealedRow> {
    let (_, contents) = Meta::open(&Disk::real(), &Layout::of(folder.path()).meta()).unwrap();
    contents.sealed.into_values().collect()
}

/// A log of three segments and an entry, and where they end.
fn three_segments() -> Log {
    let mut log = Log::new();
    for sizes in [&[10, 200_000, 30][..], &[5000; 40], &[1, 2, 3]] {
        for bytes in sizes {
            log.add(*bytes);
        }
        log.end_segment();
    }
    log.add(7);
    log
}

/// A segment is a function of the log: of what it was cut into by writes, files, crashes and
/// truncations, nothing is left in it.
#[test]
fn a_segment_holds_the_same_wherever_it_was_made() {
    let log = three_segments();
    let heads = log.heads_behind(Index::ZERO);
    let one = Folder::with_store();
    let (mut running, _) = one.open();
    let entries = log.entries.clone();
    running.write(Write { entries, heads: heads.clone(), ..nothing() });
    running.write(nothing());
    running.writer.committed(log.tip().id.index);
    eventually("sealing", || running.writer.is_sealed());
    running.close();

    let other = Folder::with_store();
    let (mut running, _) = other.open();
    running.append(&[3000; 30]);
    running.replace(1, &[]);
    for entry in &log.entries {
        running.write(Write { entries: vec![entry.clone()], ..nothing() });
    }
    running.crash();
    let (mut running, _) = other.open();
    for head in heads {
        let committed = head.tip.id.index;
        running.tell(vec![head]);
        running.writer.committed(committed);
        eventually("sealing", || running.writer.is_sealed());
    }
    running.close();

    let rows = [one, other].map(|folder| sealed_rows(&folder));
    let told = rows.map(|rows| {
        let told = |row: SealedRow| (row.first, row.last, row.content);
        rows.into_iter().map(told).collect::<Vec<_>>()
    });
    assert_eq!(told[0].len(), 3);
    assert_eq!(told[0], told[1]);
}

#[test]
fn an_orderly_stop_leaves_in_sled_all_that_is_committed_and_promised() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[10, 20]);
    running.roll();
    running.seal();
    running.append(&[3000; 50]);
    running.write(Write { hard_state: Some(hard_state(4, Some(2))), ..nothing() });
    running.writer.committed(index(42));
    let log = running.close();

    let copy = Folder::new();
    for (first, last) in [(1, 2), (3, 42)] {
        let place = copy.path().join("segment");
        copy_folder(&folder.segment(first), &place);
        let database = Database::open(&Disk::real(), &place, segment_shape()).unwrap();
        let loaded = load(&database, index(first)).unwrap();
        let range = usize::try_from(first - 1).unwrap()..usize::try_from(last).unwrap();
        assert_eq!(loaded.entries, log.entries[range]);
        drop(database);
        std::fs::remove_dir_all(&place).unwrap();
    }
    let record = open_meta(&folder).record().clone();
    assert_eq!((record.hard_state, record.commit_index), (hard_state(4, Some(2)), index(42)));
    assert!(record.is_clean);
    folder.open_with(log).0.close();
}

/// A store whose chores are done when the test says so, and a log for it.
struct ByHand {
    disk: MemoryDisk,
    writer: GroupWriter,
    log: Log,
}

impl ByHand {
    fn new() -> Self {
        Self::over(Upkeep::Steps(RefCell::default()))
    }

    fn over(upkeep: Upkeep) -> Self {
        let disk = MemoryDisk::new();
        create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
        let (store, _) = open_in(&disk, IDENTITY, small()).unwrap();
        Self { disk, writer: GroupWriter::new(store, upkeep), log: Log::new() }
    }

    fn write(&mut self, write: Write) {
        let group = Group::take_from(&mut VecDeque::from([write])).unwrap();
        self.writer.perform(group, drop).unwrap();
    }

    fn append(&mut self, bytes: usize) {
        let entries = vec![self.log.add(bytes)];
        self.write(Write { entries, ..nothing() });
    }

    fn roll(&mut self) {
        let heads = self.log.end_segment();
        self.write(Write { heads, ..nothing() });
    }

    fn run_chores(&self) {
        self.writer.upkeep().run_all(self.writer.shared()).unwrap();
    }
}

/// `meta` names the oldest file that the next start reads. Nobody may take it in the moment after that,
/// even if nothing in it is needed any more by then.
#[test]
fn the_journal_keeps_what_meta_needs_whatever_is_written_meanwhile() {
    let mut store = ByHand::new();
    store.append(10);
    store.roll();
    let shared = store.writer.shared().clone();
    shared.note_committed(index(1));
    let full = shared.segments.full(index(1)).unwrap();
    let from = shared.segments.journal_from(index(2)).unwrap();
    let tip = store.log.tip();

    // Into the next file, where the log goes on.
    store.append(70_000);
    assert!(shared.segments.journal_from(index(2)).unwrap() > from);
    let (content, files) = (ContentHash::of_test(1), FilesHash::of_test(1));
    let row = SealedRow {
        first: tip.id.index,
        last: LastEntry::from(&tip),
        content,
        files,
        ends_parts: 0,
    };
    let unneeded = shared.segments.note_sealed(&full, row, from);
    assert!(unneeded.iter().all(|file| file.number < from), "{unneeded:?}");
}

#[test]
fn who_reads_from_a_file_goes_on_reading_while_it_is_sealed_and_used_again() {
    let mut store = ByHand::new();
    let entries = (0..3).map(|_| store.log.add(1000)).collect();
    store.write(Write { entries, ..nothing() });
    let shared = store.writer.shared().clone();
    let found = shared.segments.find(index(1), index(3), usize::MAX).unwrap();
    let Some(Found::Journal(piece)) = found else { panic!("{found:?}") };
    let expected = store.log.entries.clone();
    store.roll();
    for _ in 0..6 {
        for _ in 0..40 {
            store.append(1000);
        }
        store.roll();
        shared.note_committed(store.log.tip().id.index);
        shared.seal_all().unwrap();
        store.run_chores();
        assert_eq!(piece.read().unwrap(), expected);
    }
    assert!(!journal_of(&store.disk).iter().any(|path| path == piece.file.path()));
    let found = shared.segments.find(index(1), index(3), usize::MAX).unwrap();
    let Some(Found::Sealed(segment, _)) = found else { panic!("{found:?}") };
    assert_eq!(segment.entries(index(1), index(3), usize::MAX).unwrap(), expected);
}

/// What is sealed was closed behind a barrier: whoever reads it need not wait for the disk.
#[test]
fn a_sealed_segment_is_read_without_a_sync() {
    let mut store = ByHand::new();
    store.append(1000);
    store.roll();
    let shared = store.writer.shared().clone();
    shared.note_committed(index(1));
    shared.seal_all().unwrap();
    store.disk.fail_sync_once();
    for expected in [1, 2] {
        let Some(Found::Sealed(segment, _)) = shared.segments.find(index(1), index(1), 1).unwrap()
        else {
            panic!("it is not sealed")
        };
        assert_eq!(shared.segments.opened(), expected);
        while !segment.is_worn() {
            assert_eq!(segment.entries(index(1), index(1), 1).unwrap(), store.log.entries);
        }
    }
    assert_eq!(store.disk.faults().syncs_failed, 0);
}

#[test]
fn files_are_used_again_and_only_so_many_are_kept() {
    let mut store = ByHand::new();
    let shared = store.writer.shared().clone();
    let mut most = 0;
    for _ in 0..12 {
        for _ in 0..100 {
            store.append(1000);
            store.run_chores();
        }
        most = most.max(journal_of(&store.disk).len());
        store.roll();
        shared.note_committed(store.log.tip().id.index);
        shared.seal_all().unwrap();
        store.run_chores();
        assert!(journal_of(&store.disk).len() <= 1 + JOURNAL_SPARES_MAX);
    }
    assert!(most > 1 + JOURNAL_SPARES_MAX, "too few to show anything");
    // The next start keeps no more.
    drop((store.writer, shared));
    store.disk.restart();
    let (store_again, _) = open_in(&store.disk, IDENTITY, small()).unwrap();
    assert!(journal_of(&store.disk).len() <= 1 + JOURNAL_SPARES_MAX);
    drop(store_again);
}

/// A file that nobody has made ahead is used as far as one that somebody has.
#[test]
fn a_file_that_was_needed_at_once_is_used_to_its_end() {
    let mut store = ByHand::new();
    store.append(70_000);
    let before = journal_of(&store.disk).len();
    for _ in 0..10 {
        store.append(1000);
    }
    assert_eq!(journal_of(&store.disk).len(), before + 1);
}

/// Nobody seals any more once a store is dropped.
#[test]
fn a_writer_that_waits_for_sealing_ends_when_the_store_is_dropped() {
    let (chores, inbox) = mpsc::channel();
    let mut store = ByHand::over(Upkeep::Thread(chores));
    for _ in 0..UNSEALED_SEGMENTS_MAX {
        store.append(10);
        store.roll();
    }
    let shared = store.writer.shared().clone();
    shared.note_committed(store.log.tip().id.index);
    assert!(shared.segments.is_behind(store.log.tip().id.index));
    let (ended, end) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        store.append(10);
        ended.send(()).unwrap();
    });
    assert!(end.recv_timeout(Duration::from_millis(100)).is_err(), "it does not wait");
    shared.abandon();
    end.recv_timeout(Duration::from_mins(1)).unwrap();
    waiting.join().unwrap();
    drop(inbox);
}
