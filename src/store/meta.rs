//! `meta`: the small database that says whose the store is, what it has promised, and which
//! segments there are.
//!
//! ```text
//!  key                       value
//!  1                         format, u32 little-endian
//!  2                         identity: cluster and node
//!  3                         the record: see `Record`
//!  4 | first index u64 BE    one sealed segment: see `SealedRow`
//!  5 | first index u64 BE | part u32 BE    where each log ended that got a record in it, in parts
//!  6                         the starts of this store: see `Lineage`
//!  7 | node u16 BE           what is remembered of a peer: see `Remembered`
//!  8                         the entry that the store was begun behind, if that is not entry 0
//! ```
//!
//! The numbers are never used for anything else. All values but the first are postcard, followed by
//! their CRC32C. None is large: sled keeps up to sixteen on a page, and a page that outgrows a quarter
//! of its segment goes to a file that it never syncs. So what grows with the number of logs is in
//! parts, and only of those logs that a segment has records of.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::database::{Database, FilesHash};
use super::disk::Disk;
use super::engine::{Batch, Shape};
use super::error::{Fault, StoreError};
use super::journal::GroupMark;
use super::offset_index::{Ends, OffsetIndex};
use super::segment::ContentHash;
use crate::entry::{Chain, Tip};
use crate::limits::{DISK_MAP_BATCH_BYTES_MAX, SLED_SEGMENT_BYTES_SMALL};
use crate::raft::{HardState, Lineage, Remembered};
use crate::types::{Index, LogId, NodeId};

/// The format of all files of a store.
pub(super) const FORMAT: u32 = 8;

const FORMAT_KEY: &[u8] = &[1];
const IDENTITY_KEY: &[u8] = &[2];
const RECORD_KEY: &[u8] = &[3];
const SEALED_KIND: u8 = 4;
const ENDS_KIND: u8 = 5;
const LINEAGE_KEY: &[u8] = &[6];
const REMEMBERED_KIND: u8 = 7;
const BASE_KEY: &[u8] = &[8];

/// Logs in one part: 15 bytes each at most.
const ENDS_PER_PART: usize = 256;

/// How `meta` uses sled.
pub(super) const META_SHAPE: Shape =
    Shape { sled_segment_bytes: SLED_SEGMENT_BYTES_SMALL, cache_bytes: 1 << 20 };

/// An entry with its chain, which stand for everything before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastEntry {
    /// The entry.
    pub(super) id: LogId,
    /// Its chain.
    pub(super) chain: Chain,
}

impl From<&Tip> for LastEntry {
    fn from(tip: &Tip) -> Self {
        Self { id: tip.id, chain: tip.chain }
    }
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Counts the changes of this record. Each group of the journal says which it has seen, so that
    /// an older copy of `meta` is noticed.
    pub(super) generation: u64,
    /// Term and vote as they were then. The journal is ahead of this, and the higher counts.
    pub(super) hard_state: HardState,
    /// The commit index as known then: a hint.
    pub(super) commit_index: Index,
    /// A group of the journal that is on the disk: so an older copy of that is noticed.
    pub(super) synced: GroupMark,
    /// The number of the oldest file of the journal that is needed.
    pub(super) journal_from: u64,
    /// The first entry that is kept: with it the oldest segment begins.
    pub(super) first: Index,
    /// Set at a clean stop, cleared at the start: `synced` was the last group.
    pub(super) is_clean: bool,
}

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedRow {
    /// The index of its first entry.
    pub(super) first: Index,
    /// Its last entry.
    pub(super) last: LastEntry,
    /// What it holds: the same on every node.
    pub(super) content: ContentHash,
    /// Its files.
    pub(super) files: FilesHash,
    /// How many parts the list of its logs has.
    pub(super) ends_parts: u32,
}

/// All that `meta` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) identity: Identity,
    pub(super) record: Record,
    /// What the store was begun behind.
    pub(super) base: LastEntry,
    /// The sealed segments by their first index.
    pub(super) sealed: BTreeMap<Index, SealedRow>,
    /// Which of them has what of each log.
    pub(super) offsets: OffsetIndex,
    /// The starts so far.
    pub(super) lineage: Lineage,
    /// What is remembered of the other nodes.
    pub(super) remembered: BTreeMap<NodeId, Remembered>,
}

