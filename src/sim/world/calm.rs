//! After the storm: a majority that is let alone must come back, and then all must agree.
//!
//! The core is any majority of the machines that keep what they promised, fully connected. Its
//! members are started and their disks healed; all other faults stay as they are for ever: the
//! rest, which often includes whoever leads, is dead, deaf, dumb, cut off, or has a disk that is
//! stuck. Within a bound the core must have one leader, take an append, serve a linearizable read,
//! and agree; and its term must then stay what it is. At the end the rest is healed too, and all
//! must agree.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::World;
use crate::limits;
use crate::members::Aim;
use crate::sim::class::Class;
use crate::sim::laws::{LawName, Platter as _};
use crate::sim::machine::Machine;
use crate::sim::queue::Event;
use crate::sim::random::{Purpose, Random};
use crate::sim::scenarios::Rest;
use crate::sim::sim_client::SimClient;
use crate::sim::template::Template;
use crate::sim::time::Time;
use crate::types::{Index, NodeId, Term};

/// Election timeouts within which a healthy majority must serve.
const TIMEOUTS_TO_SERVE: u64 = 20;

/// And so much longer for what clients and resent messages take.
const SLACK: Time = Time::from_secs(8);

/// Syncs of the slowest disk within which a healthy majority must serve: an election takes two for the
/// candidate's vote and two for the others', a first entry and a record two each, what was under way
/// before two; and two elections may come to nothing, because two stand at once.
const SYNCS_TO_SERVE: u64 = 40;

/// Ways to and fro that a client needs at most to be served, when it is far away.
const ROUND_TRIPS_TO_SERVE: u64 = 40;

/// How often it is looked whether all is well.
pub(super) const LOOK_EVERY: Time = Time::from_millis(50);

/// A fault that is never healed.
const FOR_EVER: usize = usize::MAX;

/// What may become of it.
const FATES: [Rest; 5] = [Rest::Dead, Rest::Stuck, Rest::Deaf, Rest::Dumb, Rest::CutOff];

impl World {
    /// See the module.
    pub(super) fn recover(&mut self) {
        self.start_those_taken_in_again();
        let mut able = self.able();
        self.calm = true;
        self.network.calm();
        if self.options.faults.template == Some(Template::Trimmed) {
            self.must_arrive(&able);
            // Some have come back meanwhile.
            able = self.able();
        }
        self.clients.iter_mut().for_each(SimClient::finish);
        if !self.can_decide(&able) {
            // Too much is lost: nothing more may be promised, and nothing wrong be said. The laws
            // watch on for a while.
            self.trace.note(self.now, || "too much is lost to go on".to_owned());
            self.run_until(self.now + self.bound());
            if !self.put_right() {
                return;
            }
            // With what was put right nothing is lost, and those that waited heal by themselves.
            able = self.able();
        }
        let core = self.choose_core(&able);
        self.abandon_rest(&core);
        for node in &core {
            self.revive(*node);
        }
        if !self.must_serve(&core) {
            return;
        }
        for node in able.difference(&core) {
            self.revive(*node);
        }
        self.network.heal(FOR_EVER);
        self.must_agree(&able);
        self.must_remember_the_same(&able);
        self.must_tell();
        self.must_come_back();
        self.must_vote(&able);
        self.is_whole = true;
        self.counts.healed += 1;
    }

    /// Those that have all that they promised.
    fn able(&self) -> BTreeSet<NodeId> {
        let able = self.machines.iter().filter(|machine| !machine.lost && !machine.is_out);
        able.map(|machine| machine.id).collect()
    }

