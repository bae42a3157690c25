//! The table of clients: how an append happens once, however often it is asked for (thesis 6.3).
//!
//! A client numbers its requests from 1. The table remembers, for each client, the answers to the
//! requests that the client may still ask about again, a line for each run of them. It is a function
//! of the log, so every node has the same: it is evicted by counting entries, never by a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::entry::RunHead;
use crate::limits::{SESSION_RUNS_MAX, TABLE_RUNS_MAX};
use crate::types::{ClientId, Index, Offset, Seq, SeqRange};

/// Where the records of a run of requests went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answers {
    /// The client's numbers of the requests.
    pub seqs: SeqRange,
    /// How many records each request has.
    pub each: u32,
    /// The entry that holds them.
    pub index: Index,
    /// The offset of the first record.
    pub offset: Offset,
}

impl Answers {
    /// Of a run in the entry at `index`.
    pub fn of(run: &RunHead, index: Index) -> Self {
        Self { seqs: run.seqs, each: run.each, index, offset: run.first_offset }
    }

    /// Those to the requests that are `wanted`, from the first one on, which must be among them.
    #[must_use]
    pub fn to(&self, wanted: SeqRange) -> Self {
        let before = wanted.first.since(self.seqs.first);
        let seqs = wanted.within(self.seqs.first, self.seqs.next());
        assert_eq!(seqs.first, wanted.first, "{wanted} is not of {}", self.seqs);
        Self { seqs, offset: self.offset.plus(before * u64::from(self.each)), ..*self }
    }
}

/// What to do with a run of requests, or with the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are the client's next, all of them: propose them.
    New,
    /// So many of them are in the log: no entry, the same answers.
    Known(Answers),
    /// Of all of them: requests before are missing.
    Gap {
        /// The number of the first that is missing.
        expected: Seq,
    },
    /// Of so many, nobody remembers whether they are in the log.
    Expired {
        /// How many.
        count: u32,
    },
}

/// The first run that ends behind a request: it has that one, unless it begins behind it, too. There may
/// be thousands of them, and a repetition asks for each.
fn first_behind(answers: &VecDeque<Answers>, seq: Seq) -> Option<&Answers> {
    answers.get(answers.partition_point(|run| run.seqs.next() <= seq))
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// The answers that it may still ask for, run by run, in order; the last run has its last request.
    answers: VecDeque<Answers>,
    /// The entry of its last request.
    last_index: Index,
}

/// The clients that were last used, in log order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    sessions: BTreeMap<ClientId, Session>,
    /// The same clients by their last use. Derived; not stored.
    #[serde(skip)]
    by_use: BTreeSet<(Index, ClientId)>,
    /// The sum of all runs. Derived; not stored.
    #[serde(skip)]
    runs: usize,
    /// The last use of the newest client that was evicted. A client that began before it, and unknown,
    /// may have been evicted.
    floor: Index,
}

impl Table {
    /// Fills in what is not stored, after it was read.
    pub(super) fn derive(&mut self) {
        let uses = self.sessions.iter().map(|(client, session)| (session.last_index, *client));
        self.by_use = uses.collect();
        self.runs = self.sessions.values().map(|session| session.answers.len()).sum();
    }

    /// How many clients it remembers.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether it remembers no client.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Judges requests of a client, as many of them as one verdict is right for. `later` holds the
    /// answers to the client's requests that are not yet applied here: first those in the log, then
    /// those about to be.
    ///
    /// `kept` are the last answers to a client that are remembered even if the table has forgotten it.
    ///
    /// NB: a repetition may be cut into other runs than what it repeats.
    pub fn look_up(
        &self,
        (client, kept): (ClientId, Option<&VecDeque<Answers>>),
        wanted: SeqRange,
        began_at: Index,
        later: [&VecDeque<Answers>; 2],
    ) -> Verdict {
        let applied = self.sessions.get(&client).map(|session| &session.answers).or(kept);
        let [in_log, folded] = later;
        let last = folded.back().or_else(|| in_log.back()).or_else(|| applied?.back());
        let Some(last) = last else {
            return self.look_up_unknown(wanted, began_at);
        };
        let expected = last.seqs.next();
        if wanted.first == expected {
            return Verdict::New;
        }
        if wanted.first > expected {
            return Verdict::Gap { expected };
        }
        let mut known = applied.into_iter().chain(later);
        let found = known.find_map(|answers| first_behind(answers, wanted.first));
        let found = found.expect("the last run ends behind the first of them");
        if found.seqs.first <= wanted.first {
            Verdict::Known(found.to(wanted))
        } else {
            Verdict::Expired { count: wanted.within(wanted.first, found.seqs.first).count }
        }
    }

