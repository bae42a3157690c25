//! The upkeep of a store, which no append waits for: sealing, the floor, and deleting what was given
//! up. A running node has a thread for it; for a simulated one somebody says when each chore begins and when it is done.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use super::database::{forget_cached, hash_of, wait_until_released};
use super::error::StoreError;
use super::layout::Layout;
use super::meta::{CleanMark, Floor, Meta};
use super::segments::{Sealing, Segments};
use crate::raft::Remembered;
use crate::types::{Index, NodeId};

pub(super) const UNPOISONED: &str = "a panic ends the process";

/// One thing to do.
#[derive(Debug)]
pub(super) enum Chore {
    /// The closing segment may be sealed.
    Seal,
    /// A folder that was given up.
    Delete(PathBuf),
}

/// A chore that is under way.
#[derive(Debug)]
enum Begun {
    Seal(Option<Sealing>),
    Delete(PathBuf),
}

/// Chores that are run step by step.
#[derive(Debug, Default)]
pub(super) struct Chores {
    waiting: VecDeque<Chore>,
    begun: Option<Begun>,
}

/// Who does the chores.
#[derive(Debug)]
pub(super) enum Upkeep {
    /// A thread. `None` ends it.
    Thread(Sender<Option<Chore>>),
    /// Whoever says when.
    Steps(RefCell<Chores>),
}

impl Upkeep {
    pub(super) fn run(&self, chore: Chore) {
        match self {
            Self::Thread(chores) => {
                // Its thread is gone only when the process is about to end.
                let _ = chores.send(Some(chore));
            }
            Self::Steps(chores) => chores.borrow_mut().waiting.push_back(chore),
        }
    }

    /// Returns when the closing segment, all of which is committed, is sealed.
    pub(super) fn seal_now(&self, shared: &Shared) -> Result<(), StoreError> {
        self.run(Chore::Seal);
        match self {
            Self::Thread(_) => shared.segments.wait_until_sealed(),
            Self::Steps(_) => self.run_all(shared)?,
        }
        Ok(())
    }

    // ---- step by step ----

    /// Takes the next chore, unless one is under way. Says whether there is one to finish.
    pub(super) fn begin(&self, shared: &Shared) -> bool {
        let Self::Steps(chores) = self else { return false };
        let Chores { waiting, begun } = &mut *chores.borrow_mut();
        if begun.is_none() {
            *begun = waiting.pop_front().map(|chore| shared.begin(chore));
        }
        begun.is_some()
    }

    /// Does what was begun.
    pub(super) fn finish(&self, shared: &Shared) -> Result<(), StoreError> {
        let Self::Steps(chores) = self else { return Ok(()) };
        let begun = chores.borrow_mut().begun.take();
        begun.map_or(Ok(()), |begun| shared.finish(begun))
    }

    /// Does all there is.
    pub(super) fn run_all(&self, shared: &Shared) -> Result<(), StoreError> {
        while self.begin(shared) {
            self.finish(shared)?;
        }
        Ok(())
    }
}

