//! The rules against a search through all orders, on many small random histories.
//!
//! The search knows nothing of places: it does the operations one after the other on a list of
//! records, in every order that real time allows, and compares every answer.

use std::collections::BTreeMap;

use super::check::{Layout, check_content, check_future, check_real_time, operations};
use super::record::{AppendSeen, RequestId};
use super::{FinalLog, History, ReadSeen, TailSeen};
use crate::sim::model::{Placed, RecordHash};
use crate::types::{ClientId, Index, LogId, LogNumber, NodeId, Offset, Seq, Term};
use crate::wire::api::{Appended, Read, ReadFrom};

const HISTORIES: u64 = 200_000;

/// A small generator of our own, so that a seed means the same for ever (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn below_count(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    fn place<T>(&mut self, of: &[T]) -> usize {
        self.below_count(of.len())
    }
}

#[test]
fn the_rules_agree_with_a_search_through_all_orders() {
    let mut legal = 0;
    let mut broken: BTreeMap<String, u64> = BTreeMap::new();
    let mut futures = 0;
    for seed in 0..HISTORIES {
        let (history, log) = random_history(seed);
        let found = history.check(FinalLog { requests: &log, whole: true });
        let expected = Search::new(&history, &log).finds_an_order();
        assert_eq!(found.is_ok(), expected, "seed {seed}: {found:?}\n{history:#?}\n{log:#?}");
        futures += u64::from(breaks_d(&history, &log));
        match found {
            Ok(()) => legal += 1,
            Err(anomaly) => *broken.entry(format!("{:?}", anomaly.rule)).or_default() += 1,
        }
    }
    let illegal: u64 = broken.values().sum();
    assert!(legal > HISTORIES / 4 && illegal > HISTORIES / 4, "{legal} legal, {broken:?}");
    for rule in ["A1", "A2", "A3", "A4", "A5", "C", "Session"] {
        assert!(broken.get(rule).is_some_and(|count| *count > 100), "{rule}: {broken:?}");
    }
    assert!(futures > 100, "D was broken {futures} times");
}

/// Whether rule D is broken where A holds. Then C is as well.
fn breaks_d(history: &History, log: &[Placed]) -> bool {
    let Ok(layout) = Layout::of(FinalLog { requests: log, whole: true }) else { return false };
    if check_content(history, &layout).is_err() {
        return false;
    }
    let operations = operations(history, &layout);
    let future = check_future(&operations);
    assert!(future.is_ok() || check_real_time(&operations).is_err(), "{future:?} without C");
    future.is_err()
}

/// What a random history is made of: who did what when, and how it is to look.
struct Plan {
    operations: Vec<Planned>,
    /// Which of them are in the log, in its order.
    log: Vec<usize>,
}

struct Planned {
    invoked: u64,
    returned: u64,
    /// When it happens, if all goes well.
    happens: u64,
    kind: Kind,
}

enum Kind {
    Append {
        records: u64,
        outcome: Outcome,
    },
    Look {
        /// How many requests of the log it sees.
        sees: usize,
        linearizable: bool,
        session: Option<u64>,
        /// The question, unless only the end is asked for.
        read: Option<(ReadFrom, Option<u64>)>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    Rejected,
    Unknown,
}

fn random_history(seed: u64) -> (History, Vec<Placed>) {
    let mut random = Random(seed);
    let mut plan = legal_plan(&mut random);
    for _ in 0..random.below(8) {
        disturb(&mut random, &mut plan);
    }
    let (mut history, mut log) = carry_out(&plan);
    if random.one_in(8) {
        corrupt(&mut random, &mut history, &mut log);
    }
    (history, log)
}

/// Operations that happen each at one moment between call and answer.
fn legal_plan(random: &mut Random) -> Plan {
    let count = 2 + random.below(4);
    let mut operations: Vec<_> = (0..count).map(|_| planned(random)).collect();
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|at| operations[*at].happens);
    let mut log = vec![];
    for at in order {
        match &mut operations[at].kind {
            Kind::Append { outcome: Outcome::Acknowledged, .. } => log.push(at),
            Kind::Append { outcome: Outcome::Unknown, .. } if random.one_in(2) => log.push(at),
            Kind::Append { .. } => {}
            Kind::Look { sees, .. } => *sees = log.len(),
        }
    }
    Plan { operations, log }
}

fn planned(random: &mut Random) -> Planned {
    let invoked = random.below(8);
    let returned = invoked + random.below(5);
    let happens = invoked + random.below(returned - invoked + 1);
    if random.below(5) < 3 {
        let outcome = match random.below(8) {
            0 => Outcome::Rejected,
            1 | 2 => Outcome::Unknown,
            _ => Outcome::Acknowledged,
        };
        let kind = Kind::Append { records: 1 + random.below(2), outcome };
        return Planned { invoked, returned, happens, kind };
    }
    let linearizable = !random.one_in(3);
    let happens = if linearizable { happens } else { random.below(returned + 1) };
    let from = match random.below(3) {
        0 => ReadFrom::Last(random.below(4)),
        _ => ReadFrom::Offset(Offset::new(random.below(3))),
    };
    let limit = random.one_in(2).then(|| random.below(4));
    let kind = Kind::Look {
        sees: 0,
        linearizable,
        session: (!random.one_in(3)).then(|| random.below(2)),
        read: (!random.one_in(4)).then_some((from, limit)),
    };
    Planned { invoked, returned, happens, kind }
}

