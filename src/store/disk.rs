//! What the store asks of a disk. There are two: the real one ([`Disk::real`]), with sled on it, and
//! one in memory, for simulation.
//!
//! Everything above this file is the same code over both. So each question of [`Files`] is as small
//! as it can be: one call to the operating system, or one to sled.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Shape};
use super::error::StoreError;
use super::fatal::{Opened, OpeningGuard, opening};
use crate::mutants::{self, Mutant};

/// A file that is written in blocks and read at any place, by any number of threads. Dropping it
/// closes it.
pub(super) trait Blocks: Debug + Send + Sync {
    /// Writes whole blocks, which a crash may lose, each for itself. Behind the end the file grows.
    fn write_at(&self, at: u64, blocks: &[u8]) -> io::Result<()>;

    /// So many bytes from a place on, as the page cache has them.
    fn read_at(&self, at: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Returns when everything that was written is on the disk. An error is final.
    fn sync(&self) -> io::Result<()>;
}

/// What a disk can do. What each question means is said where [`Disk`] asks it.
pub(super) trait Files: Debug + Send + Sync {
    fn exists(&self, path: &Path) -> io::Result<bool>;
    fn is_file(&self, path: &Path) -> io::Result<bool>;
    fn names_in(&self, folder: &Path) -> io::Result<Vec<String>>;
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
    fn length(&self, path: &Path) -> io::Result<u64>;
    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>>;
    fn hash_file(
        &self,
        path: &Path,
        hasher: &mut blake3::Hasher,
        rest: &dyn Fn(Duration),
    ) -> io::Result<()>;

    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    fn create_mark(&self, path: &Path) -> io::Result<()>;
    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;
    fn sync(&self, path: &Path) -> io::Result<()>;
    fn forget_cached(&self, path: &Path) -> io::Result<()>;

    fn create_blocks(&self, path: &Path) -> io::Result<Box<dyn Blocks>>;
    fn open_blocks(&self, path: &Path) -> io::Result<Box<dyn Blocks>>;
    fn read_past_cache(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Makes the folder that the files of a database are copied to.
    fn create_folder_of_copy(&self, folder: &Path) -> io::Result<()>;
    /// Copies a file; says whether the page cache shows what was copied.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<bool>;
    fn open_database(&self, folder: &Path, shape: Shape) -> Result<Box<dyn Engine>, StoreError>;
    fn opening_bytes(&self, sled_segment_bytes: usize) -> u64;
    /// Whether opening a database may panic over what is in its files, as sled does.
    fn may_panic(&self) -> bool;
    fn check_no_blobs(&self, folder: &Path) -> Result<(), StoreError>;
    fn wait_until_released(&self, file: &Path) -> io::Result<()>;
}

/// A disk.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<dyn Files>);

impl Disk {
    pub(super) fn over(files: impl Files + 'static) -> Self {
        Self(Arc::new(files))
    }

    /// Whether there is anything with this name.
    pub(super) fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        self.0.exists(path).map_err(StoreError::io("read", path))
    }

    /// Whether there is a file with this name.
    pub(super) fn is_file(&self, path: &Path) -> Result<bool, StoreError> {
        self.0.is_file(path).map_err(StoreError::io("read", path))
    }

    /// The names in a folder, in no particular order.
    pub(super) fn names_in(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        self.0.names_in(folder).map_err(StoreError::io("read", folder))
    }

    /// Makes a folder in one that exists.
    pub(super) fn create_folder(&self, folder: &Path) -> Result<(), StoreError> {
        self.0.create_folder(folder).map_err(StoreError::io("create", folder))
    }

    /// Makes a file with nothing in it.
    pub(super) fn create_mark(&self, path: &Path) -> Result<(), StoreError> {
        self.0.create_mark(path).map_err(StoreError::io("create", path))
    }

    /// Bytes that are free on the file system of a folder, as far as this user may take them.
    pub(super) fn free_bytes(&self, folder: &Path) -> Result<u64, StoreError> {
        let found = self.0.free_bytes(folder);
        found.map_err(StoreError::io("ask for the free space of", folder))
    }

    /// Bytes of a file.
    pub(super) fn length(&self, path: &Path) -> Result<u64, StoreError> {
        self.0.length(path).map_err(StoreError::io("read", path))
    }

    /// What a small file holds.
    pub(super) fn read_file(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        self.0.read_file(path).map_err(StoreError::io("read", path))
    }

    /// Makes a small file, or writes it anew. Neither its name nor what it holds is synced.
    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.write_file(path, bytes).map_err(StoreError::io("write", path))
    }

