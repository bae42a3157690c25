//! The verbs of the scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use bytes::Bytes;

use crate::marks;
use crate::raft::{Raft, RaftLog};
use crate::sim::machine::Process;
use crate::sim::network::Traffic;
use crate::sim::options::{Options, Slowness};
use crate::sim::random::{Purpose, Random};
use crate::sim::time::Time;
use crate::sim::trace::Trace;
use crate::sim::world::World;
use crate::types::{ClientId, Index, LogNumber, NodeId, Seq, SeqRange, Term};
use crate::wire::api::AppendRun;
use crate::wire::conditions::Conditions;

/// The longest election timeout.
pub(super) const TIMEOUT: Time = Time::from_millis(300);

/// A quorum that hears each other has a leader that serves after so long at most: its timers run
/// out, and a few times two of them at once.
pub(super) const ELECTION: Time = TIMEOUT.times(4);

/// A leader's heartbeat has come, and an answer has gone, after so long.
pub(super) const HEARD: Time = Time::from_millis(50);

/// And then a client has found it and got an answer after so long.
pub(super) const SERVED: Time = Time::from_millis(300 * 4 + 1000);

/// All agree after so long when everything is healed, and after so many syncs of the slowest disk.
const AGREED: Time = TIMEOUT.times(20);
const AGREED_SYNCS: u64 = 20;

/// How often a condition is looked at.
const STEP: Time = Time::from_millis(1);

/// The identities of clients that hand in one record and listen to nothing are above this.
const BY_HAND: u128 = 1 << 120;

/// Plays a scenario in worlds that differ in everything that is left to chance.
pub(super) fn in_worlds(nodes: u16, seeds: u64, scenario: impl FnMut(&mut Lab)) {
    in_worlds_of(&Options::quiet(nodes), seeds, scenario);
}

/// The same, in worlds like this.
pub(super) fn in_worlds_of(options: &Options, seeds: u64, mut scenario: impl FnMut(&mut Lab)) {
    marks::take();
    for seed in 1..=seeds {
        let mut lab = Lab::new(seed, options.clone());
        scenario(&mut lab);
        lab.close();
    }
}

/// See the module.
pub(super) struct Lab {
    world: World,
    /// Nodes that no other hears.
    cut_off: BTreeSet<NodeId>,
    /// For what a scenario leaves to chance.
    pub(super) chance: Random,
    /// The records that clients append who do not give up.
    asked: Vec<String>,
    /// The records that were handed in once.
    handed_in: BTreeSet<String>,
}

/// Time.
impl Lab {
    /// The first of the clients that look for the leader by themselves.
    pub(super) const CLERK: usize = 0;

    pub(super) fn new(seed: u64, options: Options) -> Self {
        let chance = Random::new(seed, Purpose::Faults);
        let world = World::new(seed, options, vec![], Trace::new(false));
        let (cut_off, handed_in) = (BTreeSet::new(), BTreeSet::new());
        let mut lab = Self { world, cut_off, chance, asked: vec![], handed_in };
        let clerk = lab.hire();
        assert_eq!(clerk, Self::CLERK, "it is the first");
        lab
    }

    pub(super) fn now(&self) -> Time {
        self.world.now()
    }

    pub(super) fn run_for(&mut self, length: Time) {
        let end = self.world.now() + length;
        while self.world.now() < end {
            let next = end.min(self.world.now() + STEP);
            self.world.run_until(next);
            self.check();
            self.listen();
        }
    }

