//! A session against a model of the cluster that loses connections, steps down, forgets clients,
//! keeps deposed leaders that do not know it, refuses what expects another end of the log, what names
//! another fence and what comes from a producer that somebody else is by now, and answers late, twice and
//! out of order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::ask::Ask;
use super::session::{Advice, Failure, LaneNumber, Session};
use crate::command::Command;
use crate::label::{FenceToken, ProducerName};
use crate::types::{ClientId, Index, LogId, NodeId, Offset, Seq, SeqRange, Term};
use crate::wire::api::{AppendRefusal, AppendReply, AppendRun, Appended};
use crate::wire::conditions::{Conditions, Obstacle, Unmet};

const NODES: usize = 3;

/// Whoever else sets fences and opens the producer.
const OTHERS: ClientId = ClientId::new(u128::MAX);

/// One request in a log.
#[derive(Clone, Debug)]
struct Slot {
    client: ClientId,
    seq: Seq,
    first_unanswered: Seq,
    /// Which, counted by the model; none of others.
    request: Option<u64>,
    /// What it does instead of appending a record.
    command: Option<Command>,
}

/// A log, and what its table of clients has forgotten.
#[derive(Clone, Debug, Default)]
struct Log {
    slots: Vec<Slot>,
    evicted: BTreeSet<ClientId>,
    floor: u64,
}

impl Log {
    fn last(&self, client: ClientId) -> u64 {
        if self.evicted.contains(&client) {
            return 0;
        }
        let of_client = self.slots.iter().filter(|slot| slot.client == client);
        of_client.map(|slot| slot.seq.get()).max().unwrap_or(0)
    }

    /// How many records it has.
    fn end(&self) -> Offset {
        Offset::new(self.slots.iter().filter(|slot| slot.command.is_none()).count() as u64)
    }

    fn fence(&self) -> Option<FenceToken> {
        self.slots.iter().rev().find_map(|slot| match slot.command {
            Some(Command::Fence(token)) => Some(token),
            _ => None,
        })?
    }

    /// Who is the producer, if there is one.
    fn producer(&self) -> Option<ClientId> {
        self.slots.iter().rev().find_map(|slot| match slot.command {
            Some(Command::Open(_)) => Some(Some(slot.client)),
            Some(Command::Forget(_)) => Some(None),
            _ => None,
        })?
    }

    /// Why a request that is new is not taken.
    fn obstacle(&self, client: ClientId, conditions: &Conditions) -> Option<Obstacle> {
        let (next, present) = (self.end(), self.fence());
        if conditions.fence.is_some_and(|named| Some(named) != present) {
            return Some(Obstacle::Fence { present });
        }
        if conditions.producer.is_some() {
            match self.producer() {
                None => return Some(Obstacle::NoProducer),
                Some(holder) if holder != client => return Some(Obstacle::Superseded { epoch: 2 }),
                Some(_) => {}
            }
        }
        let elsewhere = conditions.expect_offset.is_some_and(|expected| expected != next);
        elsewhere.then_some(Obstacle::Offset { next })
    }

    /// Others do something.
    fn interfere(&mut self, command: Command) {
        let (client, seq, first_unanswered) = (OTHERS, Seq::FIRST, Seq::FIRST);
        self.slots.push(Slot {
            client,
            seq,
            first_unanswered,
            request: None,
            command: Some(command),
        });
    }

    /// Which request was answered so.
    fn acknowledged(&self, appended: &Appended) -> u64 {
        let found = if appended.count == 0 {
            self.slots.get(usize::try_from(appended.index.get() - 1).unwrap())
        } else {
            let mut records = self.slots.iter().filter(|slot| slot.command.is_none());
            records.nth(usize::try_from(appended.offset.get()).unwrap())
        };
        found.and_then(|slot| slot.request).expect("what is acknowledged is in the log, and ours")
    }

