//! A client of the simulation: its user, and what carries out the decisions of the production pilots.
//!
//! What to send, what an answer means, whom to ask and when, how long to be patient, and what an
//! outcome is: all that is decided by [`Pilot`] and [`ReadPilot`], as in production. Here is what a
//! user does: thinks, appends, reads, dies, repeats what is in doubt, and tells what it has learned.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::guard::Guard;
use super::keeper::{self, Keeper};
use super::maker::{Maker, Next};
use super::network::StreamNumber;
use super::options::{Options, WorkloadOptions};
use super::random::Random;
use super::time::Time;
use crate::client::ask::Ask;
use crate::client::backoff::Jitter;
use crate::client::moment::Moment;
use crate::client::pilot::{Action, Fate, Names, Pilot};
use crate::client::read_pilot::{ReadAction, ReadPilot, SourceNumber, Taken};
use crate::client::search::{Beliefs, LinkNumber, Question, Word};
use crate::client::session::LaneNumber;
use crate::client::{Consistency, ReadOptions, Token, Welcome};
use crate::command::Command;
use crate::limits;
use crate::marks::{Mark, hit};
use crate::types::{ClientId, LogNumber, NodeId, Offset, Seq};
use crate::wire::api::{AppendReply, Appended, Read, ReadFrom, Records};
use crate::wire::conditions::{Conditions, Unmet};
use crate::wire::registry::Announcement;
use crate::wire::standing::Inquiry;

/// What a client wants done.
#[derive(Clone, Debug)]
pub(super) enum ClientAction {
    /// Ask a node who it is and who leads, over this connection.
    Hello(NodeId, u64),
    /// Ask the registry who leads.
    AskRegistry,
    /// Open a long stream to a node, for a lane.
    OpenLane { node: NodeId, link: u64, lane: LaneNumber, onward: bool },
    /// Send a request on a lane.
    Send(StreamNumber, Bytes),
    /// The stream of a lane is of no more use.
    CloseLane(StreamNumber),
    /// Read from a node; the number names the question.
    Read { node: NodeId, link: u64, question: u64, read: Read, onward: bool },
    /// Tell the laws and the history.
    Told(Told),
    /// A leader that is new has been quiet for so long, and nobody was asked who leads.
    TooPatient(Time),
    /// It would sleep until then (for ever, if that is none), and has something to do now.
    Oversleeps(Option<Moment>),
}

/// What a client learned of one of its operations.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A request begins.
    Begins { client: ClientId, seq: Seq, ask: Ask, sequence: Option<u64> },
    /// It is in the log.
    Acknowledged { client: ClientId, seq: Seq, appended: Appended },
    /// It is not, for certain.
    Rejected { client: ClientId, seq: Seq },
    /// What it asked for is not so. Its number may go to another request.
    Unmet { client: ClientId, seq: Seq, unmet: Unmet },
    /// A log is not there any more.
    SaidGone { log: LogNumber },
    /// Nobody knows.
    Unknown { client: ClientId, seq: Seq },
}

/// A request without an answer.
#[derive(Clone, Debug)]
struct Waiting {
    seq: Seq,
    client: ClientId,
    ask: Ask,
    /// The number of its first record, if it is a producer's.
    sequence: Option<u64>,
}

/// A read without an answer.
#[derive(Clone, Debug)]
struct Reading {
    pilot: ReadPilot,
    read: Read,
    /// It goes to one node, whoever leads, and must reflect all that was acknowledged: the client of
    /// somebody else, who has no such pilot.
    is_blind: bool,
    began: Time,
    /// The question that its records come as an answer to.
    source: Option<(u64, SourceNumber)>,
}

/// A read with an answer.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) read: Read,
    pub(super) began: Time,
}

/// So many pauses long a producer waits after a failure before it is opened again: others are it meanwhile.
const REOPEN_THINKS: u64 = 20;

/// One in so many times a producer does something, it is forgotten instead.
const FORGETS_ONE_IN: u64 = 12;

/// Of records up to so many bytes, those of a long read fit into a frame: here they come in one.
const SMALL_RECORD_BYTES: u64 = 1_000;

/// How long a client waits for the answer to a read, at most.
const READ_PATIENCE: Time = Time::from_secs(2);

/// How much later than it is due a client asks who leads: it looks at the time now and then.
const LATE_MAX: Time = Time::from_millis(25);

