//! What a database asks of what keeps its pairs: sled ([`super::sled_engine`]), or a model in memory.

use std::fmt::Debug;
use std::path::Path;

use sled::IVec;

use super::error::StoreError;

/// Keeps pairs. Every question is one call to sled.
pub(super) trait Engine: Debug + Send + Sync {
    /// Takes a batch, which a crash may lose.
    fn apply(&self, batch: Batch) -> sled::Result<()>;

    /// Takes one pair, which a crash may lose.
    fn insert(&self, key: IVec, value: IVec) -> sled::Result<()>;

    /// Returns when everything written so far is on the disk. An error is final.
    fn sync(&self) -> Result<(), StoreError>;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> sled::Result<Option<IVec>>;

    /// The keys from `first` up to and including `last`, in order.
    fn range(&self, first: Vec<u8>, last: Vec<u8>) -> Pairs;

    /// The keys that begin with this byte, in order.
    fn of_kind(&self, kind: u8) -> Pairs;
}

/// Keys and values, in order.
pub(super) type Pairs = Box<dyn DoubleEndedIterator<Item = sled::Result<(IVec, IVec)>>>;

/// Changes that happen together: all of them or none. Of two for one key the later counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    changes: Vec<(IVec, Option<IVec>)>,
}

impl Batch {
    /// One pair.
    pub(super) fn of(key: IVec, value: IVec) -> Self {
        Self { changes: vec![(key, Some(value))] }
    }

    pub(super) fn insert(&mut self, key: impl Into<IVec>, value: impl Into<IVec>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    pub(super) fn remove(&mut self, key: impl Into<IVec>) {
        self.changes.push((key.into(), None));
    }

    /// The changes in order: a key, and its new value unless it is removed.
    pub(super) fn changes(&self) -> &[(IVec, Option<IVec>)] {
        &self.changes
    }

    pub(super) fn into_sled(self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (key, value) in self.changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}

/// What is chosen per database. sled keeps the first on disk and refuses any other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// sled's own segment size.
    pub(super) sled_segment_bytes: usize,
    /// Bytes of pages that sled keeps in memory.
    pub(super) cache_bytes: u64,
}

impl Shape {
    pub(super) fn config(self, folder: &Path) -> sled::Config {
        sled::Config::new()
            .path(folder)
            .segment_size(self.sled_segment_bytes)
            .cache_capacity(self.cache_bytes)
            // Nothing is written but by our barriers.
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput)
            .use_compression(false)
            .temporary(false)
            .print_profile_on_drop(false)
    }
}
