//! What a registry knows, and its rules. No IO.
//!
//! Rows on disk; numbers are big-endian, so that terms are in order:
//!
//! ```text
//!   key    u8 kind · u128 cluster · u64 term        kind 1: the leader of a term
//!          u8 kind · u128 cluster · u64 term · u16 node
//!                                                   kind 2: a second leader of it, a broken law
//!   value  u8 version, 1 · announcement in postcard; of kind 1 without one: it was forgotten
//! ```

use std::collections::BTreeMap;

use thiserror::Error;

use crate::limits::{
    ADDRESS_BYTES_MAX, REGISTRY_PAGE_MAX, REGISTRY_TERM_JUMP_MAX, REGISTRY_TERMS_MAX,
};
use crate::marks::{Mark, hit};
use crate::types::{ClusterId, Term};
use crate::wire::registry::{Announcement, Refusal};

const VERSION: u8 = 1;
const KIND_TERM: u8 = 1;
const KIND_SECOND_LEADER: u8 = 2;

/// Who led which term, by cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderTable {
    terms: BTreeMap<ClusterId, BTreeMap<Term, Announcement>>,
}

/// Something that a registry keeps on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// The leader of a term.
    Term(ClusterId, Announcement),
    /// Who else announced itself as the leader of a term: a law of Raft is broken.
    SecondLeader(ClusterId, Announcement),
    /// An admin said that nobody is known to have led this term.
    Forgotten(ClusterId, Term),
}

/// What an announcement comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What must be on disk, and then in the table, before it is answered.
    pub rows: Vec<Row>,
    /// The answer.
    pub answer: Result<(), Refusal>,
}

/// A row on disk that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the registry's data holds a row that this program does not understand")]
pub struct TableError;

impl Row {
    /// The row as it stands on disk.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let (kind, cluster, announcement) = match self {
            Self::Forgotten(cluster, term) => {
                return (term_key(KIND_TERM, *cluster, *term), vec![VERSION]);
            }
            Self::Term(cluster, announcement) => (KIND_TERM, cluster, announcement),
            Self::SecondLeader(cluster, announcement) => {
                (KIND_SECOND_LEADER, cluster, announcement)
            }
        };
        let mut key = term_key(kind, *cluster, announcement.term);
        if kind == KIND_SECOND_LEADER {
            key.extend(announcement.node.get().to_be_bytes());
        }
        let value = postcard::to_extend(announcement, vec![VERSION])
            .expect("an announcement has no part that postcard refuses");
        (key, value)
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`TableError`] if it is none.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, TableError> {
        let Some((&VERSION, announcement)) = value.split_first() else { return Err(TableError) };
        let (&kind, rest) = key.split_first().ok_or(TableError)?;
        let (cluster, rest) = rest.split_first_chunk::<16>().ok_or(TableError)?;
        let cluster = ClusterId::new(u128::from_be_bytes(*cluster));
        if announcement.is_empty() && kind == KIND_TERM {
            let term = <[u8; 8]>::try_from(rest).map_err(|_| TableError)?;
            return Ok(Self::Forgotten(cluster, Term::new(u64::from_be_bytes(term))));
        }
        let announcement = postcard::from_bytes(announcement).map_err(|_| TableError)?;
        let row = match kind {
            KIND_TERM => Self::Term(cluster, announcement),
            KIND_SECOND_LEADER => Self::SecondLeader(cluster, announcement),
            _ => return Err(TableError),
        };
        // The key says again what the value says: a misplaced row is none.
        if row.encode().0 == key { Ok(row) } else { Err(TableError) }
    }
}

fn term_key(kind: u8, cluster: ClusterId, term: Term) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(cluster.get().to_be_bytes());
    key.extend(term.get().to_be_bytes());
    key
}

impl LeaderTable {
    /// Puts a row in that is on disk.
    pub fn insert(&mut self, row: Row) {
        let (cluster, announcement) = match row {
            Row::Term(cluster, announcement) => (cluster, announcement),
            Row::SecondLeader(..) => return,
            Row::Forgotten(cluster, term) => {
                self.terms.get_mut(&cluster).map(|terms| terms.remove(&term));
                return;
            }
        };
        let terms = self.terms.entry(cluster).or_default();
        let (term, node) = (announcement.term, announcement.node);
        let known = terms.insert(term, announcement);
        // Invariant: who led a term does not change. It was judged before it was stored.
        assert!(known.as_ref().is_none_or(|known| known.node == node), "{term}: {known:?}, {node}");
        if terms.len() > REGISTRY_TERMS_MAX {
            terms.pop_first();
        }
    }

