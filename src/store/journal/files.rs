//! The files of a journal: one that is written to, those before it that are still needed, and spares.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::super::Identity;
use super::super::disk::Blocks;
use super::super::error::StoreError;
use super::super::layout::Layout;
use super::group::{FileHeader, FileId};
use crate::limits::{JOURNAL_BLOCK_BYTES, JOURNAL_FIRST_FILE_BYTES, JOURNAL_SPARES_MAX};
use crate::types::Incarnation;

const UNPOISONED: &str = "a panic ends the process";

/// Zeros that a file is filled with, so many bytes at a time.
const FILL_BYTES: usize = 1 << 20;

/// A file of the journal that was begun, or is about to be.
#[derive(Debug)]
pub(in super::super) struct JournalFile {
    pub(in super::super) number: u64,
    pub(in super::super) id: FileId,
    pub(super) blocks: Box<dyn Blocks>,
    path: PathBuf,
    /// As long as this it was made; a large group makes it longer.
    pub(super) length: u64,
    /// Up to here it has blocks: a write needs no space.
    pub(super) filled: u64,
}

impl JournalFile {
    /// One whose first block says what it is.
    pub(in super::super) fn open(layout: &Layout, header: &FileHeader) -> Result<Self, StoreError> {
        let path = layout.journal_file(header.number);
        let length = layout.disk.length(&path)?;
        let blocks = layout.disk.open_blocks(&path)?;
        let (number, id, filled) = (header.number, header.id, length);
        Ok(Self { number, id, blocks, path, length, filled })
    }

    pub(in super::super) fn path(&self) -> &Path {
        &self.path
    }

    /// So many bytes from a place on.
    pub(in super::super) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        self.blocks.read_at(at, length).map_err(StoreError::io("read", &self.path))
    }

    /// Writes blocks, and returns when they are on the disk. An error is final.
    pub(super) fn write(&self, at: u64, blocks: &[u8]) -> Result<(), StoreError> {
        self.blocks.write_at(at, blocks).map_err(StoreError::io("write to", &self.path))?;
        self.blocks.sync().map_err(StoreError::io("sync", &self.path))
    }
}

/// Makes files, ahead of their use: writing into a file that is as long as it will be takes half as
/// long as making one longer. What is no longer needed is used again, for its blocks are there.
#[derive(Debug)]
pub(in super::super) struct Spares {
    layout: Layout,
    identity: Identity,
    start: Incarnation,
    file_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of the next file that is made.
    next_number: u64,
    /// Ready to be written to, in the order of their numbers.
    ready: VecDeque<JournalFile>,
    /// Whole files that nobody needs.
    free: Vec<PathBuf>,
}

impl Spares {
    pub(in super::super) fn new(
        layout: Layout,
        identity: Identity,
        start: Incarnation,
        file_bytes: u64,
        next_number: u64,
    ) -> Self {
        let state = State { next_number, ready: VecDeque::new(), free: vec![] };
        Self { layout, identity, start, file_bytes, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }

    /// Makes a file ahead, if there is none.
    pub(in super::super) fn prepare(&self) -> Result<(), StoreError> {
        // NB: whoever needs one meanwhile waits: it is ready sooner than another would be.
        let mut state = self.state();
        if state.ready.is_empty() {
            let file = self.make(&mut state, self.file_bytes)?;
            state.ready.push_back(file);
        }
        Ok(())
    }

    /// Makes the first file of a journal, a small one: a new node is there at once.
    pub(in super::super) fn begin(&self) -> Result<(), StoreError> {
        self.make(&mut self.state(), self.file_bytes.min(JOURNAL_FIRST_FILE_BYTES)).map(drop)
    }

    /// The next file to write to.
    pub(super) fn take(&self) -> Result<JournalFile, StoreError> {
        let mut state = self.state();
        match state.ready.pop_front() {
            Some(file) => Ok(file),
            // It is needed now, and will be filled as it goes.
            None => self.make(&mut state, 0),
        }
    }

    /// Takes back files that nobody needs any more. What is too much is removed.
    pub(in super::super) fn give_back(
        &self,
        paths: impl IntoIterator<Item = PathBuf>,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        for path in paths {
            let is_usual = self.layout.disk.length(&path)? == self.file_bytes;
            if is_usual && state.free.len() + state.ready.len() < JOURNAL_SPARES_MAX {
                state.free.push(path);
            } else {
                self.layout.disk.remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Makes a file that is filled up to a length, unless one is used again.
    fn make(&self, state: &mut State, length: u64) -> Result<JournalFile, StoreError> {
        let disk = &self.layout.disk;
        let number = state.next_number;
        let path = self.layout.journal_file(number);
        let header = FileHeader { number, id: self.id_of(number), identity: self.identity };
        let is_used_again = match state.free.pop() {
            Some(old) => disk.rename(&old, &path).map(|()| true)?,
            None => disk.create_blocks(&path).map(|_| false)?,
        };
        state.next_number += 1;
        let made = self.write_new(&path, &header, if is_used_again { 0 } else { length });
        if made.as_ref().is_err_and(StoreError::is_full) && !is_used_again {
            // What there is of it may be the last space. Where it stays, the next start removes it.
            let _ = disk.remove_file(&path).and_then(|()| disk.sync_folder(&self.layout.journal()));
        }
        let blocks = made?;
        // One that is needed now is not filled: it grows as it is written to.
        let filled = disk.length(&path)?;
        let length = if length == 0 { self.file_bytes } else { length };
        Ok(JournalFile { number, id: header.id, blocks, path, length, filled })
    }

    /// Writes the first block, and zeros behind it up to a length; both are on the disk afterwards.
    fn write_new(
        &self,
        path: &Path,
        header: &FileHeader,
        length: u64,
    ) -> Result<Box<dyn Blocks>, StoreError> {
        let disk = &self.layout.disk;
        let blocks = disk.open_blocks(path)?;
        let write = || {
            blocks.write_at(0, &header.encode())?;
            fill(&*blocks, length)
        };
        write().map_err(StoreError::io("write to", path))?;
        blocks.sync().map_err(StoreError::io("sync", path))?;
        disk.sync_folder(&self.layout.journal())?;
        Ok(blocks)
    }

    /// No two lives of a file have the same, and nobody outside can know one.
    fn id_of(&self, number: u64) -> FileId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.start.get().to_le_bytes()).update(&number.to_le_bytes());
        let hash = hasher.finalize();
        let (id, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        FileId::from_le_bytes(*id)
    }
}

fn fill(blocks: &dyn Blocks, length: u64) -> std::io::Result<()> {
    let zeros = vec![0; FILL_BYTES];
    let mut at = JOURNAL_BLOCK_BYTES as u64;
    while at < length {
        let here = usize::try_from(length - at).unwrap_or(usize::MAX).min(FILL_BYTES);
        let (zeros, _) = zeros.split_at(here);
        blocks.write_at(at, zeros)?;
        at += here as u64;
    }
    Ok(())
}
