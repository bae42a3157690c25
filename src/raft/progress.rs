//! How far a follower is, as its leader knows it. All changes of its state are here.
//!
//! ```text
//!             what was sent is accepted
//!   Probe ───────────────────────────▶ Replicate
//!     ▲   ◀───────────────────────────     │
//!     │     rejected, or silent too long   │
//!     └── one message at a time            └── many in flight, next runs ahead of match
//! ```
//!
//! In either state a follower may wait for entries to be read from the leader's disk (`fetching`). If it then
//! turns out that they were given up, it is sent the head that stands for them (`Snapshot`): one piece at a time,
//! until it has begun there. It then comes with a new process, or says that it has the entry before that head.

use std::collections::VecDeque;

use super::message::HeadInfo;
use crate::limits::APPEND_ENTRIES_IN_FLIGHT_MAX;
use crate::marks::{Mark, hit};
use crate::types::{DiskFull, Index, LogId};

/// The most that [`Progress::patience`] can be: with the shortest timeout of a local network, 5 s.
const PATIENCE_MAX: u32 = 32;

/// Whether entries are sent one message at a time or pipelined.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It is not known where the logs agree: one message at a time finds out.
    Probe {
        /// A message is on its way; the last index that its answer will vouch for.
        outstanding: Option<Index>,
    },
    /// The logs agree up to `next_index - 1`, unless messages are lost.
    Replicate {
        /// The last index of each message on its way, in the order they were sent.
        in_flight: VecDeque<Index>,
    },
    /// It lacks what was given up, and is sent the head that stands for it.
    Snapshot {
        /// The head.
        head: HeadInfo,
        /// Bytes of it that the follower has.
        received: u64,
        /// The piece from there on is on its way.
        outstanding: bool,
    },
}

/// What a leader knows of one follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// How entries are sent.
    pub state: State,
    /// The follower has everything up to here on disk. Goes down only when its process is a new one,
    /// which has to say so again.
    pub match_index: Index,
    /// What a former process of the follower had acknowledged, until this one has as much.
    pub owed: Index,
    /// The next entry to send. Always above `match_index`.
    pub next_index: Index,
    /// Entries after this one were asked of the disk.
    pub fetching: Option<LogId>,
    /// The newest round of heartbeats that it answered.
    pub acked_round: u64,
    /// Its disk is full, as it last said.
    pub disk_full: Option<DiskFull>,
    /// Ticks since it was last heard, or since it could have been.
    pub silent_ticks: u32,
    /// It has answered in this term, with the store that it has now.
    pub has_answered: bool,
    /// Ticks since entries were last sent or last acknowledged, while some are outstanding.
    pub waiting_ticks: u32,
    /// So many times longer than usual an answer is waited for: the follower is heard, and its disk is
    /// slow. What it has on the way to its disk need not be sent again.
    pub patience: u32,
    /// What is usual, as of the last tick.
    pub retry_ticks: u32,
    /// The round in which it is being filled, if it is: see [`Round`].
    pub round: Option<Round>,
    /// How far it ever was: an entry, or of the head behind it so many bytes.
    pub furthest: (Index, u64),
    /// Ticks for which it has lacked something and has not got further than that.
    pub standstill_ticks: u32,
}

/// Filling a learner goes in rounds, each of which sends what was appended during the one before
/// (thesis 4.2.1). A round that is short enough is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Round {
    /// The leader's last entry when it began.
    pub through: Index,
    /// Ticks since then.
    pub ticks: u32,
}

impl Progress {
    /// A follower of which nothing is known, to be asked about the entry before `next_index`.
    pub fn new(next_index: Index) -> Self {
        assert!(next_index > Index::ZERO, "entries are counted from 1");
        Self {
            state: State::Probe { outstanding: None },
            match_index: Index::ZERO,
            owed: Index::ZERO,
            next_index,
            fetching: None,
            acked_round: 0,
            disk_full: None,
            silent_ticks: 0,
            has_answered: false,
            waiting_ticks: 0,
            patience: 1,
            retry_ticks: 0,
            round: None,
            furthest: (Index::ZERO, 0),
            standstill_ticks: 0,
        }
    }

    /// Whether another message with entries may go out. To a follower that takes none it may not:
    /// its answers to heartbeats say when that is over.
    pub fn may_send(&self) -> bool {
        self.disk_full.is_none_or(|full| full.takes_entries()) && self.is_free()
    }

