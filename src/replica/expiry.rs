//! Logs that expire.
//!
//! Only the leader counts, in ticks, from when it began to lead: so a log may go late, when leaders change, and
//! never early. That it is gone is a fact when an entry says so ([`Housekeeping`]); from when that entry is
//! proposed on nothing is taken for the log, and who wants to read it is let wait for what comes of it.

use super::deadlines::{Deadlines, Left};
use super::replica::Replica;
use crate::command::Command;
use crate::entry::{EntryKind, Logged};
use crate::housekeeping::Housekeeping;
use crate::marks::{Mark, hit};
use crate::types::LogNumber;

impl Replica {
    /// A tick has passed: says by an entry which logs are gone, if some are.
    pub(super) fn maybe_expire(&mut self) {
        let Some(term) = self.raft.ready_term() else {
            self.deadlines = Deadlines::default();
            return;
        };
        if self.deadlines.term != Some(term) {
            let expiring = self.tail.guards().catalogue.expiring();
            let looks = expiring.map(|log| (0, log)).collect();
            self.deadlines = Deadlines { term: Some(term), looks, ..Deadlines::default() };
        }
        self.deadlines.ticks += 1;
        if !self.raft.may_propose() || !self.pipeline_has_room() {
            return;
        }
        // What is past by a clock that is ahead of most is not past.
        let (catalogue, now) = (&self.tail.guards().catalogue, self.clocks.cautious(self.now));
        let left = |log| Some(Left::of(catalogue.expiry(log)?, now));
        let expired = self.deadlines.take_due(self.options.tick, left);
        if !expired.is_empty() {
            hit(Mark::Expires);
            let housekeeping = Housekeeping { expired, ..Housekeeping::default() };
            self.propose_entry(EntryKind::Housekeeping, housekeeping.encode().into());
        }
    }

    /// An entry of this leader has something of a log.
    pub(super) fn note_use(&mut self, logged: &Logged) {
        if self.deadlines.term.is_none() {
            return;
        }
        let log = logged.head.log;
        let created = match logged.command.as_deref() {
            Some(Command::Create(new)) => new.settings.expiry,
            _ => None,
        };
        if created.is_some() {
            self.deadlines.watch(log);
            self.deadlines.used.insert(log, self.deadlines.ticks);
        }
        self.use_log(log);
    }

    /// Somebody uses a log, or goes on to: who follows one uses it all the time.
    pub fn use_log(&mut self, log: LogNumber) {
        if self.deadlines.term.is_some() && self.tail.guards().catalogue.expiry(log).is_some() {
            self.deadlines.used.insert(log, self.deadlines.ticks);
        }
    }

    /// Whether a log is about to go, of which readers have not heard.
    pub(super) fn is_leaving(&self, log: LogNumber) -> bool {
        let is_there = self.tail.committed_guards().catalogue.begins_at(log).is_some();
        is_there && self.tail.guards().catalogue.begins_at(log).is_none()
    }
}
