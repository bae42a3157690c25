//! What a start reads of a journal: every group that is whole, in order, up to the end; and whether
//! what ends there is a write that was never finished, or damage.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::Identity;
use super::super::error::{Fault, StoreError};
use super::super::layout::Layout;
use super::group::{FileHeader, FileId, FoundGroup, GROUP_HEADER_BYTES, GroupMark, begun_group};
use super::places::Place;
use crate::entry::{SealedEntry, Tip};
use crate::limits::JOURNAL_BLOCK_BYTES;
use crate::mutants::{self, Mutant};
use crate::raft::HardState;
use crate::types::Index;

/// What a journal holds.
#[derive(Debug)]
pub(in super::super) struct Scan {
    /// The entry before the first of `entries`.
    pub(in super::super) base: Tip,
    /// The log's entries, each checked and as a chain, and where they stand.
    pub(in super::super) entries: Vec<(SealedEntry, Place)>,
    /// Term and vote, if there is any group.
    pub(in super::super) hard_state: Option<HardState>,
    /// The highest commit index that a group knew.
    pub(in super::super) commit_index: Index,
    /// The highest generation of `meta` that a group had seen.
    pub(in super::super) meta_generation: u64,
    /// The first group that is there.
    pub(in super::super) first: Option<GroupMark>,
    /// The last group.
    pub(in super::super) last: GroupMark,
    /// Where the next group goes, in the last of `files`.
    pub(in super::super) end: u64,
    /// The files that have groups, and the first one in any case.
    pub(in super::super) files: Vec<FileHeader>,
    /// Files of which nothing is needed.
    pub(in super::super) free: Vec<PathBuf>,
    /// A number that no file has, nor any after it.
    pub(in super::super) next_number: u64,
    /// Bytes of a group that was begun behind the last one and is not whole.
    pub(in super::super) torn_bytes: u64,
    /// The group in which each sync that is remembered ended is looked for.
    wanted: GroupMark,
    is_wanted_there: bool,
}

impl Scan {
    /// Reads the files from number `from` on, past the page cache, and looks for the group `wanted`.
    ///
    /// # Errors
    /// [`StoreError::Damage`] if something is missing that is known to have been on the disk.
    pub(in super::super) fn read(
        layout: &Layout,
        identity: Identity,
        from: u64,
        wanted: GroupMark,
    ) -> Result<Self, StoreError> {
        let mut scan = Self {
            base: Tip::default(),
            entries: vec![],
            hard_state: None,
            commit_index: Index::ZERO,
            meta_generation: 0,
            first: None,
            last: GroupMark::default(),
            end: JOURNAL_BLOCK_BYTES as u64,
            files: vec![],
            free: vec![],
            next_number: from + 1,
            torn_bytes: 0,
            wanted,
            is_wanted_there: wanted == GroupMark::default(),
        };
        let numbers = layout.journal_files()?;
        if !numbers.contains(&from) {
            let fault = Fault::JournalGone { number: from };
            return Err(StoreError::damage(&layout.journal_file(from), fault));
        }
        for number in numbers {
            scan.next_number = scan.next_number.max(number + 1);
            if number < from {
                scan.free.push(layout.journal_file(number));
            } else {
                scan.read_file(layout, identity, number)?;
            }
        }
        scan.check_wanted(layout)?;
        Ok(scan)
    }

    fn read_file(
        &mut self,
        layout: &Layout,
        identity: Identity,
        number: u64,
    ) -> Result<(), StoreError> {
        let path = layout.journal_file(number);
        let bytes = Bytes::from(if mutants::is_on(Mutant::BelievePageCache) {
            layout.disk.read_file(&path)?
        } else {
            layout.disk.forget_cached(&path)?;
            layout.disk.read_past_cache(&path)?
        });
        let of_any_life = FileHeader::decode(&bytes);
        let header = of_any_life.filter(|header| header.number == number);
        if let Some(found) = header.map(|header| header.identity).filter(|found| *found != identity)
        {
            return Err(StoreError::Foreign { folder: path, found, expected: identity });
        }
        let is_first = self.files.is_empty();
        let mut end = JOURNAL_BLOCK_BYTES;
        if let Some(header) = header {
            let begin = self.last;
            end = self.take_groups(&path, &bytes, &header)?;
            if self.last != begin || is_first {
                self.files.push(header);
                self.end = end as u64;
            } else {
                self.free.push(path.clone());
            }
        } else if is_first {
            return Err(StoreError::damage(&path, Fault::Value { what: "beginning" }));
        } else {
            self.free.push(path.clone());
        }
        self.check_rest(&path, &bytes, end, of_any_life.map(|header| header.id))
    }

