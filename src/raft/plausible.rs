//! What no honest node can have said, whatever was lost, repeated or overtaken on the way.
//!
//! A peer is known by its certificate, so such a message comes from a stolen key, a damaged memory or a
//! bug. It must not end this node, and above all it must not get onto its disk: a term is for ever, and
//! one message of the last term that there is would leave the whole cluster without an election.
//! Everything that comes is looked at here before anything is made of it, and refused loudly: nor is it
//! remembered of the peer, or taken for a contradiction with what this node has.

use super::border::{Implausible, Notice};
use super::machine::Raft;
use super::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, InstallSnapshot, Message,
};
use crate::limits::{HEAD_BYTES_MAX, TERM_JUMP_MAX};
use crate::mutants;
use crate::types::{Index, NodeId, Term};

/// Whether a node in term `now` can meet one in term `other`.
pub fn is_plausible_term(now: Term, other: Term) -> bool {
    other.get().saturating_sub(now.get()) <= TERM_JUMP_MAX
}

impl Raft {
    /// Whether a message was refused because nobody can have said it.
    pub(super) fn is_refused(&mut self, from: NodeId, message: &Message) -> bool {
        let Some(what) = self.implausible(message) else { return false };
        self.notice(Notice::Refused { from, term: message.term(), what });
        true
    }

    /// The message, unless nobody can have said it. Whoever makes anything of messages before the core
    /// does, remembers them or holds them against this node, asks here first.
    pub fn believed<'a>(&self, message: &'a Message) -> Option<&'a Message> {
        self.implausible(message).is_none().then_some(message)
    }

    /// Whether this node leads in that term, which is then its own.
    pub(super) fn leads(&self, term: Term) -> bool {
        self.role.as_leader().is_some() && term == self.current_term()
    }

    /// A message that only the leader of the current term sends, from somebody else than the one that
    /// this node knows.
    ///
    /// Invariant (Election Safety, thesis 3.4): there is one at most. The floor above ends the node
    /// that hears of two; the core has nothing to do with the second in any case.
    pub(super) fn refuse_second_leader(&mut self, from: NodeId) {
        let (term, what) = (self.current_term(), Implausible::SecondLeader);
        self.notice(Notice::Refused { from, term, what });
    }

    fn implausible(&self, message: &Message) -> Option<Implausible> {
        if !is_plausible_term(self.current_term(), message.term()) {
            return Some(Implausible::Term);
        }
        match message {
            Message::AppendEntries(append) => implausible_place(append),
            Message::AppendEntriesResponse(response) => self.implausible_answer(response),
            Message::InstallSnapshot(install) => implausible_head(install),
            Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::RequestVote(_)
            | Message::RequestVoteResponse(_)
            | Message::TimeoutNow(_)
            | Message::InstallSnapshotResponse(_) => None,
        }
    }

    /// Nobody vouches in a term for what its leader does not have, and every log has its beginning.
    fn implausible_answer(&self, response: &AppendEntriesResponse) -> Option<Implausible> {
        let is_mine = self.leads(response.term);
        match response.result {
            AppendResult::Accepted { match_index } => {
                let is_beyond = is_mine && match_index > self.log.last().index;
                (is_beyond && !mutants::any()).then_some(Implausible::Entries)
            }
            AppendResult::Rejected { prev_log_id, .. } => {
                (prev_log_id.index == Index::ZERO).then_some(Implausible::Entries)
            }
            AppendResult::Stale => None,
        }
    }
}

/// Entries that would stand beyond the last index that there is.
fn implausible_place(append: &AppendEntries) -> Option<Implausible> {
    let room = u64::MAX - append.prev_log_id.index.get();
    (room <= append.entries.len() as u64).then_some(Implausible::Entries)
}

