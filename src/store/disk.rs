//! What the store asks of a disk, and the two that it knows: the real one, with sled on it, and one
//! in memory, for simulation.
//!
//! Everything above this file is the same code over both. So each question here is as small as it
//! can be: one call to the operating system, or one to sled.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::barrier::{BLOBS_FOLDER, sync_path};
use super::cache;
use super::error::StoreError;
use super::fatal::{Opened, OpeningGuard, opening};
use super::memory::Mount;
use crate::limits::{SLED_REOPEN_TIMEOUT, SLED_SEGMENT_BYTES};
use crate::mutants::{self, Mutant};

/// How often to try again while sled's threads let go of a file.
const PAUSE: Duration = Duration::from_millis(2);

/// A disk.
#[derive(Clone, Debug)]
pub(super) enum Disk {
    /// Files of the operating system.
    Real,
    /// A model of them.
    Memory(Mount),
}

impl Disk {
    /// Whether there is anything with this name.
    pub(super) fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        match self {
            Self::Real => path.try_exists(),
            Self::Memory(mount) => mount.exists(path),
        }
        .map_err(StoreError::io("read", path))
    }

    /// Whether there is a file with this name.
    pub(super) fn is_file(&self, path: &Path) -> Result<bool, StoreError> {
        match self {
            Self::Real => match fs::metadata(path) {
                Ok(found) => Ok(found.is_file()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            },
            Self::Memory(mount) => mount.is_file(path),
        }
        .map_err(StoreError::io("read", path))
    }

    /// The names in a folder, in no particular order.
    pub(super) fn names_in(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Real => real_names_in(folder),
            Self::Memory(mount) => mount.names_in(folder),
        }
        .map_err(StoreError::io("read", folder))
    }

    /// Makes a folder in one that exists.
    pub(super) fn create_folder(&self, folder: &Path) -> Result<(), StoreError> {
        match self {
            Self::Real => fs::create_dir(folder),
            Self::Memory(mount) => mount.create_folder(folder),
        }
        .map_err(StoreError::io("create", folder))
    }

    /// Makes a file with nothing in it.
    pub(super) fn create_mark(&self, path: &Path) -> Result<(), StoreError> {
        match self {
            Self::Real => fs::write(path, []),
            Self::Memory(mount) => mount.create_mark(path),
        }
        .map_err(StoreError::io("create", path))
    }

    /// Bytes that are free on the file system of a folder, as far as this user may take them.
    pub(super) fn free_bytes(&self, folder: &Path) -> Result<u64, StoreError> {
        match self {
            Self::Real => real_free_bytes(folder),
            Self::Memory(mount) => Ok(mount.free_bytes()),
        }
        .map_err(StoreError::io("ask for the free space of", folder))
    }

    /// Bytes of a file.
    pub(super) fn length(&self, path: &Path) -> Result<u64, StoreError> {
        match self {
            Self::Real => fs::metadata(path).map(|found| found.len()),
            Self::Memory(mount) => mount.length(path),
        }
        .map_err(StoreError::io("read", path))
    }

    /// What a small file holds.
    pub(super) fn read_file(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Real => fs::read(path),
            Self::Memory(mount) => mount.read_file(path),
        }
        .map_err(StoreError::io("read", path))
    }

    /// Makes a small file, or writes it anew. Neither its name nor what it holds is synced.
    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Real => fs::write(path, bytes),
            Self::Memory(mount) => mount.write_file(path, bytes),
        }
        .map_err(StoreError::io("write", path))
    }

    /// Gives a file or folder another name in the same folder; a file takes the place of another.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        match self {
            Self::Real => fs::rename(from, to),
            Self::Memory(mount) => mount.rename(from, to),
        }
        .map_err(StoreError::io("rename", from))
    }

    /// Removes a file.
    pub(super) fn remove_file(&self, path: &Path) -> Result<(), StoreError> {
        match self {
            Self::Real => fs::remove_file(path),
            Self::Memory(mount) => mount.remove_file(path),
        }
        .map_err(StoreError::io("remove", path))
    }

    /// Removes a folder and all in it; none is fine too.
    pub(super) fn remove_folder(&self, folder: &Path) -> Result<(), StoreError> {
        let removed = match self {
            Self::Real => fs::remove_dir_all(folder),
            Self::Memory(mount) => mount.remove_folder(folder),
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::io("remove", folder)(error))
            }
            _ => Ok(()),
        }
    }

    /// Returns when the names in a folder are on the disk: created, renamed and removed ones.
    pub(super) fn sync_folder(&self, folder: &Path) -> Result<(), StoreError> {
        if mutants::is_on(Mutant::SegmentNameUnsynced) {
            return Ok(());
        }
        self.sync(folder)
    }

    /// Returns when a file is on the disk, with its length. Its name needs [`Self::sync_folder`].
    pub(super) fn sync_file(&self, path: &Path) -> Result<(), StoreError> {
        self.sync(path)
    }

    fn sync(&self, path: &Path) -> Result<(), StoreError> {
        match self {
            Self::Real => sync_path(path),
            Self::Memory(mount) => mount.sync(path),
        }
        .map_err(StoreError::io("sync", path))
    }

    /// Bytes that sled may take when it opens a database: a segment of its own, and a snapshot.
    pub(super) fn opening_bytes(&self, sled_segment_bytes: usize) -> u64 {
        match self {
            Self::Real => sled_segment_bytes as u64,
            Self::Memory(_) => 0,
        }
    }

    /// Makes sure that what is read of a file from now on is what is on the disk, and not what the
    /// page cache has kept of a write that failed. What was not written yet is written first; if that
    /// fails, nothing may be said of the file.
    pub(super) fn forget_cached(&self, path: &Path) -> Result<(), StoreError> {
        match self {
            Self::Real => cache::forget(path),
            Self::Memory(mount) => mount.forget_cached(path),
        }
        .map_err(StoreError::io("sync", path))
    }

    /// Copies the files of a database that nobody writes to, into a folder that is made for them:
    /// what is on the disk of them, if they were [forgotten](Self::forget_cached) before.
    pub(super) fn copy_files(
        &self,
        names: &[String],
        from: &Path,
        to: &Path,
    ) -> Result<(), StoreError> {
        self.create_folder(to)?;
        if matches!(self, Self::Real) {
            self.create_folder(&to.join(BLOBS_FOLDER))?;
        }
        for name in names {
            let (source, target) = (from.join(name), to.join(name));
            let is_as_shown = match self {
                Self::Real => cache::copy(&source, &target),
                Self::Memory(mount) => mount.copy(&source, &target).map(|()| true),
            }
            .map_err(StoreError::io("copy", &source))?;
            if !is_as_shown {
                return Err(StoreError::Cached { path: source });
            }
        }
        Ok(())
    }

    /// Takes the length and the contents of a file into a hash.
    pub(super) fn hash_file(
        &self,
        path: &Path,
        hasher: &mut blake3::Hasher,
    ) -> Result<(), StoreError> {
        match self {
            Self::Real => real_hash_file(path, hasher),
            Self::Memory(mount) => mount.hash_file(path, hasher),
        }
        .map_err(StoreError::io("read", path))
    }

    /// How many bytes of the file `original` the open of its copy has cut: the remains of a write
    /// that never ended.
    pub(super) fn bytes_torn(&self, original: &Path, copy: &Path) -> Result<u64, StoreError> {
        match self {
            Self::Real => real_bytes_torn(original, copy),
            Self::Memory(mount) => mount.bytes_torn(original, copy),
        }
        .map_err(StoreError::io("read", original))
    }

    /// Waits until whoever had this database file open has let go of it.
    pub(super) fn wait_until_released(&self, file: &Path) -> Result<(), StoreError> {
        match self {
            Self::Real => real_wait_until_released(file),
            Self::Memory(mount) => mount.check_released(file).map_err(StoreError::io("lock", file)),
        }
    }

    /// Notes that a database is opened now, for the hook of panics. Over memory a panic is just one.
    pub(super) fn opening(&self, what: impl FnOnce() -> Opened) -> Option<OpeningGuard> {
        matches!(self, Self::Real).then(|| opening(what()))
    }
}

