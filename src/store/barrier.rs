//! The barrier: after it, what was written is on the disk.
//!
//! sled's `flush` is `sync_file_range` on Linux: it starts the writing and waits for it, but tells
//! neither the file system nor the disk to make it last. After a power cut not one of 200 flushed
//! appends was left. So each flush is followed by our own `fdatasync` of the file that sled writes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::error::{Fault, StoreError};

/// sled's file with the data.
pub(super) const DB_FILE: &str = "db";
/// sled's file with its settings.
pub(super) const CONF_FILE: &str = "conf";
/// sled's folder for pages too large for its file. There must never be one.
pub(super) const BLOBS_FOLDER: &str = "blobs";

/// The barrier of one sled database.
#[derive(Debug)]
pub(super) struct Barrier {
    /// A handle of our own on sled's file: any handle will do for a sync.
    file: File,
    folder: PathBuf,
}

impl Barrier {
    pub(super) fn of(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(DB_FILE);
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        Ok(Self { file, folder: folder.to_owned() })
    }

    /// Returns when everything written to `db` so far is on the disk.
    ///
    /// An error is final: the page cache may lie afterwards, so whoever has promised anything ends
    /// the process.
    pub(super) fn pass(&self, db: &sled::Db) -> Result<(), StoreError> {
        db.flush().map_err(|source| StoreError::sled("flush", &self.folder, source))?;
        check_no_blobs(&self.folder)?;
        rustix::fs::fdatasync(&self.file)
            .map_err(|error| StoreError::io("sync", &self.folder.join(DB_FILE))(error.into()))
    }
}

/// A page in a blob file is a page that no barrier covers.
pub(super) fn check_no_blobs(folder: &Path) -> Result<(), StoreError> {
    let blobs = folder.join(BLOBS_FOLDER);
    match fs::read_dir(&blobs) {
        Ok(mut files) => match files.next() {
            None => Ok(()),
            Some(_) => Err(StoreError::damage(&blobs, Fault::Blob)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("read", &blobs)(error)),
    }
}

/// Returns when a file or the names in a folder are on the disk.
pub(super) fn sync_path(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|file| file.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_file_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        check_no_blobs(folder.path()).unwrap();
        fs::create_dir(folder.path().join(BLOBS_FOLDER)).unwrap();
        check_no_blobs(folder.path()).unwrap();
        fs::write(folder.path().join(BLOBS_FOLDER).join("7"), b"page").unwrap();
        assert!(check_no_blobs(folder.path()).unwrap_err().is_damage());
    }
}
