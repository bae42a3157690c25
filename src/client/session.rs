//! The exactly-once session of a client (thesis 6.3): which requests have no answer yet, what to
//! send where, and what is certain about each.
//!
//! Requests travel on *lanes*: one lane is one stream to one node, which loses nothing until it
//! closes and repeats nothing. A lane gets the unanswered requests in order, as runs of those that
//! follow one another and have as many records each; one sending of a request on a lane is settled by
//! one answer on it, which may be to others as well:
//!
//! ```text
//!   push ──► unanswered ──next──► outstanding on a lane ──Ok──────────► answered, in order
//!                ▲                        │
//!                ├──── NotLeader, Busy, DiskFull, Gap: this sending was not taken
//!                └──── Unknown, lane closed: it may have been taken ── doubtful, for ever
//! ```
//!
//! Invariant: a request keeps its number and its records as long as any node may have taken it. A
//! node takes requests only in order; one that nobody took therefore stands before none that
//! somebody took.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::ask::Ask;
use super::seq_set::SeqSet;
use super::token::Token;
use crate::limits::{
    CLIENT_IN_FLIGHT_BYTES_MAX, CLIENT_IN_FLIGHT_MAX, REQUEST_RECORDS_MAX, RUN_BYTES_MAX,
};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{ClientId, DiskFull, Index, NodeId, Seq, SeqRange};
use crate::wire::api::{AppendRefusal, AppendReply, AppendRun, Appended};
use crate::wire::conditions::Unmet;

/// Names a lane: one stream that carries appends to one node. Never used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneNumber(u64);

impl LaneNumber {
    /// Wraps a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Requests on their way: what goes into their frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The frame's header.
    pub header: AppendRun,
    /// The records.
    pub records: Vec<Bytes>,
}

/// What an answer asks of whoever drives the session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Advice {
    /// Go on: take what is answered, send what can be sent.
    Continue,
    /// The lane's node has too much to do: pause before sending more on this lane.
    Pause,
    /// As [`Advice::Pause`], because there is no room on a disk.
    NoRoom {
        /// Whose disk.
        node: NodeId,
        /// What it has and needs.
        full: DiskFull,
    },
    /// The lane's node cannot take requests: open a lane to the leader, keep this one only for the
    /// answers that it still owes.
    Elsewhere {
        /// Who leads, if the node knew.
        hint: Option<NodeId>,
    },
    /// The cluster has forgotten this client, and certainly none of the unanswered requests was
    /// taken: call [`Session::renew`] and go on.
    Renew,
    /// The session is over; [`Session::certain_from`] tells what is certain.
    Failed(Failure),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The cluster has forgotten this client: what became of the unanswered requests, nobody knows.
    Expired,
    /// A node refused a request for good: it breaks a limit of that node.
    Invalid {
        /// Which.
        seq: Seq,
    },
    /// A node refused a request for good: only an admin may ask for it.
    NotAdmin {
        /// Which.
        seq: Seq,
    },
    /// A node refused a request for good: the certificate does not allow it.
    Forbidden {
        /// Which.
        seq: Seq,
    },
    /// What a request asked for is not so. It is the first without an answer, it is certainly not in the
    /// log, and none after it is.
    Unmet(Unmet),
    /// As before, but for a sending of the first request that somebody may still take.
    UnmetInDoubt,
    /// The log holds other records under the number of a request.
    OtherRecords {
        /// Which.
        seq: Seq,
        /// What it holds.
        appended: Appended,
    },
}

/// A client's requests without an answer, and its name.
#[derive(Clone, Debug)]
pub struct Session {
    client: ClientId,
    /// The commit index of a node when this client was new; unknown until one has been asked.
    began_at: Option<Index>,
    /// The number of `requests[0]`, or of the next request: the first unanswered.
    first: Seq,
    /// Invariant: empty, or the first has no answer.
    requests: VecDeque<Pending>,
    /// Bytes of all records in `requests`.
    bytes: usize,
    /// Answers in order that nobody has taken yet.
    answered: VecDeque<(Seq, Appended)>,
    lanes: BTreeMap<LaneNumber, Lane>,
    /// The request that this session repeats, begun by another process.
    resumed: Option<Token>,
    /// A node has answered `Expired`.
    expired: bool,
    /// The first request without an answer that was refused because of its condition, if one was: it
    /// is not sent again, and what stands behind it would be refused, too.
    unmet: Option<(Seq, Unmet)>,
}

