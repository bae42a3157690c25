//! The writer and the upkeep without threads: for whoever simulates, and so says what happens when.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use super::error::StoreError;
use super::group::Group;
use super::group_writer::GroupWriter;
use super::lock::FolderLock;
use super::mending::Mender;
use super::upkeep::{Chore, Upkeep};
use super::{Done, Store, Write};
use crate::raft::Remembered;
use crate::types::{Index, NodeId};

/// Performs the writes of a store step by step, in the thread of its caller.
///
/// An error is final, as it is for a running node: it is what ends the process there. Dropping it
/// does nothing to the disk: the process died.
#[derive(Debug)]
pub struct SteppedWriter {
    group_writer: GroupWriter,
    queue: VecDeque<Write>,
    begun: Option<Group>,
    /// What happened after a ticket had been answered: the next call tells it.
    failed: Option<StoreError>,
    /// That of a real folder.
    _lock: Option<FolderLock>,
}

impl Store {
    /// The same writer without its threads, for a simulation.
    pub fn into_stepped_writer(self) -> SteppedWriter {
        SteppedWriter::new(self)
    }
}

impl SteppedWriter {
    pub(super) fn new(mut store: Store) -> Self {
        let lock = store.lock.take();
        let group_writer = GroupWriter::new(store, Upkeep::Steps(RefCell::default()));
        Self { group_writer, queue: VecDeque::new(), begun: None, failed: None, _lock: lock }
    }

    /// Queues a write. Writes are performed in the order given.
    pub fn write(&mut self, write: Write) {
        self.queue.push_back(write);
    }

    /// Whether nothing is queued or begun.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.begun.is_none()
    }

    /// Takes the next group from the queue: all that waits and may share a barrier. Says whether
    /// there is one to finish.
    pub fn begin(&mut self) -> bool {
        if self.begun.is_none() {
            self.begun = Group::take_from(&mut self.queue);
        }
        self.begun.is_some()
    }

    /// Performs the group that was begun, if there is one: one write and one sync.
    ///
    /// # Errors
    /// [`StoreError`]. What goes wrong when the group itself is on the disk is told by the next call: a
    /// running node has sent its answers by then.
    pub fn finish(&mut self) -> Result<Option<Done>, StoreError> {
        self.check()?;
        let Some(group) = self.begun.take() else { return Ok(None) };
        let mut done = None;
        match self.group_writer.perform(group, |answer| done = Some(answer)) {
            Err(error) if done.is_some() => self.failed = Some(error),
            outcome => outcome?,
        }
        Ok(done)
    }

    /// As [`super::Writer::committed`]: a full segment of nothing else is to be sealed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn committed(&mut self, index: Index) -> Result<(), StoreError> {
        self.check()?;
        let shared = self.group_writer.shared();
        shared.note_committed(index);
        if shared.segments.is_due(index) {
            self.group_writer.upkeep().run(Chore::Seal);
        }
        Ok(())
    }

    /// As [`super::Writer::release_before`].
    pub fn release_before(&mut self, before: Index) {
        if self.group_writer.shared().note_release(before) {
            self.group_writer.upkeep().run(Chore::Release);
        }
    }

    /// As [`super::Writer::remember`]: written down by [`Self::keep_up`].
    pub fn remember(&self, rows: impl IntoIterator<Item = (NodeId, Remembered)>) {
        self.group_writer.shared().remember(rows);
    }

    /// As [`super::Writer::scrub_every`]: [`Self::keep_up`] reads what is due.
    pub fn scrub_every(&self, period: Option<Duration>) {
        self.group_writer.shared().scrub_every(period);
    }

    /// As [`super::Writer::mender`].
    pub fn mender(&self) -> Mender {
        Mender::new(self.group_writer.shared().clone())
    }

    /// Begins the next thing that the upkeep of a running node would do beside the writer: sealing
    /// segments, or making a file ahead. Says whether there is one to finish.
    pub fn begin_chore(&mut self) -> bool {
        self.group_writer.upkeep().begin()
    }

    /// Does what [`Self::begin_chore`] has begun, if it has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish_chore(&mut self) -> Result<(), StoreError> {
        self.check()?;
        self.group_writer.upkeep().finish(self.group_writer.shared())
    }

    /// What a running node does twice a second: writes down what is to be remembered of peers, and, if
    /// nothing was written meanwhile, proves that the last group was whole.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep_up(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if self.is_idle() {
            self.group_writer.confirm()?;
        }
        self.group_writer.shared().keep_up()?;
        self.group_writer.shared().scrub();
        Ok(())
    }

    /// The highest commit index that it was told and that counts.
    #[cfg(test)]
    pub(super) fn known_commit_index(&self) -> Index {
        self.group_writer.shared().commit_index()
    }

    /// As [`super::Writer::free_bytes`].
    pub fn free_bytes(&self) -> u64 {
        self.group_writer.shared().free_bytes()
    }

    /// A clean stop, after everything that is queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn close(mut self) -> Result<(), StoreError> {
        while self.begin() {
            self.finish()?;
        }
        self.check()?;
        let Self { group_writer, _lock, .. } = self;
        group_writer.upkeep().run_all(group_writer.shared())?;
        group_writer.into_shared().close()
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.failed.take().map_or(Ok(()), Err)
    }
}