    /// Lets time pass until this is so, and says how long that took.
    #[track_caller]
    pub(super) fn wait_until(
        &mut self,
        within: Time,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> Time {
        let began = self.now();
        while !is_so(self) {
            let spent = self.now().since(began);
            assert!(spent < within, "after {spent} ms still not: {what}; {}", self.describe());
            self.run_for(STEP);
        }
        self.now().since(began)
    }

    /// What this costs in messages.
    pub(super) fn cost_of(&mut self, work: impl FnOnce(&mut Self)) -> Traffic {
        let before = self.world.traffic();
        work(self);
        self.world.traffic().since(&before)
    }

    fn agreed(&self) -> Time {
        AGREED + self.world.options().disks.slowest_sync().times(AGREED_SYNCS)
    }

    #[track_caller]
    fn check(&self) {
        assert!(self.world.violations().is_empty(), "{:?}", self.world.violations());
    }

    fn describe(&self) -> String {
        self.world.describe(&self.world.options().cluster.all())
    }

    /// Heals everything: all must come to agree, and have what was acknowledged.
    #[track_caller]
    pub(super) fn close(&mut self) {
        self.be_reliable();
        for node in self.nodes() {
            self.join(node);
            self.unmute(node);
            self.start(node);
        }
        self.wait_until(self.agreed(), "all clients have their answers", |lab| {
            (0..lab.world.client_count()).all(|clerk| lab.is_answered(clerk))
        });
        self.agree();
        self.world.judge_whole_history();
        self.check();
        self.check_records();
    }

    /// What clients asked for until they had an answer is in the log once; what was handed in and
    /// not asked for again, at most once; and there is nothing else.
    #[track_caller]
    fn check_records(&self) {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for record in self.records(self.nodes()[0]) {
            *times.entry(record).or_default() += 1;
        }
        for record in &self.asked {
            assert_eq!(times.remove(record), Some(1), "{record}");
        }
        for (record, count) in times {
            assert_eq!((count, self.handed_in.contains(&record)), (1, true), "{record}");
        }
    }
}

/// Nodes.
impl Lab {
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.world.options().cluster.all().into_iter().collect()
    }

    pub(super) fn others(&self, than: NodeId) -> Vec<NodeId> {
        self.nodes().into_iter().filter(|node| *node != than).collect()
    }

    /// Nobody hears this node, and it hears nobody.
    pub(super) fn cut_off(&mut self, node: NodeId) {
        if self.cut_off.insert(node) {
            let others = self.others(node).into_iter().collect();
            self.world.cut(cut_of(node), node, others, true);
        }
    }

    pub(super) fn join(&mut self, node: NodeId) {
        self.cut_off.remove(&node);
        self.world.heal_cut(cut_of(node));
    }

    /// Those others no longer hear this node, which hears them.
    pub(super) fn mute(&mut self, node: NodeId, to: &[NodeId]) {
        let to = to.iter().copied().collect();
        self.world.cut(mute_of(node), node, to, false);
    }

    pub(super) fn unmute(&mut self, node: NodeId) {
        self.world.heal_cut(mute_of(node));
    }

    pub(super) fn is_cut_off(&self, node: NodeId) -> bool {
        self.cut_off.contains(&node)
    }

    /// Its power fails: what is not on its disk is gone.
    pub(super) fn crash(&mut self, node: NodeId) {
        if self.is_up(node) {
            self.world.fell(node);
            self.check();
        }
    }

    /// Starts its process, unless it runs.
    pub(super) fn start(&mut self, node: NodeId) {
        if !self.is_up(node) {
            self.world.raise(node);
            self.run_for(STEP);
            assert!(self.is_up(node), "{node} does not start");
        }
    }

    pub(super) fn cut_off_all(&mut self, nodes: &[NodeId]) {
        nodes.iter().copied().for_each(|node| self.cut_off(node));
    }

    pub(super) fn join_all(&mut self, nodes: &[NodeId]) {
        nodes.iter().copied().for_each(|node| self.join(node));
    }

    pub(super) fn crash_all(&mut self, nodes: &[NodeId]) {
        nodes.iter().copied().for_each(|node| self.crash(node));
    }

    pub(super) fn start_all(&mut self, nodes: &[NodeId]) {
        nodes.iter().copied().for_each(|node| self.start(node));
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.process(node).is_some()
    }

    /// From now on these disks are slow.
    pub(super) fn slow_down(&mut self, slowness: Slowness) {
        self.world.slow_down(slowness);
    }

    /// From now on so many of a million messages are lost, repeated and overtaken.
    pub(super) fn be_unreliable(&mut self, loss: u32, repeat: u32, reorder: u32) {
        self.world.set_rates(loss, repeat, reorder);
    }

    pub(super) fn be_reliable(&mut self) {
        self.be_unreliable(0, 0, 0);
    }

    fn process(&self, node: NodeId) -> Option<&Process> {
        self.world.process(node)
    }

    fn raft(&self, node: NodeId) -> Option<&Raft> {
        self.process(node).map(|process| process.replica.raft())
    }

    /// Others take all of its disk but so many bytes.
    pub(super) fn leave_room(&mut self, node: NodeId, bytes: u64) {
        self.world.leave_room(node, bytes);
    }