    /// Takes a request of the run, or finds it, or refuses it. Gives the index of its entry.
    fn append(&mut self, header: &AppendRun, seq: Seq, request: u64) -> Result<u64, AppendRefusal> {
        let last = self.last(header.client);
        if last == 0 && header.began_at.get() < self.floor {
            return Err(AppendRefusal::Expired);
        }
        let place = |slot: &Slot| slot.client == header.client && slot.seq == seq;
        if seq.get() > last + 1 {
            return Err(AppendRefusal::Gap { expected: Seq::new(last + 1) });
        }
        if seq.get() <= last {
            let remembered = self.slots.iter().filter(|slot| slot.client == header.client);
            let from = remembered.map(|slot| slot.first_unanswered).max().unwrap_or_default();
            if seq < from {
                return Err(AppendRefusal::Expired);
            }
            let at = self.slots.iter().position(place).expect("seqs in a log have no gaps");
            return Ok(at as u64 + 1);
        }
        let conditions = header.conditions.after(seq.since(header.seqs.first));
        if let Some(obstacle) = self.obstacle(header.client, &conditions) {
            let as_of = LogId::new(Index::new(self.slots.len() as u64), Term::new(1));
            return Err(AppendRefusal::Unmet(Unmet { as_of, obstacle }));
        }
        let AppendRun { client, first_unanswered, .. } = *header;
        let (request, command) = (Some(request), header.command.clone());
        self.slots.push(Slot { client, seq, first_unanswered, request, command });
        Ok(self.slots.len() as u64)
    }
}

#[derive(Debug)]
struct Lane {
    node: usize,
    to_node: VecDeque<(AppendRun, Vec<u64>)>,
    /// Taken by the node and not committed: answered later. The last is the index of the first of them.
    held: Vec<(ClientId, SeqRange, u64)>,
    /// Refused by the node, which is not certain yet.
    refused: Vec<(ClientId, SeqRange, Unmet)>,
    to_client: Vec<AppendReply>,
}

impl Lane {
    /// Side by side in the log, requests are answered together, unless they are commands.
    fn hold(&mut self, client: ClientId, seq: Seq, index: u64, is_command: bool) {
        match self.held.last_mut() {
            Some((of, seqs, first))
                if !is_command
                    && *of == client
                    && seqs.next() == seq
                    && *first + u64::from(seqs.count) == index =>
            {
                seqs.count += 1;
            }
            _ => self.held.push((client, SeqRange::one(seq), index)),
        }
    }

    fn refuse(&mut self, client: ClientId, seq: Seq, refusal: &AppendRefusal) {
        match self.to_client.last_mut() {
            Some(AppendReply { client: of, seqs, result: Err(same) })
                if *of == client && seqs.next() == seq && same == refusal =>
            {
                seqs.count += 1;
            }
            _ => {
                let result = Err(refusal.clone());
                self.to_client.push(AppendReply { client, seqs: SeqRange::one(seq), result });
            }
        }
    }
}

/// The cluster, the connections and the client.
struct World {
    log: Log,
    committed: usize,
    leader: usize,
    /// Logs of deposed leaders that do not know it.
    forks: BTreeMap<usize, Log>,
    lanes: BTreeMap<u64, Lane>,
    current: Option<u64>,
    session: Session,
    /// The client has one request on its way at a time.
    is_careful: bool,
    pushed: u64,
    /// Those without an answer, in order.
    open: VecDeque<u64>,
    /// Those that are certainly not in the log, because what they expected was not so.
    refused: BTreeSet<u64>,
    /// How many of them gave their number to another.
    taken_back: u32,
    /// The client has opened the producer, and appends as it.
    produces: bool,
    /// The obstacles that were certain.
    obstacles: BTreeSet<&'static str>,
    lanes_opened: u64,
    clients: u128,
    acknowledged: Vec<u64>,
    failed: bool,
    renewed: u32,
}

#[derive(Clone, Debug)]
enum Event {
    Push { expect: Option<u64>, fence: Option<usize> },
    Fence { which: usize },
    OpenProducer { fence: Option<usize> },
    Interfere { which: usize },
    Send,
    Deliver { lane: usize, busy: bool },
    Answer { lane: usize, which: usize, twice: bool },
    Close { lane: usize },
    Open { node: usize },
    Commit { count: usize },
    Elect { node: usize, keep: usize, aware: bool },
    Wake { node: usize },
    Evict,
}

impl World {
    fn new(is_careful: bool) -> Self {
        Self {
            is_careful,
            log: Log::default(),
            committed: 0,
            leader: 0,
            forks: BTreeMap::new(),
            lanes: BTreeMap::new(),
            current: None,
            session: Session::new(ClientId::new(1)),
            pushed: 0,
            open: VecDeque::new(),
            refused: BTreeSet::new(),
            taken_back: 0,
            produces: false,
            obstacles: BTreeSet::new(),
            lanes_opened: 0,
            clients: 1,
            acknowledged: vec![],
            failed: false,
            renewed: 0,
        }
    }

