//! A client of the simulation: the production session and routing, driven by virtual time.
//!
//! What the client's task does with sockets and timers is done here with events; what to send, what
//! an answer means and whom to ask is decided by the same lines as in production.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::network::StreamNumber;
use super::options::Options;
use super::random::Random;
use super::time::Time;
use crate::client::route::{Leading, Next, Route};
use crate::client::session::{Advice, LaneNumber, Session};
use crate::client::{Token, Welcome};
use crate::limits;
use crate::marks::{Mark, hit};
use crate::types::{ClientId, LogNumber, NodeId, Offset, Seq};
use crate::wire::api::{AppendReply, Appended, Read, ReadFrom};
use crate::wire::registry::Announcement;

/// What a client wants done.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// Ask a node who it is and who leads.
    Hello(NodeId),
    /// Ask the registry who leads.
    AskRegistry,
    /// Open a long stream to a node, for a lane.
    OpenLane(NodeId, LaneNumber),
    /// Send a request on a lane.
    Send(StreamNumber, Bytes),
    /// The stream of a lane is of no more use.
    CloseLane(StreamNumber),
    /// Read from a node; the number names the question.
    Read(NodeId, u64, Read),
    /// Tell the laws and the history.
    Told(Told),
}

/// What a client learned of one of its operations.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A request begins.
    Begins { client: ClientId, seq: Seq, records: Vec<Bytes> },
    /// It is in the log.
    Acknowledged { client: ClientId, seq: Seq, appended: Appended },
    /// It is not, for certain.
    Rejected { client: ClientId, seq: Seq },
    /// Nobody knows.
    Unknown { client: ClientId, seq: Seq },
}

/// A request without an answer.
#[derive(Clone, Debug)]
struct Waiting {
    seq: Seq,
    client: ClientId,
    records: Vec<Bytes>,
    deadline: Time,
}

/// A lane, as the client sees it.
#[derive(Clone, Copy, Debug)]
struct Lane {
    stream: StreamNumber,
    leading: Leading,
}

/// A read without an answer.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) read: Read,
    pub(super) began: Time,
    question: u64,
    node: NodeId,
}

/// How long a client waits for the answer to a read before it asks again, at most.
const READ_PATIENCE: Time = Time::from_secs(2);

/// See the module.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct Customer {
    pub(super) number: usize,
    /// Counts its lives: what comes for an earlier one is not heard.
    pub(super) life: u64,
    pub(super) paused_until: Time,
    /// It begins nothing new.
    finishing: bool,
    wants_read: bool,
    reads_served: u64,
    session: Session,
    client: ClientId,
    clients: u64,
    route: Route,
    waiting: VecDeque<Waiting>,
    lanes: BTreeMap<LaneNumber, Lane>,
    current: Option<LaneNumber>,
    lanes_opened: u64,
    /// A request failed with its outcome unknown: it will be repeated by its token.
    doubt: Option<(Token, Vec<Bytes>)>,
    resuming: bool,
    /// When each node that has not answered was first and last asked who it is.
    asked: BTreeMap<NodeId, (Time, Time)>,
    registry_asked: Option<Time>,
    /// Whether the leader is doubted, and everybody asked.
    hedging: bool,
    quiet_since: Time,
    hedge_after: Time,
    send_after: Time,
    troubles: u32,
    next_at: Time,
    pub(super) reading: Option<Reading>,
    questions: u64,
    read_after: Time,
    /// How far it has followed the log.
    pub(super) followed: Offset,
    records_made: u64,
    nodes: Vec<NodeId>,
    random: Random,
    think: Time,
    in_flight_max: u64,
    record_bytes_max: u64,
    patience: Time,
    wishes: Vec<Wish>,
}