    pub(super) fn make_room(&mut self, node: NodeId) {
        self.world.make_room(node);
    }

    /// Whether a node knows that its disk is full.
    pub(super) fn is_full(&self, node: NodeId) -> bool {
        self.raft(node).is_some_and(|raft| raft.disk_full().is_some())
    }

    /// How many times its process was started.
    pub(super) fn starts(&self, node: NodeId) -> u64 {
        self.world.starts(node)
    }

    /// The nodes that run and are heard.
    pub(super) fn reachable(&self) -> Vec<NodeId> {
        self.nodes().into_iter().filter(|n| self.is_up(*n) && !self.is_cut_off(*n)).collect()
    }
}

/// Elections.
impl Lab {
    pub(super) fn quorum(&self) -> usize {
        self.world.options().cluster.quorum()
    }

    pub(super) fn term(&self, node: NodeId) -> Term {
        self.raft(node).expect("only a node that runs has a term").current_term()
    }

    /// Whom a node voted for in its term, if it runs.
    pub(super) fn vote(&self, node: NodeId) -> Option<NodeId> {
        self.raft(node)?.hard_state().voted_for
    }

    /// The term that all reachable nodes are in.
    #[track_caller]
    pub(super) fn common_term(&self) -> Term {
        let terms: BTreeSet<Term> = self.reachable().iter().map(|node| self.term(*node)).collect();
        assert_eq!(terms.len(), 1, "{}", self.describe());
        *terms.first().expect("there is one")
    }

    /// Whether this node takes itself for the leader.
    pub(super) fn leads(&self, node: NodeId) -> bool {
        self.raft(node).is_some_and(|raft| raft.role().as_leader().is_some())
    }

    /// The node that leads and serves: a quorum of those that are heard follows it.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let reachable = self.reachable();
        let serves = |node: &&NodeId| self.raft(**node).is_some_and(Raft::is_ready_leader);
        let leader = *reachable.iter().filter(serves).max_by_key(|node| self.term(**node))?;
        let follows = |node: &&NodeId| {
            self.term(**node) == self.term(leader)
                && self.raft(**node).is_some_and(|raft| raft.leader() == Some(leader))
        };
        (reachable.iter().filter(follows).count() >= self.quorum()).then_some(leader)
    }

    /// Waits for the leader.
    #[track_caller]
    pub(super) fn elect(&mut self) -> NodeId {
        self.wait_until(ELECTION, "a leader serves", |lab| lab.leader().is_some());
        self.leader().expect("there was one a line ago")
    }

    /// Waits until every reachable node follows the leader.
    #[track_caller]
    pub(super) fn elect_by_all(&mut self) -> NodeId {
        self.wait_until(ELECTION, "all follow one leader", Self::has_leader_of_all);
        self.leader().expect("there was one a line ago")
    }

    /// Whether every reachable node follows the leader.
    pub(super) fn has_leader_of_all(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        self.reachable().iter().all(|node| self.follows(*node, leader))
    }

    pub(super) fn follows(&self, node: NodeId, leader: NodeId) -> bool {
        self.raft(node).is_some_and(|raft| raft.leader() == Some(leader))
    }
}

/// Records.
impl Lab {
    /// Another client that looks for the leader by itself and never gives up.
    pub(super) fn hire(&mut self) -> usize {
        self.world.add_client()
    }

    /// Appends a record and waits until it is acknowledged; says how long that took.
    #[track_caller]
    pub(super) fn append(&mut self, record: &str) -> Time {
        self.ask(Self::CLERK, record);
        let what = format!("{record} is acknowledged");
        self.wait_until(SERVED, &what, |lab| lab.is_answered(Self::CLERK))
    }

    /// A client begins to append a record.
    pub(super) fn ask(&mut self, clerk: usize, record: &str) {
        self.asked.push(record.to_owned());
        self.world.append(clerk, record);
    }

    /// Whether a client has the answers to all that it began.
    pub(super) fn is_answered(&self, clerk: usize) -> bool {
        self.world.is_answered(clerk)
    }

    /// A client reads all that is acknowledged, and waits for it.
    #[track_caller]
    pub(super) fn read(&mut self) -> Time {
        let reader = self.hire();
        self.world.read(reader);
        self.wait_until(SERVED, "a read is served", |lab| lab.world.has_read(reader))
    }