    fn perform(&mut self, event: &Event) {
        match *event {
            Event::Push { expect, fence } => self.append(expect, fence),
            Event::Fence { which } => {
                self.push(vec![], Conditions::default(), Some(Command::Fence(Some(fence(which)))));
            }
            Event::OpenProducer { fence: named } => {
                let conditions = Conditions { fence: named.map(fence), ..Conditions::default() };
                self.produces |= self.push(vec![], conditions, Some(Command::Open(producer())));
            }
            Event::Interfere { which } => self.log.interfere(match which {
                2 => Command::Open(producer()),
                3 => Command::Forget(producer()),
                which => Command::Fence(Some(fence(which))),
            }),
            Event::Send => self.send(),
            Event::Deliver { lane, busy } => self.deliver(lane, busy),
            Event::Answer { lane, which, twice } => self.answer(lane, which, twice),
            Event::Close { lane } => self.close(lane),
            Event::Open { node } => self.open(node),
            Event::Commit { count } => self.commit(count),
            Event::Elect { node, keep, aware } => self.elect(node, keep, aware),
            Event::Wake { node } => self.wake(node),
            Event::Evict => self.evict(),
        }
    }

    /// A record is appended; it may expect an end of the log, so far behind what would be right, and name
    /// a fence.
    fn append(&mut self, expect: Option<u64>, named: Option<usize>) {
        let record = Bytes::copy_from_slice(&(self.pushed + 1).to_le_bytes());
        let end = self.log.end().plus(self.open.len() as u64);
        let conditions = Conditions {
            expect_offset: expect.map(|behind| end.plus(behind)),
            fence: named.map(fence),
            producer: self.produces.then(producer),
        };
        self.push(vec![record], conditions, None);
    }

    /// Asks for something, if it may now. Says whether it may.
    fn push(
        &mut self,
        records: Vec<Bytes>,
        conditions: Conditions,
        command: Option<Command>,
    ) -> bool {
        // Who expects something mostly waits for the answer before the next request.
        let waits = self.is_careful && !self.open.is_empty();
        if self.session.is_full() || waits {
            return false;
        }
        self.pushed += 1;
        self.session.push(Ask { records, conditions, command, ..Ask::default() });
        self.open.push_back(self.pushed);
        true
    }

    fn send(&mut self) {
        let Some(number) = self.current else { return };
        if self.session.has_not_begun() {
            self.session.begin(Index::new(self.committed as u64));
        }
        if let Some(outgoing) = self.session.next_for(LaneNumber::new(number)) {
            let place = |seq: Seq| usize::try_from(seq.since(self.session.first())).unwrap();
            let requests: Vec<_> =
                outgoing.header.seqs.iter().map(|seq| self.open[place(seq)]).collect();
            let request = |record: &Bytes| u64::from_le_bytes(record.as_ref().try_into().unwrap());
            if outgoing.header.command.is_none() {
                let records: Vec<_> = outgoing.records.iter().map(request).collect();
                assert_eq!(records, requests, "each request has its own record");
            }
            let lane = self.lanes.get_mut(&number).unwrap();
            lane.to_node.push_back((outgoing.header, requests));
        }
    }

    fn deliver(&mut self, lane: usize, busy: bool) {
        let Some(number) = self.nth_lane(lane) else { return };
        let lane = self.lanes.get_mut(&number).unwrap();
        let Some((header, requests)) = lane.to_node.pop_front() else { return };
        let mut log = match self.forks.get_mut(&lane.node) {
            Some(fork) => Some(fork),
            None => (lane.node == self.leader).then_some(&mut self.log),
        };
        let client = header.client;
        for (seq, request) in header.seqs.iter().zip(requests) {
            let taken = match &mut log {
                None => Err(AppendRefusal::NotLeader { leader: NodeId::new(1) }),
                Some(_) if busy => Err(AppendRefusal::Busy),
                Some(log) => log.append(&header, seq, request),
            };
            match taken {
                Ok(index) => lane.hold(client, seq, index, header.command.is_some()),
                Err(AppendRefusal::Unmet(unmet)) => {
                    let left =
                        header.seqs.skip(u32::try_from(seq.since(header.seqs.first)).unwrap());
                    lane.refused.push((client, left, unmet));
                    return;
                }
                Err(refusal) => lane.refuse(client, seq, &refusal),
            }
        }
    }

