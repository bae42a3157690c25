//! Files of the journal that are used over and over: what an earlier life left in them is never taken
//! for what was written last.

use super::super::journal::{GroupMark, Scan};
use super::super::layout::Layout;
use super::super::testing::*;
use super::super::*;
use super::witness::{End, choices};
use crate::entry::SealedEntry;
use crate::limits::{JOURNAL_BLOCK_BYTES, JOURNAL_SPARES_MAX};

/// A file of the journal is full after five blocks.
fn options() -> Options {
    Options { journal_file_bytes: 6 * JOURNAL_BLOCK_BYTES as u64, ..small() }
}

/// One store after the other on a disk, beside the log that they should hold.
struct Lives<C> {
    disk: MemoryDisk,
    choose: C,
    log: Log,
    committed: Index,
    writer: Option<SteppedWriter>,
}

impl<C: FnMut(u64) -> u64> Lives<C> {
    fn new(choose: C) -> Self {
        let disk = MemoryDisk::new();
        create_in(&disk, IDENTITY, &configuration(), &options()).unwrap();
        let (log, committed) = (Log::new(), Index::ZERO);
        let mut lives = Self { disk, choose, log, committed, writer: None };
        lives.start();
        lives
    }

    /// The start finds exactly the log.
    fn start(&mut self) {
        let (store, recovered) = open_in(&self.disk, IDENTITY, options()).unwrap();
        let sealed = recovered.head.tip.id.index;
        let before = usize::try_from(sealed.get()).unwrap();
        assert_eq!(recovered.entries, self.log.entries[before..]);
        assert_eq!(recovered.report.torn_bytes, 0, "nothing was torn");
        self.writer = Some(store.into_stepped_writer());
        let heads = self.log.heads_behind(sealed);
        self.write(Write { heads, ..nothing() });
    }

    fn write(&mut self, write: Write) {
        let writer = self.writer.as_mut().unwrap();
        writer.write(Write { ticket: Ticket::new(1), ..write });
        assert!(writer.begin());
        writer.finish().unwrap().unwrap();
    }

    fn run_chores(&mut self) {
        run_chores(self.writer.as_mut().unwrap()).unwrap();
    }

    fn step(&mut self) {
        match (self.choose)(10) {
            0 => {
                let heads = self.log.end_segment();
                self.write(Write { heads, ..nothing() });
            }
            1 => {
                self.committed = self.log.tip().id.index;
                self.writer.as_mut().unwrap().committed(self.committed).unwrap();
            }
            2 => self.truncate(),
            3 => self.end(),
            4 => self.writer.as_mut().unwrap().keep_up().unwrap(),
            _ => {
                let count = (self.choose)(3);
                let entries = (0..count).map(|_| {
                    let bytes = (self.choose)(9000);
                    self.log.add(usize::try_from(bytes).unwrap())
                });
                let entries: Vec<SealedEntry> = entries.collect();
                self.write(Write { entries, ..nothing() });
            }
        }
        if (self.choose)(3) > 0 {
            self.run_chores();
        }
    }

    fn truncate(&mut self) {
        let spare = self.log.tip().id.index.since(self.committed);
        if spare > 0 {
            let from = Index::new(self.committed.get() + 1 + (self.choose)(spare));
            let term = self.log.tip().id.term.get() + 1;
            self.log.truncate(from);
            let entries = vec![self.log.add_to(0, term, 10)];
            self.write(Write { truncate_from: Some(from), entries, ..nothing() });
        }
    }

    fn end(&mut self) {
        let writer = self.writer.take().unwrap();
        match (self.choose)(4) {
            0 => {
                writer.close().unwrap();
                self.disk.restart();
            }
            1 => End::Kill.strike(&self.disk),
            2 => End::LoseAll.strike(&self.disk),
            _ => End::KeepAll.strike(&self.disk),
        }
        self.start();
    }
}

#[test]
fn a_start_finds_exactly_the_log_however_often_its_files_were_used() {
    let mut files = 0;
    for seed in 0..60 {
        println!("seed {seed}");
        let mut lives = Lives::new(choices(seed));
        for _ in 0..150 {
            lives.step();
        }
        lives.end();
        files += Layout::in_memory(lives.disk.mount()).journal_files().unwrap().pop().unwrap();
        // Once all is sealed, nothing but spares is left.
        let heads = lives.log.end_segment();
        lives.write(Write { heads, ..nothing() });
        let last = lives.log.tip().id.index;
        lives.writer.as_mut().unwrap().committed(last).unwrap();
        lives.run_chores();
        assert!(journal_of(&lives.disk).len() <= 2 + JOURNAL_SPARES_MAX);
    }
    assert!(files > 60 * 20, "only {files} files were begun");
}

/// Its blocks are all there, whole, and with their checksums: but of another life.
#[test]
fn groups_of_an_earlier_life_are_not_found() {
    let disk = MemoryDisk::new();
    create_in(&disk, IDENTITY, &configuration(), &small()).unwrap();
    let mut writer = open_in(&disk, IDENTITY, small()).unwrap().0.into_stepped_writer();
    let mut log = Log::new();
    let entries = (0..3).map(|_| log.add(10)).collect();
    writer.write(Write { ticket: Ticket::new(1), entries, ..nothing() });
    assert!(writer.begin());
    writer.finish().unwrap();
    drop(writer);
    disk.restart();
    let scan = |disk: &MemoryDisk| {
        let layout = Layout::in_memory(disk.mount());
        Scan::read(&layout, IDENTITY, 1, GroupMark::default()).unwrap()
    };
    let found = scan(&disk);
    assert_eq!(found.entries.len(), 3);
    let mut another = found.files[0];
    another.id += 1;
    change_file(&disk, &journal_of(&disk)[0], |bytes| {
        bytes[..JOURNAL_BLOCK_BYTES].copy_from_slice(&another.encode());
    });
    let found = scan(&disk);
    assert!(found.first.is_none() && found.entries.is_empty());
    assert_eq!((found.end, found.torn_bytes), (JOURNAL_BLOCK_BYTES as u64, 0));
}
