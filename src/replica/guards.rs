//! What entries say of logs besides their records: which there are, who may append, and how far named
//! producers are; and which access tokens hold no more.
//!
//! A function of the log, as the table of clients is: equal on all nodes at equal indexes, and in the
//! heads of segments. A producer is a client with a name: who opens it is it from then on, and whatever
//! that client appends is the producer's. Unlike other clients it is never forgotten for others' sake.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::catalogue::{Catalogue, Log};
use super::revocations::Revocations;
use super::sessions::Answers;
use crate::command::{Command, NewLog, Stamp, Turn};
use crate::entry::{Logged, RunHead};
use crate::housekeeping::Housekeeping;
use crate::label::{FenceToken, ProducerName, SequenceWord};
use crate::limits::PRODUCERS_MAX;
use crate::mutants::{self, Mutant};
use crate::types::{ClientId, Index, LogNumber, Offset, Timestamp};
use crate::wire::api::AppendRun;
use crate::wire::conditions::Obstacle;
use crate::wire::standing::{Inquiry, ProducerState, Standing};

/// Names a producer: names are a log's own.
type Key = (LogNumber, ProducerName);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    pub(super) catalogue: Catalogue,
    fences: BTreeMap<LogNumber, FenceToken>,
    /// The last sequence word of each log that has had one.
    words: BTreeMap<LogNumber, SequenceWord>,
    producers: BTreeMap<Key, Producer>,
    /// Entries before this one may go.
    released: Index,
    /// Access tokens that hold no more.
    revocations: Revocations,
    /// Which producer each client is. Derived; not stored.
    #[serde(skip)]
    held: BTreeMap<ClientId, Key>,
}

/// A named producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Producer {
    epoch: u64,
    opened_at: Index,
    /// The client that is it; nobody, if that client is another producer by now.
    holder: Option<ClientId>,
    last_seq: u64,
    offset: Option<Offset>,
    /// It counts its requests itself ([`Turn`]), within its epoch, and `last_seq` is how many those are.
    counts_itself: bool,
    /// The answers to the holder's last run, if it has one: with them it goes on even if the table of
    /// clients has forgotten it.
    last: VecDeque<Answers>,
}

/// What was so before an entry changed it.
#[derive(Clone, Debug)]
pub(super) enum Before {
    Log(LogNumber, Option<Log>),
    Fence(LogNumber, Option<FenceToken>),
    Word(LogNumber, Option<SequenceWord>),
    Producer(Key, Option<Box<Producer>>),
    Released(Index),
    Revocations(Revocations),
}

impl Guards {
    /// Fills in what is not stored, after it was read.
    pub(super) fn derive(&mut self) {
        let holders = self.producers.iter().filter_map(|(key, it)| Some((it.holder?, *key)));
        self.held = holders.collect();
        self.catalogue.derive();
    }

    /// Does what a run of the entry at this index, of this time, says. Gives what is to be put back if that is cut, in
    /// this order.
    pub(super) fn apply(
        &mut self,
        logged: &Logged,
        (index, time): (Index, Timestamp),
    ) -> Vec<Before> {
        let RunHead { log, client, .. } = logged.head;
        let mut before = match logged.command.as_deref() {
            None => vec![],
            Some(Command::Fence(token)) => vec![Before::Fence(log, self.set_fence(log, *token))],
            Some(Command::Open(name)) => self.open((log, *name), client, index),
            Some(Command::Forget(name)) => vec![self.set((log, *name), None)],
            Some(Command::Create(new)) => {
                vec![Before::Log(log, self.catalogue.create(log, NewLog::clone(new)))]
            }
            Some(Command::Append(stamp)) => self.stamp(stamp, &logged.head, index),
            Some(Command::Close(stamp)) => self.close(stamp, &logged.head, index),
            Some(Command::Configure(retention)) => {
                vec![Before::Log(log, self.catalogue.configure(log, *retention))]
            }
            Some(Command::Delete) => self.delete(log),
            Some(Command::Trim(before)) => {
                vec![Before::Log(log, self.catalogue.trim(log, *before))]
            }
            Some(Command::Revoke(token)) => {
                let before = Before::Revocations(self.revocations.clone());
                self.revocations.revoke(*token, time);
                vec![before]
            }
        };
        before.extend(self.count(&logged.head, index));
        before
    }

