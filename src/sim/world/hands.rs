//! What a scenario of the lab does to a world by hand, and what it asks of it.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::World;
use crate::sim::codec::bytes_of;
use crate::sim::laws::{Violation, What};
use crate::sim::model::RecordHash;
use crate::sim::network::Traffic;
use crate::sim::options::{Options, Slowness};
use crate::sim::queue::Event;
use crate::sim::random::{Purpose, Random};
use crate::sim::sim_client::SimClient;
use crate::sim::time::Time;
use crate::types::{ClientId, NodeId, Seq};
use crate::wire::api::{AppendReply, AppendRun, Appended};

/// What it is like, and what happened.
impl World {
    pub(in crate::sim) fn seed(&self) -> u64 {
        self.seed
    }

    pub(in crate::sim) fn now(&self) -> Time {
        self.now
    }

    pub(in crate::sim) fn options(&self) -> &Options {
        &self.options
    }

    pub(in crate::sim) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(in crate::sim) fn traffic(&self) -> Traffic {
        self.network.traffic
    }

    /// How many times a node's process was started.
    pub(in crate::sim) fn starts(&self, node: NodeId) -> u64 {
        self.machine(node).starts
    }

    /// Judges what the clients saw: all that was committed is known.
    pub(in crate::sim) fn judge_whole_history(&mut self) {
        self.is_whole = true;
        self.judge_history();
    }
}

/// Nodes, disks and the network.
impl World {
    /// The power of a node fails, and it stays down.
    pub(in crate::sim) fn fell(&mut self, node: NodeId) {
        self.kill(node, true, None);
    }

    /// A node that is down is started now.
    pub(in crate::sim) fn raise(&mut self, node: NodeId) {
        self.machine_mut(node).start_at = Some(self.now);
        self.queue.push(self.now, Event::Start { node });
    }

    /// Messages between these are lost, until the cut with this number heals.
    pub(in crate::sim) fn cut(
        &mut self,
        number: usize,
        node: NodeId,
        others: BTreeSet<NodeId>,
        both_ways: bool,
    ) {
        self.network.cut(number, BTreeSet::from([node]), others, both_ways);
    }

    pub(in crate::sim) fn heal_cut(&mut self, number: usize) {
        self.network.heal(number);
    }

    /// From now on so many of a million messages between nodes are lost, repeated and overtaken.
    pub(in crate::sim) fn set_rates(&mut self, loss: u32, repeat: u32, reorder: u32) {
        self.network.set_rates(loss, repeat, reorder);
    }

    /// From now on these disks are slow.
    pub(in crate::sim) fn slow_down(&mut self, slowness: Slowness) {
        self.options.disks.slowness = Some(slowness);
    }

    /// Others take all of a disk but so many bytes.
    pub(in crate::sim) fn leave_room(&mut self, node: NodeId, bytes: u64) {
        self.machine(node).disk.memory.leave_room(bytes);
    }

    pub(in crate::sim) fn make_room(&mut self, node: NodeId) {
        self.machine(node).disk.memory.make_room();
    }
}

/// Clients.
impl World {
    pub(in crate::sim) fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Another client, which does only what it is told.
    pub(in crate::sim) fn add_client(&mut self) -> usize {
        let number = self.clients.len();
        let random = Random::new(number as u64, Purpose::Workload);
        let mut client = SimClient::new(number, &self.options, random);
        client.finish();
        self.clients.push(client);
        self.schedule_poll(number);
        number
    }

    /// A client begins to append a record.
    pub(in crate::sim) fn append(&mut self, client: usize, record: &str) {
        let records = vec![Bytes::copy_from_slice(record.as_bytes())];
        self.clients[client].append(self.now, records);
        self.act_for_client(client);
    }

    /// Whether a client has the answers to all that it has appended.
    pub(in crate::sim) fn is_answered(&self, client: usize) -> bool {
        self.clients[client].is_idle()
    }

    /// A client begins to read.
    pub(in crate::sim) fn read(&mut self, client: usize) {
        self.clients[client].want_read();
        self.act_for_client(client);
        self.schedule_poll(client);
    }

    /// Whether a client was shown what it wanted to read.
    pub(in crate::sim) fn has_read(&self, client: usize) -> bool {
        self.clients[client].reads_served() > 0
    }

    /// Hands a request to a node that runs, over a client's connection; the client does not know of it.
    pub(in crate::sim) fn hand_in(
        &mut self,
        (client, node): (usize, NodeId),
        run: &AppendRun,
        records: &[Bytes],
    ) {
        let Some(process) = self.process(node) else { return };
        let incarnation = process.incarnation;
        let hashes = RecordHash::of_all(records);
        self.history.append(self.now.micros(), (run.client, run.seqs.first), hashes);
        let client = (client, self.clients[client].life);
        let stream = self.network.open(self.now, client, (node, incarnation), (1, false));
        self.pass(stream, bytes_of(&run.to_frame(records)), true);
    }

    /// The answers to appends that came to clients, known to them or not. Empty after.
    pub(in crate::sim) fn take_heard(&mut self) -> Vec<AppendReply> {
        std::mem::take(&mut self.heard)
    }

    /// Tells the laws and the history that a request that was handed in is acknowledged.
    pub(in crate::sim) fn acknowledge(&mut self, client: ClientId, seq: Seq, appended: Appended) {
        self.history.acknowledged(self.now.micros(), (client, seq), appended);
        self.look(What::Acknowledged { client, seq, appended });
    }
}
