//! A read on its way over the log: where it ends, where it begins, and what comes next.
//!
//! A read first learns up to where it must see; its end is fixed when that is committed, and it is
//! served when that is on this node's own disk ([`Horizon`]). From there on it goes over
//! entries that can no longer change ([`Cursor`]), which fills frames ([`RecordBatch`]). Whoever drives
//! it waits, reads the disk and sends.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::account::Account;
use super::reach::{Lineage, Reach, ReadEnd};
use crate::entry::{EntryError, SealedEntry};
use crate::limits::{LOCATE_BYTES, READ_FRAME_BYTES_MAX, READ_FRAME_RECORDS_MAX};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::store::{ReadError, Reader};
use crate::types::{Index, LogNumber, Offset};
use crate::wire::Frame;
use crate::wire::api::{EntrySpan, Read, ReadFrom, ReadRefusal, Records};

/// Why a read could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CursorError {
    /// The store is in trouble.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// An entry is not of its form.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A committed record is not where it must be.
    #[error("the record at offset {offset} is committed and not on this node's disk")]
    Missing {
        /// The offset that comes next.
        offset: Offset,
    },
}

impl CursorError {
    /// What is told of a read that failed so, if it failed by right: its log reaches so by now, or is gone,
    /// and what is not needed any more need not be there.
    pub fn refusal(&self, reach: Option<&Reach>) -> Option<ReadRefusal> {
        match (self, reach) {
            (_, None) => Some(ReadRefusal::UnknownLog),
            (Self::Missing { offset }, Some(reach)) => check_start(*offset, reach.start).err(),
            _ => None,
        }
    }
}

/// Fixes the end of a read, and says when it is within reach.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    must_see: Index,
    end: Option<ReadEnd>,
}

impl Horizon {
    /// Of a read that must see everything up to `must_see`.
    pub fn of(must_see: Index) -> Self {
        Self { must_see, end: None }
    }

    /// The end, once it is committed and on this node's own disk, of a log that reaches so far now. It
    /// is what was committed when `must_see` was: a log that grows faster than a disk writes holds no
    /// read up.
    pub fn look(&mut self, account: &Account, reach: &Reach) -> Option<ReadEnd> {
        if self.end.is_none() && account.commit_index >= self.must_see {
            self.end = Some(reach.end);
        }
        self.end.filter(|end| account.readable >= end.commit_index)
    }
}

/// Where a read is: it gives the records from `offset` on, of the entries from `index` on.
#[derive(Clone, Debug)]
pub struct Cursor {
    log: LogNumber,
    /// Whose records come first, if it is a fork.
    lineage: Lineage,
    offset: Offset,
    /// The entry to go on with; `None` until it has been looked up.
    index: Option<Index>,
    /// Other logs' entries stand between those of this one: it is looked up where it goes on.
    is_sparse: bool,
    end: ReadEnd,
    /// How many records it may still give.
    left: u64,
}

impl Cursor {
    /// Of a read whose end is known, of a log that reaches so far by now: it may begin behind that end.
    ///
    /// # Errors
    /// What it asks for was trimmed.
    pub fn begin(read: &Read, reach: &Reach, end: ReadEnd) -> Result<Self, ReadRefusal> {
        let start = reach.start;
        let offset = match read.from {
            ReadFrom::Offset(offset) => offset,
            ReadFrom::Last(count) => {
                start.max(Offset::new(end.next_offset.get().saturating_sub(count)))
            }
            ReadFrom::Start => start,
        };
        check_start(offset, start)?;
        let left = read.limit.unwrap_or(u64::MAX);
        let (log, lineage) = (read.log, reach.lineage.clone());
        Ok(Self { log, lineage, offset, index: None, is_sparse: false, end, left })
    }

    /// The offset of the next record.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Whether it can go on in a log that begins at `start` by now.
    ///
    /// # Errors
    /// What comes next was trimmed.
    pub fn check(&self, start: Offset) -> Result<(), ReadRefusal> {
        check_start(self.offset, start)
    }

    /// Up to where entries are settled.
    pub fn end(&self) -> ReadEnd {
        self.end
    }