impl Contents {
    /// The last entry that is in a sealed segment, with its chain; without any, what the store was begun
    /// behind.
    pub(super) fn last_sealed(&self) -> LastEntry {
        self.sealed.values().last().map_or(self.base, |row| row.last)
    }

    /// Reads and checks everything.
    pub(super) fn read(database: &Database) -> Result<Self, StoreError> {
        check_format(database)?;
        let mut sealed = BTreeMap::new();
        for item in database.of_kind(SEALED_KIND) {
            let (key, value) = item?;
            let row: SealedRow = decode(&value)
                .filter(|row: &SealedRow| *key == *sealed_key(row.first))
                .ok_or_else(|| missing(database, "table of sealed segments"))?;
            sealed.insert(row.first, row);
        }
        let mut offsets = OffsetIndex::default();
        for row in sealed.values() {
            offsets.add(row.first, &read_ends(database, row)?);
        }
        Ok(Self {
            identity: read_value(database, IDENTITY_KEY, "identity")?,
            record: read_value(database, RECORD_KEY, "record")?,
            base: read_base(database)?,
            sealed,
            offsets,
            lineage: read_value(database, LINEAGE_KEY, "list of starts")?,
            remembered: read_remembered(database)?,
        })
    }
}

fn read_base(database: &Database) -> Result<LastEntry, StoreError> {
    match database.get(BASE_KEY)? {
        Some(value) => decode(&value).ok_or_else(|| missing(database, "beginning")),
        None => Ok(LastEntry::default()),
    }
}

fn read_remembered(database: &Database) -> Result<BTreeMap<NodeId, Remembered>, StoreError> {
    let mut remembered = BTreeMap::new();
    for item in database.of_kind(REMEMBERED_KIND) {
        let (key, value) = item?;
        let node = key.get(1..).and_then(|number| number.try_into().ok());
        let node = node.and_then(|number| NodeId::new(u16::from_be_bytes(number)));
        let row = node.zip(decode(&value));
        let (node, row) = row.ok_or_else(|| missing(database, "memory of its peers"))?;
        remembered.insert(node, row);
    }
    Ok(remembered)
}

/// The open `meta`.
#[derive(Debug)]
pub(super) struct Meta {
    /// `None` once it is closed.
    database: Option<Database>,
    record: Record,
    /// The generation of the record on the disk, for those who must not wait for `meta`.
    generation: Arc<AtomicU64>,
}

impl Meta {
    pub(super) fn create(
        disk: &Disk,
        folder: &Path,
        identity: Identity,
        record: Record,
        lineage: &Lineage,
    ) -> Result<Self, StoreError> {
        let database = Database::create(disk, folder, META_SHAPE)?;
        let mut batch = Batch::default();
        batch.insert(FORMAT_KEY, &FORMAT.to_le_bytes());
        batch.insert(IDENTITY_KEY, encode(&identity));
        batch.insert(RECORD_KEY, encode(&record));
        batch.insert(LINEAGE_KEY, encode(lineage));
        database.write(batch)?;
        Ok(Self::of(database, record))
    }

    /// Opens `meta` in place, after a copy of it was found good. Returns what it says as well.
    pub(super) fn open(disk: &Disk, folder: &Path) -> Result<(Self, Contents), StoreError> {
        let database = Database::open(disk, folder, META_SHAPE)?;
        let contents = Contents::read(&database)?;
        Ok((Self::of(database, contents.record.clone()), contents))
    }

    fn of(database: Database, record: Record) -> Self {
        let generation = Arc::new(AtomicU64::new(record.generation));
        Self { database: Some(database), record, generation }
    }

    pub(super) fn generation_cell(&self) -> Arc<AtomicU64> {
        self.generation.clone()
    }

    /// Closes the files. Nothing can be changed any more.
    pub(super) fn close(&mut self) {
        self.database = None;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.database.is_none()
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Changes the record, behind a barrier.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), StoreError> {
        self.change(Batch::default(), change)
    }

    /// Adds a sealed segment and changes the record, together, behind a barrier. What is written of
    /// its logs before that counts for nothing without its row.
    pub(super) fn seal(
        &mut self,
        mut row: SealedRow,
        ends: &Ends,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), StoreError> {
        let (first, mut bytes) = (row.first, 0);
        let mut batch = Batch::default();
        row.ends_parts = 0;
        for part in ends.chunks(ENDS_PER_PART) {
            let value = encode(&part);
            bytes += value.len();
            if bytes > DISK_MAP_BATCH_BYTES_MAX {
                self.database().write(std::mem::take(&mut batch))?;
                bytes = value.len();
            }
            batch.insert(ends_key(first, row.ends_parts), value);
            row.ends_parts += 1;
        }
        batch.insert(sealed_key(first), encode(&row));
        self.change(batch, change)
    }

