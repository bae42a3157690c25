//! `meta`: the small database that says whose the store is, what it has promised, and which
//! segments there are.
//!
//! ```text
//!  key                       value
//!  1                         format, u32 little-endian
//!  2                         identity: cluster and node
//!  3                         the record: see `Record`
//!  4 | first index u64 BE    one sealed segment: see `SealedRow`
//! ```
//!
//! The numbers are never used for anything else. All values but the first are postcard, followed by
//! their CRC32C.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::database::{Batch, Database, FilesHash, Shape};
use super::disk::Disk;
use super::error::{Fault, StoreError};
use crate::entry::{Chain, Tip};
use crate::limits::{SLED_SEGMENT_BYTES_SMALL, STORE_VALUE_BYTES_MAX};
use crate::raft::HardState;
use crate::types::{Index, LogId, LogNumber, Offset};

/// The format of all files of a store.
pub(super) const FORMAT: u32 = 1;

const FORMAT_KEY: &[u8] = &[1];
const IDENTITY_KEY: &[u8] = &[2];
const RECORD_KEY: &[u8] = &[3];
const SEALED_KIND: u8 = 4;

/// How `meta` uses sled.
pub(super) const META_SHAPE: Shape =
    Shape { sled_segment_bytes: SLED_SEGMENT_BYTES_SMALL, cache_bytes: 1 << 20 };

/// An entry that is known to have been synced, and so everything before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Floor {
    /// The entry.
    pub(super) id: LogId,
    /// Its chain.
    pub(super) chain: Chain,
}

impl From<&Tip> for Floor {
    fn from(tip: &Tip) -> Self {
        Self { id: tip.id, chain: tip.chain }
    }
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Counts the changes of this record. The active segment remembers what it has seen, so that an
    /// older copy of `meta` is noticed.
    pub(super) generation: u64,
    /// Term and vote. The active segment has them too, and the higher counts.
    pub(super) hard_state: HardState,
    /// The commit index as known then: a hint.
    pub(super) commit_index: Index,
    /// What has been synced for certain.
    pub(super) floor: Floor,
    /// The first index of the segment that is written to.
    pub(super) active: Index,
    /// The first index of the full segment before it that is not sealed yet.
    pub(super) closing: Option<Index>,
    /// The first index of a segment that a truncation gave up and whose folder may still be there.
    pub(super) discarded: Option<Index>,
    /// Set at a clean stop, cleared at the start.
    pub(super) clean: Option<CleanMark>,
}

/// What a clean stop left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CleanMark {
    /// The files of the active segment.
    pub(super) active: FilesHash,
    /// The files of the closing one.
    pub(super) closing: Option<FilesHash>,
}

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedRow {
    /// Its first entry.
    pub(super) first: LogId,
    /// Its last entry.
    pub(super) last: Floor,
    /// The next offset of each log before its first entry.
    pub(super) next_offsets: Vec<(LogNumber, Offset)>,
    /// Its files.
    pub(super) files: FilesHash,
}

/// All that `meta` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) identity: Identity,
    pub(super) record: Record,
    /// The sealed segments by their first index.
    pub(super) sealed: BTreeMap<Index, SealedRow>,
}

impl Contents {
    /// The first index of every segment, oldest first.
    pub(super) fn segments(&self) -> Vec<Index> {
        let Record { closing, active, .. } = self.record;
        self.sealed.keys().copied().chain(closing).chain([active]).collect()
    }

    /// Reads and checks everything.
    pub(super) fn read(database: &Database) -> Result<Self, StoreError> {
        check_format(database)?;
        let mut sealed = BTreeMap::new();
        for item in database.of_kind(SEALED_KIND) {
            let (key, value) = item?;
            let row: SealedRow = decode(&value)
                .filter(|row: &SealedRow| *key == *sealed_key(row.first.index))
                .ok_or_else(|| missing(database, "table of sealed segments"))?;
            sealed.insert(row.first.index, row);
        }
        Ok(Self {
            identity: read_value(database, IDENTITY_KEY, "identity")?,
            record: read_value(database, RECORD_KEY, "record")?,
            sealed,
        })
    }
}

/// The open `meta`.
#[derive(Debug)]
pub(super) struct Meta {
    /// `None` once it is closed.
    database: Option<Database>,
    contents: Contents,
    /// The generation of the record on the disk, for those who must not wait for `meta`.
    generation: Arc<AtomicU64>,
}

impl Meta {
    pub(super) fn create(
        disk: &Disk,
        folder: &Path,
        identity: Identity,
        record: Record,
    ) -> Result<Self, StoreError> {
        let database = Database::create(disk, folder, META_SHAPE)?;
        let mut batch = Batch::default();
        batch.insert(FORMAT_KEY, &FORMAT.to_le_bytes());
        batch.insert(IDENTITY_KEY, encode(&identity));
        batch.insert(RECORD_KEY, encode(&record));
        database.write(batch)?;
        Ok(Self::of(database, Contents { identity, record, sealed: BTreeMap::new() }))
    }

