//! Append requests on their way: those that wait to be folded into an entry, and those whose entry
//! waits to be committed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::border::AppendToken;
use super::sessions::Answer;
use crate::entry::Request;
use crate::types::Index;
use crate::wire::api::AppendRequest;

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) token: AppendToken,
    pub(super) request: AppendRequest,
    pub(super) records: Vec<Bytes>,
}

impl Waiting {
    /// Bytes that it will take in an entry.
    pub(super) fn payload_bytes(&self) -> usize {
        Request::payload_bytes(&self.records)
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Proposals {
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Who waits for which entry to be committed.
    pending: BTreeMap<Index, Vec<(AppendToken, Answer)>>,
}

impl Proposals {
    /// Takes a request, unless more than so many bytes would wait.
    pub(super) fn admit(&mut self, waiting: Waiting, bytes_max: usize) -> Result<(), AppendToken> {
        let bytes = waiting.payload_bytes();
        if self.waiting_bytes + bytes > bytes_max {
            return Err(waiting.token);
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(waiting);
        Ok(())
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The oldest request, if it takes at most so many bytes.
    pub(super) fn next_within(&mut self, bytes_max: usize) -> Option<Waiting> {
        let waiting = self.waiting.pop_front_if(|waiting| waiting.payload_bytes() <= bytes_max)?;
        self.waiting_bytes -= waiting.payload_bytes();
        Some(waiting)
    }

    /// Notes who waits for the entry at `answer.index`.
    pub(super) fn wait_for_commit(&mut self, token: AppendToken, answer: Answer) {
        self.pending.entry(answer.index).or_default().push((token, answer));
    }

    /// Those whose entry is committed.
    pub(super) fn committed(&mut self, through: Index) -> Vec<(AppendToken, Answer)> {
        let later = self.pending.split_off(&through.next());
        std::mem::replace(&mut self.pending, later).into_values().flatten().collect()
    }

    /// Everybody, because this node leads no more: those never proposed, and those proposed.
    pub(super) fn abandon(&mut self) -> (Vec<AppendToken>, Vec<AppendToken>) {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let pending = std::mem::take(&mut self.pending);
        let never = waiting.into_iter().map(|waiting| waiting.token).collect();
        (never, pending.into_values().flatten().map(|(token, _)| token).collect())
    }
}
