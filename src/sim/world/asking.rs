//! Nodes that lost their stores, and ask whether the others can do without what is left of them, as running
//! nodes do it (`node::waiting`); and what people do where the others cannot: they put folders right.

use std::collections::BTreeMap;

use super::World;
use crate::limits;
use crate::marks::{Mark, hit};
use crate::replica::Poll;
use crate::sim::laws::{LawName, What};
use crate::sim::time::Time;
use crate::store;
use crate::types::NodeId;
use crate::wire::soundness::Soundness;

impl World {
    /// When a node asks again that lost its store, if it must not begin anew now.
    pub(super) fn must_wait(&mut self, node: NodeId) -> Option<Time> {
        let machine = self.machine(node);
        // What was begun is gone on with.
        if !machine.begins_anew || store::began_anew_in(&machine.disk.memory).unwrap_or(false) {
            return None;
        }
        let poll = self.poll(node);
        if poll.can_do_without() {
            return None;
        }
        hit(Mark::WaitedToBeginAnew);
        self.trace.text(self.now, node, || format!("keeps what it has and waits: {poll}"));
        Some(self.now + Time::of(limits::SOUNDNESS_INTERVAL))
    }

    fn poll(&self, node: NodeId) -> Poll {
        let others = self.options.cluster.all_but(node).into_iter();
        let answers = others.map(|other| (other, self.answer_to(node, other)));
        Poll::new(node, answers.collect::<BTreeMap<_, _>>())
    }

    fn answer_to(&self, node: NodeId, other: NodeId) -> Option<Soundness> {
        if self.is_parted(node, other) || self.is_paused(other) {
            return None;
        }
        let Some(process) = self.process(other) else {
            return self.machine(other).begins_anew.then(Soundness::damaged);
        };
        Some(Soundness::of(&process.replica, process.reader.damaged().is_empty()))
    }

    /// A node begins anew: of all that did, and do not vote yet, there is a minority.
    pub(super) fn judge_who_begins_anew(&mut self, node: NodeId) {
        let given_up = self.machines.iter().filter(|machine| machine.is_refilling).count();
        let minority = self.machines.len() - self.options.cluster.quorum();
        if given_up > minority {
            let what = format!(
                "{node} begins anew, and {given_up} nodes have set aside what they promised: nobody can be \
                 elected any more"
            );
            self.violate(LawName::MajorityKept, what);
        }
    }

    /// Too many folders are damaged: somebody puts back as many as are needed, of those that are as they were
    /// when they were damaged. Says whether there are enough.
    pub(super) fn put_right(&mut self) -> bool {
        let minority = self.machines.len() - self.options.cluster.quorum();
        while self.lost() > minority && self.violations.is_empty() {
            let machines = self.machines.iter();
            let could = machines.filter(|machine| machine.lost && machine.before_rot.is_some());
            let could: Vec<NodeId> = could.map(|machine| machine.id).collect();
            if could.is_empty() {
                return false;
            }
            let node = self.chance.one_of(&could);
            self.kill(node, false, None);
            self.trace.text(self.now, node, || "its folder is put right".to_owned());
            let machine = self.machine_mut(node);
            let Some(before) = machine.before_rot.take() else { return false };
            machine.disk.memory.put_back(&before);
            // What was written when the disk rotted, and not synced, may have been synced since.
            machine.disk.memory.sync();
            machine.lost = false;
            machine.begins_anew = false;
            machine.rotten.clear();
            self.counts.put_right += 1;
            self.look(What::Disk { node });
        }
        self.violations.is_empty()
    }
}
