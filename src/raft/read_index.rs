//! Linearizable reads by ReadIndex: a quorum confirms that the leader still leads (thesis 6.4).

use super::border::{Effect, ReadToken};
use super::machine::Raft;
use super::role::Role;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};

impl Raft {
    pub(super) fn on_read(&mut self, token: ReadToken) {
        match &mut self.role {
            Role::Leader(leader) => {
                if self.log.commit_index() < leader.no_op {
                    hit(Mark::ReadWaitedForNoOp);
                }
                leader.reads.add(token);
            }
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.outbox.emit(Effect::Reply { token, read_index: None });
                return;
            }
        }
        self.maybe_confirm_reads();
    }

    /// Until its no-op is committed a leader does not know what is (thesis 6.4, step 1).
    fn knows_what_is_committed(&self) -> bool {
        if mutants::is_on(Mutant::ReadBeforeFirstCommit) {
            return self.role.as_leader().is_some();
        }
        self.is_ready_leader()
    }

    /// Answers the reads whose round a quorum has confirmed, and begins the next round.
    pub(super) fn maybe_confirm_reads(&mut self) {
        while self.knows_what_is_committed() {
            let commit_index = self.log.commit_index();
            let leader = self.leader_mut();
            if leader.reads.begin_round(commit_index) {
                self.broadcast_heartbeats();
            }
            let leader = self.role.as_leader().expect("it was a line ago");
            let round = leader.reads.round();
            let confirms = |node| {
                node == self.options.id
                    || self.is_meant(node)
                        && leader.progress.get(&node).is_some_and(|p| p.acked_round >= round)
            };
            let is_confirmed = self.log.configuration().is_quorum(confirms);
            if !leader.reads.is_under_way() || !is_confirmed {
                return;
            }
            let no_op = leader.no_op;
            let (read_index, tokens) = self.leader_mut().reads.end_round();
            // Invariant: a read sees the whole of all terms before its leader's.
            assert!(mutants::any() || read_index >= no_op, "reads at {read_index}, no-op {no_op}");
            assert!(read_index <= commit_index, "reads at {read_index}, commit {commit_index}");
            for token in tokens {
                self.outbox.emit(Effect::Reply { token, read_index: Some(read_index) });
            }
        }
    }
}
