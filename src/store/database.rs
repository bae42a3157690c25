//! One sled database, or its model in memory, with the habits of this project: settings spelled out,
//! batches that end with a barrier, and no open of anything that might be damaged.
//!
//! **Opening is a write.** sled's open zeroes everything after the first message that fails its
//! checksum, even when it then returns an error: one flipped bit, and the intact entries behind it
//! are gone. So a folder is opened in place only when it is known to be good: because its files are
//! those that were closed ([`hash_of`]), or because a copy of it was opened and found good
//! ([`on_copy`]).

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sled::IVec;

use super::barrier::{CONF_FILE, DB_FILE};
use super::disk::Disk;
use super::engine::{Batch, Engine, Shape};
use super::error::{Fault, StoreError};
use super::fatal::{Opened, is_about_space};
use crate::mutants::{self, Mutant};

/// sled leaves such a file when it is interrupted, and then refuses to open for ever.
const SNAPSHOT_LEFTOVER: &str = ".generating";

/// BLAKE3 over the files of a closed database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FilesHash([u8; 32]);

#[cfg(test)]
impl FilesHash {
    pub(super) fn of_test(byte: u8) -> Self {
        Self([byte; 32])
    }
}

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    engine: Box<dyn Engine>,
    folder: PathBuf,
}

impl Database {
    /// Makes a new, empty database; its folder and all names in it are on the disk afterwards.
    pub(super) fn create(disk: &Disk, folder: &Path, shape: Shape) -> Result<Self, StoreError> {
        disk.create_folder(folder)?;
        let _guard = disk.opening(|| Opened::InPlace(folder.to_owned()));
        let database = Self::start(disk, folder, shape)?;
        database.pass_barrier()?;
        sync_names(disk, folder)?;
        disk.sync_folder(parent_of(folder))?;
        Ok(database)
    }

    /// Opens a database that is known to be good, in place.
    pub(super) fn open(disk: &Disk, folder: &Path, shape: Shape) -> Result<Self, StoreError> {
        let database = Self::open_to_read(disk, folder, shape)?;
        // What was found may so far stand in the page cache alone: a process that was killed
        // between a write and its barrier left it so.
        database.pass_barrier()?;
        sync_names(disk, folder)?;
        Ok(database)
    }

    /// As [`Self::open`], for one whose files are known to be those that were closed behind a barrier,
    /// and that is only read: there is nothing to wait for.
    pub(super) fn open_to_read(
        disk: &Disk,
        folder: &Path,
        shape: Shape,
    ) -> Result<Self, StoreError> {
        check_files(disk, folder)?;
        remove_snapshot_leftovers(disk, folder)?;
        let _guard = disk.opening(|| Opened::InPlace(folder.to_owned()));
        Self::start(disk, folder, shape)
    }

    fn start(disk: &Disk, folder: &Path, shape: Shape) -> Result<Self, StoreError> {
        let engine = disk.open_database(folder, shape)?;
        Ok(Self { engine, folder: folder.to_owned() })
    }

    /// The folder that it lives in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a batch: all of it or nothing survives a crash, and all of it once this returns.
    pub(super) fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.apply(batch)?;
        self.pass_barrier()
    }

    /// Writes a batch that a crash may lose.
    pub(super) fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.engine.apply(batch).map_err(|error| self.error("write to", error))
    }

    /// Writes one pair, which a crash may lose until [`Self::pass_barrier`]: so pairs are written in
    /// the order given, which those of a batch are not.
    pub(super) fn insert(&self, key: Vec<u8>, value: &[u8]) -> Result<(), StoreError> {
        let written = self.engine.insert(key.into(), value.into());
        written.map_err(|error| self.error("write to", error))
    }

    /// Returns when everything written so far is on the disk. An error is final.
    pub(super) fn pass_barrier(&self) -> Result<(), StoreError> {
        match self.sync() {
            Err(_) if mutants::is_on(Mutant::RetryFailedSync) => self.sync(),
            outcome => outcome,
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.engine.sync()
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.engine.get(key).map_err(|error| self.error("read", error))
    }

    /// The keys from `first` up to and including `last`, in order.
    pub(super) fn range(
        &self,
        first: Vec<u8>,
        last: Vec<u8>,
    ) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec), StoreError>> + '_ {
        self.engine.range(first, last).map(|item| item.map_err(|error| self.error("read", error)))
    }

    /// Goes through everything. sled splits a page that has become too large not when it is written
    /// but when somebody next comes by, be it a reader, and that changes its file.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.range(vec![], vec![u8::MAX; 32]).try_for_each(|item| item.map(drop))
    }

    /// The keys that begin with this byte, in order.
    pub(super) fn of_kind(
        &self,
        kind: u8,
    ) -> impl Iterator<Item = Result<(IVec, IVec), StoreError>> + '_ {
        self.engine.of_kind(kind).map(|item| item.map_err(|error| self.error("read", error)))
    }

    fn error(&self, action: &'static str, source: sled::Error) -> StoreError {
        StoreError::sled(action, &self.folder, source)
    }
}

fn parent_of(folder: &Path) -> &Path {
    folder.parent().expect("a database's folder lies in a node's folder")
}

/// sled creates files when it opens: their names and its settings have to last too.
fn sync_names(disk: &Disk, folder: &Path) -> Result<(), StoreError> {
    disk.sync_file(&folder.join(CONF_FILE))?;
    disk.sync_folder(folder)
}

/// sled would make a new, empty database out of a folder without its files.
fn check_files(disk: &Disk, folder: &Path) -> Result<(), StoreError> {
    for name in [DB_FILE, CONF_FILE] {
        if !disk.is_file(&folder.join(name))? {
            return Err(StoreError::damage(folder, Fault::FileGone { name }));
        }
    }
    disk.check_no_blobs(folder)
}