/// What the threads of a store share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) segments: Arc<Segments>,
    pub(super) meta: Mutex<Meta>,
    /// The generation of `meta`, for those who must not wait for it.
    pub(super) generation: Arc<AtomicU64>,
    /// What is on the disk, and so may become the floor. Taken after `meta`, if both are.
    pub(super) synced: Mutex<Floor>,
    /// The highest commit index heard of.
    commit_index: AtomicU64,
    /// Bytes that are free on its disk, as last looked at.
    free_bytes: AtomicU64,
    /// What is to be remembered of peers, with the next raising of the floor.
    remembered: Mutex<BTreeMap<NodeId, Remembered>>,
    /// Nothing more is to be written: the store is dropped without having been closed.
    pub(super) abandoned: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        layout: Layout,
        segments: Arc<Segments>,
        meta: Meta,
        synced: Floor,
        commit_index: Index,
    ) -> Self {
        let shared = Self {
            layout,
            segments,
            generation: meta.generation_cell(),
            meta: Mutex::new(meta),
            synced: Mutex::new(synced),
            commit_index: AtomicU64::new(commit_index.get()),
            free_bytes: AtomicU64::new(u64::MAX),
            remembered: Mutex::default(),
            abandoned: AtomicBool::new(false),
        };
        shared.look_for_space();
        shared
    }

    /// Bytes that are free on its disk, as far as known.
    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Acquire)
    }

    /// Looks how much is free. Done before each group commit and twice a second: a disk fills while
    /// it is written to, and others may fill it, or free some.
    pub(super) fn look_for_space(&self) {
        match self.layout.disk.free_bytes(&self.layout.data) {
            Ok(bytes) => self.free_bytes.store(bytes, Ordering::Release),
            // Who cannot tell goes on with what was true before.
            Err(error) => tracing::debug!(%error, "it is not known how much space is free"),
        }
    }

    pub(super) fn commit_index(&self) -> Index {
        Index::new(self.commit_index.load(Ordering::Acquire))
    }

    pub(super) fn note_committed(&self, index: Index) {
        self.commit_index.fetch_max(index.get(), Ordering::AcqRel);
    }

    pub(super) fn remember(&self, rows: impl IntoIterator<Item = (NodeId, Remembered)>) {
        self.remembered.lock().expect(UNPOISONED).extend(rows);
    }

    /// Raises the floor, and writes down what is to be remembered.
    pub(super) fn raise_floor(&self) -> Result<(), StoreError> {
        self.look_for_space();
        let mut meta = self.meta.lock().expect(UNPOISONED);
        let synced = *self.synced.lock().expect(UNPOISONED);
        let remembered = std::mem::take(&mut *self.remembered.lock().expect(UNPOISONED));
        if synced == meta.record().floor && remembered.is_empty() {
            return Ok(());
        }
        let commit_index = self.commit_index().min(synced.id.index);
        meta.remember(&remembered, |record| {
            record.floor = synced;
            record.commit_index = commit_index;
        })
    }

    /// Runs a chore.
    pub(super) fn perform(&self, chore: Chore) -> Result<(), StoreError> {
        self.finish(self.begin(chore))
    }

    /// From now on readers wait for a segment that is to be sealed.
    fn begin(&self, chore: Chore) -> Begun {
        match chore {
            Chore::Seal => Begun::Seal(self.segments.begin_seal(self.commit_index())),
            Chore::Delete(folder) => Begun::Delete(folder),
        }
    }

    fn finish(&self, begun: Begun) -> Result<(), StoreError> {
        match begun {
            Begun::Seal(sealing) => {
                sealing.map_or(Ok(()), |sealing| self.segments.seal(sealing, &self.meta))
            }
            Begun::Delete(folder) => {
                // The next start tries again.
                if let Err(error) = self.layout.disk.remove_folder(&folder) {
                    tracing::warn!(%error, "a segment that was given up stays behind");
                }
                Ok(())
            }
        }
    }

    /// A clean stop, once nothing is under way: raises the floor, closes all files, and marks them.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        let disk = &self.layout.disk;
        self.raise_floor()?;
        let mut folders = self.segments.close()?.into_iter();
        let mut meta = self.meta.lock().expect(UNPOISONED);
        let active = folders.next().expect("an open store has an active segment");
        // The next start goes by the hash alone: it is that of what is on the disk.
        let hash = |folder: PathBuf| {
            forget_cached(disk, &folder)?;
            hash_of(disk, &folder)
        };
        let mark =
            CleanMark { active: hash(active)?, closing: folders.next().map(hash).transpose()? };
        let commit_index = self.commit_index().min(meta.record().floor.id.index);
        meta.update(|record| {
            record.clean = Some(mark);
            record.commit_index = commit_index;
        })?;
        meta.close();
        wait_until_released(disk, &self.layout.meta())
    }
}
