//! Full disks: what a node still takes whose disk has no room to spare, and what its leader does.
//!
//! ```text
//!   free bytes   ◀─ needed / 4 ─▶◀─ needed / 4 ─▶◀─ needed / 2 ─▶◀─ the rest ─
//!                  takes no        takes what      takes what      takes
//!                  entry           opens a term    its leader has  all
//!                  └───────── a leader takes no records ────────┘
//! ```
//!
//! What is left below is for what must go on: votes, the first entries of new leaders, the end of a
//! truncation, a restart. A node says in its answers that its disk is full. A leader takes clients'
//! records as long as it has room itself and, with it, a quorum of those that it hears has; without
//! room, and where a quorum of the others has some, it hands over.
//!
//! The first entry of a term goes where no other does, since without it nobody leads and no read is
//! answered. Each is small; only elections without end could fill a quarter of the reserve with them.

use super::election::SMALL_ENTRY_BYTES;
use super::machine::Raft;
use super::message::EntryInfo;
use crate::marks::{Mark, hit};
use crate::types::{DiskFull, Index, LogId, NodeId, Term};

/// Whether an entry is the first of its term, after one of term `before`, and small: a new leader's.
fn opens_term(before: Term, entry: &EntryInfo) -> bool {
    entry.term > before && entry.bytes <= SMALL_ENTRY_BYTES
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
        self.is_meant(node)
            && progress.is_some_and(|p| p.disk_full.is_none() && p.silent_ticks < patience)
    }

    /// A leader without room makes way for one with room, if that could go on without it.
    pub(super) fn maybe_leave_full_disk(&mut self) {
        let is_spare = || self.log.configuration().is_quorum(|node| self.has_room(node));
        if self.disk_full.is_some() && is_spare() {
            self.on_transfer(None);
        }
    }

    /// The entries after `prev` that this node can take: on a full disk, those that it has, and then
    /// those that open a term.
    pub(super) fn within_space(&self, prev: LogId, mut entries: Vec<EntryInfo>) -> Vec<EntryInfo> {
        let Some(full) = self.disk_full.filter(|full| !full.takes_entries()) else {
            return entries;
        };
        let mut before = prev.term;
        let indexes = (prev.index.next().get()..).map(Index::new);
        let fits = |(index, entry): &(Index, &EntryInfo)| {
            let is_here = self.log.term_at(*index) == Some(entry.term);
            let before = std::mem::replace(&mut before, entry.term);
            is_here || (full.takes_openings() && opens_term(before, entry))
        };
        let count = indexes.zip(&entries).take_while(fits).count();
        if count < entries.len() {
            hit(Mark::NoRoomForEntries);
            entries.truncate(count);
        }
        entries
    }

    /// The last of the entries from `next` on that each open a term, if they are at hand.
    pub(super) fn openings_end(&self, next: Index) -> Option<Index> {
        let is_at_hand = next >= self.log.window_first();
        let indexes = (next.get()..=self.log.last().index.get()).map(Index::new);
        let openings = indexes.take_while(|index| {
            let before = self.log.id_at(index.previous()).term;
            opens_term(before, &self.log.info_at(*index))
        });
        if is_at_hand { openings.last() } else { None }
    }
}