/// Makes a plan wrong, perhaps, in a way that leaves the content in order.
fn disturb(random: &mut Random, plan: &mut Plan) {
    let at = random.place(&plan.operations);
    let in_log = plan.log.len();
    let operation = &mut plan.operations[at];
    match (random.below(3), &mut operation.kind) {
        (0, Kind::Look { sees, .. }) => *sees = random.below_count(in_log + 1),
        (1, _) if in_log > 1 => {
            let first = random.place(&plan.log[1..]);
            plan.log.swap(first, first + 1);
        }
        _ => {
            operation.invoked = random.below(10);
            operation.returned = operation.invoked + random.below(4);
        }
    }
}

/// The history and the log of a plan.
fn carry_out(plan: &Plan) -> (History, Vec<Placed>) {
    let mut log: Vec<Placed> = vec![];
    for at in &plan.log {
        let offset = log.last().map_or(Offset::ZERO, Placed::next_offset);
        let Kind::Append { records, .. } = plan.operations[*at].kind else { unreachable!() };
        let ((client, seq), records) = (id_of(*at), records_of(*at, records));
        let entry = LogId::new(Index::new(1 + log.len() as u64), Term::new(1));
        log.push(Placed {
            entry,
            log: LogNumber::MAIN,
            client,
            seq,
            offset,
            records,
            command: None,
            fence: None,
        });
    }
    let mut history = History::default();
    for (at, operation) in plan.operations.iter().enumerate() {
        let Planned { invoked, returned, .. } = *operation;
        match &operation.kind {
            Kind::Append { records, outcome } => {
                history.append(invoked, id_of(at), records_of(at, *records));
                let placed = log.iter().find(|placed| (placed.client, placed.seq) == id_of(at));
                match (outcome, placed) {
                    (Outcome::Acknowledged, Some(placed)) => {
                        history.acknowledged(returned, id_of(at), told(placed));
                    }
                    (Outcome::Rejected, _) => history.rejected(id_of(at)),
                    _ => {}
                }
            }
            Kind::Look { sees, linearizable, session, read } => {
                let (linearizable, session) = (*linearizable, *session);
                let seen: Vec<_> = log[..*sees].iter().flat_map(|p| p.records.clone()).collect();
                let Some((from, limit)) = *read else {
                    let end = Offset::new(seen.len() as u64);
                    history.tail(TailSeen { invoked, returned, session, linearizable, end });
                    continue;
                };
                let main = LogNumber::MAIN;
                let read =
                    Read { log: main, from, limit, linearizable, follow: false, inquiry: None };
                let (first, records) = serve(&read, &seen);
                history.read(ReadSeen { invoked, returned, session, read, first, records });
            }
        }
    }
    (history, log)
}

/// Makes the content wrong.
fn corrupt(random: &mut Random, history: &mut History, log: &mut Vec<Placed>) {
    let end = log.last().map_or(Offset::ZERO, Placed::next_offset);
    match random.below(6) {
        0 => drop(log.pop()),
        1 if !log.is_empty() => {
            let again = Placed { offset: end, ..log[random.place(log)].clone() };
            log.push(again);
        }
        2 => {
            let ((client, seq), records) = (id_of(77), records_of(77, 1));
            let entry = LogId::new(Index::new(9), Term::new(1));
            log.push(Placed {
                entry,
                log: LogNumber::MAIN,
                client,
                seq,
                offset: end,
                records,
                command: None,
                fence: None,
            });
        }
        3 => {
            if let Some(placed) = log.last() {
                history.rejected((placed.client, placed.seq));
            }
        }
        4 => {
            if let Some(record) = history.reads.iter_mut().find_map(|r| r.records.first_mut()) {
                *record = RecordHash::of(b"another");
            }
        }
        _ => {
            let seen = history.appends.values_mut().find_map(|a| a.acknowledged.first_mut());
            if let Some((_, appended)) = seen {
                appended.offset = appended.offset.plus(1);
            }
        }
    }
}

fn id_of(at: usize) -> RequestId {
    (ClientId::new(at as u128 + 1), Seq::FIRST)
}

fn records_of(at: usize, count: u64) -> Vec<RecordHash> {
    (0..count).map(|number| RecordHash::of(format!("{at}/{number}").as_bytes())).collect()
}

fn told(placed: &Placed) -> Appended {
    Appended {
        offset: placed.offset,
        count: u32::try_from(placed.count()).unwrap(),
        term: placed.entry.term,
        index: placed.entry.index,
        leader: NodeId::new(1).unwrap(),
    }
}

