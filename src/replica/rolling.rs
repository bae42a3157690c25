//! Where segments end: with the entry with which the bytes since the segment's first reach its size,
//! wherever writes begin and end. So every node cuts the log at the same places.

use std::collections::VecDeque;

use crate::limits::ENTRY_WEIGHT_BYTES_MIN;
use crate::marks::{Mark, hit};
use crate::raft::Configuration;
use crate::types::Index;

/// How full the newest segment is, and was behind each entry that may still be truncated; and which
/// configuration holds there, which what stands further behind must not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rolling {
    segment_bytes: u64,
    /// Configurations with their indexes, oldest first: the newest that is committed, and all behind it.
    configurations: Vec<(Index, Configuration)>,
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
    /// A new segment begins behind `last`, where this configuration holds.
    pub(super) fn new(last: Index, configuration: Configuration, segment_bytes: u64) -> Self {
        let base = Fill { index: last, bytes: 0 };
        let configurations = vec![(last, configuration)];
        Self { segment_bytes, configurations, base, tail: VecDeque::new() }
    }

    /// The configuration behind the last entry.
    pub(super) fn configuration(&self) -> &Configuration {
        &self.configurations.last().expect("one is committed").1
    }

    /// The next entry is a configuration.
    pub(super) fn push_configuration(&mut self, configuration: Configuration) {
        self.configurations.push((self.newest().index.next(), configuration));
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
        self.configurations.retain(|(index, _)| *index < from);
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
        let outdated = self.configurations.partition_point(|(at, _)| *at <= index);
        self.configurations.drain(..outdated.saturating_sub(1));
    }

    fn newest(&self) -> &Fill {
        self.tail.back().unwrap_or(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    const SIZE: u64 = 4 * ENTRY_WEIGHT_BYTES_MIN;

    fn of(number: u16) -> Configuration {
        Configuration::of(NodeId::new(number))
    }

    fn rolling(last: u64) -> Rolling {
        Rolling::new(Index::new(last), of(1), SIZE)
    }

    #[test]
    fn a_configuration_holds_from_its_entry_on_until_it_is_cut() {
        let mut rolling = rolling(0);
        ends(&mut rolling, &[1, 1]);
        let held = |rolling: &Rolling| rolling.configuration().clone();
        assert_eq!(held(&rolling), of(1));
        rolling.push_configuration(of(2));
        ends(&mut rolling, &[1]);
        assert_eq!(held(&rolling), of(2));
        rolling.truncate(Index::new(3));
        assert_eq!(held(&rolling), of(1));
        rolling.push_configuration(of(3));
        ends(&mut rolling, &[1, 1]);
        rolling.commit(Index::new(3));
        rolling.truncate(Index::new(4));
        assert_eq!((held(&rolling), rolling.configurations.len()), (of(3), 1));
    }

    fn ends(rolling: &mut Rolling, sizes: &[usize]) -> Vec<bool> {
        sizes.iter().map(|bytes| rolling.push(*bytes)).collect()
    }

    #[test]
    fn a_segment_ends_with_the_entry_that_fills_it() {
        let mut rolling = rolling(7);
        let sizes = [1, 1, 1, 1, 1, 5000, 5000, 1];
        let expected = [false, false, false, true, false, true, true, false];
        assert_eq!(ends(&mut rolling, &sizes), expected);
    }

    #[test]
    fn what_is_cut_counts_no_more_and_what_is_committed_goes_on_counting() {
        let mut rolling = rolling(0);
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
        let mut rolling = rolling(0);
        ends(&mut rolling, &[1, 1, 1]);
        rolling.commit(Index::new(2));
        rolling.truncate(Index::new(2));
    }
}
