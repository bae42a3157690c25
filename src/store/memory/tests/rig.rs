//! A store's files as they should stand on a disk, written by their tables and by nothing of the store.

use std::path::{Path, PathBuf};

use bytes::BufMut;

use super::super::super::disk::{Blocks, Disk};
use super::super::super::engine::{Batch, Engine};
use super::super::super::meta::encode;
use super::super::database::MemoryDatabase;
use super::*;
use crate::entry::{Chain, EntryKind, SealedEntry, Tip};
use crate::raft::HardState;
use crate::types::{Index, LogId, NodeId, Term, Timestamp};

/// Number and CRC of a group.
pub(super) type Mark = (u64, u32);

/// A disk with a store on it, and what is in that store.
pub(super) struct Rig {
    pub(super) disk: MemoryDisk,
    files: Disk,
    meta: MemoryDatabase,
    file: Option<Box<dyn Blocks>>,
    /// The file that is written to.
    pub(super) number: u64,
    /// Where the next group goes.
    pub(super) at: u64,
    id: u128,
    /// The last group.
    pub(super) mark: Mark,
    pub(super) log: Vec<SealedEntry>,
    pub(super) hard_state: HardState,
    pub(super) journal_from: u64,
    /// What `meta` knows to be on the disk.
    pub(super) synced: Mark,
    /// The last sealed entry.
    pub(super) sealed: usize,
}

impl Rig {
    pub(super) fn new() -> Self {
        let disk = MemoryDisk::new();
        let files = mounted(&disk);
        for folder in ["meta", "journal", "log"] {
            files.create_folder(&place(folder)).unwrap();
        }
        let meta = disk.mount().open(&place("meta")).unwrap();
        files.sync_file(&place("meta").join("conf")).unwrap();
        for folder in ["meta", ""] {
            files.sync_folder(&place(folder)).unwrap();
        }
        let mut rig = Self {
            disk,
            files,
            meta,
            file: None,
            number: 0,
            at: 0,
            id: 0,
            mark: (0, 0),
            log: vec![],
            hard_state: HardState::default(),
            journal_from: 1,
            synced: (0, 0),
            sealed: 0,
        };
        rig.note();
        rig.begin_file(None);
        rig
    }

    /// Writes the record of `meta`.
    pub(super) fn note(&mut self) {
        let (synced, first) = (self.synced, index(1));
        let record = (0_u64, self.hard_state, Index::ZERO, synced, self.journal_from, first, false);
        let mut batch = Batch::default();
        batch.insert(&[3_u8][..], encode(&record));
        self.meta.apply(batch).unwrap();
        self.meta.sync().unwrap();
    }

    /// Begins the next file: an old one with what is in it, or one with a few zeros in it.
    pub(super) fn begin_file(&mut self, old: Option<u64>) {
        self.number += 1;
        let path = file_of(self.number);
        match old {
            Some(old) => self.files.rename(&file_of(old), &path).unwrap(),
            None => drop(self.files.create_blocks(&path).unwrap()),
        }
        let file = self.files.open_blocks(&path).unwrap();
        self.id = u128::from(self.number) << 64 | 0xfeed;
        file.write_at(0, &header(self.number, self.id)).unwrap();
        if old.is_none() {
            file.write_at(BLOCK, &vec![0; 8 * JOURNAL_BLOCK_BYTES]).unwrap();
        }
        file.sync().unwrap();
        self.files.sync_folder(&place("journal")).unwrap();
        (self.file, self.at) = (Some(file), BLOCK);
    }

    /// The oldest file that nobody needs, if there is one that was not used again.
    pub(super) fn oldest_free(&self) -> Option<u64> {
        (1..self.journal_from).find(|number| self.files.exists(&file_of(*number)).unwrap())
    }

    fn tip(&self) -> Tip {
        self.log.last().map_or(Tip::default(), SealedEntry::tip)
    }

    /// Writes a group with entries of these sizes. It is not synced.
    pub(super) fn write(&mut self, truncate_from: Option<u64>, sizes: &[usize]) {
        if let Some(from) = truncate_from {
            self.log.truncate(usize::try_from(from).unwrap() - 1);
            self.hard_state.current_term = Term::new(self.hard_state.current_term.get() + 1);
        }
        let tip = self.tip();
        let mut body = vec![];
        for size in sizes {
            let term = self.hard_state.current_term;
            let payload = vec![0xaa; *size];
            let now = Timestamp::new(1);
            let entry = SealedEntry::seal(&self.tip(), EntryKind::NoOp, term, now, &payload);
            body.put_slice(entry.bytes());
            self.log.push(entry);
        }
        let from = truncate_from.unwrap_or_default();
        let group = self.group(from, &tip, &body, sizes.len());
        self.file.as_ref().unwrap().write_at(self.at, &group).unwrap();
        self.at += group.len() as u64;
    }

    pub(super) fn sync(&self) {
        self.file.as_ref().unwrap().sync().unwrap();
    }

    /// Writes a group with entries of these sizes, and syncs it.
    pub(super) fn append(&mut self, sizes: &[usize]) {
        self.write(None, sizes);
        self.sync();
    }

    pub(super) fn vote(&mut self, term: u64, vote: u16) {
        self.hard_state = HardState { current_term: Term::new(term), voted_for: NodeId::new(vote) };
        self.append(&[]);
    }

