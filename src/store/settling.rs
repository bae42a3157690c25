//! Settling: what is committed goes from the journal into sled, a segment at a time.
//!
//! ```text
//!   journal ── read ──> a new database ── barrier, close
//!                        └ opened again, read back, its hash compared, closed, its files hashed
//!   the head of the next segment, in a file, behind a barrier
//!   `meta` names the segment, behind a barrier
//!   readers find it there · the journal's files are free · its own head's file goes
//! ```
//!
//! Nobody waits for it, unless the journal grows too long. A crash at any step leaves a folder that
//! `meta` does not name: it is deleted, and the segment made anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::Head;
use super::database::{FilesHash, wait_until_released};
use super::error::{Fault, StoreError};
use super::head;
use super::journal::JournalFile;
use super::meta::{LastEntry, SealedRow};
use super::segment::{Contents, Filling};
use super::segments::{Found, Full};
use super::upkeep::{Shared, UNPOISONED};
use crate::entry::SealedEntry;
use crate::limits::{SETTLE_ATTEMPTS_MAX, SETTLE_BYTES, SLED_SEGMENT_BYTES};
use crate::marks::{Mark, hit};
use crate::types::{ByteCount, Index};

impl Shared {
    /// Seals every segment that is full and committed, as long as the disk has room for it. What has
    /// none stays in the journal meanwhile.
    pub(super) fn seal_all(&self) -> Result<(), StoreError> {
        while let Some(full) = self.segments.full(self.commit_index()) {
            let has_room = self.has_room_for(&full);
            if has_room == self.segments.lacks_room() {
                self.segments.note_room(has_room);
                self.say_room(has_room);
            }
            if self.is_abandoned() || !has_room {
                break;
            }
            self.seal(&full)?;
        }
        Ok(())
    }

    fn has_room_for(&self, full: &Full) -> bool {
        self.has_room(full.first(), full.last())
    }

    /// Whether the disk has room for a segment of these entries.
    fn has_room(&self, first: Index, last: Index) -> bool {
        let lengths = self.segments.lengths(first, last);
        let bytes = lengths.iter().map(|length| *length as u64).sum::<u64>();
        let of_sled = self.layout.disk.opening_bytes(SLED_SEGMENT_BYTES);
        self.look_for_space();
        self.free_bytes() >= bytes + bytes / 2 + 2 * of_sled
    }

    fn say_room(&self, has_room: bool) {
        let free = ByteCount(self.free_bytes());
        if has_room {
            tracing::info!(%free, "there is room to settle the log again");
        } else {
            tracing::warn!(%free, "the disk has no room to settle the log: it stays in the journal");
        }
    }

    fn seal(&self, full: &Full) -> Result<(), StoreError> {
        let (contents, files) = self.make(full)?;
        if self.is_abandoned() {
            return Ok(());
        }
        assert_eq!(contents.tip, full.next.tip, "a segment ends where the next begins");
        head::write(&self.layout, &full.next)?;
        let row = SealedRow {
            first: full.first(),
            last: LastEntry::from(&contents.tip),
            content: contents.content,
            files,
            ends_parts: 0,
        };
        let journal_from = self.segments.journal_from(full.last().next());
        let journal_from = {
            let mut meta = self.meta.lock().expect(UNPOISONED);
            meta.seal(row.clone(), &full.ends(), |record| {
                self.bring_up(record);
                record.journal_from = journal_from.unwrap_or(record.journal_from);
            })?;
            meta.record().journal_from
        };
        hit(Mark::Sealed);
        self.reserve.follow_meta();
        let unneeded = self.segments.note_sealed(full, row, journal_from);
        self.give_back(unneeded)?;
        self.layout.disk.remove_file(&self.layout.head_file(full.first()))
    }

    /// Files that are still read are no use: whoever reads them goes on with what has no name.
    fn give_back(&self, files: Vec<Arc<JournalFile>>) -> Result<(), StoreError> {
        for file in files {
            let path = file.path().to_owned();
            match Arc::try_unwrap(file) {
                Ok(_) => self.spares.give_back([path])?,
                Err(_) => self.layout.disk.remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// Makes a segment, and what is read back of it is what was written.
    fn make(&self, full: &Full) -> Result<(Contents, FilesHash), StoreError> {
        let folder = self.layout.segment(full.first());
        for _ in 0..SETTLE_ATTEMPTS_MAX {
            let filling = self.fill(&folder, &full.head, full.last())?;
            let done = filling.finish_for_good(&self.layout.disk, self.segments.shape())?;
            if let Some(done) = done {
                return Ok(done);
            }
            tracing::warn!(folder = %folder.display(), "a segment is not what was written: again");
        }
        Err(StoreError::damage(&folder, Fault::ReadBack))
    }

    /// Copies entries from the journal into a new database, up to `last`.
    fn fill(&self, folder: &Path, head: &Head, last: Index) -> Result<Filling, StoreError> {
        self.layout.disk.remove_folder(folder)?;
        let mut filling = Filling::begin(&self.layout.disk, folder, head, self.segments.shape())?;
        let mut next = head.tip.id.index.next();
        filling.put_keys(&self.segments.lengths(next, last))?;
        let (mut started, mut bytes) = (Instant::now(), 0);
        while next <= last && !self.is_abandoned() {
            for entry in self.read_journal(next, last)? {
                filling.push(&entry)?;
                bytes += entry.bytes().len();
                next = entry.id().index.next();
            }
            if bytes >= SETTLE_BYTES {
                // A long segment must not keep the journal waiting for a file, nor what is dead on the disk.
                self.make_file_ahead()?;
                self.release()?;
                self.rest(started.elapsed());
                (started, bytes) = (Instant::now(), 0);
            }
        }
        Ok(filling)
    }

    fn read_journal(&self, first: Index, last: Index) -> Result<Vec<SealedEntry>, StoreError> {
        match self.segments.find(first, last, SETTLE_BYTES) {
            Ok(Some(Found::Journal(piece))) => piece.read(),
            Ok(_) => {
                Err(StoreError::damage(&self.layout.journal(), Fault::Gap { expected: first }))
            }
            Err(error) => Err(error.into_store_error(&self.layout.journal())),
        }
    }

    /// Appends come first: as long as the work took, nothing is done.
    pub(super) fn rest(&self, worked: Duration) {
        if self.rests.load(Ordering::Acquire) && !self.segments.is_behind(self.commit_index()) {
            thread::sleep(worked);
        }
    }

    /// Copies what is committed and not sealed: after an orderly stop all that is committed is in sled.
    pub(super) fn settle_rest(&self) -> Result<(), StoreError> {
        let Some((head, end)) = self.segments.rest() else { return Ok(()) };
        let (first, last) = (head.tip.id.index.next(), end.min(self.commit_index()));
        // It is a copy of what the journal has: where there is no room for it, the journal alone has it.
        if last >= first && self.has_room(first, last) {
            let folder = self.layout.segment(first);
            self.fill(&folder, &head, last)?.finish()?;
            wait_until_released(&self.layout.disk, &folder)?;
        }
        Ok(())
    }
}
