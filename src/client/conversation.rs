//! The task behind every append: it owns a session and the streams that carry it.
//!
//! One loop gathers what happens (an order, an answer, a stream's end, a leader found, a time that
//! has come), tells the session, and sends what the session then allows. It never waits for a
//! socket itself: each stream has a task that writes and one that reads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::append::{AppendError, Order, Orders};
use super::backoff::pause_after;
use super::connections::AskError;
use super::leader::{Shared, Unavailable};
use super::route::Leading;
use super::session::{Advice, Failure, LaneNumber, Session};
use super::token::Token;
use crate::limits::{
    BACKOFF_MIN, CLIENT_HEDGE_AFTER, CLIENT_HEDGE_MAX, LANE_QUEUE_MAX, ORDERS_QUEUE_MAX,
};
use crate::net::{FrameReceiver, FrameSender, Stream, StreamError};
use crate::types::{ClientId, Index, Seq};
use crate::wire::Frame;
use crate::wire::api::{AppendReplies, Appended, Request};

/// Starts the task. It ends when every holder of the orders is gone and all is answered; with a
/// token, or if it `ends_at_failure`, at the first failure as well.
pub(super) fn start(shared: Arc<Shared>, token: Option<Token>, ends_at_failure: bool) -> Orders {
    let (sender, orders) = mpsc::channel(ORDERS_QUEUE_MAX);
    let session = token.map_or_else(|| Session::new(new_client()), Session::resume);
    let conversation = Conversation {
        shared,
        session,
        ends_at_failure: ends_at_failure || token.is_some(),
        is_given_up: false,
        orders: Some(orders),
        waiting: VecDeque::new(),
        lanes: BTreeMap::new(),
        current: None,
        lanes_opened: 0,
        events: mpsc::channel(LANE_QUEUE_MAX),
        approach: JoinSet::new(),
        paused_until: None,
        refused: None,
        troubles: 0,
        quiet_since: Instant::now(),
        hedge_after: CLIENT_HEDGE_AFTER,
    };
    tokio::spawn(conversation.run());
    Orders(sender)
}

/// A client's identity, drawn at random.
fn new_client() -> ClientId {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("every system that runs this gives out random bytes");
    ClientId::new(u128::from_le_bytes(bytes))
}

struct Conversation {
    shared: Arc<Shared>,
    session: Session,
    ends_at_failure: bool,
    is_given_up: bool,
    /// `None` when no more will come.
    orders: Option<mpsc::Receiver<Order>>,
    /// Who waits for the requests without an answer, in order.
    waiting: VecDeque<Waiting>,
    lanes: BTreeMap<LaneNumber, Lane>,
    /// The lane to the leader. The others only owe answers.
    current: Option<LaneNumber>,
    lanes_opened: u64,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    /// The task that looks for the leader and opens a stream to it: at most one.
    approach: JoinSet<Approach>,
    paused_until: Option<Instant>,
    /// Why the leader refused when last heard, if it had too much to do or no room.
    refused: Option<Unavailable>,
    /// Refusals and failures since the last acknowledgement.
    troubles: u32,
    /// When the last answer came, or the first request after a rest was sent.
    quiet_since: Instant,
    hedge_after: Duration,
}

struct Waiting {
    reply: oneshot::Sender<Result<Appended, AppendError>>,
    sent: usize,
    deadline: Instant,
}

struct Lane {
    leading: Leading,
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

enum Approach {
    /// A stream to the leader, and the commit index for a client that is new.
    Opened {
        leading: Leading,
        stream: Stream,
        born: Option<Index>,
    },
    /// The leader that does not answer says that it leads, and nobody else does.
    Confirmed,
    Failed(Unavailable),
}

/// Why everything that waits has failed.
enum Cause {
    TimedOut,
    GivenUp,
    Unavailable(Unavailable),
    Failure(Failure),
}

impl Conversation {
    async fn run(mut self) {
        loop {
            self.advance();
            if self.waiting.is_empty() && self.orders.is_none() {
                return;
            }
            let (wake_at, is_full) = (self.wake_at(), self.session.is_full());
            let given_up = self.shared.given_up.clone();
            tokio::select! {
                () = given_up.cancelled(), if !self.is_given_up => self.on_given_up(),
                order = next_order(&mut self.orders, is_full) => self.on_orders(order),
                Some(event) = self.events.1.recv() => self.on_event(event),
                Some(Ok(approach)) = self.approach.join_next() => self.on_approach(approach),
                () = sleep_until(wake_at) => self.on_time(),
            }
        }
    }

