//! The lock of a node's folder: one process at a time.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::StoreError;
use crate::limits::LOCK_TIMEOUT;

/// The file whose lock is held.
const LOCK_FILE: &str = "lock";

/// How often to try again.
const PAUSE: Duration = Duration::from_millis(10);

/// Holds a node's folder: no other process opens it while this lives. The operating system gives
/// the lock back however the process ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Takes the lock of `data`, a node's folder that exists.
///
/// Tries for [`LOCK_TIMEOUT`]: the process before may still be ending.
///
/// # Errors
/// [`StoreError::Locked`] if another holds it, [`StoreError::Io`] if the folder cannot be used.
pub fn lock(data: &Path) -> Result<FolderLock, StoreError> {
    let path = data.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    take(file, data)
}

fn take(file: File, data: &Path) -> Result<FolderLock, StoreError> {
    let path = data.join(LOCK_FILE);
    let give_up = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(FolderLock { _file: file }),
            Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", &path)(source)),
            Err(TryLockError::WouldBlock) if Instant::now() >= give_up => {
                return Err(StoreError::Locked { folder: data.to_owned() });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
        }
    }
}

/// The lock for somebody who only reads: nothing is written, so a folder on a file system that is
/// mounted read-only can be looked at. `None`: there is no lock to be held, so nobody holds it.
///
/// # Errors
/// As [`lock`].
pub(super) fn lock_to_look(data: &Path) -> Result<Option<FolderLock>, StoreError> {
    let path = data.join(LOCK_FILE);
    match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("open", &path)(error)),
        Ok(file) => take(file, data).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        assert!(matches!(lock(folder.path()), Err(StoreError::Locked { .. })));
        assert!(matches!(lock_to_look(folder.path()), Err(StoreError::Locked { .. })));
        drop(first);
        lock(folder.path()).unwrap();
    }

    #[test]
    fn a_lock_that_becomes_free_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        let later = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(first);
        });
        lock(folder.path()).unwrap();
        later.join().unwrap();
    }
}
