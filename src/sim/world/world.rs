//! The world of a run: all that is in it, and the loop that lets time pass.

use super::errands::Errand;
use crate::raft::Configuration;
use crate::sim::codec::CLUSTER;
use crate::sim::faults::Fault;
use crate::sim::guard::Guard;
use crate::sim::history::History;
use crate::sim::keeper::Keeper;
use crate::sim::laws::{self, Law, LawName, Moment, NodeView, Violation, What};
use crate::sim::machine::{Machine, Process};
use crate::sim::maker::Maker;
use crate::sim::network::Network;
use crate::sim::options::{Options, node};
use crate::sim::queue::{Event, Queue};
use crate::sim::random::{Purpose, Random};
use crate::sim::registrar::Registrar;
use crate::sim::report::{Counts, Report};
use crate::sim::sim_client::SimClient;
use crate::sim::time::Time;
use crate::sim::trace::Trace;
use crate::store::{self, Identity, MemoryDisk};
use crate::types::{Incarnation, Index, NodeId};
#[cfg(test)]
use crate::wire::api::AppendReply;

/// Clients that may be a producer, the first of those that append under conditions.
const MAKERS: usize = 2;

/// All there is.
pub(in crate::sim) struct World {
    pub(super) seed: u64,
    pub(super) options: Options,
    pub(super) faults: Vec<Fault>,
    pub(super) now: Time,
    pub(super) queue: Queue,
    pub(super) machines: Vec<Machine>,
    pub(super) network: Network,
    pub(super) clients: Vec<SimClient>,
    pub(super) registrar: Registrar,
    /// For what disks do.
    pub(super) chance: Random,
    pub(super) laws: Vec<Box<dyn Law>>,
    /// What clients did, for the checker at the end.
    pub(super) history: History,
    /// Everybody agreed at the end: what no node has shown as committed is not.
    pub(super) is_whole: bool,
    pub(super) violations: Vec<Violation>,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    /// What somebody wants of the members.
    pub(super) errands: Vec<Errand>,
    /// The newest configuration that anybody knows to be committed, and its entry.
    pub(super) configuration: (Index, Configuration),
    /// Faults are over: nothing goes wrong any more.
    pub(super) calm: bool,
    /// The answers to appends that came to clients.
    #[cfg(test)]
    pub(super) heard: Vec<AppendReply>,
}