    /// Everybody hears everybody, and clients go on: one is away until what it lacks is given up, and is filled
    /// all the same, while more and more is given up.
    fn must_arrive(&mut self, able: &BTreeSet<NodeId>) {
        for node in able {
            self.revive(*node);
        }
        let end = self.now + self.bound();
        if !self.wait_until(end, |world| world.leader().is_some()) || !self.violations.is_empty() {
            return;
        }
        let leader = self.leader();
        let spare = able.len() > self.options.cluster.quorum();
        let Some(away) = able.iter().copied().find(|node| spare && Some(*node) != leader) else {
            return;
        };
        self.kill(away, false, None);
        let given_up = |world: &Self| {
            let last = world.machine(away).disk.last();
            world.first_of_leader().is_some_and(|first| first > last.next())
        };
        // Clients may have nothing to trim just now.
        let end = self.now + self.bound();
        self.wait_until(end, given_up);
        self.revive(away);
        let end = self.now + self.bound();
        let has_arrived = |world: &Self| {
            let last = world.process(away).map(|process| process.replica.tip().id.index);
            last.zip(world.first_of_leader()).is_some_and(|(last, first)| last.next() >= first)
        };
        if !self.wait_until(end, has_arrived) {
            let what = format!("{away} is never given what it lacks: {}", self.describe(able));
            self.violate(LawName::Liveness, what);
        }
    }

    /// The first entry that the leader has.
    fn first_of_leader(&self) -> Option<Index> {
        Some(self.process(self.leader()?)?.reader.first())
    }

    /// Everybody runs, and hears everybody: who lost its store, and knows it, votes again in the end, and
    /// sealed segments that are known to have rotted are mended. (The scrub may take longer to come round.)
    fn must_come_back(&mut self) {
        let end = self.now + self.bound().times(3);
        let is_awaited = |machine: &&Machine| {
            machine.begins_anew || machine.is_refilling || machine.knows_of_rot()
        };
        while let Some(node) = self.machines.iter().find(is_awaited).map(|machine| machine.id) {
            if self.now >= end {
                if self.lacks_what_is_gone(node) {
                    return self.trace.note(self.now, || format!("{node} lacks what was given up"));
                }
                let what = format!(
                    "{node} is no voter again, or not mended: {}",
                    self.describe(&self.all())
                );
                self.violate(LawName::Liveness, what);
            }
            if !self.violations.is_empty() {
                return;
            }
            if !self.machine(node).is_up() {
                self.revive(node);
            }
            self.run_until(self.now + LOOK_EVERY);
        }
    }

    fn all(&self) -> BTreeSet<NodeId> {
        self.options.cluster.all().into_iter().collect()
    }

    /// Those of them that are members by now and can be what the others are.
    fn members_of(&self, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        if !self.options.faults.has(Class::Members) {
            return nodes.clone();
        }
        let leads = |node: &&NodeId| {
            self.process(**node).is_some_and(|process| process.replica.raft().is_ready_leader())
        };
        let leader = nodes.iter().find(leads).and_then(|node| self.process(*node));
        let Some(leader) = leader else { return nodes.clone() };
        let mut members = leader.replica.raft().log().configuration().members();
        members.retain(|node| nodes.contains(node) && !self.lacks_what_is_gone(*node));
        members
    }

    /// Everybody runs, and hears everybody: learners that are to vote do so in the end.
    fn must_vote(&mut self, able: &BTreeSet<NodeId>) {
        if !self.options.faults.has(Class::Members) {
            return;
        }
        let end = self.now + self.bound().times(3);
        let awaited = |world: &Self| {
            let raft = world.process(world.leader()?)?.replica.raft();
            let configuration = raft.log().configuration().clone();
            let waits = |node: &&NodeId| {
                able.contains(node)
                    && configuration.aims.get(node) != Some(&Aim::Stay)
                    && !world.lacks_what_is_gone(**node)
            };
            configuration.learners.iter().find(waits).copied()
        };
        if !self.wait_until(end, |world| world.leader().is_some() && awaited(world).is_none()) {
            let who = awaited(self).map_or("nobody".to_owned(), |node| node.to_string());
            let what = format!("{who} is a learner and no voter: {}", self.describe(able));
            self.violate(LawName::Liveness, what);
        }
    }

    /// Whether a node lacks entries that its leader has given up: nobody can give it these yet.
    fn lacks_what_is_gone(&self, node: NodeId) -> bool {
        let of = |node: NodeId| self.process(node);
        let leader = self.leader().and_then(of);
        leader.zip(of(node)).is_some_and(|(leader, behind)| {
            leader.reader.first() > behind.replica.raft().log().last().index.next()
        })
    }