    /// Does what a leader has found to be done. Gives what is to be put back if that is cut.
    pub(super) fn keep_house(&mut self, housekeeping: &Housekeeping) -> Vec<Before> {
        let mut before = vec![Before::Released(self.released)];
        self.released = self.released.max(housekeeping.released);
        for (log, start) in &housekeeping.trims {
            // One that was deleted meanwhile has nothing to trim.
            if self.catalogue.begins_at(*log).is_some() {
                before.push(Before::Log(*log, self.catalogue.trim(*log, *start)));
            }
        }
        let is_there = |log: &&LogNumber| self.catalogue.begins_at(**log).is_some();
        let expired: Vec<_> = housekeeping.expired.iter().filter(is_there).copied().collect();
        for log in expired {
            before.extend(self.delete(log));
        }
        before
    }

    /// Of the logs that this has changed those that are no more.
    pub(super) fn gone(&self, before: &[Before]) -> Vec<LogNumber> {
        let changed = before.iter().filter_map(|before| match before {
            Before::Log(log, Some(_)) => Some(*log),
            _ => None,
        });
        changed.filter(|log| !self.catalogue.has(*log)).collect()
    }

    /// Entries before this one may go, as far as nothing in them is live.
    pub(super) fn released(&self) -> Index {
        self.released
    }

    /// Access tokens that hold no more.
    pub(super) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Forgets which tokens hold no more: a bug.
    pub(super) fn forget_revocations(&mut self) {
        self.revocations = Revocations::default();
    }

    /// Puts back what was so before.
    pub(super) fn undo(&mut self, before: Before) {
        match before {
            Before::Log(number, log) => self.catalogue.undo(number, log),
            Before::Fence(log, token) => drop(self.set_fence(log, token)),
            Before::Word(log, word) => drop(self.set_word(log, word)),
            Before::Producer(key, producer) => drop(self.set(key, producer.map(|it| *it))),
            Before::Released(released) => self.released = released,
            Before::Revocations(revocations) => self.revocations = revocations,
        }
    }

    fn set_fence(&mut self, log: LogNumber, token: Option<FenceToken>) -> Option<FenceToken> {
        match token {
            Some(token) => self.fences.insert(log, token),
            None => self.fences.remove(&log),
        }
    }

    fn set_word(&mut self, log: LogNumber, word: Option<SequenceWord>) -> Option<SequenceWord> {
        match word {
            Some(word) => self.words.insert(log, word),
            None => self.words.remove(&log),
        }
    }

    /// Notes what a request is known by.
    fn stamp(&mut self, stamp: &Stamp, run: &RunHead, index: Index) -> Vec<Before> {
        let mut before = vec![];
        if let Some(word) = stamp.word {
            before.push(Before::Word(run.log, self.set_word(run.log, Some(word))));
        }
        if let Some(turn) = &stamp.turn {
            let key = (run.log, turn.producer);
            before.push(self.set(key, Some(self.after_turn(turn, run, index))));
        }
        before
    }

    /// A producer behind a request of its own.
    fn after_turn(&self, turn: &Turn, run: &RunHead, index: Index) -> Producer {
        let former = self.producers.get(&(run.log, turn.producer));
        let same = former.filter(|former| former.epoch == turn.epoch);
        let last_offset = run.next_offset().get().checked_sub(1).filter(|_| run.records() > 0);
        Producer {
            epoch: turn.epoch,
            opened_at: same.map_or(index, |same| same.opened_at),
            holder: None,
            last_seq: turn.seq + 1,
            offset: last_offset.map(Offset::new).or_else(|| former?.offset),
            counts_itself: true,
            last: VecDeque::new(),
        }
    }

    /// The log takes no more behind this run.
    fn close(&mut self, stamp: &Stamp, run: &RunHead, index: Index) -> Vec<Before> {
        let mut before = self.stamp(stamp, run, index);
        if run.records() > 0 && mutants::is_on(Mutant::CloseApart) {
            return before;
        }
        before.push(Before::Log(run.log, self.catalogue.close(run.log)));
        before
    }

    /// Puts a producer in the place of what is there. Gives how to undo it.
    fn set(&mut self, key: Key, producer: Option<Producer>) -> Before {
        let holder = producer.as_ref().and_then(|producer| producer.holder);
        let before = match producer {
            Some(producer) => self.producers.insert(key, producer),
            None => self.producers.remove(&key),
        };
        if let Some(former) = before.as_ref().and_then(|before| before.holder) {
            self.held.remove(&former);
        }
        if let Some(holder) = holder {
            self.held.insert(holder, key);
        }
        Before::Producer(key, before.map(Box::new))
    }

