//! What a node tells of itself: the same, whoever asks and however it is driven.

use super::reach::ReadEnd;
use super::replica::Replica;
use crate::raft;
use crate::types::{
    ClusterId, DiskFull, Incarnation, Index, LogNumber, NodeId, Offset, Term, Timestamp,
};
use crate::wire::api::{Role, Vitals, Welcome};

/// The state of a node after a turn, as far as others are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader of that term, if it knows one.
    pub leader: Option<NodeId>,
    /// Whether it is a leader whose no-op is committed.
    pub ready: bool,
    /// Its last index.
    pub last_index: Index,
    /// Its commit index.
    pub commit_index: Index,
    /// The offset after the last committed record.
    pub next_offset: Offset,
    /// Set if its disk is full.
    pub disk_full: Option<DiskFull>,
    /// Entries up to here are committed and on this node's disk.
    pub readable: Index,
    /// The time of the newest entry.
    pub log_time: Timestamp,
}

/// Who it is that tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub node: NodeId,
    /// This start of its process.
    pub incarnation: Incarnation,
}

impl Account {
    /// Of a replica, now.
    pub fn of(replica: &Replica) -> Self {
        let raft = replica.raft();
        let ReadEnd { commit_index, next_offset } = replica.end_of_reads(LogNumber::MAIN);
        Self {
            role: match raft.is_refilling() {
                true if raft.options().joins => Role::Learner,
                true => Role::Recovering,
                false => role(raft.role()),
            },
            term: raft.current_term(),
            leader: raft.leader(),
            ready: raft.is_ready_leader(),
            last_index: raft.log().last().index,
            commit_index,
            next_offset,
            disk_full: raft.disk_full(),
            readable: replica.shown(),
            log_time: replica.tip().time,
        }
    }

    /// How far the time of the newest entry is ahead of a clock, in ms. Later entries have that time
    /// until the clock gets there.
    pub fn log_ahead_ms(&self, now: Timestamp) -> u64 {
        self.log_time.get().saturating_sub(now.get())
    }

    /// The answer to whoever asks who this is. `nodes` is where the members are, `vitals` how the
    /// process is.
    pub fn welcome(
        &self,
        name: Name,
        now: Timestamp,
        nodes: Vec<(NodeId, String)>,
        vitals: Vitals,
    ) -> Welcome {
        let Name { cluster, node, incarnation } = name;
        Welcome {
            cluster,
            node,
            incarnation,
            role: self.role,
            term: self.term,
            leader: self.leader,
            ready: self.ready,
            last_index: self.last_index,
            commit_index: self.commit_index,
            next_offset: self.next_offset,
            disk_full: self.disk_full,
            log_ahead_ms: self.log_ahead_ms(now),
            nodes,
            vitals,
        }
    }
}

/// A role, as shown to people.
fn role(role: &raft::Role) -> Role {
    match role {
        raft::Role::Follower(_) => Role::Follower,
        raft::Role::PreCandidate(_) => Role::PreCandidate,
        raft::Role::Candidate(_) => Role::Candidate,
        raft::Role::Leader(_) => Role::Leader,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two copies of these lines had drifted: one measured by the clock of the last event, one by
    /// that of the question. A clock that was put right since then counts.
    #[test]
    fn the_time_of_the_log_is_compared_with_the_clock_of_whoever_tells() {
        let node = NodeId::new(2).unwrap();
        let account = Account {
            role: Role::Leader,
            term: Term::new(3),
            leader: Some(node),
            ready: true,
            last_index: Index::new(9),
            commit_index: Index::new(8),
            next_offset: Offset::new(70),
            disk_full: None,
            readable: Index::new(7),
            log_time: Timestamp::new(5_000),
        };
        let name = Name { cluster: ClusterId::new(1), node, incarnation: Incarnation::new(4) };
        let nodes = vec![(node, "here".to_owned())];
        let vitals = Vitals { uptime_ms: 5, ..Vitals::default() };
        let told = account.welcome(name, Timestamp::new(4_000), nodes.clone(), vitals.clone());
        let expected = Welcome {
            cluster: name.cluster,
            node,
            incarnation: name.incarnation,
            role: Role::Leader,
            term: Term::new(3),
            leader: Some(node),
            ready: true,
            last_index: Index::new(9),
            commit_index: Index::new(8),
            next_offset: Offset::new(70),
            disk_full: None,
            log_ahead_ms: 1_000,
            nodes,
            vitals,
        };
        assert_eq!(told, expected);
        assert_eq!(account.log_ahead_ms(Timestamp::new(6_000)), 0);
    }
}