    /// What forgetting a term, or it and all later ones, comes to. Changes nothing: the rows are to be
    /// stored, then inserted.
    pub fn forget(&self, cluster: ClusterId, term: Term, and_later: bool) -> Vec<Row> {
        let Some(terms) = self.terms.get(&cluster) else { return vec![] };
        let known = terms.range(term..).map(|(known, _)| *known);
        let wanted = known.take_while(|known| and_later || *known == term);
        wanted.map(|term| Row::Forgotten(cluster, term)).collect()
    }

    /// What an announcement comes to. Changes nothing: the rows are to be stored, then inserted.
    pub fn judge(
        &self,
        cluster: ClusterId,
        current: &Announcement,
        history: &[Announcement],
    ) -> Judgement {
        let plausible = self.judge_terms(cluster, current, history);
        let judged = plausible.and_then(|()| self.judge_history(cluster, current, history));
        let judged = judged.and_then(|mut rows| {
            rows.extend(self.judge_current(cluster, current)?);
            Ok(rows)
        });
        match judged {
            Ok(rows) => Judgement { rows, answer: Ok(()) },
            Err(refusal) => {
                // What others say of a term is hearsay; what a node says of itself is recorded.
                let second =
                    matches!(refusal, Refusal::TermTaken { term, .. } if term == current.term);
                let rows = second.then(|| Row::SecondLeader(cluster, current.clone()));
                Judgement { rows: rows.into_iter().collect(), answer: Err(refusal) }
            }
        }
    }

    fn judge_current(
        &self,
        cluster: ClusterId,
        current: &Announcement,
    ) -> Result<Option<Row>, Refusal> {
        // First this: a second leader of a term is worse news than a late one.
        let known = self.leader_of(cluster, current)?;
        match self.leader(cluster) {
            Some(leader) if leader.term > current.term => {
                hit(Mark::RegistryLowerTerm);
                Err(Refusal::LowerTerm { highest: leader.term })
            }
            _ if known.is_some() => Ok(None),
            _ => Ok(Some(Row::Term(cluster, current.clone()))),
        }
    }

    /// Whether the terms rise from those that are known as elections make them rise. A term that was
    /// made up would have every real leader refused after it.
    fn judge_terms(
        &self,
        cluster: ClusterId,
        current: &Announcement,
        history: &[Announcement],
    ) -> Result<(), Refusal> {
        let highest = self.leader(cluster).map_or(Term::ZERO, |leader| leader.term);
        let mut reached = highest.get();
        for announcement in history.iter().chain([current]) {
            let term = announcement.term.get();
            if term.saturating_sub(reached) > REGISTRY_TERM_JUMP_MAX {
                return Err(Refusal::Implausible { highest });
            }
            reached = reached.max(term);
        }
        Ok(())
    }

    /// The earlier terms that are not known yet.
    fn judge_history(
        &self,
        cluster: ClusterId,
        current: &Announcement,
        history: &[Announcement],
    ) -> Result<Vec<Row>, Refusal> {
        let in_order = history.windows(2).all(|pair| match pair {
            [earlier, later] => earlier.term < later.term,
            _ => true,
        });
        let before_current = history.last().is_none_or(|last| last.term < current.term);
        let in_form = history.iter().chain([current]).all(is_in_form);
        if !in_order || !before_current || !in_form || history.len() > REGISTRY_PAGE_MAX {
            return Err(Refusal::Invalid);
        }
        let mut rows = Vec::new();
        for earlier in history {
            let known = self.leader_of(cluster, earlier)?;
            if known.is_none() && !self.is_forgotten(cluster, earlier.term) {
                hit(Mark::RegistryHistory);
                rows.push(Row::Term(cluster, earlier.clone()));
            }
        }
        Ok(rows)
    }

