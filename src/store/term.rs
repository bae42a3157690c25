//! Another term for a stopped node: the last resort when one got onto its disk that nobody can have
//! reached, or when all others are in one that this node does not believe.
//!
//! To raise a term is always safe: a node that starts in a higher one has promised nothing in it. To lower
//! it, or to set the one that it is in, takes votes back, so it is only done where the term is impossible beside the node's own log, and
//! only to one so far beyond the last entry that no term in which this node can really have voted lies
//! above it. Whatever was committed in the impossible terms is in the logs of a quorum, and a node with
//! such an entry is not lowered: so those that are cannot elect anybody without it.
//!
//! The others remember the impossible term of a node, and would refuse it for good once it is mended. So a
//! node that is lowered forgets the terms of its peers as well; which folders are theirs it still knows.

use thiserror::Error;

use super::error::StoreError;
use super::journal::GroupHeader;
use super::opened::Store;
use crate::limits::{TERM_JUMP_MAX, TERM_REPAIR_MARGIN};
use crate::raft::{HardState, Remembered};
use crate::types::Term;

/// The highest term that can be set: half of all there are stay for elections.
const TERM_MAX: Term = Term::new(u64::MAX / 2);

/// Why a term was not set. Nothing was changed, unless the disk failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetTermError {
    /// The term may be what it should be.
    #[error(
        "the node's term {current} is plausible beside its last entry, of term {last}, and is not lowered"
    )]
    Plausible {
        /// The node's term.
        current: Term,
        /// That of its last entry.
        last: Term,
    },
    /// The node may have voted in a term above it.
    #[error(
        "the node may have voted in a term above {term}: it cannot be set lower than to {lowest}"
    )]
    TooLow {
        /// What was asked for.
        term: Term,
        /// The lowest that can be.
        lowest: Term,
    },
    /// Too few would be left.
    #[error("a term above {TERM_MAX} leaves too few for elections")]
    TooHigh,
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Sets the term of a stopped node, with no vote; without a `term`, to the lowest that is safe.
    /// Returns the term before and the term now.
    ///
    /// The term stands in two places and the higher of them counts. If this is interrupted the old one
    /// still does, and it can be done again.
    ///
    /// # Errors
    /// [`SetTermError`].
    pub fn set_term(mut self, term: Option<Term>) -> Result<(Term, Term), SetTermError> {
        let (current, last) = (self.hard_state.current_term, self.tip.id.term);
        let lowest = Term::new(last.get().saturating_add(TERM_REPAIR_MARGIN));
        let term = term.unwrap_or(lowest);
        check(current, last, term, lowest)?;
        if term < current {
            self.remembered.values_mut().for_each(Remembered::forget_terms);
        }
        self.put(HardState { current_term: term, voted_for: None })?;
        self.start_writer(|_| ()).close()?;
        Ok((current, term))
    }

    /// In the journal first, the last group of which counts: interrupted, `meta` still has the old one.
    fn put(&mut self, hard_state: HardState) -> Result<(), StoreError> {
        let header = GroupHeader {
            hard_state,
            truncate_from: None,
            commit_index: self.commit_index,
            meta_generation: self.meta.record().generation,
            tip: self.tip,
        };
        self.journal.append(header, &[])?;
        self.meta.remember(&self.remembered, |record| record.hard_state = hard_state)?;
        self.hard_state = hard_state;
        Ok(())
    }
}

fn check(current: Term, last: Term, term: Term, lowest: Term) -> Result<(), SetTermError> {
    if term > TERM_MAX {
        return Err(SetTermError::TooHigh);
    }
    // The same term again would still forget its vote.
    if term > current {
        return Ok(());
    }
    if current.get() - last.get() <= TERM_JUMP_MAX {
        return Err(SetTermError::Plausible { current, last });
    }
    if term < lowest {
        return Err(SetTermError::TooLow { term, lowest });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Folder;
    use super::*;
    use crate::types::{Index, NodeId};

    fn may(current: u64, last: u64, term: u64) -> bool {
        let lowest = Term::new(last.saturating_add(TERM_REPAIR_MARGIN));
        check(Term::new(current), Term::new(last), Term::new(term), lowest).is_ok()
    }

    #[test]
    fn a_term_is_raised_always_and_lowered_only_where_it_is_impossible() {
        assert!(may(5, 5, 6) && may(5, 1, TERM_MAX.get()));
        assert!(!may(5, 5, TERM_MAX.get() + 1));
        assert!(!may(5, 5, 5), "a vote of term 5 would be forgotten");
        assert!(!may(5, 1, 4), "a vote of term 5 would be forgotten");
        let plausible = 7 + TERM_JUMP_MAX;
        assert!(!may(plausible, 7, 7 + TERM_REPAIR_MARGIN));
        assert!(may(plausible + 1, 7, 7 + TERM_REPAIR_MARGIN));
        assert!(!may(plausible + 1, 7, 6 + TERM_REPAIR_MARGIN));
        assert!(may(u64::MAX, 7, 7 + TERM_REPAIR_MARGIN));
        assert!(!may(u64::MAX, u64::MAX - 1, 7), "it has entries of such a term");
    }

    #[test]
    fn a_lowered_node_forgets_the_terms_of_its_peers_and_not_their_stores() {
        let folder = Folder::with_store();
        let peer = NodeId::new(2).unwrap();
        let row = Remembered {
            starts: 3,
            term: TERM_MAX,
            voted_in: TERM_MAX,
            acknowledged_in: TERM_MAX,
            acknowledged: Index::new(4),
            ..Remembered::default()
        };
        let store = folder.try_open().unwrap().0;
        let writer = store.start_writer(|_| ());
        writer.remember([(peer, row)]);
        writer.close().unwrap();
        let store = folder.try_open().unwrap().0;
        store.set_term(Some(TERM_MAX)).unwrap();
        let store = folder.try_open().unwrap().0;
        assert_eq!(store.remembered()[&peer], row, "a raised one keeps all");
        store.set_term(None).unwrap();
        let forgotten = folder.try_open().unwrap().0.remembered()[&peer];
        let (term, none) = (Term::new(1), Term::ZERO);
        let owed = Remembered { term, voted_in: none, acknowledged_in: none, ..row };
        assert_eq!(forgotten, owed);
    }
}
