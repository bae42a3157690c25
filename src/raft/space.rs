//! Full disks: what a node still takes whose disk has no room to spare, and what its leader does.
//!
//! ```text
//!   free bytes      ◀── needed / 2 ──▶◀── needed / 2 ──▶◀── the rest ──
//!                        takes no           takes what        takes
//!                        entry              its leader has    all
//!                        └── a leader takes no records ──┘
//! ```
//!
//! What is left below is for what must go on: votes, the first entries of new leaders, the end of a
//! truncation, a restart. A node says in its answers that its disk is full. A leader takes clients'
//! records as long as it has room itself and, with it, a quorum of those that it hears has; without
//! room, and where a quorum of the others has some, it hands over.

use serde::{Deserialize, Serialize};

use super::machine::Raft;
use super::message::EntryInfo;
use crate::marks::{Mark, hit};
use crate::types::{Index, NodeId};

/// A disk with less room than its node wants to keep free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DiskFull {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes below which it is full.
    pub needed_bytes: u64,
}

impl DiskFull {
    /// Whether its node still takes the entries of its leader.
    pub fn takes_entries(&self) -> bool {
        self.free_bytes >= self.needed_bytes / 2
    }
}

impl Raft {
    /// See `Input::Space`.
    pub(super) fn on_space(&mut self, disk_full: Option<DiskFull>) {
        self.disk_full = disk_full;
    }

    /// Whether this node's disk is full.
    pub fn disk_full(&self) -> Option<DiskFull> {
        self.disk_full
    }

    /// The node whose full disk is why this leader takes no records, if there is one.
    pub fn full_node(&self) -> Option<(NodeId, DiskFull)> {
        let leader = self.role.as_leader()?;
        if let Some(full) = self.disk_full {
            return Some((self.id(), full));
        }
        let mut of_others = leader.progress.iter();
        let found = of_others.find_map(|(node, progress)| Some((*node, progress.disk_full?)))?;
        let has_room = |node| node == self.id() || self.has_room(node);
        (!self.log.configuration().is_quorum(has_room)).then_some(found)
    }

    /// Whether another node was heard lately, and has room.
    fn has_room(&self, node: NodeId) -> bool {
        let patience = self.options.election_timeout_ticks_max;
        let progress = self.role.as_leader().and_then(|leader| leader.progress.get(&node));
        progress.is_some_and(|p| p.disk_full.is_none() && p.silent_ticks < patience)
    }

    /// A leader without room makes way for one with room, if that could go on without it.
    pub(super) fn maybe_leave_full_disk(&mut self) {
        let is_spare = || self.log.configuration().is_quorum(|node| self.has_room(node));
        if self.disk_full.is_some() && is_spare() {
            self.on_transfer();
        }
    }

    /// The entries after `prev` that this node can take: on a full disk, those that it has.
    pub(super) fn within_space(&self, prev: Index, mut entries: Vec<EntryInfo>) -> Vec<EntryInfo> {
        if self.disk_full.is_none_or(|full| full.takes_entries()) {
            return entries;
        }
        let indexes = (prev.next().get()..).map(Index::new);
        let is_here =
            |(index, entry): &(Index, &EntryInfo)| self.log.term_at(*index) == Some(entry.term);
        let count = indexes.zip(&entries).take_while(is_here).count();
        if count < entries.len() {
            hit(Mark::NoRoomForEntries);
            entries.truncate(count);
        }
        entries
    }
}
