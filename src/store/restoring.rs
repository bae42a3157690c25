//! A store that is made of a log that there is already: of sealed segments, one behind the other, or of none
//! behind a head, and a journal in which nothing is.
//!
//! It is there when all of it is, as a new one: `meta` comes last, under its name when it is whole. What an
//! interrupted making leaves behind has no `meta`.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{Fault, StoreError};
use super::head;
use super::journal::{GroupMark, Spares};
use super::layout::Layout;
use super::meta::{LastEntry, Meta, Record, SealedRow};
use super::offset_index::Ends;
use super::recovery::{Options, create_meta};
use super::segment::{Filling, segment_shape};
use super::segments::ends_between;
use super::{Head, Identity};
use crate::entry::SealedEntry;
use crate::raft::{HardState, Lineage, Remembered};
use crate::types::{Index, NodeId};

/// The number of its first file of the journal.
const JOURNAL_FROM: u64 = 1;

/// What a node brings along into a store that is made of a log.
pub(super) struct Past {
    pub(super) hard_state: HardState,
    pub(super) lineage: Lineage,
    pub(super) remembered: BTreeMap<NodeId, Remembered>,
}

/// See the module.
#[derive(Debug)]
pub struct Restoring {
    layout: Layout,
    identity: Identity,
    options: Options,
    first: Index,
    sealed: Vec<(SealedRow, Ends)>,
}

impl Restoring {
    /// Begins in `data`, a folder that exists and has no store, with the log behind `first`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a store, and others if the disk refuses.
    pub fn begin(
        data: &Path,
        identity: Identity,
        first: &Head,
        options: Options,
    ) -> Result<Self, StoreError> {
        Self::begin_at(Layout::of(data), identity, first, options)
    }

    pub(super) fn begin_at(
        layout: Layout,
        identity: Identity,
        first: &Head,
        options: Options,
    ) -> Result<Self, StoreError> {
        if layout.disk.exists(&layout.meta())? {
            return Err(StoreError::Exists { folder: layout.data.clone() });
        }
        for folder in [layout.log(), layout.journal()] {
            layout.disk.create_folder(&folder)?;
        }
        let first = first.tip.id.index.next();
        Ok(Self { layout, identity, options, first, sealed: vec![] })
    }

    /// Adds a segment of these entries, at least one, which follow on `head`; what is behind them begins with
    /// `next`.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses, or what is read back is not what was written.
    pub fn seal(
        &mut self,
        head: &Head,
        entries: &[SealedEntry],
        next: &Head,
    ) -> Result<(), StoreError> {
        let (disk, shape) = (&self.layout.disk, segment_shape());
        let first = head.tip.id.index.next();
        let folder = self.layout.segment(first);
        let mut filling = Filling::begin(disk, &folder, head, shape)?;
        let lengths: Vec<_> = entries.iter().map(|entry| entry.bytes().len()).collect();
        filling.put_keys(&lengths)?;
        entries.iter().try_for_each(|entry| filling.push(entry))?;
        assert_eq!(filling.tip(), next.tip, "a segment ends where the next begins");
        let done = filling.finish_for_good(disk, shape)?;
        let (written, files) = done.ok_or_else(|| StoreError::damage(&folder, Fault::ReadBack))?;
        let last = LastEntry::from(&written.tip);
        let row = SealedRow { first, last, content: written.content, files, ends_parts: 0 };
        self.sealed.push((row, ends_between(head, next)));
        Ok(())
    }

    /// Ends it: behind the last segment the log goes on with `next`. All of it is committed. It is on the
    /// disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn finish(self, next: &Head) -> Result<(), StoreError> {
        assert!(!self.sealed.is_empty(), "a log has a segment");
        let hard_state = HardState { current_term: next.tip.id.term, ..HardState::default() };
        let lineage = Lineage::new(self.options.start);
        self.finish_as(next, Past { hard_state, lineage, remembered: BTreeMap::new() })
    }

    /// As [`Self::finish`], of a node that has a past.
    pub(super) fn finish_as(self, next: &Head, past: Past) -> Result<(), StoreError> {
        let Self { layout, identity, options, first, sealed } = self;
        let Past { hard_state, lineage, remembered } = past;
        head::write(&layout, next)?;
        let Options { journal_file_bytes, start } = options;
        Spares::new(layout.clone(), identity, start, journal_file_bytes, JOURNAL_FROM).begin()?;
        layout.disk.sync_folder(&layout.log())?;
        let base = sealed.is_empty().then(|| LastEntry::from(&next.tip));
        let record = Record {
            generation: 0,
            hard_state,
            commit_index: next.tip.id.index,
            synced: GroupMark::default(),
            journal_from: JOURNAL_FROM,
            first,
            is_clean: false,
        };
        create_meta(&layout, identity, (record, &lineage), |meta: &mut Meta| {
            base.map_or(Ok(()), |base| meta.begin_behind(base))?;
            meta.remember(&remembered, |_| ())?;
            sealed.into_iter().try_for_each(|(row, ends)| meta.seal(row, &ends, |_| ()))
        })
    }
}