    /// Makes a file to write in blocks; one that is there already is emptied first.
    pub(super) fn create_blocks(&self, path: &Path) -> Result<Box<dyn Blocks>, StoreError> {
        self.0.create_blocks(path).map_err(StoreError::io("create", path))
    }

    /// Opens a file to write in blocks and to read.
    pub(super) fn open_blocks(&self, path: &Path) -> Result<Box<dyn Blocks>, StoreError> {
        self.0.open_blocks(path).map_err(StoreError::io("open", path))
    }

    /// All that is on the disk of a file, if it was [forgotten](Self::forget_cached) before.
    pub(super) fn read_past_cache(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        self.0.read_past_cache(path).map_err(StoreError::io("read", path))
    }

    /// Gives a file or folder another name in the same folder; a file takes the place of another.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.0.rename(from, to).map_err(StoreError::io("rename", from))
    }

    /// Removes a file.
    pub(super) fn remove_file(&self, path: &Path) -> Result<(), StoreError> {
        self.0.remove_file(path).map_err(StoreError::io("remove", path))
    }

    /// Removes a folder and all in it; none is fine too.
    pub(super) fn remove_folder(&self, folder: &Path) -> Result<(), StoreError> {
        match self.0.remove_folder(folder) {
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
        self.0.sync(path).map_err(StoreError::io("sync", path))
    }

    /// Bytes that sled may take when it opens a database: a segment of its own, and a snapshot.
    pub(super) fn opening_bytes(&self, sled_segment_bytes: usize) -> u64 {
        self.0.opening_bytes(sled_segment_bytes)
    }

    /// Makes sure that what is read of a file from now on is what is on the disk, and not what the
    /// page cache has kept of a write that failed. What was not written yet is written first; if that
    /// fails, nothing may be said of the file.
    pub(super) fn forget_cached(&self, path: &Path) -> Result<(), StoreError> {
        self.0.forget_cached(path).map_err(StoreError::io("sync", path))
    }

    /// Copies the files of a database that nobody writes to, into a folder that is made for them:
    /// what is on the disk of them, if they were [forgotten](Self::forget_cached) before.
    pub(super) fn copy_files(
        &self,
        names: &[String],
        from: &Path,
        to: &Path,
    ) -> Result<(), StoreError> {
        self.0.create_folder_of_copy(to).map_err(StoreError::io("create", to))?;
        for name in names {
            let (source, target) = (from.join(name), to.join(name));
            let copied = self.0.copy(&source, &target);
            let is_as_shown = copied.map_err(StoreError::io("copy", &source))?;
            if !is_as_shown {
                return Err(StoreError::Cached { path: source });
            }
        }
        Ok(())
    }

    /// Takes the length and the contents of a file into a hash. Calls `rest` after each piece, with the time
    /// that it took.
    pub(super) fn hash_file(
        &self,
        path: &Path,
        hasher: &mut blake3::Hasher,
        rest: &dyn Fn(Duration),
    ) -> Result<(), StoreError> {
        self.0.hash_file(path, hasher, rest).map_err(StoreError::io("read", path))
    }

    /// Waits until whoever had this database file open has let go of it.
    pub(super) fn wait_until_released(&self, file: &Path) -> Result<(), StoreError> {
        self.0.wait_until_released(file).map_err(StoreError::io("lock", file))
    }

    /// Opens the database in a folder, or makes one there. NB: opening is a write.
    pub(super) fn open_database(
        &self,
        folder: &Path,
        shape: Shape,
    ) -> Result<Box<dyn Engine>, StoreError> {
        self.0.open_database(folder, shape)
    }

    /// Whether opening a database may panic over what is in its files, as sled does.
    pub(super) fn may_panic(&self) -> bool {
        self.0.may_panic()
    }

    /// Checks that no page of a database is in a file of its own, which no barrier covers.
    pub(super) fn check_no_blobs(&self, folder: &Path) -> Result<(), StoreError> {
        self.0.check_no_blobs(folder)
    }

    /// Notes that a database is opened now, for the hook of panics. Over memory a panic is just one.
    pub(super) fn opening(&self, what: impl FnOnce() -> Opened) -> Option<OpeningGuard> {
        self.may_panic().then(|| opening(what()))
    }
}

/// The paths of the names in a folder that begin like this.
pub(super) fn paths_with_prefix(folder: &Path, names: Vec<String>, prefix: &str) -> Vec<PathBuf> {
    let names = names.into_iter().filter(|name| name.starts_with(prefix));
    names.map(|name| folder.join(name)).collect()
}
