//! Group commit: which writes share a barrier.

use std::collections::VecDeque;

use super::{Head, Write};
use crate::entry::SealedEntry;
use crate::limits::GROUP_COMMIT_BYTES_MAX;
use crate::marks::{Mark, hit};
use crate::raft::HardState;
use crate::types::{Index, Ticket};

/// Writes that share a barrier.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) ticket: Ticket,
    pub(super) hard_state: Option<HardState>,
    pub(super) truncate_from: Option<Index>,
    pub(super) entries: Vec<SealedEntry>,
    bytes: usize,
    /// As known with the newest of the writes: it speaks of the log behind them.
    pub(super) commit_index: Index,
    pub(super) heads: Vec<Head>,
}

impl Group {
    /// Takes the writes from the front of a queue that share a barrier; `None` if nothing waits.
    pub(super) fn take_from(queue: &mut VecDeque<Write>) -> Option<Self> {
        let mut group = Self::of(queue.pop_front()?);
        while let Some(write) = queue.pop_front_if(|write| group.takes(write)) {
            group.add(write);
        }
        Some(group)
    }

    fn of(write: Write) -> Self {
        let bytes = bytes_of(&write);
        let Write { ticket, hard_state, commit_index, truncate_from, entries, heads } = write;
        Self { ticket, hard_state, truncate_from, entries, bytes, commit_index, heads }
    }

    /// A truncation begins a group.
    fn takes(&self, write: &Write) -> bool {
        write.truncate_from.is_none() && self.bytes + bytes_of(write) <= GROUP_COMMIT_BYTES_MAX
    }

    fn add(&mut self, write: Write) {
        assert!(write.ticket > self.ticket, "tickets grow: {} {}", write.ticket, self.ticket);
        hit(Mark::GroupCommit);
        self.bytes += bytes_of(&write);
        self.ticket = write.ticket;
        self.hard_state = write.hard_state.or(self.hard_state);
        self.entries.extend(write.entries);
        self.commit_index = self.commit_index.max(write.commit_index);
        self.heads.extend(write.heads);
    }
}

fn bytes_of(write: &Write) -> usize {
    write.entries.iter().map(|entry| entry.bytes().len()).sum()
}
