//! The file of one database: what its process sees, what the page cache holds, what the platter has.

use std::collections::{BTreeMap, VecDeque};

use sled::IVec;

use super::super::engine::Batch;

/// Keys and values.
pub(super) type Map = BTreeMap<IVec, IVec>;

/// How many synced batches are remembered, so that an older self can come back.
const HISTORY_MAX: usize = 512;

/// The file of one database.
///
/// Invariants: as long as nothing is cut off, `now` is `platter` and then the `unsynced` batches. Of
/// these no more are `failed` than there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    /// What whoever has it open sees.
    now: Map,
    /// What an open would find if all that is not synced were lost.
    platter: Map,
    /// Batches that an open would find behind it, in order, as long as the page cache has them.
    unsynced: Vec<Batch>,
    /// The first so many of them are not on the platter, and never will be: their sync failed. The
    /// page cache calls them clean, and goes on showing them.
    failed: usize,
    /// How to take back the newest batches of `platter`, oldest first: keys with what they had.
    history: VecDeque<Vec<(IVec, Option<IVec>)>>,
    /// Behind `unsynced` stands something that no open can read, so that nothing behind it will ever
    /// be found.
    is_cut_off: bool,
    /// Bytes behind the last whole batch, which the next open cuts.
    torn: u64,
    /// How many batches `platter` holds.
    synced: u64,
    /// How many batches there were at the last open: sled then writes a snapshot, if there are more
    /// than the time before.
    opened_at: u64,
    /// Places where bytes were changed by nobody.
    scars: u64,
    /// Bytes of `now`.
    bytes: u64,
    /// The process that has it open.
    holder: Option<u64>,
}

/// What a power cut did to a file.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) batches_kept: u64,
    pub(super) batches_lost: u64,
    pub(super) is_torn: bool,
    /// Blocks, of a file that is written in such.
    pub(super) blocks_kept: u64,
    pub(super) blocks_lost: u64,
}

/// What a platter was some batches ago.
pub(super) struct Rewound {
    pub(super) map: Map,
    /// The keys whose values were others.
    pub(super) changed: Vec<IVec>,
    pub(super) batches: usize,
}

impl Data {
    pub(super) fn now(&self) -> &Map {
        &self.now
    }

    pub(super) fn platter(&self) -> &Map {
        &self.platter
    }

    pub(super) fn holder(&self) -> Option<u64> {
        self.holder
    }

    // ---- the process that has it open ----

    /// Opens it: what no open can read is cut, and sled writes its snapshot.
    pub(super) fn open(&mut self, process: u64) {
        self.settle();
        self.torn = 0;
        self.opened_at = self.synced + self.unsynced.len() as u64;
        self.holder = Some(process);
    }

    pub(super) fn close(&mut self) {
        self.holder = None;
    }

    /// Takes a batch into the page cache.
    pub(super) fn apply(&mut self, batch: Batch) {
        for (key, value) in batch.changes() {
            self.bytes += size_of_pair(key, value.as_ref());
            let old = replace(&mut self.now, key, value.clone());
            self.bytes -= old.map_or(0, |old| size_of_pair(key, Some(&old)));
        }
        if !self.is_cut_off {
            self.unsynced.push(batch);
        }
    }

    /// A write that failed: half of it stands there, and nothing behind it will ever be found.
    pub(super) fn fail_to_apply(&mut self, batch: &Batch) {
        if !self.is_cut_off {
            self.torn += half_of(batch);
            self.is_cut_off = true;
        }
    }

    /// Everything in the page cache is on the platter afterwards, unless an earlier sync failed: no
    /// open would find what is behind that on the platter.
    pub(super) fn sync(&mut self) {
        if self.failed > 0 {
            return;
        }
        for batch in std::mem::take(&mut self.unsynced) {
            self.sync_one(&batch);
        }
    }

    fn sync_one(&mut self, batch: &Batch) {
        let mut undo = Vec::with_capacity(batch.changes().len());
        for (key, value) in batch.changes() {
            undo.push((key.clone(), replace(&mut self.platter, key, value.clone())));
        }
        self.synced += 1;
        self.history.push_back(undo);
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
    }

    /// A sync that failed: what it should have synced will never be, whatever later syncs say. But
    /// it can be read, by later processes too, until the power fails.
    pub(super) fn fail_to_sync(&mut self) {
        if self.failed == 0 {
            self.failed = self.unsynced.len();
        }
    }

    // ---- between two processes ----

    /// The page cache forgets the file: what is read from now on is what the platter has.
    pub(super) fn forget_cached(&mut self) {
        if self.failed > 0 {
            self.lose_from(0);
            self.settle();
        }
    }

    /// Loses the unsynced batches from this place on, of the first perhaps not all.
    fn lose_from(&mut self, place: usize) -> Vec<Batch> {
        let lost = self.unsynced.split_off(place);
        self.failed = 0;
        self.is_cut_off |= !lost.is_empty();
        self.torn = lost.first().map_or(self.torn, half_of);
        lost
    }

