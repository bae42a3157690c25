//! Mending: a sealed segment that is not what was sealed is made anew of what another node has.
//!
//! ```text
//!   `log/…0901.mending`: a new database, filled with the head and the entries that another node sends
//!    └ barrier, close, opened again, read back, closed, its files hashed
//!   its content is what `meta` says of the segment, or it is thrown away
//!   nobody reads the old one any more: its folder is deleted, and the new one gets its name
//!   `meta` names the files of the new one, behind a barrier
//! ```
//!
//! Nobody is trusted: a segment is a function of the log, and `meta` has kept the hash of what this one
//! held. Until the end nothing of the old one is touched. A crash before the last step leaves a segment
//! whose files are not those in `meta`, or none: it is found damaged, and mended again.
//!
//! What is damaged is served to nobody meanwhile. All else goes on: a node whose sealed entries rot has not
//! forgotten what it promised.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::database::{FilesHash, wait_until_released};
use super::error::StoreError;
use super::fatal::mark_of;
use super::meta::SealedRow;
use super::segment::{Filling, decode_head};
use super::upkeep::{Shared, UNPOISONED};
use crate::entry::{EntryError, SealedEntry, split_first};
use crate::limits::{HEAD_BYTES_MAX, MEND_ROOM_BYTES};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{ByteCount, Index};

/// Why a segment is not mended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MendError {
    /// What was sent is not a head.
    #[error("what was sent is not the head of a segment")]
    Head,
    /// The head is that of another segment.
    #[error("the head that was sent is not that of the segment from entry {first} on")]
    OtherHead {
        /// The first entry of the segment that is mended.
        first: Index,
    },
    /// An entry that was sent is none, or does not follow.
    #[error("an entry that was sent is not the next: {0}")]
    Entry(#[from] EntryError),
    /// What was sent is too long, or too short, or another segment.
    #[error("what was sent is not what was sealed from entry {first} on")]
    Content {
        /// The first entry of the segment that is mended.
        first: Index,
    },
    /// The disk has no room for it.
    #[error("the disk has no room to mend it: {free} free")]
    NoRoom {
        /// What is free.
        free: ByteCount,
    },
    /// The store was closed, or the segment given up.
    #[error("it is not needed any more")]
    Unneeded,
    /// The disk refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Mends the sealed segments of a store. One after the other: nobody else mends.
#[derive(Clone, Debug)]
pub struct Mender {
    shared: Arc<Shared>,
}

impl Mender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Begins with the damaged segment that has this first entry; `None` if it is not known to be damaged.
    pub fn begin(&self, first: Index) -> Option<Mending> {
        let row = self.shared.segments.damaged_row(first)?;
        Some(Mending { shared: self.shared.clone(), row, head: vec![], filling: None })
    }
}

/// One segment that is being mended. If it is dropped, a start deletes what there is of it, or whoever begins
/// again.
pub struct Mending {
    shared: Arc<Shared>,
    row: SealedRow,
    /// The form of its head, as far as it was sent.
    head: Vec<u8>,
    filling: Option<Filling>,
}

impl std::fmt::Debug for Mending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mending").field("row", &self.row).finish_non_exhaustive()
    }
}

impl Mending {
    /// The first and the last entry of the segment.
    pub fn range(&self) -> (Index, Index) {
        (self.row.first, self.row.last.id.index)
    }

    /// Takes the next piece of its head, in the form in which [`super::Reader::head_before`] gives it.
    ///
    /// # Errors
    /// [`MendError::Head`] if it is too long.
    pub fn take_head(&mut self, piece: &[u8]) -> Result<(), MendError> {
        if self.head.len() + piece.len() > HEAD_BYTES_MAX || self.filling.is_some() {
            return Err(MendError::Head);
        }
        self.head.extend_from_slice(piece);
        Ok(())
    }

    /// Takes the next entries, one behind the other, once the head is whole.
    ///
    /// # Errors
    /// [`MendError`]: what was sent is something else, or the disk refuses.
    pub fn take_entries(&mut self, mut entries: Bytes) -> Result<(), MendError> {
        if self.filling.is_none() {
            self.filling = Some(self.begin_filling()?);
        }
        self.check_room()?;
        let (first, last) = self.range();
        let filling = self.filling.as_mut().expect("it was begun");
        while !entries.is_empty() {
            let entry = SealedEntry::parse(split_first(&mut entries))?;
            entry.check_follows(&filling.tip())?;
            if entry.id().index > last {
                return Err(MendError::Content { first });
            }
            filling.push(&entry)?;
        }
        Ok(())
    }

    fn begin_filling(&self) -> Result<Filling, MendError> {
        let first = self.row.first;
        let head = decode_head(&self.head).ok_or(MendError::Head)?;
        if head.tip.id.index.next() != first {
            return Err(MendError::OtherHead { first });
        }
        self.check_room()?;
        let Shared { layout, segments, .. } = &*self.shared;
        let folder = layout.mending(first);
        if layout.disk.exists(&folder)? {
            // One that came to nothing may be closing still.
            match wait_until_released(&layout.disk, &folder) {
                Err(error) if !error.is_damage() => return Err(error.into()),
                _ => layout.disk.remove_folder(&folder)?,
            }
        }
        Ok(Filling::begin(&layout.disk, &folder, &head, segments.shape())?)
    }

    fn check_room(&self) -> Result<(), MendError> {
        self.shared.look_for_space();
        let free = self.shared.free_bytes();
        if free < MEND_ROOM_BYTES {
            return Err(MendError::NoRoom { free: ByteCount(free) });
        }
        Ok(())
    }

    /// All was taken: if it is what was sealed, it takes the place of what is damaged.
    ///
    /// # Errors
    /// [`MendError`]: it is something else, or the disk refuses.
    pub fn finish(self) -> Result<(), MendError> {
        let Self { shared, row, filling, .. } = self;
        let first = row.first;
        let filling = filling.ok_or(MendError::Content { first })?;
        let (disk, folder) = (&shared.layout.disk, shared.layout.mending(first));
        let done = filling.finish_for_good(disk, shared.segments.shape())?;
        let believes = mutants::is_on(Mutant::MendUnproved);
        let is_same = |content| content == row.content || believes;
        let Some((_, files)) = done.filter(|(made, _)| is_same(made.content)) else {
            disk.remove_folder(&folder)?;
            return Err(MendError::Content { first });
        };
        disk.sync_folder(&shared.layout.log())?;
        let put_in_place = || shared.put_in_place(first, files);
        if !shared.segments.replace(first, files, put_in_place)? {
            disk.remove_folder(&folder)?;
            return Err(MendError::Unneeded);
        }
        hit(Mark::Mended);
        Ok(())
    }
}

impl Shared {
    /// Gives a mended segment its name. Nobody has the old one open. Says whether it is still wanted.
    fn put_in_place(&self, first: Index, files: FilesHash) -> Result<bool, StoreError> {
        let mut meta = self.meta.lock().expect(UNPOISONED);
        if meta.is_closed() || self.is_abandoned() {
            return Ok(false);
        }
        let Some(row) = meta.sealed_row(first)? else { return Ok(false) };
        let (disk, place) = (&self.layout.disk, self.layout.segment(first));
        disk.remove_folder(&place)?;
        disk.rename(&self.layout.mending(first), &place)?;
        disk.sync_folder(&self.layout.log())?;
        let mark = mark_of(&place);
        if disk.exists(&mark)? {
            disk.remove_file(&mark)?;
            disk.sync_folder(&self.layout.log())?;
        }
        meta.replace(&SealedRow { files, ..row }, |record| self.bring_up(record))?;
        Ok(true)
    }
}