/// A head behind which nothing can follow, or before which there is nothing; one of a term that its sender has
/// not reached; more of it than there may be.
fn implausible_head(install: &InstallSnapshot) -> Option<Implausible> {
    let InstallSnapshot { term, head, offset, .. } = install;
    let has_place = head.id.index > Index::ZERO && head.id.index < Index::new(u64::MAX);
    let is_whole = head.bytes <= HEAD_BYTES_MAX as u64 && *offset < head.bytes;
    (!has_place || head.id.term > *term || !is_whole).then_some(Implausible::Head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{
        Claim, Configuration, Effect, HardState, HeadInfo, Input, InstallSnapshotResponse, Options,
        PreVote, PreVoteResponse, RecoveredLog, RequestVote, RequestVoteResponse, TimeoutNow,
    };
    use crate::types::{LogId, Ticket};

    const MINE: Term = Term::new(5);

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn follower(term: Term) -> Raft {
        let hard_state = HardState { current_term: term, voted_for: None };
        let log = RecoveredLog {
            terms: vec![],
            head: LogId::ZERO,
            configuration: Configuration::of([node(1), node(2), node(3)]),
            entries: vec![],
            commit_index: Index::ZERO,
        };
        Raft::recover(Options::new(node(1), 2, (10, 10)), hard_state, log, 0)
    }

    fn elected() -> Raft {
        let mut raft = follower(Term::new(4));
        (0..10).for_each(|_| drop(raft.step(Input::Tick { random: 0 })));
        let term = MINE;
        let answer = PreVoteResponse { term, vote_granted: true };
        hear(&mut raft, Message::PreVoteResponse(answer));
        raft.step(Input::Persisted { ticket: Ticket::new(1) });
        let vote = RequestVoteResponse { term, vote_granted: true };
        hear(&mut raft, Message::RequestVoteResponse(vote));
        assert!(raft.role().as_leader().is_some());
        raft
    }

    fn hear(raft: &mut Raft, message: Message) -> Vec<Effect> {
        raft.step(Input::Receive { from: node(2), message })
    }

    fn answer(term: Term, result: AppendResult) -> Message {
        let response = AppendEntriesResponse { term, round: 0, result, disk_full: None };
        Message::AppendEntriesResponse(response)
    }

    fn append(term: Term, prev_log_id: LogId) -> Message {
        Message::AppendEntries(AppendEntries {
            term,
            prev_log_id,
            leader_commit: Index::ZERO,
            round: 0,
            heartbeat: false,
            entries: vec![],
        })
    }

    /// One of each kind.
    fn all(term: Term) -> Vec<Message> {
        let last_log_id = LogId::ZERO;
        vec![
            Message::PreVote(PreVote { term, last_log_id }),
            Message::PreVoteResponse(PreVoteResponse { term, vote_granted: true }),
            Message::PreVoteResponse(PreVoteResponse { term, vote_granted: false }),
            Message::RequestVote(RequestVote { term, last_log_id, leadership_transfer: true }),
            Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted: true }),
            append(term, LogId::ZERO),
            answer(term, AppendResult::Stale),
            Message::TimeoutNow(TimeoutNow { term }),
            Message::InstallSnapshot(InstallSnapshot {
                term,
                head: HeadInfo {
                    id: LogId::new(Index::new(7), Term::new(1)),
                    bytes: 9,
                    hash: [1; 32],
                },
                offset: 0,
                received: 0,
            }),
            Message::InstallSnapshotResponse(InstallSnapshotResponse {
                term,
                head: last_log_id,
                offset: 0,
                received: 0,
            }),
        ]
    }

    #[track_caller]
    fn assert_refused(mut raft: Raft, message: Message, what: Implausible) {
        let (before, term) = (raft.hard_state(), message.term());
        assert_eq!(raft.believed(&message), None);
        let effects = hear(&mut raft, message);
        let refused = Effect::Notice(Notice::Refused { from: node(2), term, what });
        assert_eq!(effects, [refused], "it changes nothing, writes nothing, answers nothing");
        assert_eq!(raft.hard_state(), before);
    }

    #[test]
    fn a_term_that_nobody_can_have_reached_is_refused_whatever_names_it() {
        let highest = Term::new(MINE.get() + TERM_JUMP_MAX);
        for term in [highest.next().unwrap(), Term::new(u64::MAX)] {
            for message in all(term) {
                assert_refused(follower(MINE), message.clone(), Implausible::Term);
                assert_refused(elected(), message, Implausible::Term);
            }
        }
        for message in all(highest) {
            assert_eq!(follower(MINE).believed(&message), Some(&message));
            let effects = hear(&mut follower(MINE), message);
            let refused =
                |effect: &Effect| matches!(effect, Effect::Notice(Notice::Refused { .. }));
            assert!(!effects.iter().any(refused), "{effects:?}");
        }
    }

    #[test]
    fn entries_that_cannot_be_are_refused() {
        let last = LogId::new(Index::new(u64::MAX), MINE);
        assert_refused(follower(MINE), append(MINE, last), Implausible::Entries);
        let beyond = AppendResult::Accepted { match_index: Index::new(2) };
        assert_refused(elected(), answer(MINE, beyond), Implausible::Entries);
        let nothing = AppendResult::Rejected { prev_log_id: LogId::ZERO, hint: LogId::ZERO };
        assert_refused(elected(), answer(MINE, nothing), Implausible::Entries);
    }

    #[test]
    fn a_head_that_cannot_be_is_refused() {
        let good = HeadInfo { id: LogId::new(Index::new(7), MINE), bytes: 9, hash: [1; 32] };
        let install = |head, offset| {
            let term = MINE;
            Message::InstallSnapshot(InstallSnapshot { term, head, offset, received: 0 })
        };
        assert!(follower(MINE).believed(&install(good, 8)).is_some());
        let at = |index, term| HeadInfo { id: LogId::new(Index::new(index), term), ..good };
        let later = MINE.next().unwrap();
        for head in [at(0, MINE), at(u64::MAX, MINE), at(7, later)] {
            assert_refused(follower(MINE), install(head, 0), Implausible::Head);
        }
        for bytes in [0, 8, HEAD_BYTES_MAX as u64 + 1] {
            assert_refused(
                follower(MINE),
                install(HeadInfo { bytes, ..good }, 8),
                Implausible::Head,
            );
        }
    }

    /// A stolen key once made a folder look like one that had lost entries: nobody else can acknowledge
    /// what a leader does not have, and to a node that does not lead anything could be acknowledged.
    #[test]
    fn an_acknowledgement_to_somebody_who_does_not_lead_is_not_remembered() {
        let far = AppendResult::Accepted { match_index: Index::new(1 << 40) };
        let near = AppendResult::Accepted { match_index: Index::new(1) };
        let nothing = |message: &Message| Some(Claim::of(message).acknowledging_nothing());
        for raft in [follower(MINE), follower(Term::new(4)), elected()] {
            for term in [4, 5, 6] {
                let message = answer(Term::new(term), far.clone());
                let claimed = raft.claimed(&message);
                assert!(claimed.is_none() || claimed == nothing(&message), "{claimed:?}");
            }
        }
        let message = answer(MINE, near);
        assert_eq!(elected().claimed(&message), Some(Claim::of(&message)));
    }

    #[test]
    fn a_second_leader_of_a_term_is_refused() {
        let followed = || {
            let mut raft = follower(MINE);
            let first = append(MINE, LogId::ZERO);
            raft.step(Input::Receive { from: node(3), message: first });
            raft
        };
        for make in [elected as fn() -> Raft, followed] {
            for message in
                [append(MINE, LogId::ZERO), Message::TimeoutNow(TimeoutNow { term: MINE })]
            {
                let mut raft = make();
                let before = raft.role().name();
                let effects = hear(&mut raft, message);
                let (term, what) = (MINE, Implausible::SecondLeader);
                let refused = Effect::Notice(Notice::Refused { from: node(2), term, what });
                assert_eq!(effects, [refused]);
                assert_eq!(raft.role().name(), before);
            }
        }
    }

    #[test]
    fn a_node_in_the_last_term_does_not_stand_and_goes_on_running() {
        let mut raft = follower(Term::new(u64::MAX));
        let effects: Vec<_> = (0..10).flat_map(|_| raft.step(Input::Tick { random: 0 })).collect();
        assert_eq!(effects, [Effect::Notice(Notice::NoTermLeft)]);
        assert_eq!(raft.role().name(), "follower");
    }
}
