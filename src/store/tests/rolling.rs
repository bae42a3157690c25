//! Segments: where they end, sealing, truncating.

use super::super::testing::*;
use super::super::*;

#[test]
fn full_segments_are_sealed_once_committed_and_read_from_then_on() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for _ in 0..3 {
        running.append(&[3000, 3000]);
        running.roll();
        let segment = folder.segment(running.log.tip().id.index.get() - 1);
        assert!(!segment.exists(), "sealed before it was committed");
        running.seal();
        assert!(segment.exists());
    }
    running.append(&[3000]);
    assert_eq!(running.all(), running.log.entries);
    let log = running.crash();

    for clean in [false, true] {
        let (running, recovered) = folder.open();
        assert_eq!(recovered.report.segments, 4);
        assert_eq!(recovered.entries, log.entries[6..], "only what is not sealed is read");
        assert_eq!(recovered.head.sessions, "sessions");
        assert_eq!(recovered.head.tip, log.entries[5].tip());
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
        running.seal();
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
        running.seal();
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
fn a_segment_is_opened_anew_once_so_much_was_read_of_it_that_sled_would_keep() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[10]);
    running.roll();
    running.seal();
    // A read counts as the pages that it brings into memory, however little it gives.
    let reads = crate::limits::SEALED_READ_BYTES_MAX / crate::limits::LOCATE_BYTES as u64;
    for expected in [1, 2] {
        for _ in 0..reads {
            assert_eq!(running.all(), running.log.entries);
        }
        assert_eq!(running.writer.opened(), expected);
    }
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
        running.seal();
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
        running.seal();
    }
    let expected = running.log.entries.clone();
    for _ in 0..3 {
        assert!(running.all() == expected);
        running.crash();
        running = folder.open().0;
    }
}

#[test]
fn segments_fill_on_while_those_before_are_not_committed() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for _ in 0..6 {
        running.append(&[3000, 3000]);
        running.roll();
    }
    running.append(&[10]);
    let log = running.crash();
    let (running, recovered) = folder.open_with(log);
    assert_eq!(recovered.report.segments, 1);
    // All that are full are sealed as soon as this run hears that they are committed.
    running.writer.committed(index(9));
    eventually("sealing", || running.writer.is_sealed());
    assert_eq!(running.all(), running.log.entries);
    let log = running.crash();
    let (running, recovered) = folder.open_with(log);
    assert_eq!(recovered.report.segments, 5);
    assert_eq!(running.all(), running.log.entries);
    running.close();
}

/// A write may fill several segments, and their ends may be told long after it.
#[test]
fn the_end_of_a_segment_may_lie_within_a_write_and_be_told_later() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    let mut entries = vec![];
    for segment in 0..3 {
        entries.extend((0..4).map(|step| running.log.add(100 * segment + step)));
        running.log.end_segment();
    }
    entries.push(running.log.add(7));
    running.write(Write { entries, ..nothing() });
    running.append(&[8]);
    for head in running.log.heads_behind(Index::ZERO) {
        running.tell(vec![head]);
    }
    running.seal();
    assert_eq!(running.all(), running.log.entries);
    let log = running.crash();
    let (running, recovered) = folder.open_with(log);
    assert_eq!(recovered.report.segments, 4);
    assert_eq!(recovered.head.tip.id.index, index(12));
    assert_eq!(running.all(), running.log.entries);
    running.close();
}

#[test]
fn a_head_larger_than_a_group_commit_is_whole() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[1]);
    let sessions: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    let head = Head { sessions: sessions.clone().into(), ..running.log.head() };
    running.tell(vec![head]);
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
    running.replace(2, &[7]);
    assert_eq!(running.all(), running.log.entries);
    for (offset, expected) in [(0, Some(1)), (1, Some(2)), (2, None)] {
        let found = running.reader.locate(LogNumber::MAIN, Offset::new(offset)).unwrap();
        assert_eq!(found, expected.map(index));
    }
    let log = running.crash();
    assert_eq!(folder.open().1.entries, log.entries);
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

/// The end of a segment was told, and is taken back before it is committed.
#[test]
fn a_truncation_takes_back_the_end_of_a_segment() {
    for then_crash in [false, true] {
        let folder = Folder::with_store();
        let (mut running, _) = folder.open();
        running.append(&[3000, 3000, 3000]);
        running.roll();
        running.append(&[1000, 1000]);
        running.roll();
        running.replace(3, &[1, 2]);
        assert_eq!(running.all(), running.log.entries);
        if then_crash {
            let log = running.crash();
            running = folder.open_with(log).0;
        }
        // And the same border can be crossed again, elsewhere.
        running.seal();
        assert!(!folder.segment(1).exists(), "no segment is full");
        running.append(&[4]);
        running.roll();
        running.append(&[9]);
        running.seal();
        assert!(folder.segment(1).exists());
        let log = running.close();
        let (running, recovered) = folder.open_with(log);
        assert_eq!(recovered.report.segments, 2);
        assert_eq!(recovered.head.tip.id.index, index(5));
        assert_eq!(running.all(), running.log.entries);
        running.close();
    }
}

/// The beginnings of a file of the journal are of no use any more, and what was in them is not what
/// a later truncation goes back to.
#[test]
fn a_truncation_reaches_behind_what_the_oldest_file_begins_with() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[10; 4]);
    running.append(&[10; 4]);
    let first = folder.journal().len();
    running.append(&[70_000]);
    running.append(&[20, 30]);
    assert!(folder.journal().len() > first, "they are in another file");
    running.replace(5, &[1, 2]);
    running.log.end_segment();
    // A segment that ends right before what the truncation has brought.
    let head = Log::of(&running.log.entries[..4]).head();
    running.tell(vec![head]);
    running.writer.committed(index(4));
    eventually("sealing", || running.writer.is_sealed());
    assert!(folder.segment(1).exists());
    let log = running.crash();
    let (_, recovered) = folder.open();
    assert_eq!(recovered.entries, log.entries[4..]);
}
