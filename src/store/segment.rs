//! One segment of the log: one sled database.
//!
//! ```text
//!  key                                 value
//!  1 | part u32                        a part of the head, at most 128 KiB of its postcard form
//!  2                                   the head's length, u64 little-endian, and BLAKE3
//!  3 | index u64 | part u16            a part of an entry, at most 128 KiB of its sealed bytes,
//!                                      or nothing: the place of an entry to come
//!  4 | log u32 | offset u64            the index, u64 little-endian, of the entry with this offset
//!  5                                   the state: see `State`
//! ```
//!
//! Numbers in keys are big-endian, so that keys sort as the numbers do; kinds are never used for
//! anything else. Key 2 is written last when a segment is made: without it there is no head. Key 4
//! stands only for some entries, one every 64 KiB or 64 entries of a log: a look-up takes the last
//! one that is not above the offset it wants, or the head, and reads on from there. The state is the
//! last key on purpose: it changes with every write, sled rewrites it with its neighbours, and those
//! are small.
//!
//! **Places.** sled keeps up to sixteen keys on a page, and where keys are added it splits pages and
//! writes both halves again, values and all: an entry would go to the disk three and a half times. So
//! keys are added some entries ahead of the log, with nothing in them, and what is split is empty; an
//! entry then goes into a page that stays as it is. (Not in a batch of more entries than that, which
//! adds its keys in any order.) Behind the last entry there is nothing but places.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use sled::IVec;

use super::Head;
use super::database::Database;
use super::disk::Disk;
use super::engine::{Batch, Shape};
use super::error::{Fault, StoreError};
use super::meta::{decode, encode};
use crate::entry::{SealedEntry, Tip};
use crate::limits::{
    GROUP_COMMIT_ENTRIES_MAX, OFFSET_KEY_BYTES, OFFSET_KEY_ENTRIES, PLACES_AHEAD,
    SLED_SEGMENT_BYTES, STORE_VALUE_BYTES_MAX,
};
use crate::marks::{Mark, hit};
use crate::raft::HardState;
use crate::types::{Index, LogNumber, Offset};

const HEAD_KIND: u8 = 1;
const HEAD_SEAL_KEY: &[u8] = &[2];
const ENTRY_KIND: u8 = 3;
const OFFSET_KIND: u8 = 4;
const STATE_KEY: &[u8] = &[5];

/// How segments use sled.
pub(super) fn segment_shape(cache_bytes: u64) -> Shape {
    Shape { sled_segment_bytes: SLED_SEGMENT_BYTES, cache_bytes }
}

/// The name of a segment's folder: names sort as the segments do.
pub(super) fn folder_name(first: Index) -> String {
    format!("{:020}", first.get())
}

/// The first index of the segment in a folder of this name, if it is one.
pub(super) fn first_in_name(name: &str) -> Option<Index> {
    let is_number = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { name.parse().ok().map(Index::new) } else { None }
}

/// What is written with every batch.
#[expect(clippy::struct_field_names, reason = "the thesis calls term and vote the hard state")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Term and vote.
    pub(super) hard_state: HardState,
    /// The commit index as known then: a hint.
    pub(super) commit_index: Index,
    /// The generation of `meta` as known then.
    pub(super) meta_generation: u64,
}

/// A segment that can be read, by any number of threads.
#[derive(Debug)]
pub(super) struct Segment {
    database: Database,
    first: Index,
}

/// All that a segment holds, checked from its head to its last entry.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) head: Head,
    pub(super) state: State,
    pub(super) entries: Vec<SealedEntry>,
    /// Bytes of the entries.
    pub(super) bytes: u64,
}

impl Loaded {
    /// The last entry, or the one before the segment.
    pub(super) fn tip(&self) -> Tip {
        self.entries.last().map_or(self.head.tip, SealedEntry::tip)
    }
}

