//! What a client that reads decides: whom to read from, when to make sure that there is something to
//! wait for, when to go on elsewhere, and where.
//!
//! A pure machine as the [`super::pilot`] of appends is, driven in the same way by the task of a
//! [`super::Reader`] and by the simulator's clients: after each event [`ReadPilot::on_time`], then
//! what [`ReadPilot::take_actions`] says.
//!
//! A read of much is served by another node than the leader, which is only asked how far it must see: so
//! reads scale with nodes. If that one is not there, or not soon, the leader serves the rest.
//!
//! The offset that comes next belongs to the read and not to the node that serves it: when its source
//! fails the read goes on there at another, without a gap and without a repetition.

use std::time::Duration;

use super::backoff::Jitter;
use super::detour::Detour;
use super::moment::Moment;
use super::read_options::{Consistency, ReadOptions};
use super::route::Leading;
use super::search::{Beliefs, LinkNumber, Question, Search, Suspect, Verdict, Wanted, Way, Word};
use crate::limits::{CLIENT_HEDGE_AFTER, READ_SPARES_LEADER_RECORDS, TAIL_PROBE_AFTER};
use crate::marks::{Mark, hit};
use crate::types::{LogNumber, NodeId, Offset};
use crate::wire::api::{Read, ReadFrom, ReadRefusal, Records};
use crate::wire::standing::Inquiry;

/// Names a stream that a read's records come on. Never used twice by a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceNumber(u64);

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadAction {
    /// Ask. What comes of it goes to [`ReadPilot::hear`].
    Ask(Question),
    /// Answers to the questions so far are of no more use, and do no harm.
    StopAsking,
    /// Open a stream for a read. What comes of it goes to [`ReadPilot::on_opened`],
    /// [`ReadPilot::on_records`] and [`ReadPilot::on_closed`].
    Open {
        /// Its name.
        source: SourceNumber,
        /// To whom.
        node: NodeId,
        /// What to ask for.
        read: Read,
        /// Whether that node is to hand it on to the leader.
        onward: bool,
        /// How long somebody waits for it, at most.
        limit: Duration,
    },
    /// The stream is of no more use.
    Close(SourceNumber),
    /// Nobody has served the read for as long as may be waited. Said once; a read that follows goes
    /// on trying.
    Fail(Trouble),
    /// After a failure somebody serves it again.
    GoesOn,
}

/// Why a read is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody was found to ask.
    Nobody,
    /// Every node refuses this client for good.
    Refused,
    /// The node that was asked does not answer.
    Unreachable(NodeId),
    /// A node could not read its store.
    Failed(NodeId),
    /// Nothing came.
    TimedOut,
}

