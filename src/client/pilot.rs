//! What a client that appends decides: whom to send to, when to ask who leads, when to wait, when to
//! go elsewhere, and when an outcome is unknown.
//!
//! A pure machine: events and the time come in, [`Action`]s come out. The task of a conversation
//! drives it with sockets and timers, the simulator's clients with virtual time; neither decides
//! anything of this by itself. After each event its driver calls [`Pilot::on_time`], does what
//! [`Pilot::take_actions`] says, and sends what [`Pilot::next_frame`] gives.
//!
//! ```text
//!             order                        found                    opened
//!   idle ───────────────► searching ───────────────► opening ───────────────► sending
//!                            ▲                          │ quiet for a moment:    │
//!                            │                          ▼ everybody is asked     ▼
//!                            └──── closed, NotLeader ───┴────────────────────────┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::ask::Ask;
use super::backoff::Jitter;
use super::detour::Detour;
use super::moment::Moment;
use super::route::Leading;
use super::search::{Beliefs, LinkNumber, Question, Search, Suspect, Verdict, Wanted, Way, Word};
use super::session::{Advice, Failure, LaneNumber, Outgoing, Session};
use super::token::Token;
use crate::limits::{CLIENT_HEDGE_AFTER, CLIENT_HEDGE_MAX, CLIENT_RECHECK_EVERY};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{ClientId, DiskFull, NodeId, Seq};
use crate::wire::api::{AppendReply, Appended};
use crate::wire::conditions::Unmet;

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask. What comes of it goes to [`Pilot::hear`]; what the
    /// registry says, into the beliefs.
    Ask(Question),
    /// Answers to the questions so far are of no more use, and do no harm.
    StopAsking,
    /// Open a stream for appends. What comes of it goes to [`Pilot::on_opened`] or
    /// [`Pilot::on_closed`].
    Open {
        /// Its name.
        lane: LaneNumber,
        /// To whom.
        node: NodeId,
        /// Whether that node is to hand it on to the leader.
        onward: bool,
        /// How long somebody waits for it, at most.
        limit: Duration,
    },
    /// The lane is of no more use.
    Close(LaneNumber),
    /// The first request that waits is in the log.
    Acknowledge(Appended),
    /// The first request that waits has failed.
    Fail(Fate),
    /// Nothing of what waits was taken: it goes on under this name, numbered from 1 on.
    Renamed(ClientId),
}

/// What became of a request that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Somebody may have taken it.
    Unknown(Token),
    /// As before, and the cluster has forgotten its client.
    Expired(Token),
    /// The log holds other records under its number.
    Mismatch(Appended),
    /// It is certainly not in the log: it breaks a limit of a node.
    Invalid,
    /// Only an admin may ask for it.
    NotAdmin,
    /// The certificate does not allow it.
    Forbidden,
    /// It is certainly not in the log: what it asked for is not so.
    Unmet(Unmet),
    /// It is certainly not in the log: it was given up.
    GivenUp,
    /// It is certainly not in the log: nobody was there to take it.
    Nobody,
    /// It is certainly not in the log: this node had too much to do.
    Busy(NodeId),
    /// It is certainly not in the log: there was no room on a disk.
    NoRoom {
        /// Whose.
        node: NodeId,
        /// What it has and needs.
        full: DiskFull,
    },
    /// It is certainly not in the log: one before it failed.
    Ended,
}

/// Gives a client its names: drawn at random once, the others follow from the first draw.
#[derive(Clone, Debug)]
pub struct Names {
    seed: u128,
    given: u64,
}

impl Names {
    /// The names of a seed.
    pub const fn new(seed: u128) -> Self {
        Self { seed, given: 0 }
    }

    fn next(&mut self) -> ClientId {
        self.given += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&self.given.to_le_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        ClientId::new(u128::from_le_bytes(bytes))
    }

