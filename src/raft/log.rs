//! The shape of the log: terms, sizes and borders, without a byte of payload.
//!
//! ```text
//!   1 ……………… commit_index ……… persisted ……… last        (usual order)
//!             └ window_first ≤ commit_index: everything that may yet be sent or cut is at hand
//! ```
//!
//! `commit_index` may pass `persisted`: a quorum of others suffices (thesis 10.2.1).

use std::collections::VecDeque;

use super::configuration::Configuration;
use super::message::EntryInfo;
use crate::types::{Incarnation, Index, LogId, NodeId, Term};

/// What a core needs of a log that was recovered from disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredLog {
    /// The first index of each term up to `head`, oldest first.
    pub terms: Vec<(Term, Index)>,
    /// The entry before the first of `entries`.
    pub head: LogId,
    /// The configuration in force at `head`.
    pub configuration: Configuration,
    /// The entries after `head`.
    pub entries: Vec<EntryInfo>,
    /// The commit index as it was known on disk: at most the last entry.
    pub commit_index: Index,
}

/// The shape of a node's log.
///
/// Laws:
/// 1. `commit_index` and `persisted` are at most `last.index`.
/// 2. `commit_index` never goes down, and nothing at or below it is truncated (thesis 3.6.3).
/// 3. Terms never go down along the log.
/// 4. The window holds the sizes of all entries from `window_first` to the last, and begins at or
///    before `commit_index`, unless the log was recovered with less.
/// 5. The newest configuration in the log is in force, committed or not (thesis 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RaftLog {
    /// The first index of each term in the log, oldest first.
    terms: Vec<(Term, Index)>,
    /// The last entry.
    last: LogId,
    /// Sizes of the newest entries, up to the last.
    sizes: VecDeque<u32>,
    /// The sum of `sizes`.
    window_bytes: u64,
    /// Bytes of the entries after `commit_index`, as far as they are in the window.
    uncommitted_bytes: u64,
    /// The last entry that is on this node's own disk.
    persisted: Index,
    /// The last entry that is known to be committed.
    commit_index: Index,
    /// The configurations in the log with their indexes, oldest first; all but the first are above
    /// `commit_index`. Never empty.
    configurations: Vec<(Index, Configuration)>,
}

impl RaftLog {
    /// The log as it was found on disk: all of it is persisted.
    pub fn recover(recovered: RecoveredLog) -> Self {
        let RecoveredLog { terms, head, configuration, entries, commit_index } = recovered;
        assert!(
            terms.last().is_none_or(|(term, first)| *term == head.term && *first <= head.index),
            "terms {terms:?} do not end at {head}"
        );
        let mut log = Self {
            terms,
            last: head,
            sizes: VecDeque::new(),
            window_bytes: 0,
            uncommitted_bytes: 0,
            persisted: head.index,
            commit_index: head.index.min(commit_index),
            configurations: vec![(head.index, configuration)],
        };
        for entry in entries {
            log.append(entry);
        }
        assert!(commit_index <= log.last.index, "commit {commit_index} beyond {}", log.last);
        log.persisted = log.last.index;
        log.commit_to(commit_index.max(log.commit_index));
        log
    }

    /// The last entry.
    pub fn last(&self) -> LogId {
        self.last
    }

    /// The last entry on this node's own disk.
    pub fn persisted(&self) -> Index {
        self.persisted
    }

    /// The last entry known to be committed.
    pub fn commit_index(&self) -> Index {
        self.commit_index
    }

    /// The first entry whose bytes the floor above must keep at hand.
    pub fn window_first(&self) -> Index {
        Index::new(self.last.index.get() + 1 - self.sizes.len() as u64)
    }

