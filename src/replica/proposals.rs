//! Append requests on their way: those that wait to be folded into an entry, and those whose entry
//! waits to be committed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::border::AppendToken;
use super::sessions::Answers;
use crate::command::Command;
use crate::entry::Run;
use crate::types::{Index, SeqRange};
use crate::wire::api::AppendRun;

/// A run of requests that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) token: AppendToken,
    pub(super) run: AppendRun,
    /// The records, one after the other.
    pub(super) records: Bytes,
}

impl Waiting {
    /// Bytes that it will take in an entry.
    pub(super) fn payload_bytes(&self) -> usize {
        let of_command = self.run.command.as_ref().map_or(0, |command| command.encode().len());
        Run::payload_bytes(&self.run.lengths, &self.records) + of_command
    }

    /// Whether it takes next to no space and gives some back: else a disk that is full could never be
    /// emptied.
    pub(super) fn frees_space(&self) -> bool {
        let command = self.run.command.as_ref();
        matches!(command, Some(Command::Trim(_) | Command::Delete | Command::Configure(_)))
    }

    /// Lets go of the requests before those that are left.
    pub(super) fn skip_to(&mut self, left: SeqRange) {
        let count = self.run.seqs.count - left.count;
        let records = count as usize * self.run.each() as usize;
        let skipped = self.run.lengths.drain(..records).map(|length| length as usize).sum();
        self.records = self.records.split_off(skipped);
        self.run.seqs = left;
        self.run.conditions = self.run.conditions.after(records as u64);
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Proposals {
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Who waits for which entry to be committed.
    pending: BTreeMap<Index, Vec<(AppendToken, Answers)>>,
}

impl Proposals {
    /// Takes a run, unless more than so many bytes would wait. Says whether it did.
    pub(super) fn admit(&mut self, waiting: Waiting, bytes_max: usize) -> bool {
        let bytes = waiting.payload_bytes();
        if self.waiting_bytes + bytes > bytes_max {
            return false;
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(waiting);
        true
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.pending.is_empty()
    }

    /// The oldest run, if it takes at most so many bytes.
    pub(super) fn next_within(&mut self, bytes_max: usize) -> Option<Waiting> {
        let waiting = self.waiting.pop_front_if(|waiting| waiting.payload_bytes() <= bytes_max)?;
        self.waiting_bytes -= waiting.payload_bytes();
        assert!(self.has_waiting() || self.waiting_bytes == 0, "bytes of nobody wait");
        Some(waiting)
    }

    /// All runs but these, the oldest first.
    pub(super) fn take_all_but(&mut self, stays: impl Fn(&Waiting) -> bool) -> VecDeque<Waiting> {
        let (staying, going) = std::mem::take(&mut self.waiting).into_iter().partition(stays);
        self.waiting = staying;
        self.waiting_bytes = self.waiting.iter().map(Waiting::payload_bytes).sum();
        going
    }

    /// Notes who waits for the entry at `answers.index`.
    pub(super) fn wait_for_commit(&mut self, token: AppendToken, answers: Answers) {
        self.pending.entry(answers.index).or_default().push((token, answers));
    }

    /// Those whose entry is committed.
    pub(super) fn committed(&mut self, through: Index) -> Vec<(AppendToken, Answers)> {
        let later = self.pending.split_off(&through.next());
        std::mem::replace(&mut self.pending, later).into_values().flatten().collect()
    }

    /// Everybody, because this node leads no more: those never proposed, and those proposed.
    pub(super) fn abandon(&mut self) -> (Vec<Asked>, Vec<Asked>) {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let pending = std::mem::take(&mut self.pending);
        let never = waiting.into_iter().map(|waiting| (waiting.token, waiting.run.seqs)).collect();
        let proposed =
            pending.into_values().flatten().map(|(token, it)| (token, it.seqs)).collect();
        (never, proposed)
    }
}

/// Requests of a run.
pub(super) type Asked = (AppendToken, SeqRange);
