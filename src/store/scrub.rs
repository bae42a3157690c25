//! Scrubbing: in the background each sealed segment is read once in a configured time, so that rot is known
//! before anybody needs what it has hit.
//!
//! Read are its files, as they are on the disk and past what the page cache has, and compared by their hash with
//! those that were closed. sled is not asked. After each MiB it rests for a multiple of the time that it
//! took. One segment follows on the other in even distances; how far it is stands in a file that nothing
//! depends on, so that a node which is restarted often comes round all the same.
//!
//! A segment that is not what was closed is noted, marked and told, and mended of what another node has
//! (`mending`). Meanwhile nobody reads it; a restart knows it by its mark.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::database::{FilesHash, forget_cached, hash_of_resting};
use super::error::{Fault, StoreError};
use super::meta::{SealedRow, decode, encode};
use super::segments::is_of_disk;
use super::upkeep::{Progress, Scrub, Shared, UNPOISONED};
use crate::date::wall_clock;
use crate::limits::{SCRUB_REST, SCRUB_REST_MAX};
use crate::types::{Index, Timestamp};

impl Shared {
    /// From now on all sealed segments are read once in this time, or none.
    pub(super) fn scrub_every(&self, period: Option<Duration>) {
        let known = self.layout.disk.read_file(&self.progress_file()).ok();
        let progress = known.and_then(|bytes| decode(&bytes)).unwrap_or_default();
        *self.scrub.lock().expect(UNPOISONED) = Scrub { period, progress };
    }

    /// Reads the next sealed segment, if it is due.
    pub(super) fn scrub(&self) {
        let mut scrub = self.scrub.lock().expect(UNPOISONED);
        let Scrub { period, progress } = *scrub;
        let (Some(period), Some((row, count))) = (period, self.segments.sealed_from(progress.next))
        else {
            return;
        };
        let now = if period.is_zero() { Timestamp::default() } else { wall_clock() };
        let waited = now.get().checked_sub(progress.at.get()).map(Duration::from_millis);
        // A clock that was put back says nothing.
        if waited.is_some_and(|waited| waited < period / count) {
            return;
        }
        let next = match self.judge(&row) {
            Judged::Done => row.last.id.index.next(),
            Judged::Later => row.first,
        };
        scrub.progress = Progress { next, at: now };
        self.write_progress(scrub.progress);
    }

    /// Reads a segment, and notes what it is like.
    fn judge(&self, row: &SealedRow) -> Judged {
        let (first, last) = (row.first, row.last.id.index);
        let Some(files) = self.segments.files_of(first) else { return Judged::Done };
        match self.files_on_disk(first) {
            Ok(found) if found == files => (),
            // It was mended while it was read.
            _ if self.segments.files_of(first) != Some(files) => return Judged::Later,
            Ok(_) => {
                let error = StoreError::damage(&self.layout.segment(first), Fault::Hash);
                self.segments.mark_damaged(first, &error);
            }
            Err(error) if is_of_disk(&error) => {
                self.segments.mark_damaged(first, &error);
            }
            Err(error) => {
                tracing::warn!(%first, %last, %error, "entries {first} to {last} cannot be checked now");
                return Judged::Later;
            }
        }
        self.segments.note_scrubbed();
        Judged::Done
    }

    fn files_on_disk(&self, first: Index) -> Result<FilesHash, StoreError> {
        let (disk, folder) = (&self.layout.disk, self.layout.segment(first));
        forget_cached(disk, &folder)?;
        let files = hash_of_resting(disk, &folder, &|worked| self.rest_from_scrub(worked));
        // It was read for nobody: its pages would only take the place of others.
        forget_cached(disk, &folder)?;
        files
    }

    /// However far settling is behind: that has a thread of its own.
    fn rest_from_scrub(&self, worked: Duration) {
        if self.rests.load(Ordering::Acquire) && !self.is_abandoned() {
            thread::sleep(SCRUB_REST_MAX.min(worked * SCRUB_REST));
        }
    }

    fn progress_file(&self) -> PathBuf {
        self.layout.data.join("scrub")
    }

    /// It is no promise: after a crash something may be read twice, or at another time.
    fn write_progress(&self, progress: Progress) {
        if let Err(error) = self.layout.disk.write_file(&self.progress_file(), &encode(&progress)) {
            tracing::debug!(%error, "it is not written down how far the scrub is");
        }
    }
}

/// What is known of a segment.
enum Judged {
    /// Whether it is sound.
    Done,
    /// Nothing: it has to be read again.
    Later,
}