    /// Opens `meta` in place, after a copy of it was found good.
    pub(super) fn open(disk: &Disk, folder: &Path) -> Result<Self, StoreError> {
        let database = Database::open(disk, folder, META_SHAPE)?;
        let contents = Contents::read(&database)?;
        Ok(Self::of(database, contents))
    }

    fn of(database: Database, contents: Contents) -> Self {
        let generation = Arc::new(AtomicU64::new(contents.record.generation));
        Self { database: Some(database), contents, generation }
    }

    pub(super) fn generation_cell(&self) -> Arc<AtomicU64> {
        self.generation.clone()
    }

    /// Closes the files. Nothing can be changed any more.
    pub(super) fn close(&mut self) {
        self.database = None;
    }

    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(super) fn record(&self) -> &Record {
        &self.contents.record
    }

    /// Changes the record, behind a barrier.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), StoreError> {
        self.change(None, change)
    }

    /// Adds a sealed segment and changes the record, together, behind a barrier.
    pub(super) fn seal(
        &mut self,
        row: SealedRow,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), StoreError> {
        self.change(Some(row), change)
    }

    fn change(
        &mut self,
        row: Option<SealedRow>,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), StoreError> {
        let mut record = self.contents.record.clone();
        change(&mut record);
        assert_eq!(record.generation, self.contents.record.generation, "counted here alone");
        record.generation += 1;

        let mut batch = Batch::default();
        batch.insert(RECORD_KEY, encode(&record));
        if let Some(row) = &row {
            let value = encode(row);
            assert!(value.len() <= STORE_VALUE_BYTES_MAX, "a row of {} bytes", value.len());
            batch.insert(sealed_key(row.first.index), value);
        }
        self.database.as_ref().expect("changes end before the close").write(batch)?;
        self.generation.store(record.generation, Ordering::Release);
        self.contents.record = record;
        if let Some(row) = row {
            self.contents.sealed.insert(row.first.index, row);
        }
        Ok(())
    }
}

fn check_format(database: &Database) -> Result<(), StoreError> {
    let value = database.get(FORMAT_KEY)?.ok_or_else(|| missing(database, "format"))?;
    let bytes = value.as_ref().try_into().map_err(|_| missing(database, "format"))?;
    match u32::from_le_bytes(bytes) {
        FORMAT => Ok(()),
        found => Err(StoreError::Format { folder: database.folder().to_owned(), found }),
    }
}

fn read_value<T: DeserializeOwned>(
    database: &Database,
    key: &[u8],
    what: &'static str,
) -> Result<T, StoreError> {
    database.get(key)?.and_then(|value| decode(&value)).ok_or_else(|| missing(database, what))
}

fn missing(database: &Database, what: &'static str) -> StoreError {
    StoreError::damage(database.folder(), Fault::Value { what })
}

fn sealed_key(first: Index) -> Vec<u8> {
    let mut key = vec![SEALED_KIND];
    key.extend_from_slice(&first.get().to_be_bytes());
    key
}

/// A value with its checksum.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = postcard::to_stdvec(value).expect("the store's values have no part refused");
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// What [`encode`] made, or `None`.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(value) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (value, rest) = postcard::take_from_bytes(value).ok()?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{IDENTITY, hard_state, hex};
    use super::*;
    use crate::types::Term;

    #[test]
    fn golden_bytes() {
        let id = LogId::new(Index::new(300), Term::new(2));
        let floor = Floor { id, chain: Chain::new([0xcc; 32]) };
        let files = FilesHash::of_test(0xdd);
        let record = Record {
            generation: 5,
            hard_state: hard_state(3, Some(2)),
            commit_index: Index::new(299),
            floor,
            active: Index::new(200),
            closing: Some(Index::new(100)),
            discarded: None,
            clean: Some(CleanMark { active: files, closing: None }),
        };
        let next_offsets = vec![(LogNumber::MAIN, Offset::new(7))];
        let row = SealedRow { first: id, last: floor, next_offsets, files };
        let hash = |letters: &str| letters.repeat(32);
        assert_eq!(hex(&encode(&IDENTITY)), "07000000000000000000000000000000018643d4b2");
        assert_eq!(
            hex(&encode(&record)),
            format!("05030102ab02ac0202{}c80101640001{}009b016f01", hash("cc"), hash("dd"))
        );
        assert_eq!(
            hex(&encode(&row)),
            format!("ac0202ac0202{}010007{}387fb608", hash("cc"), hash("dd"))
        );
        assert_eq!(decode::<Record>(&encode(&record)), Some(record));
        assert_eq!(decode::<SealedRow>(&encode(&row)), Some(row));
        assert_eq!(hex(&sealed_key(Index::new(258))), "040000000000000102");
    }
}
