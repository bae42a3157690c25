//! A simulated disk, as whoever simulates sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::faults::{Failing, FaultCounts, Faults};
use super::judge::Judge;
use super::tree::Tree;

/// A disk in memory, with a store on it or none. Clones share it; there is one per machine.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    pub(super) state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) tree: Tree,
    pub(super) faults: Faults,
    /// What was read of the platter's journal so far.
    pub(super) judge: Judge,
    /// Bytes that fit on it; `None`: as many as anybody likes.
    pub(super) size: Option<u64>,
    /// Counts the processes that have used it. What one of them has open is of no use to the next.
    pub(super) process: u64,
}

impl State {
    /// Bytes that still fit.
    pub(super) fn free_bytes(&self) -> u64 {
        self.size.map_or(u64::MAX, |size| size.saturating_sub(self.tree.bytes()))
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        let state = State {
            tree: Tree::new(),
            faults: Faults::default(),
            judge: Judge::default(),
            size: None,
            process: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panics drops what it has open: a second panic would hide the first.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same on it. Who uses this one goes on with this one.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let state = self.state().clone();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What is on it becomes what is on another, as if its folder had been put back. Nothing may be
    /// running on it.
    pub fn put_back(&self, other: &Self) {
        let kept = other.state().clone();
        let state = &mut *self.state();
        let (process, operations) = (state.process + 1, state.faults.operations + 1);
        let size = state.size;
        *state = State { size, process, ..kept };
        state.faults.operations = operations.max(state.faults.operations + 1);
        state.tree.restart();
        state.faults.restart();
    }

    /// All that is on it would survive.
    pub fn sync(&self) {
        self.state().tree.sync_all();
    }

    // ---- what goes wrong ----

    /// Kills the process after so many more operations: each batch written, each sync, each name made,
    /// changed or removed is one. Everything fails from then on until [`Self::restart`].
    pub fn fail_after(&self, operations: u64) {
        self.state().faults.operations_left = Some(operations);
    }

    /// Whether the process was killed by [`Self::fail_after`] or [`Self::kill`].
    pub fn is_killed(&self) -> bool {
        self.state().faults.is_killed
    }

    /// Kills the process now: everything fails until [`Self::restart`].
    pub fn kill(&self) {
        let mut state = self.state();
        if !state.faults.is_killed {
            state.faults.is_killed = true;
            state.faults.counts.kills += 1;
        }
    }

    /// The power fails. `choose(n)` says, below `n`: for each database how many of its unsynced
    /// batches survive, from the oldest on, and whether a half of the next is left (1) or nothing
    /// (0); for each file that is written in blocks whether it stays emptied (1) or not (0), how many
    /// of the blocks remain by which it grew, and for each of those that would change whether it is
    /// kept (1) or lost (0); for each change of a name that is not synced, and for each small file, the
    /// same. So `|_| 0` loses all, and `|n| n - 1` keeps all. Then a new process may start.
    pub fn power_cut(&self, choose: &mut dyn FnMut(u64) -> u64) {
        let state = &mut *self.state();
        let (names_kept, names_lost, cuts) = state.tree.power_cut(choose);
        let counts = &mut state.faults.counts;
        counts.power_cuts += 1;
        counts.names_kept += names_kept;
        counts.names_lost += names_lost;
        for cut in cuts {
            counts.batches_kept += cut.batches_kept;
            counts.batches_lost += cut.batches_lost;
            counts.batches_torn += u64::from(cut.is_torn);
            counts.blocks_kept += cut.blocks_kept;
            counts.blocks_lost += cut.blocks_lost;
        }
        state.faults.restart();
        state.process += 1;
    }

    /// The process that used the disk is gone, and a new one may start. What was written is still
    /// there, synced or not. The faults that were asked for are over, but a full disk stays full.
    pub fn restart(&self) {
        let state = &mut *self.state();
        state.tree.restart();
        state.faults.restart();
        state.process += 1;
    }

    /// Lets the next sync fail. What it should have synced will never be, whatever later syncs say;
    /// but it can be read, by the next process too, until that lets the page cache forget the file or
    /// the power fails.
    pub fn fail_sync_once(&self) {
        self.state().faults.sync_fails = true;
    }

    /// Lets every operation of a kind fail until [`Self::restart`]. A write that fails leaves a torn
    /// batch behind, or the first half of its blocks.
    pub fn fail_from_now_on(&self, failing: Failing) {
        let faults = &mut self.state().faults;
        match failing {
            Failing::Reads => faults.reads_fail = true,
            Failing::Writes => faults.writes_fail = true,
        }
    }

    /// Leaves room for so many more bytes, as if somebody else had taken the rest. A write that does
    /// not fit any more fails; one to blocks that a file has fits always.
    pub fn leave_room(&self, bytes: u64) {
        let state = &mut *self.state();
        state.size = Some(state.tree.bytes() + bytes);
    }

    /// Gives back all room that was taken.
    pub fn make_room(&self) {
        self.state().size = None;
    }

    // ---- what can be told of it ----

    /// How many operations there were so far.
    pub fn operations(&self) -> u64 {
        self.state().faults.operations
    }

    /// What has gone wrong so far.
    pub fn faults(&self) -> FaultCounts {
        self.state().faults.counts
    }

    /// Bytes of all files: what a real disk would give for them, without what sled wastes.
    pub fn bytes(&self) -> u64 {
        self.state().tree.bytes()
    }
}