    /// More is committed: a read that follows goes on.
    pub fn go_on_to(&mut self, end: ReadEnd) {
        assert!(end.commit_index >= self.end.commit_index, "what was settled stays settled");
        assert!(end.next_offset >= self.end.next_offset, "and so do its records");
        self.end = end;
    }

    /// Whether it has given all there is up to its end.
    pub fn is_at_end(&self) -> bool {
        self.offset >= self.end.next_offset || self.is_sated()
    }

    /// Whether it has given as much as was asked for.
    pub fn is_sated(&self) -> bool {
        self.left == 0
    }

    /// Reads the next entries off the disk, as many as fit into so many bytes: one at least. Gives them with
    /// the read as it goes on.
    ///
    /// # Errors
    /// The store is in trouble, or lacks what was committed.
    pub fn load(
        mut self,
        reader: &Reader,
        bytes_max: usize,
    ) -> Result<(Self, VecDeque<SealedEntry>), CursorError> {
        let bytes_max = if self.is_sparse { bytes_max.min(LOCATE_BYTES) } else { bytes_max };
        if let Some(index) = self.index {
            let entries = self.entries(reader, index, bytes_max)?;
            if !entries.is_empty() {
                return Ok((self, entries));
            }
            // The entry behind the last record has none of this log, and was given up since: the next
            // record is looked up as the first one was.
            self.index = None;
        }
        let missing = CursorError::Missing { offset: self.offset };
        let (owner, _) = self.owner();
        let Some(first) = reader.locate(owner, self.offset)? else { return Err(missing) };
        let entries = self.entries(reader, first, bytes_max)?;
        if entries.is_empty() { Err(missing) } else { Ok((self, entries)) }
    }

    /// The log whose record comes next, and up to where its records do.
    fn owner(&self) -> (LogNumber, Option<Offset>) {
        self.lineage.find(self.log, self.offset)
    }

    /// Entries from this one on; none if it is not there.
    fn entries(
        &self,
        reader: &Reader,
        first: Index,
        bytes_max: usize,
    ) -> Result<VecDeque<SealedEntry>, CursorError> {
        if first > self.end.commit_index {
            return Ok(VecDeque::new());
        }
        let entries = reader.entries(first, self.end.commit_index, bytes_max)?;
        let is_there = entries.first().is_some_and(|entry| entry.id().index == first);
        Ok(if is_there { entries.into() } else { VecDeque::new() })
    }

    /// Fills a frame from entries that were loaded, and lets go of those that are done.
    ///
    /// # Errors
    /// An entry is not of its form, or a record is not at the offset where it must be. What was
    /// filled before that is right.
    pub fn fill(
        &mut self,
        loaded: &mut VecDeque<SealedEntry>,
        batch: &mut RecordBatch,
    ) -> Result<(), CursorError> {
        while let Some(entry) = loaded.front() {
            let (before, owner) = (self.offset, self.owner());
            let is_done = self.take(entry, batch)?;
            if self.owner() != owner {
                hit(Mark::LeftSource);
                // What comes next is another log's: it is looked up, and may be in this very entry.
                (self.index, self.is_sparse) = (None, false);
                loaded.clear();
                break;
            }
            if !is_done {
                break;
            }
            // What is loaded is at hand; behind it the next entry of this log may be far away.
            self.is_sparse = self.offset == before;
            let is_far = self.is_sparse && loaded.len() == 1;
            self.index = Some(entry.id().index.next()).filter(|_| !is_far);
            loaded.pop_front();
        }
        Ok(())
    }

    /// Takes from an entry the records that belong to the read, as far as they fit. Says whether
    /// that is all of them.
    fn take(&mut self, entry: &SealedEntry, batch: &mut RecordBatch) -> Result<bool, CursorError> {
        let (mut count, mut is_done, mut next) = (0_u32, true, self.offset);
        let (owner, until) = self.owner();
        entry.visit_records(owner, self.offset, |offset, record| {
            if until.is_some_and(|until| offset >= until) {
                return false;
            }
            if offset != next || self.left == 0 || !batch.has_room(record) {
                is_done = false;
                return false;
            }
            batch.push(record);
            next = offset.plus(1);
            self.left -= 1;
            count += 1;
            true
        })?;
        // The entry that was looked up has the record that it was looked up by.
        let was_located = self.index.is_none();
        if count > 0 {
            self.offset = next;
            let (term, index, time) = (entry.id().term, entry.id().index, entry.time());
            // The index of an entry of which more is to come stays.
            self.index = Some(index);
            batch.header.spans.push(EntrySpan { count, term, index, time });
        } else if self.left > 0 && (was_located || !is_done && batch.is_empty()) {
            // There is room for any record in an empty frame: what comes next is another one.
            return Err(CursorError::Missing { offset: self.offset });
        }
        Ok(is_done)
    }
}