    fn answer(&mut self, lane: usize, which: usize, twice: bool) {
        let Some(number) = self.nth_lane(lane) else { return };
        let lane = self.lanes.get_mut(&number).unwrap();
        if lane.to_client.is_empty() {
            return;
        }
        let which = which % lane.to_client.len();
        // A stream gives each answer once. What can come twice all the same is harmless: an answer
        // that is one for ever, or any on a lane on which nothing is sent again.
        let twice = twice && (lane.to_client[which].result.is_ok() || self.current != Some(number));
        let reply =
            if twice { lane.to_client[which].clone() } else { lane.to_client.remove(which) };
        let advice = self.session.on_reply(LaneNumber::new(number), &reply);
        self.follow(number, &advice);
    }

    fn follow(&mut self, lane: u64, advice: &Advice) {
        while let Some((_, appended)) = self.session.take_answered() {
            self.open.pop_front();
            self.acknowledged.push(self.log.acknowledged(&appended));
        }
        match advice {
            Advice::Continue | Advice::Pause | Advice::NoRoom { .. } => {}
            Advice::Elsewhere { .. } => {
                self.current = self.current.filter(|current| *current != lane);
            }
            Advice::Renew => {
                self.clients += 1;
                self.renewed += 1;
                self.session.renew(ClientId::new(self.clients));
            }
            Advice::Failed(Failure::Unmet(unmet)) => self.on_unmet(unmet.obstacle),
            Advice::Failed(_) => self.failed = true,
        }
    }

    fn on_unmet(&mut self, obstacle: Obstacle) {
        self.obstacles.insert(match obstacle {
            Obstacle::Offset { .. } => "offset",
            Obstacle::Fence { .. } => "fence",
            Obstacle::Superseded { .. } => "superseded",
            Obstacle::NoProducer => "none",
            _ => "another",
        });
        // It may open it again.
        self.produces = false;
        if self.session.take_back() {
            self.taken_back += 1;
        } else {
            self.failed = true;
        }
        self.refused.extend(self.open.drain(..));
    }

    fn close(&mut self, lane: usize) {
        let Some(number) = self.nth_lane(lane) else { return };
        self.lanes.remove(&number);
        self.current = self.current.filter(|current| *current != number);
        let advice = self.session.close_lane(LaneNumber::new(number));
        self.follow(number, &advice);
    }

    fn open(&mut self, node: usize) {
        self.lanes_opened += 1;
        let number = self.lanes_opened;
        let (to_node, held, refused, to_client) = (VecDeque::new(), vec![], vec![], vec![]);
        self.lanes.insert(number, Lane { node, to_node, held, refused, to_client });
        self.session.open_lane(LaneNumber::new(number));
        self.current = Some(number);
    }

    fn commit(&mut self, count: usize) {
        self.committed = (self.committed + count).min(self.log.slots.len());
        let committed = self.committed as u64;
        let served = |lane: &Lane| lane.node == self.leader && !self.forks.contains_key(&lane.node);
        for lane in self.lanes.values_mut().filter(|lane| served(lane)) {
            let is_committed = |(_, seqs, index): &mut (_, SeqRange, u64)| {
                *index + u64::from(seqs.count) - 1 <= committed
            };
            for (client, seqs, index) in lane.held.extract_if(.., is_committed) {
                let slot = usize::try_from(index - 1).unwrap();
                let before = self.log.slots[..slot].iter().filter(|slot| slot.command.is_none());
                let appended = Appended {
                    offset: Offset::new(before.count() as u64),
                    count: u32::from(self.log.slots[slot].command.is_none()),
                    term: Term::new(1),
                    index: Index::new(index),
                    leader: NodeId::new(1).unwrap(),
                };
                lane.to_client.push(AppendReply { client, seqs, result: Ok(appended) });
            }
            let is_certain =
                |(_, _, unmet): &mut (_, SeqRange, Unmet)| unmet.as_of.index.get() <= committed;
            for (client, seqs, unmet) in lane.refused.extract_if(.., is_certain) {
                let result = Err(AppendRefusal::Unmet(unmet));
                lane.to_client.push(AppendReply { client, seqs, result });
            }
        }
    }

    fn elect(&mut self, node: usize, keep: usize, aware: bool) {
        if self.forks.contains_key(&node) {
            self.wake(node);
        }
        if node == self.leader || aware {
            self.step_down(self.leader);
        } else {
            self.forks.insert(self.leader, self.log.clone());
        }
        self.leader = node;
        self.log.slots.truncate((self.committed + keep).min(self.log.slots.len()));
    }

    fn wake(&mut self, node: usize) {
        if self.forks.remove(&node).is_some() {
            self.step_down(node);
        }
    }