    /// A log is deleted, with all that is known of it; with it may go what it was forked from.
    fn delete(&mut self, log: LogNumber) -> Vec<Before> {
        let gone = self.catalogue.delete(log).into_iter();
        let mut before: Vec<_> = gone.map(|(log, before)| Before::Log(log, before)).collect();
        before.push(Before::Fence(log, self.set_fence(log, None)));
        before.push(Before::Word(log, self.set_word(log, None)));
        let producers = self.producers.keys().filter(|(of, _)| *of == log).copied();
        for key in producers.collect::<Vec<_>>() {
            before.push(self.set(key, None));
        }
        before
    }

    fn open(&mut self, key: Key, client: ClientId, index: Index) -> Vec<Before> {
        let mut before = vec![];
        // A client is one producer at a time.
        let other = self.held.get(&client).copied().filter(|held| *held != key);
        if let Some((other, producer)) = other.and_then(|it| Some((it, self.producers.get(&it)?))) {
            let producer = Producer { holder: None, ..producer.clone() };
            before.push(self.set(other, Some(producer)));
        }
        let former = self.producers.get(&key);
        let opened = Producer {
            epoch: former.map_or(0, |former| former.epoch) + 1,
            opened_at: index,
            holder: Some(client),
            // One that has counted its requests begins to count records.
            last_seq: former.filter(|former| !former.counts_itself).map_or(0, |it| it.last_seq),
            offset: former.and_then(|former| former.offset),
            counts_itself: false,
            last: VecDeque::new(),
        };
        before.push(self.set(key, Some(opened)));
        before
    }

    /// Counts the records of a client that is a producer, of which a command has none; and keeps the
    /// answers to either: a repetition is known even if the table of clients has forgotten it.
    fn count(&mut self, run: &RunHead, index: Index) -> Option<Before> {
        let key = *self.held.get(&run.client)?;
        let producer = self.producers.get_mut(&key)?;
        let before = Box::new(producer.clone());
        if run.records() > 0 && run.log == key.0 {
            producer.last_seq += run.records();
            producer.offset = Some(Offset::new(run.next_offset().get() - 1));
        }
        producer.last = VecDeque::from([Answers::of(run, index)]);
        Some(Before::Producer(key, Some(before)))
    }

    /// The answers to the last run of a client that is a producer.
    pub(super) fn last_of(&self, client: ClientId) -> Option<&VecDeque<Answers>> {
        let producer = self.producers.get(self.held.get(&client)?)?;
        (!producer.last.is_empty()).then_some(&producer.last)
    }

    fn fence(&self, log: LogNumber) -> Option<FenceToken> {
        self.fences.get(&log).copied()
    }

    /// What keeps new requests out at this time, if something does.
    pub(super) fn obstacle(&self, run: &AppendRun, now: Timestamp) -> Option<Obstacle> {
        let of_log = self.catalogue.obstacle(run.log, run.command.as_ref());
        match of_log {
            // What is there already is there, whatever came behind it.
            Some(Obstacle::Closed) => self.repeats(run).or(of_log),
            _ => of_log.or_else(|| self.obstacle_within(run, now)),
        }
    }

    /// That a producer's request is there already, if it is.
    fn repeats(&self, run: &AppendRun) -> Option<Obstacle> {
        let turn = run.command.as_ref()?.stamp()?.turn?;
        let found = self.out_of_turn(run.log, &turn);
        found.filter(|it| matches!(it, Obstacle::Repeated { .. }))
    }

    fn obstacle_within(&self, run: &AppendRun, now: Timestamp) -> Option<Obstacle> {
        let present = self.fence(run.log);
        if run.conditions.fence.is_some_and(|named| Some(named) != present) {
            return Some(Obstacle::Fence { present });
        }
        let of_producer =
            run.conditions.producer.and_then(|name| self.not_producer((run.log, name), run.client));
        of_producer.or_else(|| self.forbids(run.log, run.command.as_ref()?, now))
    }

    /// Why a client is not this producer, if it is not.
    fn not_producer(&self, key: Key, client: ClientId) -> Option<Obstacle> {
        let Some(producer) = self.producers.get(&key) else {
            return (!mutants::is_on(Mutant::ForgottenGoesOn)).then_some(Obstacle::NoProducer);
        };
        let is_it = producer.holder == Some(client) || mutants::is_on(Mutant::SupersededGoesOn);
        (!is_it).then_some(Obstacle::Superseded { epoch: producer.epoch })
    }

