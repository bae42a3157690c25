//! Keeping house: what nobody needs any more is found, and given up.
//!
//! What a log's retention allows to go goes: the leader's clock decides, and its entry says where the log
//! begins from then on.
//!
//! A record before its log's start is dead, and so are those of a log that is deleted; but not what a fork
//! has of either. A sealed segment in which nothing is live goes, if it is the oldest; but not while somebody is
//! being filled with it ([`crate::raft::Raft::everywhere`]). That only a leader knows, so it says so by an entry, up to
//! where. The entry is the fact: each node then gives up what lies before that and is dead by its own catalogue.
//!
//! **Nothing live is dropped.** A log's start never goes back, a number is never given again, and a fork
//! begins where its source does by then or later, so what is dead by a committed catalogue is dead for ever; and what a node takes for dead it finds out itself, from
//! the list of its own segments, whatever an entry allows.
//!
//! **Who lacks what is gone needs it no more.** An entry before the limit is committed, and what it came to is in
//! the head of the first segment that is kept: a node that lacks it begins at that head, and is sent what follows
//! (`raft::install`).

use super::replica::Replica;
use crate::entry::EntryKind;
use crate::housekeeping::Housekeeping;
use crate::limits::HOUSEKEEPING_TRIMS_MAX;
use crate::marks::{Mark, hit};
use crate::store::Reader;
use crate::types::{Index, LogNumber, Offset};

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
            self.maybe_propose(reader, before);
        }
    }

    /// Says by an entry what is to be done, if anything is.
    fn maybe_propose(&mut self, reader: &Reader, before: Index) {
        if !self.raft.may_propose() || !self.pipeline_has_room() {
            return;
        }
        let released = self.releasable(reader, before);
        let housekeeping = Housekeeping { trims: self.due(), released, expired: vec![] };
        let is_news = !housekeeping.trims.is_empty() || released > self.tail.guards().released();
        if is_news {
            hit(Mark::KeptHouse);
            self.propose_entry(EntryKind::Housekeeping, housekeeping.encode().into());
        }
    }

    /// How much more may go, if that is a segment at least; said once.
    fn releasable(&self, reader: &Reader, before: Index) -> Index {
        let said = self.tail.guards().released();
        if said > self.released() {
            return said;
        }
        // Most often nothing more is dead, whoever has it.
        if self.dead_before(reader, self.raft.log().commit_index()) > before {
            let released = self.dead_before(reader, self.raft.everywhere());
            if released > before.max(said) {
                return released;
            }
            hit(Mark::ReleaseWaits);
        }
        said
    }

    /// Where logs may begin by their retention, a number of them each time.
    fn due(&mut self) -> Vec<(LogNumber, Offset)> {
        // What is old by a clock that is ahead of most is not old.
        let now = self.clocks.cautious(self.now);
        let present = &self.tail.guards().catalogue;
        let committed = &self.tail.committed_guards().catalogue;
        let (after, count) = (self.looked_at, HOUSEKEEPING_TRIMS_MAX);
        let volumes = self.tail.committed_volumes();
        let (mut due, last) = volumes.due(after, count, now, |log| committed.begins_at(log));
        due.retain(|(log, start)| {
            // One that is not committed may keep more, and comes before this entry.
            let is_so_still = present.retention(*log) == committed.retention(*log);
            is_so_still && present.begins_at(*log).is_some_and(|begins| begins < *start)
        });
        self.looked_at = last;
        due
    }

    /// Entries before this one may go, as far as is committed.
    pub fn released(&self) -> Index {
        self.tail.committed_guards().released()
    }

    /// Up to where the oldest segments are dead, of those that end before `below`.
    fn dead_before(&self, reader: &Reader, below: Index) -> Index {
        let catalogue = &self.tail.committed_guards().catalogue;
        reader.dead_before(below, &|log: LogNumber| catalogue.live_from(log))
    }
}
