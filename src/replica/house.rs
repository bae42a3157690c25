//! Keeping house: what nobody needs any more is found, and given up.
//!
//! A record before its log's start is dead, and so are those of a log that is deleted. A sealed segment in
//! which nothing is live goes, if it is the oldest; but not before everybody has it, for nobody could be
//! given it afterwards. That only a leader knows, so it says so by an entry, up to where. The entry is
//! the fact: each node then gives up what lies before that and is dead by its own catalogue.
//!
//! **Nothing live is dropped.** A log's start never goes back and a number is never given again, so what is
//! dead by a committed catalogue is dead for ever; and what a node takes for dead it finds out itself, from
//! the list of its own segments, whatever an entry allows.
//!
//! **Nobody lacks what is gone.** An entry before the limit is on the disk of each voter and is committed:
//! none of them ever truncates it, none is ever asked to send it to another, and a new leader's questions
//! come down to what both have, which is behind the limit.

use super::replica::Replica;
use crate::entry::EntryKind;
use crate::housekeeping::Housekeeping;
use crate::marks::{Mark, hit};
use crate::store::Reader;
use crate::types::{Index, LogNumber};

impl Replica {
    /// Looks, once in an election timeout, what can be given up. To be called after each tick.
    pub fn keep_house(&mut self, reader: &Reader) {
        if self.ticks_to_house > 0 {
            self.ticks_to_house -= 1;
            return;
        }
        self.ticks_to_house = self.options.raft.election_timeout_ticks_max;
        let first = reader.first();
        let before = self.dead_before(reader, self.released());
        if before > first {
            self.actions.push(super::Action::Release(before));
        }
        if self.raft.is_ready_leader() {
            self.maybe_release(reader, before);
        }
    }

    /// Says by an entry how much more may go, if that is a segment at least; one such entry at a time.
    fn maybe_release(&mut self, reader: &Reader, before: Index) {
        let is_said = self.tail.guards().released() > self.released();
        if is_said || !self.raft.may_propose() || !self.pipeline_has_room() {
            return;
        }
        let released = self.dead_before(reader, self.raft.everywhere());
        if released > before.max(self.released()) {
            let housekeeping = Housekeeping { released };
            self.propose_entry(EntryKind::Housekeeping, housekeeping.encode().into());
        } else if self.dead_before(reader, self.raft.log().commit_index()) > before {
            hit(Mark::ReleaseWaits);
        }
    }

    /// Entries before this one may go, as far as is committed.
    pub fn released(&self) -> Index {
        self.tail.committed_guards().released()
    }

    /// Up to where the oldest segments are dead, of those that end before `below`.
    fn dead_before(&self, reader: &Reader, below: Index) -> Index {
        let catalogue = &self.tail.committed_guards().catalogue;
        reader.dead_before(below, &|log: LogNumber| catalogue.begins_at(log))
    }
}