    /// Whether this is a follower that takes nothing but what opens a term, and such may go out.
    pub fn may_send_openings(&self) -> bool {
        let takes = |full: DiskFull| !full.takes_entries() && full.takes_openings();
        self.disk_full.is_some_and(takes) && self.is_free()
    }

    /// Whether what is on its way allows for another message.
    fn is_free(&self) -> bool {
        self.fetching.is_none()
            && match &self.state {
                State::Probe { outstanding } => outstanding.is_none(),
                State::Replicate { in_flight } => {
                    let is_full = in_flight.len() >= APPEND_ENTRIES_IN_FLIGHT_MAX;
                    if is_full {
                        hit(Mark::InFlightFull);
                    }
                    !is_full
                }
                State::Snapshot { .. } => false,
            }
    }

    /// Notes that entries up to `last` were sent; `last` is `next_index - 1` if there were none.
    pub fn on_sent(&mut self, last: Index) {
        assert!(last >= self.next_index.previous(), "{last} was sent before");
        assert!(self.may_send() || self.may_send_openings());
        match &mut self.state {
            State::Probe { outstanding } => {
                *outstanding = Some(last);
                self.waiting_ticks = 0;
            }
            State::Replicate { in_flight } => {
                if in_flight.is_empty() {
                    self.waiting_ticks = 0;
                }
                in_flight.push_back(last);
                self.next_index = last.next();
            }
            State::Snapshot { .. } => unreachable!("it takes no entries now"),
        }
    }

    /// Notes that the follower has everything up to `match_index` on disk.
    pub fn on_accepted(&mut self, match_index: Index) {
        if match_index > self.match_index {
            self.match_index = match_index;
            if self.waiting_ticks * 2 < self.retry_ticks {
                // What was lost before was not lost to a slow disk.
                self.patience = (self.patience / 2).max(1);
            }
            self.waiting_ticks = 0;
        }
        self.get_to((match_index, u64::MAX));
        if match_index >= self.owed {
            self.owed = Index::ZERO;
        }
        match &mut self.state {
            State::Probe { outstanding } => {
                // NB: the answer to a heartbeat vouches for less than the message on its way. With a
                // slow disk it comes long before that one's, and what was sent would be sent again.
                self.next_index = self.next_index.max(match_index.next());
                if match_index >= outstanding.unwrap_or(self.next_index.previous()) {
                    self.become_replicate();
                }
            }
            State::Replicate { in_flight } => {
                while in_flight.front().is_some_and(|last| *last <= match_index) {
                    in_flight.pop_front();
                }
                // NB: while entries are being fetched this may pass the first of them.
                self.next_index = self.next_index.max(match_index.next());
            }
            State::Snapshot { head, .. } => {
                let has_it = match_index >= head.id.index;
                self.next_index = self.next_index.max(match_index.next());
                if has_it {
                    self.become_replicate();
                }
            }
        }
        assert!(self.next_index > self.match_index);
    }

    /// Notes that the follower does not have `prev`, and that the logs can agree at most up to
    /// `agree_at_most`. An answer to a message that has been overtaken changes nothing.
    pub fn on_rejected(&mut self, prev: LogId, agree_at_most: Index) {
        let stale = match self.state {
            State::Probe { .. } => prev.index != self.next_index.previous(),
            State::Replicate { .. } => prev.index <= self.match_index,
            State::Snapshot { .. } => true,
        };
        if stale {
            return;
        }
        assert!(agree_at_most < prev.index, "{agree_at_most} after a refusal of {prev}");
        let before = self.next_index;
        self.become_probe();
        self.next_index = agree_at_most.max(self.match_index).next();
        if self.next_index >= before {
            // It refuses what it has acknowledged. The same question gets the same answer: it is asked
            // again after a while, not at once, or the two would do nothing else.
            self.state = State::Probe { outstanding: Some(self.next_index.previous()) };
        }
    }

    /// Notes that it has answered in this term.
    pub fn on_heard(&mut self) {
        self.silent_ticks = 0;
        self.has_answered = true;
    }

