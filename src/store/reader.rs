//! Reading, from any thread, while the writer writes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::error::{ReadError, StoreError};
use super::segments::{Found, Segments};
use crate::entry::SealedEntry;
use crate::limits::{APPEND_ENTRIES_BYTES_MAX, APPEND_ENTRIES_COUNT_MAX, READ_ATTEMPTS_MAX};
use crate::types::{Index, LogId, LogNumber, Offset};

const PAUSE: Duration = Duration::from_millis(1);

/// Reads the log. Cloning is cheap; every thread may have one.
///
/// What is read may not be committed, and not even be on the disk yet: who reads knows how far the
/// log counts. A call may take milliseconds, and much longer for a segment that has to be opened.
#[derive(Clone, Debug)]
pub struct Reader {
    segments: Arc<Segments>,
}

impl Reader {
    pub(super) fn new(segments: Arc<Segments>) -> Self {
        Self { segments }
    }

    /// The entries from `first` to `last`, as far as they are there and fit into `bytes_max` bytes.
    ///
    /// If `first` is there, at least that one is returned, however large it is. They follow on each
    /// other; that the first one follows on what the caller has is for the caller to check.
    ///
    /// # Errors
    /// [`ReadError`]: closed, busy for too long, or damaged.
    pub fn entries(
        &self,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Vec<SealedEntry>, ReadError> {
        let mut entries: Vec<SealedEntry> = vec![];
        let mut bytes = 0;
        let mut next = first.max(Index::new(1));
        while next <= last {
            let Some(found) = self.segments.find(next)? else { break };
            let here = found.last.map_or(last, |end| end.min(last));
            let left = bytes_max.saturating_sub(bytes);
            let more = retried(|| found.segment.entries(next, here, left))?;
            let Some((head, tail)) = more.first().zip(more.last()) else { break };
            assert_eq!(head.id().index, next, "a segment gives what it was asked for");
            assert!(tail.id().index <= here, "and no more");
            // The first of a segment is returned even when it is too large; and a truncation
            // between two segments may have put another history behind the first.
            let fits = entries.last().is_none_or(|previous| {
                bytes + head.bytes().len() <= bytes_max
                    && head.check_follows(&previous.tip()).is_ok()
            });
            if !fits {
                break;
            }
            bytes += more.iter().map(|entry| entry.bytes().len()).sum::<usize>();
            next = tail.id().index.next();
            let is_whole = found.last.is_some_and(|end| next > end);
            entries.extend(more);
            if !is_whole || bytes >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }

    /// What a follower that is far behind is sent: the entry of `prev_log_id`, if there is one, and
    /// entries after it up to `last`; at least one, however large both are. Nothing if the log has
    /// another history by now: then it is asked for anew.
    ///
    /// # Errors
    /// [`ReadError`]: closed, busy for too long, or damaged.
    pub fn for_follower(
        &self,
        prev_log_id: LogId,
        last: Index,
    ) -> Result<Vec<SealedEntry>, ReadError> {
        let prev = prev_log_id.index;
        let mut entries = if prev == Index::ZERO { vec![] } else { self.entries(prev, prev, 1)? };
        let mut more = self.entries(prev.next(), last, APPEND_ENTRIES_BYTES_MAX)?;
        more.truncate(APPEND_ENTRIES_COUNT_MAX);
        let before = entries.last().map(SealedEntry::tip).unwrap_or_default();
        // A truncation between the two reads may have put another history behind the first.
        let follows = more.first().is_some_and(|first| first.check_follows(&before).is_ok());
        if !follows || before.id != prev_log_id {
            return Ok(vec![]);
        }
        entries.append(&mut more);
        Ok(entries)
    }

    /// The index of the entry that holds the record with this offset, if the log holds it.
    ///
    /// # Errors
    /// [`ReadError`]: closed, busy for too long, or damaged.
    pub fn locate(&self, log: LogNumber, offset: Offset) -> Result<Option<Index>, ReadError> {
        match self.segments.find_offset(log, offset)? {
            Some(Found { segment, .. }) => Ok(retried(|| segment.locate(log, offset))?),
            None => Ok(None),
        }
    }
}

/// A truncation may change entries while they are read: what looks like damage then is none. Real
/// damage stays.
fn retried<T>(read: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 1..READ_ATTEMPTS_MAX {
        match read() {
            Err(error) if error.is_damage() => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
    read()
}