/// What is before a log's start is not read, though it may still be on the disk.
fn check_start(offset: Offset, start: Offset) -> Result<(), ReadRefusal> {
    if offset >= start || mutants::is_on(Mutant::ReadTrimmed) {
        return Ok(());
    }
    Err(ReadRefusal::Trimmed { start })
}

/// Records side by side: a frame to be.
#[derive(Debug)]
pub struct RecordBatch {
    header: Records,
    records: BytesMut,
    bytes_max: usize,
}

impl RecordBatch {
    /// An empty one.
    pub fn new(first_offset: Offset) -> Self {
        Self::with_room(first_offset, READ_FRAME_BYTES_MAX)
    }

    /// An empty one with room for so many bytes, and for one record however large.
    pub fn with_room(first_offset: Offset, bytes_max: usize) -> Self {
        Self { header: Records::empty(first_offset), records: BytesMut::new(), bytes_max }
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.header.lengths.is_empty()
    }

    /// How many records it has, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.header.lengths.len(), self.records.len())
    }

    /// Whether a record fits in: a frame has one at least.
    fn has_room(&self, record: &[u8]) -> bool {
        let (count, bytes) = self.size();
        count == 0 || (count < READ_FRAME_RECORDS_MAX && bytes + record.len() <= self.bytes_max)
    }

    fn push(&mut self, record: &[u8]) {
        self.header.lengths.push(u32::try_from(record.len()).expect("bounded"));
        self.records.extend_from_slice(record);
    }

    /// The frame.
    pub fn into_frame(self) -> Frame {
        self.header.to_frame_of(self.records.freeze())
    }

    /// The frame, the last of its read.
    pub fn into_last_frame(mut self) -> Frame {
        self.header.end = true;
        self.into_frame()
    }
}

