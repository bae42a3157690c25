//! A group of the journal is there as a whole or not at all, whichever of its blocks a power cut has
//! left.

use super::super::journal::{GroupMark, Scan};
use super::super::layout::Layout;
use super::super::testing::*;
use super::super::*;
use super::witness::every_choice;
use crate::entry::SealedEntry;
use crate::limits::JOURNAL_BLOCK_BYTES;

/// Bytes of a record that makes a group of three blocks.
const THREE_BLOCKS: usize = 9000;

fn write(writer: &mut SteppedWriter, entries: Vec<SealedEntry>) -> bool {
    writer.write(Write { ticket: Ticket::new(1), entries, ..nothing() });
    assert!(writer.begin());
    writer.finish().is_ok()
}

/// Cuts the power while a group of three blocks is written, in every way there is. Returns how often it
/// was torn, how often whole, and how many ways there were.
fn cut_in_every_way(disk: &MemoryDisk, mut writer: SteppedWriter, log: &Log) -> (u64, u64, u64) {
    let mut longer = log.clone();
    let entries = vec![longer.add(THREE_BLOCKS)];
    // It is written, and its sync does not come.
    disk.fail_after(1);
    assert!(!write(&mut writer, entries));
    let (mut torn, mut whole) = (0, 0);
    let ways = every_choice(|choose| {
        let disk = disk.duplicate();
        let before = disk.faults();
        disk.power_cut(choose);
        let lost = disk.faults().blocks_lost - before.blocks_lost;
        let (store, recovered) = open_in(&disk, IDENTITY, small()).unwrap();
        let sealed = usize::try_from(recovered.head.tip.id.index.get()).unwrap();
        let expected = if lost == 0 { &longer } else { log };
        assert_eq!(recovered.entries, expected.entries[sealed..], "{lost} lost");
        whole += u64::from(lost == 0);
        torn += u64::from(recovered.report.torn_bytes > 0);

        // And it goes on, over what was torn.
        let mut now = expected.clone();
        let mut writer = store.into_stepped_writer();
        for bytes in [10, THREE_BLOCKS] {
            assert!(write(&mut writer, vec![now.add(bytes)]));
        }
        drop(writer);
        disk.power_cut(&mut |_| 0);
        let (_, recovered) = open_in(&disk, IDENTITY, small()).unwrap();
        assert_eq!(recovered.entries, now.entries[sealed..]);
        assert_eq!(recovered.report.torn_bytes, 0);
    });
    (torn, whole, ways)
}

fn started() -> (MemoryDisk, SteppedWriter) {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    let writer = open_in(&disk, IDENTITY, small()).unwrap().0.into_stepped_writer();
    (disk, writer)
}

#[test]
fn in_a_file_that_was_filled_with_zeros() {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    run_chores(&mut writer).unwrap();
    // More than the first file takes: it was not made ahead.
    while journal_of(&disk).len() < 3 {
        assert!(write(&mut writer, vec![log.add(10)]));
        run_chores(&mut writer).unwrap();
    }
    // Any of three blocks may be missing; it is torn if there is the first, and not all.
    assert_eq!(cut_in_every_way(&disk, writer, &log), (3, 1, 8));
}

#[test]
fn in_a_file_that_is_made_longer() {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    // The first file is full, and nobody has made another ahead.
    for _ in 0..20 {
        assert!(write(&mut writer, vec![log.add(10)]));
    }
    let (torn, whole, ways) = cut_in_every_way(&disk, writer, &log);
    assert!(torn > 3 && whole == 1 && ways > 8, "{torn} torn, {whole} whole, {ways} ways");
}

#[test]
fn in_a_file_that_was_used_before() {
    let (disk, mut writer) = started();
    let mut log = Log::new();
    // Until an old group stands where the next one goes.
    for round in 0.. {
        assert!(round < 200, "no file is used again");
        assert!(write(&mut writer, vec![log.add(10)]));
        run_chores(&mut writer).unwrap();
        let layout = Layout::in_memory(disk.mount());
        let numbers = layout.journal_files().unwrap();
        let scan = Scan::read(&layout, IDENTITY, numbers[0], GroupMark::default());
        let Ok(scan) = scan else { continue };
        let file = layout.journal_file(scan.files.last().unwrap().number);
        let bytes = layout.disk.read_file(&file).unwrap();
        let end = usize::try_from(scan.end).unwrap();
        if bytes.get(end..end + 4) == Some(b"jgrp") && bytes.len() >= end + 3 * JOURNAL_BLOCK_BYTES
        {
            break;
        }
        if round % 40 == 39 {
            writer.write(Write { ticket: Ticket::new(1), heads: log.end_segment(), ..nothing() });
            assert!(writer.begin() && writer.finish().is_ok());
            writer.committed(log.tip().id.index).unwrap();
            run_chores(&mut writer).unwrap();
        }
    }
    // A name may be kept or lost besides.
    let (torn, whole, ways) = cut_in_every_way(&disk, writer, &log);
    assert!(torn * 8 == ways * 3 && whole * 8 == ways, "{torn} torn, {whole} whole, {ways} ways");
}
