//! Which sealed segment has what of each log, and so which of them nobody needs any more.

use std::collections::{BTreeMap, VecDeque};

use crate::types::{Index, LogNumber, Offset};

/// The logs that a segment has records of, each with its next offset behind the segment.
pub(super) type Ends = Vec<(LogNumber, Offset)>;

/// Where a log begins; nowhere if it is deleted. What is before that is dead, for ever.
pub(super) type Starts<'a> = &'a dyn Fn(LogNumber) -> Option<Offset>;

/// For each log the sealed segments that have records of it, in order: its next offset behind each,
/// and the segment's first index. What a log has is in the first whose end is above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OffsetIndex {
    of_logs: BTreeMap<LogNumber, VecDeque<(Offset, Index)>>,
    /// The logs that each segment has records of.
    of_segments: BTreeMap<Index, Logs>,
}

/// The logs of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Logs {
    numbers: Vec<LogNumber>,
    /// So many of them, from the first on, were found to have nothing live in it: they need not be
    /// looked at again.
    dead: usize,
}

impl OffsetIndex {
    /// Adds a segment behind all others.
    pub(super) fn add(&mut self, first: Index, ends: &Ends) {
        for (log, end) in ends {
            self.of_logs.entry(*log).or_default().push_back((*end, first));
        }
        let numbers = ends.iter().map(|(log, _)| *log).collect();
        self.of_segments.insert(first, Logs { numbers, dead: 0 });
    }

    /// The first index of the sealed segment that has this record, if any has.
    pub(super) fn find(&self, log: LogNumber, offset: Offset) -> Option<Index> {
        let of_log = self.of_logs.get(&log)?;
        let place = of_log.partition_point(|(end, _)| *end <= offset);
        of_log.get(place).map(|(_, first)| *first)
    }

    /// A log that has live records in a segment, if any has: it is what keeps that.
    pub(super) fn pin(&mut self, first: Index, starts: Starts<'_>) -> Option<LogNumber> {
        let Self { of_logs, of_segments } = self;
        let logs = of_segments.get_mut(&first)?;
        while let Some(log) = logs.numbers.get(logs.dead) {
            let end = of_logs.get(log).and_then(|rows| end_in(rows, first));
            // One that it does not know of is not given up.
            let is_dead = end.is_some_and(|end| starts(*log).is_none_or(|start| end <= start));
            if !is_dead {
                return Some(*log);
            }
            logs.dead += 1;
        }
        None
    }

    /// The oldest segment is gone.
    pub(super) fn forget(&mut self, first: Index) {
        for log in self.of_segments.remove(&first).unwrap_or_default().numbers {
            if let Some(rows) = self.of_logs.get_mut(&log) {
                rows.pop_front_if(|(_, oldest)| *oldest == first);
                if rows.is_empty() {
                    self.of_logs.remove(&log);
                }
            }
        }
    }
}

/// The next offset of a log behind the segment that begins with this entry.
fn end_in(rows: &VecDeque<(Offset, Index)>, first: Index) -> Option<Offset> {
    let place = rows.partition_point(|(_, other)| *other < first);
    rows.get(place).filter(|(_, found)| *found == first).map(|(end, _)| *end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: LogNumber = LogNumber::MAIN;
    const OTHER: LogNumber = LogNumber::new(7);

    fn ends(log: LogNumber, end: u64) -> Ends {
        vec![(log, Offset::new(end))]
    }

    fn three() -> OffsetIndex {
        let mut offsets = OffsetIndex::default();
        offsets.add(Index::new(1), &ends(MAIN, 3));
        offsets.add(Index::new(10), &ends(OTHER, 2));
        offsets.add(Index::new(20), &[ends(MAIN, 5), ends(OTHER, 4)].concat());
        offsets
    }

    #[test]
    fn a_record_is_in_the_first_segment_that_ends_behind_it() {
        let offsets = three();
        let find = |log, offset| offsets.find(log, Offset::new(offset)).map(Index::get);
        let found: Vec<_> = (0..6).map(|offset| find(MAIN, offset)).collect();
        assert_eq!(found, [Some(1), Some(1), Some(1), Some(20), Some(20), None]);
        assert_eq!([0, 1, 2].map(|offset| find(OTHER, offset)), [Some(10), Some(10), Some(20)]);
        assert_eq!(find(LogNumber::new(8), 0), None);
    }

    #[test]
    fn a_segment_is_kept_by_each_log_that_has_live_records_in_it() {
        let pins = |main: Option<u64>, other: Option<u64>| {
            let starts = |log| if log == MAIN { main } else { other }.map(Offset::new);
            let mut offsets = three();
            [1, 10, 20].map(|first| offsets.pin(Index::new(first), &starts))
        };
        assert_eq!(pins(Some(0), Some(0)), [Some(MAIN), Some(OTHER), Some(MAIN)]);
        assert_eq!(pins(Some(2), Some(2)), [Some(MAIN), None, Some(MAIN)]);
        assert_eq!(pins(Some(3), Some(3)), [None, None, Some(MAIN)]);
        assert_eq!(pins(Some(5), Some(3)), [None, None, Some(OTHER)]);
        assert_eq!(pins(Some(5), None), [None, None, None]);
        assert_eq!(pins(None, Some(4)), [None, None, None]);
    }

    #[test]
    fn a_segment_that_is_gone_is_found_no_more() {
        let mut offsets = three();
        offsets.forget(Index::new(1));
        assert_eq!(offsets.find(MAIN, Offset::ZERO), Some(Index::new(20)));
        offsets.forget(Index::new(10));
        offsets.forget(Index::new(20));
        assert_eq!(offsets, OffsetIndex::default());
    }
}