    /// Does all that can be done now.
    fn advance(&mut self) {
        self.retire();
        self.send();
        if self.current.is_none() && !self.waiting.is_empty() && self.approach.is_empty() {
            self.start_approach(None);
        }
    }

    /// Takes an order, and those that have gathered behind it. `None`: no more will come.
    fn on_orders(&mut self, first: Option<Order>) {
        let now = Instant::now();
        let mut next = first;
        while let Some(Order { records, reply }) = next {
            if self.waiting.is_empty() {
                self.quiet_since = now;
            }
            let deadline = now + self.shared.timeout;
            self.waiting.push_back(Waiting { reply, sent: records.len(), deadline });
            self.session.push(records);
            let orders = self.orders.as_mut().filter(|_| !self.session.is_full());
            match orders.map(mpsc::Receiver::try_recv) {
                Some(Ok(order)) => next = Some(order),
                Some(Err(TryRecvError::Empty)) | None => return,
                Some(Err(TryRecvError::Disconnected)) => next = None,
            }
        }
        self.orders = None;
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Replies(number, replies) => {
                self.quiet_since = Instant::now();
                self.hedge_after = CLIENT_HEDGE_AFTER;
                if self.current == Some(number) {
                    // It answers: nobody needs to be asked who leads.
                    self.stop_approach();
                }
                for reply in &replies.replies {
                    let advice = self.session.on_reply(number, reply);
                    self.acknowledge();
                    self.follow(number, &advice);
                }
            }
            Event::Written => {}
            Event::Closed(number) => {
                let Some(lane) = self.lanes.remove(&number) else { return };
                if self.current == Some(number) {
                    self.shared.failed(lane.leading.node);
                    self.leave(number);
                }
                let advice = self.session.close_lane(number);
                self.follow(number, &advice);
            }
        }
    }

    fn on_approach(&mut self, approach: Approach) {
        match approach {
            Approach::Opened { leading, stream, born } => {
                if let Some(born) = born.filter(|_| self.session.is_unborn()) {
                    self.session.bear(born);
                }
                self.open_lane(leading, stream);
            }
            Approach::Confirmed => {
                self.quiet_since = Instant::now();
                self.hedge_after = (self.hedge_after * 2).min(CLIENT_HEDGE_MAX);
            }
            Approach::Failed(unavailable) => {
                // It may have been begun for a request that is answered by now: then it is no more
                // than one that came to nothing.
                let now = Instant::now();
                let late = self.waiting.front().is_some_and(|waiting| waiting.deadline <= now);
                if late || matches!(unavailable, Unavailable::Refused { .. }) {
                    self.fail_all(&Cause::Unavailable(unavailable));
                }
            }
        }
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        if self.waiting.front().is_some_and(|waiting| waiting.deadline <= now) {
            self.fail_all(&Cause::TimedOut);
        } else if self.hedge_at().is_some_and(|at| at <= now) {
            let suspect = self.current_lane().map(|lane| lane.leading);
            self.start_approach(suspect);
        }
    }

    /// What waits fails, and so does all that is still to come.
    fn on_given_up(&mut self) {
        self.is_given_up = true;
        self.fail_all(&Cause::GivenUp);
        self.orders = None;
    }

    fn follow(&mut self, number: LaneNumber, advice: &Advice) {
        match advice {
            Advice::Continue => {}
            Advice::Pause => {
                let busy = |lane: &Lane| Unavailable::Busy { node: lane.leading.node };
                self.refused = self.lanes.get(&number).map(busy);
                self.take_a_pause();
            }
            Advice::NoRoom { node, full } => {
                self.refused = Some(Unavailable::DiskFull { node: *node, full: *full });
                self.take_a_pause();
            }
            Advice::Elsewhere { hint } => {
                if let Some(lane) = self.lanes.get(&number) {
                    self.shared.refused_by(lane.leading.node, *hint);
                }
                self.leave(number);
            }
            Advice::Renew => {
                self.session.renew(new_client());
                // Birth comes with a new lane.
                if let Some(current) = self.current {
                    self.leave(current);
                }
            }
            Advice::Failed(failure) => self.fail_all(&Cause::Failure(*failure)),
        }
    }

