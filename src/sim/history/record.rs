//! What clients did and were told.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::sim::model::RecordHash;
use crate::types::{ClientId, Offset, Seq};
use crate::wire::api::{Appended, Read, ReadFrom};

/// A request.
pub(super) type RequestId = (ClientId, Seq);

/// What is known of an append. One that is repeated, be it years later, is the same append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppendSeen {
    /// When it was first asked for.
    pub(super) invoked: u64,
    pub(super) records: Vec<RecordHash>,
    /// All acknowledgements, and when they came.
    pub(super) acknowledged: Vec<(u64, Appended)>,
    /// It was said to have failed for certain.
    pub(super) rejected: bool,
}

/// A read that was answered. Times are virtual microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadSeen {
    /// When it was asked.
    pub invoked: u64,
    /// When it was answered.
    pub returned: u64,
    /// Within a session no read may show less than one before it. `None`: nothing is promised
    /// between this one and others.
    pub session: Option<u64>,
    /// The question.
    pub read: Read,
    /// The offset of the first record, as the answer has it.
    pub first: Offset,
    /// The records.
    pub records: Vec<RecordHash>,
}

/// A question for the end of the log that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailSeen {
    /// When it was asked.
    pub invoked: u64,
    /// When it was answered.
    pub returned: u64,
    /// As for a read.
    pub session: Option<u64>,
    /// Whether it must reflect all that was answered before it was asked.
    pub linearizable: bool,
    /// The offset after the last record.
    pub end: Offset,
}

/// How far the log reached when a read saw it, as far as its answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// It reached at least up to this offset, excluded.
    pub at_least: Offset,
    /// It reached at most up to there.
    pub at_most: Offset,
}

impl Extent {
    /// An answer that tells nothing.
    const ANY: Self = Self { at_least: Offset::ZERO, at_most: Offset::new(u64::MAX) };

    pub(super) fn at(end: Offset) -> Self {
        Self { at_least: end, at_most: end }
    }

    /// Whether the answer tells it exactly.
    pub(super) fn is_exact(self) -> bool {
        self.at_least == self.at_most
    }
}

impl ReadSeen {
    /// How many records the answer has.
    pub(super) fn count(&self) -> u64 {
        self.records.len() as u64
    }

    /// The offset after the last record of the answer.
    pub(super) fn end(&self) -> Offset {
        self.first.plus(self.count())
    }

    /// How far the log reached.
    pub fn extent(&self) -> Extent {
        let is_full = self.read.limit.is_some_and(|limit| self.count() >= limit);
        let is_empty = self.records.is_empty();
        match self.read.from {
            ReadFrom::Offset(_) | ReadFrom::Start if is_full && is_empty => Extent::ANY,
            ReadFrom::Offset(_) | ReadFrom::Start if is_full => {
                Extent { at_least: self.end(), ..Extent::ANY }
            }
            ReadFrom::Offset(_) | ReadFrom::Start if is_empty => {
                Extent { at_most: self.first, ..Extent::ANY }
            }
            // It began so many records before the end, unless there were fewer.
            ReadFrom::Last(count) if self.first > Offset::ZERO => {
                Extent::at(Offset::new(self.first.get().saturating_add(count)))
            }
            ReadFrom::Last(count) if is_full => {
                Extent { at_least: self.end(), at_most: Offset::new(count) }
            }
            ReadFrom::Offset(_) | ReadFrom::Last(_) | ReadFrom::Start => Extent::at(self.end()),
        }
    }
}

/// What clients did and were told in a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub(super) appends: BTreeMap<RequestId, AppendSeen>,
    pub(super) reads: Vec<ReadSeen>,
    pub(super) tails: Vec<TailSeen>,
    /// Requests that append nothing, or to another log, and their records: nothing is seen of them.
    unseen: BTreeMap<RequestId, Vec<RecordHash>>,
}

impl History {
    /// A client asks to append, for the first time or again.
    pub fn append(&mut self, now: u64, id: (ClientId, Seq), records: Vec<RecordHash>) {
        match self.appends.entry(id) {
            Entry::Vacant(vacant) => {
                let (acknowledged, rejected) = (vec![], false);
                vacant.insert(AppendSeen { invoked: now, records, acknowledged, rejected });
            }
            Entry::Occupied(mut seen) => {
                let (seen, (client, seq)) = (seen.get_mut(), id);
                assert_eq!(seen.records, records, "{client} asks for {seq} with other records");
                seen.invoked = seen.invoked.min(now);
            }
        }
    }