    fn group(&mut self, truncate_from: u64, tip: &Tip, body: &[u8], count: usize) -> Vec<u8> {
        let mut covered = vec![];
        covered.put_u32_le(u32::try_from(body.len()).unwrap());
        covered.put_u32_le(u32::try_from(count).unwrap());
        covered.put_u128_le(self.id);
        covered.put_u64_le(self.mark.0 + 1);
        covered.put_u32_le(self.mark.1);
        covered.put_u32_le(0);
        covered.put_u64_le(self.hard_state.current_term.get());
        covered.put_u64_le(self.hard_state.voted_for.map_or(0, |node| u64::from(node.get())));
        covered.put_u64_le(truncate_from);
        covered.put_u64_le(0);
        covered.put_u64_le(0);
        covered.put_u64_le(tip.id.index.get());
        covered.put_u64_le(tip.id.term.get());
        covered.put_u64_le(tip.time.get());
        covered.put_slice(tip.chain.as_bytes());
        assert_eq!(covered.len(), 136);
        covered.put_slice(body);
        self.mark = (self.mark.0 + 1, crc32c::crc32c(&covered));
        let mut group = b"jgrp".to_vec();
        group.put_u32_le(self.mark.1);
        group.put_slice(&covered);
        group.resize(group.len().next_multiple_of(JOURNAL_BLOCK_BYTES), 0);
        group
    }

    /// Seals the entries up to one, in runs of so many bytes at most, with the head of what follows;
    /// the journal is needed from file `journal_from` on.
    pub(super) fn seal(&mut self, last: usize, run_bytes: usize, journal_from: u64) {
        let (first, last_id) = (self.sealed + 1, self.log[last - 1].id());
        let folder = place("log").join(format!("{first:020}"));
        self.files.create_folder(&folder).unwrap();
        let segment = self.disk.mount().open(&folder).unwrap();
        segment.apply(runs(&self.log[self.sealed..last], run_bytes)).unwrap();
        segment.sync().unwrap();
        self.files.sync_file(&folder.join("conf")).unwrap();
        let head = place("log").join(format!("{:020}.head", last + 1));
        self.files.write_file(&head, b"a head").unwrap();
        self.files.sync_file(&head).unwrap();
        for folder in [&folder, &place("log")] {
            self.files.sync_folder(folder).unwrap();
        }
        let chain = self.log[last - 1].chain();
        let row = (index(first as u64), last_id, chain, content(first), [2_u8; 32], 0_u32);
        let mut batch = Batch::default();
        batch.insert([&[4_u8][..], &(first as u64).to_be_bytes()].concat(), encode(&row));
        self.meta.apply(batch).unwrap();
        (self.sealed, self.journal_from, self.synced) = (last, journal_from, self.mark);
        self.note();
    }

    /// All that would survive, as the disk tells it.
    pub(super) fn survivors(disk: &MemoryDisk) -> (HardState, Vec<(LogId, Chain)>) {
        let found = (1..=disk.durable_last().get()).map(|at| disk.durable_entry(index(at)));
        (disk.durable_hard_state(), found.map(|entry| entry.unwrap()).collect())
    }

    /// The same, as it should be.
    pub(super) fn expected(&self) -> (HardState, Vec<(LogId, Chain)>) {
        let entries = self.log.iter().map(|entry| (entry.id(), entry.chain()));
        (self.hard_state, entries.collect())
    }

    pub(super) fn check(&self) {
        assert_eq!(Self::survivors(&self.disk), self.expected());
        assert_eq!(self.disk.durable_entry(index(self.log.len() as u64 + 1)), None);
    }
}

/// The hash of what a segment holds.
pub(super) fn content(first: usize) -> [u8; 32] {
    [u8::try_from(first % 256).unwrap(); 32]
}

pub(super) fn index(number: u64) -> Index {
    Index::new(number)
}

/// The path of a file of the journal.
pub(super) fn file_of(number: u64) -> PathBuf {
    Path::new(ROOT).join("journal").join(format!("{number:020}.journal"))
}

fn header(number: u64, id: u128) -> Vec<u8> {
    let mut block = b"annaljnl".to_vec();
    block.put_u32_le(1);
    block.put_u32_le(0);
    block.put_u64_le(number);
    block.put_u128_le(id);
    block.put_u128_le(7);
    block.put_u32_le(1);
    block.put_u32_le(crc32c::crc32c(&block));
    block.resize(JOURNAL_BLOCK_BYTES, 0);
    block
}

/// Entries as they stand in a segment.
fn runs(entries: &[SealedEntry], run_bytes: usize) -> Batch {
    let mut batch = Batch::default();
    let mut run: Vec<u8> = vec![];
    let mut first = 0;
    let mut end = |first: u64, run: &[u8]| {
        for (part, bytes) in (0_u16..).zip(run.chunks(run_bytes)) {
            let key = [&[3_u8][..], &first.to_be_bytes(), &part.to_be_bytes()].concat();
            batch.insert(key, bytes);
        }
    };
    for entry in entries {
        if run.len() + entry.bytes().len() > run_bytes {
            end(first, &std::mem::take(&mut run));
        }
        if run.is_empty() {
            first = entry.id().index.get();
        }
        run.extend_from_slice(entry.bytes());
    }
    end(first, &run);
    batch
}
