//! The real disk: files of the operating system, with sled on them.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::barrier::{BLOBS_FOLDER, check_no_blobs, sync_path};
use super::cache;
use super::disk::{Blocks, Disk, Files};
use super::engine::{Engine, Shape};
use super::error::StoreError;
use super::sled_engine::SledEngine;
use crate::limits::SLED_REOPEN_TIMEOUT;

/// How often to try again while sled's threads let go of a file.
const PAUSE: Duration = Duration::from_millis(2);

/// Bytes that are hashed at once.
const HASHED_BYTES: usize = 1 << 20;

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

    fn hash_file(
        &self,
        path: &Path,
        hasher: &mut blake3::Hasher,
        rest: &dyn Fn(Duration),
    ) -> io::Result<()> {
        let mut file = File::open(path)?;
        hasher.update(&file.metadata()?.len().to_le_bytes());
        let mut piece = Vec::with_capacity(HASHED_BYTES);
        loop {
            let begun = Instant::now();
            piece.clear();
            (&mut file).take(HASHED_BYTES as u64).read_to_end(&mut piece)?;
            hasher.update(&piece);
            if piece.len() < HASHED_BYTES {
                return Ok(());
            }
            rest(begun.elapsed());
        }
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

    fn create_blocks(&self, path: &Path) -> io::Result<Box<dyn Blocks>> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(RealBlocks(file)))
    }

    fn open_blocks(&self, path: &Path) -> io::Result<Box<dyn Blocks>> {
        Ok(Box::new(RealBlocks(File::options().read(true).write(true).open(path)?)))
    }

    fn read_past_cache(&self, path: &Path) -> io::Result<Vec<u8>> {
        cache::read(path)
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

/// A file of the operating system that is written in blocks.
#[derive(Debug)]
struct RealBlocks(File);

impl Blocks for RealBlocks {
    fn write_at(&self, at: u64, blocks: &[u8]) -> io::Result<()> {
        self.0.write_all_at(blocks, at)
    }

    fn read_at(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }
}
