//! Giving up: what goes, what stays, and who still reads it.

use super::super::segments::Found;
use super::super::testing::*;
use super::super::*;
use super::witness::End;

/// A store with three sealed segments of two entries each, and an entry behind them.
fn three_sealed() -> (Folder, Running) {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    for _ in 0..3 {
        running.append(&[10, 20]);
        running.roll();
        running.seal();
    }
    running.append(&[30]);
    (folder, running)
}

fn release(running: &Running, before: u64, first: u64) {
    running.writer.release_before(index(before));
    eventually("giving up", || running.reader.first() == index(first));
}

/// The first segment, as a reader finds it.
fn find_first(running: &Running) -> Option<Found> {
    running.reader.segments().find(index(1), index(2), usize::MAX).unwrap()
}

/// Whether the folder of each segment is there.
fn folders(folder: &Folder) -> [bool; 3] {
    [1, 3, 5].map(|first| folder.segment(first).exists())
}

#[test]
fn whole_segments_go_from_the_front_and_the_newest_stays() {
    let (folder, running) = three_sealed();
    // It does not reach over a segment's end.
    running.writer.release_before(index(2));
    release(&running, 3, 3);
    eventually("its folder", || folders(&folder) == [false, true, true]);
    release(&running, 100, 5);
    eventually("its folder", || folders(&folder) == [false, false, true]);
    let rest = running.log.entries[4..].to_vec();
    assert_eq!(running.reader.entries(index(5), index(9), usize::MAX).unwrap(), rest);
    assert_eq!(running.reader.entries(index(1), index(9), usize::MAX).unwrap(), []);
    let locate = |offset| running.reader.locate(LogNumber::MAIN, Offset::new(offset)).unwrap();
    assert_eq!([0, 4, 6].map(locate), [None, Some(index(5)), Some(index(7))]);

    let log = running.close();
    let found = inspect(folder.path(), None).unwrap();
    assert_eq!((found.damage, found.first_index, found.segments), (vec![], index(5), 2));
    assert_eq!(found.chain, Some(log.tip().chain));
    let (running, recovered) = folder.open_with(log);
    assert_eq!((running.reader.first(), recovered.report.segments), (index(5), 2));
    assert_eq!(running.reader.entries(index(5), index(9), usize::MAX).unwrap(), rest);
    running.close();
}

#[test]
fn nothing_goes_that_somebody_takes_along() {
    let (folder, running) = three_sealed();
    let kept = running.reader.keep();
    assert_eq!(kept.first(), index(1));
    let head = |reader: &Reader| decode_head(&reader.first_head().unwrap()).unwrap();
    assert_eq!(head(&running.reader).tip.id.index, Index::ZERO);
    running.writer.release_before(index(100));
    // Another keeps what is behind; the first is what counts.
    let later = running.reader.keep();
    later.move_to(index(6));
    kept.move_to(index(3));
    eventually("the first segment going", || running.reader.first() == index(3));
    assert_eq!(head(&running.reader).tip.id.index, index(2));
    eventually("its folder", || folders(&folder) == [false, true, true]);
    let entries = running.reader.entries(index(3), index(9), usize::MAX).unwrap();
    assert_eq!(entries, running.log.entries[2..]);
    drop(kept);
    eventually("the second segment going", || running.reader.first() == index(5));
    running.close();
}

/// Before anything is sealed the head is the journal's.
#[test]
fn the_first_head_is_there_from_the_beginning() {
    let folder = Folder::with_store();
    let (mut running, _) = folder.open();
    running.append(&[10]);
    let head = running.reader.first_head().unwrap();
    assert_eq!(decode_head(&head).unwrap().tip, Tip::default());
    running.close();
}

#[test]
fn only_what_is_dead_ends_before_the_limit_and_is_not_the_newest_may_go() {
    let (_folder, running) = three_sealed();
    let before = |below, start: Option<u64>| {
        running.reader.dead_before(index(below), &|_| start.map(Offset::new)).get()
    };
    let all = [0, 1, 2, 3, 4, 5, 6, 7].map(|start| before(100, Some(start)));
    assert_eq!(all, [1, 1, 3, 3, 5, 5, 5, 5]);
    let limited = [1, 2, 3, 4, 5, 100].map(|below| before(below, None));
    assert_eq!(limited, [1, 1, 3, 3, 5, 5]);
    running.close();
}