fn real_names_in(folder: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    fs::read_dir(folder)?.map(name).collect()
}

fn real_free_bytes(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn real_hash_file(path: &Path, hasher: &mut blake3::Hasher) -> io::Result<()> {
    let file = File::open(path)?;
    hasher.update(&file.metadata()?.len().to_le_bytes());
    hasher.update_reader(file).map(drop)
}

/// sled zeroes what it cuts, in the segment of its own where its log ends. A segment of its own that
/// is all zero afterwards was free, and whatever stood there had been moved long before.
fn real_bytes_torn(original: &Path, copy: &Path) -> io::Result<u64> {
    let (mut original, mut copy) = (File::open(original)?, File::open(copy)?);
    let (mut before, mut after) = (vec![], vec![]);
    let mut torn = 0;
    loop {
        read_segment(&mut original, &mut before)?;
        read_segment(&mut copy, &mut after)?;
        if before.is_empty() {
            return Ok(torn);
        }
        if after.iter().any(|byte| *byte != 0) {
            let pairs = before.iter().zip(&after);
            torn += pairs.filter(|(old, new)| **old != 0 && **new == 0).count() as u64;
        }
    }
}

fn read_segment(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    bytes.clear();
    file.take(SLED_SEGMENT_BYTES as u64).read_to_end(bytes)
}

/// sled's threads hold its file for some milliseconds after it was dropped.
fn real_wait_until_released(path: &Path) -> Result<(), StoreError> {
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    let give_up = Instant::now() + SLED_REOPEN_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => thread::sleep(PAUSE),
            Err(error) => return Err(StoreError::io("lock", path)(error.into())),
        }
    }
}

/// The paths of the names in a folder that begin like this.
pub(super) fn paths_with_prefix(folder: &Path, names: Vec<String>, prefix: &str) -> Vec<PathBuf> {
    let names = names.into_iter().filter(|name| name.starts_with(prefix));
    names.map(|name| folder.join(name)).collect()
}