    pub(super) fn bound(&self) -> Time {
        let slow_disks = self.options.disks.slowest_sync().times(SYNCS_TO_SERVE);
        // Who does not reach the leader may go by way of three nodes that bring nothing, with twice the
        // patience each time, before one that does.
        let parted = self.options.faults.has(Class::Reach);
        let detours =
            if parted { Time::of(limits::CLIENT_DETOUR_PATIENCE).times(7) } else { Time::ZERO };
        let far = self.options.network.distance.times(ROUND_TRIPS_TO_SERVE) + detours;
        self.options.cluster.election_timeout().times(TIMEOUTS_TO_SERVE) + slow_disks + SLACK + far
    }

    fn choose_core(&mut self, able: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let changes = self.options.faults.has(Class::Members);
        let needed = if changes { 0 } else { self.options.cluster.quorum() };
        let leave = self.chance.below((able.len() - needed) as u64 + 1);
        // A leader that is only half well is the worst that can be left out.
        let is_aimed = self.aftermath().is_some() || self.chance.coin();
        let mut core = able.clone();
        for _ in 0..leave {
            let choices: Vec<NodeId> = core.iter().copied().collect();
            let leader = self.leader().filter(|leader| is_aimed && core.contains(leader));
            let left = leader.unwrap_or_else(|| self.chance.one_of(&choices));
            core.remove(&left);
            if changes && !self.can_decide(&core) {
                core.insert(left);
            }
        }
        core
    }

    /// What the scenario says of the rest.
    fn aftermath(&self) -> Option<Rest> {
        self.options.faults.template.and_then(Template::aftermath)
    }

    fn rest_of(&self, core: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        self.options.cluster.all().difference(core).copied().collect()
    }

    fn abandon_rest(&mut self, core: &BTreeSet<NodeId>) {
        for node in self.rest_of(core) {
            let fate = self.aftermath().unwrap_or_else(|| self.chance.one_of(&FATES));
            self.trace.note(self.now, || format!("{node} is {fate:?} from now on"));
            let alone = BTreeSet::from([node]);
            let others: BTreeSet<NodeId> =
                self.options.cluster.all().into_iter().filter(|other| *other != node).collect();
            let is_lost = self.machine(node).lost;
            match fate {
                _ if is_lost => self.kill(node, false, None),
                Rest::Dead => self.kill(node, false, None),
                Rest::Stuck => self.machine_mut(node).is_stuck = true,
                Rest::Deaf => self.network.cut(FOR_EVER, others, alone, false),
                Rest::Dumb => self.network.cut(FOR_EVER, alone, others, false),
                Rest::CutOff => self.network.cut(FOR_EVER, alone, others, true),
            }
        }
    }

    /// A machine is repaired: its disk does what it is asked, its process runs.
    pub(super) fn revive(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.machine_mut(node);
        machine.disk.memory.make_room();
        machine.stall = Time::ZERO;
        machine.is_stuck = false;
        machine.dies_at_start = None;
        let armed = machine.process.as_ref().is_some_and(|p| p.dies_mid_write.is_some());
        let stands_still = machine.paused_until.take();
        let incarnation = machine.process.as_ref().map(|process| process.incarnation);
        if let Some(incarnation) = incarnation.filter(|_| stands_still.is_some()) {
            self.queue.push(now, Event::Resume { node, incarnation });
        }
        if armed || self.machine_mut(node).disk_fails {
            // Whatever was about to fail its disk is repaired by a new start.
            self.kill(node, false, None);
        }
        let machine = self.machine_mut(node);
        if let Some(process) = machine.process.as_ref().filter(|process| process.disk_is_busy) {
            // A disk that is stuck is stuck no more.
            let (incarnation, write) = (process.incarnation, process.writes);
            self.queue.push(now, Event::DiskDone { node, incarnation, write });
        }
        let machine = self.machine_mut(node);
        if let Some(process) = machine.process.as_ref().filter(|process| process.upkeep.is_busy) {
            let (incarnation, chore) = (process.incarnation, process.upkeep.chores);
            self.queue.push(now, Event::UpkeepDone { node, incarnation, chore });
        }
        let machine = self.machine_mut(node);
        if !machine.is_up() {
            machine.start_at = Some(now);
            self.queue.push(now, Event::Start { node });
        }
    }

