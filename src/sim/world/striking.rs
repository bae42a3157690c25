//! Faults strike, and end.

use std::collections::BTreeSet;

use super::World;
use crate::replica;
use crate::sim::faults::{FaultKind, RegistryFailing};
use crate::sim::laws::What;
use crate::sim::queue::Event;
use crate::sim::time::Time;
use crate::store::Failing;
use crate::types::NodeId;

impl World {
    /// The next fault of the list.
    pub(super) fn strike(&mut self, number: usize) {
        if self.calm {
            return;
        }
        let kind = self.faults[number].kind.clone();
        self.counts.note(kind.class());
        let now = self.now;
        match kind {
            FaultKind::Crash { node, down } => self.kill(node, false, Some(down)),
            FaultKind::LeaderCrash { down } => {
                if let Some(leader) = self.leader() {
                    self.kill(leader, false, Some(down));
                }
            }
            FaultKind::LeaderCut { friends, length } => {
                if let Some(leader) = self.leader() {
                    let others = self.options.cluster.all_but(leader).into_iter();
                    let rest = others.skip(friends).collect();
                    self.network.cut(number, BTreeSet::from([leader]), rest, true);
                    self.queue.push(now + length, Event::Heal { number });
                }
            }
            FaultKind::Stop { node, down } => self.stop(node, down),
            FaultKind::MidWrite { node, operations, power, down } => {
                self.arm(node, operations, power, down);
            }
            FaultKind::PowerCut { nodes, down } => {
                let mut down = down;
                for node in nodes {
                    self.kill(node, true, Some(down));
                    down = down + Time::from_millis(1) + self.chance.around(down);
                }
            }
            FaultKind::Pause { node, length } => self.pause(node, length),
            FaultKind::Cut { from, to, both_ways, length } => {
                self.network.cut(number, from, to, both_ways);
                self.queue.push(now + length, Event::Heal { number });
            }
            FaultKind::Clog { from, to, length } => self.network.clog(from, to, now + length),
            FaultKind::Stall { node, length } => self.machine_mut(node).stall = length,
            FaultKind::Full { node, room, length } => {
                self.machine_mut(node).disk.memory.leave_room(room);
                self.queue.push(now + length, Event::Heal { number });
            }
            FaultKind::SyncFails { node } => {
                let machine = self.machine_mut(node);
                machine.disk_fails = true;
                machine.disk.memory.fail_sync_once();
            }
            FaultKind::Io { node, writes } => {
                let machine = self.machine_mut(node);
                machine.disk_fails = true;
                let failing = if writes { Failing::Writes } else { Failing::Reads };
                machine.disk.memory.fail_from_now_on(failing);
            }
            FaultKind::Rot { node } => self.rot(node),
            FaultKind::PutBack { node, earlier, after } => self.keep_copy(node, earlier, after),
            FaultKind::ClockJump { node, ahead_ms } => {
                self.machine_mut(node).clock_ahead_ms = ahead_ms;
            }
            FaultKind::Handover { node } => self.input(node, replica::Event::Transfer),
            FaultKind::Members { wanted, patience, starts } => {
                self.begin_errand(wanted, patience, starts);
            }
            FaultKind::RegistryCrash { power, down } => self.kill_registry(power, down),
            FaultKind::RegistryDisk { failing } => match failing {
                RegistryFailing::Sync => self.registrar.disk.fail_sync_once(),
                RegistryFailing::Writes => {
                    self.registrar.disk.fail_from_now_on(Failing::Writes);
                }
                RegistryFailing::Full { length } => {
                    self.registrar.disk.leave_room(0);
                    self.queue.push(now + length, Event::Heal { number });
                }
            },
            FaultKind::ClientDies { client } => {
                self.network.close_streams_of(client);
                self.clients[client].die();
                self.schedule_poll(client);
                self.act_for_client(client);
            }
            FaultKind::FlowsDie { client } => self.kill_flows(client),
            FaultKind::ClientCut { client, node, length } => {
                if let Some(node) = node.or_else(|| self.leader()) {
                    self.network.cut_client(number, client, node);
                    self.queue.push(now + length, Event::Heal { number });
                }
            }
            FaultKind::ClientPause { client, length } => {
                self.clients[client].paused_until = now + length;
            }
        }
    }

    /// What a client has by way of connections passes nothing any more.
    pub(super) fn kill_flows(&mut self, client: usize) {
        for node in self.options.cluster.all() {
            let through = self.clients[client].link(node);
            self.network.kill_links(client, node, through);
        }
    }

    /// Who leads the highest term.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let leads = self.machines.iter().filter_map(|machine| {
            let raft = machine.process.as_ref()?.replica.raft();
            raft.role().as_leader().map(|_| (raft.current_term(), machine.id))
        });
        leads.max().map(|(_, node)| node)
    }

    /// A fault that lasts is over.
    pub(super) fn heal(&mut self, number: usize) {
        match self.faults[number].kind {
            FaultKind::Full { node, .. } => self.machine_mut(node).disk.memory.make_room(),
            FaultKind::RegistryDisk { .. } => self.registrar.disk.make_room(),
            _ => {}
        }
        self.network.heal(number);
    }

    fn arm(&mut self, node: NodeId, operations: u64, power: bool, down: Time) {
        let machine = self.machine_mut(node);
        match &mut machine.process {
            Some(process) => {
                process.dies_mid_write = Some((power, down));
                machine.disk.memory.fail_after(operations);
            }
            None => machine.dies_at_start = Some(operations),
        }
    }

    fn pause(&mut self, node: NodeId, length: Time) {
        let until = self.now + length;
        let machine = self.machine_mut(node);
        let Some(process) = &machine.process else { return };
        let incarnation = process.incarnation;
        machine.paused_until = Some(until);
        self.queue.push(until, Event::Resume { node, incarnation });
    }

    /// What a disk holds rots while the node is down, unless that would be one too many.
    fn rot(&mut self, node: NodeId) {
        let minority = self.machines.len() - self.options.cluster.quorum();
        let machine = self.machine(node);
        let is_too_much = !self.options.faults.beyond_the_promise && self.lost() >= minority;
        if machine.lost || is_too_much || self.is_anybody_untold() {
            return;
        }
        self.kill(node, false, Some(Time::from_millis(200)));
        let place = Self::place(node);
        let before = self.machines[place].disk.memory.duplicate();
        let chance = &mut self.chance;
        let rot = self.machines[place].disk.memory.rot(&mut |bound| chance.below(bound));
        if let Some(rot) = rot {
            self.trace.text(self.now, node, || rot.to_string());
            self.machines[place].lost = true;
            self.machines[place].before_rot = Some(before);
            self.machines[place].rotten = rot.segment.into_iter().collect();
            self.counts.rotten += 1;
        }
        self.look(What::Disk { node });
    }
}