impl World {
    /// A cluster that has never run.
    pub(in crate::sim) fn new(
        seed: u64,
        options: Options,
        faults: Vec<Fault>,
        trace: Trace,
    ) -> Self {
        let network = Network::new(options.network.clone(), Random::new(seed, Purpose::Network));
        let mut workload = Random::new(seed, Purpose::Workload);
        let clients = (0..options.workload.clients)
            .map(|number| {
                let draw = workload.number();
                let random = Random::new(draw, Purpose::Workload);
                let client = SimClient::new(number, &options, random);
                if number + options.workload.keepers >= options.workload.clients {
                    let random = Random::new(draw, Purpose::Logs);
                    return client.keeping(Keeper::new(random, options.workload.is_tidy));
                }
                if number >= options.workload.guarded {
                    return client;
                }
                let mut random = Random::new(draw, Purpose::Guard);
                if number < MAKERS && random.coin() {
                    return client.producing(Maker::new());
                }
                client.guarded(Guard::new(random))
            })
            .collect();
        let machines = options
            .cluster
            .all()
            .into_iter()
            .map(|id| Machine::new(seed, id, MemoryDisk::new(), &options))
            .collect();
        let mut world = Self {
            seed,
            faults,
            now: Time::ZERO,
            queue: Queue::default(),
            machines,
            network,
            clients,
            registrar: Registrar::default(),
            chance: Random::new(seed, Purpose::Disk),
            laws: laws::all(),
            history: History::default(),
            is_whole: false,
            violations: vec![],
            trace,
            counts: Counts::default(),
            errands: vec![],
            configuration: (Index::ZERO, options.cluster.founders()),
            calm: false,
            #[cfg(test)]
            heard: vec![],
            options,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let configuration = self.options.cluster.founders();
        for place in 0..self.machines.len() {
            let machine = &self.machines[place];
            let identity = Identity { cluster: CLUSTER, node: machine.id };
            let options = self.store_options(place);
            let is_out = machine.is_out;
            store::create_in(&machine.disk.memory, identity, &configuration, &options)
                .expect("a new disk takes a new store");
            if !is_out {
                self.start(place);
            }
        }
        self.start_registry();
        for client in 0..self.clients.len() {
            self.schedule_poll(client);
        }
        for number in 0..self.faults.len() {
            self.queue.push(self.faults[number].at, Event::Fault { number });
        }
    }

    /// The options of the next start.
    pub(super) fn store_options(&self, place: usize) -> store::Options {
        let start = Incarnation::new(self.machines[place].starts + 1);
        store::Options { journal_file_bytes: self.options.disks.journal_file_bytes, start }
    }

    /// The storm, the calm after it, and the judgement.
    pub(in crate::sim) fn run(&mut self) {
        self.run_until(self.options.faults.storm);
        if self.violations.is_empty() {
            self.recover();
        }
        if self.violations.is_empty() {
            self.judge_history();
        }
    }

    /// Lets time pass until `end`, or until a law is broken.
    pub(in crate::sim) fn run_until(&mut self, end: Time) {
        while self.violations.is_empty() {
            let Some((at, event)) = self.queue.pop_until(end) else { break };
            assert!(at >= self.now, "time went back");
            self.now = at;
            self.counts.events += 1;
            self.handle(event);
        }
        if self.violations.is_empty() {
            self.now = self.now.max(end);
        }
    }

    fn handle(&mut self, event: Event) {
        self.trace.event(self.now, &event);
        match event {
            Event::Tick { node, incarnation } => self.on_tick(node, incarnation),
            Event::Wake { node, incarnation } => self.on_wake(node, incarnation),
            Event::DiskDone { node, incarnation, write } => {
                self.on_disk_done(node, incarnation, write);
            }
            Event::KeepUp { node, incarnation } => self.on_keep_up(node, incarnation),
            Event::UpkeepDone { node, incarnation, chore } => {
                self.on_upkeep_done(node, incarnation, chore);
            }
            Event::Fetched { node, incarnation, to, prev_log_id, last } => {
                self.on_fetched((node, incarnation), to, prev_log_id, last);
            }
            Event::Peer { from, to, bytes } => self.on_peer(from, to, &bytes),
            Event::Question { caller, node, bytes } => self.on_question(caller, node, &bytes),
            Event::Index { behind, bytes } => self.on_index(behind, &bytes),
            Event::Answer { caller, bytes } => self.on_answer(caller, &bytes),
            Event::ToNode { stream, bytes } => self.on_frame_to_node(stream, &bytes),
            Event::ToLeader { stream, bytes } => self.on_frame_to_leader(stream, &bytes),
            Event::ToClient { stream, bytes } => self.on_frame_to_client(stream, &bytes),
            Event::StreamEnds { stream } => self.on_stream_ends(stream),
            Event::AskRegistry { asker, bytes } => self.on_ask_registry(asker, &bytes),
            Event::RegistrySynced { start } => self.on_registry_synced(start),
            Event::RegistryAnswers { asker, bytes } => self.on_registry_answers(asker, &bytes),
            Event::RegistryStarts => self.start_registry(),
            Event::Poll { client, life } => self.on_poll(client, life),
            Event::Fault { number } => self.strike(number),
            Event::Errand { number } => self.on_errand(number),
            Event::PutBack { node } => self.on_put_back(node),
            Event::Start { node } => self.on_start(node),
            Event::Resume { node, incarnation } => self.on_resume(node, incarnation),
            Event::Heal { number } => self.heal(number),
        }
    }

    /// What the clients saw, now that it is over.
    pub(super) fn judge_history(&mut self) {
        let history = std::mem::take(&mut self.history);
        self.look(What::Finished { history: &history, whole: self.is_whole });
    }

    /// What the run came to. Its faults and marks are for whoever planned it to say.
    pub(in crate::sim) fn into_report(mut self) -> Report {
        self.counts.traffic = self.network.traffic;
        let (trace_hash, lines) = self.trace.finish();
        Report {
            seed: self.seed,
            violations: self.violations,
            simulated: self.now,
            counts: self.counts,
            trace_hash,
            lines,
            faults: vec![],
            marks: vec![],
        }
    }

    /// Shows the laws what has happened.
    pub(super) fn look(&mut self, what: What<'_>) {
        if let What::Started { node, .. } | What::Ended { node } | What::Disk { node } = what {
            self.machines[Self::place(node)].disk.changed();
        }
        let nodes: Vec<NodeView<'_>> = self
            .machines
            .iter()
            .map(|machine| NodeView {
                id: machine.id,
                replica: machine.process.as_ref().map(|process| &process.replica),
                platter: &machine.disk,
                lost: machine.lost,
            })
            .collect();
        let configuration = &self.configuration.1;
        let changing = self.options.cluster.spares > 0;
        let now = self.now.micros();
        let moment = Moment { now, what, nodes: &nodes, configuration, changing };
        for law in &mut self.laws {
            self.counts.laws_evaluated += 1;
            if let Err(what) = law.look(&moment) {
                self.violations.push(Violation { law: law.name(), what });
            }
        }
    }

    /// Notes a broken law that is judged here.
    pub(in crate::sim) fn violate(&mut self, law: LawName, what: String) {
        self.violations.push(Violation { law, what });
    }

    pub(super) fn place(node: NodeId) -> usize {
        usize::from(node.get()) - 1
    }

    pub(super) fn machine(&self, node: NodeId) -> &Machine {
        &self.machines[Self::place(node)]
    }

    pub(super) fn machine_mut(&mut self, node: NodeId) -> &mut Machine {
        &mut self.machines[Self::place(node)]
    }

    /// The process of a node, if it runs.
    pub(in crate::sim) fn process(&self, node: NodeId) -> Option<&Process> {
        self.machine(node).process.as_ref()
    }

    pub(super) fn at(place: usize) -> NodeId {
        node(u16::try_from(place + 1).expect("few nodes"))
    }

    /// How many machines are lost.
    pub(super) fn lost(&self) -> usize {
        self.machines.iter().filter(|machine| machine.lost).count()
    }
}
