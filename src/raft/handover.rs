//! Handover: a leader makes way for another node, which begins its election at once (thesis 3.10).

use super::border::Notice;
use super::machine::Raft;
use super::message::{Message, TimeoutNow};
use super::role::LeadershipTransfer;
use crate::marks::{Mark, hit};
use crate::types::NodeId;

impl Raft {
    /// See `Input::Transfer`. Without a voter that was heard lately nothing happens.
    pub(super) fn on_transfer(&mut self, to: Option<NodeId>) {
        let Some(to) = self.successor(to) else { return };
        let leader = self.leader_mut();
        if leader.transfer.is_some() {
            return;
        }
        leader.transfer = Some(LeadershipTransfer { to, asked: false, elapsed: 0 });
        self.notice(Notice::TransferStarted { to });
        self.maybe_hand_over();
    }

    /// To whom this leader would hand over: the most advanced voter, or this one, if it was heard lately.
    pub(super) fn successor(&self, wanted: Option<NodeId>) -> Option<NodeId> {
        let patience = self.options.election_timeout_ticks_min;
        let voters = self.meant_voters();
        let candidates = self.role.as_leader()?.progress.iter().filter(|(node, progress)| {
            voters.contains(node)
                && progress.silent_ticks < patience
                && wanted.is_none_or(|wanted| wanted == **node)
        });
        let most_advanced = candidates.max_by_key(|(node, progress)| {
            (progress.disk_full.is_none(), !self.clocks_ahead.contains(node), progress.match_index)
        });
        most_advanced.map(|(node, _)| *node)
    }

    /// The last word of a leader that is no voter any more: nobody has to wait for its silence.
    pub(super) fn name_successor(&mut self) {
        let term = self.current_term();
        if let Some(to) = self.successor(None) {
            self.outbox.send(to, Message::TimeoutNow(TimeoutNow { term }));
        }
    }

    /// Tells the successor to start as soon as it has everything.
    pub(super) fn maybe_hand_over(&mut self) {
        let last = self.log.last().index;
        let term = self.current_term();
        let leader = self.leader_mut();
        let Some(transfer) = leader.transfer.as_mut().filter(|transfer| !transfer.asked) else {
            return;
        };
        let has_everything =
            leader.progress.get(&transfer.to).is_some_and(|p| p.match_index == last);
        if has_everything {
            hit(Mark::HandedOver);
            transfer.asked = true;
            let to = transfer.to;
            self.outbox.send(to, Message::TimeoutNow(TimeoutNow { term }));
        }
    }

    pub(super) fn tick_transfer(&mut self) {
        let patience = self.options.election_timeout_ticks_max;
        let leader = self.leader_mut();
        if let Some(transfer) = &mut leader.transfer {
            transfer.elapsed += 1;
            if transfer.elapsed >= patience {
                hit(Mark::HandoverGivenUp);
                leader.transfer = None;
            }
        }
    }
}
