//! What the core makes of the time that its disk takes.
//!
//! A disk may take a second for each sync and never lose a byte: such a cluster elects and appends,
//! slowly. So nothing here compares a disk with a fixed time alone:
//!
//! - No election timer runs out while this node's own term or vote is being written. Whatever it would
//!   say rests on that write, and nobody has heard of its candidacy yet.
//! - A candidate grants others as much time for their votes as its own took.
//! - A leader's disk counts as stuck if another voter had the same entries on disk long before. Where
//!   all disks are slow, stepping down would only hand the same trouble on.
//! - Who lets others lead first, because its clock is wrong, is compared with only after much longer:
//!   it would let this node lead again at once, and nobody would lead for long.

use super::border::Notice;
use super::machine::Raft;
use super::role::{ElectionTimer, Owed, Role};
use crate::limits::{CLOCK_RELUCTANCE_ELECTION_TIMEOUTS, DISK_STALL_FACTOR};
use crate::mutants::{self, Mutant};
use crate::types::{Index, NodeId, Ticket};

impl Raft {
    /// Whether its disk lets this node stand for election: it is not stuck, and this node's last
    /// promise is on it.
    pub(super) fn disk_lets_campaign(&self) -> bool {
        let is_stuck = self.outbox.stalled_ticks() >= self.options.disk_stall_ticks;
        let has_kept_promise =
            self.outbox.hard_state_is_persisted() || mutants::is_on(Mutant::CampaignDuringSync);
        !is_stuck && has_kept_promise
    }

    /// Term and vote are on disk: only now can anybody answer this node or be answered by it, so what
    /// it waits for begins now.
    pub(super) fn on_promise_kept(&mut self) {
        let armed = self.armed_timer();
        match &mut self.role {
            Role::Candidate(candidate) if !mutants::is_on(Mutant::CampaignDuringSync) => {
                let own_vote = candidate.timer.elapsed;
                candidate.timer = self.options.with_time_to_vote(armed, own_vote);
            }
            Role::Follower(follower) if follower.leader.is_none() => follower.timer = armed,
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {}
        }
        if matches!(self.role, Role::Candidate(_)) {
            self.maybe_vote_for_itself();
        }
    }

    /// A tick has passed for a leader: compares its disk with those of others.
    pub(super) fn tick_owed(&mut self) {
        let (last, persisted) = (self.log.last().index, self.log.persisted());
        let is_reluctant = self.is_reluctant();
        let eager = |node: &NodeId| is_reluctant || !self.clocks_ahead.contains(node);
        let voters = self.meant_voters();
        let leader = self.role.as_leader_mut().expect("only a leader compares disks");
        if persisted == last {
            leader.owed = None;
            return;
        }
        let furthest = |are_eager: bool| {
            let concerned = |node: &NodeId| voters.contains(node) && (!are_eager || eager(node));
            let progress = leader.progress.iter().filter(|(node, _)| concerned(node));
            progress.map(|(_, progress)| progress.match_index).max().unwrap_or(Index::ZERO)
        };
        let (any, eager) = (furthest(false), furthest(true));
        let owed = leader.owed.take().filter(|owed| owed.through > persisted).unwrap_or(Owed {
            through: last,
            ticks: 0,
            fastest_other: None,
            fastest_eager: None,
        });
        leader.owed = Some(owed.after_tick(any, eager));
    }

    /// Whether this leader's disk is so much slower than another voter's that the other should lead.
    pub(super) fn is_outrun(&self) -> bool {
        let owed = self.role.as_leader().and_then(|leader| leader.owed.as_ref());
        owed.is_some_and(|owed| owed.is_overdue(self.options.disk_stall_ticks))
    }

    /// Tells of a write that took longer than an election should; this ticket reports it.
    pub(super) fn maybe_tell_of_slow_disk(&mut self, ticket: Ticket) {
        let ticks = self.outbox.stalled_ticks();
        let is_news = self.outbox.awaits(ticket);
        if is_news && ticks >= self.options.election_timeout_ticks_min {
            self.notice(Notice::DiskSlow { ticks });
        }
    }

    /// Tells once of a write that may never end.
    pub(super) fn maybe_tell_of_stuck_disk(&mut self) {
        let ticks = self.outbox.stalled_ticks();
        if ticks == self.options.disk_stall_ticks {
            self.notice(Notice::DiskStuck { ticks });
        }
    }
}

impl super::machine::Options {
    /// A candidate's timer, prolonged by what its own vote took: the others' may take as long. Not by
    /// more than twice the widest timeout: a disk that stalled once says nothing of the others.
    fn with_time_to_vote(&self, timer: ElectionTimer, own_vote: u32) -> ElectionTimer {
        let more = own_vote.min(self.election_timeout_ticks_widest.saturating_mul(2));
        ElectionTimer { timeout: timer.timeout.saturating_add(more), ..timer }
    }
}

impl Owed {
    /// What it is after another tick, when some other voter has everything up to `any` on disk, and one
    /// that would lead as gladly as this node up to `eager`.
    fn after_tick(mut self, any: Index, eager: Index) -> Self {
        self.ticks = self.ticks.saturating_add(1);
        if any >= self.through {
            self.fastest_other.get_or_insert(self.ticks);
        }
        if eager >= self.through {
            self.fastest_eager.get_or_insert(self.ticks);
        }
        self
    }

    fn is_overdue(&self, disk_stall_ticks: u32) -> bool {
        let is_slower = |other: u32| self.ticks >= other.saturating_mul(DISK_STALL_FACTOR);
        let is_outrun =
            |by: Option<u32>, after: u32| self.ticks >= after && by.is_some_and(is_slower);
        let much_longer = disk_stall_ticks.saturating_mul(CLOCK_RELUCTANCE_ELECTION_TIMEOUTS);
        is_outrun(self.fastest_eager, disk_stall_ticks)
            || is_outrun(self.fastest_other, much_longer)
    }
}
