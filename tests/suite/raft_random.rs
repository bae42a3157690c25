//! Random histories: cores among random delays, losses, repetitions, slow disks, crashes, handovers
//! and changes of configuration. The laws hold after every event; when the faults end, a leader
//! emerges and all logs become one.
//!
//! `ANNAL_RAFT_SEEDS=0..20000 cargo test --test suite raft_random` runs more; a failure prints its
//! seed and the end of its story. `ANNAL_RAFT_SEEDS=17` runs one.

use std::fmt::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use annal::raft::{Configuration, Input, Options, Raft, ReadToken};
use annal::types::{Index, NodeId};

use crate::raft_cluster::{Cluster, Envelope, Kept, Node};
use crate::raft_laws::mix;

const SEEDS: Range<u64> = 0..1000;
const STEPS: u32 = 4000;
/// Rounds after the faults in which a cluster has to heal: some forty election timeouts.
const HEALING_ROUNDS: u32 = 800;
/// Old messages kept to be delivered again much later.
const REPLAYED_MAX: usize = 32;
/// Messages on one link; more are lost.
const LINK_MAX: usize = 48;

#[test]
fn random_histories_keep_the_laws_and_heal() {
    let seeds = std::env::var("ANNAL_RAFT_SEEDS").map_or(SEEDS, |text| parse_seeds(&text));
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let run = || Story::new(seed).run();
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(story) => seen.add(&story),
            Err(panic) => {
                tell_the_end(seed);
                resume_unwind(panic);
            }
        }
    }
    println!("{} seeds: {seen:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= 500 {
        seen.check();
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..5 {
        let tell = || {
            let mut story = Story::new(seed);
            story.cluster.said = Some(String::new());
            story.run().cluster.said
        };
        assert!(tell() == tell(), "seed {seed} is not one story");
    }
}

fn parse_seeds(text: &str) -> Range<u64> {
    let number = |text: &str| text.trim().parse().expect("ANNAL_RAFT_SEEDS is 17 or 0..300");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(text)..number(text) + 1,
    }
}

/// Runs a seed again and prints what happened before it failed.
#[expect(clippy::print_stderr, reason = "the story of a failure is for who runs the test")]
fn tell_the_end(seed: u64) {
    let mut story = Story::new(seed);
    story.cluster.said = Some(String::new());
    let _ = catch_unwind(AssertUnwindSafe(|| story.go()));
    let said = story.cluster.said.take().unwrap_or_default();
    let lines: Vec<_> = said.lines().collect();
    let shown = std::env::var("ANNAL_RAFT_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for line in &lines[lines.len().saturating_sub(shown)..] {
        eprintln!("{line}");
    }
    eprintln!("\nfailed: ANNAL_RAFT_SEEDS={seed} cargo test --test suite raft_random");
}

/// What a set of histories has to have touched to be worth anything.
#[derive(Debug, Default)]
struct Seen {
    committed: u64,
    terms: u64,
    truncations: u64,
    stepped_down: u64,
    transfers: u64,
    crashes: u64,
    fetches: u64,
    reads: u64,
    configurations: u64,
    wiped: u64,
    reinstated: u64,
    messages: u64,
}

impl Seen {
    fn add(&mut self, story: &Story) {
        let Done { crashes, configurations, wiped, messages } = story.done;
        self.wiped += wiped;
        self.reinstated += story.cluster.counted.reinstated;
        self.committed += story.cluster.laws.committed().get();
        self.terms += story.cluster.laws.last_term_led().get();
        self.truncations += story.cluster.counted.truncations;
        self.stepped_down += story.cluster.counted.stepped_down;
        self.transfers += story.cluster.counted.transfers;
        self.fetches += story.cluster.counted.fetches;
        self.crashes += crashes;
        self.reads += story.cluster.replies.values().filter(|index| index.is_some()).count() as u64;
        self.configurations += configurations;
        self.messages += messages;
    }

