//! Tells in the log what a person who watches a node wants to know.

use std::time::Duration;

use tokio::time::Instant;

use crate::raft::{DiskFull, Message, Notice};
use crate::replica::Replica;
use crate::types::{ByteCount, Index, NodeId};
use crate::wire::peer::PeerMessage;

/// How often a lonely node says that it waits.
const LONELY_INTERVAL: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Narrator {
    /// When it last said that it waits, or began to.
    lonely_since: Instant,
    /// Whether the next lonely line is the first.
    said: bool,
    /// Until it has caught up: how far the leader said that the log is committed.
    catching_up: Option<Index>,
    caught_up: bool,
    /// It has said that its disk is full.
    is_full: bool,
}

impl Narrator {
    pub(super) fn new() -> Self {
        let (catching_up, caught_up, is_full) = (None, false, false);
        Self { lonely_since: Instant::now(), said: false, catching_up, caught_up, is_full }
    }

    /// Tells what happened in the core.
    pub(super) fn tell(notice: &Notice, replica: &Replica) {
        let raft = replica.raft();
        let (node, term, last) = (raft.id(), raft.current_term(), raft.log().last());
        match notice {
            Notice::Forgot { .. } => {
                tracing::error!(%node, %term, index = %last.index, "{notice}");
            }
            Notice::BecameLeader { .. } | Notice::SteppedDown { .. } | Notice::Truncated { .. } => {
                tracing::warn!(%node, %term, index = %last.index, "{notice}");
            }
            // A node that is alone asks again and again; a follower of nobody will soon say more.
            Notice::BecamePreCandidate { .. } | Notice::BecameFollower { leader: None, .. } => {
                tracing::debug!(%node, %term, index = %last.index, "{notice}");
            }
            Notice::BecameCandidate { .. }
            | Notice::BecameFollower { leader: Some(_), .. }
            | Notice::Voted { .. }
            | Notice::TransferStarted { .. } => {
                tracing::info!(%node, %term, index = %last.index, "{notice}");
            }
        }
    }

    /// Notes how far the leader is, so that this node can say when it has caught up.
    pub(super) fn on_peer(&mut self, message: &PeerMessage) {
        if let Message::AppendEntries(m) = &message.message
            && !self.caught_up
            && !m.heartbeat
        {
            self.catching_up = Some(m.leader_commit.max(m.prev_log_id.index));
        }
    }

    pub(super) fn on_tick(&mut self, replica: &Replica, is_connected: impl Fn(NodeId) -> bool) {
        self.tell_caught_up(replica);
        self.tell_space(replica);
        if replica.raft().leader().is_some() {
            self.said = false;
            self.lonely_since = Instant::now();
            return;
        }
        let configuration = replica.raft().log().configuration();
        let voters = configuration.voters.len();
        let connected = configuration.voters.iter().filter(|node| is_connected(**node)).count();
        let waited = self.lonely_since.elapsed();
        let is_due =
            if self.said { waited >= LONELY_INTERVAL } else { waited >= LONELY_INTERVAL / 4 };
        if is_due && connected < voters / 2 {
            self.said = true;
            self.lonely_since = Instant::now();
            let node = replica.raft().id();
            tracing::info!(%node, "waiting for a majority ({} of {voters})", connected + 1);
        }
    }

    fn tell_space(&mut self, replica: &Replica) {
        let (node, full) = (replica.raft().id(), replica.raft().disk_full());
        if full.is_some() == self.is_full {
            return;
        }
        self.is_full = full.is_some();
        let Some(DiskFull { free_bytes, needed_bytes }) = full else {
            tracing::info!(%node, "the disk has room again");
            return;
        };
        let (free, needed) = (ByteCount(free_bytes), ByteCount(needed_bytes));
        tracing::warn!(
            %node,
            "the disk is full ({free} free, {needed} needed): as leader this node takes no records \
             until there is room"
        );
    }

    fn tell_caught_up(&mut self, replica: &Replica) {
        let raft = replica.raft();
        let Some(target) = self.catching_up.filter(|_| !self.caught_up) else { return };
        if let Some(leader) = raft.leader()
            && replica.readable() >= target
        {
            self.caught_up = true;
            let (node, term, last) = (raft.id(), raft.current_term(), raft.log().last());
            tracing::info!(%node, %term, index = %last.index, "caught up with {leader} at {last}");
        }
    }
}
