//! A small map of keys and values on disk, for programs that promise little: the registry.
//!
//! It has the habits of the log's store: barriers behind every write, our own checksum on every
//! value, a look at a copy before anything is opened in place, and a floor. One flipped bit can make
//! sled forget everything behind it without a word, so each write is counted in the database, and
//! the count stands in a file beside it as well:
//!
//! ```text
//!  lock · map/ (sled) · floor (the same as key 3)
//!
//!  key                  value
//!  1                    format, u32 little-endian
//!  2 | the key          the value, with its CRC32C
//!  3                    how many writes there were, with its CRC32C
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::database::{Database, on_copy};
use super::engine::{Batch, Shape};
use super::error::{Fault, StoreError};
use super::layout::Layout;
use super::lock::{FolderLock, lock};
use super::memory::MemoryDisk;
use super::meta::{META_SHAPE, decode, encode};
use crate::limits::{DISK_MAP_BATCH_BYTES_MAX, DISK_MAP_VALUE_BYTES_MAX};
use crate::mutants::{self, Mutant};

const SHAPE: Shape = META_SHAPE;

/// The folder of the database, in the map's own.
const FOLDER: &str = "map";
/// Where it is made, so that an unfinished one is never taken for an empty one.
const UNFINISHED: &str = "map-unfinished";

const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = &[1];
const PAIR_KIND: u8 = 2;
const COUNT_KEY: &[u8] = &[3];

/// The file with the number of writes that are known to be on the disk.
const FLOOR_FILE: &str = "floor";

/// An open map. Its folder is locked while it lives.
#[derive(Debug)]
pub struct DiskMap {
    database: Database,
    layout: Layout,
    /// How many writes there were.
    count: Mutex<u64>,
    /// A barrier failed: nothing is promised any more.
    failed: AtomicBool,
    /// That of a real folder.
    _lock: Option<FolderLock>,
}

impl DiskMap {
    /// Opens the map in `folder`, or makes one there. The folder's parent exists.
    ///
    /// # Errors
    /// [`StoreError`]; on damage the files are left as they are.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        let lock = lock(folder)?;
        Self::open_at(Layout::of(folder), Some(lock))
    }

    /// As [`Self::open`], on a simulated disk. Nothing else may have the map open.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(disk: &MemoryDisk) -> Result<Self, StoreError> {
        Self::open_at(Layout::in_memory(disk.mount()), None)
    }

    fn open_at(layout: Layout, lock: Option<FolderLock>) -> Result<Self, StoreError> {
        let (disk, place) = (&layout.disk, layout.data.join(FOLDER));
        if !disk.exists(&place)? {
            check_new(&layout)?;
            make(&layout)?;
        }
        layout.check_mark(&place)?;
        let floor = read_floor(&layout)?;
        let count = on_copy(disk, &place, &layout.trial(&place), SHAPE, |copy| {
            read(copy)?;
            let count = read_count(copy)?;
            if count < floor { Err(bad(copy, "newest write")) } else { Ok(count) }
        })?;
        let database = Database::open(disk, &place, SHAPE)?;
        let failed = AtomicBool::new(false);
        Ok(Self { database, layout, count: Mutex::new(count), failed, _lock: lock })
    }

    /// Puts pairs in, over those with the same keys. All of them are on the disk when this returns,
    /// and none or all after a crash, up to [`DISK_MAP_BATCH_BYTES_MAX`]; more go in several steps.
    ///
    /// # Errors
    /// [`StoreError`]. An error is final: what is on the disk is then unknown until the next start,
    /// so every later call fails as well.
    ///
    /// # Panics
    /// If a key and its value have more than [`DISK_MAP_VALUE_BYTES_MAX`] bytes.
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
        let mut count = self.count.lock().expect("a panic ends the process");
        let mut batch = Batch::default();
        let mut bytes = 0;
        for (key, value) in pairs {
            let size = key.len() + value.len();
            assert!(size <= DISK_MAP_VALUE_BYTES_MAX, "a pair of {size} bytes");
            if bytes > 0 && bytes + size > DISK_MAP_BATCH_BYTES_MAX {
                self.commit(std::mem::take(&mut batch), &mut count)?;
                bytes = 0;
            }
            batch.insert([&[PAIR_KIND], &key[..]].concat(), encode(value));
            bytes += size;
        }
        self.commit(batch, &mut count)?;
        write_floor(&self.layout, *count)
    }

    fn commit(&self, mut batch: Batch, count: &mut u64) -> Result<(), StoreError> {
        *count += 1;
        batch.insert(COUNT_KEY, encode(&*count));
        if mutants::is_on(Mutant::RegistryBeforeDisk) {
            return self.database.apply(batch);
        }
        self.database.write(batch)
    }

    /// All pairs, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError`].
    #[expect(clippy::type_complexity, reason = "a list of pairs, as `put_all` takes it")]
    pub fn scan(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        read(&self.database).map(|pairs| pairs.into_iter().collect())
    }
}