#[test]
fn who_reads_what_is_given_up_goes_on_reading() {
    let (folder, running) = three_sealed();
    let found = find_first(&running);
    let Some(Found::Sealed(segment, _)) = found else { panic!("it is sealed: {found:?}") };
    release(&running, 5, 5);
    eventually("the other folder", || folders(&folder) == [true, false, true]);
    let entries = segment.entries(index(1), index(2), usize::MAX).unwrap();
    assert_eq!(entries, running.log.entries[..2]);
    drop(segment);
    // It is looked for twice a second.
    eventually("its folder", || folders(&folder) == [false, false, true]);
    running.close();
}

/// A file that a reader keeps, or a crash: the next start deletes what no list names.
#[test]
fn what_a_stop_leaves_of_it_the_next_start_deletes() {
    let (folder, running) = three_sealed();
    let segments = running.reader.segments().clone();
    let found = find_first(&running);
    release(&running, 3, 3);
    let log = running.close();
    assert_eq!(folders(&folder), [true, true, true]);
    drop((found, segments));
    let (running, _) = folder.open_with(log);
    assert_eq!(folders(&folder), [false, true, true]);
    running.close();
}

/// Sealing takes long, and makes way for appends: seen on three nodes on two cores, 300 MB waited for it.
#[test]
fn what_is_dead_does_not_wait_until_another_segment_is_sealed() {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    let (store, _) = open_in(&disk, IDENTITY, small()).unwrap();
    let (reader, mut writer) = (store.reader(), store.into_stepped_writer());
    let mut log = Log::new();
    for ticket in 1..4 {
        let entries = vec![log.add(700_000), log.add(700_000)];
        let heads = log.end_segment();
        writer.write(Write { ticket: Ticket::new(ticket), entries, heads, ..nothing() });
        assert!(writer.begin());
        writer.finish().unwrap();
        writer.committed(log.tip().id.index).unwrap();
        if ticket < 3 {
            run_chores(&mut writer).unwrap();
        }
    }
    // It is asked for while the third is to be sealed, and done before that is on the list.
    writer.release_before(index(3));
    while reader.first() == index(1) {
        assert!(writer.begin_chore());
        writer.finish_chore().unwrap();
    }
    let listed = disk.sealed_after(Index::ZERO);
    assert_eq!(listed.iter().map(|it| it.first.get()).collect::<Vec<_>>(), [3, 5]);
    assert!(writer.begin_chore(), "its own chore is still to come");
}

/// Nothing is written where `meta` may have no room: a full disk ends a process.
#[test]
fn a_disk_without_room_keeps_what_it_has_until_it_has_some() {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    let (store, _) = open_in(&disk, IDENTITY, small()).unwrap();
    let (reader, mut writer) = (store.reader(), store.into_stepped_writer());
    let mut log = Log::new();
    for ticket in 1..4 {
        let entries = vec![log.add(10)];
        let heads = log.end_segment();
        writer.write(Write { ticket: Ticket::new(ticket), entries, heads, ..nothing() });
        assert!(writer.begin());
        writer.finish().unwrap();
        writer.committed(log.tip().id.index).unwrap();
        run_chores(&mut writer).unwrap();
    }
    disk.leave_room(1000);
    writer.keep_up().unwrap();
    writer.release_before(index(3));
    run_chores(&mut writer).unwrap();
    assert_eq!(reader.first(), index(1));
    disk.make_room();
    writer.keep_up().unwrap();
    writer.keep_up().unwrap();
    assert_eq!(reader.first(), index(3));
    drop(writer);
    End::LoseAll.strike(&disk);
    let (store, _) = open_in(&disk, IDENTITY, small()).unwrap();
    assert_eq!(store.reader().first(), index(3));
}
