//! What the entries say that are not committed yet, on top of what the committed ones say.
//!
//! A truncation takes entries from the tail, and with them their offsets and their clients'
//! requests. A new leader has all of it at once, since every node keeps its own.

use std::collections::{BTreeMap, VecDeque};

use super::sessions::{Answer, RequestInfo, Table, Verdict};
use crate::entry::{EntryError, RequestHead, SealedEntry};
use crate::types::{ClientId, Index, LogNumber, Offset, Seq};

/// The requests of one entry that is not committed.
#[derive(Clone, Debug)]
struct TailEntry {
    index: Index,
    requests: Vec<RequestInfo>,
}

/// The table of clients and the next offsets: committed, and with the tail on top.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// The state at the commit index.
    table: Table,
    /// Clients that it remembers.
    sessions_max: usize,
    committed_offsets: BTreeMap<LogNumber, Offset>,
    /// The entries after the commit index.
    entries: VecDeque<TailEntry>,
    /// The answers to the tail's requests, by client.
    overlay: BTreeMap<ClientId, VecDeque<Answer>>,
    next_offsets: BTreeMap<LogNumber, Offset>,
}

impl Tail {
    pub(super) fn new(
        table: Table,
        offsets: BTreeMap<LogNumber, Offset>,
        sessions_max: usize,
    ) -> Self {
        Self {
            table,
            sessions_max,
            committed_offsets: offsets.clone(),
            entries: VecDeque::new(),
            overlay: BTreeMap::new(),
            next_offsets: offsets,
        }
    }

    /// The offset of the next record.
    pub(super) fn next_offset(&self, log: LogNumber) -> Offset {
        self.next_offsets.get(&log).copied().unwrap_or_default()
    }

    /// The offset after the last committed record.
    pub(super) fn committed_offset(&self, log: LogNumber) -> Offset {
        self.committed_offsets.get(&log).copied().unwrap_or_default()
    }

    /// The next offsets of all logs, at the end of the tail.
    pub(super) fn offsets(&self) -> Vec<(LogNumber, Offset)> {
        self.next_offsets.iter().map(|(log, offset)| (*log, *offset)).collect()
    }

    /// How many clients the table remembers.
    pub(super) fn clients(&self) -> usize {
        self.table.len()
    }

    /// What to do with a request: is it new, known, or out of order?
    pub(super) fn look_up(&self, client: ClientId, seq: Seq, began_at: Index) -> Verdict {
        let overlay = self.overlay.get(&client);
        self.table.look_up(client, seq, began_at, overlay.unwrap_or(&VecDeque::new()))
    }

    /// The requests of an entry that was sealed or received.
    pub(super) fn requests_of(entry: &SealedEntry) -> Result<Vec<RequestInfo>, EntryError> {
        let index = entry.id().index;
        let info = |RequestHead { log, first_offset, client, seq, first_unanswered, count }| {
            let answer = Answer { seq, index, offset: first_offset, count };
            RequestInfo { log, client, first_unanswered, answer }
        };
        Ok(entry.request_heads()?.into_iter().map(info).collect())
    }

    /// Adds the requests of the entry behind the last.
    pub(super) fn push(&mut self, index: Index, requests: Vec<RequestInfo>) {
        assert!(self.entries.back().is_none_or(|entry| entry.index < index));
        for request in &requests {
            // Invariant: offsets are dense. An entry that fits the chain and not the offsets was
            // made by a leader that broke this law.
            assert_eq!(
                request.answer.offset,
                self.next_offset(request.log),
                "broken law: entry {index} does not continue log {}",
                request.log
            );
            self.next_offsets.insert(request.log, request.next_offset());
            self.overlay.entry(request.client).or_default().push_back(request.answer);
        }
        self.entries.push_back(TailEntry { index, requests });
    }

    /// Takes back the entry at `from` and all after it.
    pub(super) fn truncate(&mut self, from: Index) {
        while self.entries.back().is_some_and(|entry| entry.index >= from) {
            let entry = self.entries.pop_back().expect("it has a back");
            for request in entry.requests.iter().rev() {
                self.next_offsets.insert(request.log, request.answer.offset);
                self.forget(request.client, VecDeque::pop_back);
            }
        }
    }

    /// Whether requests of the tail stand at `from` or after it.
    pub(super) fn reaches(&self, from: Index) -> bool {
        let from = |entry: &&TailEntry| entry.index >= from;
        self.entries.iter().rev().take_while(from).any(|entry| !entry.requests.is_empty())
    }

    /// Moves the entries up to `through` into the committed state.
    pub(super) fn commit(&mut self, through: Index) {
        while self.entries.front().is_some_and(|entry| entry.index <= through) {
            let entry = self.entries.pop_front().expect("it has a front");
            for request in &entry.requests {
                self.committed_offsets.insert(request.log, request.next_offset());
                self.forget(request.client, VecDeque::pop_front);
                self.table.apply(request);
            }
            self.table.evict(self.sessions_max);
        }
    }

    fn forget(&mut self, client: ClientId, pop: fn(&mut VecDeque<Answer>) -> Option<Answer>) {
        let answers = self.overlay.get_mut(&client).expect("the tail's clients are in the overlay");
        pop(answers).expect("as many answers as requests in the tail");
        if answers.is_empty() {
            self.overlay.remove(&client);
        }
    }

    /// The table as it will be when all of the tail is committed: what the head of a segment that
    /// begins after the tail needs.
    pub(super) fn table_with_tail(&self) -> Table {
        let mut table = self.table.clone();
        for entry in &self.entries {
            entry.requests.iter().for_each(|request| table.apply(request));
            table.evict(self.sessions_max);
        }
        table
    }
}