/// Nothing was ever written here: of a map that had been, the file beside it tells.
fn check_new(layout: &Layout) -> Result<(), StoreError> {
    let has_floor = layout.disk.exists(&layout.data.join(FLOOR_FILE))?;
    if has_floor && read_floor(layout)? > 0 {
        let fault = Fault::FileGone { name: FOLDER };
        return Err(StoreError::damage(&layout.data, fault));
    }
    Ok(())
}

fn make(layout: &Layout) -> Result<(), StoreError> {
    let (disk, unfinished) = (&layout.disk, layout.data.join(UNFINISHED));
    disk.remove_folder(&unfinished)?;
    let database = Database::create(disk, &unfinished, SHAPE)?;
    let mut batch = Batch::default();
    batch.insert(FORMAT_KEY, &FORMAT.to_le_bytes());
    batch.insert(COUNT_KEY, encode(&0_u64));
    database.write(batch)?;
    drop(database);
    write_floor(layout, 0)?;
    disk.rename(&unfinished, &layout.data.join(FOLDER))?;
    disk.sync_folder(&layout.data)
}

fn bad(database: &Database, what: &'static str) -> StoreError {
    StoreError::damage(database.folder(), Fault::Value { what })
}

fn read_count(database: &Database) -> Result<u64, StoreError> {
    let count = database.get(COUNT_KEY)?.and_then(|value| decode(&value));
    count.ok_or_else(|| bad(database, "count of writes"))
}

fn read_floor(layout: &Layout) -> Result<u64, StoreError> {
    let (disk, path) = (&layout.disk, layout.data.join(FLOOR_FILE));
    let damage = || StoreError::damage(&path, Fault::Value { what: "count of writes" });
    if !disk.exists(&path)? {
        return Err(damage());
    }
    disk.forget_cached(&path)?;
    decode(&disk.read_file(&path)?).ok_or_else(damage)
}

/// The old file or the new one is there, whenever a crash comes.
fn write_floor(layout: &Layout, count: u64) -> Result<(), StoreError> {
    let (disk, path) = (&layout.disk, layout.data.join(FLOOR_FILE));
    let unfinished = layout.data.join("floor-unfinished");
    disk.write_file(&unfinished, &encode(&count))?;
    disk.sync_file(&unfinished)?;
    disk.rename(&unfinished, &path)?;
    disk.sync_folder(&layout.data)
}