/// A request and what is known of it.
#[derive(Clone, Debug)]
struct Pending {
    ask: Ask,
    bytes: usize,
    /// A sending of it ended without a definite refusal: somebody may have taken it.
    doubtful: bool,
    /// Its answer, waiting for those before it.
    answer: Option<Appended>,
}

/// What one stream has been given.
#[derive(Clone, Debug)]
struct Lane {
    /// Requests sent on it that it has not answered.
    outstanding: SeqSet,
    /// The next request for it, if that has no answer by then.
    next: Seq,
    /// Nothing more goes on it while this one is outstanding: its node said that it lacks it, which can
    /// only be because it has not said yet what becomes of it.
    waits_for: Option<Seq>,
}

impl Session {
    /// The session of a new client, whose identity was drawn at random.
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            began_at: None,
            first: Seq::FIRST,
            requests: VecDeque::new(),
            bytes: 0,
            answered: VecDeque::new(),
            lanes: BTreeMap::new(),
            resumed: None,
            expired: false,
            unmet: None,
        }
    }

    /// The session of another process, at the request whose outcome that one did not learn.
    ///
    /// Such a session has one request on its way at a time: what the other process had sent after
    /// the token's request may be in the log, cut into other requests, and must be noticed before
    /// more is sent.
    pub fn resume(token: Token) -> Self {
        let mut session = Self::new(token.client());
        session.began_at = Some(token.began_at());
        session.first = token.seq();
        session.resumed = Some(token);
        session
    }

    /// Under which name requests go out now.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Whether `began_at` is needed: the commit index of the node that gets the first request.
    pub fn has_not_begun(&self) -> bool {
        self.began_at.is_none()
    }

    /// Begins the session, once: what a node says of its log then.
    pub fn begin(&mut self, commit_index: Index) {
        assert!(self.has_not_begun(), "a session begins once");
        self.began_at = Some(commit_index);
    }

    /// How many requests have no answer, or one that waits for those before it.
    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    /// Whether nothing is unanswered.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether the window is full: the next request has to wait for an answer.
    pub fn is_full(&self) -> bool {
        let requests_max = if self.resumed.is_some() { 1 } else { CLIENT_IN_FLIGHT_MAX };
        self.requests.len() >= requests_max || self.bytes >= CLIENT_IN_FLIGHT_BYTES_MAX
    }

    /// Whether the next request may be this: false only for the request that a token names, if this is
    /// not the one that it was made for.
    pub fn fits(&self, ask: &Ask) -> bool {
        match &self.resumed {
            Some(token) if token.seq() == self.next_seq() => token.fits(ask),
            _ => true,
        }
    }

    /// Takes a request and gives it its number. The window must not be full.
    pub fn push(&mut self, ask: impl Into<Ask>) -> Seq {
        let ask = ask.into();
        assert!(!self.is_full(), "the window is full");
        assert!(ask.is_sound(), "a request has records, or is a command");
        assert!(self.fits(&ask), "a token's request has other records");
        let seq = self.next_seq();
        let bytes = ask.bytes();
        let doubtful = self.resumed.is_some();
        self.bytes += bytes;
        self.requests.push_back(Pending { ask, bytes, doubtful, answer: None });
        seq
    }

    /// Opens a lane, to which every unanswered request will be given.
    pub fn open_lane(&mut self, number: LaneNumber) {
        let (outstanding, next) = (SeqSet::default(), self.first);
        let lane = Lane { outstanding, next, waits_for: None };
        let before = self.lanes.insert(number, lane);
        assert!(before.is_none(), "lane {number:?} was opened twice");
    }

    /// The lane's stream has ended: what was on it may have been taken.
    pub fn close_lane(&mut self, number: LaneNumber) -> Advice {
        let Some(lane) = self.lanes.remove(&number) else { return Advice::Continue };
        if mutants::is_on(Mutant::RepeatUnderNewNumber) && !lane.outstanding.is_empty() {
            return Advice::Renew;
        }
        for seqs in lane.outstanding.iter_ranges() {
            self.doubt(seqs);
        }
        self.what_follows().unwrap_or(Advice::Continue)
    }

    /// Whether the lane owes an answer to a request that has none.
    pub fn owes(&self, number: LaneNumber) -> bool {
        self.lanes.get(&number).is_some_and(|lane| !lane.outstanding.is_empty())
    }

    /// The next run of requests for this lane, which from now on count as possibly taken: all that
    /// can go now, up to the first that differs in its number of records, and not many bytes at once.
    ///
    /// A lane sends upwards only: while a later request is on it, an earlier one that was refused
    /// waits, because the later one is about to be refused as well. Nor does a later one go again as long
    /// as the one that it was refused for has no answer.
    pub fn next_for(&mut self, number: LaneNumber) -> Option<Outgoing> {
        let began_at = self.began_at.filter(|_| !self.expired)?;
        let seqs = self.run_from(self.next_on(number)?);
        let lane = self.lanes.get_mut(&number)?;
        lane.outstanding.push(seqs);
        lane.next = seqs.next();
        let place = self.place(seqs.first)?;
        let requests = self.requests.range(place..place + seqs.count as usize);
        let records: Vec<Bytes> =
            requests.flat_map(|pending| &pending.ask.records).cloned().collect();
        let ask = &self.pending(seqs.first)?.ask;
        let header = AppendRun {
            client: self.client,
            seqs,
            first_unanswered: self.first_unanswered(),
            began_at,
            log: ask.log,
            conditions: ask.conditions.clone(),
            command: ask.command.clone(),
            lengths: records.iter().map(length).collect(),
        };
        assert!(header.first_unanswered <= seqs.first);
        assert!(records.len() <= REQUEST_RECORDS_MAX, "{} records", records.len());
        Some(Outgoing { header, records })
    }

    /// The run that begins with a request without an answer.
    fn run_from(&self, first: Seq) -> SeqRange {
        let waiting = self.place(first).map(|place| self.requests.range(place..));
        let mut waiting = waiting.into_iter().flatten();
        let begins = waiting.next().expect("it waits");
        let each = begins.ask.records.len();
        let (mut count, mut bytes) = (1, begins.bytes);
        for pending in waiting {
            bytes += pending.bytes;
            let before = u64::from(count) * each as u64;
            let goes_on = pending.answer.is_none()
                && pending.ask.follows(&begins.ask, before)
                && bytes <= RUN_BYTES_MAX
                && (count as usize + 1) * each <= REQUEST_RECORDS_MAX;
            if !goes_on {
                break;
            }
            count += 1;
        }
        SeqRange { first, count }
    }

    /// An answer came on a lane. Answers come in any order, and on some lanes late: requests may
    /// have been answered on another.
    pub fn on_reply(&mut self, number: LaneNumber, reply: &AppendReply) -> Advice {
        if reply.client != self.client || !reply.is_valid() {
            // Of a session before this one, or of a node that makes no sense.
            return Advice::Continue;
        }
        // Some may have been answered on another lane already, and have gone.
        let seqs = reply.seqs.within(self.first, self.next_seq());
        if seqs.count == 0 {
            return Advice::Continue;
        }
        let advice = match &reply.result {
            Ok(appended) => {
                self.on_answer(seqs, appended.later(seqs.first.since(reply.seqs.first)))
            }
            Err(refusal) => self.on_refusal(number, (seqs, reply.seqs.first), refusal),
        };
        match advice {
            Advice::Failed(_) => advice,
            _ => self.what_follows().unwrap_or(advice),
        }
    }

    /// The next answer, in the order of the requests.
    pub fn take_answered(&mut self) -> Option<(Seq, Appended)> {
        self.answered.pop_front()
    }

    /// Goes on as another client, after [`Advice::Renew`]. `began_at` is needed anew.
    pub fn renew(&mut self, client: ClientId) {
        assert!(
            self.can_renew() || mutants::any(),
            "only a session of which nothing was taken can be renewed"
        );
        hit(Mark::Renewed);
        self.client = client;
        self.began_at = None;
        self.first = Seq::FIRST;
        self.expired = false;
        self.unmet = None;
        for lane in self.lanes.values_mut() {
            lane.next = Seq::FIRST;
        }
    }

    /// The first request that nobody can have taken; those from it on are certainly not in the log.
    pub fn certain_from(&self) -> Seq {
        let certain = |seq: &Seq| {
            let outstanding = self.lanes.values().any(|lane| lane.outstanding.contains(*seq));
            let doubtful = |pending: &Pending| pending.doubtful || pending.answer.is_some();
            !outstanding && !self.pending(*seq).is_some_and(doubtful)
        };
        (self.first.get()..self.next_seq().get())
            .map(Seq::new)
            .find(certain)
            .unwrap_or(self.next_seq())
    }

    /// The word under which an unanswered request that was sent can be repeated.
    pub fn token(&self, seq: Seq) -> Option<Token> {
        let pending = self.pending(seq)?;
        let first_unanswered = self.first_unanswered();
        Some(Token::new(self.client, (first_unanswered, seq), self.began_at?, &pending.ask))
    }

    /// The number of the first request without an answer, or of the next one.
    pub fn first(&self) -> Seq {
        self.first
    }

    fn on_answer(&mut self, seqs: SeqRange, first: Appended) -> Advice {
        for lane in self.lanes.values_mut() {
            lane.outstanding.remove(seqs);
        }
        for (seq, number) in seqs.iter().zip(0..) {
            let appended = first.later(number);
            let Some(pending) = self.pending_mut(seq) else { continue };
            if appended.count as usize != pending.ask.records.len() {
                // The node says that the others are in the log, too.
                self.doubt(seqs);
                return Advice::Failed(Failure::OtherRecords { seq, appended });
            }
            pending.answer.get_or_insert(appended);
        }
        self.release();
        Advice::Continue
    }

    fn on_refusal(
        &mut self,
        number: LaneNumber,
        (seqs, said_of): (SeqRange, Seq),
        refusal: &AppendRefusal,
    ) -> Advice {
        let Some(lane) = self.lanes.get_mut(&number) else { return Advice::Continue };
        // A second answer to one sending settles nothing.
        let Some(seq) = lane.outstanding.remove(seqs) else { return Advice::Continue };
        lane.next = lane.next.min(seq);
        match refusal {
            AppendRefusal::NotLeader { leader } => {
                hit(Mark::WentElsewhere);
                Advice::Elsewhere { hint: *leader }
            }
            AppendRefusal::Busy => Advice::Pause,
            AppendRefusal::DiskFull { node, full } => Advice::NoRoom { node: *node, full: *full },
            AppendRefusal::Gap { expected } => {
                lane.waits_for = Some(*expected);
                self.on_gap(seq, *expected)
            }
            AppendRefusal::Expired => {
                self.expired = true;
                Advice::Continue
            }
            AppendRefusal::Unknown => {
                hit(Mark::OutcomeUnknown);
                self.doubt(seqs);
                Advice::Elsewhere { hint: None }
            }
            AppendRefusal::Invalid => Advice::Failed(Failure::Invalid { seq }),
            AppendRefusal::NotAdmin => Advice::Failed(Failure::NotAdmin { seq }),
            AppendRefusal::Forbidden => Advice::Failed(Failure::Forbidden { seq }),
            AppendRefusal::Unmet(unmet) => {
                // It is said of the first that was asked for. If that was taken elsewhere meanwhile,
                // those behind it were not judged.
                if seq == said_of {
                    self.on_unmet(seq, *unmet);
                }
                Advice::Continue
            }
        }
    }

    fn on_unmet(&mut self, seq: Seq, unmet: Unmet) {
        let is_open = self.pending(seq).is_some_and(|pending| pending.answer.is_none());
        if is_open && self.unmet.is_none_or(|(before, _)| seq <= before) {
            self.unmet = Some((seq, unmet));
        }
    }

    /// A node that misses a request which this client knows to be in the log is not the leader,
    /// whatever it believes.
    fn on_gap(&mut self, seq: Seq, expected: Seq) -> Advice {
        let ours = self.pending(expected).is_some_and(|pending| pending.answer.is_none());
        if ours && expected < seq { Advice::Continue } else { Advice::Elsewhere { hint: None } }
    }

    /// Somebody may have taken these.
    fn doubt(&mut self, seqs: SeqRange) {
        for seq in seqs.iter() {
            if let Some(pending) = self.pending_mut(seq) {
                pending.doubtful = true;
            }
        }
    }

    /// What follows from what is known of all requests.
    fn what_follows(&self) -> Option<Advice> {
        self.after_refusal().or_else(|| self.after_expiry())
    }

    /// What follows from a condition that does not hold, as soon as all before have their answers: of
    /// another sending of the same request it says nothing, unless it can never hold again.
    fn after_refusal(&self) -> Option<Advice> {
        let (_, unmet) = self.unmet.filter(|(at, _)| *at == self.first)?;
        let first = self.requests.front()?;
        let is_under_way = self.lanes.values().any(|lane| lane.outstanding.contains(self.first));
        if unmet.obstacle.is_final(&first.ask.conditions) || !first.doubtful && !is_under_way {
            if first.doubtful || is_under_way {
                hit(Mark::UnmetElsewhere);
            }
            return Some(Advice::Failed(Failure::Unmet(unmet)));
        }
        (!is_under_way).then_some(Advice::Failed(Failure::UnmetInDoubt))
    }

    /// Takes back the only request, whose condition does not hold: its number goes to the next one. Says
    /// whether it could.
    ///
    /// NB: who asks again under the number of a request that somebody may take would ask for another.
    pub fn take_back(&mut self) -> bool {
        let is_unmet = self.unmet.is_some_and(|(at, _)| at == self.first);
        let is_alone = self.requests.len() == 1 && !self.requests.iter().any(|it| it.doubtful);
        let is_under_way = self.lanes.values().any(|lane| !lane.outstanding.is_empty());
        if !is_unmet || !is_alone || is_under_way || self.resumed.is_some() || self.expired {
            return false;
        }
        self.requests.clear();
        self.bytes = 0;
        self.unmet = None;
        true
    }

    /// What follows from an `Expired`, as soon as nothing is on its way.
    fn after_expiry(&self) -> Option<Advice> {
        if !self.expired {
            None
        } else if self.can_renew() {
            Some(Advice::Renew)
        } else if self
            .requests
            .iter()
            .any(|p| p.doubtful || p.answer.is_some() || p.ask.conditions.producer.is_some())
        {
            Some(Advice::Failed(Failure::Expired))
        } else {
            Some(Advice::Continue)
        }
    }

    fn can_renew(&self) -> bool {
        let nothing_under_way = self.lanes.values().all(|lane| lane.outstanding.is_empty());
        let taken = |pending: &Pending| pending.doubtful || pending.answer.is_some();
        // A producer that goes on under another name is none.
        let is_producer =
            self.requests.front().is_some_and(|first| first.ask.conditions.producer.is_some());
        self.expired && nothing_under_way && !is_producer && !self.requests.iter().any(taken)
    }

    /// Moves the answers that have none missing before them to where they are taken.
    fn release(&mut self) {
        while let Some(appended) = self.requests.front().and_then(|pending| pending.answer) {
            self.answered.push_back((self.first, appended));
            self.bytes -= self.requests.pop_front().map_or(0, |pending| pending.bytes);
            self.first = self.first.next();
        }
        // Another node has taken it meanwhile.
        let first = self.first;
        self.unmet.take_if(|(at, _)| *at < first);
        assert!(!self.requests.is_empty() || self.bytes == 0, "{} bytes of nothing", self.bytes);
    }

    /// What the nodes may forget. A resumed session leaves alone what its predecessor had not
    /// learned, until that would take more than a window.
    fn first_unanswered(&self) -> Seq {
        let held = self.resumed.map_or(self.first, |token| token.first_unanswered());
        let window = self.next_seq().get().saturating_sub(held.get());
        if window <= CLIENT_IN_FLIGHT_MAX as u64 { held.min(self.first) } else { self.first }
    }

    fn next_on(&self, number: LaneNumber) -> Option<Seq> {
        let lane = self.lanes.get(&number)?;
        let mut seq = lane.next.max(self.first);
        while self.pending(seq)?.answer.is_some() {
            seq = seq.next();
        }
        if self.unmet.is_some_and(|(refused, _)| refused <= seq) {
            return None;
        }
        let upwards = lane.outstanding.last().is_none_or(|last| last < seq);
        let waits = lane.waits_for.is_some_and(|awaited| lane.outstanding.contains(awaited));
        (upwards && !waits).then_some(seq)
    }

    fn next_seq(&self) -> Seq {
        Seq::new(self.first.get() + self.requests.len() as u64)
    }

    fn pending(&self, seq: Seq) -> Option<&Pending> {
        self.requests.get(self.place(seq)?)
    }

    fn pending_mut(&mut self, seq: Seq) -> Option<&mut Pending> {
        let place = self.place(seq)?;
        self.requests.get_mut(place)
    }

    fn place(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.get().checked_sub(self.first.get())?).ok()
    }
}

