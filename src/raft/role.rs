//! The four roles. What only a role needs lives in it and dies with it.

use std::collections::{BTreeMap, BTreeSet};

use super::pace::Pace;
use super::progress::Progress;
use super::reads::Reads;
use crate::entry::ElectionReason;
use crate::types::{Index, NodeId};

/// What a node is at the moment (thesis 3.3, and 9.6 for the pre-candidate).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader or waits for one.
    Follower(Follower),
    /// Asks whether it would be elected.
    PreCandidate(PreCandidate),
    /// Campaigns in its current term.
    Candidate(Candidate),
    /// Leads its current term.
    Leader(Leader),
}

/// Counts towards an election. Drawn anew each time it is armed: two nodes that once had the same
/// timeout would otherwise tie for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElectionTimer {
    /// Ticks since it was armed.
    pub elapsed: u32,
    /// Ticks after which an election is held.
    pub timeout: u32,
}

/// See [`Role::Follower`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follower {
    /// The leader of the term, once heard.
    pub leader: Option<NodeId>,
    /// Armed whenever the leader is heard and when a vote is given.
    pub timer: ElectionTimer,
}

/// See [`Role::PreCandidate`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreCandidate {
    /// Who would vote for it, itself included.
    pub votes: BTreeSet<NodeId>,
    /// Who voted for it in its current term, if it campaigned in that and its time ran out: the
    /// campaign stands until another begins, and a vote that a slow disk held back still counts.
    pub campaign: Option<BTreeSet<NodeId>>,
    /// After it, another round of questions.
    pub timer: ElectionTimer,
    /// Why it asks.
    pub reason: ElectionReason,
}

/// See [`Role::Candidate`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Who voted for it; itself once that vote is on disk.
    pub votes: BTreeSet<NodeId>,
    /// After it, it asks again whether it would be elected. Armed when its own vote is on disk:
    /// until then nobody has been asked, and it only counts how long that takes.
    pub timer: ElectionTimer,
    /// Why it campaigns.
    pub reason: ElectionReason,
}

/// See [`Role::Leader`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    /// How far each other member is.
    pub progress: BTreeMap<NodeId, Progress>,
    /// The first entry of the term. Until it is committed nothing of the term is, and no read may
    /// be answered (thesis 6.4).
    pub no_op: Index,
    /// Ticks since the last heartbeat.
    pub heartbeat_elapsed: u32,
    /// Ticks since the disk owes what was asked of it for a follower, if it does.
    pub unread_ticks: Option<u32>,
    /// Ticks since its wall clock is known to be wrong.
    pub reluctant_ticks: u32,
    /// What its own disk has not finished, beside what other disks made of it.
    pub owed: Option<Owed>,
    /// What may be read from the disk for followers that are far behind, if there are any.
    pub pace: Option<Pace>,
    /// Reads that wait.
    pub reads: Reads,
    /// A handover under way.
    pub transfer: Option<LeadershipTransfer>,
}

/// Entries that a leader's own disk has not finished.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owed {
    /// The last of them.
    pub through: Index,
    /// Ticks since it owes them.
    pub ticks: u32,
    /// How many of these had passed when the first other voter had all of them on disk.
    pub fastest_other: Option<u32>,
    /// The same of the voters that would lead as gladly as this node: see `Raft::is_reluctant`.
    pub fastest_eager: Option<u32>,
}

/// A handover under way (thesis 3.10): the leader takes no more proposals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeadershipTransfer {
    /// To whom.
    pub to: NodeId,
    /// It was told to start its election.
    pub asked: bool,
    /// Ticks since the start. After an election timeout the leader goes on leading.
    pub elapsed: u32,
}

impl Role {
    /// The leader state, if this node leads.
    pub fn as_leader(&self) -> Option<&Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Follower(_) | Self::PreCandidate(_) | Self::Candidate(_) => None,
        }
    }

    pub(super) fn as_leader_mut(&mut self) -> Option<&mut Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Follower(_) | Self::PreCandidate(_) | Self::Candidate(_) => None,
        }
    }

    /// The role's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Follower(_) => "follower",
            Self::PreCandidate(_) => "pre-candidate",
            Self::Candidate(_) => "candidate",
            Self::Leader(_) => "leader",
        }
    }
}
