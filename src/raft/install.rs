//! A follower that lacks what the leader has given up is sent the head that stands for it, and begins there:
//! InstallSnapshot (thesis 5), where the snapshot is the head of the first segment that the leader has.
//!
//! A head may be large, so it goes in pieces, one at a time, paced like everything else that a follower
//! lacks. What the follower has of it is in its memory, and goes on from there as long as its process and the head stay
//! the same. When it has all of it the core is done: the node begins its store there, behind a barrier, and starts
//! on that like on any other ([`Effect::Install`]). So nothing is promised before it is on the disk, and the
//! leader hears of it as of any start.
//!
//! A node that has the entry before the head keeps what it has, and says so: what is before that entry is the same
//! in both logs (thesis 3.5). That it knows the entry to be committed is not said by it.
//!
//! **What is needed is kept, for a while.** Nothing is given up that a follower lacks which is getting further
//! ([`Raft::everywhere`]): else a head would be out of date before it has arrived, again and again. One that stands
//! still is not waited for, nor is anybody if the leader's disk is full: whoever has not arrived by then begins at a later head.

use super::border::{Effect, Notice, StepDownReason};
use super::machine::Raft;
use super::message::{
    AppendEntriesResponse, AppendResult, HeadInfo, InstallSnapshot, InstallSnapshotResponse,
    Message,
};
use super::progress::State;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{Index, LogId, NodeId};

/// The leader's side.
impl Raft {
    /// What was to be read for a follower is not there any more.
    pub(super) fn on_given_up(&mut self, to: NodeId, prev_log_id: LogId, head: HeadInfo) {
        let Some(leader) = self.role.as_leader_mut() else { return };
        assert!(self.log.has(head.id), "this node began at {}, which it does not have", head.id);
        // The disk answers.
        leader.unread_ticks = None;
        leader.progress.values_mut().for_each(|progress| progress.on_other_head(&head));
        let Some(progress) = leader.progress.get_mut(&to) else { return };
        if progress.fetching != Some(prev_log_id) {
            return; // Asked for before the follower's progress changed.
        }
        progress.fetching = None;
        let lacks = progress.next_index <= head.id.index;
        if lacks && progress.on_given_up(head) {
            self.notice(Notice::SendsHead { to, head: head.id });
        }
        self.send_entries(to);
    }

    /// Whether a follower is being sent a head: its bytes are to be kept at hand.
    pub fn sends_head(&self) -> bool {
        let is_sent = |state: &State| matches!(state, State::Snapshot { .. });
        let leader = self.role.as_leader();
        leader.is_some_and(|leader| leader.progress.values().any(|it| is_sent(&it.state)))
    }

    /// Sends a piece, if it is its turn.
    pub(super) fn send_piece(&mut self, to: NodeId, head: HeadInfo, offset: u64) {
        let (term, most) = (self.current_term(), self.options.head_piece_bytes_max);
        let leader = self.leader_mut();
        let pace = leader.pace.get_or_insert_default();
        if !pace.may_fetch() {
            hit(Mark::FetchPaced);
            return;
        }
        pace.on_fetched(most.min(head.bytes - offset));
        leader.progress.get_mut(&to).expect("a member").on_piece_sent();
        let message = InstallSnapshot { term, head, offset, received: 0 };
        self.outbox.send(to, Message::InstallSnapshot(message));
    }

    pub(super) fn on_install_snapshot_response(
        &mut self,
        from: NodeId,
        message: &InstallSnapshotResponse,
    ) {
        assert_eq!(message.term, self.current_term(), "other terms were dealt with before");
        let Some(progress) = self.leader_mut().progress.get_mut(&from) else { return };
        progress.on_heard();
        progress.on_piece_taken(message.head, message.offset, message.received);
        self.send_entries(from);
    }

    /// The last entry that every member has said to have on its disk, of each configuration that may still be
    /// in force, as far as it is committed; aside those for whom nothing is kept. Only a leader knows.
    pub fn everywhere(&self) -> Index {
        let Some(leader) = self.role.as_leader() else { return Index::ZERO };
        let own = self.log.commit_index().min(self.log.persisted());
        let patience = self.options.release_patience_ticks;
        let is_full = self.disk_full.is_some();
        let needed = |node: NodeId| match leader.progress.get(&node) {
            _ if node == self.options.id => None,
            Some(it) if is_full || it.standstill_ticks >= patience => None,
            Some(progress) => Some(progress.match_index),
            None => Some(Index::ZERO),
        };
        if mutants::is_on(Mutant::ReleaseUnheard) {
            return own;
        }
        let members = self.log.configurations().iter().flat_map(|(_, it)| it.members());
        members.filter_map(needed).fold(own, Index::min)
    }
}

/// The follower's side.
impl Raft {
    /// The sender leads this node's current term.
    pub(super) fn on_install_snapshot(&mut self, from: NodeId, message: &InstallSnapshot) {
        assert_eq!(message.term, self.current_term(), "other terms were dealt with before");
        if self.leader().is_some_and(|leader| leader != from) {
            return self.refuse_second_leader(from);
        }
        self.on_leader_known();
        self.become_follower(message.term, Some(from), StepDownReason::HigherTerm);
        let InstallSnapshot { term, head, offset, received } = *message;
        if self.has_head(head.id) {
            hit(Mark::HeadNotNeeded);
            let result = AppendResult::Accepted { match_index: head.id.index };
            let disk_full = self.disk_full;
            let response = AppendEntriesResponse { term, round: 0, result, disk_full };
            self.outbox.send(from, Message::AppendEntriesResponse(response));
        } else if received == head.bytes {
            hit(Mark::Installed);
            self.outbox.emit(Effect::Install { head });
        } else {
            let response = InstallSnapshotResponse { term, head: head.id, offset, received };
            self.outbox.send(from, Message::InstallSnapshotResponse(response));
        }
    }

    /// Whether this node has the entry before a head, and so all that the head stands for.
    pub fn has_head(&self, id: LogId) -> bool {
        self.log.has(id) && !mutants::is_on(Mutant::InstallOverLog)
    }
}
