//! Elections: pre-vote, votes, and who is believed (thesis 3.4, 3.6.1, 4.2.3, 9.6).

use std::collections::{BTreeMap, BTreeSet};

use super::border::{Content, HardState, Notice, StepDownReason};
use super::log::RaftLog;
use super::machine::{Options, Raft};
use super::message::{Message, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse};
use super::reads::Reads;
use super::role::{Candidate, Follower, Leader, PreCandidate, Role};
use crate::entry::{ElectionReason, NoOp};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{LogId, NodeId};

/// The size that a no-op or a configuration counts for before it is sealed. They are few.
pub(super) const SMALL_ENTRY_BYTES: u32 = 256;

impl Raft {
    pub(super) fn on_election_timeout(&mut self) {
        if matches!(self.role, Role::Candidate(_)) {
            hit(Mark::ElectionTimedOut);
            self.fruitless = self.fruitless.saturating_add(1);
        }
        // NB: a voter that is on its way out still campaigns, and its own vote does not count: until
        // that is committed nobody else may have a log as long as its own (thesis 4.2.2).
        if self.log.may_need(self.id(), self.options.store) && self.disk_lets_campaign() {
            self.become_pre_candidate();
        } else {
            hit(Mark::StalledNoCampaign);
            // It waits for others to campaign, and no longer believes in the leader it had.
            self.become_follower(self.current_term(), None, StepDownReason::QuorumLost);
        }
    }

    fn become_pre_candidate(&mut self) {
        assert!(self.role.as_leader().is_none(), "a leader does not campaign");
        let reason = if self.log.last() == LogId::ZERO {
            ElectionReason::FirstStart
        } else {
            ElectionReason::Timeout
        };
        let Some(term) = self.current_term().next() else { return self.give_up_campaigning() };
        let campaign = self.campaign_so_far();
        let (votes, timer) = (BTreeSet::new(), self.armed_timer());
        self.role = Role::PreCandidate(PreCandidate { votes, campaign, timer, reason });
        self.notice(Notice::BecamePreCandidate { term });
        let message = PreVote { term, last_log_id: self.log.last() };
        self.send_to_voters(&Message::PreVote(message));
        self.count_pre_vote(self.id());
    }

    /// There is no term after this one. Whoever let it get so far has to be told.
    fn give_up_campaigning(&mut self) {
        self.notice(Notice::NoTermLeft);
        self.become_follower(self.current_term(), None, StepDownReason::QuorumLost);
    }

    /// The votes of its current term, if it campaigned in that and has promised nobody anything since.
    fn campaign_so_far(&self) -> Option<BTreeSet<NodeId>> {
        match &self.role {
            Role::Candidate(candidate) => Some(candidate.votes.clone()),
            Role::PreCandidate(candidate) => candidate.campaign.clone(),
            Role::Follower(_) | Role::Leader(_) => None,
        }
    }

    fn become_candidate(&mut self, reason: ElectionReason) {
        assert!(self.role.as_leader().is_none(), "a leader does not campaign");
        let is_voter = self.log.may_need(self.id(), self.options.store);
        assert!(is_voter, "{} is not a voter", self.id());
        let Some(term) = self.current_term().next() else { return self.give_up_campaigning() };
        self.set_hard_state(HardState { current_term: term, voted_for: Some(self.id()) });
        let timer = self.armed_timer();
        self.role = Role::Candidate(Candidate { votes: BTreeSet::new(), timer, reason });
        self.notice(Notice::BecameCandidate { term });
        // Held back until the term and the vote for itself are on disk.
        self.request_votes(reason);
    }

    fn request_votes(&mut self, reason: ElectionReason) {
        let message = RequestVote {
            term: self.current_term(),
            last_log_id: self.log.last(),
            leadership_transfer: reason == ElectionReason::Transfer,
        };
        self.send_to_voters(&Message::RequestVote(message));
    }

    /// A candidate that waits for slow disks asks again now and then: a request may have been lost.
    pub(super) fn maybe_ask_again(&mut self) {
        if let Role::Candidate(Candidate { timer, reason, .. }) = self.role
            && timer.elapsed > 0
            && timer.elapsed.is_multiple_of(self.options.election_timeout_ticks_max)
        {
            self.request_votes(reason);
        }
    }