    /// Takes the oldest sealed segment off the list and changes the record, together, behind a barrier.
    pub(super) fn release(
        &mut self,
        row: &SealedRow,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.remove(sealed_key(row.first));
        let (lowest, highest) = (ends_key(row.first, 0), ends_key(row.first, u32::MAX));
        for item in self.database().range(lowest, highest) {
            batch.remove(item?.0);
        }
        self.change(batch, |record| {
            change(record);
            record.first = row.last.id.index.next();
        })
    }

    /// A sealed segment, if it is on the list.
    pub(super) fn sealed_row(&self, first: Index) -> Result<Option<SealedRow>, StoreError> {
        let Some(value) = self.database().get(&sealed_key(first))? else { return Ok(None) };
        let row = decode(&value);
        row.map(Some).ok_or_else(|| missing(self.database(), "table of sealed segments"))
    }

    /// Notes the files of a sealed segment that was made anew and changes the record, together, behind a
    /// barrier.
    pub(super) fn replace(
        &mut self,
        row: &SealedRow,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.insert(sealed_key(row.first), encode(row));
        self.change(batch, change)
    }

    /// Notes what a new store is begun behind, behind a barrier.
    pub(super) fn begin_behind(&mut self, base: LastEntry) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.insert(BASE_KEY, encode(&base));
        self.change(batch, |_| ())
    }

    /// Notes another start and changes the record, together, behind a barrier.
    pub(super) fn start(
        &mut self,
        lineage: &Lineage,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.insert(LINEAGE_KEY, encode(lineage));
        self.change(batch, change)
    }

    /// Notes what is remembered of peers and changes the record, together, behind a barrier.
    pub(super) fn remember(
        &mut self,
        remembered: &BTreeMap<NodeId, Remembered>,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (node, row) in remembered {
            batch.insert(remembered_key(*node), encode(row));
        }
        self.change(batch, change)
    }

    #[cfg(test)]
    pub(super) fn sealed_rows(&self) -> Vec<SealedRow> {
        Contents::read(self.database()).unwrap().sealed.into_values().collect()
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("changes end before the close")
    }

    fn change(
        &mut self,
        mut batch: Batch,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), StoreError> {
        let mut record = self.record.clone();
        change(&mut record);
        assert_eq!(record.generation, self.record.generation, "counted here alone");
        record.generation += 1;
        batch.insert(RECORD_KEY, encode(&record));
        self.database().write(batch)?;
        self.generation.store(record.generation, Ordering::Release);
        self.record = record;
        Ok(())
    }
}

fn check_format(database: &Database) -> Result<(), StoreError> {
    let value = database.get(FORMAT_KEY)?.ok_or_else(|| missing(database, "format"))?;
    let bytes = value.as_ref().try_into().map_err(|_| missing(database, "format"))?;
    match u32::from_le_bytes(bytes) {
        FORMAT => Ok(()),
        found => {
            let folder = database.folder().to_owned();
            Err(StoreError::Format { folder, found, known: FORMAT })
        }
    }
}

fn read_value<T: DeserializeOwned>(
    database: &Database,
    key: &[u8],
    what: &'static str,
) -> Result<T, StoreError> {
    database.get(key)?.and_then(|value| decode(&value)).ok_or_else(|| missing(database, what))
}

fn read_ends(database: &Database, row: &SealedRow) -> Result<Ends, StoreError> {
    let mut ends = vec![];
    for part in 0..row.ends_parts {
        let key = ends_key(row.first, part);
        let part: Ends = read_value(database, &key, "table of sealed segments")?;
        ends.extend(part);
    }
    Ok(ends)
}

fn missing(database: &Database, what: &'static str) -> StoreError {
    StoreError::damage(database.folder(), Fault::Value { what })
}

fn ends_key(first: Index, part: u32) -> Vec<u8> {
    [&[ENDS_KIND][..], &first.get().to_be_bytes(), &part.to_be_bytes()].concat()
}

fn sealed_key(first: Index) -> Vec<u8> {
    let mut key = vec![SEALED_KIND];
    key.extend_from_slice(&first.get().to_be_bytes());
    key
}

