//! A store that is made of a log that there is already.

use super::super::meta::SealedRow;
use super::super::testing::*;
use super::super::*;

/// A log of three segments, and of the same entries the heads between them.
fn three_segments() -> (Log, Vec<Head>) {
    let mut log = Log::new();
    // As a new node's: there are no clients yet.
    let mut heads = vec![Head { sessions: Bytes::new(), ..log.head() }];
    for sizes in [&[10, 70_000][..], &[20], &[30, 40, 50]] {
        for bytes in sizes {
            log.add(*bytes);
        }
        heads.extend(log.end_segment());
    }
    (log, heads)
}

/// Makes a store of the segments between these heads.
fn restored(log: &Log, heads: &[Head]) -> Folder {
    let folder = Folder::new();
    let mut restoring = Restoring::begin(folder.path(), IDENTITY, &heads[0], small()).unwrap();
    for (head, next) in heads.iter().zip(&heads[1..]) {
        let within = |entry: &&SealedEntry| {
            (head.tip.id.index.next()..=next.tip.id.index).contains(&entry.id().index)
        };
        let entries: Vec<_> = log.entries.iter().filter(within).cloned().collect();
        restoring.seal(head, &entries, next).unwrap();
        assert!(!exists(folder.path()).unwrap(), "it is there when all of it is");
    }
    restoring.finish(heads.last().unwrap()).unwrap();
    folder
}

fn rows(folder: &Folder) -> Vec<SealedRow> {
    let mut meta = open_meta(folder);
    let rows = meta.sealed_rows();
    meta.close();
    rows
}

#[test]
fn a_store_that_is_made_of_a_log_is_as_one_that_wrote_it() {
    let (log, heads) = three_segments();
    let folder = restored(&log, &heads);
    let found = inspect(folder.path(), None).unwrap();
    assert_eq!((found.damage, found.last, found.segments), (vec![], log.tip(), 4));
    assert_eq!((found.commit_index, found.hard_state), (log.tip().id.index, hard_state(1, None)));

    let (mut running, recovered) = folder.open_with(log.clone());
    assert_eq!((&recovered.head, &recovered.entries[..]), (heads.last().unwrap(), &[][..]));
    assert_eq!(recovered.commit_index, log.tip().id.index);
    assert_eq!(running.all(), log.entries);
    let locate = |offset| running.reader.locate(LogNumber::MAIN, Offset::new(offset)).unwrap();
    assert_eq!([0, 3, 5, 6].map(locate), [Some(index(1)), Some(index(4)), Some(index(6)), None]);
    running.append(&[60]);
    running.roll();
    running.seal();
    let log = running.close();
    let (running, recovered) = folder.open_with(log);
    assert!(recovered.report.clean);
    running.close();

    // What each segment holds is what any node's holds.
    let written = Folder::with_store();
    let (mut running, _) = written.open();
    for sizes in [&[10, 70_000][..], &[20], &[30, 40, 50], &[60]] {
        running.append(sizes);
        running.roll();
        running.seal();
    }
    running.close();
    let contents = |folder| {
        let of_row = |row: SealedRow| (row.first, row.last, row.content, row.ends_parts);
        rows(folder).into_iter().map(of_row).collect::<Vec<_>>()
    };
    assert_eq!(contents(&folder), contents(&written));
}

#[test]
fn a_log_without_its_beginning_is_restored_as_well() {
    let (log, heads) = three_segments();
    let folder = restored(&log, &heads[1..]);
    let found = inspect(folder.path(), None).unwrap();
    assert_eq!((found.damage, found.first_index), (vec![], index(3)));
    let (running, _) = folder.open_with(log.clone());
    assert_eq!(running.reader.first(), index(3));
    assert_eq!(running.reader.entries(index(3), index(9), usize::MAX).unwrap(), log.entries[2..]);
    running.close();
}

#[test]
fn one_that_was_broken_off_is_no_store_and_one_that_is_there_is_left_alone() {
    let (log, heads) = three_segments();
    let folder = Folder::new();
    let mut restoring = Restoring::begin(folder.path(), IDENTITY, &heads[0], small()).unwrap();
    restoring.seal(&heads[0], &log.entries[..2], &heads[1]).unwrap();
    drop(restoring);
    assert!(matches!(folder.try_open(), Err(StoreError::Missing { .. })));

    let folder = restored(&log, &heads);
    let before = folder.contents();
    let again = Restoring::begin(folder.path(), IDENTITY, &heads[0], small());
    assert!(matches!(again, Err(StoreError::Exists { .. })));
    assert!(folder.contents() == before);
}
