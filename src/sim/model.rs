//! The reference model: what the committed entries mean, in the plainest way there is.
//!
//! It is fed every committed entry once, in order, and knows where each request is. It has no table
//! that forgets, no tail, no window and no segments, and so none of their bugs; what it finds wrong
//! with the log is wrong, whoever says otherwise.

use std::collections::BTreeMap;

use crate::command::Command;
use crate::entry::{Request, SealedEntry};
use crate::label::FenceToken;
use crate::types::{ClientId, Index, LogId, LogNumber, Offset, Seq, Term};

/// Stands for a record: its length and its checksum. Nobody here tries to deceive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordHash(u64);

impl RecordHash {
    /// The hash of a record.
    pub fn of(record: &[u8]) -> Self {
        Self((record.len() as u64) << 32 | u64::from(crc32c::crc32c(record)))
    }

    /// The hashes of records, in order.
    pub fn of_all<'a>(records: impl IntoIterator<Item = &'a bytes::Bytes>) -> Vec<Self> {
        records.into_iter().map(|record| Self::of(record)).collect()
    }
}

/// A request in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its entry, which may hold others.
    pub entry: LogId,
    /// Which log it is about.
    pub log: LogNumber,
    /// Whose it is.
    pub client: ClientId,
    /// Its number.
    pub seq: Seq,
    /// The offset of its first record.
    pub offset: Offset,
    /// Its records.
    pub records: Vec<RecordHash>,
    /// What it asks for instead.
    pub command: Option<Command>,
    /// The log's fence before it.
    pub fence: Option<FenceToken>,
}

impl Placed {
    /// How many records it has.
    pub fn count(&self) -> u64 {
        self.records.len() as u64
    }

    /// The offset after its last record.
    pub fn next_offset(&self) -> Offset {
        self.offset.plus(self.count())
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The last entry that was applied.
    applied: LogId,
    /// The terms of all of them.
    terms: Vec<Term>,
    requests: Vec<Placed>,
    /// Where each client's requests are in `requests`, from its first on.
    sessions: BTreeMap<ClientId, Vec<usize>>,
    /// Where each log ends, and its fence.
    ends: BTreeMap<LogNumber, (Offset, Option<FenceToken>)>,
    /// In which entry each log has expired that has.
    expired: BTreeMap<LogNumber, Index>,
    /// Where each log was to begin from an entry on, unless it began later already.
    begins: BTreeMap<LogNumber, Vec<(Index, Offset)>>,
}

impl Model {
    /// The index of the last entry that was applied.
    pub fn applied(&self) -> Index {
        self.applied.index
    }

    /// The entry at an index, if it was applied.
    pub fn id_at(&self, index: Index) -> Option<LogId> {
        let before = index.get().checked_sub(1)?;
        let place = usize::try_from(before).ok()?;
        self.terms.get(place).map(|term| LogId::new(index, *term))
    }

    /// The offset after the last record of a log.
    pub fn next_offset(&self, log: LogNumber) -> Offset {
        self.end(log).0
    }

    fn end(&self, log: LogNumber) -> (Offset, Option<FenceToken>) {
        self.ends.get(&log).copied().unwrap_or_default()
    }

    /// Whether a log has expired by the entry at `index`.
    pub fn has_expired(&self, log: LogNumber, index: Index) -> bool {
        self.expired.get(&log).is_some_and(|at| *at <= index)
    }

    /// Whether a log was to begin there by the entry at `index`: a fork where its source is.
    pub fn has_begun(&self, log: LogNumber, index: Index, start: Offset) -> bool {
        let begins = self.begins.get(&log).map_or(&[][..], Vec::as_slice);
        begins.iter().any(|(at, begin)| *at <= index && *begin == start)
    }

    /// All requests, in the order of the entries.
    pub fn requests(&self) -> &[Placed] {
        &self.requests
    }

    /// Where a request is, if it is in the log.
    pub fn find(&self, client: ClientId, seq: Seq) -> Option<&Placed> {
        let place = usize::try_from(seq.get().checked_sub(1)?).ok()?;
        self.sessions.get(&client)?.get(place).map(|at| &self.requests[*at])
    }

    /// The offset after the last record of a log in the entries up to `index`.
    pub fn next_offset_at(&self, log: LogNumber, index: Index) -> Offset {
        let until = self.requests.partition_point(|request| request.entry.index <= index);
        let last = self.requests[..until].iter().rfind(|request| request.log == log);
        last.map_or(Offset::ZERO, Placed::next_offset)
    }

