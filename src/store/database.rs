//! One sled database with the habits of this project: settings spelled out, batches that end with a
//! barrier, and no open of anything that might be damaged.
//!
//! **Opening is a write.** sled's open zeroes everything after the first message that fails its
//! checksum, even when it then returns an error: one flipped bit, and the intact entries behind it
//! are gone. So a folder is opened in place only when it is known to be good: because its files are
//! those that were closed ([`hash_of`]), or because a copy of it was opened and found good
//! ([`on_copy`]).

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sled::{Batch, Db, IVec};

use super::barrier::{
    BLOBS_FOLDER, Barrier, CONF_FILE, DB_FILE, check_no_blobs, sync_file, sync_folder,
};
use super::error::{Fault, StoreError};
use super::guard::{Opened, opening};
use crate::limits::SLED_REOPEN_TIMEOUT;

/// How often to try again while sled's threads let go of a file.
const PAUSE: Duration = Duration::from_millis(2);

/// sled leaves such a file when it is interrupted, and then refuses to open for ever.
const SNAPSHOT_LEFTOVER: &str = ".generating";

/// What is chosen per database. sled keeps the first on disk and refuses any other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// sled's own segment size.
    pub(super) sled_segment_bytes: usize,
    /// Bytes of pages that sled keeps in memory.
    pub(super) cache_bytes: u64,
}

impl Shape {
    fn config(self, folder: &Path) -> sled::Config {
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

/// BLAKE3 over the files of a closed database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FilesHash([u8; 32]);

/// An open sled database.
#[derive(Debug)]
pub(super) struct Database {
    db: Db,
    barrier: Barrier,
    folder: PathBuf,
}

impl Database {
    /// Makes a new, empty database; its folder and all names in it are on the disk afterwards.
    pub(super) fn create(folder: &Path, shape: Shape) -> Result<Self, StoreError> {
        fs::create_dir(folder).map_err(StoreError::io("create", folder))?;
        let _guard = opening(Opened::InPlace(folder.to_owned()));
        let database = Self::start(folder, shape)?;
        database.barrier.pass(&database.db)?;
        sync_names(folder)?;
        sync_folder(parent_of(folder))?;
        Ok(database)
    }

    /// Opens a database that is known to be good, in place.
    pub(super) fn open(folder: &Path, shape: Shape) -> Result<Self, StoreError> {
        check_files(folder)?;
        remove_snapshot_leftovers(folder)?;
        let _guard = opening(Opened::InPlace(folder.to_owned()));
        let database = Self::start(folder, shape)?;
        // What was found may so far stand in the page cache alone: a process that was killed
        // between a write and its barrier left it so.
        database.barrier.pass(&database.db)?;
        sync_names(folder)?;
        Ok(database)
    }

    fn start(folder: &Path, shape: Shape) -> Result<Self, StoreError> {
        let give_up = Instant::now() + SLED_REOPEN_TIMEOUT;
        let db = loop {
            match shape.config(folder).open() {
                Ok(db) => break db,
                Err(sled::Error::Io(error)) if is_lock(&error) && Instant::now() < give_up => {
                    thread::sleep(PAUSE);
                }
                // Settings that were changed under it: it is not the folder that was written.
                Err(source @ sled::Error::Unsupported(_)) => {
                    return Err(StoreError::damage(folder, Fault::Unreadable { source }));
                }
                Err(source) => return Err(StoreError::sled("open", folder, source)),
            }
        };
        Ok(Self { db, barrier: Barrier::of(folder)?, folder: folder.to_owned() })
    }

    /// The folder that it lives in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a batch: all of it or nothing survives a crash, and all of it once this returns.
    pub(super) fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch).map_err(|error| self.error("write to", error))?;
        self.barrier.pass(&self.db)
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.db.get(key).map_err(|error| self.error("read", error))
    }

    /// The keys from `first` up to and including `last`, in order.
    pub(super) fn range(
        &self,
        first: Vec<u8>,
        last: Vec<u8>,
    ) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec), StoreError>> + '_ {
        self.db.range(first..=last).map(|item| item.map_err(|error| self.error("read", error)))
    }

    /// The keys that begin with this byte, in order.
    pub(super) fn of_kind(
        &self,
        kind: u8,
    ) -> impl Iterator<Item = Result<(IVec, IVec), StoreError>> + '_ {
        self.db.scan_prefix([kind]).map(|item| item.map_err(|error| self.error("read", error)))
    }

    fn error(&self, action: &'static str, source: sled::Error) -> StoreError {
        StoreError::sled(action, &self.folder, source)
    }
}

