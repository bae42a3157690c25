//! What a node's connections do in production: two processes judge each other before either hears the
//! other, and a node that is less than another remembers of it takes no further part.
//!
//! There are no connections here. The hello of two processes is where the first message between them
//! arrives: at once, and for both.

use super::World;
use crate::raft::{Heard, Loss, Message, Standing};
use crate::replica::{self, Contradiction};
use crate::sim::laws::{LawName, What};
use crate::sim::machine::{Process, ProcessId};
use crate::sim::time::Time;
use crate::types::NodeId;

/// How long a process takes to set aside what it has and to begin anew.
pub(super) const BEGINS_ANEW_AFTER: Time = Time::from_millis(100);

impl World {
    /// Whether a message of `from` is heard by the process that runs at `to`.
    pub(super) fn hears(&mut self, from: ProcessId, to: NodeId, message: &Message) -> bool {
        if self.is_stranger(from, to) || !self.have_met(from, to) {
            return false;
        }
        let Some(receiver) = &mut self.machine_mut(to).process else { return false };
        let claimed = receiver.replica.raft().claimed(message);
        match receiver.memory.hear(from.0, from.1, claimed) {
            Heard::First => {
                let store = receiver.memory.new_store(from.0);
                self.input(to, replica::Event::Restarted { peer: from.0, store });
                true
            }
            Heard::Again => true,
            Heard::Former => false,
        }
    }

    /// Whether two processes have met; now they do, unless one of them is refused.
    pub(super) fn have_met(&mut self, from: ProcessId, to: NodeId) -> bool {
        let Some(receiver) = self.process(to) else { return false };
        if receiver.memory.has_met(from.0, from.1) {
            return true;
        }
        // What a dead process left behind is heard by those who knew it.
        let sender = self.process(from.0);
        let Some(sender) = sender.filter(|process| process.incarnation == from.1) else {
            return false;
        };
        let is_plausible = receiver.memory.is_plausible(&sender.standing)
            && sender.memory.is_plausible(&receiver.standing);
        if !is_plausible {
            let what = format!("{} and {to} are in terms that cannot be", from.0);
            self.violate(LawName::Assertion, what);
            return false;
        }
        let judged = judge(receiver, from.0, sender).map_err(|loss| (from.0, to, loss));
        let judged =
            judged.and_then(|()| judge(sender, to, receiver).map_err(|loss| (to, from.0, loss)));
        if let Err((refused, by, loss)) = judged {
            self.expel(refused, by, &loss);
            return false;
        }
        let (first, second) = (sender.standing.clone(), receiver.standing.clone());
        self.meet(to, from.0, &first);
        self.meet(from.0, to, &second);
        true
    }

    fn meet(&mut self, node: NodeId, other: NodeId, shown: &Standing) {
        if let Some(process) = &mut self.machine_mut(node).process {
            process.memory.meet(other, &shown.lineage);
        }
    }

    /// A node is told that it is not what it was: it begins anew.
    fn expel(&mut self, node: NodeId, by: NodeId, loss: &Loss) {
        self.trace.text(self.now, node, || format!("is not what {by} remembers of it: {loss}"));
        let machine = self.machine_mut(node);
        if !machine.lost {
            let what = format!("{node} is refused by {by}, and has lost nothing: {loss}");
            self.violate(LawName::Identity, what);
        }
        self.end_refused(node);
    }

    /// A node hears what contradicts what it has, and ends (exit 6). Nothing here may lead to that.
    pub(super) fn on_contradiction(&mut self, node: NodeId, found: &Contradiction) {
        self.violate(
            LawName::Assertion,
            format!("{node} and another node contradict each other: {found}"),
        );
        self.end_refused(node);
    }

    fn end_refused(&mut self, node: NodeId) {
        let machine = self.machine_mut(node);
        machine.process = None;
        machine.is_put_back = false;
        machine.begins_anew = true;
        self.counts.refusals += 1;
        self.look(What::Refused { node });
        self.after_end(node, Some(BEGINS_ANEW_AFTER));
    }

    /// The memory's share of a tick.
    pub(super) fn tick_memory(&mut self, node: NodeId) {
        let running: Vec<ProcessId> = self
            .machines
            .iter()
            .filter_map(|machine| Some((machine.id, machine.process.as_ref()?.incarnation)))
            .collect();
        if let Some(process) = &mut self.machine_mut(node).process {
            let term = process.replica.raft().current_term();
            process.memory.tick(term, |other, start| running.contains(&(other, start)));
        }
    }
}

/// Whether `judge` takes the process `shown` for the node that it remembers.
fn judge(judge: &Process, node: NodeId, shown: &Process) -> Result<(), Loss> {
    judge.memory.judge(node, &shown.standing)
}