/// What a frame of records comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Its first records, so many, are the next ones.
    Records(usize),
    /// Nothing of it is to be shown.
    Nothing,
    /// The log does not exist.
    UnknownLog,
    /// The certificate does not allow it.
    Forbidden,
    /// What comes next was trimmed: the log begins here by now.
    Trimmed(Offset),
    /// A node sent other records than those that come next.
    OutOfOrder {
        /// Who.
        node: NodeId,
        /// What comes next.
        expected: Offset,
        /// What it sent.
        found: Offset,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ReadPilot {
    log: LogNumber,
    options: ReadOptions,
    /// What it asks for instead of records.
    inquiry: Option<Inquiry>,
    /// How long may be waited without being served.
    timeout: Duration,
    jitter: Jitter,
    /// The offset that comes next, once known.
    position: Option<Offset>,
    /// Records still wanted.
    remaining: Option<u64>,
    source: Option<Source>,
    sources_opened: u64,
    search: Option<Search>,
    /// No search begins before this.
    search_at: Moment,
    /// Failures since a node last served this read.
    troubles: u32,
    /// Which of several to go to first: another for each client, and after each detour.
    turn: u32,
    /// How long another node has been gone by, if that is the way now.
    detour: Detour,
    /// Since when it has not been served; `None` while it is.
    unserved_since: Option<Moment>,
    /// What the last failure was, if it has a name.
    trouble: Option<Trouble>,
    /// That it is not served has been said.
    has_complained: bool,
    done: bool,
    actions: Vec<ReadAction>,
}

/// The stream that the records come on.
#[derive(Clone, Copy, Debug)]
struct Source {
    number: SourceNumber,
    node: NodeId,
    /// The leader that serves it, for a linearizable read.
    leading: Option<Leading>,
    /// The connection that carries it; `None` while it is being opened.
    link: Option<LinkNumber>,
    quiet_since: Moment,
    /// How long it may be quiet before it is made sure that there is something to wait for.
    patience: Duration,
}

impl ReadPilot {
    /// A read that waits for each batch at most `timeout`.
    pub fn new(options: ReadOptions, timeout: Duration, mut jitter: Jitter) -> Self {
        let turn = jitter.turn();
        let position = match options.from {
            ReadFrom::Offset(offset) => Some(offset),
            ReadFrom::Last(_) | ReadFrom::Start => None,
        };
        Self {
            log: LogNumber::MAIN,
            options,
            inquiry: None,
            timeout,
            jitter,
            position,
            remaining: options.limit,
            source: None,
            sources_opened: 0,
            search: None,
            search_at: Moment::ORIGIN,
            troubles: 0,
            turn,
            detour: Detour::new(),
            unserved_since: None,
            trouble: None,
            has_complained: false,
            done: options.limit == Some(0),
            actions: vec![],
        }
    }

    /// As [`Self::new`], of one that asks this, and reads no records.
    pub fn asking(inquiry: Inquiry, timeout: Duration, jitter: Jitter) -> Self {
        let inquiry = Some(inquiry);
        Self { inquiry, ..Self::new(ReadOptions::default(), timeout, jitter) }
    }

    /// The same, of which the answer must reflect so much.
    #[must_use]
    pub fn reflecting(self, consistency: Consistency) -> Self {
        Self { options: ReadOptions { consistency, ..self.options }, ..self }
    }

    /// The same, of this log instead of `main`.
    #[must_use]
    pub fn of(self, log: LogNumber) -> Self {
        Self { log, ..self }
    }

    /// The offset of the next record, if it is known: where another read would go on.
    pub fn position(&self) -> Option<Offset> {
        self.position
    }

    /// Whether all has been read.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the read goes on in spite of that.
    pub fn waits_out(&self, trouble: Trouble) -> bool {
        self.options.follow && trouble != Trouble::Refused
    }

    /// What is to be done, in this order. Empty after.
    pub fn take_actions(&mut self) -> Vec<ReadAction> {
        std::mem::take(&mut self.actions)
    }

    /// When [`Self::on_time`] is to be called again, if nothing happens until then.
    pub fn wake_at(&self) -> Option<Moment> {
        let next = match (&self.search, &self.source) {
            (Some(search), _) => search.wake_at(),
            (None, Some(source)) => Some(source.quiet_since + source.patience),
            (None, None) => Some(self.search_at),
        };
        [self.deadline(), next].into_iter().flatten().min()
    }

    /// Somebody waits for the next records from now on, with fresh patience.
    pub fn on_wait(&mut self, now: Moment) {
        if self.has_complained {
            self.unserved_since = Some(now);
            self.has_complained = false;
        }
        self.on_look(now);
    }

    /// Somebody looks for the next records from now on, and has been told if it is not served.
    pub fn on_look(&mut self, now: Moment) {
        if !self.options.follow {
            self.unserved_since = Some(now);
            self.has_complained = false;
        } else if self.source.is_none() {
            self.unserved_since.get_or_insert(now);
        }
        if let Some(source) = &mut self.source {
            // What came while nobody looked is still to be heard.
            source.quiet_since = now;
            self.detour.wait(now);
        }
    }

    /// The source's stream is there. Says whether it is still of use.
    pub fn on_opened(&mut self, now: Moment, number: SourceNumber, link: LinkNumber) -> bool {
        let Some(source) = self.source.as_mut().filter(|source| source.number == number) else {
            return false;
        };
        source.link = Some(link);
        source.quiet_since = now;
        if let Some(search) = &mut self.search {
            search.on_opened(link);
        }
        true
    }

    /// A source's stream has ended, or could not be opened.
    pub fn on_closed(&mut self, now: Moment, beliefs: &mut Beliefs, number: SourceNumber) {
        let Some(source) = self.source.filter(|source| source.number == number) else { return };
        beliefs.route.on_failed(source.node);
        if source.link.is_none() {
            self.trouble = Some(Trouble::Unreachable(source.node));
        }
        self.lose(now);
    }

    /// Something came of a question.
    pub fn hear(&mut self, now: Moment, beliefs: &mut Beliefs, word: &Word) {
        Search::hear(self.search.as_mut(), now, word, beliefs, &mut self.jitter);
    }

    /// A frame of so many records came on a source.
    pub fn on_records(
        &mut self,
        now: Moment,
        beliefs: &mut Beliefs,
        number: SourceNumber,
        (header, count): (&Records, usize),
    ) -> Taken {
        let Some(source) = self.source.as_mut().filter(|source| source.number == number) else {
            return Taken::Nothing;
        };
        source.quiet_since = now;
        source.patience = CLIENT_HEDGE_AFTER;
        let node = source.node;
        self.detour.bring(now);
        self.stop_search();
        if let Some(refusal) = &header.refusal {
            return self.on_refusal(now, beliefs, node, refusal);
        }
        if self.asks_where() {
            self.position = Some(header.first_offset);
            self.close();
            return Taken::Nothing;
        }
        self.take(now, node, header, count)
    }

    fn on_refusal(
        &mut self,
        now: Moment,
        beliefs: &mut Beliefs,
        node: NodeId,
        refusal: &ReadRefusal,
    ) -> Taken {
        match refusal {
            ReadRefusal::NotLeader { leader } => beliefs.route.on_refusal(node, *leader),
            ReadRefusal::Busy => {}
            // It may be behind, or another may do better.
            ReadRefusal::Failed => self.trouble = Some(Trouble::Failed(node)),
            ReadRefusal::Trimmed { start } => {
                self.close();
                return Taken::Trimmed(*start);
            }
            ReadRefusal::UnknownLog => {
                self.close();
                return Taken::UnknownLog;
            }
            ReadRefusal::Forbidden => {
                self.close();
                return Taken::Forbidden;
            }
        }
        self.lose(now);
        Taken::Nothing
    }

    fn take(&mut self, now: Moment, node: NodeId, header: &Records, count: usize) -> Taken {
        let found = header.first_offset;
        let expected = self.position.unwrap_or(found);
        if count > 0 && found != expected {
            self.close();
            return Taken::OutOfOrder { node, expected, found };
        }
        let wanted = self
            .remaining
            .map_or(count, |remaining| usize::try_from(remaining).unwrap_or(usize::MAX).min(count));
        assert!(self.remaining.is_none_or(|remaining| wanted as u64 <= remaining));
        let taken = wanted as u64;
        self.position = Some(expected.plus(taken));
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(taken));
        self.done = self.remaining == Some(0) || (header.end && !self.options.follow);
        if taken > 0 || self.options.follow && !header.end {
            self.served();
        }
        if self.done {
            self.close();
        } else if header.end && taken == 0 {
            // The end of what does not end: the node stops, and another goes on.
            self.lose(now);
        }
        Taken::Records(wanted)
    }

    /// Does what is due. Extra calls are harmless.
    pub fn on_time(&mut self, now: Moment, beliefs: &mut Beliefs) {
        if self.done {
            return;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.complain();
            if !self.options.follow {
                return;
            }
        }
        if self.search.is_none() {
            self.begin(now, beliefs);
        }
        let Some(search) = &mut self.search else { return };
        match search.verdict(now, beliefs) {
            None => self.actions.extend(search.ask(now, beliefs).into_iter().map(ReadAction::Ask)),
            Some(Verdict::Confirmed) if self.is_led_astray(now) => self.try_another(now, beliefs),
            Some(Verdict::Found(way)) if self.is_led_astray(now) && self.is_on(&way) => {
                self.try_another(now, beliefs);
            }
            Some(Verdict::Found(way)) => self.go(now, beliefs, way),
            Some(Verdict::Confirmed) => self.confirmed(now),
            Some(Verdict::Refused) => {
                self.trouble = Some(Trouble::Refused);
                self.complain();
            }
        }
    }

    /// Whether nothing has come by way of another node for longer than that may take. Of one that
    /// follows it is not known, and may not be for ever.
    fn is_led_astray(&self, now: Moment) -> bool {
        let is_detour = |source: &Source| source.leading.is_some_and(|l| l.node != source.node);
        let source = self.source.as_ref().filter(|source| is_detour(source));
        let waits = source.filter(|_| !self.options.follow || self.asks_where());
        waits.is_some() && self.detour.is_in_vain(now)
    }

    /// Whether this is the way that is gone now.
    fn is_on(&self, way: &Way) -> bool {
        self.source.is_some_and(|source| source.node == way.node && source.leading == way.leading)
    }

    /// Leaves the detour for another one, with more patience: the next search has another turn.
    fn try_another(&mut self, now: Moment, beliefs: &mut Beliefs) {
        self.detour.give_up();
        self.lose(now);
        self.on_time(now, beliefs);
    }

    /// Goes on by this way.
    fn go(&mut self, now: Moment, beliefs: &mut Beliefs, way: Way) {
        // NB: another connection to the same node is the same detour.
        let (is_same, turn) = (self.is_on(&way), self.turn);
        if self.source.is_some() {
            self.lose(now);
        }
        self.open(now, beliefs, way);
        if is_same {
            self.turn = turn;
        } else {
            self.detour.wait(now);
        }
    }

    /// Looks for whom to read from, or whether the one who is quiet still serves.
    fn begin(&mut self, now: Moment, beliefs: &mut Beliefs) {
        let Some(source) = self.source else {
            if self.search_at <= now {
                self.look(now, beliefs);
            }
            return;
        };
        if now.since(source.quiet_since) < source.patience {
            return;
        }
        // From here on it is served only if somebody says so.
        self.unserved_since.get_or_insert(now);
        let Source { node, leading, link, .. } = source;
        if leading.is_none() && self.options.consistency == Consistency::Linearizable {
            // It was to spare the leader, and need not be waited for.
            self.lose(now);
            return self.begin(now, beliefs);
        }
        let wanted = match leading {
            Some(_) => Wanted::Leader { word: false },
            None => Wanted::Node(node),
        };
        let search = Search::new(now, wanted, Some(Suspect { node, leading, link }));
        self.search = Some(search.in_turn(self.turn));
    }

    fn look(&mut self, now: Moment, beliefs: &mut Beliefs) {
        let wanted = match self.options.consistency {
            Consistency::Linearizable => Wanted::Leader { word: false },
            Consistency::Stale { node: None } => Wanted::Anybody,
            Consistency::Stale { node: Some(node) } | Consistency::LinearizableAt { node } => {
                // There is nothing to look for.
                let way = Way { node, leading: None, commit_index: None };
                return self.open(now, beliefs, way);
            }
        };
        self.search = Some(Search::new(now, wanted, None).in_turn(self.turn));
    }

    /// Another node than the leader, if there is much to read and nothing has gone wrong so far.
    fn spared(&self, beliefs: &Beliefs, way: Way) -> Way {
        let leads = way.leading.map(|leading| leading.node);
        let others: Vec<_> =
            beliefs.met.iter().copied().filter(|node| Some(*node) != leads).collect();
        let is_first = self.troubles == 0 && leads.is_some() && !way.is_detour();
        if !is_first || others.is_empty() || !self.reads_much(beliefs.end) {
            return way;
        }
        hit(Mark::LeaderSpared);
        Way { node: others[self.turn as usize % others.len()], leading: None, commit_index: None }
    }

    /// Whether so much is to be read from a log that ends there that it is more than a frame.
    fn reads_much(&self, end: Offset) -> bool {
        let position = self.position.unwrap_or_default();
        let there = match (self.options.from, self.position) {
            (ReadFrom::Last(count), None) => count.min(end.get()),
            _ => end.get().saturating_sub(position.get()),
        };
        let count = self.remaining.map_or(there, |remaining| remaining.min(there));
        // Of other logs it is not known where they end.
        let is_known = self.log == LogNumber::MAIN && self.inquiry.is_none();
        is_known && !self.options.follow && count >= READ_SPARES_LEADER_RECORDS
    }

    fn open(&mut self, now: Moment, beliefs: &mut Beliefs, way: Way) {
        self.stop_search();
        let way = self.spared(beliefs, way);
        let onward = way.is_detour();
        if let Some(leading) = way.leading.filter(|_| onward) {
            // From here it cannot be reached, until its own word comes.
            self.turn = self.turn.wrapping_add(1);
            beliefs.route.on_failed(leading.node);
        }
        assert!(self.source.is_none(), "one source at a time");
        self.sources_opened += 1;
        let Way { node, leading, .. } = way;
        let number = SourceNumber(self.sources_opened);
        let patience = CLIENT_HEDGE_AFTER;
        self.source =
            Some(Source { number, node, leading, link: None, quiet_since: now, patience });
        let limit = self.deadline().map_or(self.timeout, |deadline| deadline.since(now));
        let read = self.rest();
        self.actions.push(ReadAction::Open { source: number, node, read, onward, limit });
    }

    /// The rest of the read. A followed read that begins at the end first asks, reading nothing,
    /// where that is: else what is appended before its first record could be skipped, if its node
    /// failed meanwhile.
    pub fn rest(&self) -> Read {
        let asks_where = self.asks_where();
        Read {
            log: self.log,
            from: self.position.map_or(self.options.from, ReadFrom::Offset),
            limit: if asks_where { Some(0) } else { self.remaining },
            linearizable: !matches!(self.options.consistency, Consistency::Stale { .. }),
            follow: self.options.follow && !asks_where,
            inquiry: self.inquiry.clone(),
        }
    }

    fn asks_where(&self) -> bool {
        self.options.follow && self.position.is_none()
    }

    /// Whoever serves it still does, and has nothing to say yet.
    fn confirmed(&mut self, now: Moment) {
        self.stop_search();
        if let Some(source) = &mut self.source {
            source.quiet_since = now;
            source.patience = TAIL_PROBE_AFTER;
        }
        if self.options.follow {
            self.served();
        }
    }

    fn served(&mut self) {
        (self.troubles, self.unserved_since, self.trouble) = (0, None, None);
        if std::mem::take(&mut self.has_complained) {
            self.actions.push(ReadAction::GoesOn);
        }
    }

    fn complain(&mut self) {
        let nobody = self.without_a_name();
        if !self.options.follow || self.trouble == Some(Trouble::Refused) {
            self.close();
        }
        let trouble = self.trouble.take().unwrap_or(nobody);
        self.troubles = 0;
        self.has_complained = true;
        self.actions.push(ReadAction::Fail(trouble));
    }

    /// What it amounts to that nothing came, and nothing is known to have failed.
    fn without_a_name(&self) -> Trouble {
        match (&self.source, self.options.consistency) {
            (Some(_), _) if !self.options.follow => Trouble::TimedOut,
            (_, Consistency::Stale { node: Some(node) }) => Trouble::Unreachable(node),
            _ => Trouble::Nobody,
        }
    }

    /// The source is of no more use: the read goes on at another.
    fn lose(&mut self, now: Moment) {
        self.close();
        self.troubles += 1;
        self.unserved_since.get_or_insert(now);
        if self.troubles > 1 {
            self.search_at = now + self.jitter.pause(self.troubles - 2);
        }
    }

    fn close(&mut self) {
        self.stop_search();
        if let Some(source) = self.source.take() {
            self.actions.push(ReadAction::Close(source.number));
        }
    }

    fn stop_search(&mut self) {
        if self.search.take().is_some() {
            self.actions.push(ReadAction::StopAsking);
        }
    }

    /// Until when it may go unserved.
    fn deadline(&self) -> Option<Moment> {
        if self.has_complained {
            return None;
        }
        self.unserved_since.map(|since| since + self.timeout)
    }
}
