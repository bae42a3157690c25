//! The newest sealed entries, ready to be sent, and the tip before them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::entry::{Chain, SealedEntry, Tip};
use crate::types::Index;

/// Entries without a gap up to the last of the log.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// The entry before the first.
    base: Tip,
    entries: VecDeque<SealedEntry>,
}

impl Window {
    pub(super) fn new(base: Tip) -> Self {
        Self { base, entries: VecDeque::new() }
    }

    /// The end of the log.
    pub(super) fn tip(&self) -> Tip {
        self.entries.back().map_or(self.base, SealedEntry::tip)
    }

    /// The index of the first entry at hand.
    pub(super) fn first(&self) -> Index {
        self.base.id.index.next()
    }

    pub(super) fn get(&self, index: Index) -> Option<&SealedEntry> {
        let position = index.get().checked_sub(self.first().get())?;
        self.entries.get(usize::try_from(position).ok()?)
    }

    /// The tip of a log that ends at `index`, if that is known here.
    pub(super) fn tip_at(&self, index: Index) -> Option<Tip> {
        if index == self.base.id.index {
            return Some(self.base);
        }
        self.get(index).map(SealedEntry::tip)
    }

    /// The chain up to `index`, if that is known here.
    pub(super) fn chain_at(&self, index: Index) -> Option<Chain> {
        self.tip_at(index).map(|tip| tip.chain)
    }

    pub(super) fn push(&mut self, entry: SealedEntry) {
        assert_eq!(entry.id().index, self.tip().id.index.next(), "entries come without a gap");
        debug_assert_eq!(entry.check_follows(&self.tip()), Ok(()), "entries continue the chain");
        self.entries.push_back(entry);
    }

    /// Removes the entry at `from` and all after it.
    pub(super) fn truncate(&mut self, from: Index) {
        assert!(
            from >= self.first(),
            "{from} is before the window, which begins at {}",
            self.first()
        );
        let keep = from.since(self.first());
        self.entries.truncate(usize::try_from(keep).expect("a count in memory"));
    }

    /// Lets go of the entries before `first`.
    pub(super) fn evict_before(&mut self, first: Index) {
        assert!(first <= self.tip().id.index.next(), "{first} is behind the log");
        while self.first() < first {
            let Some(entry) = self.entries.pop_front() else { return };
            self.base = entry.tip();
        }
    }

    /// The entries from `first` to `last`, all of which are at hand.
    pub(super) fn range(&self, first: Index, last: Index) -> impl Iterator<Item = &SealedEntry> {
        (first.get()..=last.get())
            .map(|index| self.get(Index::new(index)).expect("an entry of the window"))
    }

    /// The bytes of those entries; they are shared, not copied.
    pub(super) fn bytes(&self, first: Index, last: Index) -> Vec<Bytes> {
        self.range(first, last).map(|entry| entry.bytes().clone()).collect()
    }
}
