//! What is done with a group of writes: the lines that the thread of a [`super::Writer`] and a
//! [`super::SteppedWriter`] share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Head;
use super::error::StoreError;
use super::group::Group;
use super::meta::Floor;
use super::opened::{Done, Store};
use super::segment::{Appender, State};
use super::upkeep::{Chore, Shared, UNPOISONED, Upkeep};
use crate::limits::SEGMENT_GROWTH_MAX;
use crate::marks::{Mark, hit};
use crate::mutants;
use crate::raft::HardState;
use crate::types::Index;

/// Writes one group after the other.
#[derive(Debug)]
pub(super) struct GroupWriter {
    shared: Arc<Shared>,
    appender: Appender,
    hard_state: HardState,
    segment_bytes: u64,
    upkeep: Upkeep,
}

impl GroupWriter {
    /// That of a store that was opened, with the upkeep that it hands its chores to.
    pub(super) fn new(store: Store, upkeep: Upkeep) -> Self {
        let Store { layout, segments, meta, appender, hard_state, commit_index, options, .. } =
            store;
        let synced = Floor::from(&appender.tip());
        let shared = Arc::new(Shared::new(layout, segments, meta, synced, commit_index));
        Self { shared, appender, hard_state, segment_bytes: options.segment_bytes, upkeep }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// The end of the work: the segment that was written to can be closed.
    pub(super) fn into_shared(self) -> Arc<Shared> {
        self.shared
    }

    /// How many barriers a group needs: one for its batch, one for `meta` if term or vote change, and
    /// one for `meta` before anything is removed.
    pub(super) fn barriers(&self, group: &Group) -> u64 {
        let changes = group.hard_state.is_some_and(|new| new != self.hard_state);
        1 + u64::from(changes) + u64::from(group.truncate_from.is_some())
    }

    /// Performs a group: `on_done` is called once it is on the disk, and before a new segment is
    /// taken, which is nobody's wait but the next group's.
    pub(super) fn perform(
        &mut self,
        group: Group,
        on_done: impl FnOnce(Done),
    ) -> Result<(), StoreError> {
        self.shared.look_for_space();
        let changed = group.hard_state.filter(|new| *new != self.hard_state);
        if let Some(new) = changed {
            check_hard_state(self.hard_state, new);
            self.hard_state = new;
        }
        let from = self.begin_truncation(group.truncate_from)?;
        self.shared.note_committed(group.commit_index);
        let state = self.state();
        self.appender.write(from, &group.entries, &state)?;
        if let Some(last) = group.entries.last() {
            assert_eq!(self.appender.tip(), last.tip(), "the log ends with what was written last");
        }
        if changed.is_some() {
            self.write_to_meta()?;
        }
        *self.shared.synced.lock().expect(UNPOISONED) = Floor::from(&self.appender.tip());
        self.check_told();
        on_done(Done::Persisted(group.ticket));
        if let Some(head) = group.roll {
            self.maybe_roll(&head)?;
        }
        Ok(())
    }

    /// What is so whenever something is told to be on the disk: `meta` has term and vote too.
    fn check_told(&self) {
        debug_assert_eq!(
            self.shared.meta.lock().expect(UNPOISONED).record().hard_state,
            self.hard_state,
            "term and vote are in both places"
        );
    }

    fn state(&self) -> State {
        State {
            hard_state: self.hard_state,
            commit_index: self.shared.commit_index(),
            meta_generation: self.shared.generation.load(Ordering::Acquire),
        }
    }

    /// A changed term or vote counts only when `meta` has it too.
    fn write_to_meta(&self) -> Result<(), StoreError> {
        let hard_state = self.hard_state;
        let mut meta = self.shared.meta.lock().expect(UNPOISONED);
        check_hard_state(meta.record().hard_state, hard_state);
        meta.update(|record| record.hard_state = hard_state)
    }

    /// Makes everything ready for the removal of entries: the floor is lowered, behind a barrier,
    /// before anything at or below it goes, and the segment to remove from is the active one.
    ///
    /// Returns from where on to remove, if there is anything to remove.
    fn begin_truncation(&mut self, from: Option<Index>) -> Result<Option<Index>, StoreError> {
        let Some(from) = from.filter(|from| *from <= self.appender.tip().id.index) else {
            return Ok(None);
        };
        let committed = self.shared.commit_index();
        assert!(from > committed, "{from} is committed: the commit index is {committed}");
        assert!(from > Index::ZERO, "the first entry has index 1");
        let crosses = from < self.appender.segment().first();
        if crosses {
            self.truncate_into_closing(from)?;
        } else {
            let below = Floor::from(&self.appender.tip_before(from)?);
            self.lower_floor(below)?;
        }
        Ok(Some(from))
    }

    fn lower_floor(&self, below: Floor) -> Result<(), StoreError> {
        let mut meta = self.shared.meta.lock().expect(UNPOISONED);
        *self.shared.synced.lock().expect(UNPOISONED) = below;
        if meta.record().floor.id.index <= below.id.index {
            return Ok(());
        }
        hit(Mark::FloorLowered);
        meta.update(|record| record.floor = below)
    }

    fn truncate_into_closing(&mut self, from: Index) -> Result<(), StoreError> {
        let segments = &self.shared.segments;
        let (closing, tip, bytes) =
            segments.closing().expect("a sealed segment is never truncated");
        assert!(from >= closing.first(), "{from} is sealed");
        let appender = Appender::new(closing, tip, bytes)?;
        let below = Floor::from(&appender.tip_before(from)?);
        let floor = {
            let meta = self.shared.meta.lock().expect(UNPOISONED);
            *self.shared.synced.lock().expect(UNPOISONED) = below;
            (meta.record().floor.id.index > below.id.index).then_some(below)
        };
        let trash = segments.give_up_active(floor, &self.shared.meta)?;
        self.appender = appender;
        assert_eq!(segments.closing_last(), None, "the closing segment is the active one again");
        self.upkeep.run(Chore::Delete(trash));
        Ok(())
    }

    /// Takes a new segment, unless another is still closing: then this one grows on, and the next
    /// call may find it sealed.
    fn maybe_roll(&mut self, head: &Head) -> Result<(), StoreError> {
        assert_eq!(head.tip, self.appender.tip(), "a head is the end of the segment before it");
        let segments = &self.shared.segments;
        if let Some(last) = segments.closing_last() {
            let is_committed = last <= self.shared.commit_index();
            let is_huge = self.appender.bytes() >= self.segment_bytes * SEGMENT_GROWTH_MAX;
            if !(is_committed && is_huge) {
                hit(Mark::RollWaited);
                return Ok(());
            }
            self.upkeep.seal_now(&self.shared)?;
        }
        if self.appender.bytes() == 0 {
            return Ok(());
        }
        let state = self.state();
        hit(Mark::Rolled);
        let segment = segments.roll(head, &state, self.appender.bytes(), &self.shared.meta)?;
        let first = segment.first();
        assert_eq!(first, head.tip.id.index.next(), "a segment begins behind the one before it");
        self.appender = Appender::new(segment, head.tip, 0)?;
        assert_eq!(self.appender.tip(), head.tip, "a new segment is empty");
        if segments.is_due(self.shared.commit_index()) {
            self.upkeep.run(Chore::Seal);
        }
        Ok(())
    }
}

/// Invariant: a term never goes down, and a vote in a term never changes.
fn check_hard_state(old: HardState, new: HardState) {
    assert!(new.current_term >= old.current_term, "the term went down: {old:?} {new:?}");
    if new.current_term == old.current_term {
        let is_first = old.voted_for.is_none() || mutants::any();
        assert!(is_first, "a second vote in a term: {old:?} {new:?}");
    }
}
