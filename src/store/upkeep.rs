//! The upkeep of a store, which no append waits for: sealing, giving up what is dead, and a file for the
//! journal ahead of its use. A running node has a thread for it; for a simulated one somebody says when each chore begins and
//! when it is done.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::database::wait_until_released;
use super::error::StoreError;
use super::journal::{GroupMark, Spares};
use super::layout::Layout;
use super::meta::{Meta, Record};
use super::reserve::Reserve;
use super::segments::Segments;
use crate::limits::NOTE_ROOM_BYTES;
use crate::raft::{HardState, Remembered};
use crate::types::{Index, NodeId, Timestamp};

pub(super) const UNPOISONED: &str = "a panic ends the process";

/// One thing to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chore {
    /// A full segment may be sealed.
    Seal,
    /// The journal needs a file ahead.
    Prepare,
    /// Sealed segments are to be given up.
    Release,
}

/// Chores that are run step by step.
#[derive(Debug, Default)]
pub(super) struct Chores {
    waiting: VecDeque<Chore>,
    begun: Option<Chore>,
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

    /// Returns when the journal is no longer too long.
    pub(super) fn seal_now(&self, shared: &Shared) -> Result<(), StoreError> {
        match self {
            Self::Thread(_) => {
                let is_over = || shared.is_abandoned();
                shared.segments.wait_for_sealing(shared.commit_index(), is_over);
            }
            Self::Steps(_) => self.run_all(shared)?,
        }
        Ok(())
    }

    // ---- step by step ----

    /// Takes the next chore, unless one is under way. Says whether there is one to finish.
    pub(super) fn begin(&self) -> bool {
        let Self::Steps(chores) = self else { return false };
        let Chores { waiting, begun } = &mut *chores.borrow_mut();
        if begun.is_none() {
            *begun = waiting.pop_front();
        }
        begun.is_some()
    }

    /// Does what was begun.
    pub(super) fn finish(&self, shared: &Shared) -> Result<(), StoreError> {
        let Self::Steps(chores) = self else { return Ok(()) };
        let begun = chores.borrow_mut().begun.take();
        begun.map_or(Ok(()), |chore| shared.perform(chore))
    }

    /// Does all there is.
    pub(super) fn run_all(&self, shared: &Shared) -> Result<(), StoreError> {
        while self.begin() {
            self.finish(shared)?;
        }
        Ok(())
    }
}

/// What is on the disk for certain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Synced {
    /// The last group of the journal.
    pub(super) mark: GroupMark,
    pub(super) hard_state: HardState,
}

/// When which sealed segment is read to find rot: see `scrub`.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    /// All is read once in this time; never, if there is none.
    pub(super) period: Option<Duration>,
    pub(super) progress: Progress,
}

/// How far the scrub is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The next segment is the one that begins here or behind it.
    pub(super) next: Index,
    /// When the one before was read.
    pub(super) at: Timestamp,
}

/// The parts of a store.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) layout: Layout,
    pub(super) segments: Arc<Segments>,
    pub(super) spares: Arc<Spares>,
    pub(super) meta: Meta,
    pub(super) reserve: Reserve,
}

/// What the threads of a store share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) segments: Arc<Segments>,
    pub(super) spares: Arc<Spares>,
    pub(super) meta: Mutex<Meta>,
    pub(super) reserve: Reserve,
    /// The generation of `meta`, for those who must not wait for it.
    pub(super) generation: Arc<AtomicU64>,
    synced: Mutex<Synced>,
    /// The highest commit index heard of.
    commit_index: AtomicU64,
    /// Sealed segments that end before this entry are to be given up.
    release_before: AtomicU64,
    /// Bytes that are free on its disk, as last looked at.
    free_bytes: AtomicU64,
    /// What is to be remembered of peers.
    remembered: Mutex<BTreeMap<NodeId, Remembered>>,
    /// When which sealed segment is read.
    pub(super) scrub: Mutex<Scrub>,
    /// Nothing more is to be written: the store is dropped without having been closed.
    abandoned: AtomicBool,
    /// Settling makes room for appends.
    pub(super) rests: AtomicBool,
}