    /// Notes that the follower's process is a new one: nothing is known of it, but that it owes what
    /// the former had acknowledged, if both have the same store.
    pub fn on_restarted(&mut self, next_index: Index, same_store: bool) {
        let new = Self::new(next_index);
        if !same_store {
            *self = new;
            return;
        }
        let owed = self.owed.max(self.match_index);
        let Self { furthest, standstill_ticks, .. } = *self;
        *self = Self { owed, furthest, standstill_ticks, ..new };
    }

    /// Notes that what it lacks was given up, and that it is to be sent this head. Says whether it has got
    /// nothing of it yet.
    pub fn on_given_up(&mut self, head: HeadInfo) -> bool {
        assert!(self.match_index < head.id.index, "{} is after {}", self.match_index, head.id);
        self.fetching = None;
        self.waiting_ticks = 0;
        self.state = State::Snapshot { head, received: 0, outstanding: false };
        self.furthest < (head.id.index, 1)
    }

    /// Notes that from now on only this head is at hand.
    pub fn on_other_head(&mut self, head: &HeadInfo) {
        if matches!(&self.state, State::Snapshot { head: sent, .. } if sent != head) {
            self.become_probe();
        }
    }

    /// The head that it is being sent, and where the next piece begins, if that may go out now.
    pub fn next_piece(&self) -> Option<(HeadInfo, u64)> {
        let takes = self.disk_full.is_none_or(|full| full.takes_entries());
        match self.state {
            State::Snapshot { head, received, outstanding: false } if takes => {
                Some((head, received))
            }
            _ => None,
        }
    }

    /// Notes that this piece was sent.
    pub fn on_piece_sent(&mut self) {
        if let State::Snapshot { outstanding, .. } = &mut self.state {
            *outstanding = true;
        }
        self.waiting_ticks = 0;
    }

    /// Notes that it has so much of the head, as it says to the piece at `offset`. An answer that was repeated or
    /// overtaken changes nothing: else two pieces would be on their way, and then four.
    pub fn on_piece_taken(&mut self, id: LogId, offset: u64, now: u64) {
        let State::Snapshot { head, received, outstanding } = &mut self.state else { return };
        if head.id != id || !*outstanding || *received != offset || now >= head.bytes {
            return;
        }
        (*received, *outstanding) = (now, false);
        self.get_to((id.index, now));
        self.waiting_ticks = 0;
    }

    /// A tick has passed, and the leader's log ends at `last`.
    pub fn tick_standstill(&mut self, last: Index) {
        let lacks = self.match_index < last;
        self.standstill_ticks = if lacks { self.standstill_ticks.saturating_add(1) } else { 0 };
    }

    fn get_to(&mut self, reached: (Index, u64)) {
        if reached > self.furthest {
            self.furthest = reached;
            self.standstill_ticks = 0;
        }
    }

    /// Notes that the follower's log can agree with the leader's at most up to `agree_at_most`. Gives
    /// what it had acknowledged, if that is more: said once.
    pub fn forgot(&mut self, agree_at_most: Index) -> Option<Index> {
        if agree_at_most >= self.owed {
            return None;
        }
        Some(std::mem::take(&mut self.owed))
    }

    /// A tick has passed. After `retry_ticks` without an answer what was sent counts as lost; a
    /// follower that was heard meanwhile gets twice as long the next time.
    pub fn on_tick(&mut self, retry_ticks: u32) {
        self.silent_ticks = self.silent_ticks.saturating_add(1);
        self.retry_ticks = retry_ticks;
        let outstanding = self.fetching.is_some()
            || match &self.state {
                State::Probe { outstanding } => outstanding.is_some(),
                State::Replicate { in_flight } => !in_flight.is_empty(),
                State::Snapshot { outstanding, .. } => *outstanding,
            };
        if !outstanding {
            return;
        }
        self.waiting_ticks += 1;
        if self.waiting_ticks >= retry_ticks.saturating_mul(self.patience) {
            let is_heard = self.silent_ticks < retry_ticks;
            self.patience = if is_heard { (self.patience * 2).min(PATIENCE_MAX) } else { 1 };
            self.become_probe();
        }
    }

    /// Notes that entries after `prev` were asked of the disk.
    pub fn on_fetch(&mut self, prev: LogId) {
        assert!(self.fetching.is_none(), "one fetch at a time");
        self.fetching = Some(prev);
        self.waiting_ticks = 0;
    }