    fn look_up_unknown(&self, wanted: SeqRange, began_at: Index) -> Verdict {
        if began_at < self.floor {
            Verdict::Expired { count: wanted.count }
        } else if wanted.first == Seq::FIRST {
            Verdict::New
        } else {
            Verdict::Gap { expected: Seq::FIRST }
        }
    }

    /// Remembers a run of committed requests.
    pub(super) fn apply(&mut self, run: &RunHead, index: Index) {
        let RunHead { client, first_unanswered, .. } = *run;
        let session = self
            .sessions
            .entry(client)
            .or_insert_with(|| Session { answers: VecDeque::new(), last_index: index });
        if let Some(last) = session.answers.back() {
            // Invariant: a client's requests are in the log once, in the order of their numbers.
            assert_eq!(run.seqs.first, last.seqs.next(), "broken law: client {client}");
        }
        assert!(session.last_index <= index, "runs are applied in the order of the log");
        self.by_use.remove(&(session.last_index, client));
        self.runs -= session.answers.len();
        while session.answers.front().is_some_and(|run| run.seqs.next() <= first_unanswered) {
            session.answers.pop_front();
        }
        session.answers.push_back(Answers::of(run, index));
        // A window of requests is no more runs than requests.
        while session.answers.len() > SESSION_RUNS_MAX {
            session.answers.pop_front();
        }
        session.last_index = index;
        self.runs += session.answers.len();
        self.by_use.insert((index, client));
    }

