//! Changes of members: what somebody wants, asked of whoever leads until it is so. Several may want different
//! things at once.
//!
//! A node that joins gets a new store, as `annal cluster add` writes it; one that was removed is told by
//! those who know, and ends.

use std::collections::BTreeSet;

use super::World;
use crate::members::{MemberChange, MemberReply};
use crate::raft::{Belonging, Configuration};
use crate::replica::Replica;
use crate::sim::codec::CLUSTER;
use crate::sim::faults::Wanted;
use crate::sim::laws::What;
use crate::sim::machine::{Machine, ProcessId};
use crate::sim::queue::Event;
use crate::sim::time::Time;
use crate::store::{self, Identity, MemoryDisk};
use crate::types::{Index, NodeId};

/// Until it is asked again, about.
const ASKS_AGAIN: Time = Time::from_millis(60);

/// Until one that ended is started again.
const STARTED_AGAIN: Time = Time::from_millis(100);

/// Somebody wants the members to be changed.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Errand {
    wanted: Wanted,
    /// For how long.
    until: Time,
    /// The members that it has seen.
    as_of: Index,
}

impl World {
    pub(super) fn begin_errand(&mut self, wanted: Wanted, patience: Time, starts: Option<Time>) {
        if let Wanted::Join { node, .. } = wanted {
            self.prepare(node, starts);
        }
        let number = self.errands.len();
        let (until, as_of) = (self.now + patience, Index::ZERO);
        self.errands.push(Errand { wanted, until, as_of });
        self.on_errand(number);
    }

    /// A node that is no member gets a new store, and is started, maybe.
    fn prepare(&mut self, node: NodeId, starts: Option<Time>) {
        let is_member =
            self.possible_configurations().iter().any(|it| it.members().contains(&node));
        let place = Self::place(node);
        if is_member || self.machine(node).is_up() {
            return;
        }
        if self.machine(node).is_out {
            let disk = MemoryDisk::new();
            let identity = Identity { cluster: CLUSTER, node };
            let options = self.store_options(place);
            let founders = self.options.cluster.founders();
            store::begin_anew_in(&disk, identity, &founders, &options)
                .expect("a new disk takes a new store");
            let machine = &mut self.machines[place];
            machine.disk.memory.put_back(&disk);
            machine.told = Index::ZERO;
            machine.is_out = false;
            // The next start is another than the one that made the store.
            machine.starts += 1;
            self.counts.joined += 1;
            self.trace.text(self.now, node, || "has a new store, to join".to_owned());
            self.look(What::BegunAnew { node });
            self.look(What::Disk { node });
        }
        if let Some(after) = starts {
            let at = self.now + after;
            self.machine_mut(node).start_at = Some(at);
            self.queue.push(at, Event::Start { node });
        }
    }

    /// Asks whoever leads, unless it is so.
    pub(super) fn on_errand(&mut self, number: usize) {
        let Errand { wanted, until, as_of } = self.errands[number];
        if self.calm || self.now >= until {
            return;
        }
        let again = self.now + Time::from_millis(1) + self.chance.around(ASKS_AGAIN);
        self.queue.push(again, Event::Errand { number });
        let Some(leader) = self.leader().filter(|leader| !self.is_paused(*leader)) else { return };
        let change = change_of(wanted, leader);
        let Some(process) = &mut self.machine_mut(leader).process else { return };
        let reply = process.replica.change_members(as_of, &change);
        let seen = process.replica.raft().log().configuration_index();
        self.trace.text(self.now, leader, || format!("is asked for {change:?}: {reply:?}"));
        let errand = &mut self.errands[number];
        errand.as_of = seen;
        if let Wanted::Leave { node } = &mut errand.wanted {
            // Whoever led then, and not each that leads later.
            node.get_or_insert(leader);
        }
        if reply == MemberReply::IsSo {
            errand.until = self.now;
        }
        self.wake(leader);
    }