    /// Hands a record to this node, be it the leader or not, and does not wait for anything: nobody
    /// will ask for it again.
    pub(super) fn hand_in(&mut self, node: NodeId, record: &str) {
        let Some(process) = self.process(node) else { return };
        let began_at = process.replica.raft().log().commit_index();
        assert!(self.handed_in.insert(record.to_owned()), "{record} is handed in once");
        let client = ClientId::new(BY_HAND + self.handed_in.len() as u128);
        let records = [Bytes::copy_from_slice(record.as_bytes())];
        let run = AppendRun {
            client,
            seqs: SeqRange::one(Seq::FIRST),
            first_unanswered: Seq::FIRST,
            began_at,
            log: LogNumber::MAIN,
            conditions: Conditions::default(),
            command: None,
            lengths: AppendRun::lengths_of(&records),
        };
        self.world.hand_in((Self::CLERK, node), &run, &records);
    }

    /// Tells the laws and the history what came back to those who handed in.
    fn listen(&mut self) {
        for reply in self.world.take_heard() {
            let (client, seq) = (reply.client, reply.seqs.first);
            let Ok(appended) = reply.result else { continue };
            if client.get() > BY_HAND {
                self.world.acknowledge(client, seq, appended);
                self.check();
            }
        }
    }

    /// The records that a node knows to be committed and has on its disk, in order.
    pub(super) fn records(&self, node: NodeId) -> Vec<String> {
        let process = self.process(node).expect("only a node that runs can be read");
        let readable = process.replica.readable();
        let mut records = vec![];
        let mut next = Index::new(1);
        while next <= readable {
            let entries = process.reader.entries(next, readable, usize::MAX).unwrap();
            next = entries.last().expect("what is readable is there").id().index.next();
            let requests = entries.iter().flat_map(|entry| entry.requests().unwrap());
            records.extend(requests.flat_map(|request| request.records).map(|r| text_of(&r)));
        }
        records
    }

    /// How many nodes know that this record is committed.
    pub(super) fn holders(&self, record: &str) -> usize {
        let up = self.nodes().into_iter().filter(|node| self.is_up(*node));
        up.filter(|node| self.records(*node).iter().any(|other| other == record)).count()
    }

    /// The last index of a node's log, committed or not.
    pub(super) fn last(&self, node: NodeId) -> Index {
        self.log(node).last().index
    }

    /// The last index that a node has on its disk, committed or not.
    pub(super) fn persisted(&self, node: NodeId) -> Index {
        self.log(node).persisted()
    }

    pub(super) fn commit_index(&self, node: NodeId) -> Index {
        self.log(node).commit_index()
    }

    fn log(&self, node: NodeId) -> &RaftLog {
        self.raft(node).expect("only a node that runs has a log").log()
    }

    /// How far a follower's log is the leader's, as this one knows it.
    pub(super) fn matched(&self, leader: NodeId, follower: NodeId) -> Index {
        let leader = self.raft(leader).and_then(|raft| raft.role().as_leader());
        leader.map_or(Index::ZERO, |leader| leader.progress[&follower].match_index)
    }

    /// Waits until all reachable nodes have the same and know that it is committed; says how long
    /// that took.
    #[track_caller]
    pub(super) fn agree(&mut self) -> Time {
        let nodes: BTreeSet<NodeId> = self.reachable().into_iter().collect();
        let took = self
            .wait_until(self.agreed(), "all agree", |lab| lab.world.agreed_term(&nodes).is_some());
        let first = self.reachable()[0];
        let records = self.records(first);
        for node in nodes {
            assert_eq!(self.records(node), records, "of {node} and {first}");
        }
        took
    }

    /// All reachable nodes come to agree on just these records.
    #[track_caller]
    pub(super) fn agree_on(&mut self, records: &[&str]) {
        self.agree();
        assert_eq!(self.records(self.reachable()[0]), records);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in the world of seed {} at {} ms", self.world.seed(), self.world.now());
        }
    }
}

/// The number of the cut around a node.
fn cut_of(node: NodeId) -> usize {
    usize::from(node.get())
}

/// The number of the cut behind which a node is not heard.
fn mute_of(node: NodeId) -> usize {
    cut_of(node) + 1000
}

fn text_of(record: &Bytes) -> String {
    String::from_utf8_lossy(record).into_owned()
}