    /// Lets time pass until the core serves; says whether it did in time.
    fn must_serve(&mut self, core: &BTreeSet<NodeId>) -> bool {
        let probe = self.add_probe();
        if self.options.faults.has(Class::Reach) {
            self.part_probe(probe, core);
        }
        let end = self.now + self.bound();
        let served = |world: &Self| {
            let client = &world.clients[probe];
            client.is_idle() && client.reads_served() > 0 && world.agreed_term(core).is_some()
        };
        if !self.wait_until(end, served) {
            let what = self.why_not(core, probe);
            self.violate(LawName::Liveness, what);
            return false;
        }
        // One of a higher term that is heard again, or starts, is outlived once (thesis 3.3), and
        // never again.
        let on_disks = self.machines.iter().map(|machine| machine.disk.hard_state().current_term);
        let running = self.machines.iter().filter_map(|machine| self.term_of(machine.id));
        let once = on_disks.chain(running).max().and_then(Term::next);
        // And a leader whose clock turns out to be wrong, when more of the others are heard, makes way;
        // twice, if the first to whom it does is one that the others do not hear (seed 24).
        let clocks_jump = self.options.faults.has(Class::Clock);
        let more = if clocks_jump { 2 } else { 0 };
        let allowed = (0..more).fold(once, |term, _| term.and_then(Term::next));
        self.disturb(core);
        let later = self.now + self.options.cluster.election_timeout().times(10);
        self.run_until(later);
        let after = core.iter().filter_map(|node| self.term_of(*node)).max();
        if self.violations.is_empty() && after > allowed {
            let after = after.unwrap_or_default();
            let what = format!("the term went on to {after} in a healthy core");
            self.violate(LawName::Liveness, what);
        }
        self.violations.is_empty()
    }

    /// Those outside that live get a link to one member of the core, and to no other: nothing that
    /// they say is a reason to leave a leader whom the others hear (Howard, 2020).
    fn disturb(&mut self, core: &BTreeSet<NodeId>) {
        let members: Vec<NodeId> = core.iter().copied().collect();
        self.network.heal(FOR_EVER);
        for node in self.rest_of(core) {
            let friend = self.chance.one_of(&members);
            let others = core.iter().copied().filter(|other| *other != friend).collect();
            self.network.cut(FOR_EVER, BTreeSet::from([node]), others, true);
        }
    }

    fn must_agree(&mut self, able: &BTreeSet<NodeId>) {
        let end = self.now + self.bound() + self.bound();
        let done = |world: &Self| {
            world.agreed_term(able).is_some()
                && !world.leads_by_wrong_clock(able)
                && world.is_all_shown(able)
        };
        if !self.wait_until(end, done) {
            let what = if self.leads_by_wrong_clock(able) {
                "the leader's clock is far ahead of most others'"
            } else if self.agreed_term(able).is_some() {
                "all agree, and what they have committed cannot be read"
            } else {
                "not all agree in the end"
            };
            let what = format!("{what}: {}", self.describe(able));
            self.violate(LawName::Liveness, what);
        }
    }

    /// Whether one of these nodes has shown the laws all that it has committed. A segment may be busy for
    /// a while, and is not read meanwhile.
    fn is_all_shown(&self, nodes: &BTreeSet<NodeId>) -> bool {
        nodes.iter().any(|node| {
            let machine = self.machine(*node);
            let process = machine.process.as_ref();
            process.is_some_and(|process| machine.told >= process.replica.readable())
        })
    }

