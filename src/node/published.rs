//! What the driver lets the rest of the node see of its state.

use tokio::sync::watch;

use crate::raft::Role;
use crate::replica::Replica;
use crate::types::{DiskFull, Index, NodeId, Offset, Term, Timestamp};
use crate::wire::api;

/// The state of the node after the driver's last turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) role: api::Role,
    pub(super) term: Term,
    pub(super) leader: Option<NodeId>,
    /// A leader whose no-op is committed.
    pub(super) ready: bool,
    pub(super) last_index: Index,
    pub(super) commit_index: Index,
    /// The offset after the last committed record.
    pub(super) next_offset: Offset,
    pub(super) disk_full: Option<DiskFull>,
    /// Entries up to here are committed and on this node's disk.
    pub(super) readable: Index,
    /// The time of the newest entry.
    pub(super) log_time: Timestamp,
}

impl Published {
    pub(super) fn of(replica: &Replica) -> Self {
        let raft = replica.raft();
        let role = match raft.role() {
            Role::Follower(_) => api::Role::Follower,
            Role::PreCandidate(_) => api::Role::PreCandidate,
            Role::Candidate(_) => api::Role::Candidate,
            Role::Leader(_) => api::Role::Leader,
        };
        let (commit_index, next_offset) = replica.end_of_reads();
        Self {
            role,
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
}

/// Tells whoever watches, if anything changed.
pub(super) fn publish(sender: &watch::Sender<Published>, replica: &Replica) {
    let now = Published::of(replica);
    sender.send_if_modified(|published| {
        let changed = *published != now;
        *published = now;
        changed
    });
}
