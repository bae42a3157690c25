//! What the entries say that are not committed yet, on top of what the committed ones say.
//!
//! A truncation takes entries from the tail, and with them their offsets and their clients'
//! requests. A new leader has all of it at once, since every node keeps its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::guards::{Before, Guards};
use super::sessions::{Answers, Verdict};
use super::state::State;
use super::volumes::Volumes;
use crate::entry::Logged;
use crate::housekeeping::Housekeeping;
use crate::mutants::{self, Mutant};
use crate::types::{ClientId, Index, LogNumber, Offset, SeqRange, Timestamp};

/// The runs of requests of one entry that is not committed.
#[derive(Clone, Debug)]
struct TailEntry {
    index: Index,
    time: Timestamp,
    runs: Vec<Logged>,
    housekeeping: Option<Housekeeping>,
    /// The logs that are no more behind it, and where they went on.
    gone: Vec<(LogNumber, Offset)>,
    /// What its commands and that changed, in order.
    before: Vec<Before>,
}

/// The table of clients and the next offsets: committed, and with the tail on top.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// The state at the commit index.
    state: State,
    /// Clients that it remembers.
    sessions_max: usize,
    committed_offsets: BTreeMap<LogNumber, Offset>,
    /// The last committed entry.
    committed: Index,
    /// The entries after it, without a gap.
    entries: VecDeque<TailEntry>,
    /// The answers to the tail's requests, by client.
    overlay: BTreeMap<ClientId, VecDeque<Answers>>,
    next_offsets: BTreeMap<LogNumber, Offset>,
    /// Which logs there are, and who may append, at the end of the tail.
    guards: Guards,
    /// Logs that are not what they were since somebody asked.
    changed: BTreeSet<LogNumber>,
}

impl Tail {
    /// Of a log that ends with the entry at `committed`.
    pub(super) fn new(
        (committed, state): (Index, State),
        offsets: BTreeMap<LogNumber, Offset>,
        sessions_max: usize,
    ) -> Self {
        Self {
            guards: state.guards.clone(),
            state,
            committed,
            sessions_max,
            committed_offsets: offsets.clone(),
            entries: VecDeque::new(),
            overlay: BTreeMap::new(),
            next_offsets: offsets,
            changed: BTreeSet::new(),
        }
    }