/// The last frame of a read, if its records went before.
pub fn end_of_read(offset: Offset) -> Frame {
    Records { end: true, ..Records::empty(offset) }.to_frame_of(Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{EntryKind, Request, Tip, encode_requests};
    use crate::types::{ClientId, Seq, Term, Timestamp};
    use crate::wire::api::Role;

    /// Entries of two requests each, whose first offsets are these, with so many records each.
    fn entries(requests: &[[(u64, u64); 2]]) -> VecDeque<SealedEntry> {
        let mut tip = Tip::default();
        let seal = |pair: &[(u64, u64); 2]| {
            let requests = pair.map(|(first, count)| Request {
                log: LogNumber::MAIN,
                first_offset: Offset::new(first),
                client: ClientId::new(1),
                seq: Seq::FIRST,
                first_unanswered: Seq::FIRST,
                records: (first..first + count).map(|n| Bytes::from(n.to_string())).collect(),
                command: None,
            });
            let payload = encode_requests(&requests);
            let (term, time) = (Term::new(2), Timestamp::new(7));
            let entry = SealedEntry::seal(&tip, EntryKind::Records, term, time, &payload);
            tip = entry.tip();
            entry
        };
        requests.iter().map(seal).collect()
    }

    fn read(from: ReadFrom, limit: Option<u64>) -> Read {
        Read {
            log: LogNumber::MAIN,
            from,
            limit,
            linearizable: false,
            follow: false,
            inquiry: None,
        }
    }

    fn end(index: u64, offset: u64) -> ReadEnd {
        ReadEnd { commit_index: Index::new(index), next_offset: Offset::new(offset) }
    }

    fn reach(start: u64, end: ReadEnd) -> Reach {
        let (start, lineage) = (Offset::new(start), Lineage::default());
        Reach { start, end, is_closed: false, lineage }
    }

    fn begun(
        from: ReadFrom,
        limit: Option<u64>,
        start: u64,
        end: ReadEnd,
    ) -> Result<Cursor, ReadRefusal> {
        Cursor::begin(&read(from, limit), &reach(start, end), end)
    }

    #[test]
    fn nothing_before_the_start_is_read() {
        let at =
            |from, start| begun(from, None, start, end(9, 100)).map(|cursor| cursor.offset().get());
        let from = |offset| ReadFrom::Offset(Offset::new(offset));
        let trimmed = |start| Err(ReadRefusal::Trimmed { start: Offset::new(start) });
        assert_eq!([at(from(4), 5), at(from(5), 5)], [trimmed(5), Ok(5)]);
        assert_eq!([at(ReadFrom::Start, 5), at(ReadFrom::Last(98), 5)], [Ok(5), Ok(5)]);
        assert_eq!(at(ReadFrom::Last(3), 5), Ok(97));
        let cursor = begun(from(7), None, 5, end(9, 100)).unwrap();
        assert_eq!(cursor.check(Offset::new(7)), Ok(()));
        assert_eq!(cursor.check(Offset::new(8)), trimmed(8).map(|_: u64| ()));
    }

    fn cursor_at(offset: u64) -> Cursor {
        let read = read(ReadFrom::Offset(Offset::new(offset)), None);
        Cursor::begin(&read, &reach(0, end(9, 100)), end(9, 100)).unwrap()
    }

    /// The records of a frame, and how many there are of each entry.
    fn contents(batch: RecordBatch) -> (Vec<String>, Vec<u32>) {
        let (header, records) = Records::from_frame(&batch.into_frame()).unwrap();
        let text = |record: &Bytes| String::from_utf8(record.to_vec()).unwrap();
        (records.iter().map(text).collect(), header.spans.iter().map(|span| span.count).collect())
    }

    #[test]
    fn a_read_begins_at_its_offset_and_has_a_span_for_each_entry() {
        let mut loaded = entries(&[[(0, 2), (2, 2)], [(4, 1), (5, 2)]]);
        let mut cursor = cursor_at(1);
        let mut batch = RecordBatch::new(cursor.offset());
        cursor.fill(&mut loaded, &mut batch).unwrap();
        let (records, spans) = contents(batch);
        assert_eq!(records, ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(spans, [3, 3], "the requests of an entry are one span");
        assert_eq!((cursor.offset(), loaded.len()), (Offset::new(7), 0));
    }

    #[test]
    fn a_frame_that_is_full_and_a_read_that_has_enough_stop_within_an_entry() {
        let mut loaded = entries(&[[(0, 2), (2, 2)]]);
        let mut cursor = begun(ReadFrom::Last(4), Some(3), 0, end(1, 4)).unwrap();
        let mut batch = RecordBatch::with_room(cursor.offset(), 2);
        cursor.fill(&mut loaded, &mut batch).unwrap();
        assert_eq!(contents(batch).0, ["0", "1"]);
        assert!(!cursor.is_at_end());
        let mut batch = RecordBatch::with_room(cursor.offset(), 2);
        cursor.fill(&mut loaded, &mut batch).unwrap();
        assert_eq!(contents(batch).0, ["2"]);
        assert!(cursor.is_at_end() && cursor.is_sated());
    }

    /// The simulator's cursor saw this and production's did not: a look-up that is wrong would have
    /// given records under offsets that are not theirs.
    #[test]
    fn a_record_is_at_the_offset_asked_for_or_it_is_missing() {
        let convicted = |offset, loaded: &[[(u64, u64); 2]]| {
            let mut cursor = cursor_at(offset);
            let mut batch = RecordBatch::new(cursor.offset());
            let outcome = cursor.fill(&mut entries(loaded), &mut batch);
            matches!(outcome, Err(CursorError::Missing { offset: at }) if at.get() == offset)
        };
        assert!(convicted(5, &[[(6, 1), (7, 1)]]), "the entry begins behind it");
        assert!(convicted(5, &[[(3, 1), (4, 1)], [(5, 1), (6, 1)]]), "the entry ends before it");
        assert!(!convicted(5, &[[(4, 1), (5, 1)]]));
    }

    #[test]
    fn what_is_missing_by_right_is_said_to_be_trimmed_or_gone() {
        let missing = |offset| CursorError::Missing { offset: Offset::new(offset) };
        let reach = reach(5, end(9, 100));
        let trimmed = ReadRefusal::Trimmed { start: Offset::new(5) };
        assert_eq!(missing(4).refusal(Some(&reach)), Some(trimmed));
        assert_eq!(missing(5).refusal(Some(&reach)), None);
        assert_eq!(missing(5).refusal(None), Some(ReadRefusal::UnknownLog));
        assert_eq!(CursorError::Store(ReadError::Closed).refusal(Some(&reach)), None);
    }

    #[test]
    fn what_comes_before_a_hole_is_given_and_the_hole_is_found() {
        for holed in [[[(0, 1), (2, 1)], [(3, 1), (4, 1)]], [[(0, 1), (1, 1)], [(3, 1), (4, 1)]]] {
            let mut loaded = entries(&holed);
            let mut cursor = cursor_at(0);
            let mut batch = RecordBatch::new(cursor.offset());
            cursor.fill(&mut loaded, &mut batch).unwrap();
            assert_eq!(contents(batch).0[0], "0");
            let missing = cursor.offset();
            let outcome = cursor.fill(&mut loaded, &mut RecordBatch::new(missing));
            assert!(matches!(outcome, Err(CursorError::Missing { offset }) if offset == missing));
        }
    }

    #[test]
    fn a_log_between_others_is_looked_up_where_it_goes_on() {
        let mut loaded = entries(&[[(0, 1), (1, 1)]]);
        let mut others = entries(&[[(0, 1), (1, 1)], [(2, 1), (3, 1)]]);
        let mut cursor = cursor_at(0);
        let mut batch = RecordBatch::new(cursor.offset());
        cursor.fill(&mut loaded, &mut batch).unwrap();
        assert_eq!((cursor.index, cursor.is_sparse), (Some(Index::new(2)), false));
        cursor.log = LogNumber::new(1);
        cursor.fill(&mut others, &mut batch).unwrap();
        assert_eq!((cursor.index, cursor.is_sparse), (None, true));
    }

    #[test]
    fn a_fork_has_its_sources_records_up_to_where_it_left_and_then_its_own() {
        let read = read(ReadFrom::Start, None);
        let source = (LogNumber::MAIN, Offset::new(3));
        let of_fork = Reach { lineage: Lineage::of(vec![source]), ..reach(1, end(9, 5)) };
        let begun =
            |log| Cursor::begin(&Read { log, ..read.clone() }, &of_fork, end(9, 5)).unwrap();
        let mut cursor = begun(LogNumber::new(7));
        // It leaves its source within an entry, and the next record is looked up, wherever that is.
        let mut loaded = entries(&[[(0, 2), (2, 2)], [(4, 1), (5, 2)]]);
        let mut batch = RecordBatch::new(cursor.offset());
        cursor.fill(&mut loaded, &mut batch).unwrap();
        assert_eq!(contents(batch).0, ["1", "2"]);
        assert_eq!((cursor.offset(), cursor.index, loaded.len()), (Offset::new(3), None, 0));
        assert_eq!(cursor.owner(), (LogNumber::new(7), None));
        // Of the source nothing more is taken for its own.
        let outcome =
            cursor.fill(&mut entries(&[[(0, 2), (2, 2)]]), &mut RecordBatch::new(cursor.offset()));
        assert!(matches!(outcome, Err(CursorError::Missing { .. })));
    }

    #[test]
    fn an_end_is_what_was_committed_first_and_waits_for_the_own_disk() {
        let account = |commit_index, readable| Account {
            role: Role::Follower,
            term: Term::new(1),
            leader: None,
            ready: false,
            last_index: Index::new(commit_index),
            commit_index: Index::new(commit_index),
            next_offset: Offset::new(10 * commit_index),
            disk_full: None,
            readable: Index::new(readable),
            log_time: Timestamp::default(),
        };
        let mut horizon = Horizon::of(Index::new(5));
        let mut look = |commit_index, readable| {
            let reach = reach(0, end(commit_index, 10 * commit_index));
            horizon.look(&account(commit_index, readable), &reach)
        };
        assert_eq!(look(4, 4), None, "must see more");
        assert_eq!(look(6, 4), None, "not on this disk");
        assert_eq!(look(9, 5), None);
        assert_eq!(look(9, 7), Some(end(6, 60)), "not all that came since");
    }
}