/// See the module.
pub(super) struct SimClient {
    pub(super) number: usize,
    /// Counts its lives: what comes for an earlier one is not heard.
    pub(super) life: u64,
    pub(super) paused_until: Time,
    /// It begins nothing new.
    finishing: bool,
    wants_read: bool,
    reads_served: u64,
    beliefs: Beliefs,
    pilot: Pilot,
    /// Pilots that it has had.
    pilots: u64,
    waiting: VecDeque<Waiting>,
    streams: BTreeMap<LaneNumber, StreamNumber>,
    /// The newest connection to each node.
    links: BTreeMap<NodeId, u64>,
    /// The last lane that anything was sent on.
    newest: Option<LaneNumber>,
    /// Since when the newest lane owes an answer, if it has given none and nobody was asked since.
    owed_since: Option<Time>,
    /// A request failed with its outcome unknown: it will be repeated by its token.
    doubt: Option<(Token, Ask)>,
    resuming: bool,
    next_at: Time,
    reading: Option<Reading>,
    questions: u64,
    read_after: Time,
    /// How far it has followed the log.
    pub(super) followed: Offset,
    records_made: u64,
    nodes: Vec<NodeId>,
    random: Random,
    /// What it asks for, if it does.
    guard: Option<Guard>,
    /// It is a producer.
    maker: Option<Maker>,
    /// It has a log of its own.
    keeper: Option<Keeper>,
    workload: WorkloadOptions,
    /// How far away the nodes are.
    distance: Time,
    actions: Vec<ClientAction>,
}

impl SimClient {
    pub(super) fn new(number: usize, options: &Options, random: Random) -> Self {
        let nodes: Vec<NodeId> = options.cluster.all().into_iter().collect();
        Self {
            number,
            life: 0,
            paused_until: Time::ZERO,
            finishing: false,
            wants_read: false,
            reads_served: 0,
            beliefs: beliefs(&nodes),
            pilot: Pilot::new(names(number, 0)),
            pilots: 0,
            waiting: VecDeque::new(),
            streams: BTreeMap::new(),
            links: BTreeMap::new(),
            newest: None,
            owed_since: None,
            doubt: None,
            resuming: false,
            next_at: Time::ZERO,
            reading: None,
            questions: 0,
            read_after: Time::ZERO,
            followed: Offset::ZERO,
            records_made: 0,
            nodes,
            random,
            guard: None,
            maker: None,
            keeper: None,
            workload: options.workload.clone(),
            distance: options.network.distance,
            actions: vec![],
        }
    }

    /// The same, but it asks for this.
    pub(super) fn guarded(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// The same, but it is a producer.
    pub(super) fn producing(self, maker: Maker) -> Self {
        Self { maker: Some(maker), ..self }
    }

    /// The same, but it has a log of its own.
    pub(super) fn keeping(self, keeper: Keeper) -> Self {
        Self { keeper: Some(keeper), ..self }
    }

    /// What it wants done. Empty after.
    pub(super) fn take_actions(&mut self) -> Vec<ClientAction> {
        std::mem::take(&mut self.actions)
    }

    /// It begins nothing new; what it has begun it finishes.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
        self.paused_until = Time::ZERO;
    }

