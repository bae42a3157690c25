//! When the log takes a new segment.
//!
//! Two segments at most are not sealed: the one that is written to, and the one before it until all of
//! it is committed. Only these may be truncated into.

use crate::marks::{Mark, hit};
use crate::store::Recovered;
use crate::types::Index;

/// The segments that are not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rolling {
    /// The first index of the one that is written to.
    first: Index,
    /// At least the bytes of its entries.
    bytes: u64,
    /// The first index and the bytes of the segment before it, if that may still be truncated into.
    closing: Option<(Index, u64)>,
}

impl Rolling {
    /// As a start found them: the oldest one begins at `oldest_first`.
    pub(super) fn recover(oldest_first: Index, recovered: &Recovered) -> Self {
        let Recovered { active_first: first, active_bytes: bytes, .. } = *recovered;
        assert!(oldest_first <= first, "the segment that is written to is the newest");
        Self { first, bytes, closing: (oldest_first < first).then_some((oldest_first, 0)) }
    }

    /// So many bytes of entries go into the newest one.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Entries from this index on are gone.
    pub(super) fn truncate(&mut self, from: Index) {
        if from >= self.first {
            return;
        }
        let (first, bytes) = self.closing.expect("broken law: sealed entries cut");
        assert!(from >= first, "broken law: sealed entries cut from {from}");
        hit(Mark::TruncatedIntoClosing);
        *self = Self { first, bytes, closing: None };
    }

    /// Takes a new segment behind `last`, if the newest one is full and the one before it can be
    /// sealed. Says whether it does.
    pub(super) fn roll(&mut self, last: Index, commit_index: Index, bytes_max: u64) -> bool {
        let Self { first, bytes, .. } = *self;
        let is_full = bytes >= bytes_max && last >= first;
        let before_is_committed = commit_index >= first.previous();
        let rolls = is_full && before_is_committed;
        if rolls {
            *self = Self { first: last.next(), bytes: 0, closing: Some((first, bytes)) };
        }
        rolls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(number: u64) -> Index {
        Index::new(number)
    }

    /// Written to from entry 11 on, with 100 bytes; the one before begins at 5.
    fn rolling() -> Rolling {
        Rolling { first: index(11), bytes: 100, closing: Some((index(5), 70)) }
    }

    #[test]
    fn a_full_segment_is_followed_by_another_once_the_one_before_is_committed() {
        for (last, commit_index, bytes_max) in [(20, 20, 101), (10, 20, 100), (20, 9, 100)] {
            let mut kept = rolling();
            assert!(!kept.roll(index(last), index(commit_index), bytes_max));
            assert_eq!(kept, rolling());
        }
        let mut rolled = rolling();
        assert!(rolled.roll(index(20), index(10), 100));
        let expected = Rolling { first: index(21), bytes: 0, closing: Some((index(11), 100)) };
        assert_eq!(rolled, expected);
    }

    #[test]
    fn a_truncation_may_reach_into_the_segment_before_and_no_further() {
        let mut kept = rolling();
        kept.truncate(index(11));
        assert_eq!(kept, rolling());
        let mut cut = rolling();
        cut.truncate(index(5));
        assert_eq!(cut, Rolling { first: index(5), bytes: 70, closing: None });
        cut.truncate(index(5));
        assert_eq!(cut, Rolling { first: index(5), bytes: 70, closing: None });
    }

    #[test]
    #[should_panic(expected = "sealed entries cut")]
    fn what_is_sealed_is_never_cut() {
        rolling().truncate(index(4));
    }
}
