//! The table of clients: how an append happens once, however often it is asked for (thesis 6.3).
//!
//! A client numbers its requests from 1. The table remembers, for each client, the answers to the
//! requests that the client may still ask about again. It is a function of the log, so every node
//! has the same: it is evicted by counting entries, never by a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::limits::{SESSION_ANSWERS_MAX, TABLE_ANSWERS_MAX};
use crate::types::{ClientId, Index, LogNumber, Offset, Seq};

/// Where a request's records went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The client's number of the request.
    pub seq: Seq,
    /// The entry that holds it.
    pub index: Index,
    /// The offset of its first record.
    pub offset: Offset,
    /// How many records it has.
    pub count: u32,
}

/// What the table is told of a request in the log.
#[derive(Clone, Debug)]
pub(super) struct RequestInfo {
    pub(super) log: LogNumber,
    pub(super) client: ClientId,
    pub(super) first_unanswered: Seq,
    pub(super) answer: Answer,
}

impl RequestInfo {
    pub(super) fn next_offset(&self) -> Offset {
        self.answer.offset.plus(u64::from(self.answer.count))
    }
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the client's next: propose it.
    New,
    /// It is in the log: no entry, the same answer.
    Known(Answer),
    /// Requests before it are missing.
    Gap {
        /// The number of the first that is missing.
        expected: Seq,
    },
    /// Nobody remembers whether it is in the log.
    Expired,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// The answers that it may still ask for, in order; the last is that of its last request.
    answers: VecDeque<Answer>,
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
    /// The sum of all answers. Derived; not stored.
    #[serde(skip)]
    answers: usize,
    /// The last use of the newest client that was evicted. A client that began before it, and unknown,
    /// may have been evicted.
    floor: Index,
}