    fn step_down(&mut self, node: usize) {
        for lane in self.lanes.values_mut().filter(|lane| lane.node == node) {
            for (client, seqs, _) in lane.held.drain(..) {
                let result = Err(AppendRefusal::Unknown);
                lane.to_client.push(AppendReply { client, seqs, result });
            }
            for (client, seqs, _) in lane.refused.drain(..) {
                let result = Err(AppendRefusal::NotLeader { leader: None });
                lane.to_client.push(AppendReply { client, seqs, result });
            }
        }
    }

    /// The table forgets the client, if all that is in the log of it is committed.
    fn evict(&mut self) {
        let client = ClientId::new(self.clients);
        if self.log.producer() == Some(client) {
            // It is never forgotten for others' sake.
            return;
        }
        let last = self.log.slots.iter().rposition(|slot| slot.client == client);
        if let Some(last) = last.filter(|last| *last < self.committed) {
            self.log.evicted.insert(client);
            self.log.floor = self.log.floor.max(last as u64 + 1);
        }
    }

    fn nth_lane(&self, which: usize) -> Option<u64> {
        let count = self.lanes.len();
        (count > 0).then(|| *self.lanes.keys().nth(which % count).unwrap())
    }

    /// No request is in the log twice, none out of order, and the client is right about what is
    /// certain.
    fn check(&self) {
        let requests: Vec<u64> = self.log.slots.iter().filter_map(|slot| slot.request).collect();
        assert!(requests.is_sorted_by(|a, b| a < b), "twice or out of order: {requests:?}");
        let taken = (1..).filter(|request| !self.refused.contains(request));
        let expected: Vec<u64> = taken.take(self.acknowledged.len()).collect();
        assert_eq!(self.acknowledged, expected, "acknowledged once each, in order");
        self.check_none_refused();

        self.check_none_taken_from(self.certain_from());
    }

    /// The first request that the client is sure of.
    fn certain_from(&self) -> u64 {
        let unsure = self.session.certain_from().get() - self.session.first().get();
        let certain = self.open.get(usize::try_from(unsure).unwrap());
        certain.copied().unwrap_or(self.pushed + 1)
    }

    /// A leader that was deposed may still take what the log has refused: it commits nothing any more.
    fn check_none_refused(&self) {
        for slot in &self.log.slots {
            let is_refused = slot.request.is_some_and(|it| self.refused.contains(&it));
            assert!(!is_refused, "{slot:?} was refused for certain");
        }
    }

    fn check_none_taken_from(&self, certain_from: u64) {
        let logs = self.forks.values().chain([&self.log]);
        for slot in logs.flat_map(|log| &log.slots) {
            let is_unsure = slot.request.is_none_or(|it| it < certain_from);
            assert!(is_unsure, "{slot:?}, and from {certain_from} on is certain");
        }
    }

    /// The client ends here. What is under way arrives all the same, and makes no liar of it.
    fn give_up(&mut self) {
        let certain_from = self.certain_from();
        for lane in 0..self.lanes.len() {
            for _ in 0..=self.pushed {
                self.deliver(lane, false);
            }
        }
        self.check_none_taken_from(certain_from);
        self.check_none_refused();
    }

    /// No more faults: everything is acknowledged in few rounds.
    fn calm_down(&mut self) {
        for node in 0..NODES {
            self.wake(node);
        }
        for _ in 0..20 {
            if self.failed || self.session.is_empty() {
                return;
            }
            if self.current.is_none_or(|lane| self.lanes[&lane].node != self.leader) {
                self.open(self.leader);
            }
            for _ in 0..self.pushed {
                self.send();
            }
            for lane in 0..self.lanes.len() {
                for _ in 0..self.pushed {
                    self.deliver(lane, false);
                }
            }
            self.commit(usize::MAX / 2);
            for lane in 0..self.lanes.len() {
                while !self.failed && self.nth_lane_owes(lane) {
                    self.answer(lane, 0, false);
                }
            }
            self.check();
        }
        panic!("no progress: {:?}", self.session);
    }

    fn nth_lane_owes(&self, lane: usize) -> bool {
        self.nth_lane(lane).is_some_and(|number| !self.lanes[&number].to_client.is_empty())
    }
}

fn fence(which: usize) -> FenceToken {
    ["one", "two"][which].parse().unwrap()
}

fn producer() -> ProducerName {
    "p".parse().unwrap()
}