    fn become_leader(&mut self) {
        let (granted, reason) = match &self.role {
            Role::Candidate(candidate) => (Some(&candidate.votes), candidate.reason),
            Role::PreCandidate(candidate) => (candidate.campaign.as_ref(), candidate.reason),
            Role::Follower(_) | Role::Leader(_) => unreachable!("{} is elected", self.role.name()),
        };
        let granted = granted.expect("only who campaigned is elected");
        assert!(self.log.configuration().is_quorum(|node| granted.contains(&node)));
        assert!(self.outbox.hard_state_is_persisted(), "its own vote is not on disk");
        let voters = granted.iter().copied().collect();
        let next = self.log.last().index.next();
        self.role = Role::Leader(Leader {
            progress: BTreeMap::new(),
            no_op: next,
            heartbeat_elapsed: 0,
            unread_ticks: None,
            reluctant_ticks: 0,
            owed: None,
            pace: None,
            reads: Reads::default(),
            transfer: None,
        });
        self.update_members(next);
        // NB: a new leader commits nothing of older terms by counting; the no-op carries them
        // (thesis 3.6.2, 6.4).
        let no_op = NoOp { leader: self.id(), reason, voters };
        let appended = self.append_as_leader(Content::NoOp(no_op), SMALL_ENTRY_BYTES);
        assert_eq!(appended, next, "the no-op begins the term");
        self.notice(Notice::BecameLeader { term: self.current_term(), no_op: next });
        self.broadcast_entries();
        self.maybe_commit();
    }

    fn send_to_voters(&mut self, message: &Message) {
        let configuration = self.log.configuration();
        let voters = configuration.voters.union(&configuration.outgoing);
        for node in voters.copied().filter(|node| *node != self.options.id) {
            self.outbox.send(node, message.clone());
        }
    }