    /// The fences that a log had within the entry at `index`: before each of its requests, and behind
    /// the last.
    pub fn fences_within(&self, log: LogNumber, index: Index) -> Vec<Option<FenceToken>> {
        let from = self.requests.partition_point(|request| request.entry.index < index);
        let behind = self.requests.partition_point(|request| request.entry.index <= index);
        let of_log = |request: &&Placed| request.log == log;
        let within = self.requests[from..behind].iter().filter(of_log);
        let mut fences: Vec<_> = within.map(|it| it.fence).collect();
        let next = self.requests[behind..].iter().find(of_log);
        fences.push(next.map_or(self.end(log).1, |next| next.fence));
        fences
    }

    /// Where a log ended behind one of the requests of the entry at `index`, or before the first of
    /// them: the first such offset that is not before `offset`, if there is one.
    pub fn end_within(&self, log: LogNumber, index: Index, offset: Offset) -> Offset {
        let first = self.requests.partition_point(|request| request.entry.index < index);
        let before = self.next_offset_at(log, index.previous());
        let of_entry = self.requests.iter().skip(first).take_while(|it| it.entry.index == index);
        let of_entry = of_entry.filter(|it| it.log == log);
        let ends = [before].into_iter().chain(of_entry.map(Placed::next_offset));
        ends.clone().find(|end| *end >= offset).unwrap_or_else(|| ends.last().unwrap_or_default())
    }

    /// Applies those of the committed entries that it has not seen yet.
    ///
    /// # Errors
    /// What is wrong with the log, in a sentence.
    pub fn catch_up(&mut self, committed: &[SealedEntry]) -> Result<(), String> {
        committed.iter().try_for_each(|entry| {
            if entry.id().index == self.applied.index.next() { self.apply(entry) } else { Ok(()) }
        })
    }

    /// Applies the next entry.
    ///
    /// # Errors
    /// What is wrong with the log, in a sentence.
    pub fn apply(&mut self, entry: &SealedEntry) -> Result<(), String> {
        let (id, before) = (entry.id(), self.applied);
        if id.index != before.index.next() || id.term < before.term {
            return Err(format!("entry {id} was committed after {before}"));
        }
        self.applied = id;
        self.terms.push(id.term);
        let housekeeping = entry.housekeeping().ok().flatten().unwrap_or_default();
        let expired = housekeeping.expired.into_iter().map(|log| (log, id.index));
        self.expired.extend(expired);
        for (log, start) in housekeeping.trims {
            self.begins.entry(log).or_default().push((id.index, start));
        }
        let requests = entry.requests().map_err(|error| format!("entry {id}: {error}"))?;
        requests.iter().try_for_each(|request| self.place(id, request))
    }