impl Customer {
    pub(super) fn new(number: usize, options: &Options, random: Random) -> Self {
        let client = identity(number, 0);
        Self {
            number,
            life: 0,
            paused_until: Time::ZERO,
            finishing: false,
            wants_read: false,
            reads_served: 0,
            session: Session::new(client),
            client,
            clients: 0,
            route: Route::new(),
            waiting: VecDeque::new(),
            lanes: BTreeMap::new(),
            current: None,
            lanes_opened: 0,
            doubt: None,
            resuming: false,
            asked: BTreeMap::new(),
            registry_asked: None,
            hedging: false,
            quiet_since: Time::ZERO,
            hedge_after: Time::of(limits::CLIENT_HEDGE_AFTER),
            send_after: Time::ZERO,
            troubles: 0,
            next_at: Time::ZERO,
            reading: None,
            questions: 0,
            read_after: Time::ZERO,
            followed: Offset::ZERO,
            records_made: 0,
            nodes: (1..=options.nodes).filter_map(NodeId::new).collect(),
            random,
            think: options.think,
            in_flight_max: options.in_flight_max,
            record_bytes_max: options.record_bytes_max,
            patience: options.patience,
            wishes: vec![],
        }
    }

    /// What it wants done. Empty after.
    pub(super) fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    /// It begins nothing new; what it has begun it finishes.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
        self.paused_until = Time::ZERO;
    }

    /// It waits for so long.
    pub(super) fn be_patient(&mut self, patience: Time) {
        self.patience = patience;
    }

    /// It wants one linearizable read, and asks until it gets it.
    pub(super) fn want_read(&mut self) {
        self.wants_read = true;
    }

    /// How many of its reads were answered.
    pub(super) fn reads_served(&self) -> u64 {
        self.reads_served
    }

    /// Whether nothing of it is unanswered.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.doubt.is_none()
    }

    /// Time has passed: begins what is due, gives up what is late, asks, sends.
    pub(super) fn poll(&mut self, now: Time) {
        if self.waiting.front().is_some_and(|waiting| waiting.deadline <= now) {
            self.fail_all();
        }
        let patience = self.patience.min(READ_PATIENCE);
        if self.reading.as_ref().is_some_and(|reading| now.since(reading.began) > patience) {
            let reading = self.reading.take().expect("it was there");
            self.route.on_failed(reading.node);
        }
        if self.wants_read && self.reads_served == 0 && self.waiting.is_empty() {
            self.ask_for(now, true, ReadFrom::Last(1));
        }
        if now >= self.next_at && !self.finishing {
            self.next_at = now + Time::from_micros(1) + self.random.around(self.think);
            self.begin(now);
        }
        if let Some((token, records)) = self.doubt.take_if(|_| self.waiting.is_empty()) {
            self.resume(now, token, records);
        }
        self.advance(now);
    }

    /// Appends this, besides what it does by itself.
    pub(super) fn append(&mut self, now: Time, records: Vec<Bytes>) {
        self.push(now, records);
        self.advance(now);
    }

    fn begin(&mut self, now: Time) {
        if self.random.below(5) == 0 {
            return self.begin_read(now);
        }
        let is_full = self.waiting.len() as u64 >= self.in_flight_max || self.session.is_full();
        if is_full || self.resuming {
            return;
        }
        let count = if self.random.below(4) == 0 { self.random.between(1, 5) } else { 1 };
        let records = (0..count).map(|_| self.record()).collect();
        self.push(now, records);
    }

    /// A record that no other is equal to.
    fn record(&mut self) -> Bytes {
        self.records_made += 1;
        let mut text = format!("{}.{}", self.number, self.records_made);
        let length = self.random.below(self.record_bytes_max);
        while (text.len() as u64) < length {
            text.push('.');
        }
        Bytes::from(text)
    }

    fn push(&mut self, now: Time, records: Vec<Bytes>) {
        if self.waiting.is_empty() {
            self.quiet_since = now;
        }
        let seq = self.session.push(records.clone());
        let (deadline, client) = (now + self.patience, self.client);
        let told = Told::Begins { client, seq, records: records.clone() };
        self.wishes.push(Wish::Told(told));
        self.waiting.push_back(Waiting { seq, client, records, deadline });
    }

    /// Repeats the request whose outcome is unknown, as the command of a user would.
    fn resume(&mut self, now: Time, token: Token, records: Vec<Bytes>) {
        self.close_lanes();
        self.session = Session::resume(token);
        self.client = token.client();
        self.resuming = true;
        self.quiet_since = now;
        let seq = self.session.push(records.clone());
        let (deadline, client) = (now + self.patience, self.client);
        self.waiting.push_back(Waiting { seq, client, records, deadline });
    }

    fn begin_read(&mut self, now: Time) {
        let linearizable = self.random.below(4) > 0;
        let from = match self.random.below(3) {
            0 => ReadFrom::Last(self.random.below(20)),
            _ => ReadFrom::Offset(self.followed),
        };
        self.ask_for(now, linearizable, from);
    }

    fn ask_for(&mut self, now: Time, linearizable: bool, from: ReadFrom) {
        // One read at a time, and a refused one is not repeated at once.
        if self.reading.is_some() || now < self.read_after {
            return;
        }
        self.read_after = now + Time::of(limits::CLIENT_ASK_EVERY);
        let anybody = self.random.one_of(&self.nodes);
        let leader = self.route.leader().map(|leading| leading.node);
        if self.wants_read && leader.is_none() {
            // As in production: look for the leader, then ask it. Others, who have nothing to
            // prove, ask anybody.
            return self.approach(now);
        }
        let node = if linearizable { leader.unwrap_or(anybody) } else { anybody };
        let log = LogNumber::MAIN;
        let read = Read { log, from, limit: Some(200), linearizable, follow: false };
        self.questions += 1;
        let question = self.questions;
        self.wishes.push(Wish::Read(node, question, read.clone()));
        self.reading = Some(Reading { read, began: now, question, node });
    }

    /// Does all that can be done now.
    fn advance(&mut self, now: Time) {
        self.retire();
        if self.waiting.is_empty() {
            return;
        }
        if self.current.is_none() {
            self.approach(now);
        } else if self.is_overdue(now) {
            hit(Mark::Hedged);
            self.hedging = true;
            self.ask_all(now);
        }
        self.send(now);
    }

    fn is_overdue(&self, now: Time) -> bool {
        let owes = self.current.is_some_and(|number| self.session.owes(number));
        owes && now.since(self.quiet_since) >= self.hedge_after
    }

    /// Looks for the leader, and opens a lane to it.
    fn approach(&mut self, now: Time) {
        match self.route.what_next() {
            Next::Use(leading) if self.session.is_unborn() => self.hello(now, leading.node),
            Next::Use(leading) => self.open_lane(now, leading),
            Next::Ask(node) => self.hello(now, node),
            Next::AskAll => self.ask_all(now),
        }
    }

    fn ask_all(&mut self, now: Time) {
        for node in self.nodes.clone() {
            self.hello(now, node);
        }
        let every = Time::of(limits::CLIENT_HEDGE_AFTER * 4);
        if self.registry_asked.is_none_or(|asked| now.since(asked) >= every) {
            self.registry_asked = Some(now);
            self.wishes.push(Wish::AskRegistry);
        }
    }

    fn hello(&mut self, now: Time, node: NodeId) {
        let (first, last) = self.asked.get(&node).copied().unwrap_or((now, Time::ZERO));
        if last > Time::ZERO && now.since(last) < Time::of(limits::CLIENT_ASK_EVERY) {
            return;
        }
        let silent = now.since(first) >= Time::of(limits::CLIENT_HEDGE_AFTER);
        if silent && self.current.is_none() {
            // A claim that is not answered is not believed for ever.
            self.route.on_failed(node);
        }
        self.asked.insert(node, (if silent { now } else { first }, now));
        self.wishes.push(Wish::Hello(node));
    }

    /// A node said who it is.
    pub(super) fn on_welcome(&mut self, now: Time, welcome: &Welcome) {
        self.asked.remove(&welcome.node);
        self.route.on_welcome(welcome);
        let Some(leading) = self.route.leader() else { return };
        let suspect = self.current.and_then(|number| self.lanes.get(&number)).map(|l| l.leading);
        if self.hedging && suspect == Some(leading) && welcome.node == leading.node {
            // It leads and has nothing to say yet.
            self.hedging = false;
            self.quiet_since = now;
            let most = Time::of(limits::CLIENT_HEDGE_MAX);
            self.hedge_after = self.hedge_after.times(2).min(most);
        }
        if self.session.is_unborn() && welcome.node == leading.node {
            self.session.bear(welcome.commit_index);
        }
        let is_other = suspect.is_none_or(|suspect| suspect != leading);
        let is_wanted = self.current.is_none() || self.hedging;
        if is_other && is_wanted && !self.waiting.is_empty() && !self.session.is_unborn() {
            self.open_lane(now, leading);
        }
        self.advance(now);
    }

    /// The registry named a leader.
    pub(super) fn on_announcement(&mut self, announcement: &Announcement) {
        self.route.on_announcement(announcement);
    }

    fn open_lane(&mut self, now: Time, leading: Leading) {
        self.lanes_opened += 1;
        let number = LaneNumber::new(self.lanes_opened);
        self.session.open_lane(number);
        self.hedging = false;
        self.quiet_since = now;
        self.hedge_after = Time::of(limits::CLIENT_HEDGE_AFTER);
        self.current = Some(number);
        // The stream's number is told at once; see `lane_opened`.
        self.lanes.insert(number, Lane { stream: StreamNumber(0), leading });
        self.wishes.push(Wish::OpenLane(leading.node, number));
    }

    /// The stream of a lane is open, or could not be opened.
    pub(super) fn lane_opened(
        &mut self,
        now: Time,
        lane: LaneNumber,
        stream: Option<StreamNumber>,
    ) {
        let Some(stream) = stream else {
            return self.on_lane_closed(now, lane);
        };
        self.lanes.get_mut(&lane).expect("it was just opened").stream = stream;
        self.send(now);
    }

    fn send(&mut self, now: Time) {
        let Some(number) = self.current.filter(|_| now >= self.send_after) else { return };
        let Some(lane) = self.lanes.get(&number).filter(|lane| lane.stream.0 > 0) else { return };
        let stream = lane.stream;
        while let Some(outgoing) = self.session.next_for(number) {
            let frame = outgoing.header.to_frame(&outgoing.records);
            let bytes = super::world::bytes_of(&frame);
            self.wishes.push(Wish::Send(stream, bytes));
        }
    }

    /// An answer came on a stream.
    pub(super) fn on_reply(&mut self, now: Time, stream: StreamNumber, reply: &AppendReply) {
        let Some(number) = self.lane_of(stream) else { return };
        self.quiet_since = now;
        self.hedge_after = Time::of(limits::CLIENT_HEDGE_AFTER);
        let advice = self.session.on_reply(number, reply);
        self.acknowledge();
        self.follow(now, number, &advice);
        self.advance(now);
    }

    /// A stream is over.
    pub(super) fn on_stream_end(&mut self, now: Time, stream: StreamNumber) {
        if let Some(number) = self.lane_of(stream) {
            self.on_lane_closed(now, number);
        }
    }

    fn on_lane_closed(&mut self, now: Time, number: LaneNumber) {
        let Some(lane) = self.lanes.remove(&number) else { return };
        if self.current == Some(number) {
            self.route.on_failed(lane.leading.node);
            self.leave(number);
        }
        let advice = self.session.close_lane(number);
        self.follow(now, number, &advice);
    }

    fn lane_of(&self, stream: StreamNumber) -> Option<LaneNumber> {
        self.lanes.iter().find(|(_, lane)| lane.stream == stream).map(|(number, _)| *number)
    }

    fn follow(&mut self, now: Time, number: LaneNumber, advice: &Advice) {
        match advice {
            Advice::Continue => {}
            Advice::Pause | Advice::NoRoom { .. } => {
                self.troubles += 1;
                let pause = limits::BACKOFF_MIN * 2_u32.pow(self.troubles.min(8));
                self.send_after = now + Time::of(pause.min(limits::BACKOFF_MAX));
            }
            Advice::Elsewhere { hint } => {
                if let Some(lane) = self.lanes.get(&number) {
                    self.route.on_refusal(lane.leading.node, *hint);
                }
                self.leave(number);
            }
            Advice::Renew => {
                let client = self.new_client();
                self.client = client;
                self.session.renew(client);
                // What waits was never taken: it goes on under the new name.
                for (place, waiting) in self.waiting.iter_mut().enumerate() {
                    let (old, seq) = (waiting.client, waiting.seq);
                    self.wishes.push(Wish::Told(Told::Rejected { client: old, seq }));
                    waiting.client = client;
                    waiting.seq = Seq::new(place as u64 + 1);
                    let (seq, records) = (waiting.seq, waiting.records.clone());
                    self.wishes.push(Wish::Told(Told::Begins { client, seq, records }));
                }
                if let Some(current) = self.current {
                    self.leave(current);
                }
            }
            Advice::Failed(_) => self.fail_all(),
        }
    }

    fn leave(&mut self, number: LaneNumber) {
        if self.current == Some(number) {
            self.current = None;
            self.hedging = false;
            self.troubles += 1;
        }
    }

    fn acknowledge(&mut self) {
        while let Some((seq, appended)) = self.session.take_answered() {
            self.troubles = 0;
            let waiting = self.waiting.pop_front().expect("an answer to what waits");
            assert_eq!(waiting.seq, seq, "answers come in order");
            let client = waiting.client;
            self.wishes.push(Wish::Told(Told::Acknowledged { client, seq, appended }));
            if self.resuming && self.waiting.is_empty() {
                hit(Mark::Settled);
                self.start_anew();
            }
        }
    }

    fn retire(&mut self) {
        let (session, current) = (&mut self.session, self.current);
        let wishes = &mut self.wishes;
        self.lanes.retain(|number, lane| {
            let keep = current == Some(*number) || session.owes(*number);
            if !keep {
                let advice = session.close_lane(*number);
                debug_assert_eq!(advice, Advice::Continue, "nothing was outstanding");
                wishes.push(Wish::CloseLane(lane.stream));
            }
            keep
        });
    }

    /// Everything that waits fails: what nobody can have taken for certain, the rest without.
    fn fail_all(&mut self) {
        let certain_from = self.session.certain_from();
        let mut doubt = None;
        for waiting in std::mem::take(&mut self.waiting) {
            let (client, seq) = (waiting.client, waiting.seq);
            let told = if seq < certain_from {
                if let Some(token) = self.session.token(seq) {
                    doubt.get_or_insert((token, waiting.records));
                }
                Told::Unknown { client, seq }
            } else {
                Told::Rejected { client, seq }
            };
            self.wishes.push(Wish::Told(told));
        }
        self.start_anew();
        // A user who wants to know repeats the same append; others go on.
        if self.random.coin() {
            self.doubt = doubt;
        }
    }

    fn start_anew(&mut self) {
        self.close_lanes();
        self.client = self.new_client();
        self.session = Session::new(self.client);
        self.resuming = false;
    }

    fn close_lanes(&mut self) {
        let lanes = std::mem::take(&mut self.lanes);
        self.wishes.extend(lanes.into_values().map(|lane| Wish::CloseLane(lane.stream)));
        self.current = None;
        self.hedging = false;
    }

    fn new_client(&mut self) -> ClientId {
        self.clients += 1;
        identity(self.number, self.clients)
    }

    /// It dies, with all that it knew; another takes its place.
    pub(super) fn die(&mut self) {
        self.life += 1;
        for waiting in std::mem::take(&mut self.waiting) {
            let (client, seq) = (waiting.client, waiting.seq);
            self.wishes.push(Wish::Told(Told::Unknown { client, seq }));
        }
        self.doubt = None;
        self.reading = None;
        self.route = Route::new();
        self.asked.clear();
        self.start_anew();
    }

    /// The read that is answered, if it is the one that waits.
    fn take_reading(&mut self, question: u64) -> Option<Reading> {
        self.reading.take_if(|reading| reading.question == question)
    }

    /// A read was answered.
    pub(super) fn on_read(&mut self, question: u64) -> Option<Reading> {
        let reading = self.take_reading(question)?;
        self.reads_served += 1;
        Some(reading)
    }

    /// A read was refused.
    pub(super) fn on_read_refused(&mut self, question: u64, leader: Option<NodeId>) {
        if let Some(reading) = self.take_reading(question) {
            self.route.on_refusal(reading.node, leader);
        }
    }
}

/// The identity of a client's so-manieth life or session.
fn identity(number: usize, count: u64) -> ClientId {
    ClientId::new((number as u128 + 1) << 64 | u128::from(count))
}