    /// Why a command cannot be done, if it cannot.
    fn forbids(&self, log: LogNumber, command: &Command, now: Timestamp) -> Option<Obstacle> {
        match command {
            Command::Open(name) => {
                let is_new = !self.producers.contains_key(&(log, *name));
                let is_full = self.producers.len() >= PRODUCERS_MAX;
                (is_new && is_full).then_some(Obstacle::TooManyProducers)
            }
            Command::Forget(name) => {
                (!self.producers.contains_key(&(log, *name))).then_some(Obstacle::NoProducer)
            }
            Command::Append(stamp) | Command::Close(stamp) => {
                let of_turn = stamp.turn.and_then(|turn| self.out_of_turn(log, &turn));
                of_turn.or_else(|| self.not_behind(log, stamp.word?))
            }
            Command::Revoke(token) => self.revocations.forbids(*token, now),
            // What stands against these is the catalogue's to say.
            Command::Create(_)
            | Command::Delete
            | Command::Trim(_)
            | Command::Configure(_)
            | Command::Fence(_) => None,
        }
    }

    /// Why this is not the producer's next request, if it is not.
    fn out_of_turn(&self, log: LogNumber, turn: &Turn) -> Option<Obstacle> {
        let Turn { producer, epoch, seq } = *turn;
        let Some(known) = self.producers.get(&(log, producer)) else {
            let is_full = self.producers.len() >= PRODUCERS_MAX;
            let full = is_full.then_some(Obstacle::TooManyProducers);
            return full.or_else(|| (seq > 0).then_some(Obstacle::OutOfTurn { expected: 0 }));
        };
        // One that counts records would lose its count, and send again what is there.
        if !known.counts_itself {
            return Some(Obstacle::Superseded { epoch: known.epoch });
        }
        match (epoch.cmp(&known.epoch), seq.cmp(&known.last_seq)) {
            (Ordering::Less, _) => Some(Obstacle::Superseded { epoch: known.epoch }),
            (Ordering::Greater, _) => (seq > 0).then_some(Obstacle::EpochBegins),
            (Ordering::Equal, Ordering::Less) => {
                let last = known.last_seq.saturating_sub(1);
                Some(Obstacle::Repeated { last })
            }
            (Ordering::Equal, Ordering::Equal) => None,
            (Ordering::Equal, Ordering::Greater) => {
                Some(Obstacle::OutOfTurn { expected: known.last_seq })
            }
        }
    }

    /// Why this is not the log's next sequence word, if it is not.
    fn not_behind(&self, log: LogNumber, word: SequenceWord) -> Option<Obstacle> {
        let is_behind = self.words.get(&log).is_none_or(|last| word > *last);
        (!is_behind && !mutants::is_on(Mutant::WordGoesBack)).then_some(Obstacle::WordNotBehind)
    }

    /// The answer to a question, as of this entry, by which logs go on at these offsets.
    pub(super) fn standing(
        &self,
        (as_of, offset): (Index, &dyn Fn(LogNumber) -> Offset),
        log: LogNumber,
        inquiry: Inquiry,
    ) -> Standing {
        let mut standing = Standing { as_of, ..Standing::default() };
        match inquiry {
            Inquiry::Fence => standing.fence = self.fence(log),
            Inquiry::Producer(wanted) => {
                let found = self.producers.get(&(log, wanted));
                standing.producers.extend(found.map(|producer| producer.state(wanted)));
            }
            Inquiry::Producers => {
                let all = self.producers.iter().filter(|((of, _), _)| *of == log);
                standing.producers =
                    all.map(|((_, name), producer)| producer.state(*name)).collect();
            }
            Inquiry::Index(_) => {}
            Inquiry::Revocations => standing.revoked = self.revocations.tokens().collect(),
            Inquiry::Log(name) => standing.logs.extend(self.catalogue.state(&name, offset)),
            Inquiry::Logs { prefix, after } => {
                let page = self.catalogue.page(&prefix, after.as_ref());
                let state = |it| self.catalogue.state(it, offset);
                standing.logs = page.iter().filter_map(state).collect();
            }
        }
        standing
    }
}

impl Producer {
    fn state(&self, name: ProducerName) -> ProducerState {
        let Self { epoch, opened_at, last_seq, offset, .. } = *self;
        ProducerState { name, epoch, opened_at, last_seq, offset }
    }
}
