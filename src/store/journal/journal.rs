//! The journal as it is written: one group after the other.

use std::sync::Arc;

use super::super::error::StoreError;
use super::files::{JournalFile, Spares};
use super::group::{GROUP_HEADER_BYTES, GroupHeader, GroupMark, blocks_for, encode_group};
use crate::entry::SealedEntry;
use crate::limits::JOURNAL_BLOCK_BYTES;
use crate::marks::{Mark, hit};

/// The end of a journal, where it is written.
#[derive(Debug)]
pub(in super::super) struct Journal {
    spares: Arc<Spares>,
    file: Arc<JournalFile>,
    /// Where the next group begins.
    at: u64,
    last: GroupMark,
    /// A file ahead was asked for.
    has_asked: bool,
    /// The blocks of the group that is being written: the memory is used again.
    blocks: Vec<u8>,
}

/// Where a group went.
#[derive(Clone, Debug)]
pub(in super::super) struct Written {
    pub(in super::super) mark: GroupMark,
    pub(in super::super) file: Arc<JournalFile>,
    /// Where its first entry begins.
    pub(in super::super) entries_at: u64,
}

impl Journal {
    /// Goes on behind the group `last`, at a place in a file.
    pub(in super::super) fn new(
        spares: Arc<Spares>,
        file: Arc<JournalFile>,
        at: u64,
        last: GroupMark,
    ) -> Self {
        Self { spares, file, at, last, has_asked: false, blocks: vec![] }
    }

    /// The last group, which is on the disk.
    pub(in super::super) fn last(&self) -> GroupMark {
        self.last
    }

    /// Whether the file has a block for a group without entries, which needs no space then.
    pub(in super::super) fn has_block(&self) -> bool {
        self.at + JOURNAL_BLOCK_BYTES as u64 <= self.file.filled
    }

    /// Whether a file should be made ahead: once for each that is begun.
    pub(in super::super) fn asks_for_file(&mut self) -> bool {
        !std::mem::replace(&mut self.has_asked, true)
    }

    pub(in super::super) fn spares(&self) -> &Arc<Spares> {
        &self.spares
    }

    /// Writes a group, and returns when it is on the disk: one write, one sync.
    pub(in super::super) fn append(
        &mut self,
        header: GroupHeader,
        entries: &[SealedEntry],
    ) -> Result<Written, StoreError> {
        let bytes = entries.iter().map(|entry| entry.bytes().len()).sum();
        let length = (blocks_for(bytes) * JOURNAL_BLOCK_BYTES) as u64;
        let is_begun = self.at > JOURNAL_BLOCK_BYTES as u64;
        if is_begun && self.at + length > self.file.length {
            hit(Mark::JournalFileFull);
            self.file = Arc::new(self.spares.take()?);
            self.at = JOURNAL_BLOCK_BYTES as u64;
            self.has_asked = false;
        }
        let mark = encode_group(&header, self.last, self.file.id, entries, &mut self.blocks);
        self.file.write(self.at, &self.blocks)?;
        let entries_at = self.at + GROUP_HEADER_BYTES as u64;
        self.at += length;
        self.last = mark;
        Ok(Written { mark, file: self.file.clone(), entries_at })
    }
}