impl Shared {
    /// Settling `rests` where appends share the machine with it.
    pub(super) fn new(parts: Parts, synced: Synced, commit_index: Index, rests: bool) -> Self {
        let Parts { layout, segments, spares, meta, reserve } = parts;
        let shared = Self {
            layout,
            segments,
            spares,
            generation: meta.generation_cell(),
            meta: Mutex::new(meta),
            reserve,
            synced: Mutex::new(synced),
            commit_index: AtomicU64::new(commit_index.get()),
            release_before: AtomicU64::new(0),
            free_bytes: AtomicU64::new(u64::MAX),
            remembered: Mutex::default(),
            scrub: Mutex::default(),
            abandoned: AtomicBool::new(false),
            rests: AtomicBool::new(rests),
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

    /// Up to where sealed segments are to be given up.
    pub(super) fn release_before(&self) -> Index {
        Index::new(self.release_before.load(Ordering::Acquire))
    }

    /// Sealed segments that end before this entry are to be given up. Says whether that is news.
    pub(super) fn note_release(&self, before: Index) -> bool {
        self.release_before.fetch_max(before.get(), Ordering::AcqRel) < before.get()
    }

    pub(super) fn synced(&self) -> Synced {
        *self.synced.lock().expect(UNPOISONED)
    }

    pub(super) fn note_synced(&self, synced: Synced) {
        *self.synced.lock().expect(UNPOISONED) = synced;
    }

    /// Brings a record of `meta` up to what is known by now.
    pub(super) fn bring_up(&self, record: &mut Record) {
        // NB: in this order what is noted as synced has all that is noted as committed, or more.
        record.commit_index = self.commit_index();
        let synced = self.synced();
        record.hard_state = synced.hard_state;
        record.synced = synced.mark;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Nothing more is to be appended: settling need not make room.
    pub(super) fn hurry(&self) {
        self.rests.store(false, Ordering::Release);
    }

    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.segments.wake();
    }

    pub(super) fn remember(&self, rows: impl IntoIterator<Item = (NodeId, Remembered)>) {
        self.remembered.lock().expect(UNPOISONED).extend(rows);
    }

    /// What is done twice a second.
    pub(super) fn keep_up(&self) -> Result<(), StoreError> {
        self.look_for_space();
        self.reserve.keep()?;
        if self.segments.lacks_room() {
            self.seal_all()?;
        }
        self.release()?;
        self.write_remembered()
    }

    /// Writes down what is to be remembered, if there is anything. It waits where there may be no room:
    /// nobody relies on it within a time.
    fn write_remembered(&self) -> Result<(), StoreError> {
        if self.free_bytes() < NOTE_ROOM_BYTES {
            return Ok(());
        }
        let remembered = std::mem::take(&mut *self.remembered.lock().expect(UNPOISONED));
        if remembered.is_empty() {
            return Ok(());
        }
        let mut meta = self.meta.lock().expect(UNPOISONED);
        meta.remember(&remembered, |record| self.bring_up(record))
    }

    /// Does a chore.
    pub(super) fn perform(&self, chore: Chore) -> Result<(), StoreError> {
        match chore {
            Chore::Seal => self.seal_all(),
            Chore::Prepare => self.prepare(),
            Chore::Release => self.release(),
        }
    }

    /// Makes a file for the journal ahead, if there is none.
    pub(super) fn make_file_ahead(&self) -> Result<(), StoreError> {
        match self.spares.prepare() {
            // There will be space, or whoever writes is told that there is none.
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "the journal has no file ahead");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// A file was begun, so another is made ahead; and `meta` names a group of the one that was begun:
    /// whoever finds it gone knows that it was there.
    fn prepare(&self) -> Result<(), StoreError> {
        self.make_file_ahead()?;
        self.look_for_space();
        let mut meta = self.meta.lock().expect(UNPOISONED);
        // It is no promise: where there may be no room for it, it is left.
        if meta.record().synced == self.synced().mark || self.free_bytes() < NOTE_ROOM_BYTES {
            return Ok(());
        }
        meta.update(|record| self.bring_up(record))
    }

    /// A clean stop, once nothing is under way: all that is committed goes into sled, and `meta` says
    /// where the journal ends.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.seal_all()?;
        self.release()?;
        self.settle_rest()?;
        self.write_remembered()?;
        self.segments.close();
        let mut meta = self.meta.lock().expect(UNPOISONED);
        meta.update(|record| {
            self.bring_up(record);
            record.is_clean = true;
        })?;
        meta.close();
        wait_until_released(&self.layout.disk, &self.layout.meta())
    }
}