fn read(database: &Database) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
    let format = database.get(FORMAT_KEY)?.ok_or_else(|| bad(database, "format"))?;
    let format = format.as_ref().try_into().map_err(|_| bad(database, "format"))?;
    let found = u32::from_le_bytes(format);
    if found != FORMAT {
        let folder = database.folder().to_owned();
        return Err(StoreError::Format { folder, found, known: FORMAT });
    }
    let mut pairs = BTreeMap::new();
    for item in database.of_kind(PAIR_KIND) {
        let (key, value) = item?;
        let (_, key) = key.split_first().ok_or_else(|| bad(database, "table"))?;
        pairs.insert(key.to_vec(), decode(&value).ok_or_else(|| bad(database, "table"))?);
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, copy_folder};
    use super::*;

    fn pair(key: u32, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (key.to_be_bytes().to_vec(), value.to_vec())
    }

    #[test]
    fn pairs_are_there_after_a_restart_in_the_order_of_their_keys() {
        let folder = Folder::new();
        let path = folder.path().join("registry");
        let map = DiskMap::open(&path).unwrap();
        assert_eq!(map.scan().unwrap(), []);
        map.put_all(&[pair(2, b"two"), pair(1, b"one")]).unwrap();
        map.put_all(&[pair(2, b"new")]).unwrap();
        let expected = vec![pair(1, b"one"), pair(2, b"new")];
        assert_eq!(map.scan().unwrap(), expected);
        assert!(matches!(DiskMap::open(&path), Err(StoreError::Locked { .. })));
        drop(map);
        assert_eq!(DiskMap::open(&path).unwrap().scan().unwrap(), expected);
    }

    #[test]
    fn many_pairs_are_put_in_steps() {
        let folder = Folder::new();
        let map = DiskMap::open(folder.path()).unwrap();
        let pairs: Vec<_> = (0..500).map(|key| pair(key, &[7; 4000])).collect();
        map.put_all(&pairs).unwrap();
        drop(map);
        assert_eq!(DiskMap::open(folder.path()).unwrap().scan().unwrap(), pairs);
    }

    #[test]
    fn a_changed_map_is_whole_or_is_refused_and_left_as_it_is() {
        let folder = Folder::new();
        let map = DiskMap::open(folder.path()).unwrap();
        let pairs: Vec<_> = (0..20).map(|key| pair(key, &[9; 50])).collect();
        for one in pairs.chunks(1) {
            map.put_all(one).unwrap();
        }
        drop(map);
        let file = folder.path().join("map/db");
        let bytes = fs::read(&file).unwrap();
        let length = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let mut refused = 0;
        for step in 0..40 {
            let mut flipped = bytes.clone();
            let position = length * step / 40;
            flipped[position] ^= 1;
            let changed = Folder::new();
            copy_folder(folder.path(), changed.path());
            fs::write(changed.path().join("map/db"), flipped).unwrap();
            let before = changed.contents();
            match DiskMap::open(changed.path()) {
                Ok(map) => assert_eq!(map.scan().unwrap(), pairs, "at {position}"),
                Err(error) => {
                    assert!(error.is_damage(), "{error}");
                    assert!(changed.contents() == before, "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 20, "{refused} were refused");
    }

    #[test]
    fn a_map_that_is_gone_is_damage_and_one_that_never_was_is_made() {
        let folder = Folder::new();
        drop(DiskMap::open(folder.path()).unwrap());
        // Cut off while it was made.
        fs::remove_dir_all(folder.path().join(FOLDER)).unwrap();
        let map = DiskMap::open(folder.path()).unwrap();
        map.put_all(&[pair(1, b"one")]).unwrap();
        drop(map);
        fs::rename(folder.path().join(FOLDER), folder.path().join("elsewhere")).unwrap();
        let error = DiskMap::open(folder.path()).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains("map is gone"), "{error}");
        assert!(!folder.path().join(FOLDER).exists(), "it is left as it is");
    }

    #[test]
    fn a_map_without_its_floor_is_damage() {
        let folder = Folder::new();
        drop(DiskMap::open(folder.path()).unwrap());
        fs::remove_file(folder.path().join(FLOOR_FILE)).unwrap();
        assert!(DiskMap::open(folder.path()).unwrap_err().is_damage());
    }
}