    /// Takes the groups of a file up to the first that is not whole, or not of this life of the file,
    /// or does not follow. Returns where they end.
    fn take_groups(
        &mut self,
        path: &Path,
        bytes: &Bytes,
        header: &FileHeader,
    ) -> Result<usize, StoreError> {
        let mut at = JOURNAL_BLOCK_BYTES;
        while let Some(group) = group_at(bytes, at, Some(header.id)) {
            if self.first.is_some() && group.previous != self.last {
                break;
            }
            self.take(path, &group, header.number, at)?;
            at += group.blocks() * JOURNAL_BLOCK_BYTES;
        }
        Ok(at)
    }

    fn take(
        &mut self,
        path: &Path,
        group: &FoundGroup,
        number: u64,
        at: usize,
    ) -> Result<(), StoreError> {
        let header = &group.header;
        if self.first.is_none() {
            self.first = Some(group.mark);
            self.base = header.tip;
            self.is_wanted_there |= self.wanted.number < group.mark.number;
        }
        self.is_wanted_there |= group.mark == self.wanted;
        if let Some(from) = header.truncate_from {
            let keep = self.entries.partition_point(|(entry, _)| entry.id().index < from);
            self.entries.truncate(keep);
            if from <= self.base.id.index {
                // A file that was needed for nothing but entries taken back since is gone.
                self.base = header.tip;
            }
        }
        let tip = self.tip();
        if tip != header.tip {
            let expected = tip.id.index.next();
            return Err(StoreError::damage(path, Fault::Gap { expected }));
        }
        let not_of_its_form = || StoreError::damage(path, Fault::Value { what: "list of entries" });
        for (place, entry) in group.entries().ok_or_else(not_of_its_form)? {
            entry.check_follows(&self.tip()).map_err(|error| StoreError::damage(path, error))?;
            let place = Place {
                file: number,
                at: (at + GROUP_HEADER_BYTES + place) as u64,
                length: entry.bytes().len(),
            };
            self.entries.push((entry, place));
        }
        self.hard_state = Some(header.hard_state);
        self.commit_index = self.commit_index.max(header.commit_index);
        self.meta_generation = self.meta_generation.max(header.meta_generation);
        self.last = group.mark;
        Ok(())
    }

    /// The last entry.
    pub(in super::super) fn tip(&self) -> Tip {
        self.entries.last().map_or(self.base, |(entry, _)| entry.tip())
    }

    /// Behind the last group there may be one that was never finished, of which nobody was told, and
    /// groups of earlier lives of the file. A whole later one means that groups before it are gone.
    fn check_rest(
        &mut self,
        path: &Path,
        bytes: &Bytes,
        end: usize,
        id: Option<FileId>,
    ) -> Result<(), StoreError> {
        let begun = bytes.get(end..).zip(id).and_then(|(rest, id)| begun_group(rest, id));
        let left = bytes.len().saturating_sub(end);
        self.torn_bytes += begun.map_or(0, |blocks| blocks * JOURNAL_BLOCK_BYTES).min(left) as u64;
        if mutants::is_on(Mutant::CutDamage) {
            return Ok(());
        }
        for at in (end..bytes.len()).step_by(JOURNAL_BLOCK_BYTES) {
            let Some(group) = group_at(bytes, at, id) else { continue };
            // Without the first block anything may be a group, also what a client has sent: only one
            // that follows on what is there is believed.
            let counts = match id {
                Some(_) => group.mark.number > self.last.number,
                None => group.previous == self.last,
            };
            if counts {
                return Err(self.hole(path));
            }
        }
        Ok(())
    }

    fn hole(&self, path: &Path) -> StoreError {
        StoreError::damage(path, Fault::Hole { last: self.tip().id })
    }

    fn check_wanted(&self, layout: &Layout) -> Result<(), StoreError> {
        if self.is_wanted_there || mutants::is_on(Mutant::CutDamage) {
            return Ok(());
        }
        let file = self.files.last().map(|file| layout.journal_file(file.number));
        Err(self.hole(&file.unwrap_or_else(|| layout.journal())))
    }
}

fn group_at(bytes: &Bytes, at: usize, of: Option<FileId>) -> Option<FoundGroup> {
    (at < bytes.len()).then(|| bytes.slice(at..)).and_then(|blocks| FoundGroup::parse(&blocks, of))
}
