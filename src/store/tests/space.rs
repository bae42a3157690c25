//! A full disk.

use super::super::database::copy_bytes;
use super::super::layout::Layout;
use super::super::meta::META_SHAPE;
use super::super::testing::*;
use super::super::*;
use super::witness::choices;
use crate::entry::SealedEntry;
use crate::limits::RESERVE_BESIDE_COPY_BYTES;

/// So many that `meta` is longer than what a reserve has besides.
const SEGMENTS: usize = 700;

fn append(
    writer: &mut SteppedWriter,
    log: &mut Log,
    bytes: usize,
) -> Result<Option<Done>, StoreError> {
    let mut longer = log.clone();
    let entries = vec![longer.add(bytes)];
    writer.write(Write { ticket: Ticket::new(1), entries, ..nothing() });
    assert!(writer.begin());
    let done = writer.finish()?;
    *log = longer;
    Ok(done)
}

fn started() -> (MemoryDisk, SteppedWriter) {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    let mut writer = open_in(&disk, IDENTITY, small()).unwrap().0.into_stepped_writer();
    run_chores(&mut writer).unwrap();
    (disk, writer)
}

fn all(disk: &MemoryDisk) -> Vec<SealedEntry> {
    let (store, _) = open_in(disk, IDENTITY, small()).unwrap();
    store.reader().entries(index(1), index(u64::MAX), usize::MAX).unwrap()
}

#[test]
fn a_group_that_fits_into_a_file_that_is_there_needs_no_space() {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    // Into the file that was made ahead.
    append(&mut writer, &mut log, 70_000).unwrap();
    append(&mut writer, &mut log, 10).unwrap();
    disk.leave_room(0);
    for _ in 0..14 {
        append(&mut writer, &mut log, 10).unwrap();
        // There is none ahead, which is no error yet.
        run_chores(&mut writer).unwrap();
    }
    let error = append(&mut writer, &mut log, 10).unwrap_err();
    assert!(error.is_full() && error.hint().contains("make room"), "{error}");
    assert!(disk.faults().writes_refused >= 1);
    drop(writer);
    disk.restart();
    disk.make_room();
    assert_eq!(all(&disk), log.entries);
}

/// A store with a record, whose disk others fill to the last byte while it is closed.
fn on_a_full_disk() -> (MemoryDisk, Log) {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    append(&mut writer, &mut log, 10).unwrap();
    drop(writer);
    disk.restart();
    disk.leave_room(0);
    (disk, log)
}

#[test]
fn a_start_on_a_full_disk_takes_its_reserve_and_makes_it_again() {
    let (disk, mut log) = on_a_full_disk();
    let reserve = Layout::in_memory(disk.mount()).reserve();
    for _ in 0..3 {
        let (store, recovered) = open_in(&disk, IDENTITY, small()).unwrap();
        assert_eq!(recovered.entries, log.entries);
        let mut writer = store.into_stepped_writer();
        // A vote finds room, and so does the one file that is ready.
        writer.write(Write {
            ticket: Ticket::new(1),
            hard_state: Some(hard_state(9, None)),
            ..nothing()
        });
        assert!(writer.begin());
        writer.finish().unwrap();
        drop(writer);
        disk.restart();
    }
    disk.make_room();
    let mut writer = open_in(&disk, IDENTITY, small()).unwrap().0.into_stepped_writer();
    append(&mut writer, &mut log, 10).unwrap();
    writer.keep_up().unwrap();
    let layout = Layout::in_memory(disk.mount());
    assert!(layout.disk.exists(&reserve).unwrap());
    drop(writer);
    disk.restart();
    assert_eq!(all(&disk), log.entries);
}

/// What a start copies gets longer with each segment.
#[test]
fn a_start_on_a_full_disk_finds_room_after_many_segments() {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    for _ in 0..SEGMENTS {
        append(&mut writer, &mut log, 10).unwrap();
        writer.write(Write { ticket: Ticket::new(1), heads: log.end_segment(), ..nothing() });
        assert!(writer.begin());
        writer.finish().unwrap();
        writer.committed(log.tip().id.index).unwrap();
        run_chores(&mut writer).unwrap();
    }
    writer.keep_up().unwrap();
    drop(writer);
    disk.restart();
    disk.leave_room(0);
    let layout = Layout::in_memory(disk.mount());
    let copied = copy_bytes(&layout.disk, &layout.meta(), META_SHAPE).unwrap();
    assert!(copied > RESERVE_BESIDE_COPY_BYTES, "{copied} bytes: this shows nothing");
    open_in(&disk, IDENTITY, small()).unwrap();
}