    fn check(&self) {
        let Self { committed, terms, truncations, stepped_down, transfers, .. } = *self;
        let Self { crashes, fetches, reads, configurations, wiped, reinstated, messages, .. } =
            *self;
        let all = [committed, terms, truncations, stepped_down, transfers, crashes, fetches];
        assert!(
            all.iter()
                .chain(&[reads, configurations, wiped, reinstated, messages])
                .all(|n| *n > 100),
            "{self:?}"
        );
    }
}

/// A stream of numbers that is the same for the same seed, for ever.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "nothing to choose from");
        usize::try_from(self.next() % bound as u64).expect("below a number in memory")
    }

    fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// True `per_mille` times of a thousand.
    fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        if choices.is_empty() { None } else { Some(choices[self.below(choices.len())]) }
    }
}

/// What a history is like; each fault is absent from about half of them.
#[derive(Debug)]
struct Rates {
    /// How often each kind of event is drawn.
    tick: usize,
    deliver: usize,
    write: usize,
    report: usize,
    propose: usize,
    read: usize,
    crash: usize,
    cut: usize,
    transfer: usize,
    configure: usize,
    stall: usize,
    replay: usize,
    strand: usize,
    wipe: usize,
    /// How soon a fault passes.
    repair: usize,
    /// Of a thousand messages.
    lost: usize,
    repeated: usize,
    overtaken: usize,
    /// Of a thousand restarts.
    torn: usize,
}

impl Rates {
    fn draw(numbers: &mut Numbers) -> Self {
        let mut maybe = |from, to| {
            if numbers.chance(500) { numbers.between(from, to) } else { 0 }
        };
        let faults = [
            maybe(1, 30),
            maybe(1, 60),
            maybe(1, 20),
            maybe(1, 30),
            maybe(1, 10),
            maybe(5, 60),
            maybe(1, 30),
            maybe(10, 300),
            maybe(10, 300),
            maybe(50, 600),
            maybe(100, 800),
        ];
        let wipe = maybe(1, 20);
        let [crash, cut, transfer, configure, stall, replay, strand, ..] = faults;
        let [.., lost, repeated, overtaken, torn] = faults;
        Self {
            tick: numbers.between(100, 600),
            deliver: numbers.between(400, 2000),
            write: numbers.between(50, 400),
            report: numbers.between(50, 400),
            propose: numbers.between(10, 200),
            read: numbers.between(0, 30),
            crash,
            cut,
            transfer,
            configure,
            stall,
            replay,
            strand,
            wipe,
            repair: numbers.between(5, 60),
            lost,
            repeated,
            overtaken,
            torn,
        }
    }
}

#[derive(Default)]
struct Done {
    crashes: u64,
    configurations: u64,
    wiped: u64,
    messages: u64,
}

