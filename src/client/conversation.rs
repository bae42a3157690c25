//! The task behind every append: it drives a [`Pilot`], which decides, with streams and timers.
//!
//! One loop gathers what happens (an order, an answer, a stream's end, a node's word, a time that
//! has come), tells the pilot, does what it says, and sends what it gives. It never waits for a
//! socket itself: each stream has a task that writes and one that reads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::append::{Answer, AppendError, Appender, Order, Orders};
use super::append_options::AppendOptions;
use super::ask::Ask;
use super::connections::Opened;
use super::pilot::{Action, Fate, Names, Pilot};
use super::questions::Questions;
use super::random;
use super::search::Word;
use super::session::LaneNumber;
use super::shared::Shared;
use super::token::Token;
use super::unavailable::Unavailable;
use crate::limits::{LANE_EVENTS_MAX, LANE_FRAMES_MAX, ORDERS_QUEUE_MAX};
use crate::net::{FrameReceiver, FrameSender, Stream, StreamError};
use crate::types::LogNumber;
use crate::wire::Frame;
use crate::wire::api::{AppendReplies, Onward, Request};

/// The task of callers of whom each waits for its own answer. It ends when every holder of the orders is
/// gone and all is answered.
pub(super) fn start(shared: Arc<Shared>) -> Orders {
    begin(shared, None, None)
}

/// The task of one caller, who gets the answers in order. It ends when the orders are gone and all is
/// answered, or at the first failure.
pub(super) fn appender(
    (shared, log): (Arc<Shared>, LogNumber),
    token: Option<Token>,
    options: &AppendOptions,
) -> Appender {
    let (sender, answers) = mpsc::unbounded_channel();
    Appender::new(begin(shared, token, Some(sender)), answers, (log, token, options))
}

fn begin(
    shared: Arc<Shared>,
    token: Option<Token>,
    in_order: Option<mpsc::UnboundedSender<Vec<Answer>>>,
) -> Orders {
    let (sender, orders) = mpsc::channel(ORDERS_QUEUE_MAX);
    // A client's names are drawn at random.
    let names = Names::new(random::draw());
    let pilot = match token {
        Some(token) => Pilot::resume(names, token),
        None => Pilot::new(names),
    };
    let conversation = Conversation {
        questions: Questions::new(shared.clone()),
        shared,
        pilot,
        in_order,
        answered: vec![],
        is_given_up: false,
        orders: Some(orders),
        waiting: VecDeque::new(),
        lanes: BTreeMap::new(),
        opening: JoinSet::new(),
        events: mpsc::channel(LANE_EVENTS_MAX),
    };
    tokio::spawn(conversation.run());
    Orders(sender)
}