    fn take_a_pause(&mut self) {
        self.troubles += 1;
        self.paused_until = Some(Instant::now() + self.pause());
    }

    /// The lane is no longer the one to the leader. It is kept while it owes answers.
    fn leave(&mut self, number: LaneNumber) {
        if self.current == Some(number) {
            self.current = None;
            self.troubles += 1;
            self.stop_approach();
        }
    }

    fn stop_approach(&mut self) {
        if !self.approach.is_empty() {
            // Dropped, the tasks end.
            self.approach = JoinSet::new();
        }
    }

    /// Gives answers to those who wait for them.
    fn acknowledge(&mut self) {
        while let Some((_, appended)) = self.session.take_answered() {
            self.troubles = 0;
            self.refused = None;
            if let Some(waiting) = self.waiting.pop_front() {
                // Whoever asked may have gone.
                let _ = waiting.reply.send(Ok(appended));
            }
        }
    }

    /// Ends lanes that are of no more use.
    fn retire(&mut self) {
        let (session, current) = (&mut self.session, self.current);
        self.lanes.retain(|number, _| {
            let keep = current == Some(*number) || session.owes(*number);
            if !keep {
                let advice = session.close_lane(*number);
                debug_assert_eq!(advice, Advice::Continue, "nothing was outstanding");
            }
            keep
        });
    }

    fn send(&mut self) {
        let Some(number) = self.current.filter(|_| self.paused_until.is_none()) else { return };
        let Some(lane) = self.lanes.get(&number) else { return };
        while let Ok(place) = lane.frames.try_reserve() {
            let Some(outgoing) = self.session.next_for(number) else { return };
            place.send(outgoing.header.to_frame(&outgoing.records));
        }
    }

