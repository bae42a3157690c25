//! Handover: a leader makes way for another node, which begins its election at once (thesis 3.10).

use super::border::Notice;
use super::machine::Raft;
use super::message::{Message, TimeoutNow};
use super::role::LeadershipTransfer;
use crate::marks::{Mark, hit};

impl Raft {
    /// See `Input::Transfer`. Without a voter that was heard lately nothing happens.
    pub(super) fn on_transfer(&mut self) {
        let patience = self.options.election_timeout_ticks_min;
        let voters = self.meant_voters();
        let ahead = self.clocks_ahead.clone();
        let Some(leader) = self.role.as_leader_mut() else { return };
        let candidates = leader
            .progress
            .iter()
            .filter(|(node, progress)| voters.contains(node) && progress.silent_ticks < patience);
        let most_advanced = candidates.max_by_key(|(node, progress)| {
            (progress.disk_full.is_none(), !ahead.contains(node), progress.match_index)
        });
        let Some((to, _)) = most_advanced.filter(|_| leader.transfer.is_none()) else { return };
        let to = *to;
        leader.transfer = Some(LeadershipTransfer { to, asked: false, elapsed: 0 });
        self.notice(Notice::TransferStarted { to });
        self.maybe_hand_over();
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
