//! The real disk: files of the operating system, with sled on them.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::barrier::{BLOBS_FOLDER, check_no_blobs, sync_path};
use super::cache;
use super::disk::{Disk, Files};
use super::engine::{Engine, Shape};
use super::error::StoreError;
use super::sled_engine::SledEngine;
use crate::limits::{SLED_REOPEN_TIMEOUT, SLED_SEGMENT_BYTES};

/// How often to try again while sled's threads let go of a file.
const PAUSE: Duration = Duration::from_millis(2);

impl Disk {
    /// The real one.
    pub(super) fn real() -> Self {
        Self::over(RealFiles)
    }
}

/// Files of the operating system.
#[derive(Debug)]
struct RealFiles;

impl Files for RealFiles {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn is_file(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(found) => Ok(found.is_file()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn names_in(&self, folder: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(folder)?.map(name).collect()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|found| found.len())
    }

    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn hash_file(&self, path: &Path, hasher: &mut blake3::Hasher) -> io::Result<()> {
        let file = File::open(path)?;
        hasher.update(&file.metadata()?.len().to_le_bytes());
        hasher.update_reader(file).map(drop)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)
    }

    fn create_mark(&self, path: &Path) -> io::Result<()> {
        fs::write(path, [])
    }

    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir_all(folder)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        sync_path(path)
    }

    fn forget_cached(&self, path: &Path) -> io::Result<()> {
        cache::forget(path)
    }

    fn create_folder_of_copy(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        fs::create_dir(folder.join(BLOBS_FOLDER))
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<bool> {
        cache::copy(from, to)
    }

    fn open_database(&self, folder: &Path, shape: Shape) -> Result<Box<dyn Engine>, StoreError> {
        Ok(Box::new(SledEngine::open(folder, shape)?))
    }

    fn opening_bytes(&self, sled_segment_bytes: usize) -> u64 {
        sled_segment_bytes as u64
    }

    fn may_panic(&self) -> bool {
        true
    }

    fn check_no_blobs(&self, folder: &Path) -> Result<(), StoreError> {
        check_no_blobs(folder)
    }

    fn bytes_torn(&self, original: &Path, copy: &Path) -> io::Result<u64> {
        bytes_torn(original, copy)
    }

    /// sled's threads hold its file for some milliseconds after it was dropped.
    fn wait_until_released(&self, file: &Path) -> io::Result<()> {
        let file = File::open(file)?;
        let give_up = Instant::now() + SLED_REOPEN_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => thread::sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// sled zeroes what it cuts, in the segment of its own where its log ends. A segment of its own that
/// is all zero afterwards was free, and whatever stood there had been moved long before.
fn bytes_torn(original: &Path, copy: &Path) -> io::Result<u64> {
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
