//! Reading, from any thread, while the writer writes.

use std::sync::Arc;

use bytes::Bytes;

use super::error::ReadError;
use super::segment::{Sought, decode_head};
use super::segments::{Damaged, Found, FoundOffset, Kept, Segments};
use crate::entry::{SealedEntry, Tip};
use crate::limits::{APPEND_ENTRIES_BYTES_MAX, APPEND_ENTRIES_COUNT_MAX, LOCATE_BYTES};
use crate::marks::{Mark, hit};
use crate::raft::HeadInfo;
use crate::types::{Index, LogId, LogNumber, Offset};

/// What there is of what a follower lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// Entries, each following on the one before; or none, by now.
    Entries {
        /// The entry before them.
        previous: Tip,
        /// They.
        entries: Vec<SealedEntry>,
    },
    /// The head that stands for them, and for all before them.
    Head {
        /// Which it is.
        info: HeadInfo,
        /// Its form.
        form: Bytes,
    },
}

/// Reads the log. Cloning is cheap; every thread may have one.
///
/// What is read is on the disk, but may not be committed: who reads knows how far the log counts. A
/// call may take milliseconds, and much longer for a segment that has to be opened.
#[derive(Clone, Debug)]
pub struct Reader {
    segments: Arc<Segments>,
}

impl Reader {
    pub(super) fn new(segments: Arc<Segments>) -> Self {
        Self { segments }
    }

    #[cfg(test)]
    pub(super) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// The first entry that is there: those before it were given up.
    pub fn first(&self) -> Index {
        self.segments.first()
    }

    /// The segments that are known to be damaged on this disk.
    pub fn damaged(&self) -> Vec<Damaged> {
        self.segments.damaged()
    }

    /// How many sealed segments this process has scrubbed.
    pub fn scrubbed(&self) -> u64 {
        self.segments.scrubbed()
    }

    /// From now on no entry is given up that is here, as far as what this returns has not moved on.
    pub fn keep(&self) -> Kept {
        self.segments.keep()
    }

    /// What was before the first entry: the head of the segment that begins with it, in its form, which
    /// [`super::decode_head`] reads.
    ///
    /// # Errors
    /// [`ReadError`]: closed, or damaged.
    pub fn first_head(&self) -> Result<Bytes, ReadError> {
        self.segments.first_head().map(Bytes::from)
    }

    /// What was before this entry, as [`Self::first_head`], if a segment begins with it.
    ///
    /// # Errors
    /// [`ReadError`]: closed, or damaged.
    pub fn head_before(&self, first: Index) -> Result<Option<Bytes>, ReadError> {
        Ok(self.segments.head_before(first)?.map(Bytes::from))
    }

    /// The first entry that is kept when whole sealed segments are given up, from the oldest on, that
    /// end before `below` and have no live record. `starts` says where a log begins, unless it is
    /// deleted: what is before that is dead for ever. Looks at what is in memory.
    pub fn dead_before(&self, below: Index, starts: &dyn Fn(LogNumber) -> Option<Offset>) -> Index {
        self.segments.dead_before(below, starts)
    }