    /// What a node knows of the members is known from now on.
    ///
    /// Where only nodes that lost their stores come back, those that the cluster began with are meant
    /// throughout: a store that was lost counts as having had everything.
    pub(super) fn note_members(&mut self, node: NodeId) {
        if self.options.cluster.spares == 0 {
            return;
        }
        let Some(process) = self.process(node) else { return };
        let log = process.replica.raft().log();
        let known = log.configurations().iter().rfind(|(at, _)| *at <= log.commit_index());
        if let Some((at, configuration)) = known.filter(|(at, _)| *at > self.configuration.0) {
            self.configuration = (*at, configuration.clone());
        }
    }

    /// The configurations that may be in force, or come to be: the newest that is known to be committed, and
    /// whatever is behind it in any log.
    pub(super) fn possible_configurations(&self) -> Vec<Configuration> {
        let mut all = vec![self.configuration.1.clone()];
        if self.options.cluster.spares > 0 {
            let known = self.configuration.0;
            for machine in self.machines.iter().filter(|machine| !machine.lost) {
                let of = |replica: &Replica| {
                    let log = replica.raft().log().configurations().iter();
                    log.filter(|(at, _)| *at > known).map(|(_, it)| it.clone()).collect()
                };
                let found: Vec<Configuration> = match &machine.process {
                    Some(process) => of(&process.replica),
                    None => self.recovered(machine.id).map_or_else(Vec::new, |it| of(&it)),
                };
                all.extend(found);
            }
        }
        all
    }

    /// What a process would be that is started on a node's disk as it is.
    fn recovered(&self, node: NodeId) -> Option<Replica> {
        let machine = self.machine(node);
        let (_, recovered) = self.opened(node, &machine.disk.memory)?;
        let options = machine.replica_options(&self.options.cluster);
        Replica::recover(options, &recovered, 0).ok()
    }

    /// Whether these can decide, whichever configuration is in force.
    pub(super) fn can_decide(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let mut all = self.possible_configurations().into_iter();
        all.all(|configuration| configuration.is_quorum(|node| nodes.contains(&node)))
    }

    /// Whether a process is a stranger to the one that runs at `to`. If it learns by that that it was
    /// removed, it ends.
    pub(super) fn is_stranger(&mut self, (from, incarnation): ProcessId, to: NodeId) -> bool {
        if self.options.cluster.spares == 0 {
            return false;
        }
        let sender = self.process(from).filter(|process| process.incarnation == incarnation);
        let (Some(sender), Some(receiver)) = (sender, self.process(to)) else { return false };
        let (theirs, ours) = (sender.replica.raft(), receiver.replica.raft());
        if !ours.is_stranger(from, theirs.members_as_of()) {
            return false;
        }
        if theirs.belonging() == Belonging::Member && ours.members_as_of() > theirs.members_as_of()
        {
            self.end_removed(from);
        }
        true
    }

    /// A node that finds in its own log that it was removed ends.
    pub(super) fn end_if_removed(&mut self, node: NodeId) {
        if self.process(node).is_some_and(|process| process.replica.raft().was_removed()) {
            self.end_removed(node);
        }
    }

    /// One that was taken in again before it heard that it was removed is started again by whoever did that:
    /// it reads a little more each time.
    fn end_removed(&mut self, node: NodeId) {
        self.trace.text(self.now, node, || "was removed, and ends".to_owned());
        self.counts.removed += 1;
        let is_member = self.configuration.1.members().contains(&node);
        self.machine_mut(node).is_out = !is_member;
        self.kill(node, false, is_member.then_some(STARTED_AGAIN));
    }

    /// The same of those that ended before they were taken in.
    pub(super) fn start_those_taken_in_again(&mut self) {
        let members = self.configuration.1.members();
        let taken_in = |machine: &&mut Machine| machine.is_out && members.contains(&machine.id);
        self.machines.iter_mut().filter(taken_in).for_each(|machine| machine.is_out = false);
    }
}

fn change_of(wanted: Wanted, leader: NodeId) -> MemberChange {
    let at = |node: NodeId| format!("10.0.0.{}:7100", node.get()).parse().expect("an address");
    match wanted {
        Wanted::Join { node, aim } => MemberChange::Add { node, address: at(node), aim },
        Wanted::Leave { node } => MemberChange::Remove { node: node.unwrap_or(leader) },
        Wanted::Move { node } => MemberChange::Move { node, address: at(node) },
        Wanted::Lead { node } => MemberChange::Transfer { to: Some(node) },
    }
}
