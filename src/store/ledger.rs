//! A small durable table of keys and values, for programs that promise little: the registry.
//!
//! It has the habits of the log's store, without its floor: barriers behind every write, our own
//! checksum on every value, and a look at a copy before anything is opened in place.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sled::Batch;

use super::database::{Database, Shape, on_copy};
use super::error::{Fault, StoreError};
use super::layout::Layout;
use super::lock::{FolderLock, lock};
use super::meta::{META_SHAPE, decode, encode};
use crate::limits::{LEDGER_BATCH_BYTES_MAX, LEDGER_VALUE_BYTES_MAX};

const SHAPE: Shape = META_SHAPE;

/// The folder of the database, in the ledger's own.
const FOLDER: &str = "ledger";
/// Where it is made, so that an unfinished one is never taken for an empty one.
const UNFINISHED: &str = "ledger-unfinished";

const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = &[1];
const PAIR_KIND: u8 = 2;

/// An open ledger. Its folder is locked while it lives.
#[derive(Debug)]
pub struct Ledger {
    database: Database,
    /// A barrier failed: nothing is promised any more.
    failed: AtomicBool,
    _lock: FolderLock,
}

impl Ledger {
    /// Opens the ledger in `folder`, or makes one there. The folder's parent exists.
    ///
    /// # Errors
    /// [`StoreError`]; on damage the files are left as they are.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        let lock = lock(folder)?;
        let place = folder.join(FOLDER);
        if !place.exists() {
            make(folder)?;
        }
        Layout::check_mark(&place)?;
        on_copy(&place, &Layout::of(folder).trial(&place), SHAPE, |copy| read(copy).map(drop))?;
        let database = Database::open(&place, SHAPE)?;
        Ok(Self { database, failed: AtomicBool::new(false), _lock: lock })
    }

    /// Puts pairs in, over those with the same keys. All of them are on the disk when this returns,
    /// and none or all after a crash, up to [`LEDGER_BATCH_BYTES_MAX`]; more go in several steps.
    ///
    /// # Errors
    /// [`StoreError`]. An error is final: what is on the disk is then unknown until the next start,
    /// so every later call fails as well.
    ///
    /// # Panics
    /// If a key and its value have more than [`LEDGER_VALUE_BYTES_MAX`] bytes.
    pub fn put_all(&self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed { folder: self.database.folder().to_owned() });
        }
        let written = self.write(pairs);
        if written.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        written
    }

    fn write(&self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        for (key, value) in pairs {
            let size = key.len() + value.len();
            assert!(size <= LEDGER_VALUE_BYTES_MAX, "a pair of {size} bytes");
            if bytes > 0 && bytes + size > LEDGER_BATCH_BYTES_MAX {
                self.database.write(std::mem::take(&mut batch))?;
                bytes = 0;
            }
            batch.insert([&[PAIR_KIND], &key[..]].concat(), encode(value));
            bytes += size;
        }
        self.database.write(batch)
    }

    /// All pairs, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn scan(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        read(&self.database).map(|pairs| pairs.into_iter().collect())
    }
}

fn make(folder: &Path) -> Result<(), StoreError> {
    let unfinished = folder.join(UNFINISHED);
    super::database::remove_folder(&unfinished)?;
    let database = Database::create(&unfinished, SHAPE)?;
    let mut batch = Batch::default();
    batch.insert(FORMAT_KEY, &FORMAT.to_le_bytes());
    database.write(batch)?;
    drop(database);
    fs::rename(&unfinished, folder.join(FOLDER)).map_err(StoreError::io("rename", &unfinished))?;
    super::barrier::sync_folder(folder)
}

fn read(database: &Database) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
    let bad = |what| StoreError::damage(database.folder(), Fault::Value { what });
    let format = database.get(FORMAT_KEY)?.ok_or_else(|| bad("format"))?;
    let format = format.as_ref().try_into().map_err(|_| bad("format"))?;
    let found = u32::from_le_bytes(format);
    if found != FORMAT {
        return Err(StoreError::Format { folder: database.folder().to_owned(), found });
    }
    let mut pairs = BTreeMap::new();
    for item in database.range(vec![PAIR_KIND], vec![PAIR_KIND + 1]) {
        let (key, value) = item?;
        let (_, key) = key.split_first().ok_or_else(|| bad("table"))?;
        pairs.insert(key.to_vec(), decode(&value).ok_or_else(|| bad("table"))?);
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, contents_of};
    use super::*;

    fn pair(key: u32, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (key.to_be_bytes().to_vec(), value.to_vec())
    }

    #[test]
    fn pairs_are_there_after_a_restart_in_the_order_of_their_keys() {
        let folder = Folder::new();
        let path = folder.path().join("registry");
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.scan().unwrap(), []);
        ledger.put_all(&[pair(2, b"two"), pair(1, b"one")]).unwrap();
        ledger.put_all(&[pair(2, b"new")]).unwrap();
        let expected = vec![pair(1, b"one"), pair(2, b"new")];
        assert_eq!(ledger.scan().unwrap(), expected);
        assert!(matches!(Ledger::open(&path), Err(StoreError::Locked { .. })));
        drop(ledger);
        assert_eq!(Ledger::open(&path).unwrap().scan().unwrap(), expected);
    }

    #[test]
    fn many_pairs_are_put_in_steps() {
        let folder = Folder::new();
        let ledger = Ledger::open(folder.path()).unwrap();
        let pairs: Vec<_> = (0..500).map(|key| pair(key, &[7; 4000])).collect();
        ledger.put_all(&pairs).unwrap();
        drop(ledger);
        assert_eq!(Ledger::open(folder.path()).unwrap().scan().unwrap(), pairs);
    }

    #[test]
    fn a_changed_ledger_keeps_a_prefix_or_is_refused_and_left_as_it_is() {
        let folder = Folder::new();
        let ledger = Ledger::open(folder.path()).unwrap();
        let mut prefixes = vec![vec![]];
        for key in 0..20 {
            ledger.put_all(&[pair(key, &[key.to_be_bytes()[3]; 50])]).unwrap();
            prefixes.push(ledger.scan().unwrap());
        }
        drop(ledger);
        let pristine = contents_of(folder.path());
        let file = folder.path().join("ledger/db");
        let bytes = pristine[&file].clone();
        let mut refused = 0;
        for step in 0..40 {
            fs::remove_dir_all(folder.path().join(FOLDER)).unwrap();
            for (path, contents) in &pristine {
                let parent = if contents.is_empty() { path } else { path.parent().unwrap() };
                fs::create_dir_all(parent).unwrap();
                if !contents.is_empty() {
                    fs::write(path, contents).unwrap();
                }
            }
            let mut flipped = bytes.clone();
            let position = bytes.len() * step / 40;
            flipped[position] ^= 1;
            fs::write(&file, flipped).unwrap();
            let before = contents_of(folder.path());
            match Ledger::open(folder.path()) {
                Ok(ledger) => assert!(prefixes.contains(&ledger.scan().unwrap()), "at {position}"),
                Err(error) => {
                    assert!(error.is_damage(), "{error}");
                    assert!(contents_of(folder.path()) == before, "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0);
    }
}
