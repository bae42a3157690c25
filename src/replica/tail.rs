//! What the entries say that are not committed yet, on top of what the committed ones say.
//!
//! A truncation takes entries from the tail, and with them their offsets and their clients'
//! requests. A new leader has all of it at once, since every node keeps its own.

use std::collections::{BTreeMap, VecDeque};

use super::sessions::{Answers, Table, Verdict};
use crate::entry::RunHead;
use crate::types::{ClientId, Index, LogNumber, Offset, SeqRange};

/// The runs of requests of one entry that is not committed.
#[derive(Clone, Debug)]
struct TailEntry {
    index: Index,
    runs: Vec<RunHead>,
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
    overlay: BTreeMap<ClientId, VecDeque<Answers>>,
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

    /// What to do with the first of these requests: are they new, known, or out of order?
    pub(super) fn look_up(&self, client: ClientId, wanted: SeqRange, began_at: Index) -> Verdict {
        let overlay = self.overlay.get(&client);
        self.table.look_up(client, wanted, began_at, overlay.unwrap_or(&VecDeque::new()))
    }

    /// Adds the runs of the entry behind the last.
    pub(super) fn push(&mut self, index: Index, runs: Vec<RunHead>) {
        assert!(self.entries.back().is_none_or(|entry| entry.index < index));
        for run in &runs {
            // Invariant: offsets are dense. An entry that fits the chain and not the offsets was
            // made by a leader that broke this law.
            assert_eq!(
                run.first_offset,
                self.next_offset(run.log),
                "broken law: entry {index} does not continue log {}",
                run.log
            );
            self.next_offsets.insert(run.log, run.next_offset());
            self.overlay.entry(run.client).or_default().push_back(Answers::of(run, index));
        }
        self.entries.push_back(TailEntry { index, runs });
    }

    /// Takes back the entry at `from` and all after it.
    pub(super) fn truncate(&mut self, from: Index) {
        while self.entries.back().is_some_and(|entry| entry.index >= from) {
            let entry = self.entries.pop_back().expect("it has a back");
            for run in entry.runs.iter().rev() {
                self.next_offsets.insert(run.log, run.first_offset);
                self.forget(run.client, VecDeque::pop_back);
            }
        }
    }

    /// Whether requests of the tail stand at `from` or after it.
    pub(super) fn reaches(&self, from: Index) -> bool {
        let from = |entry: &&TailEntry| entry.index >= from;
        self.entries.iter().rev().take_while(from).any(|entry| !entry.runs.is_empty())
    }

    /// Moves the entries up to `through` into the committed state.
    pub(super) fn commit(&mut self, through: Index) {
        while self.entries.front().is_some_and(|entry| entry.index <= through) {
            let entry = self.entries.pop_front().expect("it has a front");
            for run in &entry.runs {
                self.committed_offsets.insert(run.log, run.next_offset());
                self.forget(run.client, VecDeque::pop_front);
                self.table.apply(run, entry.index);
            }
            self.table.evict(self.sessions_max);
        }
    }

    fn forget(&mut self, client: ClientId, pop: fn(&mut VecDeque<Answers>) -> Option<Answers>) {
        let answers = self.overlay.get_mut(&client).expect("the tail's clients are in the overlay");
        pop(answers).expect("as many answers as runs in the tail");
        if answers.is_empty() {
            self.overlay.remove(&client);
        }
    }

    /// The table as it will be when all of the tail is committed: what the head of a segment that
    /// begins after the tail needs.
    pub(super) fn table_with_tail(&self) -> Table {
        let mut table = self.table.clone();
        for entry in &self.entries {
            entry.runs.iter().for_each(|run| table.apply(run, entry.index));
            table.evict(self.sessions_max);
        }
        table
    }
}