    /// The entries from `first` to `last`, as far as they are there and fit into `bytes_max` bytes.
    ///
    /// If `first` is there, at least that one is returned, however large it is. They follow on each
    /// other; that the first one follows on what the caller has is for the caller to check.
    ///
    /// # Errors
    /// [`ReadError`]: closed, or damaged.
    pub fn entries(
        &self,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Vec<SealedEntry>, ReadError> {
        let mut entries: Vec<SealedEntry> = vec![];
        let mut bytes = 0;
        let mut next = first.max(Index::new(1));
        while next <= last && (bytes < bytes_max || entries.is_empty()) {
            let left = bytes_max.saturating_sub(bytes);
            let more = match self.segments.find(next, last, left)? {
                Some(Found::Sealed(segment, end)) => {
                    let read = segment.entries(next, end.min(last), left);
                    self.segments.of_segment(segment.first(), read)?
                }
                Some(Found::Journal(piece)) => piece.read()?,
                None => break,
            };
            let Some((head, tail)) = more.first().zip(more.last()) else { break };
            assert_eq!(head.id().index, next, "a place gives what it was asked for");
            // The first of a place is returned even when it is too large; and a truncation between
            // two places may have put another history behind the first.
            let fits = entries.last().is_none_or(|previous| {
                bytes + head.bytes().len() <= bytes_max
                    && head.check_follows(&previous.tip()).is_ok()
            });
            if !fits {
                break;
            }
            bytes += more.iter().map(|entry| entry.bytes().len()).sum::<usize>();
            next = tail.id().index.next();
            entries.extend(more);
        }
        Ok(entries)
    }

    /// What a follower that is far behind is sent: entries after `prev_log_id` up to `last`; at least one,
    /// however large it is. None if the log has another history by now: then they are asked for anew. If
    /// they were given up, what stands for them.
    ///
    /// # Errors
    /// [`ReadError`]: closed, or damaged.
    pub fn for_follower(&self, prev_log_id: LogId, last: Index) -> Result<Lacking, ReadError> {
        let prev = prev_log_id.index;
        if prev.next() < self.first() {
            return self.lacking_head();
        }
        let previous = self.tip_at(prev)?;
        let mut entries = self.entries(prev.next(), last, APPEND_ENTRIES_BYTES_MAX)?;
        entries.truncate(APPEND_ENTRIES_COUNT_MAX);
        // A truncation between the two reads may have put another history behind the first.
        let follows = entries.first().is_some_and(|first| first.check_follows(&previous).is_ok());
        if !follows || previous.id != prev_log_id {
            entries.clear();
        }
        Ok(Lacking::Entries { previous, entries })
    }

    /// The entry at an index with its chain, as far as it can be told: of what was given up the last is known.
    fn tip_at(&self, index: Index) -> Result<Tip, ReadError> {
        if let Some(entry) =
            self.entries(index, index, 1)?.first().filter(|it| it.id().index == index)
        {
            return Ok(entry.tip());
        }
        if index == Index::ZERO || index.next() != self.first() {
            return Ok(Tip::default());
        }
        hit(Mark::FollowedHead);
        let head = decode_head(&self.first_head()?);
        Ok(head.map(|head| head.tip).unwrap_or_default())
    }

    fn lacking_head(&self) -> Result<Lacking, ReadError> {
        let form = self.first_head()?;
        let none = || Lacking::Entries { previous: Tip::default(), entries: vec![] };
        Ok(decode_head(&form).map_or_else(none, |head| {
            let hash = *blake3::hash(&form).as_bytes();
            let info = HeadInfo { id: head.tip.id, bytes: form.len() as u64, hash };
            Lacking::Head { info, form }
        }))
    }

    /// The index of the entry that holds the record with this offset, if the log holds it.
    ///
    /// # Errors
    /// [`ReadError`]: closed, or damaged.
    pub fn locate(&self, log: LogNumber, offset: Offset) -> Result<Option<Index>, ReadError> {
        match self.segments.find_offset(log, offset)? {
            Some(FoundOffset::Sealed(segment)) => {
                self.segments.of_segment(segment.first(), segment.locate(log, offset))
            }
            Some(FoundOffset::Journal(start)) => self.locate_from(start, log, offset),
            None => Ok(None),
        }
    }

    /// Looks for a record in the entries from `start` on, some at a time.
    fn locate_from(
        &self,
        start: Index,
        log: LogNumber,
        offset: Offset,
    ) -> Result<Option<Index>, ReadError> {
        let mut next = start;
        loop {
            let entries = self.entries(next, Index::new(u64::MAX), LOCATE_BYTES)?;
            let Some(last) = entries.last() else { return Ok(None) };
            next = last.id().index.next();
            for entry in &entries {
                let sought = Sought::of(entry, log, offset);
                match sought.expect("an entry is checked before it is stored") {
                    Sought::Here(index) => return Ok(Some(index)),
                    Sought::Nowhere => return Ok(None),
                    Sought::Behind => (),
                }
            }
        }
    }
}