    /// Whether there is a leader to be believed: this one, or one heard within the shortest
    /// election timeout. Then nobody else's election is furthered (thesis 4.2.3).
    fn believes_in_leader(&self) -> bool {
        match &self.role {
            Role::Leader(_) => true,
            Role::Follower(Follower { leader, timer }) => {
                leader.is_some() && timer.elapsed < self.options.election_timeout_ticks_min
            }
            Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    /// A request for a vote that no leader asked for, while there is one.
    pub(super) fn is_disruption(&self, message: &Message) -> bool {
        match message {
            Message::RequestVote(m) => {
                m.term > self.current_term() && !m.leadership_transfer && self.believes_in_leader()
            }
            Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::RequestVoteResponse(_)
            | Message::AppendEntries(_)
            | Message::AppendEntriesResponse(_)
            | Message::TimeoutNow(_)
            | Message::InstallSnapshot(_)
            | Message::InstallSnapshotResponse(_) => false,
        }
    }

    pub(super) fn on_pre_vote(&mut self, from: NodeId, message: &PreVote) {
        let is_eligible =
            message.term > self.current_term() && self.is_up_to_date(message.last_log_id);
        if is_eligible && self.believes_in_leader() {
            hit(Mark::PreVoteRefusedLeader);
        }
        let vote_granted =
            is_eligible && !self.believes_in_leader() || mutants::is_on(Mutant::PreVoteAlways);
        let term = if vote_granted { message.term } else { self.current_term() };
        let response = PreVoteResponse { term, vote_granted };
        self.outbox.send(from, Message::PreVoteResponse(response));
    }

    pub(super) fn on_pre_vote_response(&mut self, from: NodeId, message: &PreVoteResponse) {
        // NB: a granted one of another term answers an older question.
        if message.vote_granted && Some(message.term) == self.current_term().next() {
            self.count_pre_vote(from);
        }
    }

    fn count_pre_vote(&mut self, from: NodeId) {
        let is_meant = self.is_meant(from) || mutants::is_on(Mutant::VoteOfAnyStore);
        let Role::PreCandidate(candidate) = &mut self.role else {
            unreachable!("only a pre-candidate counts pre-votes, not a {}", self.role.name());
        };
        if !is_meant {
            return;
        }
        Self::insert_vote(&mut candidate.votes, from, &self.log);
        let reason = candidate.reason;
        if self.log.configuration().is_quorum(|node| candidate.votes.contains(&node)) {
            self.become_candidate(reason);
        }
    }

    pub(super) fn on_request_vote(&mut self, from: NodeId, message: &RequestVote) {
        assert_eq!(message.term, self.current_term(), "other terms were dealt with before");
        let has_vote = self.hard_state.voted_for.is_none_or(|candidate| candidate == from);
        let vote_granted = has_vote && self.is_up_to_date(message.last_log_id);
        if !has_vote {
            hit(Mark::VoteRefusedGiven);
        } else if !vote_granted {
            hit(Mark::VoteRefusedLog);
        }
        if vote_granted {
            self.give_vote(from);
        }
        let response = RequestVoteResponse { term: self.current_term(), vote_granted };
        self.outbox.send(from, Message::RequestVoteResponse(response));
    }

    /// Whether a log that ends so has at least what this one has (thesis 3.6.1).
    fn is_up_to_date(&self, last: LogId) -> bool {
        if mutants::is_on(Mutant::CompareLengthsFirst) {
            return last.index >= self.log.last().index;
        }
        last >= self.log.last()
    }

    fn give_vote(&mut self, candidate: NodeId) {
        let term = self.current_term();
        if self.hard_state.voted_for.is_none() {
            self.set_hard_state(HardState { current_term: term, voted_for: Some(candidate) });
            self.notice(Notice::Voted { term, candidate });
        }
        assert_eq!(self.hard_state.voted_for, Some(candidate));
        let timer = self.armed_timer();
        match &mut self.role {
            Role::Follower(follower) => follower.timer = timer,
            // It was about to stand itself: a pre-vote that comes late would make it disturb whom it
            // has just voted for.
            Role::PreCandidate(_) => {
                hit(Mark::StoodBack);
                self.become_follower(term, None, StepDownReason::HigherTerm);
            }
            Role::Candidate(_) | Role::Leader(_) => {}
        }
    }

    pub(super) fn on_request_vote_response(&mut self, from: NodeId, m: &RequestVoteResponse) {
        assert_eq!(m.term, self.current_term(), "other terms were dealt with before");
        if m.vote_granted || mutants::is_on(Mutant::AnyAnswerIsAVote) {
            self.count_vote(from);
        }
    }

    /// A candidate's own vote counts like any other: when it is on disk.
    pub(super) fn maybe_vote_for_itself(&mut self) {
        if self.outbox.hard_state_is_persisted() {
            assert!(mutants::any() || self.hard_state.voted_for == Some(self.id()));
            self.count_vote(self.id());
        }
    }

    fn insert_vote(votes: &mut BTreeSet<NodeId>, from: NodeId, log: &RaftLog) {
        if !votes.insert(from) && mutants::is_on(Mutant::RepeatedVoteCounts) {
            // A count instead of a set: a repeated vote counts for somebody who has not voted.
            let members = &log.configuration().voters;
            votes.extend(members.iter().copied().find(|node| !votes.contains(node)));
        }
    }

    fn count_vote(&mut self, from: NodeId) {
        let is_meant = self.is_meant(from) || mutants::is_on(Mutant::VoteOfAnyStore);
        if !is_meant {
            hit(Mark::VoteOfAnotherStore);
        }
        let votes = match &mut self.role {
            Role::Candidate(candidate) => &mut candidate.votes,
            Role::PreCandidate(PreCandidate { campaign: Some(votes), .. }) => {
                hit(Mark::LateVote);
                votes
            }
            // It has not campaigned in this term: what comes answers nothing that it asked.
            Role::PreCandidate(_) => return,
            Role::Follower(_) | Role::Leader(_) => {
                unreachable!("only a candidate counts votes, not a {}", self.role.name());
            }
        };
        if !is_meant {
            return;
        }
        Self::insert_vote(votes, from, &self.log);
        if self.log.configuration().is_quorum(|node| votes.contains(&node))
            && self.outbox.hard_state_is_persisted()
        {
            self.become_leader();
        }
    }

    pub(super) fn on_timeout_now(&mut self, from: NodeId) {
        if self.leader().is_some_and(|leader| leader != from) {
            return self.refuse_second_leader(from);
        }
        if self.leader().is_none() || !self.is_voter() {
            return;
        }
        if self.outbox.stalled_ticks() < self.options.disk_stall_ticks {
            self.become_candidate(ElectionReason::Transfer);
        }
    }

    /// The shortest and the longest election timeout now. Each campaign that came to nothing doubles
    /// them: whatever made it fail, a disk or a network, takes longer than was configured.
    pub(super) fn election_timeout_ticks(&self) -> (u32, u32) {
        let Options {
            election_timeout_ticks_min: min,
            election_timeout_ticks_max: max,
            election_timeout_ticks_widest: widest,
            ..
        } = self.options;
        let doubled = 1_u32.checked_shl(self.fruitless).unwrap_or(u32::MAX);
        let factor = doubled.min(widest / max);
        (min * factor, max * factor)
    }

    /// A leader was heard, or is one that serves: elections come to something again.
    pub(super) fn on_leader_known(&mut self) {
        self.fruitless = 0;
    }

    /// A leader that has not heard a quorum for the longest election timeout steps down
    /// (thesis 6.2): others may have elected another, and clients wait in vain. So does one whose
    /// disk is stuck, with a write that others have finished or with what a follower lacks.
    pub(super) fn check_quorum(&mut self) {
        let (_, longest) = self.election_timeout_ticks();
        let patience = if mutants::is_on(Mutant::DeafLeads) { u32::MAX } else { longest };
        let leader = self.role.as_leader().expect("only a leader asks whether it leads");
        let hears = |node| {
            node == self.options.id
                || self.is_meant(node)
                    && leader.progress.get(&node).is_some_and(|p| p.silent_ticks < patience)
        };
        if !self.log.configuration().is_quorum(hears) {
            self.become_follower(self.current_term(), None, StepDownReason::QuorumLost);
            return;
        }
        let reads_stall =
            leader.unread_ticks.is_some_and(|ticks| ticks >= self.options.read_stall_ticks);
        if (reads_stall || self.is_outrun()) && !mutants::is_on(Mutant::StuckDiskLeads) {
            self.become_follower(self.current_term(), None, StepDownReason::DiskStalled);
        }
    }
}