    /// A client asks for something that appends nothing, or not to `main`.
    pub fn unseen(&mut self, id: (ClientId, Seq), records: Vec<RecordHash>) {
        self.unseen.insert(id, records);
    }

    /// A client is told that its request is in the log.
    pub fn acknowledged(&mut self, now: u64, id: (ClientId, Seq), appended: Appended) {
        if self.unseen.contains_key(&id) {
            return;
        }
        let seen = self.appends.get_mut(&id).expect("only what was asked for is answered");
        seen.acknowledged.push((now, appended));
    }

    /// A client is told that its request is not in the log and will never be.
    pub fn rejected(&mut self, id: (ClientId, Seq)) {
        if self.unseen.contains_key(&id) {
            return;
        }
        let seen = self.appends.get_mut(&id).expect("only what was asked for is answered");
        seen.rejected = true;
    }

    /// A client is told that its request is not in the log, and that its number may go to another. Gives
    /// its records.
    pub fn taken_back(&mut self, id: (ClientId, Seq)) -> Vec<RecordHash> {
        if let Some(records) = self.unseen.remove(&id) {
            return records;
        }
        let seen = self.appends.remove(&id).expect("only what was asked for is answered");
        seen.records
    }

    /// A read is answered. One that is not tells nothing.
    pub fn read(&mut self, read: ReadSeen) {
        assert!(read.invoked <= read.returned, "answered at {} before asked", read.returned);
        self.reads.push(read);
    }

    /// A question for the end of the log is answered.
    pub fn tail(&mut self, tail: TailSeen) {
        assert!(tail.invoked <= tail.returned, "answered at {} before asked", tail.returned);
        self.tails.push(tail);
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.appends.len() + self.reads.len() + self.tails.len()
    }

    /// Whether nobody did anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogNumber;

    fn extent(from: ReadFrom, limit: Option<u64>, first: u64, count: u64) -> Extent {
        let read = Read {
            log: LogNumber::MAIN,
            from,
            limit,
            linearizable: true,
            follow: false,
            inquiry: None,
        };
        let records = (0..count).map(|_| RecordHash::of(b"")).collect();
        let first = Offset::new(first);
        ReadSeen { invoked: 0, returned: 0, session: None, read, first, records }.extent()
    }

    #[test]
    fn an_answer_tells_how_far_the_log_reached() {
        const END: u64 = u64::MAX;
        let tells = |from, limit, first, count| {
            let Extent { at_least, at_most } = extent(from, limit, first, count);
            (at_least.get(), at_most.get())
        };
        let from = |offset| ReadFrom::Offset(Offset::new(offset));
        assert_eq!(tells(from(3), None, 3, 4), (7, 7));
        assert_eq!(tells(from(3), Some(5), 3, 4), (7, 7));
        assert_eq!(tells(from(3), Some(4), 3, 4), (7, END));
        assert_eq!(tells(from(3), None, 3, 0), (0, 3));
        assert_eq!(tells(from(3), Some(0), 3, 0), (0, END));
        assert_eq!(tells(ReadFrom::Start, Some(4), 3, 4), (7, END));
        assert_eq!(tells(ReadFrom::Start, None, 3, 4), (7, 7));
        assert_eq!(tells(ReadFrom::Last(4), None, 3, 4), (7, 7));
        assert_eq!(tells(ReadFrom::Last(4), Some(4), 3, 4), (7, 7));
        assert_eq!(tells(ReadFrom::Last(4), Some(2), 3, 2), (7, 7));
        assert_eq!(tells(ReadFrom::Last(4), Some(2), 0, 2), (2, 4));
        assert_eq!(tells(ReadFrom::Last(4), Some(3), 0, 2), (2, 2));
        assert_eq!(tells(ReadFrom::Last(2), Some(2), 0, 2), (2, 2));
        assert_eq!(tells(ReadFrom::Last(0), None, 5, 0), (5, 5));
        assert_eq!(tells(ReadFrom::Last(9), None, 0, 0), (0, 0));
        assert_eq!(tells(ReadFrom::Last(1), Some(0), 0, 0), (0, 1));
    }

    #[test]
    #[should_panic(expected = "with other records")]
    fn a_request_is_not_repeated_with_other_records() {
        let mut history = History::default();
        let id = (ClientId::new(1), Seq::FIRST);
        history.append(1, id, vec![RecordHash::of(b"a")]);
        history.append(2, id, vec![RecordHash::of(b"b")]);
    }
}