/// Whether sled says that somebody holds its file. It has no kind of its own for that.
fn is_lock(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

fn parent_of(folder: &Path) -> &Path {
    folder.parent().expect("a database's folder lies in a node's folder")
}

/// sled creates files when it opens: their names and its settings have to last too.
fn sync_names(folder: &Path) -> Result<(), StoreError> {
    sync_file(&folder.join(CONF_FILE))?;
    sync_folder(folder)
}

/// sled would make a new, empty database out of a folder without its files.
fn check_files(folder: &Path) -> Result<(), StoreError> {
    for name in [DB_FILE, CONF_FILE] {
        if !folder.join(name).is_file() {
            return Err(StoreError::damage(folder, Fault::FileGone { name }));
        }
    }
    check_no_blobs(folder)
}

fn remove_snapshot_leftovers(folder: &Path) -> Result<(), StoreError> {
    for (name, path) in files_of(folder)? {
        if name.starts_with("snap.") && name.ends_with(SNAPSHOT_LEFTOVER) {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Name and path of each file in `folder`, in the order of their names.
fn files_of(folder: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).map_err(StoreError::io("read", folder))? {
        let entry = entry.map_err(StoreError::io("read", folder))?;
        let path = entry.path();
        if path.is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}

/// BLAKE3 over names, lengths and contents of the files of a database that is closed.
pub(super) fn hash_of(folder: &Path) -> Result<FilesHash, StoreError> {
    check_files(folder)?;
    let mut hasher = blake3::Hasher::new();
    for (name, path) in files_of(folder)? {
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        let length = file.metadata().map_err(StoreError::io("read", &path))?.len();
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        hasher.update(&length.to_le_bytes());
        hasher.update_reader(file).map_err(StoreError::io("read", &path))?;
    }
    Ok(FilesHash(*hasher.finalize().as_bytes()))
}

/// Waits until sled's threads have let go of a database that was dropped.
///
/// # Errors
/// [`StoreError::Io`] after [`SLED_REOPEN_TIMEOUT`].
pub(super) fn wait_until_released(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(DB_FILE);
    let file = File::open(&path).map_err(StoreError::io("open", &path))?;
    let give_up = Instant::now() + SLED_REOPEN_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => thread::sleep(PAUSE),
            Err(error) => return Err(StoreError::io("lock", &path)(error.into())),
        }
    }
}

/// Opens a copy of a database that may be damaged, and looks at it. The original is only read.
///
/// The copy is made at `copy` and is gone afterwards. Damage found in the copy is reported as damage
/// of the original, also when sled panics over it.
pub(super) fn on_copy<T>(
    folder: &Path,
    copy: &Path,
    shape: Shape,
    look: impl FnOnce(&Database) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    check_files(folder)?;
    remove_folder(copy)?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _guard = opening(Opened::Copy);
        copy_files(folder, copy)?;
        remove_snapshot_leftovers(copy)?;
        let database = Database::start(copy, shape)?;
        check_no_blobs(copy)?;
        look(&database)
    }));
    let removed = remove_folder(copy);
    let found = match outcome {
        Ok(result) => result.map_err(|error| of_original(error, folder, copy))?,
        Err(_panic) => return Err(StoreError::damage(folder, Fault::Panicked)),
    };
    removed?;
    Ok(found)
}

/// An error about the copy, told about the original.
fn of_original(error: StoreError, folder: &Path, copy: &Path) -> StoreError {
    match error {
        StoreError::Damage { place, fault } => {
            let place = place.strip_prefix(copy).map_or(place.clone(), |rest| {
                if rest.as_os_str().is_empty() { folder.to_owned() } else { folder.join(rest) }
            });
            StoreError::Damage { place, fault }
        }
        other => other,
    }
}

fn copy_files(folder: &Path, copy: &Path) -> Result<(), StoreError> {
    let blobs = copy.join(BLOBS_FOLDER);
    fs::create_dir_all(&blobs).map_err(StoreError::io("create", &blobs))?;
    for (name, path) in files_of(folder)? {
        fs::copy(&path, copy.join(name)).map_err(StoreError::io("copy", &path))?;
    }
    Ok(())
}

/// Removes a folder and all in it; none is fine too.
pub(super) fn remove_folder(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(StoreError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