    /// Whether the leader of these nodes, who all hear each other, has a clock that is far ahead of the
    /// one in the middle of those that could lead.
    fn leads_by_wrong_clock(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let clock = |node: NodeId| self.machine(node).wall_clock(self.now).get();
        let mut nodes = self.members_of(nodes);
        nodes.retain(|node| self.configuration.1.is_voter(*node));
        let mut clocks: Vec<u64> = nodes.iter().map(|node| clock(*node)).collect();
        clocks.sort_unstable();
        let middle = clocks.get(clocks.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        // What is 10 s for one may be a little less for another.
        let most = Time::of(limits::CLOCK_AHEAD_MAX).times(2).millis();
        self.leader().is_some_and(|leader| clock(leader).saturating_sub(middle) > most)
    }

    /// The same log makes the same state, on whichever path a node came to it.
    fn must_remember_the_same(&mut self, able: &BTreeSet<NodeId>) {
        let remembered = |node: &NodeId| {
            let process = self.process(*node)?;
            Some((*node, process.replica.encoded_clients()))
        };
        let all: Vec<_> = self.members_of(able).iter().filter_map(remembered).collect();
        let differs = all.windows(2).find(|pair| pair[0].1 != pair[1].1);
        let names = differs.map(|pair| format!("{} and {}", pair[0].0, pair[1].0));
        if let Some(names) = names.filter(|_| self.violations.is_empty()) {
            let what = format!("{names} have the same log and remember different clients");
            self.violate(LawName::Determinism, what);
        }
    }

    fn wait_until(&mut self, end: Time, done: impl Fn(&Self) -> bool) -> bool {
        while self.now < end && self.violations.is_empty() {
            self.run_until(self.now + LOOK_EVERY);
            if done(self) {
                return true;
            }
        }
        // A law that broke meanwhile says more than that it took too long.
        !self.violations.is_empty()
    }

    /// The client whose requests must succeed reaches only others than the leader, or has connections
    /// that are dead.
    fn part_probe(&mut self, probe: usize, core: &BTreeSet<NodeId>) {
        if self.chance.coin() {
            self.kill_flows(probe);
        }
        // One that is no voter yet may follow nobody to whom it could hand on.
        let voters = &self.configuration.1.voters;
        let members: Vec<NodeId> = core.intersection(voters).copied().collect();
        if members.len() > 1 {
            let leader = self.leader().filter(|leader| core.contains(leader));
            let node = leader.unwrap_or_else(|| self.chance.one_of(&members));
            self.network.cut_client(FOR_EVER, probe, node);
        }
    }

    /// A client whose requests must succeed.
    fn add_probe(&mut self) -> usize {
        let number = self.clients.len();
        let random = Random::new(self.seed.wrapping_add(1), Purpose::Workload);
        let mut probe = SimClient::new(number, &self.options, random);
        probe.finish();
        probe.be_patient(self.bound());
        probe.want_read();
        self.clients.push(probe);
        self.clients[number].append(self.now, vec![Bytes::from_static(b"probe")]);
        self.act_for_client(number);
        self.schedule_poll(number);
        number
    }

    pub(super) fn term_of(&self, node: NodeId) -> Option<Term> {
        let machine = self.machine(node);
        machine.process.as_ref().map(|process| process.replica.raft().current_term())
    }

    /// The term of these nodes, if one of them leads and all have what it has, on disk and known to
    /// be committed.
    pub(in crate::sim) fn agreed_term(&self, nodes: &BTreeSet<NodeId>) -> Option<Term> {
        let nodes = &self.members_of(nodes);
        let replicas =
            || nodes.iter().filter_map(|node| self.process(*node).map(|process| &process.replica));
        let leader = replicas().find(|replica| replica.raft().is_ready_leader())?;
        let agree = replicas().count() == nodes.len()
            && replicas().all(|replica| {
                replica.tip() == leader.tip()
                    && replica.readable() == leader.tip().id.index
                    && replica.raft().current_term() == leader.raft().current_term()
            });
        agree.then(|| leader.raft().current_term())
    }

    fn why_not(&self, core: &BTreeSet<NodeId>, probe: usize) -> String {
        let client = &self.clients[probe];
        let waits = match (client.is_idle(), client.reads_served() > 0) {
            (false, _) => "an append waits",
            (true, false) => "a read waits",
            (true, true) => "the nodes do not agree",
        };
        format!("a healthy majority does not serve: {waits}; {}", self.describe(core))
    }

    pub(in crate::sim) fn describe(&self, nodes: &BTreeSet<NodeId>) -> String {
        let words = nodes.iter().map(|node| {
            let machine = self.machine(*node);
            let Some(process) = &machine.process else { return format!("{node} is down") };
            let raft = process.replica.raft();
            let (role, term, log) = (raft.role().name(), raft.current_term(), raft.log());
            let (last, commit) = (log.last(), log.commit_index());
            format!("{node} is {role} in term {term}, last {last}, commit {commit}")
        });
        words.collect::<Vec<_>>().join("; ")
    }
}