impl Segment {
    /// Makes a segment with no entries. Its head is behind its barrier when this returns.
    pub(super) fn create(
        disk: &Disk,
        folder: &Path,
        head: &Head,
        state: &State,
        shape: Shape,
    ) -> Result<Self, StoreError> {
        let database = Database::create(disk, folder, shape)?;
        let bytes = postcard::to_stdvec(head).expect("a head has no part that postcard refuses");
        let mut batch = Batch::default();
        let mut weight = Weight::of(&database);
        for (number, part) in (0_u32..).zip(bytes.chunks(STORE_VALUE_BYTES_MAX)) {
            if !weight.fits(part.len()) {
                database.write(std::mem::take(&mut batch))?;
                weight = Weight::of(&database);
            }
            weight.add(part.len());
            batch.insert(head_key(number), part);
        }
        let mut seal = (bytes.len() as u64).to_le_bytes().to_vec();
        seal.extend_from_slice(blake3::hash(&bytes).as_bytes());
        batch.insert(HEAD_SEAL_KEY, seal);
        let first = head.tip.id.index.next();
        (first.get()..)
            .take(PLACES_AHEAD)
            .for_each(|index| batch.insert(entry_key(Index::new(index), 0), &[]));
        batch.insert(STATE_KEY, encode(state));
        database.write(batch)?;
        Ok(Self { database, first })
    }

    /// Opens a segment that is known to be good, in place.
    pub(super) fn open(
        disk: &Disk,
        folder: &Path,
        first: Index,
        shape: Shape,
    ) -> Result<Self, StoreError> {
        Ok(Self::of(Database::open(disk, folder, shape)?, first))
    }

    fn of(database: Database, first: Index) -> Self {
        Self { database, first }
    }

    pub(super) fn first(&self) -> Index {
        self.first
    }

    pub(super) fn folder(&self) -> &Path {
        self.database.folder()
    }