fn event() -> impl Strategy<Value = Event> {
    let (lane, node) = (|| 0..8usize, || 0..NODES);
    prop_oneof![
        6 => Just(Event::Push { expect: None, fence: None }),
        6 => Just(Event::Push { expect: Some(0), fence: None }),
        1 => Just(Event::Push { expect: Some(1), fence: None }),
        1 => (0..2usize).prop_map(|which| Event::Push { expect: None, fence: Some(which) }),
        1 => (0..2usize).prop_map(|which| Event::Fence { which }),
        1 => proptest::option::of(0..2usize).prop_map(|fence| Event::OpenProducer { fence }),
        1 => (0..4usize).prop_map(|which| Event::Interfere { which }),
        20 => Just(Event::Send),
        20 => (lane(), proptest::bool::weighted(0.1))
            .prop_map(|(lane, busy)| Event::Deliver { lane, busy }),
        20 => (lane(), 0..8usize, proptest::bool::weighted(0.2))
            .prop_map(|(lane, which, twice)| Event::Answer { lane, which, twice }),
        1 => lane().prop_map(|lane| Event::Close { lane }),
        4 => node().prop_map(|node| Event::Open { node }),
        5 => (0..4usize).prop_map(|count| Event::Commit { count }),
        2 => (node(), 0..4usize, any::<bool>())
            .prop_map(|(node, keep, aware)| Event::Elect { node, keep, aware }),
        1 => node().prop_map(|node| Event::Wake { node }),
        1 => Just(Event::Evict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn every_request_is_taken_once_and_in_order(
        events in proptest::collection::vec(event(), 0..200), gives_up: bool, is_careful: bool,
    ) {
        let mut world = World::new(is_careful);
        for event in &events {
            if !world.failed {
                world.perform(event);
                world.check();
            }
        }
        if gives_up || world.failed {
            world.give_up();
            return Ok(());
        }
        world.calm_down();
        if !world.failed {
            let taken = world.acknowledged.len() + world.refused.len();
            prop_assert_eq!(taken as u64, world.pushed);
        }
    }
}

/// A request is sent to two leaders, of which one is deposed and does not know it: the other refuses it for
/// certain, and what the first makes of it counts for nothing.
#[test]
fn a_deposed_leader_makes_no_liar_of_a_refusal() {
    let mut world = World::new(false);
    let to = |lane| Event::Deliver { lane, busy: false };
    let answer = Event::Answer { lane: 0, which: 0, twice: false };
    for event in [
        Event::OpenProducer { fence: None },
        Event::Push { expect: None, fence: None },
        Event::Open { node: 0 },
        Event::Send,
        Event::Send,
        to(0),
        Event::Elect { node: 1, keep: 1, aware: false },
        Event::Elect { node: 0, keep: 1, aware: false },
        Event::Interfere { which: 2 },
        Event::Open { node: 0 },
        Event::Send,
        Event::Send,
        Event::Open { node: 1 },
        Event::Send,
        Event::Send,
        to(1),
        to(1),
        Event::Commit { count: 2 },
        answer.clone(),
        Event::Answer { lane: 1, which: 0, twice: false },
        Event::Answer { lane: 1, which: 0, twice: false },
    ] {
        world.perform(&event);
        world.check();
    }
    assert_eq!(world.refused, BTreeSet::from([2]));
    (0..2).for_each(|_| world.perform(&to(2)));
    let is_taken = |log: &Log| log.slots.iter().any(|slot| slot.request == Some(2));
    assert!(world.forks.values().any(is_taken) && !is_taken(&world.log));
    world.check();
}

/// The model is worth something only if its histories reach the corners.
#[test]
fn the_model_reaches_renewal_expiry_and_refusal() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let events = proptest::collection::vec(event(), 200..400);
    let (mut renewed, mut failed, mut acknowledged, mut taken_back) = (0, 0, 0, 0);
    let mut obstacles = BTreeSet::new();
    for case in 0..500 {
        let mut world = World::new(case % 2 == 0);
        for event in &events.new_tree(&mut runner).unwrap().current() {
            if !world.failed {
                world.perform(event);
            }
        }
        world.calm_down();
        renewed += world.renewed;
        taken_back += world.taken_back;
        obstacles.append(&mut world.obstacles);
        failed += u32::from(world.failed);
        acknowledged += world.acknowledged.len();
    }
    assert!(
        renewed > 10 && failed > 10 && acknowledged > 500 && taken_back > 10,
        "{renewed} {failed} {acknowledged} {taken_back}"
    );
    assert_eq!(Vec::from_iter(obstacles), ["fence", "none", "offset", "superseded"]);
}
