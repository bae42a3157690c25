//! sled as an engine: its calls, and our barrier behind its flush.

use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sled::{Db, IVec};

use super::barrier::Barrier;
use super::engine::{Batch, Engine, Pairs, Shape};
use super::error::{Fault, StoreError};
use crate::limits::SLED_REOPEN_TIMEOUT;

/// How often to try again while sled's threads let go of a file.
const PAUSE: Duration = Duration::from_millis(2);

/// An open sled database.
#[derive(Debug)]
pub(super) struct SledEngine {
    db: Db,
    barrier: Barrier,
}

impl SledEngine {
    /// Opens what is in a folder, or makes it. NB: opening is a write.
    pub(super) fn open(folder: &Path, shape: Shape) -> Result<Self, StoreError> {
        Ok(Self { db: open_when_free(folder, shape)?, barrier: Barrier::of(folder)? })
    }
}

impl Engine for SledEngine {
    fn apply(&self, batch: Batch) -> sled::Result<()> {
        self.db.apply_batch(batch.into_sled())
    }

    fn insert(&self, key: IVec, value: IVec) -> sled::Result<()> {
        self.db.insert(key, value).map(drop)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.barrier.pass(&self.db)
    }

    fn get(&self, key: &[u8]) -> sled::Result<Option<IVec>> {
        self.db.get(key)
    }

    fn range(&self, first: Vec<u8>, last: Vec<u8>) -> Pairs {
        Box::new(self.db.range(first..=last))
    }

    fn of_kind(&self, kind: u8) -> Pairs {
        Box::new(self.db.scan_prefix([kind]))
    }
}

fn open_when_free(folder: &Path, shape: Shape) -> Result<Db, StoreError> {
    let give_up = Instant::now() + SLED_REOPEN_TIMEOUT;
    loop {
        match shape.config(folder).open() {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(error)) if is_lock(&error) && Instant::now() < give_up => {
                thread::sleep(PAUSE);
            }
            // Settings that were changed under it: it is not the folder that was written.
            Err(source @ sled::Error::Unsupported(_)) => {
                return Err(StoreError::damage(folder, Fault::Unreadable { source }));
            }
            Err(source) => return Err(StoreError::sled("open", folder, source)),
        }
    }
}

/// Whether sled says that somebody holds its file. It has no kind of its own for that.
fn is_lock(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}