struct Story {
    cluster: Cluster,
    numbers: Numbers,
    rates: Rates,
    everybody: Vec<NodeId>,
    /// Nodes whose disks write nothing for now.
    stalled: Vec<NodeId>,
    replayed: Vec<(NodeId, NodeId, Envelope)>,
    next_token: u64,
    done: Done,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(mix(seed));
        let rates = Rates::draw(&mut numbers);
        let nodes = [3, 3, 3, 5, 5, 5, 4, 2, 1][numbers.below(9)];
        let voters = if rates.configure > 0 { numbers.between(1, nodes) } else { nodes };
        let everybody: Vec<_> =
            (1..=nodes).filter_map(|n| NodeId::new(u16::try_from(n).expect("few"))).collect();
        let window = [0, 40, 300, 1 << 20][numbers.below(4)];
        let count = numbers.between(1, 8);
        let bytes = [1, 30, 1 << 20][numbers.below(3)];
        let uncommitted = [100, 4000, 4000][numbers.below(3)];
        let heartbeat = [1, 2][numbers.below(2)];
        let timeouts = [(3, 8), (5, 10), (10, 19)][numbers.below(3)];
        let options = everybody.iter().map(|id| {
            let mut options = Options::new(*id, heartbeat, timeouts);
            options.window_bytes_max = window;
            options.append_count_max = count;
            options.append_bytes_max = bytes;
            options.uncommitted_bytes_max = uncommitted;
            options
        });
        let initial = Configuration::of(everybody.iter().copied().take(voters));
        let cluster = Cluster::new(options.collect(), initial);
        Self {
            cluster,
            numbers,
            rates,
            everybody,
            stalled: vec![],
            replayed: vec![],
            next_token: 1,
            done: Done::default(),
        }
    }

    fn run(mut self) -> Self {
        self.go();
        self
    }

    fn go(&mut self) {
        for _ in 0..STEPS {
            self.happen();
        }
        self.cluster.check_all();
        self.heal();
        self.cluster.check_all();
    }

    fn happen(&mut self) {
        let Rates { tick, deliver, write, report, propose, read, crash, cut, .. } = self.rates;
        let Rates { transfer, configure, stall, replay, strand, wipe, repair, .. } = self.rates;
        let often = [tick, deliver, write, report, propose, read, 20, repair];
        let seldom = [crash, cut, transfer, configure, stall, replay, strand, wipe];
        let weights = [&often[..], &seldom[..]].concat();
        let mut at = self.numbers.below(weights.iter().sum());
        let kind = weights.iter().position(|weight| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        match kind.expect("it is below the sum") {
            0 => self.tick(),
            1 => self.deliver(),
            2 => self.write(),
            3 => self.report(),
            4 => self.propose(),
            5 => self.read(),
            6 => self.fetch(),
            7 => self.repair(),
            8 => self.crash_some(),
            9 => self.cut(),
            10 => self.transfer(),
            11 => self.configure(),
            12 => self.stall(),
            13 => self.replay(),
            14 => self.strand(),
            _ => self.wipe(),
        }
    }

    fn running(&self) -> Vec<NodeId> {
        self.everybody.iter().copied().filter(|id| self.cluster.runs(*id)).collect()
    }

    fn leaders(&self, suits: impl Fn(&Raft) -> bool) -> Vec<NodeId> {
        let leads = |raft: &Raft| raft.role().as_leader().is_some() && suits(raft);
        self.running().into_iter().filter(|id| leads(self.cluster.raft(*id))).collect()
    }

    fn tick(&mut self) {
        if let Some(id) = self.numbers.pick(&self.running()) {
            let random = self.numbers.next();
            self.cluster.step(id, Input::Tick { random }, &[]);
        }
    }

    fn deliver(&mut self) {
        let busy = |queue: &std::collections::VecDeque<Envelope>| !queue.is_empty();
        let links: Vec<_> =
            self.cluster.links.iter().filter(|(_, queue)| busy(queue)).map(|(l, _)| *l).collect();
        let Some((from, to)) = self.numbers.pick(&links) else { return };
        let queue = self.cluster.links.get_mut(&(from, to)).expect("it was there");
        while queue.len() > LINK_MAX {
            queue.pop_front();
        }
        let at = if self.numbers.chance(self.rates.overtaken) {
            self.numbers.below(queue.len())
        } else {
            0
        };
        if self.numbers.chance(self.rates.lost) {
            queue.remove(at);
            return;
        }
        if self.numbers.chance(self.rates.repeated) {
            let copy = queue[at].clone();
            queue.push_back(copy);
        }
        if self.rates.replay > 0 && self.numbers.chance(100) {
            let old = (from, to, queue[at].clone());
            if self.replayed.len() < REPLAYED_MAX {
                self.replayed.push(old);
            } else {
                let place = self.numbers.below(REPLAYED_MAX);
                self.replayed[place] = old;
            }
        }
        self.done.messages += 1;
        self.cluster.deliver(from, to, at);
    }

    /// A message that was on its way long ago comes once more.
    fn replay(&mut self) {
        if self.replayed.is_empty() {
            return;
        }
        let at = self.numbers.below(self.replayed.len());
        let (from, to, old) = self.replayed[at].clone();
        self.cluster.links.entry((from, to)).or_default().push_front(old);
        self.cluster.deliver(from, to, 0);
    }

    fn write(&mut self) {
        let stalled = &self.stalled;
        let able: Vec<_> = self.running().into_iter().filter(|id| !stalled.contains(id)).collect();
        if let Some(id) = self.numbers.pick(&able) {
            for _ in 0..self.numbers.between(1, 3) {
                self.cluster.write_oldest(id);
            }
        }
    }

    fn report(&mut self) {
        if let Some(id) = self.numbers.pick(&self.running()) {
            self.cluster.report_written(id);
        }
    }

    fn fetch(&mut self) {
        if let Some(id) = self.numbers.pick(&self.running()) {
            let count = self.numbers.between(1, 10);
            self.cluster.fetch_oldest(id, count);
        }
    }

    fn propose(&mut self) {
        if let Some(id) = self.numbers.pick(&self.leaders(Raft::may_propose)) {
            let bytes = u32::try_from(self.numbers.between(1, 40)).expect("small");
            self.cluster.step(id, Input::Propose { bytes }, &[]);
        }
    }

    fn read(&mut self) {
        let leaders = self.leaders(|_| true);
        let asked = if self.numbers.chance(900) { leaders } else { self.running() };
        if let Some(id) = self.numbers.pick(&asked) {
            let token = ReadToken(self.next_token);
            self.next_token += 1;
            self.cluster.step(id, Input::Read(token), &[]);
        }
    }

    fn transfer(&mut self) {
        if let Some(id) = self.numbers.pick(&self.leaders(|_| true)) {
            self.cluster.step(id, Input::Transfer { to: None }, &[]);
        }
    }

    fn configure(&mut self) {
        let ready = |raft: &Raft| {
            let log = raft.log();
            let settled = log.configuration_index() <= log.commit_index();
            raft.may_propose()
                && raft.is_ready_leader()
                && settled
                && !log.configuration().is_joint()
        };
        let Some(id) = self.numbers.pick(&self.leaders(ready)) else { return };
        let mut next = self.cluster.raft(id).log().configuration().clone();
        let mut voters = vec![];
        let mut learners = vec![];
        // Who came back with another store has to be filled first; the leader sees to that by itself.
        let is_meant = |id: &NodeId| self.cluster.nodes[id].options.store == next.store(*id);
        for node in self.everybody.clone().into_iter().filter(is_meant).collect::<Vec<_>>() {
            match self.numbers.below(4) {
                0 | 1 => voters.push(node),
                2 => learners.push(node),
                _ => {}
            }
        }
        if voters.is_empty() {
            return;
        }
        next.outgoing = std::mem::replace(&mut next.voters, voters.into_iter().collect());
        next.learners = learners.into_iter().collect();
        self.done.configurations += 1;
        self.cluster.step(id, Input::ProposeConfiguration(next), &[]);
    }

    /// A disk is gone, where every configuration that may decide can do without it.
    fn wipe(&mut self) {
        let id = self.everybody[self.numbers.below(self.everybody.len())];
        let nodes = &self.cluster.nodes;
        let is_there = |c: &Configuration, node| {
            node != id && nodes.get(&node).is_some_and(|it| it.options.store == c.store(node))
        };
        let is_spare = |c: &Configuration| c.is_quorum(|node| is_there(c, node));
        let are_spare = |node: &Node| match &node.raft {
            Some(raft) => raft.log().configurations().iter().all(|(_, c)| is_spare(c)),
            None => is_spare(self.cluster.laws.configuration_of(&node.disk.entries)),
        };
        if nodes.values().all(are_spare) {
            self.done.wiped += 1;
            self.cluster.wipe(id);
        }
    }

    /// A disk writes nothing for a while.
    fn stall(&mut self) {
        let id = self.everybody[self.numbers.below(self.everybody.len())];
        self.stalled.push(id);
    }

    fn cut(&mut self) {
        let ids = &self.everybody;
        let (mut a, b) = (ids[self.numbers.below(ids.len())], ids[self.numbers.below(ids.len())]);
        if self.numbers.chance(500) {
            a = self.numbers.pick(&self.leaders(|_| true)).unwrap_or(a);
        }
        let ids = &self.everybody;
        match self.numbers.below(4) {
            0 => _ = self.cluster.cut.insert((a, b)),
            1 => self.cluster.cut.extend([(a, b), (b, a)]),
            2 => self.cluster.cut.extend(ids.iter().flat_map(|other| [(a, *other), (*other, a)])),
            _ => self.cluster.cut.extend(ids.iter().map(|other| (*other, a))),
        }
    }

    /// A leader makes entries that reach its own disk and nobody else, and is cut off: when it
    /// comes back, they may have to go.
    fn strand(&mut self) {
        let Some(id) = self.numbers.pick(&self.leaders(Raft::may_propose)) else { return };
        let others: Vec<_> = self.everybody.iter().copied().filter(|other| *other != id).collect();
        self.cluster.cut.extend(others.iter().map(|other| (id, *other)));
        if self.numbers.chance(500) {
            self.cluster.cut.extend(others.iter().map(|other| (*other, id)));
        }
        for _ in 0..self.numbers.between(1, 4) {
            if self.cluster.raft(id).may_propose() {
                self.cluster.step(id, Input::Propose { bytes: 5 }, &[]);
            }
        }
        for _ in 0..self.numbers.between(0, 5) {
            self.cluster.write_oldest(id);
        }
        if self.numbers.chance(500) {
            self.cluster.report_written(id);
        }
    }

    fn crash_some(&mut self) {
        let running = self.running();
        let count = if self.numbers.chance(50) { running.len() } else { 1 };
        for id in running.into_iter().skip(self.numbers.below(self.everybody.len())).take(count) {
            self.crash(id);
        }
    }

    /// One fault passes.
    fn repair(&mut self) {
        match self.numbers.below(3) {
            0 => self.cluster.cut.clear(),
            1 => _ = self.stalled.pop(),
            _ => {
                let ids = self.everybody.iter().copied();
                let down: Vec<_> = ids.filter(|id| !self.cluster.runs(*id)).collect();
                if let Some(id) = self.numbers.pick(&down) {
                    self.restart(id);
                }
            }
        }
    }

    fn crash(&mut self, id: NodeId) {
        let under_way = self.cluster.nodes[&id].writes.len();
        let writes = self.numbers.below(under_way + 1);
        let torn = self.numbers.chance(self.rates.torn);
        let hard_states = if torn { self.numbers.below(under_way - writes + 1) } else { 0 };
        self.done.crashes += 1;
        self.cluster.say(format_args!("{id} crashes"));
        self.cluster.crash(id, Kept { writes, hard_states });
    }

    /// The part of the log in sealed segments, and how old the hint of the commit index is, are
    /// the disk's own affair.
    fn restart(&mut self, id: NodeId) {
        let node = self.cluster.nodes.get_mut(&id).expect("a node of the cluster");
        let sealable = usize::try_from(node.sealable.get()).expect("in memory");
        let head = if self.numbers.chance(500) { self.numbers.below(sealable + 1) } else { 0 };
        if self.numbers.chance(200) {
            let hint = usize::try_from(node.disk.commit_index.get()).expect("in memory");
            node.disk.commit_index = Index::new(self.numbers.below(hint + 1) as u64);
        }
        let random = self.numbers.next();
        self.cluster.say(format_args!("{id} restarts, sealed up to {head}"));
        self.cluster.restart(id, Index::new(head as u64), random);
    }

    /// The faults end. A quorum is enough to go on; in the end everybody is there.
    fn heal(&mut self) {
        self.cluster.say(format_args!("the faults end"));
        self.cluster.cut.clear();
        self.stalled.clear();
        if self.rates.configure == 0 && self.done.wiped == 0 {
            let minority = (self.everybody.len() - 1) / 2;
            let first = self.numbers.below(self.everybody.len());
            let order = [&self.everybody[first..], &self.everybody[..first]].concat();
            let (away, present) = order.split_at(minority);
            for id in away.iter().copied().filter(|id| self.cluster.runs(*id)).collect::<Vec<_>>() {
                self.crash(id);
            }
            self.restart_all(present);
            self.converge("with a quorum");
        }
        let everybody = self.everybody.clone();
        self.restart_all(&everybody);
        self.converge("with everybody");
        self.stay_at_rest();
    }

    fn restart_all(&mut self, ids: &[NodeId]) {
        for id in ids.iter().copied().filter(|id| !self.cluster.runs(*id)).collect::<Vec<_>>() {
            self.restart(id);
        }
    }

    /// One tick everywhere, and everything that can be done within it.
    fn round(&mut self) {
        for id in self.running() {
            let random = self.numbers.next();
            self.cluster.step(id, Input::Tick { random }, &[]);
        }
        for _ in 0..3 {
            for link in self.cluster.links.keys().copied().collect::<Vec<_>>() {
                for _ in 0..self.cluster.links[&link].len() {
                    self.cluster.deliver(link.0, link.1, 0);
                }
            }
            for id in self.running() {
                while !self.cluster.nodes[&id].writes.is_empty() {
                    self.cluster.write_oldest(id);
                }
                self.cluster.report_written(id);
                self.cluster.fetch_oldest(id, 10);
            }
        }
    }

    fn converge(&mut self, when: &str) {
        for _ in 0..HEALING_ROUNDS {
            self.round();
            if self.why_not_converged().is_none() {
                return self.make_progress(when);
            }
        }
        panic!("{when}: {}\n{}", self.why_not_converged().unwrap_or_default(), self.states());
    }

    /// What is still missing to a cluster with one leader and one log.
    fn why_not_converged(&self) -> Option<String> {
        let Some(id) = self.leaders(Raft::is_ready_leader).pop() else {
            return Some("no leader with a committed no-op".into());
        };
        let leader = self.cluster.raft(id);
        let last = leader.log().last();
        if leader.log().configuration().is_joint() {
            return Some("the configuration is joint".into());
        }
        if leader.log().commit_index() < last.index {
            return Some(format!("{id} has not committed {last}"));
        }
        let configuration = leader.log().configuration();
        let members = configuration.members();
        let store = |id: &NodeId| self.cluster.nodes[id].options.store;
        if let Some(id) = members.iter().find(|id| store(id) != configuration.store(**id)) {
            return Some(format!("{id} has another store than is meant"));
        }
        if let Some(id) = members.iter().find(|id| configuration.is_refilling(**id)) {
            return Some(format!("{id} is no voter again"));
        }
        for member in members.into_iter().filter(|member| self.cluster.runs(*member)) {
            let raft = self.cluster.raft(member);
            if raft.log().commit_index() < last.index || raft.log().persisted() < last.index {
                return Some(format!("{member} has not committed {last}"));
            }
            if raft.leader() != Some(id) {
                return Some(format!("{member} does not follow {id}"));
            }
        }
        (self.cluster.laws.reads_waiting() > 0).then(|| "a read has no answer".into())
    }

    /// A healthy cluster commits what is proposed, and answers reads.
    fn make_progress(&mut self, when: &str) {
        let id = self.leaders(Raft::is_ready_leader).pop().expect("it has converged");
        for _ in 0..100 {
            if self.cluster.raft(id).may_propose() {
                break;
            }
            self.round(); // A handover has to end, one way or the other.
        }
        let Some(id) = self.leaders(Raft::may_propose).pop() else {
            panic!("{when}: no leader takes a proposal\n{}", self.states());
        };
        let before = self.cluster.laws.committed();
        self.cluster.step(id, Input::Propose { bytes: 7 }, &[]);
        self.cluster.step(id, Input::Read(ReadToken(self.next_token)), &[]);
        self.next_token += 1;
        for _ in 0..60 {
            self.round();
        }
        assert!(self.cluster.laws.committed() > before, "{when}: an append is not committed");
        let why_not = self.why_not_converged();
        assert_eq!(why_not, None, "{when}, after an append\n{}", self.states());
    }

    /// Once all is well, nothing changes any more: no needless elections.
    fn stay_at_rest(&mut self) {
        let term = self.cluster.laws.last_term_led();
        for _ in 0..100 {
            self.round();
        }
        assert_eq!(self.cluster.laws.last_term_led(), term, "an election for no reason");
    }

    fn states(&self) -> String {
        self.running().iter().fold(String::new(), |mut text, id| {
            let raft = self.cluster.raft(*id);
            writeln!(text, "{id}: {:?} {:?}", raft.role(), raft.log()).expect("a string takes all");
            text
        })
    }
}