    /// Bytes of the entries from `window_first` on.
    pub fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    /// Bytes of entries that are not known to be committed.
    pub fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted_bytes
    }

    /// The configuration in force: the newest in the log.
    pub fn configuration(&self) -> &Configuration {
        &self.configurations.last().expect("never empty").1
    }

    /// Where the configuration in force stands.
    pub fn configuration_index(&self) -> Index {
        self.configurations.last().expect("never empty").0
    }

    /// The newest committed configuration and all after it, with their indexes, oldest first.
    pub fn configurations(&self) -> &[(Index, Configuration)] {
        &self.configurations
    }

    /// Whether the node, with this store, votes in a configuration that may yet decide: the one in
    /// force, or an older one while those after it are not known to be committed.
    pub fn may_need(&self, node: NodeId, store: Option<Incarnation>) -> bool {
        self.configurations.iter().any(|(_, configuration)| configuration.has_voter(node, store))
    }

    /// The first index of each term, oldest first.
    pub fn terms(&self) -> &[(Term, Index)] {
        &self.terms
    }

    /// The term of the entry at `index`; zero before the first entry, `None` after the last.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index > self.last.index {
            return None;
        }
        let runs_until = self.terms.partition_point(|(_, first)| *first <= index);
        Some(runs_until.checked_sub(1).map_or(Term::ZERO, |run| self.terms[run].0))
    }

    /// The id of the entry at `index`, which the log must have.
    pub fn id_at(&self, index: Index) -> LogId {
        let term = self.term_at(index).expect("an index of this log");
        LogId::new(index, term)
    }

    /// Whether the log has this very entry.
    pub fn has(&self, id: LogId) -> bool {
        self.term_at(id.index) == Some(id.term)
    }

    /// The last entry at or before `id.index` with a term of at most `id.term`: the newest that two
    /// logs can have in common if they differ at `id` (thesis 3.5).
    pub fn last_possible_match(&self, id: LogId) -> LogId {
        let start = id.index.min(self.last.index);
        let runs_until = self.terms.partition_point(|(term, _)| *term <= id.term);
        let run_end = self.terms.get(runs_until).map_or(start, |(_, first)| first.previous());
        self.id_at(start.min(run_end))
    }

    /// Adds an entry behind the last.
    pub fn append(&mut self, entry: EntryInfo) -> Index {
        assert!(entry.term >= self.last.term, "term {} after {}", entry.term, self.last);
        let index = self.last.index.next();
        if self.terms.last().is_none_or(|(term, _)| *term < entry.term) {
            self.terms.push((entry.term, index));
        }
        self.last = LogId::new(index, entry.term);
        self.sizes.push_back(entry.bytes);
        self.window_bytes += u64::from(entry.bytes);
        self.uncommitted_bytes += u64::from(entry.bytes);
        if let Some(configuration) = entry.configuration {
            self.configurations.push((index, configuration));
        }
        index
    }

    /// Removes the entry at `from` and all after it, and with them the configurations in them.
    pub fn truncate(&mut self, from: Index) {
        assert!(from > self.commit_index, "truncating {from}, commit {}", self.commit_index);
        assert!(from <= self.last.index, "truncating {from} of {}", self.last);
        assert!(from >= self.window_first(), "what is not committed is in the window");
        for _ in 0..self.last.index.next().since(from) {
            let bytes = u64::from(self.sizes.pop_back().expect("the window reaches to from"));
            self.window_bytes -= bytes;
            self.uncommitted_bytes -= bytes;
        }
        self.terms.retain(|(_, first)| *first < from);
        self.last.index = from.previous();
        self.last.term = self.terms.last().map_or(Term::ZERO, |(term, _)| *term);
        self.persisted = self.persisted.min(self.last.index);
        self.configurations.retain(|(index, _)| *index < from);
        assert!(!self.configurations.is_empty(), "a committed configuration stays");
    }

    /// Notes that all entries up to `through` are on disk.
    pub fn persisted_to(&mut self, through: Index) {
        assert!(through <= self.last.index, "persisted {through} of {}", self.last);
        self.persisted = self.persisted.max(through);
    }

    /// Notes that all entries up to `through` are committed.
    pub fn commit_to(&mut self, through: Index) {
        assert!(through >= self.commit_index, "commit {} to {through}", self.commit_index);
        assert!(through <= self.last.index, "commit {through} of {}", self.last);
        let newly = self.sizes_between(self.commit_index, through);
        self.uncommitted_bytes -= newly;
        self.commit_index = through;
        let outdated = self.configurations.partition_point(|(index, _)| *index <= through);
        self.configurations.drain(..outdated.saturating_sub(1));
    }

    /// Lets go of the oldest sizes until the window is within `bytes_max`, but never of one that is
    /// not committed or not on disk.
    pub fn trim_window(&mut self, bytes_max: u64) {
        while self.window_bytes > bytes_max
            && self.window_first() < self.commit_index.min(self.persisted)
        {
            let bytes = self.sizes.pop_front().expect("the window reaches to the commit index");
            self.window_bytes -= u64::from(bytes);
        }
    }

    /// The last index of a batch that begins at `first`: within both bounds, but one at least.
    pub fn batch_end(&self, first: Index, count_max: usize, bytes_max: usize) -> Index {
        assert!(first >= self.window_first() && first <= self.last.index, "{first} is not at hand");
        let skip = first.since(self.window_first());
        let mut bytes = 0;
        let fitting = self
            .sizes
            .iter()
            .skip(usize::try_from(skip).expect("a position in memory"))
            .take(count_max)
            .take_while(|size| {
                bytes += u64::from(**size);
                bytes <= bytes_max as u64
            })
            .count();
        first.plus(fitting.max(1) as u64 - 1)
    }

    /// What is known of the entry at `index`, which must be in the window.
    pub fn info_at(&self, index: Index) -> EntryInfo {
        let position = usize::try_from(index.since(self.window_first())).expect("in memory");
        let configuration = self.configurations.iter().find(|(at, _)| *at == index);
        EntryInfo {
            term: self.id_at(index).term,
            bytes: self.sizes[position],
            configuration: configuration.map(|(_, configuration)| configuration.clone()),
        }
    }

    fn sizes_between(&self, after: Index, through: Index) -> u64 {
        let first = after.next().max(self.window_first());
        let skip = usize::try_from(first.since(self.window_first())).expect("in memory");
        let count = usize::try_from(through.next().since(first)).expect("in memory");
        self.sizes.iter().skip(skip).take(count).map(|size| u64::from(*size)).sum()
    }

    /// Checks the laws that one look can check.
    pub fn check(&self) {
        assert!(self.commit_index <= self.last.index, "law 1: commit {}", self.commit_index);
        assert!(self.persisted <= self.last.index, "law 1: persisted {}", self.persisted);
        assert!(
            self.terms.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1),
            "law 3: {:?}",
            self.terms
        );
        assert_eq!(self.term_at(self.last.index), Some(self.last.term), "law 3: {}", self.last);
        let bytes: u64 = self.sizes.iter().map(|size| u64::from(*size)).sum();
        assert_eq!(bytes, self.window_bytes, "law 4");
        let uncommitted = self.sizes_between(self.commit_index, self.last.index);
        assert_eq!(uncommitted, self.uncommitted_bytes, "law 4");
        assert!(
            self.configurations.iter().skip(1).all(|(index, _)| *index > self.commit_index),
            "law 5: {:?}",
            self.configurations
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(term: u64) -> EntryInfo {
        EntryInfo { term: Term::new(term), bytes: 10, configuration: None }
    }

    fn log(terms: &[u64]) -> RaftLog {
        RaftLog::recover(RecoveredLog {
            terms: vec![],
            head: LogId::ZERO,
            configuration: Configuration::of(NodeId::new(1)),
            entries: terms.iter().map(|term| info(*term)).collect(),
            commit_index: Index::ZERO,
        })
    }

    fn id(index: u64, term: u64) -> LogId {
        LogId::new(Index::new(index), Term::new(term))
    }

    #[test]
    fn terms_are_found_everywhere() {
        let log = log(&[1, 1, 3, 3, 4]);
        let found: Vec<_> = (0..=6).map(|i| log.term_at(Index::new(i)).map(Term::get)).collect();
        assert_eq!(found, [Some(0), Some(1), Some(1), Some(3), Some(3), Some(4), None]);
        let firsts: Vec<_> = log.terms().iter().map(|(term, at)| (term.get(), at.get())).collect();
        assert_eq!(firsts, [(1, 1), (3, 3), (4, 5)]);
        log.check();
    }

    #[test]
    fn the_last_possible_match_skips_whole_terms() {
        let log = log(&[1, 1, 3, 3, 4]);
        assert_eq!(log.last_possible_match(id(5, 3)), id(4, 3));
        assert_eq!(log.last_possible_match(id(4, 2)), id(2, 1));
        assert_eq!(log.last_possible_match(id(9, 9)), id(5, 4));
        assert_eq!(log.last_possible_match(id(3, 0)), LogId::ZERO);
    }

    #[test]
    fn truncation_rolls_terms_and_configurations_back() {
        let mut log = log(&[1, 1, 2]);
        let before = log.configuration().clone();
        let mut entry = info(3);
        entry.configuration = Some(Configuration::of([1, 2].map(|n| NodeId::new(n).unwrap())));
        log.append(entry);
        assert_ne!(log.configuration(), &before);
        assert_eq!(log.configuration_index(), Index::new(4));
        let indexes: Vec<_> = log.configurations().iter().map(|(index, _)| index.get()).collect();
        assert_eq!(indexes, [0, 4]);
        let has = |index| log.info_at(Index::new(index)).configuration.is_some();
        assert_eq!([1, 2, 3, 4].map(has), [false, false, false, true]);
        log.truncate(Index::new(3));
        assert_eq!(log.configuration(), &before);
        assert_eq!(log.last(), id(2, 1));
        assert_eq!(log.uncommitted_bytes(), 20);
        log.check();
    }

    #[test]
    fn the_window_keeps_what_is_not_committed_or_not_on_disk() {
        let mut log = log(&[1; 10]);
        log.trim_window(30);
        assert_eq!(log.window_first(), Index::new(1));
        log.commit_to(Index::new(5));
        log.trim_window(30);
        assert_eq!(log.window_first(), Index::new(5));
        log.commit_to(Index::new(10));
        log.trim_window(30);
        assert_eq!(log.window_first(), Index::new(8));
        assert_eq!(log.window_bytes(), 30);
        assert_eq!(log.uncommitted_bytes(), 0);
    }

    #[test]
    fn a_batch_has_one_entry_at_least_and_keeps_both_bounds() {
        let log = log(&[1; 10]);
        let end = |first, count, bytes| log.batch_end(Index::new(first), count, bytes).get();
        assert_eq!(end(1, 100, 35), 3);
        assert_eq!(end(4, 2, 1000), 5);
        assert_eq!(end(4, 5, 1), 4);
        assert_eq!(end(10, 5, 1000), 10);
    }
}
