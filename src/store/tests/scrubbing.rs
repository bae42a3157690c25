//! Scrubbing: what is read when, and what comes of rot.

use std::fs;
use std::time::Duration;

use super::super::testing::*;
use super::super::*;
use crate::limits::SCRUB_DEFAULT;

/// A store with three sealed segments, closed.
fn three_sealed() -> Folder {
    let folder = Folder::on_disk_with_store();
    let (mut running, _) = folder.open();
    for sizes in [[10, 20], [30, 40], [50, 60]] {
        running.append(&sizes);
        running.roll();
        running.seal();
    }
    running.close();
    folder
}

/// Opens it, to be scrubbed once in so long.
fn scrubbed(folder: &Folder, period: Duration) -> (SteppedWriter, Reader) {
    let (store, _) = folder.try_open().unwrap();
    let reader = store.reader();
    let writer = store.into_stepped_writer();
    writer.scrub_every(Some(period));
    (writer, reader)
}

#[test]
fn each_segment_is_read_in_its_turn_and_damage_is_known_until_it_is_mended() {
    let folder = three_sealed();
    let (mut writer, reader) = scrubbed(&folder, Duration::ZERO);
    let round = |writer: &mut SteppedWriter| (0..3).for_each(|_| writer.keep_up().unwrap());
    round(&mut writer);
    assert_eq!((reader.scrubbed(), damaged(&reader)), (3, vec![]));
    flip(&folder.segment(3).join("db"));
    round(&mut writer);
    assert_eq!((reader.scrubbed(), damaged(&reader)), (6, vec![(index(3), index(4))]));
    // What is not damaged goes on being read, and the store being written to.
    assert_eq!(reader.entries(index(1), index(2), usize::MAX).unwrap().len(), 2);
    fs::remove_file(folder.segment(5).join("conf")).unwrap();
    round(&mut writer);
    let both = vec![(index(3), index(4)), (index(5), index(6))];
    assert_eq!(damaged(&reader), both);
    // That its files are what they were proves nothing of what it is read with.
    flip(&folder.segment(3).join("db"));
    round(&mut writer);
    assert_eq!(damaged(&reader), both);
    assert!(reader.entries(index(5), index(6), usize::MAX).is_err(), "no wrong byte is served");
}

#[test]
fn nothing_is_read_before_its_time_and_a_start_goes_on_where_it_was() {
    let folder = three_sealed();
    let (mut writer, reader) = scrubbed(&folder, SCRUB_DEFAULT);
    for _ in 0..3 {
        writer.keep_up().unwrap();
    }
    assert_eq!(reader.scrubbed(), 1, "the first has never been read");
    drop((writer, reader));
    flip(&folder.segment(1).join("db"));
    flip(&folder.segment(3).join("db"));
    let (mut writer, reader) = scrubbed(&folder, SCRUB_DEFAULT);
    writer.keep_up().unwrap();
    assert_eq!(reader.scrubbed(), 0, "nothing is due");
    writer.scrub_every(Some(Duration::ZERO));
    writer.keep_up().unwrap();
    assert_eq!(damaged(&reader), [(index(3), index(4))], "the second is next");
    writer.scrub_every(None);
    writer.keep_up().unwrap();
    assert_eq!(reader.scrubbed(), 1);
}

#[test]
fn a_damaged_segment_that_is_given_up_is_nobodys() {
    let folder = three_sealed();
    flip(&folder.segment(1).join("db"));
    let (mut writer, reader) = scrubbed(&folder, Duration::ZERO);
    writer.keep_up().unwrap();
    assert_eq!(damaged(&reader), [(index(1), index(2))]);
    writer.release_before(index(3));
    run_chores(&mut writer).unwrap();
    assert_eq!(damaged(&reader), []);
}

#[test]
fn a_start_knows_what_was_found_damaged_before() {
    let folder = three_sealed();
    flip(&folder.segment(3).join("db"));
    let (mut writer, reader) = scrubbed(&folder, Duration::ZERO);
    (0..3).for_each(|_| writer.keep_up().unwrap());
    assert_eq!(damaged(&reader), [(index(3), index(4))]);
    drop((writer, reader));
    // Nothing is due for a week, and nobody reads it.
    let (writer, reader) = scrubbed(&folder, SCRUB_DEFAULT);
    assert_eq!(damaged(&reader), [(index(3), index(4))]);
    drop((writer, reader));
    // A mark of what was given up is no damage, and goes.
    let mark = folder.path().join("log/00000000000000000000.damaged");
    fs::write(&mark, "").unwrap();
    let (writer, reader) = scrubbed(&folder, SCRUB_DEFAULT);
    assert_eq!(damaged(&reader), [(index(3), index(4))]);
    assert!(!mark.exists());
    drop((writer, reader));
    // What somebody has put back is whole again.
    flip(&folder.segment(3).join("db"));
    let (writer, reader) = scrubbed(&folder, SCRUB_DEFAULT);
    assert_eq!(damaged(&reader), []);
    assert!(!folder.path().join("log/00000000000000000003.damaged").exists());
    drop((writer, reader));
}
