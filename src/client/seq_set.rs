//! A set of requests, which come and go as ranges: a few thousand of them are one or two.

use std::collections::VecDeque;

use crate::types::{Seq, SeqRange};

/// See the module. Invariant: in order, none empty, and with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SeqSet {
    ranges: VecDeque<SeqRange>,
}

impl SeqSet {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The greatest of them.
    pub(super) fn last(&self) -> Option<Seq> {
        self.iter_ranges().next_back()?.iter().next_back()
    }

    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.iter_ranges().any(|range| range.first <= seq && seq < range.next())
    }

    /// All of them, as ranges in order.
    pub(super) fn iter_ranges(&self) -> impl DoubleEndedIterator<Item = SeqRange> {
        self.ranges.iter().copied()
    }

    /// Adds requests that are greater than all of the set.
    pub(super) fn push(&mut self, added: SeqRange) {
        assert!(added.count > 0, "there is something to add");
        assert!(self.last().is_none_or(|last| last < added.first), "{added} is not the greatest");
        match self.ranges.back_mut() {
            Some(last) if last.next() == added.first => last.count += added.count,
            _ => self.ranges.push_back(added),
        }
    }

    /// Takes out those of these that are in the set, and gives the smallest of them.
    pub(super) fn remove(&mut self, removed: SeqRange) -> Option<Seq> {
        let mut smallest = None;
        for _ in 0..self.ranges.len() {
            let Some(range) = self.ranges.pop_front() else { break };
            let hit = range.within(removed.first, removed.next());
            if hit.count == 0 {
                self.ranges.push_back(range);
                continue;
            }
            smallest.get_or_insert(hit.first);
            let before = range.within(range.first, hit.first);
            let after = range.within(hit.next(), range.next());
            self.ranges.extend([before, after].into_iter().filter(|left| left.count > 0));
        }
        smallest
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the plain set: what is sent grows, and what is answered is any part of it.
        #[test]
        fn it_holds_what_a_plain_set_holds(
            steps in prop::collection::vec((any::<bool>(), 0..40_u64, 1..9_u32), 0..40),
        ) {
            let (mut set, mut plain) = (SeqSet::default(), BTreeSet::new());
            for (adds, at, count) in steps {
                let last = plain.last().copied().unwrap_or(Seq::FIRST);
                let first = if adds { last.plus(1 + at % 3) } else { Seq::new(1 + at) };
                let range = SeqRange { first, count };
                if adds {
                    set.push(range);
                    plain.extend(range.iter());
                } else {
                    let hit: Vec<_> = range.iter().filter(|seq| plain.remove(seq)).collect();
                    prop_assert_eq!(set.remove(range), hit.first().copied());
                }
                let all: Vec<_> = set.iter_ranges().flat_map(SeqRange::iter).collect();
                prop_assert_eq!(&all, &plain.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(set.last(), plain.last().copied());
                prop_assert_eq!(set.is_empty(), plain.is_empty());
                prop_assert!(range.iter().all(|seq| set.contains(seq) == plain.contains(&seq)));
                let apart = set.ranges.iter().zip(set.ranges.iter().skip(1));
                prop_assert!(apart.into_iter().all(|(a, b)| a.next() < b.first));
            }
        }
    }
}