struct Conversation {
    shared: Arc<Shared>,
    pilot: Pilot,
    /// Where answers go that nobody waits for singly. The first failure is the last thing heard there.
    in_order: Option<mpsc::UnboundedSender<Vec<Answer>>>,
    /// Those that are about to.
    answered: Vec<Answer>,
    is_given_up: bool,
    /// `None` when no more will come.
    orders: Option<mpsc::Receiver<Order>>,
    /// Who waits for the requests without an answer, in order.
    waiting: VecDeque<Waiting>,
    /// The streams that are open.
    lanes: BTreeMap<LaneNumber, Lane>,
    opening: JoinSet<(LaneNumber, Opened)>,
    questions: Questions,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

struct Waiting {
    reply: Option<oneshot::Sender<Answer>>,
    /// How many records it has.
    sent: usize,
    /// What it asks for, without them.
    ask: Ask,
}

struct Lane {
    frames: mpsc::Sender<Frame>,
    /// The tasks that write and read: they end with the lane.
    _tasks: JoinSet<()>,
}

enum Event {
    Replies(LaneNumber, AppendReplies),
    /// Everything handed to the lane's stream has been written.
    Written,
    Closed(LaneNumber),
}

impl Conversation {
    async fn run(mut self) {
        loop {
            self.advance();
            if self.waiting.is_empty() && self.orders.is_none() {
                return;
            }
            let (wake_at, is_full) = (self.wake_at(), self.pilot.is_full());
            let given_up = self.shared.given_up.clone();
            tokio::select! {
                () = given_up.cancelled(), if !self.is_given_up => self.on_given_up(),
                order = next_order(&mut self.orders, is_full) => self.on_orders(order),
                Some(event) = self.events.1.recv() => self.on_event(event),
                word = self.questions.next() => self.on_word(&word),
                Some(Ok((lane, opened))) = self.opening.join_next() => self.on_opened(lane, opened),
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Does all that can be done now.
    fn advance(&mut self) {
        self.pilot.on_time(self.shared.now(), &mut self.shared.beliefs());
        for action in self.pilot.take_actions() {
            self.perform(action);
        }
        assert_eq!(self.waiting.len(), self.pilot.unanswered(), "somebody waits for each request");
        self.hand_out();
        self.send();
    }

    /// Hands out what is answered, together.
    fn hand_out(&mut self) {
        let Some(in_order) = self.in_order.as_ref().filter(|_| !self.answered.is_empty()) else {
            return;
        };
        // Whoever asked may have gone.
        let _ = in_order.send(std::mem::take(&mut self.answered));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Ask(question) => self.questions.ask(question),
            Action::StopAsking => self.questions.stop(),
            Action::Open { lane, node, onward, limit } => {
                let shared = self.shared.clone();
                let request =
                    if onward { Request::Onward(Onward::Appends) } else { Request::Appends };
                self.opening.spawn(async move {
                    (lane, shared.connections.open(node, &request, limit).await)
                });
            }
            Action::Close(lane) => drop(self.lanes.remove(&lane)),
            Action::Acknowledge(appended) => {
                if let Some(waiting) = self.waiting.pop_front() {
                    self.answer(waiting.reply, Ok(appended));
                }
            }
            Action::Fail(fate) => self.fail_first(fate),
            Action::Renamed(_) => {}
        }
    }

    /// Takes an order, and those that have gathered behind it. `None`: no more will come.
    fn on_orders(&mut self, first: Option<Order>) {
        let now = self.shared.now();
        let mut next = first;
        while let Some(Order { ask, reply }) = next {
            let sent = ask.records.len();
            let (log, conditions) = (ask.log, ask.conditions.clone());
            let without = Ask { log, records: vec![], conditions, command: ask.command.clone() };
            self.waiting.push_back(Waiting { reply, sent, ask: without });
            self.pilot.on_order(now, ask, now + self.shared.timeout);
            let orders = self.orders.as_mut().filter(|_| !self.pilot.is_full());
            match orders.map(mpsc::Receiver::try_recv) {
                Some(Ok(order)) => next = Some(order),
                Some(Err(TryRecvError::Empty)) | None => return,
                Some(Err(TryRecvError::Disconnected)) => next = None,
            }
        }
        self.orders = None;
    }

    fn on_event(&mut self, event: Event) {
        let now = self.shared.now();
        match event {
            Event::Replies(lane, replies) => {
                let beliefs = &mut self.shared.beliefs();
                self.pilot.on_replies(now, beliefs, lane, &replies.replies);
            }
            Event::Written => {}
            Event::Closed(lane) => {
                self.lanes.remove(&lane);
                self.pilot.on_closed(now, &mut self.shared.beliefs(), lane);
            }
        }
    }

    fn on_word(&mut self, word: &Word) {
        self.pilot.hear(self.shared.now(), &mut self.shared.beliefs(), word);
    }

    fn on_opened(&mut self, lane: LaneNumber, opened: Opened) {
        let now = self.shared.now();
        match opened {
            Ok((link, stream)) if self.pilot.on_opened(now, lane, link) => {
                self.lanes.insert(lane, self.carry(lane, stream));
            }
            // It was given up meanwhile.
            Ok(_) => {}
            Err(_) => self.pilot.on_closed(now, &mut self.shared.beliefs(), lane),
        }
    }

    /// Gives a lane's stream its tasks.
    fn carry(&self, lane: LaneNumber, stream: Stream) -> Lane {
        let (frames, queue) = mpsc::channel(LANE_FRAMES_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(write(lane, stream.sender, queue, self.events.0.clone()));
        tasks.spawn(read(lane, stream.receiver, self.events.0.clone()));
        Lane { frames, _tasks: tasks }
    }

    /// What waits fails, and so does all that is still to come.
    fn on_given_up(&mut self) {
        self.is_given_up = true;
        self.pilot.on_given_up();
        self.orders = None;
    }

    /// Hands over as much as the stream has room for.
    fn send(&mut self) {
        let lane = self.pilot.sending_on().and_then(|lane| self.lanes.get(&lane));
        let Some(lane) = lane else { return };
        while let Ok(place) = lane.frames.try_reserve() {
            let Some(outgoing) = self.pilot.next_frame() else { return };
            place.send(outgoing.header.to_frame(&outgoing.records));
        }
    }

    fn wake_at(&self) -> Instant {
        let idle = || Instant::now() + self.shared.timeout;
        self.pilot.wake_at().map_or_else(idle, |at| self.shared.instant(at))
    }

    fn fail_first(&mut self, fate: Fate) {
        if let Some(waiting) = self.waiting.pop_front() {
            let error = self.error(fate, &waiting);
            self.answer(waiting.reply, Err(error));
        }
        if self.in_order.is_some() {
            // Orders that nobody has looked at have failed with this one.
            self.orders = None;
        }
    }

    fn answer(&mut self, reply: Option<oneshot::Sender<Answer>>, answer: Answer) {
        match reply {
            // Whoever asked may have gone.
            Some(reply) => drop(reply.send(answer)),
            None => self.answered.push(answer),
        }
    }

    fn error(&self, fate: Fate, waiting: &Waiting) -> AppendError {
        let sent = waiting.sent;
        match fate {
            Fate::Unmet(unmet) => AppendError::unmet(&waiting.ask, unmet.obstacle),
            Fate::Unknown(token) => AppendError::Unknown { token },
            Fate::Expired(token) => AppendError::Expired { token },
            Fate::Mismatch(appended) => AppendError::Mismatch { appended, sent },
            Fate::Invalid => AppendError::Invalid,
            Fate::NotAdmin => AppendError::NotAdmin,
            Fate::Forbidden => AppendError::Forbidden,
            Fate::GivenUp => AppendError::GivenUp,
            Fate::Nobody => AppendError::Unavailable(self.shared.unavailable()),
            Fate::Busy(node) => AppendError::Unavailable(Unavailable::Busy { node }),
            Fate::NoRoom { node, full } => {
                AppendError::Unavailable(Unavailable::DiskFull { node, full })
            }
            Fate::Ended => AppendError::Ended,
        }
    }
}

/// The next order, if there is room for it. `None`: no more will come.
async fn next_order(orders: &mut Option<mpsc::Receiver<Order>>, is_full: bool) -> Option<Order> {
    match orders {
        Some(orders) if !is_full => orders.recv().await,
        _ => std::future::pending().await,
    }
}

/// Writes a lane's frames.
async fn write(
    lane: LaneNumber,
    mut sender: FrameSender,
    mut queue: mpsc::Receiver<Frame>,
    events: mpsc::Sender<Event>,
) {
    while let Some(frame) = queue.recv().await {
        let event = match sender.send(&frame).await {
            Ok(()) => Event::Written,
            Err(_) => Event::Closed(lane),
        };
        let over = matches!(event, Event::Closed(_));
        if events.send(event).await.is_err() || over {
            return;
        }
    }
}

/// Reads a lane's answers until it ends.
async fn read(lane: LaneNumber, mut receiver: FrameReceiver, events: mpsc::Sender<Event>) {
    while let Ok(replies) = next_replies(&mut receiver).await {
        if events.send(Event::Replies(lane, replies)).await.is_err() {
            return;
        }
    }
    // The conversation may be over.
    let _ = events.send(Event::Closed(lane)).await;
}

async fn next_replies(receiver: &mut FrameReceiver) -> Result<AppendReplies, StreamError> {
    let frame = receiver.next().await?.ok_or(StreamError::Abandoned)?;
    Ok(AppendReplies::from_frame(&frame)?)
}