    /// It waits for so long.
    pub(super) fn be_patient(&mut self, patience: Time) {
        self.workload.patience = patience;
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

    /// Time has passed: begins what is due, and wakes those pilots that wanted to be woken by now.
    pub(super) fn poll(&mut self, now: Time) {
        self.act(now);
        if is_due(now, self.pilot.wake_at()) {
            self.advance_appends(now);
        } else {
            self.watch_sleep(now);
        }
        let reading = self.reading.as_ref().map(|reading| reading.pilot.wake_at());
        match reading {
            Some(wake_at) if is_due(now, wake_at) => self.advance_read(now),
            Some(_) => self.watch_sleep_of_read(now),
            None => {}
        }
        self.judge(now);
    }

    /// What its user does by now.
    fn act(&mut self, now: Time) {
        if self.wants_read && self.reads_served == 0 && self.waiting.is_empty() {
            self.read(now, Consistency::Linearizable, ReadFrom::Last(1), false);
        }
        if now >= self.next_at && !self.finishing {
            self.next_at = now + Time::from_micros(1) + self.random.around(self.workload.think);
            self.begin(now);
        }
        if let Some((token, ask)) = self.doubt.take_if(|_| self.waiting.is_empty()) {
            self.resume(now, token, ask);
        }
    }

    /// Law: a pilot that sleeps has nothing to do until it wakes. In production nothing else wakes it.
    fn watch_sleep(&mut self, now: Time) {
        if self.pilot.is_idle() {
            return;
        }
        let (mut pilot, mut beliefs) = (self.pilot.clone(), self.beliefs.clone());
        pilot.on_time(now.moment(), &mut beliefs);
        let sends = pilot.sending_on() != self.pilot.sending_on();
        if sends || !pilot.take_actions().is_empty() {
            self.actions.push(ClientAction::Oversleeps(self.pilot.wake_at()));
        }
    }

    fn watch_sleep_of_read(&mut self, now: Time) {
        let Some(reading) = &self.reading else { return };
        let (mut pilot, mut beliefs) = (reading.pilot.clone(), self.beliefs.clone());
        pilot.on_time(now.moment(), &mut beliefs);
        if !pilot.take_actions().is_empty() {
            self.actions.push(ClientAction::Oversleeps(reading.pilot.wake_at()));
        }
    }

    /// Appends this, besides what it does by itself.
    pub(super) fn append(&mut self, now: Time, records: Vec<Bytes>) {
        self.push(now, records.into(), None);
    }

    fn begin(&mut self, now: Time) {
        if self.keeper.is_none() && self.random.below(5) == 0 {
            return self.begin_read(now);
        }
        let is_full =
            self.waiting.len() as u64 >= self.workload.in_flight_max || self.pilot.is_full();
        if is_full || self.resuming {
            return;
        }
        if let Some(next) = self.maker.as_ref().map(|maker| maker.next(now)) {
            return self.produce(now, next);
        }
        if let Some(next) = self.keeper.as_mut().map(Keeper::next) {
            return self.keep(now, next);
        }
        let records = self.some_records();
        let under_way = self.waiting.iter().map(|waiting| waiting.ask.records.len() as u64).sum();
        let ask = match &mut self.guard {
            Some(guard) => guard.ask(records, under_way),
            None => records.into(),
        };
        self.push(now, ask, None);
    }

    fn some_records(&mut self) -> Vec<Bytes> {
        let count = if self.random.below(4) == 0 { self.random.between(1, 5) } else { 1 };
        (0..count).map(|_| self.record()).collect()
    }

    /// What who has a log does next.
    fn keep(&mut self, now: Time, next: keeper::Next) {
        match next {
            keeper::Next::Ask(name) => {
                let inquiry = Inquiry::Log(name);
                self.read_with(now, false, |patience, jitter| {
                    ReadPilot::asking(inquiry, patience, jitter)
                });
            }
            keeper::Next::Append(log) => {
                let ask = Ask::from(self.some_records()).on(log);
                self.push(now, ask, None);
            }
            keeper::Next::Read(log) => {
                let from = match self.random.below(3) {
                    0 => ReadFrom::Start,
                    1 => ReadFrom::Offset(Offset::new(self.random.below(4))),
                    _ => ReadFrom::Last(self.random.below(20)),
                };
                let (limit, consistency) = (Some(200), Consistency::Linearizable);
                let options = ReadOptions { from, limit, consistency, follow: false };
                self.read_with(now, false, |patience, jitter| {
                    ReadPilot::new(options, patience, jitter).of(log)
                });
            }
            keeper::Next::Command(log, command) if self.waiting.is_empty() => {
                if let Some(keeper) = &mut self.keeper {
                    keeper.begins(&command);
                }
                let has_some = command.is_sound(1) && (!command.is_sound(0) || self.random.coin());
                let records = if has_some { self.some_records() } else { vec![] };
                self.push(now, Ask { records, ..Ask::of(command).on(log) }, None);
            }
            keeper::Next::Nothing | keeper::Next::Command(..) => {}
        }
    }

    /// A record that no other is equal to.
    fn record(&mut self) -> Bytes {
        self.records_made += 1;
        let mut text = format!("{}.{}", self.number, self.records_made);
        let length = self.random.below(self.workload.record_bytes_max);
        while (text.len() as u64) < length {
            text.push('.');
        }
        Bytes::from(text)
    }

    /// What a producer does next.
    fn produce(&mut self, now: Time, next: Next) {
        let count = self.random.between(1, 3);
        let records: Vec<_> = (0..count).map(|_| self.record()).collect();
        let forgets = self.random.below(FORGETS_ONE_IN) == 0;
        let Some(maker) = &mut self.maker else { return };
        match next {
            // Be it its own, or that of whoever took it over.
            Next::Open | Next::Append { .. } if forgets => {
                let forget = Ask::of(Command::Forget(maker.name));
                maker.forgets(now);
                self.push(now, forget, None);
            }
            Next::Open if self.waiting.is_empty() => {
                maker.begins_to_open();
                let open = Ask::of(Command::Open(maker.name));
                // Each process has a session of its own.
                self.start_anew();
                self.push(now, open, None);
            }
            Next::Nothing | Next::Open => {}
            Next::Ask => {
                let inquiry = Inquiry::Producer(maker.name);
                self.read_with(now, false, |patience, jitter| {
                    ReadPilot::asking(inquiry, patience, jitter)
                });
            }
            Next::Append { first } => {
                maker.appends(count);
                let producer = Some(maker.name);
                let conditions = Conditions { producer, ..Conditions::default() };
                self.push(now, Ask { conditions, ..records.into() }, Some(first));
            }
        }
    }

    fn push(&mut self, now: Time, ask: Ask, sequence: Option<u64>) {
        let waiting = Waiting { sequence, ..self.order(now, ask) };
        let Waiting { client, seq, ask, .. } = waiting.clone();
        self.actions.push(ClientAction::Told(Told::Begins { client, seq, ask, sequence }));
        self.waiting.push_back(waiting);
        self.advance_appends(now);
    }

    fn order(&mut self, now: Time, ask: Ask) -> Waiting {
        let deadline = (now + self.workload.patience).moment();
        let seq = self.pilot.on_order(now.moment(), ask.clone(), deadline);
        Waiting { seq, client: self.pilot.client(), ask, sequence: None }
    }

    /// Repeats the request whose outcome is unknown, as the command of a user would.
    fn resume(&mut self, now: Time, token: Token, ask: Ask) {
        self.close_lanes();
        self.pilots += 1;
        self.pilot = Pilot::resume(names(self.number, self.pilots), token);
        self.resuming = true;
        let waiting = self.order(now, ask);
        self.waiting.push_back(waiting);
        self.advance_appends(now);
    }

    fn begin_read(&mut self, now: Time) {
        let node = self.random.one_of(&self.nodes);
        let one = Consistency::Stale { node: Some(node) };
        let (consistency, is_blind) = match self.random.below(8) {
            0 => (Consistency::Stale { node: None }, false),
            1 => (one, false),
            2 => (one, true),
            3 => (Consistency::LinearizableAt { node }, false),
            _ => (Consistency::Linearizable, false),
        };
        let from = match self.random.below(24) {
            0..8 => ReadFrom::Last(self.random.below(20)),
            8 if self.workload.record_bytes_max <= SMALL_RECORD_BYTES => {
                return self.read_much(now);
            }
            _ => ReadFrom::Offset(self.followed),
        };
        self.read(now, consistency, from, is_blind);
    }

    /// Reads so much that another node than the leader is to serve it, if the log has that.
    fn read_much(&mut self, now: Time) {
        let limit = Some(limits::READ_SPARES_LEADER_RECORDS);
        let options = ReadOptions { limit, ..ReadOptions::default() };
        self.read_with(now, false, |patience, jitter| ReadPilot::new(options, patience, jitter));
    }

    fn read(&mut self, now: Time, consistency: Consistency, from: ReadFrom, is_blind: bool) {
        let options = ReadOptions { from, limit: Some(200), consistency, follow: false };
        self.read_with(now, is_blind, |patience, jitter| ReadPilot::new(options, patience, jitter));
    }

    fn read_with(
        &mut self,
        now: Time,
        is_blind: bool,
        pilot: impl FnOnce(Duration, Jitter) -> ReadPilot,
    ) {
        // One read at a time, and one that failed is not repeated at once.
        if self.reading.is_some() || now < self.read_after {
            return;
        }
        let patience = self.workload.patience.min(READ_PATIENCE + self.distance.times(10)).length();
        let mut pilot = pilot(patience, Jitter::new(self.random.number()));
        pilot.on_wait(now.moment());
        let mut read = pilot.rest();
        read.linearizable |= is_blind;
        self.reading = Some(Reading { pilot, read, is_blind, began: now, source: None });
        self.advance_read(now);
    }

    /// Lets the pilot of appends do all that can be done now.
    fn advance_appends(&mut self, now: Time) {
        self.pilot.on_time(now.moment(), &mut self.beliefs);
        self.perform(now);
    }

    fn perform(&mut self, now: Time) {
        for action in self.pilot.take_actions() {
            match action {
                Action::Ask(question) => {
                    self.owed_since = None;
                    self.ask(question);
                }
                // What still comes does no harm.
                Action::StopAsking => {}
                Action::Open { lane, node, onward, .. } => {
                    let link = self.link(node);
                    self.actions.push(ClientAction::OpenLane { node, link, lane, onward });
                }
                Action::Close(lane) => self.close_lane(lane),
                Action::Acknowledge(appended) => self.acknowledge(appended),
                Action::Fail(fate) => self.fail(now, fate),
                Action::Renamed(client) => self.rename(client),
            }
        }
        if self.resuming && self.waiting.is_empty() {
            self.start_anew();
        }
        self.send(now);
        self.judge(now);
        debug_assert!(self.pilot.take_actions().is_empty(), "at {now} more is to be done");
    }

    /// The connection to a node that is kept.
    pub(super) fn link(&self, node: NodeId) -> u64 {
        self.links.get(&node).copied().unwrap_or(1)
    }

    fn ask(&mut self, question: Question) {
        match question {
            Question::Node { node, fresh, .. } => {
                let link = self.link(node) + u64::from(fresh);
                self.links.insert(node, link);
                self.actions.push(ClientAction::Hello(node, link));
            }
            Question::Registry { .. } => self.actions.push(ClientAction::AskRegistry),
        }
    }

    fn send(&mut self, now: Time) {
        let lane = self.pilot.sending_on();
        let Some(lane) = lane else { return };
        let Some(stream) = self.streams.get(&lane).copied() else { return };
        while let Some(outgoing) = self.pilot.next_frame() {
            if self.newest != Some(lane) {
                (self.newest, self.owed_since) = (Some(lane), Some(now));
            }
            let frame = outgoing.header.to_frame(&outgoing.records);
            self.actions.push(ClientAction::Send(stream, super::codec::bytes_of(&frame)));
        }
    }

    /// Law: a leader that is new gets the usual patience, whatever the one before it was granted.
    fn judge(&mut self, now: Time) {
        let Some(since) = self.owed_since else { return };
        let quiet = now.since(since);
        if self.pilot.sending_on() != self.newest {
            self.owed_since = None;
        } else if quiet > Time::of(limits::CLIENT_HEDGE_AFTER) + LATE_MAX {
            self.owed_since = None;
            self.actions.push(ClientAction::TooPatient(quiet));
        }
    }

    fn close_lane(&mut self, lane: LaneNumber) {
        if let Some(stream) = self.streams.remove(&lane) {
            self.actions.push(ClientAction::CloseLane(stream));
        }
    }

    fn acknowledge(&mut self, appended: Appended) {
        let waiting = self.waiting.pop_front().expect("an answer to what waits");
        let Waiting { client, seq, ask, .. } = waiting;
        if let Some(guard) = &mut self.guard {
            guard.on_acknowledged(&appended);
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.on_acknowledged(ask.command.as_ref(), &appended);
        }
        if let Some(maker) = &mut self.maker {
            maker.on_acknowledged(appended.index);
        }
        self.actions.push(ClientAction::Told(Told::Acknowledged { client, seq, appended }));
        if self.resuming {
            hit(Mark::Settled);
        }
    }

    fn fail(&mut self, now: Time, fate: Fate) {
        if let Some(maker) = &mut self.maker {
            maker.on_failed(now, self.workload.think.times(REOPEN_THINKS));
        }
        let Waiting { client, seq, ask, .. } = self.waiting.pop_front().expect("it waits");
        let told = match fate {
            Fate::Unknown(token) => {
                // A user who wants to know repeats the same append; others go on.
                if self.doubt.is_none() && self.maker.is_none() && self.random.coin() {
                    self.doubt = Some((token, ask));
                }
                Told::Unknown { client, seq }
            }
            Fate::Unmet(unmet) => {
                if let Some(guard) = &mut self.guard {
                    guard.on_unmet(unmet);
                }
                if let Some(keeper) = &mut self.keeper {
                    keeper.on_unmet(unmet);
                }
                Told::Unmet { client, seq, unmet }
            }
            Fate::Expired(_) | Fate::Mismatch(_) => Told::Unknown { client, seq },
            Fate::Invalid
            | Fate::NotAdmin
            | Fate::Forbidden
            | Fate::GivenUp
            | Fate::Nobody
            | Fate::Busy(_)
            | Fate::NoRoom { .. }
            | Fate::Ended => Told::Rejected { client, seq },
        };
        if let Some(keeper) = &mut self.keeper {
            keeper.on_failed();
        }
        self.actions.push(ClientAction::Told(told));
    }

    /// What waits was never taken: it goes on under the new name.
    fn rename(&mut self, client: ClientId) {
        for (waiting, number) in self.waiting.iter_mut().zip(1..) {
            let (old, seq) = (waiting.client, waiting.seq);
            self.actions.push(ClientAction::Told(Told::Rejected { client: old, seq }));
            (waiting.client, waiting.seq) = (client, Seq::new(number));
            let Waiting { seq, ask, sequence, .. } = waiting.clone();
            self.actions.push(ClientAction::Told(Told::Begins { client, seq, ask, sequence }));
        }
    }

    /// The stream of a lane is open, or could not be opened.
    pub(super) fn lane_opened(
        &mut self,
        now: Time,
        (lane, link): (LaneNumber, u64),
        stream: Option<StreamNumber>,
    ) {
        let Some(stream) = stream else {
            self.pilot.on_closed(now.moment(), &mut self.beliefs, lane);
            return self.advance_appends(now);
        };
        if self.pilot.on_opened(now.moment(), lane, LinkNumber::new(link)) {
            self.streams.insert(lane, stream);
        } else {
            self.actions.push(ClientAction::CloseLane(stream));
        }
        self.advance_appends(now);
    }

    /// Answers came on a stream.
    pub(super) fn on_replies(&mut self, now: Time, stream: StreamNumber, replies: &[AppendReply]) {
        let Some(lane) = self.lane_of(stream) else { return };
        self.owed_since = None;
        self.pilot.on_replies(now.moment(), &mut self.beliefs, lane, replies);
        self.advance_appends(now);
    }

    /// A stream is over.
    pub(super) fn on_stream_end(&mut self, now: Time, stream: StreamNumber) {
        let Some(lane) = self.lane_of(stream) else { return };
        self.streams.remove(&lane);
        self.pilot.on_closed(now.moment(), &mut self.beliefs, lane);
        self.advance_appends(now);
    }

    fn lane_of(&self, stream: StreamNumber) -> Option<LaneNumber> {
        self.streams.iter().find(|(_, other)| **other == stream).map(|(lane, _)| *lane)
    }

    /// A node said who it is.
    pub(super) fn on_welcome(&mut self, now: Time, link: u64, welcome: &Welcome) {
        let (moment, beliefs) = (now.moment(), &mut self.beliefs);
        let word = Word::Welcome(LinkNumber::new(link), Box::new(welcome.clone()));
        self.pilot.hear(moment, beliefs, &word);
        if let Some(reading) = &mut self.reading {
            reading.pilot.hear(moment, beliefs, &word);
        }
        self.advance_appends(now);
        self.advance_read(now);
    }

    /// The registry named a leader.
    pub(super) fn on_announcement(&mut self, now: Time, announcement: &Announcement) {
        self.beliefs.route.on_announcement(announcement);
        self.advance_appends(now);
        self.advance_read(now);
    }

    /// Lets the pilot of the read do what is due.
    fn advance_read(&mut self, now: Time) {
        let Some(reading) = &mut self.reading else { return };
        reading.pilot.on_time(now.moment(), &mut self.beliefs);
        for action in reading.pilot.take_actions() {
            self.perform_read(now, action);
        }
    }

    fn perform_read(&mut self, now: Time, action: ReadAction) {
        match action {
            ReadAction::Ask(question) => self.ask(question),
            ReadAction::Open { source, node, read, onward, .. } => {
                let link = self.link(node);
                let Some(reading) = &mut self.reading else { return };
                let linearizable = read.linearizable || reading.is_blind;
                let read = Read { linearizable, ..read };
                self.questions += 1;
                let question = self.questions;
                reading.source = Some((question, source));
                reading.pilot.on_opened(now.moment(), source, LinkNumber::new(link));
                self.actions.push(ClientAction::Read { node, link, question, read, onward });
            }
            ReadAction::Close(number) => {
                if let Some(reading) = &mut self.reading {
                    reading.source.take_if(|(_, source)| *source == number);
                }
            }
            ReadAction::Fail(_) => {
                self.reading = None;
                self.read_after = now + Time::of(limits::CLIENT_ASK_EVERY);
            }
            ReadAction::StopAsking | ReadAction::GoesOn => {}
        }
    }

    /// An answer to a read came: gives the read if these are its records.
    pub(super) fn on_records(
        &mut self,
        now: Time,
        question: u64,
        header: &Records,
        count: usize,
    ) -> Option<Served> {
        let reading = self.reading.as_mut()?;
        // An answer to a question that was given up answers nothing.
        let (_, source) = reading.source.filter(|(asked, _)| *asked == question)?;
        let beliefs = &mut self.beliefs;
        let taken = reading.pilot.on_records(now.moment(), beliefs, source, (header, count));
        let served = match taken {
            Taken::Records(taken) => {
                assert_eq!(taken, count, "a node sent more than was asked for");
                self.reads_served += 1;
                let reading = self.reading.take()?;
                if let Some(standing) = &header.standing {
                    if let Some(maker) = &mut self.maker {
                        maker.on_standing(now, standing);
                    }
                    if let Some(keeper) = &mut self.keeper {
                        keeper.on_standing(standing);
                    }
                    return None;
                }
                Some(Served { read: reading.read, began: reading.began })
            }
            Taken::Nothing => None,
            Taken::Forbidden => unreachable!("simulated clients may do what they want"),
            Taken::Trimmed(_) => {
                hit(Mark::ReadTrimmed);
                self.reading = None;
                None
            }
            Taken::UnknownLog => {
                let log = self.reading.take()?.read.log;
                self.actions.push(ClientAction::Told(Told::SaidGone { log }));
                if let Some(keeper) = &mut self.keeper {
                    keeper.begin_again();
                }
                None
            }
            Taken::OutOfOrder { .. } => {
                panic!("question {question} was answered by {header:?}")
            }
        };
        self.advance_read(now);
        served
    }

    fn start_anew(&mut self) {
        self.close_lanes();
        self.pilots += 1;
        self.pilot = Pilot::new(names(self.number, self.pilots));
        self.resuming = false;
    }

    fn close_lanes(&mut self) {
        (self.newest, self.owed_since) = (None, None);
        let streams = std::mem::take(&mut self.streams);
        self.actions.extend(streams.into_values().map(ClientAction::CloseLane));
    }

    /// It dies, with all that it knew; another takes its place.
    pub(super) fn die(&mut self) {
        self.life += 1;
        for Waiting { client, seq, .. } in std::mem::take(&mut self.waiting) {
            self.actions.push(ClientAction::Told(Told::Unknown { client, seq }));
        }
        self.doubt = None;
        if let Some(guard) = &mut self.guard {
            guard.die();
        }
        if let Some(maker) = &mut self.maker {
            maker.on_failed(Time::ZERO, Time::ZERO);
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.begin_again();
        }
        self.reading = None;
        self.beliefs = beliefs(&self.nodes);
        for node in &self.nodes {
            // Its connections are others.
            *self.links.entry(*node).or_insert(1) += 1;
        }
        self.start_anew();
    }
}

/// Whether the time for which something sleeps is over.
fn is_due(now: Time, wake_at: Option<Moment>) -> bool {
    wake_at.is_some_and(|at| at <= now.moment())
}

fn beliefs(nodes: &[NodeId]) -> Beliefs {
    let nodes = nodes.iter().copied().collect();
    Beliefs { nodes, has_registry: true, ..Beliefs::default() }
}

/// The names of a client's so-manieth pilot.
fn names(number: usize, count: u64) -> Names {
    Names::new((number as u128 + 1) << 64 | u128::from(count))
}