fn remove_snapshot_leftovers(disk: &Disk, folder: &Path) -> Result<(), StoreError> {
    for name in files_of(disk, folder)? {
        if name.starts_with("snap.") && name.ends_with(SNAPSHOT_LEFTOVER) {
            disk.remove_file(&folder.join(name))?;
        }
    }
    Ok(())
}

/// The name of each file in `folder`, in order.
fn files_of(disk: &Disk, folder: &Path) -> Result<Vec<String>, StoreError> {
    let mut files = vec![];
    for name in disk.names_in(folder)? {
        if disk.is_file(&folder.join(&name))? {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

/// BLAKE3 over names, lengths and contents of the files of a database that is closed.
pub(super) fn hash_of(disk: &Disk, folder: &Path) -> Result<FilesHash, StoreError> {
    hash_of_resting(disk, folder, &|_| ())
}

/// As [`hash_of`], and calls `rest` with the time that each piece took.
pub(super) fn hash_of_resting(
    disk: &Disk,
    folder: &Path,
    rest: &dyn Fn(Duration),
) -> Result<FilesHash, StoreError> {
    check_files(disk, folder)?;
    let mut hasher = blake3::Hasher::new();
    for name in files_of(disk, folder)? {
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        disk.hash_file(&folder.join(name), &mut hasher, rest)?;
    }
    Ok(FilesHash(*hasher.finalize().as_bytes()))
}

/// Makes sure that what is read of the files of a closed database is what is on the disk.
///
/// # Errors
/// [`StoreError::Io`] if what is not written yet cannot be written.
pub(super) fn forget_cached(disk: &Disk, folder: &Path) -> Result<(), StoreError> {
    if mutants::is_on(Mutant::BelievePageCache) {
        return Ok(());
    }
    files_of(disk, folder)?.iter().try_for_each(|name| disk.forget_cached(&folder.join(name)))
}

/// Waits until sled's threads have let go of a database that was dropped.
///
/// # Errors
/// [`StoreError::Io`] after [`crate::limits::SLED_REOPEN_TIMEOUT`], [`StoreError::Damage`] if its files
/// are gone.
pub(super) fn wait_until_released(disk: &Disk, folder: &Path) -> Result<(), StoreError> {
    check_files(disk, folder)?;
    disk.wait_until_released(&folder.join(DB_FILE))
}

/// Opens a copy of a database that may be damaged, and looks at it: at what is on the disk, whatever
/// the page cache shows. The original is only read.
///
/// The copy is made at `copy` and is gone afterwards. Damage found in the copy is reported as damage
/// of the original, also when sled panics over it.
pub(super) fn on_copy<T>(
    disk: &Disk,
    folder: &Path,
    copy: &Path,
    shape: Shape,
    look: impl FnOnce(&Database) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    check_files(disk, folder)?;
    disk.remove_folder(copy)?;
    check_room(disk, folder, copy, shape)?;
    let look = || {
        let _guard = disk.opening(|| Opened::Copy);
        forget_cached(disk, folder)?;
        disk.copy_files(&files_of(disk, folder)?, folder, copy)?;
        remove_snapshot_leftovers(disk, copy)?;
        let database = Database::start(disk, copy, shape)?;
        disk.check_no_blobs(copy)?;
        look(&database)
    };
    let outcome = if disk.may_panic() { catch_unwind(AssertUnwindSafe(look)) } else { Ok(look()) };
    let removed = disk.remove_folder(copy);
    let found = match outcome {
        Ok(result) => result.map_err(|error| of_original(error, folder, copy))?,
        Err(panic) if is_about_space(&*panic) => {
            return Err(StoreError::io("copy", folder)(ErrorKind::StorageFull.into()));
        }
        Err(_panic) => return Err(StoreError::damage(folder, Fault::Panicked)),
    };
    removed?;
    Ok(found)
}

/// Bytes that a copy of a database takes once it is opened.
///
/// # Errors
/// [`StoreError::Io`] if its files cannot be looked at.
pub(super) fn copy_bytes(disk: &Disk, folder: &Path, shape: Shape) -> Result<u64, StoreError> {
    let mut bytes = disk.opening_bytes(shape.sled_segment_bytes);
    for name in files_of(disk, folder)? {
        bytes += disk.length(&folder.join(name))?;
    }
    Ok(bytes)
}

/// A copy is not begun that would not fit.
fn check_room(disk: &Disk, folder: &Path, copy: &Path, shape: Shape) -> Result<(), StoreError> {
    let needed_bytes = copy_bytes(disk, folder, shape)?;
    let data = parent_of(copy);
    let free_bytes = disk.free_bytes(data)?;
    if free_bytes < needed_bytes {
        let (data, folder) = (data.to_owned(), folder.to_owned());
        return Err(StoreError::NoRoom { data, folder, free_bytes, needed_bytes });
    }
    Ok(())
}

/// An error about the copy, told about the original.
fn of_original(error: StoreError, folder: &Path, copy: &Path) -> StoreError {
    let original = |place: PathBuf| match place.strip_prefix(copy) {
        Ok(rest) if rest.as_os_str().is_empty() => folder.to_owned(),
        Ok(rest) => folder.join(rest),
        Err(_) => place,
    };
    match error {
        StoreError::Damage { place, fault } => StoreError::Damage { place: original(place), fault },
        StoreError::Format { folder, found, known } => {
            StoreError::Format { folder: original(folder), found, known }
        }
        other => other,
    }
}