    fn open_lane(&mut self, leading: Leading, stream: Stream) {
        self.lanes_opened += 1;
        let number = LaneNumber::new(self.lanes_opened);
        let (frames, queue) = mpsc::channel(LANE_QUEUE_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(write(number, stream.sender, queue, self.events.0.clone()));
        tasks.spawn(read(number, stream.receiver, self.events.0.clone()));
        self.lanes.insert(number, Lane { leading, frames, _tasks: tasks });
        self.session.open_lane(number);
        self.current = Some(number);
        self.paused_until = None;
        self.quiet_since = Instant::now();
    }

    fn start_approach(&mut self, suspect: Option<Leading>) {
        let Some(until) = self.waiting.front().map(|waiting| waiting.deadline) else { return };
        let delay =
            if suspect.is_none() && self.troubles > 1 { self.pause() } else { Duration::ZERO };
        let way = Way { suspect, until, delay, unborn: self.session.is_unborn() };
        self.approach.spawn(approach(self.shared.clone(), way));
    }

    /// How long to wait before troubling a node again.
    fn pause(&self) -> Duration {
        pause_after(self.troubles.saturating_sub(1))
    }

    fn current_lane(&self) -> Option<&Lane> {
        self.lanes.get(&self.current?)
    }

    /// When to ask everybody who leads, because the leader does not answer.
    fn hedge_at(&self) -> Option<Instant> {
        let owes = self.current.is_some_and(|number| self.session.owes(number));
        (owes && self.approach.is_empty()).then(|| self.quiet_since + self.hedge_after)
    }

    fn wake_at(&self) -> Instant {
        let deadline = self.waiting.front().map(|waiting| waiting.deadline);
        let times = [deadline, self.hedge_at(), self.paused_until];
        let idle = Instant::now() + self.shared.timeout;
        times.into_iter().flatten().min().unwrap_or(idle)
    }

    /// Everything that waits fails: what nobody can have taken with certainty, the rest without.
    fn fail_all(&mut self, cause: &Cause) {
        let certain_from = self.session.certain_from();
        let mut seq = self.session.first();
        let mut is_first = true;
        while let Some(waiting) = self.waiting.pop_front() {
            let token = self.session.token(seq).filter(|_| seq < certain_from);
            let error = self.error(cause, (seq, is_first), token, waiting.sent);
            // Whoever asked may have gone.
            let _ = waiting.reply.send(Err(error));
            (seq, is_first) = (seq.next(), false);
        }
        self.start_anew();
    }

    fn error(
        &self,
        cause: &Cause,
        (seq, is_first): (Seq, bool),
        token: Option<Token>,
        sent: usize,
    ) -> AppendError {
        match (cause, token) {
            (Cause::Failure(Failure::OtherRecords { seq: at, appended }), _) if *at == seq => {
                AppendError::Mismatch { appended: *appended, sent }
            }
            (Cause::Failure(Failure::Invalid { seq: at }), _) if *at == seq => AppendError::Invalid,
            (Cause::Failure(Failure::Expired), Some(token)) => AppendError::Expired { token },
            (_, Some(token)) => AppendError::Unknown { token },
            (Cause::Unavailable(unavailable), None) => {
                AppendError::Unavailable(unavailable.clone())
            }
            (Cause::GivenUp, None) => AppendError::GivenUp,
            (Cause::TimedOut, None) if is_first || self.refused.is_some() => {
                let refused = self.refused.clone();
                AppendError::Unavailable(refused.unwrap_or_else(|| self.shared.unavailable()))
            }
            (Cause::TimedOut | Cause::Failure(_), None) => AppendError::Ended,
        }
    }

    /// After a failure the session is over. What it sent may still arrive; it is not waited for.
    fn start_anew(&mut self) {
        self.lanes.clear();
        self.current = None;
        self.stop_approach();
        self.session = Session::new(new_client());
        self.paused_until = None;
        self.refused = None;
        if self.ends_at_failure {
            // Orders that nobody has looked at fail as their replies are dropped.
            self.orders = None;
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

/// What to approach, and how.
struct Way {
    suspect: Option<Leading>,
    until: Instant,
    delay: Duration,
    unborn: bool,
}

/// Finds the leader and opens a stream of appends to it.
async fn approach(shared: Arc<Shared>, way: Way) -> Approach {
    sleep(way.delay).await;
    loop {
        let leading = match shared.find(way.suspect, way.until).await {
            Ok(leading) if Some(leading) == way.suspect => return Approach::Confirmed,
            Ok(leading) => leading,
            Err(unavailable) => return Approach::Failed(unavailable),
        };
        let opened = timeout_at(way.until, open(&shared, leading, way.unborn)).await;
        if let Ok(Ok(opened)) = opened {
            return opened;
        }
        shared.failed(leading.node);
        if Instant::now() >= way.until {
            return Approach::Failed(shared.unavailable());
        }
        sleep(BACKOFF_MIN).await;
    }
}

async fn open(shared: &Shared, leading: Leading, unborn: bool) -> Result<Approach, AskError> {
    let born = if unborn {
        let welcome = shared.connections.hello(leading.node).await;
        shared.on_word(leading.node, welcome.as_ref());
        Some(welcome?.commit_index)
    } else {
        None
    };
    let stream = shared.connections.open(leading.node, &Request::Appends).await?;
    Ok(Approach::Opened { leading, stream, born })
}

/// Writes a lane's frames, as many at once as there are.
async fn write(
    number: LaneNumber,
    mut sender: FrameSender,
    mut queue: mpsc::Receiver<Frame>,
    events: mpsc::Sender<Event>,
) {
    let mut frames = Vec::with_capacity(LANE_QUEUE_MAX);
    while queue.recv_many(&mut frames, LANE_QUEUE_MAX).await > 0 {
        let event = match sender.send_all(&frames).await {
            Ok(()) => Event::Written,
            Err(_) => Event::Closed(number),
        };
        frames.clear();
        let over = matches!(event, Event::Closed(_));
        if events.send(event).await.is_err() || over {
            return;
        }
    }
}

/// Reads a lane's answers until it ends.
async fn read(number: LaneNumber, mut receiver: FrameReceiver, events: mpsc::Sender<Event>) {
    while let Ok(replies) = next_replies(&mut receiver).await {
        if events.send(Event::Replies(number, replies)).await.is_err() {
            return;
        }
    }
    // The conversation may be over.
    let _ = events.send(Event::Closed(number)).await;
}

async fn next_replies(receiver: &mut FrameReceiver) -> Result<AppendReplies, StreamError> {
    let frame = receiver.next().await?.ok_or(StreamError::Abandoned)?;
    Ok(AppendReplies::from_frame(&frame)?)
}