    /// The last committed entry, and the last of all.
    pub(super) fn ends(&self) -> (Index, Index) {
        (self.committed, self.committed.plus(self.entries.len() as u64))
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

    /// The logs that were changed by what was committed since this was called last.
    pub(super) fn take_changed(&mut self) -> BTreeSet<LogNumber> {
        std::mem::take(&mut self.changed)
    }

    /// How many clients the table remembers.
    pub(super) fn clients(&self) -> usize {
        self.state.table.len()
    }

    /// What to do with the first of these requests: are they new, known, or out of order? `folded` holds
    /// the client's requests that are about to stand behind the tail.
    pub(super) fn look_up(
        &self,
        client: ClientId,
        wanted: SeqRange,
        began_at: Index,
        folded: &VecDeque<Answers>,
    ) -> Verdict {
        let none = VecDeque::new();
        let overlay = self.overlay.get(&client).unwrap_or(&none);
        let kept = self.state.guards.last_of(client);
        self.state.table.look_up((client, kept), wanted, began_at, [overlay, folded])
    }

    /// Whether these runs, of the entry behind the last, continue their logs.
    pub(super) fn continues(&self, runs: &[Logged]) -> bool {
        let mut behind = BTreeMap::new();
        runs.iter().all(|logged| {
            let log = logged.head.log;
            let before = behind.insert(log, logged.head.next_offset());
            let next = begins_at(logged).or(before).unwrap_or_else(|| self.next_offset(log));
            logged.head.first_offset == next
        })
    }

    /// Adds what the entry behind the last says.
    pub(super) fn push(
        &mut self,
        (index, time): (Index, Timestamp),
        runs: Vec<Logged>,
        housekeeping: Option<Housekeeping>,
    ) {
        assert_eq!(index, self.ends().1.next(), "entries come without a gap");
        let mut before = vec![];
        for logged in &runs {
            let run = &logged.head;
            // Invariant: offsets are dense. An entry that fits the chain and not the offsets was
            // made by a leader that broke this law.
            assert_eq!(
                run.first_offset,
                begins_at(logged).unwrap_or_else(|| self.next_offset(run.log)),
                "broken law: entry {index} does not continue log {}",
                run.log
            );
            note_offset(&mut self.next_offsets, run.log, run.next_offset());
            self.overlay.entry(run.client).or_default().push_back(Answers::of(run, index));
            before.extend(self.guards.apply(logged, (index, time)));
        }
        before.extend(housekeeping.iter().flat_map(|it| self.guards.keep_house(it)));
        let gone = self.guards.gone(&before).into_iter();
        let gone: Vec<_> = gone.map(|log| (log, self.next_offset(log))).collect();
        for (log, _) in &gone {
            self.next_offsets.remove(log);
        }
        self.entries.push_back(TailEntry { index, time, runs, housekeeping, gone, before });
    }

    /// Takes back the entry at `from` and all after it.
    pub(super) fn truncate(&mut self, from: Index) {
        assert!(from > self.committed, "broken law: {from} is committed, and cut");
        while self.entries.back().is_some_and(|entry| entry.index >= from) {
            let entry = self.entries.pop_back().expect("it has a back");
            for (log, next) in entry.gone {
                note_offset(&mut self.next_offsets, log, next);
            }
            for logged in entry.runs.iter().rev() {
                let run = &logged.head;
                // A log without a record has no place among the offsets: they are a function of what
                // is in the log, and not of what was cut. A fork has one as soon as it is there.
                let is_fork = begins_at(logged).is_some();
                let next = if is_fork { Offset::ZERO } else { run.first_offset };
                note_offset(&mut self.next_offsets, run.log, next);
                self.forget(run.client, VecDeque::pop_back);
            }
            if !mutants::is_on(Mutant::GuardsStay) {
                entry.before.into_iter().rev().for_each(|before| self.guards.undo(before));
            }
        }
        assert!(self.ends().1 < from, "nothing from {from} on is left");
    }

    /// Whether requests of the tail stand at `from` or after it.
    pub(super) fn reaches(&self, from: Index) -> bool {
        let from = |entry: &&TailEntry| entry.index >= from;
        self.entries.iter().rev().take_while(from).any(|entry| !entry.runs.is_empty())
    }

    /// Moves the entries up to `through` into the committed state.
    pub(super) fn commit(&mut self, through: Index) {
        let (committed, last) = self.ends();
        assert!(through >= committed, "broken law: {through} is committed after {committed}");
        assert!(through <= last, "{through} is committed, and the log ends with {last}");
        while self.entries.front().is_some_and(|entry| entry.index <= through) {
            let entry = self.entries.pop_front().expect("it has a front");
            for logged in &entry.runs {
                let run = &logged.head;
                note_offset(&mut self.committed_offsets, run.log, run.next_offset());
                self.changed.insert(run.log);
                self.forget(run.client, VecDeque::pop_front);
                self.state.apply(logged, (entry.index, entry.time));
            }
            for (log, _) in entry.gone {
                self.committed_offsets.remove(&log);
            }
            if let Some(housekeeping) = &entry.housekeeping {
                self.state.keep_house(housekeeping);
                self.changed.extend(housekeeping.trims.iter().map(|(log, _)| *log));
                self.changed.extend(&housekeeping.expired);
            }
            self.state.table.evict(self.sessions_max);
        }
        self.committed = through;
        assert_eq!(self.ends(), (through, last), "what is not committed is left");
    }

    fn forget(&mut self, client: ClientId, pop: fn(&mut VecDeque<Answers>) -> Option<Answers>) {
        let answers = self.overlay.get_mut(&client).expect("the tail's clients are in the overlay");
        pop(answers).expect("as many answers as runs in the tail");
        if answers.is_empty() {
            self.overlay.remove(&client);
        }
    }

    /// The state as it will be when all of the tail is committed: what the head of a segment that
    /// begins after the tail needs.
    pub(super) fn state_with_tail(&self) -> State {
        let mut state = self.state.clone();
        for entry in &self.entries {
            entry.runs.iter().for_each(|logged| state.table.apply(&logged.head, entry.index));
            entry.runs.iter().for_each(|logged| state.volumes.apply(logged, entry.time));
            entry.housekeeping.iter().for_each(|it| state.volumes.keep_house(it));
            state.table.evict(self.sessions_max);
        }
        state.guards.clone_from(&self.guards);
        state
    }

    /// Who may append, at the end of the tail.
    pub(super) fn guards(&self) -> &Guards {
        &self.guards
    }

    /// What logs hold, at the commit index.
    pub(super) fn committed_volumes(&self) -> &Volumes {
        &self.state.volumes
    }

    /// Who may append, at the commit index.
    pub(super) fn committed_guards(&self) -> &Guards {
        &self.state.guards
    }
}

/// Where a log begins that a run creates, if that is a fork: it goes on where it leaves its source.
fn begins_at(logged: &Logged) -> Option<Offset> {
    Some(logged.command.as_deref()?.origin()?.at)
}

/// Notes where a log goes on; one that has no record is not there.
fn note_offset(offsets: &mut BTreeMap<LogNumber, Offset>, log: LogNumber, next: Offset) {
    if next > Offset::ZERO {
        offsets.insert(log, next);
    } else {
        offsets.remove(&log);
    }
}