fn remembered_key(node: NodeId) -> Vec<u8> {
    let mut key = vec![REMEMBERED_KIND];
    key.extend_from_slice(&node.get().to_be_bytes());
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
    use crate::types::{Incarnation, LogNumber, Offset, Term};

    #[test]
    fn golden_bytes() {
        let id = LogId::new(Index::new(300), Term::new(2));
        let last = LastEntry { id, chain: Chain::new([0xcc; 32]) };
        let (content, files) = (ContentHash::of_test(0xee), FilesHash::of_test(0xdd));
        let record = Record {
            generation: 5,
            hard_state: hard_state(3, Some(2)),
            commit_index: Index::new(299),
            synced: GroupMark { number: 200, crc: 0xabcd },
            journal_from: 7,
            first: Index::new(201),
            is_clean: true,
        };
        let row = SealedRow { first: id.index, last, content, files, ends_parts: 1 };
        let hash = |letters: &str| letters.repeat(32);
        assert_eq!(hex(&encode(&IDENTITY)), "07000000000000000000000000000000018643d4b2");
        assert_eq!(hex(&encode(&record)), "05030102ab02c801cdd70207c90101ed9b1159");
        assert_eq!(
            hex(&encode(&row)),
            format!("ac02ac0202{}{}{}01c9c52c8c", hash("cc"), hash("ee"), hash("dd"))
        );
        let ends: Ends = vec![(LogNumber::MAIN, Offset::new(7))];
        assert_eq!(hex(&encode(&ends)), "010007ef55ef11");
        assert_eq!(decode::<Record>(&encode(&record)), Some(record));
        assert_eq!(decode::<SealedRow>(&encode(&row)), Some(row));
        assert_eq!(hex(&sealed_key(Index::new(258))), "040000000000000102");
        assert_eq!(hex(&ends_key(Index::new(258), 3)), "05000000000000010200000003");
        let lineage = lineage().started(Incarnation::new(7));
        assert_eq!(hex(&encode(&lineage)), "ac020001010703432e0e");
        let remembered = Remembered {
            store: Incarnation::new(300),
            starts: 4,
            start: Incarnation::new(7),
            term: Term::new(9),
            voted_in: Term::new(8),
            acknowledged_in: Term::new(5),
            acknowledged: Index::new(299),
            former: [Some(Incarnation::new(3)), None, None, None],
        };
        assert_eq!(hex(&encode(&remembered)), "ac020407090805ab0201030000001624c81a");
        assert_eq!(decode::<Remembered>(&encode(&remembered)), Some(remembered));
        assert_eq!(hex(&remembered_key(NodeId::new(258).unwrap())), "070102");
    }

    fn lineage() -> Lineage {
        Lineage::new(Incarnation::new(300))
    }

    #[test]
    fn a_sealed_segment_may_have_records_of_any_number_of_logs() {
        const LOGS: u32 = 50_000;
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("meta");
        let record = Record {
            generation: 0,
            hard_state: hard_state(1, None),
            commit_index: Index::ZERO,
            synced: GroupMark::default(),
            journal_from: 1,
            first: Index::new(1),
            is_clean: false,
        };
        let mut meta = Meta::create(&Disk::real(), &folder, IDENTITY, record, &lineage()).unwrap();
        let mut offsets = OffsetIndex::default();
        for first in 1..4 {
            let id = LogId::new(Index::new(first), Term::new(1));
            let last = LastEntry { id, chain: Chain::new([0xcc; 32]) };
            let (content, files) = (ContentHash::of_test(0xee), FilesHash::of_test(0xdd));
            let row = SealedRow { first: id.index, last, content, files, ends_parts: 0 };
            let end = |log| (LogNumber::new(log), Offset::new(u64::MAX / 4 * first));
            let ends: Ends = (0..LOGS / u32::try_from(first).unwrap()).map(end).collect();
            meta.seal(row, &ends, |record| record.journal_from += 1).unwrap();
            offsets.add(id.index, &ends);
        }
        meta.close();
        super::super::database::wait_until_released(&Disk::real(), &folder).unwrap();
        // It is refused if it has grown a file that sled never syncs.
        let (_, contents) = Meta::open(&Disk::real(), &folder).unwrap();
        assert_eq!(contents.offsets, offsets);
        assert_eq!(contents.sealed.len(), 3);
    }
}