    fn become_probe(&mut self) {
        // From where the logs are known to agree; a probe that is lost is simply repeated.
        if matches!(self.state, State::Replicate { .. }) {
            self.next_index = self.match_index.next();
        }
        self.state = State::Probe { outstanding: None };
        self.fetching = None;
        self.waiting_ticks = 0;
    }

    fn become_replicate(&mut self) {
        self.next_index = self.match_index.next();
        self.state = State::Replicate { in_flight: VecDeque::new() };
        self.fetching = None;
        self.waiting_ticks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Term;

    fn id(index: u64) -> LogId {
        LogId::new(Index::new(index), Term::new(1))
    }

    #[test]
    fn a_probe_is_one_message_until_it_is_answered_or_lost() {
        let mut progress = Progress::new(Index::new(5));
        progress.on_sent(Index::new(7));
        assert!(!progress.may_send());
        assert_eq!(progress.next_index, Index::new(5));
        (0..3).for_each(|_| progress.on_tick(3));
        assert!(progress.may_send());
    }

    #[test]
    fn a_refusal_moves_a_probe_back_once() {
        let mut progress = Progress::new(Index::new(5));
        progress.on_sent(Index::new(4));
        progress.on_rejected(id(4), Index::new(2));
        assert_eq!(progress.next_index, Index::new(3));
        progress.on_rejected(id(4), Index::new(1));
        assert_eq!(progress.next_index, Index::new(3), "the duplicate moved it again");
    }

    #[test]
    fn a_heartbeat_at_an_old_match_does_not_end_a_probe() {
        let mut progress = Progress::new(Index::new(5));
        progress.on_accepted(Index::ZERO);
        assert!(matches!(progress.state, State::Probe { .. }));
        progress.on_accepted(Index::new(4));
        assert!(matches!(progress.state, State::Replicate { .. }));
    }

    #[test]
    fn a_refusal_of_what_was_acknowledged_is_not_answered_at_once() {
        let mut progress = Progress::new(Index::new(5));
        progress.on_accepted(Index::new(4));
        progress.on_sent(Index::new(7));
        (0..3).for_each(|_| progress.on_tick(3));
        progress.on_sent(Index::new(7));
        progress.on_rejected(id(4), Index::new(2));
        assert_eq!((progress.match_index, progress.next_index), (Index::new(4), Index::new(5)));
        assert!(!progress.may_send(), "the same question would be asked without end");
        (0..3).for_each(|_| progress.on_tick(3));
        assert!(progress.may_send());
    }

    #[test]
    fn a_new_process_owes_what_the_former_had_acknowledged() {
        let mut progress = Progress::new(Index::new(5));
        progress.on_accepted(Index::new(4));
        progress.on_restarted(Index::new(9), true);
        assert_eq!((progress.match_index, progress.next_index), (Index::ZERO, Index::new(9)));
        assert_eq!(progress.forgot(Index::new(4)), None);
        let mut again = progress.clone();
        again.on_restarted(Index::new(9), true);
        assert_eq!(again.forgot(Index::new(3)), Some(Index::new(4)), "two starts forgave it");
        assert_eq!(again.forgot(Index::new(2)), None, "it was said twice");
        progress.on_accepted(Index::new(4));
        assert_eq!(progress.forgot(Index::new(3)), None, "it has shown what it owed");
    }

    #[test]
    fn a_follower_that_is_heard_and_slow_is_sent_less_and_less_again() {
        let mut progress = Progress::new(Index::new(1));
        let mut ticks_until_lost = || {
            progress.on_sent(Index::new(1));
            let mut ticks = 0;
            while !progress.may_send() {
                progress.silent_ticks = 0;
                progress.on_tick(4);
                ticks += 1;
            }
            ticks
        };
        assert_eq!([(); 4].map(|()| ticks_until_lost()), [4, 8, 16, 32]);
        for _ in 0..4 {
            progress.on_sent(progress.next_index);
            progress.on_accepted(progress.next_index);
        }
        assert_eq!(progress.patience, 1, "its answers come at once again");
    }

    fn head(index: u64, bytes: u64) -> HeadInfo {
        HeadInfo { id: id(index), bytes, hash: [7; 32] }
    }

    /// A follower that is being sent this head.
    fn sent(head: HeadInfo) -> Progress {
        let mut progress = Progress::new(Index::new(5));
        assert!(progress.on_given_up(head), "it has got nothing of it");
        assert_eq!(progress.next_piece(), Some((head, 0)));
        progress
    }

    #[test]
    fn a_head_is_sent_one_piece_at_a_time_whatever_is_repeated() {
        let head = head(40, 100);
        let mut progress = sent(head);
        progress.on_piece_sent();
        assert!(progress.next_piece().is_none() && !progress.may_send());
        for _ in 0..2 {
            // The second answer to one piece starts no second one.
            progress.on_piece_taken(head.id, 0, 30);
            assert_eq!(progress.next_piece(), Some((head, 30)));
        }
        progress.on_piece_sent();
        progress.on_piece_taken(head.id, 0, 30);
        progress.on_piece_taken(id(39), 30, 60);
        progress.on_piece_taken(head.id, 30, 100);
        assert!(progress.next_piece().is_none(), "it was asked for once more");
        // It turns out to have more than was sent now.
        progress.on_piece_taken(head.id, 30, 70);
        assert_eq!(progress.next_piece(), Some((head, 70)));
    }

    #[test]
    fn a_piece_that_is_lost_is_asked_about_and_a_head_that_is_not_needed_is_left() {
        let head = head(40, 100);
        let mut progress = sent(head);
        progress.on_piece_sent();
        progress.on_accepted(Index::new(3));
        progress.on_rejected(id(4), Index::new(3));
        assert!(matches!(progress.state, State::Snapshot { .. }), "heartbeats go on meanwhile");
        (0..3).for_each(|_| progress.on_tick(3));
        assert!(progress.may_send(), "it is asked what it has");
        let mut progress = sent(head);
        progress.on_other_head(&head);
        assert!(matches!(progress.state, State::Snapshot { .. }));
        let mut other = progress.clone();
        other.on_other_head(&HeadInfo { bytes: 90, ..head });
        assert!(other.may_send());
        progress.on_accepted(Index::new(40));
        assert!(matches!(progress.state, State::Replicate { .. }));
        assert_eq!(progress.next_index, Index::new(41));
    }

    #[test]
    fn a_follower_stands_still_until_it_is_further_than_it_ever_was() {
        let mut progress = Progress::new(Index::new(5));
        let still = |progress: &mut Progress| {
            progress.tick_standstill(Index::new(90));
            progress.standstill_ticks
        };
        assert_eq!((still(&mut progress), still(&mut progress)), (1, 2));
        progress.on_accepted(Index::new(3));
        assert_eq!(still(&mut progress), 1);
        let head = head(40, 100);
        progress.on_given_up(head);
        progress.on_piece_sent();
        progress.on_piece_taken(head.id, 0, 30);
        assert_eq!(still(&mut progress), 1);
        // Another start that comes no further than the one before is none.
        progress.on_restarted(Index::new(90), true);
        assert!(!progress.on_given_up(head), "it had got something of it");
        progress.on_piece_sent();
        progress.on_piece_taken(head.id, 0, 30);
        assert_eq!(still(&mut progress), 2);
        progress.on_accepted(Index::new(40));
        assert_eq!(still(&mut progress), 1);
        progress.on_accepted(Index::new(90));
        assert_eq!(still(&mut progress), 0, "it lacks nothing");
        still(&mut progress);
        progress.on_restarted(Index::new(90), false);
        assert_eq!((progress.furthest, progress.standstill_ticks), ((Index::ZERO, 0), 0));
    }

    #[test]
    fn a_pipeline_is_bounded_and_falls_back_to_its_match() {
        let mut progress = Progress::new(Index::new(1));
        progress.on_accepted(Index::ZERO);
        let mut last = 0;
        while progress.may_send() {
            last += 1;
            progress.on_sent(Index::new(last));
        }
        assert_eq!(usize::try_from(last).unwrap(), APPEND_ENTRIES_IN_FLIGHT_MAX);
        progress.on_accepted(Index::new(3));
        assert!(progress.may_send());
        progress.on_rejected(id(2), Index::new(1));
        assert!(matches!(progress.state, State::Replicate { .. }), "a stale refusal counted");
        progress.on_rejected(id(9), Index::new(8));
        assert_eq!(progress.next_index, Index::new(9), "the hint moves a probe");
    }
}