    /// Forgets the clients that were not used for the longest time, while there are more than so
    /// many, or too many runs.
    pub(super) fn evict(&mut self, sessions_max: usize) {
        while self.sessions.len() > sessions_max || self.runs > TABLE_RUNS_MAX {
            let (last_index, client) = self.by_use.pop_first().expect("as many uses as sessions");
            let session = self.sessions.remove(&client).expect("every use is a session's");
            self.runs -= session.answers.len();
            self.floor = self.floor.max(last_index);
        }
        debug_assert_eq!(self.by_use.len(), self.sessions.len(), "each client has one last use");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SESSIONS_MAX;
    use crate::types::LogNumber;

    const BEGAN_AT: Index = Index::ZERO;

    fn seqs(first: u64, count: u32) -> SeqRange {
        SeqRange { first: Seq::new(first), count }
    }

    /// A run of requests with two records each, at an offset that is ten times their number.
    fn run(client: u128, seqs: SeqRange, first_unanswered: u64) -> RunHead {
        RunHead {
            log: LogNumber::MAIN,
            first_offset: Offset::new(seqs.first.get() * 10),
            client: ClientId::new(client),
            seqs,
            each: 2,
            first_unanswered: Seq::new(first_unanswered),
        }
    }

    fn apply(table: &mut Table, client: u128, seq: u64, first_unanswered: u64, index: u64) {
        table.apply(&run(client, seqs(seq, 1), first_unanswered), Index::new(index));
    }

    fn look_up(table: &Table, client: u128, wanted: SeqRange, began_at: Index) -> Verdict {
        let none = VecDeque::new();
        table.look_up((ClientId::new(client), None), wanted, began_at, [&none, &none])
    }

    fn known(wanted: SeqRange, index: u64, offset: u64) -> Verdict {
        let (index, offset) = (Index::new(index), Offset::new(offset));
        Verdict::Known(Answers { seqs: wanted, each: 2, index, offset })
    }

    #[test]
    fn a_request_is_new_once_and_known_after() {
        let mut table = Table::default();
        assert_eq!(look_up(&table, 1, seqs(1, 1), BEGAN_AT), Verdict::New);
        apply(&mut table, 1, 1, 1, 5);
        assert_eq!(look_up(&table, 1, seqs(1, 1), BEGAN_AT), known(seqs(1, 1), 5, 10));
        assert_eq!(look_up(&table, 1, seqs(2, 1), BEGAN_AT), Verdict::New);
        let gap = |expected| Verdict::Gap { expected: Seq::new(expected) };
        assert_eq!(look_up(&table, 1, seqs(4, 1), BEGAN_AT), gap(2));
        assert_eq!(look_up(&table, 2, seqs(3, 1), BEGAN_AT), gap(1));
    }

    #[test]
    fn a_repetition_that_is_cut_otherwise_is_judged_piece_by_piece() {
        let mut table = Table::default();
        table.apply(&run(1, seqs(1, 3), 1), Index::new(5));
        table.apply(&run(1, seqs(4, 2), 1), Index::new(6));
        let look_up = |wanted| look_up(&table, 1, wanted, BEGAN_AT);
        // The whole, a part of it, parts of two, and what goes on where those end.
        assert_eq!(look_up(seqs(1, 3)), known(seqs(1, 3), 5, 10));
        assert_eq!(look_up(seqs(2, 1)), known(seqs(2, 1), 5, 12));
        assert_eq!(look_up(seqs(2, 6)), known(seqs(2, 2), 5, 12));
        assert_eq!(look_up(seqs(4, 4)), known(seqs(4, 2), 6, 40));
        assert_eq!(look_up(seqs(6, 2)), Verdict::New);
        assert_eq!(look_up(seqs(7, 1)), Verdict::Gap { expected: Seq::new(6) });
    }

    #[test]
    fn what_the_client_has_answers_for_is_forgotten() {
        let mut table = Table::default();
        apply(&mut table, 1, 1, 1, 5);
        apply(&mut table, 1, 2, 1, 6);
        table.apply(&run(1, seqs(3, 2), 3), Index::new(7));
        assert_eq!(look_up(&table, 1, seqs(2, 1), BEGAN_AT), Verdict::Expired { count: 1 });
        assert_eq!(look_up(&table, 1, seqs(1, 4), BEGAN_AT), Verdict::Expired { count: 2 });
        assert_eq!(look_up(&table, 1, seqs(3, 2), BEGAN_AT), known(seqs(3, 2), 7, 30));
        // A run is forgotten as a whole.
        apply(&mut table, 1, 5, 4, 8);
        assert_eq!(look_up(&table, 1, seqs(3, 1), BEGAN_AT), known(seqs(3, 1), 7, 30));
        apply(&mut table, 1, 6, 5, 8);
        assert_eq!(look_up(&table, 1, seqs(4, 1), BEGAN_AT), Verdict::Expired { count: 1 });
    }

    #[test]
    fn the_overlay_comes_after_the_table() {
        let mut table = Table::default();
        apply(&mut table, 1, 1, 1, 5);
        let overlay = VecDeque::from([Answers::of(&run(1, seqs(2, 2), 1), Index::new(6))]);
        let folded = VecDeque::from([Answers::of(&run(1, seqs(4, 1), 1), Index::new(7))]);
        let none = VecDeque::new();
        let look_up = |wanted, folded| {
            table.look_up((ClientId::new(1), None), wanted, BEGAN_AT, [&overlay, folded])
        };
        assert_eq!(look_up(seqs(3, 3), &none), known(seqs(3, 1), 6, 22));
        assert_eq!(look_up(seqs(4, 1), &none), Verdict::New);
        assert_eq!(look_up(seqs(4, 1), &folded), known(seqs(4, 1), 7, 40));
        assert_eq!(look_up(seqs(5, 1), &folded), Verdict::New);
        assert_eq!(look_up(seqs(1, 3), &folded), known(seqs(1, 1), 5, 10));
    }

    #[test]
    fn an_evicted_client_is_never_taken_for_a_new_one() {
        let mut table = Table::default();
        let clients = SESSIONS_MAX as u64 + 1;
        for client in 1..=clients {
            apply(&mut table, u128::from(client), 1, 1, client * 10);
            table.evict(SESSIONS_MAX);
        }
        assert_eq!(table.len(), SESSIONS_MAX);
        let expired = |count| Verdict::Expired { count };
        assert_eq!(look_up(&table, 1, seqs(1, 3), Index::new(9)), expired(3));
        assert_eq!(look_up(&table, 1, seqs(2, 1), Index::new(9)), expired(1));
        assert!(matches!(look_up(&table, 2, seqs(1, 1), Index::new(9)), Verdict::Known(_)));
        let new = u128::from(clients + 1);
        assert_eq!(look_up(&table, new, seqs(1, 1), Index::new(10)), Verdict::New);
    }

    #[test]
    fn the_table_survives_the_round_trip() {
        let mut table = Table::default();
        for n in 1..=20 {
            apply(&mut table, u128::from(n % 3), (n - 1) / 3 + 1, 1, n);
        }
        let bytes = postcard::to_stdvec(&table).unwrap();
        let mut read: Table = postcard::from_bytes(&bytes).unwrap();
        read.derive();
        assert_eq!(read, table);
    }

    #[test]
    fn the_answers_of_all_clients_together_are_bounded() {
        let mut table = Table::default();
        let per_client = SESSION_RUNS_MAX as u64;
        let clients = TABLE_RUNS_MAX as u64 / per_client + 2;
        let mut index = 0;
        for client in 0..clients {
            for seq in 1..=per_client + 1 {
                index += 1;
                apply(&mut table, u128::from(client), seq, 1, index);
                table.evict(SESSIONS_MAX);
            }
        }
        assert!(table.runs <= TABLE_RUNS_MAX);
        let expired = Verdict::Expired { count: 1 };
        assert_eq!(look_up(&table, 0, seqs(1, 1), BEGAN_AT), expired);
    }
}
