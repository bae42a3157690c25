//! What is done with a group of writes: the lines that the thread of a [`super::Writer`] and a
//! [`super::SteppedWriter`] share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::StoreError;
use super::group::Group;
use super::journal::{GroupHeader, Journal, Written};
use super::opened::{Done, Store};
use super::upkeep::{Chore, Parts, Shared, Synced, Upkeep};
use crate::entry::{SealedEntry, Tip};
use crate::mutants;
use crate::raft::HardState;
use crate::types::Index;

/// Writes one group after the other.
#[derive(Debug)]
pub(super) struct GroupWriter {
    shared: Arc<Shared>,
    journal: Journal,
    hard_state: HardState,
    /// The last entry.
    tip: Tip,
    /// The last group says something that was promised, and nothing behind it proves that it was whole.
    is_unconfirmed: bool,
    upkeep: Upkeep,
}

impl GroupWriter {
    /// That of a store that was opened, with the upkeep that it hands its chores to.
    pub(super) fn new(store: Store, upkeep: Upkeep) -> Self {
        let Store {
            layout, segments, meta, journal, reserve, tip, hard_state, commit_index, ..
        } = store;
        let synced = Synced { mark: journal.last(), hard_state };
        let rests = matches!(upkeep, Upkeep::Thread(_));
        let spares = journal.spares().clone();
        let parts = Parts { layout, segments, spares, meta, reserve };
        let shared = Arc::new(Shared::new(parts, synced, commit_index, rests));
        let is_unconfirmed = true;
        let mut writer = Self { shared, journal, hard_state, tip, is_unconfirmed, upkeep };
        writer.prepare();
        writer
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// The end of the work: the store can be closed.
    pub(super) fn into_shared(self) -> Arc<Shared> {
        self.shared
    }

    /// Performs a group: `on_done` is called once it is on the disk.
    pub(super) fn perform(
        &mut self,
        group: Group,
        on_done: impl FnOnce(Done),
    ) -> Result<(), StoreError> {
        self.shared.look_for_space();
        if let Some(new) = group.hard_state {
            check_hard_state(self.hard_state, new);
            self.hard_state = new;
        }
        let from = group.truncate_from.filter(|from| *from <= self.tip.id.index);
        if let Some(from) = from {
            self.truncate(from)?;
        }
        let written = self.append(from, &group.entries, group.commit_index)?;
        self.shared.segments.note_written(from, &group.entries, &written);
        // NB: it speaks of the log as it is now. Before, what is taken back would have looked
        // committed to whoever seals segments meanwhile.
        self.shared.note_committed(group.commit_index);
        if let Some(last) = group.entries.last() {
            self.tip = last.tip();
        }
        self.is_unconfirmed = true;
        on_done(Done::Persisted(group.ticket));
        self.shared.segments.note_heads(group.heads);
        self.find_chores()
    }

    fn truncate(&mut self, from: Index) -> Result<(), StoreError> {
        let committed = self.shared.commit_index();
        assert!(from > committed, "{from} is committed: the commit index is {committed}");
        let tip = self.shared.segments.tip_before(from);
        self.tip = tip.map_err(|error| error.into_store_error(&self.shared.layout.journal()))?;
        Ok(())
    }

    /// Writes a group to the journal: it is on the disk when this returns.
    fn append(
        &mut self,
        truncate_from: Option<Index>,
        entries: &[SealedEntry],
        commit_index: Index,
    ) -> Result<Written, StoreError> {
        self.check_entries(entries);
        let header = GroupHeader {
            hard_state: self.hard_state,
            truncate_from,
            commit_index: commit_index.max(self.shared.commit_index()),
            meta_generation: self.shared.generation.load(Ordering::Acquire),
            tip: self.tip,
        };
        let written = self.journal.append(header, entries)?;
        self.shared.note_synced(Synced { mark: written.mark, hard_state: self.hard_state });
        Ok(written)
    }

    fn check_entries(&self, entries: &[SealedEntry]) {
        let mut tip = self.tip;
        for entry in entries {
            assert_eq!(entry.id().index, tip.id.index.next(), "entries leave no gap");
            assert!(entry.id().term >= tip.id.term, "{} after {}", entry.id(), tip.id);
            debug_assert_eq!(entry.check_follows(&tip), Ok(()));
            tip = entry.tip();
        }
    }

    /// Proves that the last group was whole, by one behind it: only the last may be torn, and rot in it
    /// looks like that. To be called when nothing else was written for a while; most often there is
    /// nothing to do.
    pub(super) fn confirm(&mut self) -> Result<(), StoreError> {
        // It may need no space: there may be none.
        if self.is_unconfirmed && self.journal.has_block() {
            let written = self.append(None, &[], Index::ZERO)?;
            self.shared.segments.note_written(None, &[], &written);
            self.is_unconfirmed = false;
        }
        Ok(())
    }

    fn find_chores(&mut self) -> Result<(), StoreError> {
        self.prepare();
        let committed = self.shared.commit_index();
        if self.shared.segments.is_due(committed) {
            self.upkeep.run(Chore::Seal);
        }
        if self.shared.segments.is_behind(committed) {
            self.upkeep.seal_now(&self.shared)?;
        }
        Ok(())
    }

    fn prepare(&mut self) {
        if self.journal.asks_for_file() {
            self.upkeep.run(Chore::Prepare);
        }
    }
}

/// Invariant: a term never goes down, and a vote in a term never changes.
fn check_hard_state(old: HardState, new: HardState) {
    assert!(new.current_term >= old.current_term, "the term went down: {old:?} {new:?}");
    if new.current_term == old.current_term && new != old {
        let is_first = old.voted_for.is_none() || mutants::any();
        assert!(is_first, "a second vote in a term: {old:?} {new:?}");
    }
}
