//! Wrong wall clocks: the core has no clock, and is told whose are far ahead of the others'.
//!
//! The time of an entry is the clock of the leader that made it, and never goes back along the log. One
//! entry of a leader that is years ahead gives every later record its time. So a node with such a clock
//! lets others stand first, and one that leads hands over to a node that has a better one.

use std::collections::BTreeSet;

use super::border::StepDownReason;
use super::machine::Raft;
use super::role::Role;
use crate::limits::CLOCK_RELUCTANCE_ELECTION_TIMEOUTS;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::NodeId;

impl Raft {
    /// See `Input::Clocks`.
    pub(super) fn on_clocks(&mut self, ahead: BTreeSet<NodeId>) {
        let was_reluctant = self.is_reluctant();
        self.clocks_ahead = ahead;
        if was_reluctant || !self.is_reluctant() {
            return;
        }
        hit(Mark::Reluctant);
        let is_waiting = match &self.role {
            Role::Follower(follower) => follower.leader.is_none(),
            Role::PreCandidate(candidate) => candidate.campaign.is_none(),
            Role::Candidate(_) | Role::Leader(_) => false,
        };
        if is_waiting {
            // It begins to wait anew, now for longer.
            self.become_follower(self.current_term(), None, StepDownReason::QuorumLost);
        }
    }

    /// Whether this node's own clock is far ahead: it leads only if nobody else does.
    pub fn is_reluctant(&self) -> bool {
        self.clocks_ahead.contains(&self.id()) && !mutants::is_on(Mutant::WrongClockLeads)
    }

    /// How much longer it waits before it stands.
    pub(super) fn reluctance_ticks(&self) -> u32 {
        let more = self.options.election_timeout_ticks_max;
        let more = more.saturating_mul(CLOCK_RELUCTANCE_ELECTION_TIMEOUTS);
        if self.is_reluctant() { more } else { 0 }
    }

    /// A leader with a wrong clock tries now and then to make way for one with a better one. Not all
    /// the time: while it does it takes no records.
    pub(super) fn maybe_leave_wrong_clock(&mut self) {
        let every = self.reluctance_ticks();
        let patience = self.options.election_timeout_ticks_min;
        let voters = self.meant_voters();
        let ahead = self.clocks_ahead.clone();
        let Some(leader) = self.role.as_leader_mut() else { return };
        if every == 0 {
            leader.reluctant_ticks = 0;
            return;
        }
        let is_due = leader.reluctant_ticks.is_multiple_of(every);
        leader.reluctant_ticks = leader.reluctant_ticks.saturating_add(1);
        let others = voters.iter().filter(|node| !ahead.contains(node));
        let can = others.filter_map(|node| leader.progress.get(node));
        let another_can =
            can.into_iter().any(|p| p.silent_ticks < patience && p.disk_full.is_none());
        if is_due && another_can {
            self.on_transfer(None);
        }
    }
}