    /// What is known of the announcement's term, if that names the same leader.
    fn leader_of(
        &self,
        cluster: ClusterId,
        announcement: &Announcement,
    ) -> Result<Option<&Announcement>, Refusal> {
        let known = self.terms.get(&cluster).and_then(|terms| terms.get(&announcement.term));
        match known {
            Some(known) if known.node != announcement.node => {
                Err(Refusal::TermTaken { term: known.term, node: known.node })
            }
            known => Ok(known),
        }
    }

    /// Whether so many later terms are known that this one would be dropped.
    fn is_forgotten(&self, cluster: ClusterId, term: Term) -> bool {
        self.terms.get(&cluster).is_some_and(|terms| {
            terms.len() >= REGISTRY_TERMS_MAX
                && terms.first_key_value().is_some_and(|(oldest, _)| term < *oldest)
        })
    }

    /// The leader of the highest term.
    pub fn leader(&self, cluster: ClusterId) -> Option<&Announcement> {
        let (_, announcement) = self.terms.get(&cluster)?.last_key_value()?;
        Some(announcement)
    }

    /// The terms known, in order.
    pub fn known(&self, cluster: ClusterId) -> Vec<Term> {
        self.terms.get(&cluster).map(|terms| terms.keys().copied().collect()).unwrap_or_default()
    }

    /// At most [`REGISTRY_PAGE_MAX`] terms after `after`, in order.
    pub fn page(&self, cluster: ClusterId, after: Term) -> Vec<Announcement> {
        use std::ops::Bound::{Excluded, Unbounded};
        let Some(terms) = self.terms.get(&cluster) else { return vec![] };
        let range = terms.range((Excluded(after), Unbounded));
        range.take(REGISTRY_PAGE_MAX).map(|(_, announcement)| announcement.clone()).collect()
    }
}