#[test]
fn a_start_without_a_reserve_says_what_it_needs_and_leaves_nothing_behind() {
    let (disk, log) = on_a_full_disk();
    let layout = Layout::in_memory(disk.mount());
    layout.disk.remove_file(&layout.reserve()).unwrap();
    disk.leave_room(0);
    let operations = disk.operations();
    let Err(error) = open_in(&disk, IDENTITY, small()) else { panic!("there is no room") };
    assert!(matches!(error, StoreError::NoRoom { .. }) && !error.is_damage(), "{error}");
    assert_eq!(disk.operations(), operations, "it has left something behind");
    disk.restart();
    disk.make_room();
    assert_eq!(all(&disk), log.entries);
}

/// What was made of a file for which there was no space must not take the last there is.
#[test]
fn a_file_that_could_not_be_made_ahead_takes_no_space() {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    append(&mut writer, &mut log, 70_000).unwrap();
    let before = journal_of(&disk);
    disk.leave_room(FILE_BYTES / 2);
    append(&mut writer, &mut log, 10).unwrap();
    run_chores(&mut writer).unwrap();
    assert!(disk.faults().writes_refused >= 1);
    assert_eq!(journal_of(&disk), before);
    let files = Layout::in_memory(disk.mount());
    assert_eq!(files.disk.free_bytes(&files.data).unwrap(), FILE_BYTES / 2);
    drop(writer);
    disk.restart();
    disk.make_room();
    assert_eq!(all(&disk), log.entries);
}

/// Wherever the space ends, nothing that was answered is lost.
#[test]
fn nothing_is_lost_wherever_the_space_ends() {
    for room in (0..40).map(|step| step * 7000) {
        let (disk, mut writer) = started();
        let mut log = Log::new();
        let mut choose = choices(room);
        disk.leave_room(room);
        let mut work = || -> Result<(), StoreError> {
            for _ in 0..60 {
                append(&mut writer, &mut log, usize::try_from(choose(6000)).unwrap())?;
                if choose(8) == 0 {
                    let heads = log.end_segment();
                    writer.write(Write { ticket: Ticket::new(1), heads, ..nothing() });
                    assert!(writer.begin());
                    writer.finish()?;
                    writer.committed(log.tip().id.index)?;
                }
                run_chores(&mut writer)?;
            }
            Ok(())
        };
        match work() {
            Err(error) => assert!(error.is_full(), "{room}: {error}"),
            Ok(()) => assert!(room > 100_000, "{room}: there was no end"),
        }
        drop(writer);
        disk.restart();
        disk.make_room();
        assert_eq!(all(&disk), log.entries, "{room}");
    }
}

/// What proves that the last group was whole needs no space, or is left: nobody has asked for it.
#[test]
fn an_idle_store_does_not_mind_a_full_disk() {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    disk.leave_room(FILE_BYTES / 2);
    // The file that was made ahead is full after this, and for another there was no space.
    for _ in 0..34 {
        append(&mut writer, &mut log, 10).unwrap();
        run_chores(&mut writer).unwrap();
    }
    disk.leave_room(0);
    for _ in 0..3 {
        writer.keep_up().unwrap();
    }
    drop(writer);
    disk.restart();
    disk.make_room();
    assert_eq!(all(&disk), log.entries);
}

/// A copy of what the journal has is not worth the last space.
#[test]
fn a_stop_in_order_does_without_a_copy_for_which_there_is_no_room() {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    append(&mut writer, &mut log, 50_000).unwrap();
    writer.committed(log.tip().id.index).unwrap();
    disk.leave_room(20_000);
    writer.close().unwrap();
    disk.restart();
    let (_, recovered) = open_in(&disk, IDENTITY, small()).unwrap();
    assert!(recovered.report.clean);
    assert_eq!(recovered.entries, log.entries);
}