impl Table {
    /// The stored form: postcard.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a table has no part that postcard refuses")
    }

    /// Reads the stored form; no bytes are an empty table.
    ///
    /// # Errors
    /// If the bytes are not a table.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut table: Self = postcard::from_bytes(bytes)?;
        let uses = table.sessions.iter().map(|(client, session)| (session.last_index, *client));
        table.by_use = uses.collect();
        table.answers = table.sessions.values().map(|session| session.answers.len()).sum();
        Ok(table)
    }

    /// How many clients it remembers.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether it remembers no client.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Judges a request. `overlay` holds the answers to the client's requests that are in the log
    /// and not yet applied here.
    pub fn look_up(
        &self,
        client: ClientId,
        seq: Seq,
        began_at: Index,
        overlay: &VecDeque<Answer>,
    ) -> Verdict {
        let session = self.sessions.get(&client);
        let applied = session.into_iter().flat_map(|session| &session.answers);
        let Some(last) = overlay.back().or_else(|| session?.answers.back()) else {
            return self.look_up_unknown(seq, began_at);
        };
        let expected = last.seq.next();
        if seq == expected {
            return Verdict::New;
        }
        if seq > expected {
            return Verdict::Gap { expected };
        }
        match applied.chain(overlay).find(|answer| answer.seq == seq) {
            Some(answer) => Verdict::Known(*answer),
            None => Verdict::Expired,
        }
    }

    fn look_up_unknown(&self, seq: Seq, began_at: Index) -> Verdict {
        if began_at < self.floor {
            Verdict::Expired
        } else if seq == Seq::FIRST {
            Verdict::New
        } else {
            Verdict::Gap { expected: Seq::FIRST }
        }
    }

    /// Remembers a committed request.
    pub(super) fn apply(&mut self, request: &RequestInfo) {
        let RequestInfo { client, first_unanswered, answer, .. } = request;
        let session = self
            .sessions
            .entry(*client)
            .or_insert_with(|| Session { answers: VecDeque::new(), last_index: answer.index });
        if let Some(last) = session.answers.back() {
            // Invariant: a client's requests are in the log once, in the order of their numbers.
            assert_eq!(answer.seq, last.seq.next(), "broken law: client {client}");
        }
        self.by_use.remove(&(session.last_index, *client));
        self.answers -= session.answers.len();
        while session.answers.front().is_some_and(|oldest| oldest.seq < *first_unanswered) {
            session.answers.pop_front();
        }
        session.answers.push_back(*answer);
        while session.answers.len() > SESSION_ANSWERS_MAX {
            session.answers.pop_front();
        }
        session.last_index = answer.index;
        self.answers += session.answers.len();
        self.by_use.insert((answer.index, *client));
    }

    /// Forgets the clients that were not used for the longest time, while there are more than so
    /// many, or too many answers.
    pub(super) fn evict(&mut self, sessions_max: usize) {
        while self.sessions.len() > sessions_max || self.answers > TABLE_ANSWERS_MAX {
            let (last_index, client) = self.by_use.pop_first().expect("as many uses as sessions");
            let session = self.sessions.remove(&client).expect("every use is a session's");
            self.answers -= session.answers.len();
            self.floor = self.floor.max(last_index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SESSIONS_MAX;

    const BEGAN_AT: Index = Index::ZERO;

    fn request(client: u128, seq: u64, first_unanswered: u64, index: u64) -> RequestInfo {
        RequestInfo {
            log: LogNumber::MAIN,
            client: ClientId::new(client),
            first_unanswered: Seq::new(first_unanswered),
            answer: Answer {
                seq: Seq::new(seq),
                index: Index::new(index),
                offset: Offset::new(index),
                count: 1,
            },
        }
    }

    fn look_up(table: &Table, client: u128, seq: u64, began_at: Index) -> Verdict {
        table.look_up(ClientId::new(client), Seq::new(seq), began_at, &VecDeque::new())
    }

    #[test]
    fn a_request_is_new_once_and_known_after() {
        let mut table = Table::default();
        assert_eq!(look_up(&table, 1, 1, BEGAN_AT), Verdict::New);
        let first = request(1, 1, 1, 5);
        table.apply(&first);
        assert_eq!(look_up(&table, 1, 1, BEGAN_AT), Verdict::Known(first.answer));
        assert_eq!(look_up(&table, 1, 2, BEGAN_AT), Verdict::New);
        assert_eq!(look_up(&table, 1, 4, BEGAN_AT), Verdict::Gap { expected: Seq::new(2) });
        assert_eq!(look_up(&table, 2, 3, BEGAN_AT), Verdict::Gap { expected: Seq::FIRST });
    }

    #[test]
    fn what_the_client_has_answers_for_is_forgotten() {
        let mut table = Table::default();
        table.apply(&request(1, 1, 1, 5));
        table.apply(&request(1, 2, 1, 6));
        table.apply(&request(1, 3, 3, 7));
        assert_eq!(look_up(&table, 1, 2, BEGAN_AT), Verdict::Expired);
        assert!(matches!(look_up(&table, 1, 3, BEGAN_AT), Verdict::Known(_)));
    }

    #[test]
    fn the_overlay_comes_after_the_table() {
        let mut table = Table::default();
        table.apply(&request(1, 1, 1, 5));
        let overlay = VecDeque::from([request(1, 2, 1, 6).answer]);
        let look_up = |seq| table.look_up(ClientId::new(1), Seq::new(seq), BEGAN_AT, &overlay);
        assert_eq!(look_up(2), Verdict::Known(overlay[0]));
        assert_eq!(look_up(3), Verdict::New);
        assert!(matches!(look_up(1), Verdict::Known(_)));
    }

    #[test]
    fn an_evicted_client_is_never_taken_for_a_new_one() {
        let mut table = Table::default();
        let clients = SESSIONS_MAX as u64 + 1;
        for client in 1..=clients {
            table.apply(&request(u128::from(client), 1, 1, client * 10));
            table.evict(SESSIONS_MAX);
        }
        assert_eq!(table.len(), SESSIONS_MAX);
        assert_eq!(look_up(&table, 1, 1, Index::new(9)), Verdict::Expired);
        assert_eq!(look_up(&table, 1, 2, Index::new(9)), Verdict::Expired);
        assert!(matches!(look_up(&table, 2, 1, Index::new(9)), Verdict::Known(_)));
        let new = u128::from(clients + 1);
        assert_eq!(look_up(&table, new, 1, Index::new(10)), Verdict::New);
    }

    #[test]
    fn the_table_survives_the_round_trip() {
        let mut table = Table::default();
        for n in 1..=20 {
            table.apply(&request(u128::from(n % 3), (n - 1) / 3 + 1, 1, n));
        }
        assert_eq!(Table::decode(&table.encode()).unwrap(), table);
        assert_eq!(Table::decode(&[]).unwrap(), Table::default());
        assert!(Table::decode(&[9, 9, 9]).is_err());
    }

    #[test]
    fn the_answers_of_all_clients_together_are_bounded() {
        let mut table = Table::default();
        let per_client = SESSION_ANSWERS_MAX as u64;
        let clients = TABLE_ANSWERS_MAX as u64 / per_client + 2;
        let mut index = 0;
        for client in 0..clients {
            for seq in 1..=per_client + 1 {
                index += 1;
                table.apply(&request(u128::from(client), seq, 1, index));
                table.evict(SESSIONS_MAX);
            }
        }
        assert!(table.answers <= TABLE_ANSWERS_MAX);
        assert_eq!(look_up(&table, 0, 1, BEGAN_AT), Verdict::Expired);
    }
}