    fn jitter(&self) -> Jitter {
        let folded = (self.seed >> 64) ^ (self.seed & u128::from(u64::MAX));
        Jitter::new(u64::try_from(folded).expect("two halves, one over the other"))
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Pilot {
    names: Names,
    jitter: Jitter,
    session: Session,
    /// Until when each request without an answer may wait, in order.
    deadlines: VecDeque<Moment>,
    lanes: BTreeMap<LaneNumber, Lane>,
    /// The lane to the leader. The others only owe answers.
    current: Option<LaneNumber>,
    lanes_opened: u64,
    search: Option<Search>,
    /// No search begins before this.
    search_at: Moment,
    /// Nothing is sent before this: the leader has too much to do.
    paused_until: Option<Moment>,
    /// Why the leader refused when last heard, if it had too much to do or no room.
    refused: Option<Fate>,
    /// Refusals and failures since the last acknowledgement.
    troubles: u32,
    /// When the last answer came, or the first request after a rest was sent.
    quiet_since: Moment,
    /// How long the leader may be quiet before everybody is asked.
    hedge_after: Duration,
    /// Which of several to go to first: another for each client, and after each detour.
    turn: u32,
    /// When to see whether the leader can be reached itself, if that is not the way now.
    recheck_at: Moment,
    /// How long another node has been gone by, if that is the way now.
    detour: Detour,
    actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    node: NodeId,
    leading: Leading,
    /// The connection that carries it; `None` while it is being opened.
    link: Option<LinkNumber>,
}

/// Why everything that waits has failed.
#[derive(Clone, Copy)]
enum Cause {
    TimedOut,
    GivenUp,
    Refused,
    Failure(Failure),
}

impl Pilot {
    /// Of a client that is new.
    pub fn new(mut names: Names) -> Self {
        let session = Session::new(names.next());
        Self::with_session(names, session)
    }

    /// Of one that repeats the request of a token.
    pub fn resume(names: Names, token: Token) -> Self {
        Self::with_session(names, Session::resume(token))
    }

    fn with_session(names: Names, session: Session) -> Self {
        let mut jitter = names.jitter();
        let turn = jitter.turn();
        Self {
            jitter,
            names,
            session,
            deadlines: VecDeque::new(),
            lanes: BTreeMap::new(),
            current: None,
            lanes_opened: 0,
            search: None,
            search_at: Moment::ORIGIN,
            paused_until: None,
            refused: None,
            troubles: 0,
            quiet_since: Moment::ORIGIN,
            hedge_after: CLIENT_HEDGE_AFTER,
            turn,
            recheck_at: Moment::ORIGIN,
            detour: Detour::new(),
            actions: vec![],
        }
    }

    /// Under which name requests go out now.
    pub fn client(&self) -> ClientId {
        self.session.client()
    }

    /// How many requests wait for an answer.
    pub fn unanswered(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether nothing waits for an answer.
    pub fn is_idle(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// Whether the next order has to wait for an answer.
    pub fn is_full(&self) -> bool {
        self.session.is_full()
    }

    /// What is to be done, in this order. Empty after.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When [`Self::on_time`] is to be called again, if nothing happens until then.
    pub fn wake_at(&self) -> Option<Moment> {
        let deadline = *self.deadlines.front()?;
        let next = match (&self.search, self.current) {
            (Some(search), _) => search.wake_at(),
            (None, None) => Some(self.search_at),
            (None, Some(_)) => self.is_owed().then(|| self.quiet_since + self.hedge_after),
        };
        let recheck = self.is_on_detour().then_some(self.recheck_at);
        let recheck = recheck.filter(|_| self.search.is_none());
        [Some(deadline), next, recheck, self.paused_until].into_iter().flatten().min()
    }

    /// Something is to be appended, and waits until `deadline` at most. The window must not be full.
    pub fn on_order(&mut self, now: Moment, ask: impl Into<Ask>, deadline: Moment) -> Seq {
        if self.deadlines.is_empty() {
            self.quiet_since = now;
            self.detour.wait(now);
        }
        self.deadlines.push_back(deadline);
        self.session.push(ask)
    }

    /// A lane's stream is there. Says whether it is still of use.
    pub fn on_opened(&mut self, now: Moment, lane: LaneNumber, link: LinkNumber) -> bool {
        let Some(opened) = self.lanes.get_mut(&lane) else { return false };
        opened.link = Some(link);
        self.quiet_since = now;
        if let Some(search) = self.search.as_mut().filter(|_| self.current == Some(lane)) {
            search.on_opened(link);
        }
        true
    }

    /// A lane's stream has ended, or could not be opened.
    pub fn on_closed(&mut self, now: Moment, beliefs: &mut Beliefs, number: LaneNumber) {
        let Some(lane) = self.lanes.remove(&number) else { return };
        if self.current == Some(number) {
            beliefs.route.on_failed(lane.node);
            self.leave(now, number);
        }
        let advice = self.session.close_lane(number);
        self.follow(now, beliefs, (number, lane.node), &advice);
    }

    /// Answers came on a lane.
    pub fn on_replies(
        &mut self,
        now: Moment,
        beliefs: &mut Beliefs,
        number: LaneNumber,
        replies: &[AppendReply],
    ) {
        let Some(lane) = self.lanes.get(&number).copied() else { return };
        self.quiet_since = now;
        self.hedge_after = CLIENT_HEDGE_AFTER;
        if self.current == Some(number) {
            self.detour.bring(now);
            // It answers: nobody needs to be asked who leads.
            self.stop_search();
        }
        for reply in replies {
            let advice = self.session.on_reply(number, reply);
            self.acknowledge();
            self.follow(now, beliefs, (number, lane.node), &advice);
        }
    }

    /// Something came of a question.
    pub fn hear(&mut self, now: Moment, beliefs: &mut Beliefs, word: &Word) {
        Search::hear(self.search.as_mut(), now, word, beliefs, &mut self.jitter);
    }

    /// Nobody wants to wait any more.
    pub fn on_given_up(&mut self) {
        self.fail_all(Cause::GivenUp);
    }

    /// Does what is due. Extra calls are harmless.
    pub fn on_time(&mut self, now: Moment, beliefs: &mut Beliefs) {
        self.go_on(now, beliefs);
        self.retire();
        assert_eq!(self.deadlines.len(), self.session.unanswered(), "a deadline for each request");
    }

    fn go_on(&mut self, now: Moment, beliefs: &mut Beliefs) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        if self.deadlines.front().is_some_and(|deadline| *deadline <= now) {
            self.fail_all(Cause::TimedOut);
        }
        if self.deadlines.is_empty() {
            return self.stop_search();
        }
        if self.search.is_none() {
            self.begin_search(now);
        }
        let Some(search) = &mut self.search else { return };
        match search.verdict(now, beliefs) {
            None => self.actions.extend(search.ask(now, beliefs).into_iter().map(Action::Ask)),
            Some(Verdict::Confirmed) if self.is_led_astray(now) => self.try_another(now, beliefs),
            Some(Verdict::Found(way)) if self.is_led_astray(now) && self.is_on(&way) => {
                self.try_another(now, beliefs);
            }
            Some(Verdict::Found(way)) => self.open_lane(now, beliefs, way),
            Some(Verdict::Confirmed) => {
                self.quiet_since = now;
                self.recheck_at = now + CLIENT_RECHECK_EVERY;
                self.hedge_after = (self.hedge_after * 2).min(CLIENT_HEDGE_MAX);
                self.stop_search();
            }
            Some(Verdict::Refused) => self.fail_all(Cause::Refused),
        }
    }

    /// The lane that requests go out on now, if there is one.
    pub fn sending_on(&self) -> Option<LaneNumber> {
        let current = self.current.filter(|_| self.paused_until.is_none())?;
        self.lanes.get(&current)?.link.map(|_| current)
    }

    /// The next request for that lane, which from now on counts as possibly taken.
    pub fn next_frame(&mut self) -> Option<Outgoing> {
        self.session.next_for(self.sending_on()?)
    }

    /// Looks for the leader if there is none, or if it is quiet.
    fn begin_search(&mut self, now: Moment) {
        let wanted = Wanted::Leader { word: self.session.has_not_begun() };
        let lane = self.current.and_then(|number| self.lanes.get(&number));
        let suspect = lane.map(|lane| Suspect {
            node: lane.node,
            leading: Some(lane.leading),
            link: lane.link,
        });
        let due = match suspect {
            None => self.search_at <= now,
            Some(_) => self.is_overdue(now) || self.is_on_detour() && self.recheck_at <= now,
        };
        if due {
            if suspect.is_some() && self.is_overdue(now) {
                hit(Mark::Hedged);
            }
            self.search = Some(Search::new(now, wanted, suspect).in_turn(self.turn));
        }
    }

    fn is_overdue(&self, now: Moment) -> bool {
        self.is_owed() && now.since(self.quiet_since) >= self.hedge_after
    }

    /// Whether another node hands on what is sent to the leader.
    fn is_on_detour(&self) -> bool {
        let lane = self.current.and_then(|number| self.lanes.get(&number));
        lane.is_some_and(|lane| lane.leading.node != lane.node)
    }

    /// Whether nothing has come by way of the other node for longer than that may take.
    fn is_led_astray(&self, now: Moment) -> bool {
        self.is_on_detour() && self.is_owed() && self.detour.is_in_vain(now)
    }

    /// Whether this is the way that is gone now.
    fn is_on(&self, way: &Way) -> bool {
        let lane = self.current.and_then(|number| self.lanes.get(&number));
        lane.is_some_and(|lane| lane.node == way.node && way.leading == Some(lane.leading))
    }

    /// Leaves the detour for another one, with more patience: the next search has another turn.
    fn try_another(&mut self, now: Moment, beliefs: &mut Beliefs) {
        self.detour.give_up();
        if let Some(current) = self.current {
            self.leave(now, current);
        }
        self.go_on(now, beliefs);
    }

    /// Whether the lane to the leader owes something: an answer, or to be there at all.
    fn is_owed(&self) -> bool {
        let Some(number) = self.current else { return false };
        let opening = self.lanes.get(&number).is_some_and(|lane| lane.link.is_none());
        opening || self.session.owes(number)
    }

    fn stop_search(&mut self) {
        if self.search.take().is_some() {
            self.actions.push(Action::StopAsking);
        }
    }

    fn open_lane(&mut self, now: Moment, beliefs: &mut Beliefs, way: Way) {
        let leading = way.leading.expect("the leader was looked for");
        if way.is_detour() {
            // From here it cannot be reached, until its own word comes.
            hit(Mark::Detour);
            beliefs.route.on_failed(leading.node);
            // NB: another connection to the same node is the same detour.
            if !self.is_on(&way) {
                self.turn = self.turn.wrapping_add(1);
                self.detour.wait(now);
            }
            self.recheck_at = now + CLIENT_RECHECK_EVERY;
        }
        if self.session.has_not_begun() {
            let commit_index = way.commit_index.expect("its word was asked for");
            self.session.begin(commit_index);
        }
        self.stop_search();
        self.lanes_opened += 1;
        let lane = LaneNumber::new(self.lanes_opened);
        self.lanes.insert(lane, Lane { node: way.node, leading, link: None });
        self.session.open_lane(lane);
        self.current = Some(lane);
        self.paused_until = None;
        self.quiet_since = now;
        if !mutants::is_on(Mutant::KeepPatience) {
            // What the one before was granted says nothing of this one.
            self.hedge_after = CLIENT_HEDGE_AFTER;
        }
        let limit = self.deadlines.front().map_or(Duration::ZERO, |deadline| deadline.since(now));
        let onward = way.is_detour();
        self.actions.push(Action::Open { lane, node: way.node, onward, limit });
    }

    fn follow(
        &mut self,
        now: Moment,
        beliefs: &mut Beliefs,
        (number, node): (LaneNumber, NodeId),
        advice: &Advice,
    ) {
        match advice {
            Advice::Continue => {}
            Advice::Pause => self.take_a_pause(now, Fate::Busy(node)),
            Advice::NoRoom { node, full } => {
                self.take_a_pause(now, Fate::NoRoom { node: *node, full: *full });
            }
            Advice::Elsewhere { hint } => {
                beliefs.route.on_refusal(node, *hint);
                self.leave(now, number);
            }
            Advice::Renew => self.renew(now),
            Advice::Failed(Failure::Unmet(unmet)) if self.session.take_back() => {
                self.deadlines.pop_front();
                self.actions.push(Action::Fail(Fate::Unmet(*unmet)));
            }
            Advice::Failed(failure) => self.fail_all(Cause::Failure(*failure)),
        }
    }

    fn take_a_pause(&mut self, now: Moment, refused: Fate) {
        self.refused = Some(refused);
        self.troubles += 1;
        self.paused_until = Some(now + self.pause());
    }

    fn renew(&mut self, now: Moment) {
        let client = self.names.next();
        self.session.renew(client);
        self.actions.push(Action::Renamed(client));
        // Where the new session begins is learned with a new lane.
        if let Some(current) = self.current {
            self.leave(now, current);
        }
    }

    /// The lane is no longer the one to the leader. It is kept while it owes answers.
    fn leave(&mut self, now: Moment, number: LaneNumber) {
        if self.current != Some(number) {
            return;
        }
        self.current = None;
        self.troubles += 1;
        self.stop_search();
        // The first time the next leader is looked for at once.
        self.search_at = if self.troubles > 1 { now + self.pause() } else { now };
    }

    /// How long to wait before troubling a node again.
    fn pause(&mut self) -> Duration {
        self.jitter.pause(self.troubles.saturating_sub(1))
    }

    fn acknowledge(&mut self) {
        while let Some((_, appended)) = self.session.take_answered() {
            self.troubles = 0;
            self.refused = None;
            self.deadlines.pop_front();
            self.actions.push(Action::Acknowledge(appended));
        }
    }

    /// Ends lanes that are of no more use.
    fn retire(&mut self) {
        let (session, current, actions) = (&mut self.session, self.current, &mut self.actions);
        self.lanes.retain(|number, _| {
            let keep = current == Some(*number) || session.owes(*number);
            if !keep {
                let advice = session.close_lane(*number);
                debug_assert_eq!(advice, Advice::Continue, "nothing was outstanding");
                actions.push(Action::Close(*number));
            }
            keep
        });
    }

    /// Everything that waits fails: what nobody can have taken with certainty, the rest without.
    fn fail_all(&mut self, cause: Cause) {
        let certain_from = self.session.certain_from();
        let first = self.session.first();
        let mut seq = first;
        for _ in 0..std::mem::take(&mut self.deadlines).len() {
            let token = self.session.token(seq).filter(|_| seq < certain_from);
            let fate = self.fate(cause, seq, seq == first, token);
            self.actions.push(Action::Fail(fate));
            seq = seq.next();
        }
        self.start_anew();
    }

    fn fate(&self, cause: Cause, seq: Seq, is_first: bool, token: Option<Token>) -> Fate {
        // What stands behind a request that is in no log is in none.
        let token = token.filter(|_| !matches!(cause, Cause::Failure(Failure::Unmet(_))));
        match (cause, token) {
            (Cause::Failure(Failure::OtherRecords { seq: at, appended }), _) if at == seq => {
                Fate::Mismatch(appended)
            }
            (Cause::Failure(Failure::Invalid { seq: at }), _) if at == seq => Fate::Invalid,
            (Cause::Failure(Failure::NotAdmin { seq: at }), _) if at == seq => Fate::NotAdmin,
            (Cause::Failure(Failure::Forbidden { seq: at }), _) if at == seq => Fate::Forbidden,
            (Cause::Failure(Failure::Unmet(unmet)), _) if is_first => Fate::Unmet(unmet),
            (Cause::Failure(Failure::Expired), Some(token)) => Fate::Expired(token),
            (_, Some(token)) => Fate::Unknown(token),
            (Cause::Refused, None) => Fate::Nobody,
            (Cause::GivenUp, None) => Fate::GivenUp,
            (Cause::TimedOut, None) => {
                let nobody = if is_first { Fate::Nobody } else { Fate::Ended };
                self.refused.unwrap_or(nobody)
            }
            (Cause::Failure(_), None) => Fate::Ended,
        }
    }

    /// After a failure the session is over. What it sent may still arrive; it is not waited for.
    fn start_anew(&mut self) {
        self.actions.extend(std::mem::take(&mut self.lanes).into_keys().map(Action::Close));
        self.current = None;
        self.stop_search();
        self.session = Session::new(self.names.next());
        self.paused_until = None;
        self.refused = None;
    }
}
