//! Laws, in one place: on one state, and on two in succession. Debug builds check them after every
//! step; so do scripts and the simulator.

use super::border::HardState;
use super::machine::Raft;
use super::role::Role;
use crate::types::{Index, LogId, Term};

impl Raft {
    /// Checks the laws on this one state.
    pub fn check(&self) {
        check(self);
    }

    /// What [`Observed::check_step`] compares after the next step.
    pub fn observed(&self) -> Observed {
        Observed::of(self)
    }
}

/// Checks what one state can show.
fn check(raft: &Raft) {
    raft.log().check();
    raft.outbox.check(raft.log().last().index);
    let term = raft.current_term();
    assert!(
        raft.log().last().term <= term,
        "an entry of term {} in {term}",
        raft.log().last().term
    );
    match raft.role() {
        Role::Follower(follower) => {
            assert_ne!(follower.leader, Some(raft.id()), "a node that follows itself");
        }
        Role::PreCandidate(candidate) => {
            assert!(candidate.votes.contains(&raft.id()), "a pre-candidate is for itself");
            let voted_for = raft.hard_state().voted_for;
            assert!(
                candidate.campaign.is_none() || voted_for == Some(raft.id()),
                "a campaign in term {term} stands on its own vote, and that is {voted_for:?}"
            );
        }
        Role::Candidate(_) => {
            assert_eq!(
                raft.hard_state().voted_for,
                Some(raft.id()),
                "a candidate votes for itself"
            );
        }
        Role::Leader(leader) => {
            assert_eq!(raft.hard_state().voted_for, Some(raft.id()), "a leader was elected");
            assert_eq!(raft.log().term_at(leader.no_op), Some(term), "the no-op begins the term");
            for (node, progress) in &leader.progress {
                assert_ne!(*node, raft.id(), "a leader does not replicate to itself");
                assert!(progress.match_index < progress.next_index, "{node}: {progress:?}");
                assert!(progress.match_index <= raft.log().last().index, "{node}: {progress:?}");
            }
        }
    }
}

/// What is compared of two states in succession.
#[derive(Clone, Debug)]
pub struct Observed {
    hard_state: HardState,
    commit_index: Index,
    last: LogId,
    commit_id: LogId,
    /// Set if the node led: in which term.
    led: Option<Term>,
}

impl Observed {
    fn of(raft: &Raft) -> Self {
        let commit_index = raft.log().commit_index();
        Self {
            hard_state: raft.hard_state(),
            commit_index,
            last: raft.log().last(),
            commit_id: raft.log().id_at(commit_index),
            led: raft.role().as_leader().map(|_| raft.current_term()),
        }
    }

    /// Checks what no step may do.
    pub fn check_step(&self, after: &Raft) {
        let now = after.hard_state();
        assert!(now.current_term >= self.hard_state.current_term, "the term went back");
        if now.current_term == self.hard_state.current_term && self.hard_state.voted_for.is_some() {
            assert_eq!(now.voted_for, self.hard_state.voted_for, "a vote changed within a term");
        }
        assert!(after.log().commit_index() >= self.commit_index, "the commit index went back");
        assert!(after.log().has(self.commit_id), "committed {} is gone", self.commit_id);
        // Invariant (Leader Append-Only, thesis 3.5).
        if self.led.is_some() && self.led == after.role().as_leader().map(|_| now.current_term) {
            assert!(after.log().has(self.last), "a leader lost its entry {}", self.last);
        }
    }
}
