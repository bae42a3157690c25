//! Invariant: what a leader counts of a follower whose process is a new one, that process has on its
//! disk. What the one before it said counts for nothing any more: a disk may have lost it.
//!
//! Judged from the first message of the new process that the leader heard on, once the two are in one
//! term. A follower that is in a later one may have truncated what an old leader still counts.

use super::laws::Platter as _;
use super::machine::ProcessId;
use super::world::World;
use crate::types::{Index, NodeId};

const LAW: &str = "I22 counted";

impl World {
    /// After a turn of a node: looks at the processes that it has newly heard.
    pub(super) fn look_at_counted(&mut self, leader: NodeId) {
        let Some(process) = &mut self.machine(leader).process else { return };
        let heard = std::mem::take(&mut process.newly_heard);
        let kept = heard.into_iter().filter(|heard| !self.is_judged(leader, *heard)).collect();
        if let Some(process) = &mut self.machine(leader).process {
            process.newly_heard = kept;
        }
    }

    /// Whether there is nothing more to see. What is wrong is noted.
    fn is_judged(&mut self, leader: NodeId, (follower, incarnation): ProcessId) -> bool {
        let Some(counted) = self.counted(leader, follower) else { return true };
        let machine = &self.machines[Self::place(follower)];
        let runs = machine.process.as_ref().map(|process| process.incarnation);
        let is_rotten = machine.lost && !machine.is_put_back;
        if runs != Some(incarnation) || is_rotten {
            return true;
        }
        if Some(machine.disk.hard_state().current_term) != self.term_of(leader) {
            return false;
        }
        let last = machine.disk.last();
        if counted > last {
            let what = format!(
                "{leader} counts entries up to {counted} of {follower}, whose new process has {last}"
            );
            self.violate(LAW, what);
        }
        true
    }

    /// Up to where a leader counts a follower's entries.
    fn counted(&self, leader: NodeId, follower: NodeId) -> Option<Index> {
        let process = self.machines[Self::place(leader)].process.as_ref()?;
        let leads = process.replica.raft().role().as_leader()?;
        leads.progress.get(&follower).map(|progress| progress.match_index)
    }
}