fn length(record: &Bytes) -> u32 {
    u32::try_from(record.len()).expect("bounded by the limits of a record")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogId, Offset, Term};
    use crate::wire::conditions::{Conditions, Obstacle};

    const A: LaneNumber = LaneNumber::new(1);
    const B: LaneNumber = LaneNumber::new(2);

    fn records(text: &'static str) -> Vec<Bytes> {
        vec![Bytes::from_static(text.as_bytes())]
    }

    /// A session with lane A open and `count` requests.
    fn session(count: usize) -> Session {
        let mut session = Session::new(ClientId::new(7));
        session.begin(Index::new(3));
        session.open_lane(A);
        for _ in 0..count {
            session.push(records("x"));
        }
        session
    }

    fn sent(session: &mut Session, lane: LaneNumber) -> Vec<u64> {
        let runs = std::iter::from_fn(|| session.next_for(lane));
        runs.flat_map(|out| out.header.seqs.iter()).map(Seq::get).collect()
    }

    fn one(seq: u64) -> SeqRange {
        SeqRange::one(Seq::new(seq))
    }

    fn range(first: u64, count: u32) -> SeqRange {
        SeqRange { first: Seq::new(first), count }
    }

    fn appended(count: u32) -> Appended {
        let (offset, index) = (Offset::ZERO, Index::new(1));
        Appended { offset, count, term: Term::new(1), index, leader: NodeId::new(1).unwrap() }
    }

    fn ok(session: &mut Session, lane: LaneNumber, seq: u64) -> Advice {
        let client = session.client;
        let result = Ok(appended(1));
        session.on_reply(lane, &AppendReply { client, seqs: one(seq), result })
    }

    fn refuse(session: &mut Session, seq: u64, refusal: AppendRefusal) -> Advice {
        let client = session.client;
        session.on_reply(A, &AppendReply { client, seqs: one(seq), result: Err(refusal) })
    }

    #[test]
    fn answers_are_given_out_in_order() {
        let mut session = session(3);
        assert_eq!(sent(&mut session, A), [1, 2, 3]);
        assert_eq!(ok(&mut session, A, 2), Advice::Continue);
        assert_eq!(session.take_answered(), None);
        assert_eq!(ok(&mut session, A, 1), Advice::Continue);
        let answered: Vec<u64> =
            std::iter::from_fn(|| session.take_answered()).map(|(seq, _)| seq.get()).collect();
        assert_eq!(answered, [1, 2]);
        session.push(records("y"));
        let outgoing = session.next_for(A).unwrap();
        assert_eq!(outgoing.header.first_unanswered, Seq::new(3));
        assert_eq!(outgoing.header.began_at, Index::new(3));
    }

    #[test]
    fn refused_requests_go_again_in_order_once_the_later_ones_are_refused_too() {
        let mut session = session(3);
        assert_eq!(sent(&mut session, A), [1, 2, 3]);
        assert_eq!(refuse(&mut session, 1, AppendRefusal::Busy), Advice::Pause);
        assert_eq!(sent(&mut session, A), [0u64; 0]);
        let gap = AppendRefusal::Gap { expected: Seq::FIRST };
        assert_eq!(refuse(&mut session, 2, gap.clone()), Advice::Continue);
        assert_eq!(sent(&mut session, A), [0u64; 0]);
        assert_eq!(refuse(&mut session, 3, gap), Advice::Continue);
        assert_eq!(session.certain_from(), Seq::FIRST, "each sending was refused");
        assert_eq!(sent(&mut session, A), [1, 2, 3]);
    }

    /// A leader holds the refusal of a condition until it is certain, and misses that request meanwhile: each
    /// round trip, all behind it were sent again in vain.
    #[test]
    fn what_stands_behind_a_request_whose_refusal_is_held_waits_for_it() {
        let mut session = session(2);
        assert_eq!(sent(&mut session, A), [1, 2]);
        let gap = AppendRefusal::Gap { expected: Seq::FIRST };
        assert_eq!(refuse(&mut session, 2, gap), Advice::Continue);
        assert_eq!(sent(&mut session, A), [0u64; 0]);
        session.push(records("y"));
        assert_eq!(sent(&mut session, A), [0u64; 0], "nor does a new one go");
        assert_eq!(refuse(&mut session, 1, AppendRefusal::Busy), Advice::Pause);
        assert_eq!(sent(&mut session, A), [1, 2, 3]);
    }

    #[test]
    fn what_was_on_a_broken_lane_is_doubtful_and_keeps_its_number_elsewhere() {
        let mut session = session(1);
        assert!(session.next_for(A).is_some());
        session.push(records("y"));
        assert_eq!(session.close_lane(A), Advice::Continue);
        assert_eq!(session.certain_from(), Seq::new(2));
        session.open_lane(B);
        assert_eq!(sent(&mut session, B), [1, 2]);
        assert_eq!(ok(&mut session, B, 1), Advice::Continue);
        assert_eq!(session.take_answered().unwrap().0, Seq::FIRST);
    }

    #[test]
    fn a_node_that_steps_down_leaves_doubt_and_one_that_does_not_lead_leaves_none() {
        let mut session = session(2);
        assert_eq!(sent(&mut session, A), [1, 2]);
        let refusal = AppendRefusal::NotLeader { leader: NodeId::new(2) };
        let advice = refuse(&mut session, 2, refusal);
        assert_eq!(advice, Advice::Elsewhere { hint: NodeId::new(2) });
        assert!(session.owes(A));
        let advice = refuse(&mut session, 1, AppendRefusal::Unknown);
        assert_eq!(advice, Advice::Elsewhere { hint: None });
        assert!(!session.owes(A));
        assert_eq!(session.certain_from(), Seq::new(2));
    }

    #[test]
    fn a_node_that_misses_what_is_acknowledged_does_not_lead() {
        let mut session = session(2);
        assert_eq!(sent(&mut session, A), [1, 2]);
        assert_eq!(ok(&mut session, A, 1), Advice::Continue);
        let advice = refuse(&mut session, 2, AppendRefusal::Gap { expected: Seq::FIRST });
        assert_eq!(advice, Advice::Elsewhere { hint: None });
    }

    /// A node judged three together, and another has taken the first of them by then.
    #[test]
    fn a_refusal_of_what_was_taken_elsewhere_is_not_of_what_stands_behind_it() {
        let mut session = session(0);
        for offset in 5..8 {
            let expect_offset = Some(Offset::new(offset));
            let conditions = Conditions { expect_offset, ..Conditions::default() };
            session.push(Ask { conditions, ..records("x").into() });
        }
        assert_eq!(sent(&mut session, A), [1, 2, 3]);
        session.open_lane(B);
        assert_eq!(sent(&mut session, B), [1, 2, 3]);
        assert_eq!(ok(&mut session, B, 1), Advice::Continue);
        let as_of = LogId::new(Index::new(1), Term::new(1));
        let unmet = Unmet { as_of, obstacle: Obstacle::Offset { next: Offset::new(9) } };
        let (client, result) = (session.client, Err(AppendRefusal::Unmet(unmet)));
        let reply = AppendReply { client, seqs: range(1, 3), result };
        assert_eq!(session.on_reply(A, &reply), Advice::Continue);
        assert_eq!(ok(&mut session, B, 2), Advice::Continue);
        assert_eq!(ok(&mut session, B, 3), Advice::Continue);
        assert_eq!(std::iter::from_fn(|| session.take_answered()).count(), 3);
    }

    #[test]
    fn a_forgotten_client_with_nothing_unanswered_takes_a_new_name() {
        let mut session = session(2);
        assert_eq!(sent(&mut session, A), [1, 2]);
        assert_eq!(refuse(&mut session, 1, AppendRefusal::Expired), Advice::Continue);
        assert_eq!(refuse(&mut session, 2, AppendRefusal::Expired), Advice::Renew);
        session.renew(ClientId::new(8));
        assert!(session.has_not_begun());
        assert_eq!(session.next_for(A), None, "a new session begins first");
        session.begin(Index::new(90));
        assert_eq!(sent(&mut session, A), [1, 2]);
    }

    #[test]
    fn a_forgotten_client_whose_request_may_be_taken_is_never_taken_as_new() {
        let mut session = session(1);
        assert_eq!(sent(&mut session, A), [1]);
        assert_eq!(session.close_lane(A), Advice::Continue);
        session.open_lane(B);
        assert_eq!(sent(&mut session, B), [1]);
        let (client, result) = (session.client, Err(AppendRefusal::Expired));
        let advice = session.on_reply(B, &AppendReply { client, seqs: one(1), result });
        assert_eq!(advice, Advice::Failed(Failure::Expired));
        assert_eq!(session.certain_from(), Seq::new(2));
    }

    #[test]
    fn a_resumed_session_repeats_the_same_append_and_no_other() {
        let mut first = session(3);
        assert_eq!(sent(&mut first, A), [1, 2, 3]);
        let token = first.token(Seq::new(2)).unwrap();
        assert_eq!(token.first_unanswered(), Seq::FIRST);

        let mut second = Session::resume(token);
        assert!(!second.has_not_begun());
        assert!(!second.fits(&records("other").into()));
        assert_eq!(second.push(records("x")), Seq::new(2));
        assert_eq!(second.certain_from(), Seq::new(3), "taken by then, perhaps");
        assert!(second.is_full(), "one at a time");
        second.open_lane(A);
        let outgoing = second.next_for(A).unwrap();
        assert_eq!(outgoing.header.first_unanswered, Seq::FIRST, "1 is not ours to forget");
        assert_eq!(outgoing.header.began_at, Index::new(3));
        assert_eq!(ok(&mut second, A, 2), Advice::Continue);
        assert!(second.fits(&records("other").into()), "the next request is free");
        second.push(records("other"));
        assert_eq!(second.certain_from(), Seq::new(4));
    }

    #[test]
    fn other_records_in_the_log_are_noticed() {
        let mut session = session(1);
        assert_eq!(sent(&mut session, A), [1]);
        let (client, seq, result) = (session.client, Seq::FIRST, Ok(appended(2)));
        let advice = session.on_reply(A, &AppendReply { client, seqs: one(1), result });
        let appended = appended(2);
        assert_eq!(advice, Advice::Failed(Failure::OtherRecords { seq, appended }));
    }

    #[test]
    fn requests_of_one_shape_go_together_and_may_be_answered_apart() {
        let mut session = session(2);
        let pair = || vec![Bytes::from_static(b"p"), Bytes::from_static(b"q")];
        let large = || vec![Bytes::from(vec![0; RUN_BYTES_MAX / 2 + 1])];
        for records in [pair(), pair(), large(), large()] {
            session.push(records);
        }
        let runs: Vec<_> = std::iter::from_fn(|| session.next_for(A)).collect();
        let seqs: Vec<_> = runs.iter().map(|out| out.header.seqs).collect();
        assert_eq!(seqs, [range(1, 2), range(3, 2), range(5, 1), range(6, 1)]);
        assert_eq!((runs[1].header.lengths.len(), runs[1].header.each()), (4, 2));
        let client = session.client;
        let mut reply = |seqs, result| {
            let advice = session.on_reply(A, &AppendReply { client, seqs, result });
            (advice, session.take_answered().map(|(seq, appended)| (seq, appended.offset)))
        };
        // The second of a run first, then a refusal of all that was sent: of what is answered it
        // says nothing any more.
        assert_eq!(reply(range(4, 1), Ok(appended(2))), (Advice::Continue, None));
        assert_eq!(reply(range(3, 3), Err(AppendRefusal::Busy)), (Advice::Pause, None));
        assert_eq!(
            reply(range(1, 2), Ok(appended(1))),
            (Advice::Continue, Some((Seq::new(1), Offset::ZERO)))
        );
        assert_eq!(session.take_answered().unwrap().1.offset, Offset::new(1), "side by side");
        assert_eq!(refuse(&mut session, 6, AppendRefusal::Busy), Advice::Pause);
        assert_eq!(sent(&mut session, A), [3, 5, 6], "4 is answered");
    }

    #[test]
    fn an_answer_from_nowhere_is_not_heard() {
        let mut session = session(1);
        let client = session.client;
        for seqs in [range(2, 1), range(0, 1), range(1, 0), range(u64::MAX, 9)] {
            let reply = AppendReply { client, seqs, result: Ok(appended(1)) };
            assert_eq!(session.on_reply(A, &reply), Advice::Continue);
        }
        for (seqs, count) in [(range(1, 1), 1), (range(1, 2), 1), (range(1, u32::MAX), u32::MAX)] {
            let beyond = Appended { offset: Offset::new(u64::MAX), ..appended(count) };
            let reply = AppendReply { client, seqs, result: Ok(beyond) };
            assert_eq!(session.on_reply(A, &reply), Advice::Continue);
        }
        assert_eq!(session.take_answered(), None);
    }

    #[test]
    fn the_window_is_bounded_by_requests_and_by_bytes() {
        assert!(session(CLIENT_IN_FLIGHT_MAX).is_full());
        assert!(!session(CLIENT_IN_FLIGHT_MAX - 1).is_full());
        let mut session = session(0);
        let record = Bytes::from(vec![0; 1 << 20]);
        while !session.is_full() {
            session.push(vec![record.clone()]);
        }
        assert_eq!(session.requests.len() << 20, CLIENT_IN_FLIGHT_BYTES_MAX);
    }
}