    /// What an open finds from now on is what is seen.
    fn settle(&mut self) {
        if !self.is_cut_off {
            return;
        }
        self.now = self.readable();
        self.bytes = size_of(&self.now);
        self.is_cut_off = false;
    }

    /// What an open would find.
    fn readable(&self) -> Map {
        if !self.is_cut_off {
            return self.now.clone();
        }
        let mut found = self.platter.clone();
        for (key, value) in self.unsynced.iter().flat_map(Batch::changes) {
            replace(&mut found, key, value.clone());
        }
        found
    }

    /// The power fails: some of the batches that were not synced are kept, from the oldest on, and
    /// of the next one perhaps a half.
    pub(super) fn power_cut(&mut self, choose: &mut dyn FnMut(u64) -> u64) -> Cut {
        self.holder = None;
        let mut cut = Cut::default();
        if !self.unsynced.is_empty() {
            // Of what a sync failed for, something is missing.
            let most = if self.failed > 0 { self.failed - 1 } else { self.unsynced.len() };
            let keep = usize::try_from(choose(most as u64 + 1)).map_or(most, |keep| keep.min(most));
            let lost = self.lose_from(keep);
            cut.is_torn = !lost.is_empty() && choose(2) == 1;
            if !cut.is_torn {
                self.torn = 0;
            }
            (cut.batches_kept, cut.batches_lost) = (keep as u64, lost.len() as u64);
            self.sync();
        }
        self.settle();
        cut
    }

    /// The process is gone, the machine is not.
    pub(super) fn restart(&mut self) {
        self.holder = None;
        self.settle();
    }

    /// A copy that is in the page cache alone.
    pub(super) fn copy(&self) -> Self {
        let now = self.readable();
        let mut whole = Batch::default();
        for (key, value) in &now {
            whole.insert(key.clone(), value.clone());
        }
        Self {
            bytes: self.bytes,
            unsynced: vec![whole],
            torn: self.torn,
            scars: self.scars,
            now,
            ..Self::default()
        }
    }

    // ---- damage ----

    /// How many synced batches can be taken back.
    pub(super) fn history_length(&self) -> u64 {
        self.history.len() as u64
    }

    /// What the platter would be without its newest batches.
    pub(super) fn rewound(&self, batches: usize) -> Rewound {
        let mut map = self.platter.clone();
        let undone = self.history.iter().rev().take(batches).flat_map(|undo| undo.iter().rev());
        let mut touched = vec![];
        for (key, old) in undone {
            replace(&mut map, key, old.clone());
            touched.push(key);
        }
        let changed = touched.into_iter().filter(|key| map.get(*key) != self.platter.get(*key));
        Rewound { changed: changed.cloned().collect(), map, batches }
    }

    /// Makes the platter what it was, by rot (then the file ends with what cannot be read) or because
    /// an older file was put in its place.
    pub(super) fn put_back(&mut self, map: Map, batches: usize, is_rot: bool) {
        let before: u64 = size_of(&self.platter);
        if is_rot {
            self.scars += 1;
            self.torn += 1 + before.saturating_sub(size_of(&map));
        }
        self.platter = map;
        self.history.truncate(self.history.len().saturating_sub(batches));
        self.synced = self.synced.saturating_sub(batches as u64);
        self.opened_at = self.opened_at.min(self.synced);
        self.unsynced.clear();
        self.failed = 0;
        self.is_cut_off = true;
    }

    /// Changes the bytes of a value that was synced.
    pub(super) fn change_value(&mut self, key: &IVec, change: impl FnOnce(&mut [u8])) {
        if let Some(value) = self.platter.get_mut(key) {
            let mut bytes = value.to_vec();
            change(&mut bytes);
            *value = bytes.into();
            self.scars += 1;
            self.is_cut_off = true;
        }
    }

    /// Takes its contents into a hash, as bytes that tell them apart.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        let mut take = |map: &Map| {
            for (key, value) in map {
                hasher.update(&(key.len() as u64).to_le_bytes()).update(key);
                hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
            }
        };
        if self.is_cut_off {
            take(&self.readable());
        } else {
            take(&self.now);
        }
        for number in [self.torn, self.opened_at, self.scars] {
            hasher.update(&number.to_le_bytes());
        }
    }

    /// The length of the file.
    pub(super) fn length(&self) -> u64 {
        self.bytes + self.torn
    }
}

fn replace(map: &mut Map, key: &IVec, value: Option<IVec>) -> Option<IVec> {
    match value {
        Some(value) => map.insert(key.clone(), value),
        None => map.remove(key),
    }
}

fn size_of_pair(key: &IVec, value: Option<&IVec>) -> u64 {
    value.map_or(0, |value| (key.len() + value.len()) as u64)
}

fn size_of(map: &Map) -> u64 {
    map.iter().map(|(key, value)| size_of_pair(key, Some(value))).sum()
}

/// Half the bytes of a batch, and at least one.
fn half_of(batch: &Batch) -> u64 {
    let bytes: u64 =
        batch.changes().iter().map(|(key, value)| size_of_pair(key, value.as_ref())).sum();
    bytes / 2 + 1
}