    fn place(&mut self, entry: LogId, request: &Request) -> Result<(), String> {
        let Request { log, first_offset, client, seq, .. } = *request;
        let it = format!("request {seq} of client {client} in entry {entry}");
        if let Some(first) = self.find(client, seq) {
            return Err(format!("{it} is in entry {} already", first.entry));
        }
        let origin = request.command.as_ref().and_then(Command::origin);
        if let Some(origin) = origin {
            let of_source = self.begins.get(&origin.source).cloned().unwrap_or_default();
            self.begins.insert(log, of_source);
            self.ends.insert(log, (origin.at, None));
        }
        if let Some(Command::Trim(start)) = request.command {
            self.begins.entry(log).or_default().push((entry.index, start));
        }
        let (next_offset, fence) = self.end(log);
        if first_offset != next_offset {
            return Err(format!(
                "{it} is at offset {first_offset}, and the log ends at {next_offset}"
            ));
        }
        let session = self.sessions.entry(client).or_default();
        let before = session.len() as u64;
        if seq.get() != before + 1 {
            return Err(format!("{it} comes after request {before}"));
        }
        session.push(self.requests.len());
        let records = RecordHash::of_all(&request.records);
        let (command, offset) = (request.command.clone(), first_offset);
        let behind = if let Some(Command::Fence(token)) = command { token } else { fence };
        self.ends.insert(log, (request.next_offset(), behind));
        self.requests.push(Placed { entry, log, client, seq, offset, records, command, fence });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::laws::testing::{Log, id, request};

    fn applied(log: &Log) -> Result<Model, String> {
        let mut model = Model::default();
        model.catch_up(&log.entries).map(|()| model)
    }

    #[track_caller]
    fn assert_wrong(requests: &[Request], expected: &str) {
        let mut log = Log::of(&[1]);
        log.records(1, &[(1, 2)]);
        log.requests(1, requests);
        let what = applied(&log).expect_err("the model saw nothing wrong");
        assert!(what.contains(expected), "it said: {what}");
    }

    #[test]
    fn every_request_is_found_where_it_is() {
        let mut log = Log::of(&[1]);
        log.records(1, &[(1, 2), (2, 1), (1, 1)]);
        log.extend(&[2]);
        log.records(2, &[(2, 3)]);
        let model = applied(&log).unwrap();
        let find = |client, seq| {
            let placed = model.find(ClientId::new(client), Seq::new(seq))?;
            Some((placed.entry, placed.offset.get(), placed.count()))
        };
        assert_eq!(find(1, 1), Some((id(2, 1), 0, 2)));
        assert_eq!(find(2, 1), Some((id(2, 1), 2, 1)));
        assert_eq!(find(1, 2), Some((id(2, 1), 3, 1)));
        assert_eq!(find(2, 2), Some((id(4, 2), 4, 3)));
        assert_eq!([find(1, 3), find(1, 0), find(3, 1)], [None; 3]);
        assert_eq!((model.applied().get(), model.next_offset(LogNumber::MAIN).get()), (4, 7));
        let ends: Vec<_> =
            (0..5).map(|i| model.next_offset_at(LogNumber::MAIN, Index::new(i)).get()).collect();
        assert_eq!(ends, [0, 0, 4, 4, 7]);
    }

    #[test]
    fn what_was_applied_is_not_applied_again_and_nothing_is_left_out() {
        let log = Log::of(&[1, 1, 1, 2]);
        let mut model = Model::default();
        model.catch_up(&log.entries[..2]).unwrap();
        model.catch_up(&log.entries[1..3]).unwrap();
        assert_eq!((model.applied().get(), model.requests().len()), (3, 2));
        assert_eq!(model.apply(&log.entries[2]).unwrap_err(), "entry 3@1 was committed after 3@1");
        assert_eq!(model.clone().apply(&log.entries[3]), Ok(()));
        let older = Log::of(&[0, 0, 0, 0]);
        let older = older.entries.last().unwrap();
        assert_eq!(model.apply(older).unwrap_err(), "entry 4@0 was committed after 3@1");
    }

    #[test]
    fn a_request_that_is_in_twice_is_found() {
        assert_wrong(&[request(1, 1, 2, 2, "")], "in entry 3@1 is in entry 2@1 already");
        assert_wrong(
            &[request(2, 1, 2, 1, ""), request(2, 1, 3, 1, "")],
            "is in entry 3@1 already",
        );
    }

    #[test]
    fn gaps_and_overlaps_of_offsets_are_found() {
        assert_wrong(&[request(1, 2, 3, 1, "")], "is at offset 3, and the log ends at 2");
        assert_wrong(&[request(1, 2, 1, 1, "")], "is at offset 1, and the log ends at 2");
    }

    #[test]
    fn a_client_out_of_order_is_found() {
        assert_wrong(&[request(1, 3, 2, 1, "")], "request 3 of client");
        assert_wrong(&[request(2, 2, 2, 1, "")], "comes after request 0");
        assert_wrong(&[request(1, 0, 2, 1, "")], "is not of its form");
    }

    #[test]
    fn each_log_has_offsets_and_fences_of_its_own() {
        let other = LogNumber::new(7);
        let mut log = Log::of(&[1]);
        log.records(1, &[(1, 2)]);
        let fence = Command::Fence("f".parse().ok());
        log.requests(
            1,
            &[
                Request { log: other, ..request(1, 2, 0, 3, "") },
                request(2, 1, 2, 1, ""),
                Request { log: other, command: Some(fence), ..request(1, 3, 3, 0, "") },
            ],
        );
        let model = applied(&log).unwrap();
        let main = LogNumber::MAIN;
        assert_eq!([main, other].map(|log| model.next_offset(log).get()), [3, 3]);
        let ends = |log| [0, 1, 2, 3].map(|i| model.next_offset_at(log, Index::new(i)).get());
        assert_eq!([ends(main), ends(other)], [[0, 0, 2, 3], [0, 0, 0, 3]]);
        let fences = |log| model.fences_within(log, Index::new(3)).len();
        assert_eq!((fences(main), fences(other)), (2, 3));
        assert_eq!(model.fences_within(main, Index::new(3)), [None, None]);
    }

    #[test]
    fn hashes_tell_records_apart() {
        assert_ne!(RecordHash::of(b""), RecordHash::of(b"\0"));
        assert_ne!(RecordHash::of(b"a"), RecordHash::of(b"b"));
        assert_eq!(RecordHash::of(b"a"), RecordHash::of(b"a"));
    }
}
