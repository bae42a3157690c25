//! Holds back what may not be said yet: the one contract, in one file.
//!
//! A step changes term, vote and log in memory at once. What it says is collected here, and leaves
//! only when the write that backs it is on disk. A write is known by its ticket, not by an index:
//! an index can be written, overwritten and written again while an older write is under way. So a
//! truncation cuts the promise of every write under way down to what is left of it.

use std::collections::VecDeque;

use super::border::{Effect, HardState, Persist};
use super::message::Message;
use crate::limits::HELD_MESSAGES_MAX;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{Index, NodeId, Term, Ticket};

/// A write that is not known to be on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PendingWrite {
    ticket: Ticket,
    /// It carries term or vote.
    hard_state: bool,
    /// With it, everything up to here is on disk; lowered when that is truncated.
    through: Index,
}

/// A message that waits for a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HeldMessage {
    until: Ticket,
    to: NodeId,
    message: Message,
}

/// What the current step wants written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct StagedWrite {
    hard_state: Option<HardState>,
    truncate_from: Option<Index>,
    range: Option<(Index, Index)>,
}

/// The effects of a step, and the messages of earlier ones that wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outbox {
    /// Effects of this step, in order.
    effects: Vec<Effect>,
    /// Messages of this step that may have to wait for its write.
    messages: Vec<(NodeId, Message)>,
    staged: StagedWrite,
    /// In the order of their tickets.
    writes: VecDeque<PendingWrite>,
    /// In the order of their tickets.
    held: VecDeque<HeldMessage>,
    last_ticket: Ticket,
    /// Ticks for which the oldest write has been under way.
    stalled_ticks: u32,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            effects: vec![],
            messages: vec![],
            staged: StagedWrite::default(),
            writes: VecDeque::new(),
            held: VecDeque::new(),
            last_ticket: Ticket::default(),
            stalled_ticks: 0,
        }
    }

    /// An effect that rests on nothing.
    pub(super) fn emit(&mut self, effect: Effect) {
        assert!(!matches!(effect, Effect::Send { .. } | Effect::Persist(_)), "{effect:?}");
        self.effects.push(effect);
    }

    /// A message, sent as soon as it may be.
    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.messages.push((to, message));
    }

    /// Term or vote changed.
    pub(super) fn stage_hard_state(&mut self, hard_state: HardState) {
        self.staged.hard_state = Some(hard_state);
    }

    /// The log got a new last entry.
    pub(super) fn stage_entry(&mut self, index: Index) {
        let first = self.staged.range.map_or(index, |(first, _)| first);
        self.staged.range = Some((first, index));
    }

    /// The log lost its entries from `from` on. A step truncates before it appends, and once.
    pub(super) fn stage_truncation(&mut self, from: Index) {
        assert!(self.staged.range.is_none() && self.staged.truncate_from.is_none());
        self.staged.truncate_from = Some(from);
        for write in &mut self.writes {
            write.through = write.through.min(from.previous());
        }
    }

    /// A tick has passed.
    pub(super) fn on_tick(&mut self) {
        if self.writes.is_empty() {
            self.stalled_ticks = 0;
        } else {
            self.stalled_ticks = self.stalled_ticks.saturating_add(1);
        }
    }

    /// Ticks for which the oldest write has been under way.
    pub(super) fn stalled_ticks(&self) -> u32 {
        self.stalled_ticks
    }

    /// How many messages wait for a write.
    pub(super) fn held_messages(&self) -> usize {
        self.held.len()
    }

    /// Whether a write is under way.
    pub(super) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Whether a write up to this one is under way.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        self.writes.front().is_some_and(|write| write.ticket <= ticket)
    }

    /// Whether term and vote are on disk as they are in memory.
    pub(super) fn hard_state_is_persisted(&self) -> bool {
        self.staged.hard_state.is_none() && self.writes.iter().all(|write| !write.hard_state)
    }

    /// The writes up to `ticket` are on disk. Returns the last index that now is, if one of them
    /// held entries.
    pub(super) fn on_persisted(&mut self, ticket: Ticket) -> Index {
        assert!(ticket <= self.last_ticket, "{ticket} was never handed out");
        let mut through = Index::ZERO;
        while self.writes.front().is_some_and(|write| write.ticket <= ticket) {
            let write = self.writes.pop_front().expect("it has a front");
            through = through.max(write.through);
            self.stalled_ticks = 0;
        }
        through
    }

    /// Ends a step: numbers its write, releases the messages that may go, keeps the others.
    pub(super) fn finish(&mut self, persisted: Index, current_term: Term) -> Vec<Effect> {
        self.number_write(persisted);
        let oldest_write = self.writes.front().map(|write| write.ticket);
        while self.held.front().is_some_and(|held| oldest_write.is_none_or(|t| held.until < t)) {
            let held = self.held.pop_front().expect("it has a front");
            // Said too late: the node has moved on to another term.
            if held.message.term() < current_term {
                hit(Mark::HeldTooLong);
            } else {
                self.effects.push(Effect::Send { to: held.to, message: held.message });
            }
        }
        for (to, message) in std::mem::take(&mut self.messages) {
            match self.rests_on(&message, persisted) {
                Some(until) => self.hold(HeldMessage { until, to, message }),
                None => self.effects.push(Effect::Send { to, message }),
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Checks what one look can show between two steps, of a log that ends at `last`.
    pub(super) fn check(&self, last: Index) {
        let is_done = self.effects.is_empty() && self.messages.is_empty();
        assert!(is_done && self.staged == StagedWrite::default(), "a step leaves nothing unsaid");
        assert!(self.writes.iter().is_sorted_by(|a, b| a.ticket < b.ticket), "{:?}", self.writes);
        assert!(self.writes.iter().all(|write| write.through <= last), "{last}: {:?}", self.writes);
        let oldest_write = self.writes.front().map(|write| write.ticket);
        let waits = |held: &HeldMessage| oldest_write.is_some_and(|oldest| oldest <= held.until);
        assert!(self.held.iter().all(waits), "a message waits for nothing: {:?}", self.held);
        assert!(self.held.iter().is_sorted_by_key(|held| held.until), "{:?}", self.held);
    }

    fn hold(&mut self, held: HeldMessage) {
        if self.held.len() >= HELD_MESSAGES_MAX {
            return; // Lost, as any message may be.
        }
        let position = self.held.partition_point(|other| other.until <= held.until);
        self.held.insert(position, held);
    }

    fn number_write(&mut self, persisted: Index) {
        let StagedWrite { hard_state, truncate_from, range } = std::mem::take(&mut self.staged);
        if hard_state.is_none() && truncate_from.is_none() && range.is_none() {
            return;
        }
        self.last_ticket = self.last_ticket.next();
        let before = self.writes.back().map_or(persisted, |write| write.through);
        self.writes.push_back(PendingWrite {
            ticket: self.last_ticket,
            hard_state: hard_state.is_some(),
            through: range.map_or(before, |(_, last)| last),
        });
        let persist = Persist { ticket: self.last_ticket, hard_state, truncate_from, range };
        self.effects.push(Effect::Persist(persist));
    }

    /// The write that must be on disk before this message may leave, if any is still missing.
    fn rests_on(&self, message: &Message, persisted: Index) -> Option<Ticket> {
        // The leader's own entries go out while its disk is busy (thesis 10.2.1); its term has been
        // on disk since before it was elected.
        if message.led_term().is_some() {
            return None;
        }
        let is_answer = matches!(message, Message::RequestVoteResponse(_));
        if mutants::is_on(Mutant::VoteBeforeDisk) && is_answer {
            return None;
        }
        if mutants::is_on(Mutant::AcknowledgeBeforeDisk)
            && matches!(message, Message::AppendEntriesResponse(_))
        {
            return None;
        }
        let hard_state = self.writes.iter().rfind(|write| write.hard_state);
        let promised = message.accepted().unwrap_or(Index::ZERO);
        let entries = (promised > persisted).then(|| {
            self.writes
                .iter()
                .find(|write| write.through >= promised)
                .or(self.writes.back())
                .expect("an entry in the log is on disk or on its way there")
        });
        hard_state.into_iter().chain(entries).map(|write| write.ticket).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::PreVoteResponse;

    fn answer() -> Message {
        let term = Term::new(1);
        Message::PreVoteResponse(PreVoteResponse { term, vote_granted: false })
    }

    #[test]
    fn a_disk_that_never_answers_holds_back_a_bounded_number_of_messages() {
        let to = NodeId::new(2).unwrap();
        let mut outbox = Outbox::new();
        assert!(!outbox.has_writes());
        outbox.stage_hard_state(HardState { current_term: Term::new(1), voted_for: None });
        for _ in 0..HELD_MESSAGES_MAX + 10 {
            outbox.send(to, answer());
            outbox.finish(Index::ZERO, Term::new(1));
        }
        assert_eq!(outbox.held_messages(), HELD_MESSAGES_MAX);
        assert!(outbox.has_writes());
        outbox.on_persisted(Ticket::new(1));
        assert_eq!(outbox.finish(Index::ZERO, Term::new(1)).len(), HELD_MESSAGES_MAX);
        assert_eq!(outbox.held_messages(), 0, "nothing is held for a write that is done");
        assert!(!outbox.has_writes());
    }
}