    /// The entries from `first` to `last`, as far as they are here and fit into `bytes_max`; the
    /// first of them always fits.
    pub(super) fn entries(
        &self,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Vec<SealedEntry>, StoreError> {
        let mut entries: Vec<SealedEntry> = vec![];
        let mut bytes = 0;
        read_entries(&self.database, first.max(self.first), last, |entry| {
            bytes += entry.bytes().len();
            if bytes > bytes_max && !entries.is_empty() {
                return Ok(ControlFlow::Break(()));
            }
            match entries.last() {
                Some(previous) => check(&self.database, entry.check_follows(&previous.tip()))?,
                None if entry.id().index != first.max(self.first) => {
                    return Err(self.damage(Fault::Gap { expected: first.max(self.first) }));
                }
                None => (),
            }
            entries.push(entry);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }

    /// The entry with this index.
    pub(super) fn entry(&self, index: Index) -> Result<Option<SealedEntry>, StoreError> {
        Ok(self.entries(index, index, usize::MAX)?.pop())
    }

    /// The index of the last entry or place; `None` if there is none.
    fn last_key(&self) -> Result<Option<Index>, StoreError> {
        let (lowest, highest) = entry_range(Index::ZERO, Index::new(u64::MAX));
        let Some(item) = self.database.range(lowest, highest).next_back() else { return Ok(None) };
        let (index, _) = parse_entry_key(&item?.0).ok_or_else(|| self.damage(BAD_KEY))?;
        Ok(Some(index))
    }

    /// The last entry; `None` if there is none.
    pub(super) fn last(&self) -> Result<Option<SealedEntry>, StoreError> {
        let (lowest, highest) = entry_range(Index::ZERO, Index::new(u64::MAX));
        let mut backwards = self.database.range(lowest, highest).rev();
        let Some(item) = backwards.find(|item| !is_place(item)) else { return Ok(None) };
        let (index, _) = parse_entry_key(&item?.0).ok_or_else(|| self.damage(BAD_KEY))?;
        self.entry(index)
    }

    /// The index of the entry that holds a record, if it is in this segment.
    pub(super) fn locate(
        &self,
        log: LogNumber,
        offset: Offset,
    ) -> Result<Option<Index>, StoreError> {
        let (lowest, highest) = (offset_key(log, Offset::ZERO), offset_key(log, offset));
        // A key may be missing: a crash can come between an entry and its key.
        let start = match self.database.range(lowest, highest).next_back() {
            Some(item) => index_of(&item?.1).ok_or_else(|| self.damage(BAD_KEY))?,
            None => self.first,
        };
        let mut found = None;
        read_entries(&self.database, start, Index::new(u64::MAX), |entry| {
            for run in check(&self.database, entry.runs())? {
                if run.log == log && offset < run.next_offset() {
                    let holds = offset >= run.first_offset;
                    found = holds.then_some(entry.id().index);
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Returns when what sled does when it is read is on the disk, too. To be called before a close:
    /// a sync that fails then is told to nobody.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.database.pass_barrier()
    }

    /// Lets sled finish what it has put off, so that reading changes nothing any more.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        // Twice: the pages that point to those which are split get longer, and are split likewise.
        self.database.settle()?;
        self.database.settle()?;
        self.sync()
    }

    /// The state.
    pub(super) fn state(&self) -> Result<State, StoreError> {
        read_state(&self.database)
    }

    /// Everything, checked.
    pub(super) fn load(&self) -> Result<Loaded, StoreError> {
        load(&self.database, self.first)
    }

    fn damage(&self, fault: Fault) -> StoreError {
        StoreError::damage(self.folder(), fault)
    }
}

const BAD_KEY: Fault = Fault::Value { what: "list of entries" };

/// Reads a whole segment and checks it: head, chain, no gap.
pub(super) fn load(database: &Database, first: Index) -> Result<Loaded, StoreError> {
    let head = read_head(database)?;
    if head.tip.id.index.next() != first {
        return Err(StoreError::damage(database.folder(), Fault::Border { first }));
    }
    let state = read_state(database)?;
    let mut tip = head.tip;
    let mut entries = vec![];
    let mut bytes = 0;
    read_entries(database, Index::ZERO, Index::new(u64::MAX), |entry| {
        if entry.id().index != tip.id.index.next() {
            let expected = tip.id.index.next();
            return Err(StoreError::damage(database.folder(), Fault::Gap { expected }));
        }
        check(database, entry.check_follows(&tip))?;
        tip = entry.tip();
        bytes += entry.bytes().len() as u64;
        entries.push(entry);
        Ok(ControlFlow::Continue(()))
    })?;
    let next = tip.id.index.next();
    if has_entries_from(database, next)? {
        return Err(StoreError::damage(database.folder(), Fault::Gap { expected: next }));
    }
    Ok(Loaded { head, state, entries, bytes })
}

/// Whether a segment holds any entry at all. It may be one whose making was interrupted.
pub(super) fn has_entries(database: &Database) -> Result<bool, StoreError> {
    has_entries_from(database, Index::ZERO)
}

fn has_entries_from(database: &Database, first: Index) -> Result<bool, StoreError> {
    let (lowest, highest) = entry_range(first, Index::new(u64::MAX));
    let entry = database.range(lowest, highest).find(|item| !is_place(item));
    entry.transpose().map(|entry| entry.is_some())
}

/// Whether a key was made ahead of its entry.
fn is_place(item: &Result<(IVec, IVec), StoreError>) -> bool {
    item.as_ref().is_ok_and(|(_, value)| value.is_empty())
}

fn read_head(database: &Database) -> Result<Head, StoreError> {
    let missing = || StoreError::damage(database.folder(), Fault::Value { what: "head" });
    let seal = database.get(HEAD_SEAL_KEY)?.ok_or_else(missing)?;
    let (length, hash) = seal.split_first_chunk::<8>().ok_or_else(missing)?;
    let mut bytes = vec![];
    for item in database.range(head_key(0), head_key(u32::MAX)) {
        bytes.extend_from_slice(&item?.1);
    }
    let is_whole = bytes.len() as u64 == u64::from_le_bytes(*length)
        && blake3::hash(&bytes).as_bytes() == hash;
    if !is_whole {
        return Err(missing());
    }
    postcard::from_bytes(&bytes).map_err(|_| missing())
}

fn read_state(database: &Database) -> Result<State, StoreError> {
    let missing = || StoreError::damage(database.folder(), Fault::Value { what: "state" });
    database.get(STATE_KEY)?.and_then(|value| decode(&value)).ok_or_else(missing)
}

/// Reads entries in small steps, so that no lock of sled's is held for long, and hands them on. It
/// ends at the first place; what is behind it is not looked at, since the writer may be just there.
fn read_entries(
    database: &Database,
    first: Index,
    last: Index,
    mut take: impl FnMut(SealedEntry) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    if last < first {
        return Ok(());
    }
    let (lowest, highest) = entry_range(first, last);
    let bad_key = || StoreError::damage(database.folder(), BAD_KEY);
    let mut gathered: Option<Gathered> = None;
    for item in database.range(lowest, highest).take_while(|item| !is_place(item)) {
        let (key, value) = item?;
        let (index, part) = parse_entry_key(&key).ok_or_else(bad_key)?;
        match &mut gathered {
            Some(entry) if entry.index == index => {
                if part != entry.parts {
                    return Err(bad_key());
                }
                entry.bytes.extend_from_slice(&value);
                entry.parts += 1;
            }
            _ => {
                if let Some(entry) = gathered.take()
                    && take(entry.finish(database)?)?.is_break()
                {
                    return Ok(());
                }
                if part != 0 {
                    return Err(bad_key());
                }
                gathered = Some(Gathered { index, parts: 1, bytes: BytesMut::from(&value[..]) });
            }
        }
    }
    match gathered {
        Some(entry) => take(entry.finish(database)?).map(drop),
        None => Ok(()),
    }
}

/// An entry whose parts are being read.
struct Gathered {
    index: Index,
    parts: u16,
    bytes: BytesMut,
}

impl Gathered {
    fn finish(self, database: &Database) -> Result<SealedEntry, StoreError> {
        let entry = check(database, SealedEntry::parse(self.bytes.freeze()))?;
        if entry.id().index == self.index {
            Ok(entry)
        } else {
            Err(StoreError::damage(database.folder(), BAD_KEY))
        }
    }
}

fn check<T>(
    database: &Database,
    result: Result<T, crate::entry::EntryError>,
) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::damage(database.folder(), error))
}

fn head_key(part: u32) -> Vec<u8> {
    [&[HEAD_KIND][..], &part.to_be_bytes()].concat()
}

fn entry_key(index: Index, part: u16) -> Vec<u8> {
    [&[ENTRY_KIND][..], &index.get().to_be_bytes(), &part.to_be_bytes()].concat()
}

fn entry_range(first: Index, last: Index) -> (Vec<u8>, Vec<u8>) {
    (entry_key(first, 0), entry_key(last, u16::MAX))
}

fn parse_entry_key(key: &[u8]) -> Option<(Index, u16)> {
    let (kind, rest) = key.split_first()?;
    let (index, part) = rest.split_first_chunk::<8>()?;
    let part = u16::from_be_bytes(part.try_into().ok()?);
    (*kind == ENTRY_KIND).then_some((Index::new(u64::from_be_bytes(*index)), part))
}

fn offset_key(log: LogNumber, offset: Offset) -> Vec<u8> {
    [&[OFFSET_KIND][..], &log.get().to_be_bytes(), &offset.get().to_be_bytes()].concat()
}

fn index_of(value: &IVec) -> Option<Index> {
    value.as_ref().try_into().ok().map(u64::from_le_bytes).map(Index::new)
}

/// How much one batch holds: sled must reach a barrier before it re-uses what a batch made it move.
struct Weight {
    bytes_max: usize,
    bytes: usize,
    entries: usize,
}

impl Weight {
    /// Of an empty batch for this database.
    fn of(database: &Database) -> Self {
        Self { bytes_max: database.batch_bytes_max(), bytes: 0, entries: 0 }
    }

    /// Whether this much more is within bounds. Anything fits into an empty batch.
    fn fits(&self, bytes: usize) -> bool {
        self.entries == 0
            || (self.entries < GROUP_COMMIT_ENTRIES_MAX && self.bytes + bytes <= self.bytes_max)
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.entries += 1;
    }
}

/// What goes to the disk with the next barrier.
struct Pending {
    batch: Batch,
    weight: Weight,
    /// All of it or nothing.
    is_indivisible: bool,
}

/// The writing side of a segment: there is one.
#[derive(Debug)]
pub(super) struct Appender {
    segment: Arc<Segment>,
    /// The last entry, or the one before the segment.
    tip: Tip,
    /// Bytes of the entries in the segment.
    bytes: u64,
    offset_keys: OffsetKeys,
    /// Entries up to here have a place.
    placed: Index,
    /// Term and vote as they stand in the segment, once something was written.
    hard_state: Option<HardState>,
}

impl Appender {
    /// Writes to `segment`, whose last entry (or head) is `tip`.
    pub(super) fn new(segment: Arc<Segment>, tip: Tip, bytes: u64) -> Result<Self, StoreError> {
        assert!(tip.id.index.next() >= segment.first(), "{} is before the segment", tip.id);
        let placed = segment.last_key()?.unwrap_or(tip.id.index);
        let offset_keys = OffsetKeys::default();
        Ok(Self { segment, tip, bytes, offset_keys, placed, hard_state: None })
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn tip(&self) -> Tip {
        self.tip
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Removes the entries from `truncate_from` on, adds `entries` and sets the state, and returns
    /// when all is on the disk.
    ///
    /// One barrier, unless that would pass the bounds of a group commit. Then there are several, each
    /// with the new term and vote, and a crash in between leaves a shorter log: removals go from the
    /// end, and entries come in order. The commit index speaks of the new entries and comes with
    /// them.
    ///
    /// What removes something, has another term or vote, or an entry in several parts, is one batch:
    /// all of it or nothing. All else is written in its order, the state last, and a crash leaves a
    /// beginning of it: a log that is shorter, and a commit index that is older.
    pub(super) fn write(
        &mut self,
        truncate_from: Option<Index>,
        entries: &[SealedEntry],
        state: &State,
    ) -> Result<(), StoreError> {
        let mut pending = self.nothing_pending();
        if let Some(from) = truncate_from {
            self.remove(from, &mut pending, state)?;
        }
        for entry in entries {
            assert_eq!(entry.id().index, self.tip.id.index.next(), "entries leave no gap");
            assert!(entry.id().term >= self.tip.id.term, "{} after {}", entry.id(), self.tip.id);
            debug_assert_eq!(entry.check_follows(&self.tip), Ok(()));
            if !pending.weight.fits(entry.bytes().len()) {
                hit(Mark::SeveralBatches);
                self.commit(&mut pending, state)?;
            }
            self.add(entry, &mut pending);
        }
        self.commit(&mut pending, state)
    }

    fn nothing_pending(&self) -> Pending {
        Pending {
            batch: Batch::default(),
            weight: Weight::of(&self.segment.database),
            is_indivisible: false,
        }
    }

    fn commit(&mut self, pending: &mut Pending, state: &State) -> Result<(), StoreError> {
        let next = self.nothing_pending();
        let Pending { mut batch, is_indivisible, .. } = std::mem::replace(pending, next);
        batch.insert(STATE_KEY, encode(state));
        if is_indivisible || self.hard_state != Some(state.hard_state) {
            self.segment.database.write(batch)?;
            self.hard_state = Some(state.hard_state);
            return Ok(());
        }
        self.segment.database.write_in_order(batch)
    }

    fn add(&mut self, entry: &SealedEntry, pending: &mut Pending) {
        let index = entry.id().index;
        while self.placed.since(index) < PLACES_AHEAD as u64 {
            self.placed = self.placed.next();
            pending.batch.insert(entry_key(self.placed, 0), &[]);
        }
        for (number, part) in (0_u16..).zip(entry.bytes().chunks(STORE_VALUE_BYTES_MAX)) {
            pending.is_indivisible |= number > 0;
            pending.batch.insert(entry_key(index, number), part);
        }
        // Behind its entry, which it must never point past.
        for (log, offset) in self.offset_keys.due(entry) {
            pending.batch.insert(offset_key(log, offset), &index.get().to_le_bytes());
        }
        pending.weight.add(entry.bytes().len());
        self.tip = entry.tip();
        self.bytes += entry.bytes().len() as u64;
    }

    fn remove(
        &mut self,
        from: Index,
        pending: &mut Pending,
        state: &State,
    ) -> Result<(), StoreError> {
        assert!(from >= self.segment.first(), "{from} is before the segment");
        // NB: while entries of the old history are left, the new one's commit index must not stand
        // beside them: a crash in between would make them look committed.
        let meanwhile = State { commit_index: state.commit_index.min(from.previous()), ..*state };
        let tip = self.tip_before(from)?;
        let mut offset_keys = self.offset_keys_from(from)?;
        let mut index = self.tip.id.index;
        while index >= from {
            let (keys, bytes) = self.keys_of(index)?;
            if !pending.weight.fits(bytes) {
                hit(Mark::SeveralBatches);
                self.commit(pending, &meanwhile)?;
            }
            pending.weight.add(bytes);
            pending.is_indivisible = true;
            pending.batch.insert(entry_key(index, 0), &[]);
            let other_parts = keys.into_iter().skip(1);
            other_parts
                .chain(offset_keys.remove(&index).unwrap_or_default())
                .for_each(|key| pending.batch.remove(key));
            self.bytes -= bytes as u64;
            index = index.previous();
        }
        assert!(offset_keys.is_empty(), "an offset key points behind the log: {offset_keys:?}");
        self.tip = tip;
        self.offset_keys = OffsetKeys::default();
        Ok(())
    }

    /// The end of the log once the entries from `from` on are gone.
    pub(super) fn tip_before(&self, from: Index) -> Result<Tip, StoreError> {
        let previous = from.previous();
        if previous >= self.tip.id.index {
            return Ok(self.tip);
        }
        if from == self.segment.first() {
            return Ok(read_head(&self.segment.database)?.tip);
        }
        let entry = self.segment.entry(previous)?;
        entry
            .map(|entry| entry.tip())
            .ok_or_else(|| self.segment.damage(Fault::Gap { expected: previous }))
    }

    /// The keys of an entry, and its size.
    fn keys_of(&self, index: Index) -> Result<(Vec<IVec>, usize), StoreError> {
        let (lowest, highest) = entry_range(index, index);
        let mut keys = vec![];
        let mut bytes = 0;
        for item in self.segment.database.range(lowest, highest) {
            let (key, value) = item?;
            keys.push(key);
            bytes += value.len();
        }
        assert!(!keys.is_empty(), "entry {index} is in the log");
        Ok((keys, bytes))
    }

    /// The offset keys of the entries from `from` on.
    fn offset_keys_from(&self, from: Index) -> Result<BTreeMap<Index, Vec<IVec>>, StoreError> {
        let mut found: BTreeMap<Index, Vec<IVec>> = BTreeMap::new();
        let lowest = offset_key(LogNumber::new(0), Offset::ZERO);
        let highest = offset_key(LogNumber::new(u32::MAX), Offset::new(u64::MAX));
        for item in self.segment.database.range(lowest, highest) {
            let (key, value) = item?;
            let index = index_of(&value).ok_or_else(|| self.segment.damage(BAD_KEY))?;
            if index >= from {
                found.entry(index).or_default().push(key);
            }
        }
        Ok(found)
    }
}

/// Decides which entries get an offset key.
#[derive(Debug, Default)]
struct OffsetKeys {
    bytes: u64,
    entries: u64,
    /// Bytes and entries so far when a log got its last key.
    last: BTreeMap<LogNumber, (u64, u64)>,
}

impl OffsetKeys {
    /// The keys that this entry, the next one, gets.
    fn due(&mut self, entry: &SealedEntry) -> Vec<(LogNumber, Offset)> {
        let runs = entry.runs().expect("an entry is checked before it is stored");
        let mut due = vec![];
        for run in runs {
            let is_near = self.last.get(&run.log).is_some_and(|(bytes, entries)| {
                self.bytes - bytes < OFFSET_KEY_BYTES && self.entries - entries < OFFSET_KEY_ENTRIES
            });
            if !is_near {
                due.push((run.log, run.first_offset));
                self.last.insert(run.log, (self.bytes, self.entries));
            }
        }
        self.bytes += entry.bytes().len() as u64;
        self.entries += 1;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Log, hard_state, hex};
    use super::*;

    #[test]
    fn golden_bytes_of_keys_and_state() {
        assert_eq!(hex(&head_key(2)), "0100000002");
        assert_eq!(hex(&entry_key(Index::new(258), 3)), "0300000000000001020003");
        assert_eq!(
            hex(&offset_key(LogNumber::new(1), Offset::new(2))),
            "04000000010000000000000002"
        );
        let state = State {
            hard_state: hard_state(3, Some(2)),
            commit_index: Index::new(300),
            meta_generation: 4,
        };
        assert_eq!(hex(&encode(&state)), "030102ac0204044ad3c8");
        assert_eq!(decode::<State>(&encode(&state)), Some(state));
    }

    #[test]
    fn a_changed_value_is_not_decoded() {
        let bytes = encode(&State::default());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode::<State>(&changed), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(decode::<State>(&bytes[..length]), None);
        }
    }

    #[test]
    fn a_removal_that_is_cut_off_leaves_no_commit_index_of_the_new_history() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("segment");
        let head = Log::new().head();
        let shape = segment_shape(1 << 20);
        let segment = Segment::create(&Disk::real(), &place, &head, &State::default(), shape)
            .map(Arc::new)
            .unwrap();
        let mut appender = Appender::new(segment.clone(), head.tip, 0).unwrap();
        let mut log = Log::new();
        let entries: Vec<_> = (0..3000).map(|_| log.add(10)).collect();
        appender.write(None, &entries, &State::default()).unwrap();

        // All but the last batch of a write that replaces entries 8 and on, up to 10 committed.
        let new = State { commit_index: Index::new(10), ..State::default() };
        let mut pending = appender.nothing_pending();
        appender.remove(Index::new(8), &mut pending, &new).unwrap();
        drop(pending);

        let state = read_state(&segment.database).unwrap();
        assert!(segment.entry(Index::new(8)).unwrap().is_some(), "the old entry is left");
        assert!(segment.entry(Index::new(3000)).unwrap().is_none(), "no batch was written");
        assert_eq!(state.commit_index, Index::new(7));
    }

    /// A segment in a folder, and its writing side.
    fn fresh(folder: &Path, head: &Head) -> (Arc<Segment>, Appender) {
        let place = folder.join("segment");
        let shape = segment_shape(1 << 20);
        let segment =
            Segment::create(&Disk::real(), &place, head, &State::default(), shape).map(Arc::new);
        let segment = segment.unwrap();
        (segment.clone(), Appender::new(segment, head.tip, 0).unwrap())
    }

    #[test]
    fn a_place_is_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new();
        let (segment, mut appender) = fresh(folder.path(), &log.head());
        assert!(!has_entries(&segment.database).unwrap());
        assert_eq!(segment.last().unwrap(), None);

        let entries: Vec<_> = (0..5).map(|_| log.add(10)).collect();
        appender.write(None, &entries, &State::default()).unwrap();
        let (lowest, highest) = entry_range(Index::ZERO, Index::new(u64::MAX));
        let keys = segment.database.range(lowest, highest).count();
        assert_eq!(keys, 5 + PLACES_AHEAD);
        assert_eq!(segment.last().unwrap().as_ref(), entries.last());
        assert_eq!(segment.entry(Index::new(6)).unwrap(), None);
        let all =
            |segment: &Segment| segment.entries(Index::ZERO, Index::new(u64::MAX), usize::MAX);
        assert_eq!(all(&segment).unwrap(), entries);
        assert_eq!(segment.load().unwrap().entries, entries);

        // What is removed leaves its place; another writer goes on there.
        appender.write(Some(Index::new(3)), &[], &State::default()).unwrap();
        assert_eq!(segment.load().unwrap().entries, entries[..2]);
        let tip = appender.tip();
        let mut appender = Appender::new(segment.clone(), tip, appender.bytes()).unwrap();
        appender.write(None, &entries[2..4], &State::default()).unwrap();
        assert_eq!(segment.load().unwrap().entries, entries[..4]);
        appender.write(Some(Index::new(1)), &[], &State::default()).unwrap();
        assert!(!has_entries(&segment.database).unwrap());
    }

    #[test]
    fn an_entry_behind_a_place_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new();
        let (segment, mut appender) = fresh(folder.path(), &log.head());
        let entries: Vec<_> = (0..5).map(|_| log.add(10)).collect();
        appender.write(None, &entries, &State::default()).unwrap();
        let mut hole = Batch::default();
        hole.insert(entry_key(Index::new(3), 0), &[]);
        segment.database.write(hole).unwrap();
        let error = segment.load().unwrap_err();
        assert!(error.is_damage());
        assert!(error.to_string().ends_with(&Fault::Gap { expected: Index::new(3) }.to_string()));
    }

    #[test]
    fn entries_are_not_written_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new();
        let (segment, mut appender) = fresh(folder.path(), &log.head());
        let mut bytes = 0;
        for _ in 0..12 {
            let entries: Vec<_> = (0..40).map(|_| log.add(100 << 10)).collect();
            bytes += entries.iter().map(|entry| entry.bytes().len() as u64).sum::<u64>();
            appender.write(None, &entries, &State::default()).unwrap();
        }
        // sled takes room by its segments, one of which may be hardly begun.
        let file =
            std::fs::metadata(segment.folder().join(crate::store::barrier::DB_FILE)).unwrap();
        let bound = bytes + bytes / 10 + SLED_SEGMENT_BYTES as u64;
        assert!(file.len() <= bound, "{} bytes for entries of {bytes}", file.len());
    }

    #[test]
    fn keys_sort_as_their_numbers_do() {
        let keys = [
            head_key(u32::MAX),
            HEAD_SEAL_KEY.to_vec(),
            entry_key(Index::new(1), 0),
            entry_key(Index::new(1), u16::MAX),
            entry_key(Index::new(2), 0),
            entry_key(Index::new(u64::MAX), u16::MAX),
            offset_key(LogNumber::MAIN, Offset::new(u64::MAX)),
            offset_key(LogNumber::new(1), Offset::ZERO),
            STATE_KEY.to_vec(),
        ];
        assert!(keys.is_sorted());
        assert_eq!(parse_entry_key(&keys[3]), Some((Index::new(1), u16::MAX)));
        assert_eq!(parse_entry_key(&keys[6]), None);
    }

    #[test]
    fn offset_keys_are_neither_rare_nor_frequent() {
        let mut log = Log::new();
        let mut keys = OffsetKeys::default();
        let mut due = |bytes| !keys.due(&log.add(bytes)).is_empty();
        let small: Vec<usize> = (0..200).filter(|_| due(10)).collect();
        assert_eq!(small, [0, 64, 128, 192]);
        let large: Vec<usize> = (0..10).filter(|_| due(30_000)).collect();
        assert_eq!(large.len(), 3, "{large:?}");
    }
}