/// Terms count from 1, and an address is short and without control characters: it will be shown.
fn is_in_form(announcement: &Announcement) -> bool {
    announcement.term > Term::ZERO
        && announcement.address.len() <= ADDRESS_BYTES_MAX
        && !announcement.address.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{NodeId, Timestamp};

    const CLUSTER: ClusterId = ClusterId::new(1);

    fn announcement(term: u64, node: u16) -> Announcement {
        Announcement {
            term: Term::new(term),
            node: NodeId::new(node).unwrap(),
            address: format!("127.0.0.1:710{node}"),
            time: Timestamp::new(term.saturating_mul(1000)),
        }
    }

    fn taken(term: u64, node: u16) -> Refusal {
        Refusal::TermTaken { term: Term::new(term), node: NodeId::new(node).unwrap() }
    }

    /// Announces, and stores what is to be stored.
    fn announce(
        table: &mut LeaderTable,
        current: &Announcement,
        history: &[Announcement],
    ) -> Result<(), Refusal> {
        let judgement = table.judge(CLUSTER, current, history);
        judgement.rows.into_iter().for_each(|row| table.insert(row));
        judgement.answer
    }

    fn known(table: &LeaderTable) -> Vec<u64> {
        table.known(CLUSTER).into_iter().map(Term::get).collect()
    }

    #[test]
    fn the_leader_is_the_one_of_the_highest_term() {
        let mut table = LeaderTable::default();
        assert_eq!(table.leader(CLUSTER), None);
        announce(&mut table, &announcement(1, 1), &[]).unwrap();
        announce(&mut table, &announcement(4, 2), &[]).unwrap();
        assert_eq!(table.leader(CLUSTER), Some(&announcement(4, 2)));
        assert_eq!(table.leader(ClusterId::new(2)), None);
        assert_eq!(known(&table), [1, 4]);
    }

    #[test]
    fn a_lower_term_is_refused() {
        let mut table = LeaderTable::default();
        announce(&mut table, &announcement(4, 2), &[]).unwrap();
        let lower = Err(Refusal::LowerTerm { highest: Term::new(4) });
        assert_eq!(announce(&mut table, &announcement(3, 1), &[]), lower);
        assert_eq!(announce(&mut table, &announcement(3, 1), &[announcement(1, 1)]), lower);
        assert_eq!(known(&table), [4]);
        // Another cluster has terms of its own.
        assert_eq!(table.judge(ClusterId::new(2), &announcement(3, 1), &[]).answer, Ok(()));
    }

    #[test]
    fn a_second_leader_of_a_term_is_refused_and_recorded() {
        let mut table = LeaderTable::default();
        announce(&mut table, &announcement(4, 2), &[announcement(2, 1)]).unwrap();
        for (second, expected) in [
            (announcement(4, 3), taken(4, 2)),
            // Even if it comes late.
            (announcement(2, 3), taken(2, 1)),
        ] {
            let judgement = table.judge(CLUSTER, &second, &[]);
            assert_eq!(judgement.answer, Err(expected));
            assert_eq!(judgement.rows, [Row::SecondLeader(CLUSTER, second)]);
        }
        // A history is hearsay: refused as a whole, not recorded.
        let judgement = table.judge(CLUSTER, &announcement(5, 3), &[announcement(2, 2)]);
        assert_eq!(judgement, Judgement { rows: vec![], answer: Err(taken(2, 1)) });
    }

    #[test]
    fn a_term_that_was_made_up_is_refused_and_one_that_got_in_is_forgotten() {
        let mut table = LeaderTable::default();
        announce(&mut table, &announcement(4, 2), &[]).unwrap();
        let implausible = Err(Refusal::Implausible { highest: Term::new(4) });
        assert_eq!(announce(&mut table, &announcement(u64::MAX, 1), &[]), implausible);
        let beyond = 5 + REGISTRY_TERM_JUMP_MAX;
        assert_eq!(announce(&mut table, &announcement(beyond, 1), &[]), implausible);
        // A history that leads there in steps makes it plausible.
        announce(&mut table, &announcement(beyond, 1), &[announcement(5, 1)]).unwrap();
        let lower = Err(Refusal::LowerTerm { highest: Term::new(beyond) });
        assert_eq!(announce(&mut table, &announcement(7, 2), &[]), lower);

        let rows = table.forget(CLUSTER, Term::new(beyond), false);
        assert_eq!(rows, [Row::Forgotten(CLUSTER, Term::new(beyond))]);
        for row in rows {
            let (key, value) = row.encode();
            // The same key: what is written over it is not read again at the next start.
            assert_eq!(key, Row::Term(CLUSTER, announcement(beyond, 1)).encode().0);
            assert_eq!(Row::decode(&key, &value), Ok(row.clone()));
            table.insert(row);
        }
        announce(&mut table, &announcement(7, 2), &[]).unwrap();
        assert_eq!(known(&table), [4, 5, 7]);
        assert_eq!(table.forget(CLUSTER, Term::new(5), true).len(), 2);
        assert_eq!(table.forget(CLUSTER, Term::new(6), false), []);
    }

    #[test]
    fn the_history_fills_gaps_and_saying_it_again_changes_nothing() {
        let mut table = LeaderTable::default();
        announce(&mut table, &announcement(2, 1), &[]).unwrap();
        let history = [announcement(1, 3), announcement(2, 1), announcement(5, 2)];
        for _ in 0..2 {
            announce(&mut table, &announcement(6, 1), &history).unwrap();
            assert_eq!(known(&table), [1, 2, 5, 6]);
        }
        assert_eq!(table.judge(CLUSTER, &announcement(6, 1), &history).rows, []);
        // The same term by the same node: what was said first stays.
        let moved = Announcement { address: "elsewhere:1".to_owned(), ..announcement(6, 1) };
        announce(&mut table, &moved, &[]).unwrap();
        assert_eq!(table.leader(CLUSTER), Some(&announcement(6, 1)));
    }

    #[test]
    fn what_breaks_a_limit_is_refused() {
        let mut table = LeaderTable::default();
        let long = "x".repeat(ADDRESS_BYTES_MAX + 1);
        let many: Vec<_> = (1..=REGISTRY_PAGE_MAX as u64 + 1).map(|t| announcement(t, 1)).collect();
        for (current, history) in [
            (announcement(0, 1), vec![]),
            (Announcement { address: long, ..announcement(1, 1) }, vec![]),
            (Announcement { address: "\u{1b}[2J".to_owned(), ..announcement(1, 1) }, vec![]),
            (announcement(3, 1), vec![announcement(2, 1), announcement(1, 1)]),
            (announcement(3, 1), vec![announcement(2, 1), announcement(2, 1)]),
            (announcement(3, 1), vec![announcement(3, 1)]),
            (announcement(3, 1), vec![announcement(0, 1)]),
            (announcement(9999, 1), many),
        ] {
            assert_eq!(announce(&mut table, &current, &history), Err(Refusal::Invalid));
        }
        assert_eq!(table, LeaderTable::default());
    }

    #[test]
    fn the_oldest_terms_are_forgotten() {
        let mut table = LeaderTable::default();
        let most = REGISTRY_TERMS_MAX as u64;
        for term in 2..=most + 1 {
            table.insert(Row::Term(CLUSTER, announcement(term, 1)));
        }
        announce(&mut table, &announcement(most + 2, 1), &[announcement(1, 1)]).unwrap();
        let known = known(&table);
        assert_eq!((known.len(), known.first()), (REGISTRY_TERMS_MAX, Some(&3)));
    }

    #[test]
    fn pages_are_in_order() {
        let mut table = LeaderTable::default();
        for term in 1..=2500 {
            table.insert(Row::Term(CLUSTER, announcement(term, 1)));
        }
        let mut after = Term::ZERO;
        let mut lengths = Vec::new();
        while let page = table.page(CLUSTER, after)
            && let Some(last) = page.last()
        {
            lengths.push(page.len());
            after = last.term;
        }
        assert_eq!(lengths, [1000, 1000, 500]);
        assert_eq!(table.page(CLUSTER, Term::new(u64::MAX)), []);
    }

    #[test]
    fn golden_bytes() {
        let hex = |bytes: Vec<u8>| {
            bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
        };
        let short = Announcement { address: "h:1".to_owned(), ..announcement(4, 2) };
        let (key, value) = Row::Term(CLUSTER, short.clone()).encode();
        assert_eq!(hex(key), "01000000000000000000000000000000010000000000000004");
        assert_eq!(hex(value), "01040203683a31a01f");
        let (key, value) = Row::SecondLeader(CLUSTER, short).encode();
        assert_eq!(hex(key), "020000000000000000000000000000000100000000000000040002");
        assert_eq!(hex(value), "01040203683a31a01f");
    }

    #[test]
    fn rows_that_are_none_are_refused() {
        let (key, value) = Row::Term(CLUSTER, announcement(4, 2)).encode();
        for length in 0..key.len() {
            assert_eq!(Row::decode(&key[..length], &value), Err(TableError));
        }
        // The version alone says that the term was forgotten.
        assert!(Row::decode(&key, &value[..1]).is_ok());
        for length in (0..value.len()).filter(|length| *length != 1) {
            assert_eq!(Row::decode(&key, &value[..length]), Err(TableError));
        }
        assert_eq!(Row::decode(&key[..24], &value[..1]), Err(TableError));
        let (other_key, _) = Row::Term(CLUSTER, announcement(5, 2)).encode();
        assert_eq!(Row::decode(&other_key, &value), Err(TableError));
    }

    proptest! {
        #[test]
        fn rows_survive_the_round_trip(
            cluster in any::<u128>(), term in any::<u64>(), node in 1..=u16::MAX, time in any::<u64>(),
            address in ".*", second in any::<bool>(),
        ) {
            let announcement = Announcement {
                term: Term::new(term),
                node: NodeId::new(node).unwrap(),
                address,
                time: Timestamp::new(time),
            };
            let cluster = ClusterId::new(cluster);
            let row = if second {
                Row::SecondLeader(cluster, announcement)
            } else {
                Row::Term(cluster, announcement)
            };
            let (key, value) = row.encode();
            prop_assert_eq!(Row::decode(&key, &value), Ok(row));
        }

        /// Whatever is announced in whatever order: a term never changes its leader.
        #[test]
        fn a_term_keeps_its_leader(
            announced in prop::collection::vec((1_u64..8, 1_u16..4, prop::collection::vec((1_u64..8, 1_u16..4), 0..3)), 0..20)
        ) {
            let mut table = LeaderTable::default();
            let mut first: BTreeMap<Term, Announcement> = BTreeMap::new();
            for (term, node, history) in announced {
                let history: Vec<_> = history.into_iter().map(|(t, n)| announcement(t, n)).collect();
                let _ = announce(&mut table, &announcement(term, node), &history);
                for now in table.page(CLUSTER, Term::ZERO) {
                    prop_assert_eq!(first.entry(now.term).or_insert(now.clone()), &now);
                }
                prop_assert_eq!(first.len(), table.known(CLUSTER).len());
            }
        }
    }
}
