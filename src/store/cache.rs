//! Past the page cache: what a start examines is what is on the disk.
//!
//! A page whose writing failed stays readable and counts as clean (Linux since ever; Rebello et al.,
//! "Can applications recover from fsync failures?", 2020). The process that was told ends. The next
//! one reads the page, finds its checksums good, syncs without an error, for there is nothing to
//! write, and acknowledges what follows behind a hole that the next power cut shows. So before a file
//! is looked at, what is not written yet is written, or the start fails; the pages are dropped; and
//! the copy that is examined is read from the disk itself, where the file system lets us, and
//! compared with what the page cache shows, from which the original is opened afterwards.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Advice, OFlags};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Where a read past the cache may begin, in the file and in memory: no disk asks for more.
const ALIGNMENT: usize = 4096;

/// Makes the page cache forget a file: what is read from now on is what is on the disk.
///
/// # Errors
/// What the cache holds cannot be written.
pub(super) fn forget(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // Only pages that count as clean are dropped.
    rustix::fs::fdatasync(&file)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}

/// Copies what is on the disk of a file that was [forgotten](forget). `false` if the page cache
/// shows something else all the same: somebody keeps its pages in memory.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    match copy_from_disk(from, to) {
        // Not before all is copied: Linux tells a read past the cache of an old error, once, if
        // the cache has pages of the file again.
        Ok(()) => are_equal(&File::open(from)?, &File::open(to)?),
        Err(error) if is_not_for_us(&error) => fs::copy(from, to).map(|_bytes| true),
        Err(error) => Err(error),
    }
}

/// All that is on the disk of a file that was [forgotten](forget).
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    match read_from_disk(path, |found| bytes.write_all(found)) {
        Ok(()) => Ok(bytes),
        Err(error) if is_not_for_us(&error) => fs::read(path),
        Err(error) => Err(error),
    }
}

/// Not every file system can be read past the cache (tmpfs, FUSE). What was dropped from the cache
/// must do.
fn is_not_for_us(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

fn read_from_disk(path: &Path, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let direct = OFlags::DIRECT.bits().cast_signed();
    let mut file = File::options().read(true).custom_flags(direct).open(path)?;
    let mut chunk = Chunk::new();
    let mut left = file.metadata()?.len();
    while left > 0 {
        let found = chunk.read(&mut file)?;
        take(found)?;
        left = left.saturating_sub(found.len() as u64);
    }
    Ok(())
}

fn copy_from_disk(from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = File::create(to)?;
    read_from_disk(from, |found| copy.write_all(found))
}

fn are_equal(mut one: &File, mut other: &File) -> io::Result<bool> {
    let (mut one_bytes, mut other_bytes) = (vec![], vec![]);
    loop {
        one_bytes.clear();
        other_bytes.clear();
        (&mut one).take(CHUNK as u64).read_to_end(&mut one_bytes)?;
        (&mut other).take(CHUNK as u64).read_to_end(&mut other_bytes)?;
        if one_bytes != other_bytes {
            return Ok(false);
        }
        if one_bytes.is_empty() {
            return Ok(true);
        }
    }
}

/// Memory that begins where a read past the cache wants it.
struct Chunk {
    bytes: Vec<u8>,
    begin: usize,
}

impl Chunk {
    fn new() -> Self {
        let bytes = vec![0; CHUNK + ALIGNMENT];
        let begin = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, begin }
    }

    /// The next bytes of a file; fewer than asked for only at its end.
    fn read(&mut self, file: &mut File) -> io::Result<&[u8]> {
        let room = &mut self.bytes[self.begin..self.begin + CHUNK];
        match file.read(room)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => Ok(&room[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_to_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = |length: usize, last: u8| {
            let mut bytes = vec![1; length];
            bytes.extend([last]);
            fs::write(&path, bytes).unwrap();
            let file = File::open(&path).unwrap();
            fs::remove_file(&path).unwrap();
            file
        };
        for length in [0, 10, CHUNK - 1, CHUNK, CHUNK + 1] {
            assert!(are_equal(&file(length, 1), &file(length, 1)).unwrap());
            assert!(!are_equal(&file(length, 1), &file(length, 2)).unwrap());
            assert!(!are_equal(&file(length + 1, 1), &file(length, 1)).unwrap());
        }
    }

    #[test]
    fn a_copy_holds_what_the_file_holds_whatever_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for length in [0, 1, 511, ALIGNMENT, CHUNK - 1, CHUNK, 2 * CHUNK + 4097] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            fs::write(&from, &bytes).unwrap();
            // Not synced yet: that is done first.
            forget(&from).unwrap();
            assert!(copy(&from, &to).unwrap());
            assert!(fs::read(&to).unwrap() == bytes, "{length}");
        }
        assert_eq!(forget(&folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
