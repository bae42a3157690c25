//! Where segments end: with the entry with which the bytes since the segment's first reach its size,
//! wherever writes begin and end. So every node cuts the log at the same places.

use std::collections::VecDeque;

use crate::limits::ENTRY_WEIGHT_BYTES_MIN;
use crate::marks::{Mark, hit};
use crate::types::Index;

/// How full the newest segment is, and was behind each entry that may still be truncated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rolling {
    segment_bytes: u64,
    /// Behind the last entry that is committed.
    base: Fill,
    /// Behind each entry since.
    tail: VecDeque<Fill>,
}

/// How full the newest segment is behind an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fill {
    index: Index,
    /// What its entries count for.
    bytes: u64,
}

impl Rolling {
    /// A new segment begins behind `last`.
    pub(super) fn new(last: Index, segment_bytes: u64) -> Self {
        let base = Fill { index: last, bytes: 0 };
        Self { segment_bytes, base, tail: VecDeque::new() }
    }

    /// Adds the next entry. Says whether it is the last of its segment.
    pub(super) fn push(&mut self, bytes: usize) -> bool {
        let Fill { index, bytes: so_far } = *self.newest();
        let bytes = so_far + (bytes as u64).max(ENTRY_WEIGHT_BYTES_MIN);
        let is_full = bytes >= self.segment_bytes;
        self.tail.push_back(Fill { index: index.next(), bytes: if is_full { 0 } else { bytes } });
        if is_full {
            hit(Mark::Rolled);
        }
        is_full
    }

    /// Entries from this index on are gone.
    pub(super) fn truncate(&mut self, from: Index) {
        assert!(from > self.base.index, "broken law: {from} is committed");
        while let Some(gone) = self.tail.pop_back_if(|fill| fill.index >= from) {
            if gone.bytes == 0 {
                hit(Mark::SegmentEndTruncated);
            }
        }
    }

    /// Entries up to this index are committed.
    pub(super) fn commit(&mut self, index: Index) {
        while let Some(fill) = self.tail.pop_front_if(|fill| fill.index <= index) {
            self.base = fill;
        }
    }

    fn newest(&self) -> &Fill {
        self.tail.back().unwrap_or(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 4 * ENTRY_WEIGHT_BYTES_MIN;

    fn ends(rolling: &mut Rolling, sizes: &[usize]) -> Vec<bool> {
        sizes.iter().map(|bytes| rolling.push(*bytes)).collect()
    }

    #[test]
    fn a_segment_ends_with_the_entry_that_fills_it() {
        let mut rolling = Rolling::new(Index::new(7), SIZE);
        let sizes = [1, 1, 1, 1, 1, 5000, 5000, 1];
        let expected = [false, false, false, true, false, true, true, false];
        assert_eq!(ends(&mut rolling, &sizes), expected);
    }

    #[test]
    fn what_is_cut_counts_no_more_and_what_is_committed_goes_on_counting() {
        let mut rolling = Rolling::new(Index::ZERO, SIZE);
        ends(&mut rolling, &[1, 1, 1]);
        let before = rolling.clone();
        assert!(rolling.push(1));
        rolling.truncate(Index::new(4));
        assert_eq!(rolling, before);
        rolling.commit(Index::new(2));
        rolling.truncate(Index::new(3));
        // Two are left, and two more fill it.
        assert_eq!(ends(&mut rolling, &[1, 1]), [false, true]);
    }

    #[test]
    #[should_panic(expected = "is committed")]
    fn what_is_committed_is_never_cut() {
        let mut rolling = Rolling::new(Index::ZERO, SIZE);
        ends(&mut rolling, &[1, 1, 1]);
        rolling.commit(Index::new(2));
        rolling.truncate(Index::new(2));
    }
}
