//! A node's folder goes back to an earlier whole state while its process is down, or to what a new
//! node has: an operator's mistake, or a disk that lied about all it was asked since.
//!
//! Nothing in the folder shows it, and so durability is not what is judged: a majority that has nobody
//! who remembers serves without knowing. It is only done where so many of the others remember on their
//! disks that no majority is without one of them, and to one node at a time. Then nothing may come of
//! it: all laws hold for the others, they serve on, and the node is told, begins anew, is filled, and is a
//! voter again.

use super::World;
use super::calm::LOOK_EVERY;
use crate::raft::Standing;
use crate::sim::codec::CLUSTER;
use crate::sim::faults::Earlier;
use crate::sim::laws::{LawName, What};
use crate::sim::queue::Event;
use crate::sim::time::Time;
use crate::store::{self, Identity, MemoryDisk, Recovered, Store};
use crate::types::NodeId;

/// Until the node is started on what was put back.
const DOWN: Time = Time::from_millis(200);

/// If not enough others would remember yet, it is tried again after so long.
const AGAIN: Time = Time::from_millis(250);

impl World {
    /// A copy is made of a node's folder, to be put back later.
    pub(super) fn keep_copy(&mut self, node: NodeId, earlier: Earlier, after: Time) {
        let machine = self.machine_mut(node);
        if machine.lost {
            return;
        }
        if let Earlier::Stopped { down } = earlier {
            self.kill(node, false, Some(down));
        }
        let kept = match earlier {
            Earlier::New => self.new_disk(node),
            Earlier::Stopped { .. } | Earlier::Running => {
                self.machine_mut(node).disk.memory.duplicate()
            }
        };
        self.machine_mut(node).kept = Some(kept);
        self.queue.push(self.now + after, Event::PutBack { node });
    }

    fn new_disk(&self, node: NodeId) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let identity = Identity { cluster: CLUSTER, node };
        let configuration = self.options.cluster.founders();
        let options = self.store_options(Self::place(node));
        store::create_in(&disk, identity, &configuration, &options)
            .expect("a new disk takes a new store");
        disk
    }

    /// The copy is put in the folder's place, as soon as that cannot harm the others.
    pub(super) fn on_put_back(&mut self, node: NodeId) {
        let Some(kept) = self.machine_mut(node).kept.take().filter(|_| !self.calm) else { return };
        if !self.may_be_put_back(node) || !self.would_be_told(node, &kept) {
            self.machine_mut(node).kept = Some(kept);
            return self.queue.push(self.now + AGAIN, Event::PutBack { node });
        }
        self.kill(node, false, Some(DOWN));
        self.trace.text(self.now, node, || "its folder is put back to an earlier state".to_owned());
        let machine = self.machine_mut(node);
        machine.lost = true;
        machine.is_put_back = true;
        machine.disk.memory.put_back(&kept);
        self.counts.put_back += 1;
        self.look(What::Disk { node });
    }

    /// Whether a minority at most is lost then, and nobody else is to be told.
    fn may_be_put_back(&self, node: NodeId) -> bool {
        let minority = self.machines.len() - self.options.cluster.quorum();
        let machine = self.machine(node);
        !machine.lost && self.lost() < minority && !self.is_anybody_untold()
    }

    /// Whether a node was put back that nobody has told of it.
    pub(super) fn is_anybody_untold(&self) -> bool {
        self.untold().is_some()
    }

    fn untold(&self) -> Option<NodeId> {
        let mut machines = self.machines.iter();
        machines.find(|machine| machine.is_put_back).map(|machine| machine.id)
    }

    /// Whether every majority has somebody who remembers more than the copy shows.
    fn would_be_told(&self, node: NodeId, kept: &MemoryDisk) -> bool {
        let Some((store, recovered)) = self.opened(node, kept) else { return false };
        let shown = standing(&store, &recovered);
        let others = self.options.cluster.all_but(node).into_iter();
        let knowing = others.filter(|other| self.knows_better(*other, node, &shown)).count();
        usize::from(self.options.cluster.nodes) - knowing < self.options.cluster.quorum()
    }

    /// Whether a node will know, whatever becomes of its process, that another was more than this.
    fn knows_better(&self, judge: NodeId, node: NodeId, shown: &Standing) -> bool {
        let machine = self.machine(judge);
        if machine.lost {
            return false;
        }
        let disk = machine.disk.memory.duplicate();
        disk.power_cut(&mut |_| 0);
        // NB: not `Memory::judge`, which a known bug (25) silences.
        self.opened(judge, &disk).is_some_and(|(store, _)| {
            let remembered = store.remembered().get(&node);
            remembered.is_some_and(|remembered| remembered.judge(judge, shown).is_err())
        })
    }

    /// The store on a copy of a disk, if it can be opened.
    pub(super) fn opened(&self, node: NodeId, disk: &MemoryDisk) -> Option<(Store, Recovered)> {
        let disk = disk.duplicate();
        disk.restart();
        disk.make_room();
        let identity = Identity { cluster: CLUSTER, node };
        store::open_in(&disk, identity, self.store_options(Self::place(node))).ok()
    }

    /// When a node that was put back is started, if not now: it would be told nothing, for nobody who
    /// remembers is there to be met. It would fetch from others what it has lost, and nothing could
    /// be judged any more.
    pub(super) fn start_of_put_back(&self, node: NodeId) -> Option<Time> {
        let machine = self.machine(node);
        if !machine.is_put_back || self.calm {
            return None;
        }
        let (store, recovered) = self.opened(node, &machine.disk.memory)?;
        let shown = standing(&store, &recovered);
        let mut others = self.options.cluster.all_but(node).into_iter();
        let is_there = |other: NodeId| {
            self.process(other).is_some()
                && !self.is_parted(node, other)
                && self.knows_better(other, node, &shown)
        };
        (!others.any(is_there)).then_some(self.now + AGAIN)
    }

    /// In production whoever starts says hello to everybody whom it reaches.
    pub(super) fn say_hello_if_put_back(&mut self, node: NodeId) {
        if self.machine(node).is_put_back {
            self.connect_to_all(node);
        }
    }

    pub(super) fn is_parted(&self, one: NodeId, other: NodeId) -> bool {
        self.network.is_cut(one, other) || self.network.is_cut(other, one)
    }

    /// Nodes say hello as soon as they are connected, whether or not they have something to say.
    fn connect_to_all(&mut self, node: NodeId) {
        for other in self.options.cluster.all_but(node) {
            if self.is_parted(node, other) {
                continue;
            }
            let process = self.process(other);
            if let Some(incarnation) = process.map(|process| process.incarnation) {
                self.have_met((other, incarnation), node);
            }
        }
    }

    /// Everybody runs and is connected: who was put back learns of it.
    pub(super) fn must_tell(&mut self) {
        let end = self.now + self.bound();
        while let Some(node) = self.untold().filter(|_| self.violations.is_empty()) {
            if self.now >= end {
                let what = format!("{node} was put back to an earlier state, and nobody tells it");
                return self.violate(LawName::Identity, what);
            }
            if !self.machine_mut(node).is_up() {
                self.revive(node);
            }
            self.connect_to_all(node);
            self.run_until(self.now + LOOK_EVERY);
        }
    }
}

/// What a process shows of the store that it found.
pub(super) fn standing(store: &Store, recovered: &Recovered) -> Standing {
    Standing {
        lineage: store.lineage().clone(),
        hard_state: recovered.hard_state,
        last: recovered.report.last,
    }
}