/// What a log that has these records answers.
fn serve(read: &Read, log: &[RecordHash]) -> (Offset, Vec<RecordHash>) {
    let first = match read.from {
        ReadFrom::Start => 0,
        ReadFrom::Offset(offset) => offset.get(),
        ReadFrom::Last(count) => (log.len() as u64).saturating_sub(count),
    };
    let limit = read.limit.unwrap_or(u64::MAX);
    let (skip, take) = (usize::try_from(first), usize::try_from(limit));
    let shown = log.iter().skip(skip.unwrap()).take(take.unwrap()).copied().collect();
    (Offset::new(first), shown)
}

/// A step of a search.
enum Step<'a> {
    Append(RequestId, &'a AppendSeen),
    Read(&'a ReadSeen),
    Tail(&'a TailSeen),
}

impl Step<'_> {
    /// Call and answer; without an answer, the end of time.
    fn times(&self) -> (u64, u64) {
        match self {
            Self::Append(_, append) => {
                let told = append.acknowledged.iter().map(|(at, _)| *at).min();
                (append.invoked, told.unwrap_or(u64::MAX))
            }
            Self::Read(read) => (read.invoked, read.returned),
            Self::Tail(tail) => (tail.invoked, tail.returned),
        }
    }

    fn session(&self) -> Option<u64> {
        match self {
            Self::Append(..) => None,
            Self::Read(read) => read.session,
            Self::Tail(tail) => tail.session,
        }
    }

    fn is_stale(&self) -> bool {
        match self {
            Self::Append(..) => false,
            Self::Read(read) => !read.read.linearizable,
            Self::Tail(tail) => !tail.linearizable,
        }
    }

    /// Whether it must happen before the other.
    fn precedes(&self, other: &Self) -> bool {
        let in_session = self.session().is_some() && self.session() == other.session();
        self.times().1 < other.times().0 && (!other.is_stale() || in_session)
    }
}

/// A search for an order in which every answer is right and the log comes out.
struct Search<'a> {
    steps: Vec<Step<'a>>,
    goal: &'a [Placed],
    is_hopeless: bool,
    done: Vec<bool>,
    log: Vec<Placed>,
    records: Vec<RecordHash>,
}

impl<'a> Search<'a> {
    fn new(history: &'a History, goal: &'a [Placed]) -> Self {
        let is_wanted = |id: &RequestId, append: &AppendSeen| {
            let in_log = goal.iter().any(|placed| (placed.client, placed.seq) == *id);
            !append.rejected && (in_log || !append.acknowledged.is_empty())
        };
        let appends = history.appends.iter().filter(|(id, append)| is_wanted(id, append));
        let appends = appends.map(|(id, append)| Step::Append(*id, append));
        let reads = history.reads.iter().map(Step::Read);
        let steps: Vec<_> =
            appends.chain(reads).chain(history.tails.iter().map(Step::Tail)).collect();
        let contradicts = |a: &AppendSeen| a.rejected && !a.acknowledged.is_empty();
        Self {
            done: vec![false; steps.len()],
            steps,
            goal,
            is_hopeless: history.appends.values().any(contradicts),
            log: vec![],
            records: vec![],
        }
    }

    fn finds_an_order(&mut self) -> bool {
        if self.is_hopeless {
            return false;
        }
        if self.done.iter().all(|done| *done) {
            return self.log == self.goal;
        }
        for at in 0..self.steps.len() {
            let waits =
                |other: usize| !self.done[other] && self.steps[other].precedes(&self.steps[at]);
            if self.done[at] || (0..self.steps.len()).any(waits) {
                continue;
            }
            let (log, records) = (self.log.len(), self.records.len());
            self.done[at] = true;
            let found = self.happens(at) && self.finds_an_order();
            self.done[at] = false;
            self.log.truncate(log);
            self.records.truncate(records);
            if found {
                return true;
            }
        }
        false
    }

    /// Does an operation; whether its answer is right.
    fn happens(&mut self, at: usize) -> bool {
        match &self.steps[at] {
            Step::Read(read) => {
                serve(&read.read, &self.records) == (read.first, read.records.clone())
            }
            Step::Tail(tail) => tail.end.get() == self.records.len() as u64,
            Step::Append((client, seq), append) => {
                let placed = Placed {
                    // Which entry it goes into is not the log's to say, but for each it is the same.
                    entry: self.goal.get(self.log.len()).map_or(LogId::ZERO, |goal| goal.entry),
                    log: LogNumber::MAIN,
                    client: *client,
                    seq: *seq,
                    offset: Offset::new(self.records.len() as u64),
                    records: append.records.clone(),
                    command: None,
                    fence: None,
                };
                let is_right = append.acknowledged.iter().all(|(_, said)| *said == told(&placed));
                self.records.extend(&placed.records);
                self.log.push(placed);
                is_right
            }
        }
    }
}
