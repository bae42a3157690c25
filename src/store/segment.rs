//! One sealed segment of the log: one sled database, made once and never written again.
//!
//! ```text
//!  key                                 value
//!  1 | part u32                        a part of the head, at most 8 KiB of its postcard form
//!  2                                   the head's length, u64 little-endian, and BLAKE3
//!  3 | index u64 | part u16            sealed entries one behind the other, of which the first has
//!                                      this index, at most 8 KiB; or a part of one that is larger
//!  4 | log u32 | offset u64            the index, u64 little-endian, in the key of the value at which the
//!                                      stretch begins that has the entry with this offset
//! ```
//!
//! Numbers in keys are big-endian, so that keys sort as the numbers do; kinds are never used for
//! anything else. Key 4 stands once for each log that a stretch has records of, which is some 128 KiB of
//! values one behind the other: a look-up takes the last one that is not above the offset it wants, or the
//! head, and reads on from there.
//!
//! What a segment holds is a function of the log: its head says what the entries before it come to, and
//! it ends with the entry that fills it. So it has the same [`ContentHash`] on every node, whatever sled
//! makes of it.
//!
//! **Keys first.** sled keeps up to sixteen keys on a page; where keys are added it splits pages and
//! writes both halves again, values and all, and after ten changes it writes a page anew. So all keys of
//! kind 3 are put in first, with nothing in them: what is split is empty, pages of eight are left, and a
//! value is written once.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use sled::IVec;

use super::Head;
use super::database::{Database, FilesHash, forget_cached, hash_of, wait_until_released};
use super::disk::Disk;
use super::engine::Shape;
use super::error::{Fault, StoreError};
use crate::entry::{EntryError, SealedEntry, Tip, split_first};
use crate::limits::{
    LOCATE_BYTES, SEALED_READ_BYTES_MAX, SLED_CACHE_BYTES, SLED_SEGMENT_BYTES,
    STORE_VALUE_BYTES_MAX,
};
use crate::types::{Index, LogNumber, Offset};

const HEAD_KIND: u8 = 1;
const HEAD_SEAL_KEY: &[u8] = &[2];
const ENTRY_KIND: u8 = 3;
const OFFSET_KIND: u8 = 4;

/// How segments use sled.
pub(super) fn segment_shape() -> Shape {
    Shape { sled_segment_bytes: SLED_SEGMENT_BYTES, cache_bytes: SLED_CACHE_BYTES }
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

/// BLAKE3 over a segment's head and the chain of its last entry, which covers all its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContentHash([u8; 32]);

impl ContentHash {
    pub(super) fn bytes(self) -> [u8; 32] {
        self.0
    }

    #[cfg(test)]
    pub(super) fn of_test(byte: u8) -> Self {
        Self([byte; 32])
    }
}

/// What a segment holds, byte for byte: what is read back of one is what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) content: ContentHash,
    /// The last entry.
    pub(super) tip: Tip,
    /// CRC32C over all entries.
    crc: u32,
}

impl Contents {
    fn new(head: &[u8], tip: Tip, crc: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(head.len() as u64).to_le_bytes()).update(head);
        hasher.update(tip.chain.as_bytes());
        Self { content: ContentHash(*hasher.finalize().as_bytes()), tip, crc }
    }
}

/// The one form of a head on a disk.
pub(super) fn encode_head(head: &Head) -> Vec<u8> {
    postcard::to_stdvec(head).expect("a head has no part that postcard refuses")
}

/// What `encode_head` made, or `None`.
pub fn decode_head(form: &[u8]) -> Option<Head> {
    postcard::from_bytes(form).ok()
}

/// Opens a segment that was made, reads it back, closes it, opens and closes it once more, and hashes its
/// files: sled writes a snapshot when it opens what it has not opened before, and nothing the next time.
fn close_for_good(
    disk: &Disk,
    folder: &Path,
    first: Index,
    shape: Shape,
) -> Result<(Contents, FilesHash), StoreError> {
    let segment = Segment::open(disk, folder, first, shape)?;
    let contents = segment.settle()?;
    drop(segment);
    wait_until_released(disk, folder)?;
    drop(Segment::open(disk, folder, first, shape)?);
    wait_until_released(disk, folder)?;
    let files = hash_of(disk, folder)?;
    // Whoever reads what is old has the disk. Pages that nobody reads would only take the place of
    // others, and pages that are free are cheap for the next segment.
    forget_cached(disk, folder)?;
    Ok((contents, files))
}

/// The hash of a segment with this head and this last entry.
pub(super) fn content_of(head: &Head, tip: &Tip) -> ContentHash {
    Contents::new(&encode_head(head), *tip, 0).content
}

/// A segment that is being made.
pub(super) struct Filling {
    database: Database,
    /// Its first entry.
    first: Index,
    /// The form of the head.
    head: Vec<u8>,
    tip: Tip,
    crc: u32,
    run: Run,
    stretch: Stretch,
}

/// Entries that go into one value.
#[derive(Default)]
struct Run {
    first: Index,
    bytes: Vec<u8>,
}

/// Values that one look-up reads.
#[derive(Default)]
struct Stretch {
    first: Index,
    bytes: usize,
    /// For each log its first offset here.
    offsets: Vec<(LogNumber, Offset)>,
}

impl Filling {
    /// Begins a segment in a folder that is not there.
    pub(super) fn begin(
        disk: &Disk,
        folder: &Path,
        head: &Head,
        shape: Shape,
    ) -> Result<Self, StoreError> {
        let database = Database::create(disk, folder, shape)?;
        let bytes = encode_head(head);
        let (run, stretch) = (Run::default(), Stretch::default());
        let first = head.tip.id.index.next();
        let mut filling =
            Self { database, first, head: vec![], tip: head.tip, crc: 0, run, stretch };
        for (number, part) in (0_u32..).zip(bytes.chunks(STORE_VALUE_BYTES_MAX)) {
            filling.database.insert(head_key(number), part)?;
        }
        let mut seal = (bytes.len() as u64).to_le_bytes().to_vec();
        seal.extend_from_slice(blake3::hash(&bytes).as_bytes());
        filling.database.insert(HEAD_SEAL_KEY.to_vec(), &seal)?;
        filling.head = bytes;
        Ok(filling)
    }

    /// Ends it, and closes it for good. `None`: what is read back is not what was written.
    pub(super) fn finish_for_good(
        self,
        disk: &Disk,
        shape: Shape,
    ) -> Result<Option<(Contents, FilesHash)>, StoreError> {
        let (first, folder) = (self.first, self.database.folder().to_owned());
        let written = self.finish()?;
        wait_until_released(disk, &folder)?;
        let (read_back, files) = close_for_good(disk, &folder, first, shape)?;
        Ok((read_back == written).then_some((written, files)))
    }

    /// Puts in the keys that entries of these lengths will need, the next first.
    pub(super) fn put_keys(&mut self, lengths: &[usize]) -> Result<(), StoreError> {
        let mut index = self.tip.id.index;
        let mut run = 0;
        for length in lengths {
            index = index.next();
            if run > 0 && run + length <= STORE_VALUE_BYTES_MAX {
                run += length;
                continue;
            }
            run = *length;
            let parts = length.div_ceil(STORE_VALUE_BYTES_MAX);
            for part in (0_u16..).take(parts) {
                self.database.insert(entry_key(index, part), &[])?;
            }
        }
        Ok(())
    }

    /// Adds the next entry. A crash may lose it until [`Self::finish`].
    pub(super) fn push(&mut self, entry: &SealedEntry) -> Result<(), StoreError> {
        let is_next = entry.id().index == self.tip.id.index.next();
        assert!(is_next, "{} after {}", entry.id(), self.tip.id);
        self.tip = entry.tip();
        let bytes = entry.bytes();
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        if self.run.bytes.len() + bytes.len() > STORE_VALUE_BYTES_MAX {
            self.put_run()?;
        }
        if self.run.bytes.is_empty() {
            self.run.first = entry.id().index;
        }
        if self.stretch.bytes == 0 {
            self.stretch.first = self.run.first;
        }
        self.stretch.bytes += bytes.len();
        let offsets = &mut self.stretch.offsets;
        for run in check(&self.database, entry.runs())? {
            if !offsets.iter().any(|(log, _)| *log == run.log) {
                offsets.push((run.log, run.first_offset));
            }
        }
        self.run.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The last entry that was added, or the one before the first.
    pub(super) fn tip(&self) -> Tip {
        self.tip
    }

    /// Returns when all is on the disk.
    pub(super) fn finish(mut self) -> Result<Contents, StoreError> {
        self.put_run()?;
        self.put_offsets()?;
        self.database.pass_barrier()?;
        Ok(Contents::new(&self.head, self.tip, self.crc))
    }

    fn put_run(&mut self) -> Result<(), StoreError> {
        let Run { first, bytes } = std::mem::take(&mut self.run);
        for (number, part) in (0_u16..).zip(bytes.chunks(STORE_VALUE_BYTES_MAX)) {
            self.database.insert(entry_key(first, number), part)?;
        }
        if self.stretch.bytes >= LOCATE_BYTES {
            self.put_offsets()?;
        }
        Ok(())
    }

    fn put_offsets(&mut self) -> Result<(), StoreError> {
        let Stretch { first, offsets, .. } = std::mem::take(&mut self.stretch);
        for (log, offset) in offsets {
            self.database.insert(offset_key(log, offset), &first.get().to_le_bytes())?;
        }
        Ok(())
    }
}

/// A segment that can be read, by any number of threads.
#[derive(Debug)]
pub(super) struct Segment {
    database: Database,
    first: Index,
    /// Bytes that were read of it.
    read_bytes: AtomicU64,
}

/// All that a segment holds, checked from its head to its last entry.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) head: Head,
    pub(super) entries: Vec<SealedEntry>,
}

impl Segment {
    /// Opens a segment that is known to be good, in place.
    pub(super) fn open(
        disk: &Disk,
        folder: &Path,
        first: Index,
        shape: Shape,
    ) -> Result<Self, StoreError> {
        let database = Database::open(disk, folder, shape)?;
        Ok(Self { database, first, read_bytes: AtomicU64::new(0) })
    }

    /// Opens a sealed segment whose files are those that were closed.
    pub(super) fn open_sealed(
        disk: &Disk,
        folder: &Path,
        first: Index,
        shape: Shape,
    ) -> Result<Self, StoreError> {
        let database = Database::open_to_read(disk, folder, shape)?;
        Ok(Self { database, first, read_bytes: AtomicU64::new(0) })
    }

    /// Whether so much was read of it that it should be closed: sled keeps that in memory.
    pub(super) fn is_worn(&self) -> bool {
        self.read_bytes.load(Ordering::Relaxed) >= SEALED_READ_BYTES_MAX
    }

    /// Notes what a read has brought into memory: whole pages.
    fn note_read(&self, bytes: usize) {
        self.read_bytes.fetch_add((bytes + LOCATE_BYTES) as u64, Ordering::Relaxed);
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
        let first = first.max(self.first);
        read_entries(&self.database, first, |entry| {
            if entry.id().index < first {
                return Ok(ControlFlow::Continue(()));
            }
            bytes += entry.bytes().len();
            if entry.id().index > last || (bytes > bytes_max && !entries.is_empty()) {
                return Ok(ControlFlow::Break(()));
            }
            match entries.last() {
                Some(previous) => check(&self.database, entry.check_follows(&previous.tip()))?,
                None if entry.id().index != first => {
                    return Err(self.damage(Fault::Gap { expected: first }));
                }
                None => (),
            }
            entries.push(entry);
            Ok(ControlFlow::Continue(()))
        })?;
        self.note_read(bytes);
        Ok(entries)
    }

    /// The index of the entry that holds a record, if it is in this segment.
    pub(super) fn locate(
        &self,
        log: LogNumber,
        offset: Offset,
    ) -> Result<Option<Index>, StoreError> {
        let (lowest, highest) = (offset_key(log, Offset::ZERO), offset_key(log, offset));
        let start = match self.database.range(lowest, highest).next_back() {
            Some(item) => index_of(&item?.1).ok_or_else(|| self.damage(BAD_KEY))?,
            None => self.first,
        };
        let mut found = None;
        read_entries(&self.database, start, |entry| {
            match check(&self.database, Sought::of(&entry, log, offset))? {
                Sought::Behind => return Ok(ControlFlow::Continue(())),
                Sought::Here(index) => found = Some(index),
                Sought::Nowhere => (),
            }
            Ok(ControlFlow::Break(()))
        })?;
        self.note_read(LOCATE_BYTES);
        Ok(found)
    }

    /// Its first entry.
    pub(super) fn first(&self) -> Index {
        self.first
    }

    /// The form of its head.
    pub(super) fn head_form(&self) -> Result<Vec<u8>, StoreError> {
        let (_, form) = read_head(&self.database)?;
        self.note_read(form.len());
        Ok(form)
    }

    /// Returns when what sled does when it is read is on the disk, too. To be called before a close:
    /// a sync that fails then is told to nobody.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.database.pass_barrier()
    }

    /// Reads everything back, and so lets sled finish what it has put off: reading changes nothing any
    /// more. Returns what the segment holds.
    pub(super) fn settle(&self) -> Result<Contents, StoreError> {
        // Twice: the pages that point to those which are split get longer, and are split likewise.
        self.database.settle()?;
        let contents = self.contents()?;
        self.sync()?;
        Ok(contents)
    }

    fn contents(&self) -> Result<Contents, StoreError> {
        let (head, form) = read_head(&self.database)?;
        let (mut tip, mut crc) = (head.tip, 0);
        read_entries(&self.database, Index::ZERO, |entry| {
            tip = entry.tip();
            crc = crc32c::crc32c_append(crc, entry.bytes());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Contents::new(&form, tip, crc))
    }

    fn damage(&self, fault: Fault) -> StoreError {
        StoreError::damage(self.database.folder(), fault)
    }
}

/// Where a record is, seen from an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// In it.
    Here(Index),
    /// In one behind it, if anywhere.
    Behind,
    /// Nowhere: it goes on behind the record.
    Nowhere,
}

impl Sought {
    pub(super) fn of(
        entry: &SealedEntry,
        log: LogNumber,
        offset: Offset,
    ) -> Result<Self, EntryError> {
        let runs = entry.runs()?;
        let run = runs.into_iter().find(|run| run.log == log && offset < run.next_offset());
        Ok(match run {
            Some(run) if offset >= run.first_offset => Self::Here(entry.id().index),
            Some(_) => Self::Nowhere,
            None => Self::Behind,
        })
    }
}

const BAD_KEY: Fault = Fault::Value { what: "list of entries" };

/// Reads a whole segment and checks it: head, chain, no gap.
pub(super) fn load(database: &Database, first: Index) -> Result<Loaded, StoreError> {
    let (head, _) = read_head(database)?;
    if head.tip.id.index.next() != first {
        return Err(StoreError::damage(database.folder(), Fault::Border { first }));
    }
    let mut tip = head.tip;
    let mut entries = vec![];
    read_entries(database, Index::ZERO, |entry| {
        if entry.id().index != tip.id.index.next() {
            let expected = tip.id.index.next();
            return Err(StoreError::damage(database.folder(), Fault::Gap { expected }));
        }
        check(database, entry.check_follows(&tip))?;
        tip = entry.tip();
        entries.push(entry);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Loaded { head, entries })
}

fn read_head(database: &Database) -> Result<(Head, Vec<u8>), StoreError> {
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
    let head = postcard::from_bytes(&bytes).map_err(|_| missing())?;
    Ok((head, bytes))
}

/// Hands on the entries of the value that has `from`, or of the first there is, and of all behind it.
fn read_entries(
    database: &Database,
    from: Index,
    mut take: impl FnMut(SealedEntry) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    let bad_key = || StoreError::damage(database.folder(), BAD_KEY);
    let before = database.range(entry_key(Index::ZERO, 0), entry_key(from, u16::MAX)).next_back();
    let start = match before {
        Some(item) => parse_entry_key(&item?.0).ok_or_else(bad_key)?.0,
        None => Index::ZERO,
    };
    let mut gathered: Option<Gathered> = None;
    for item in database.range(entry_key(start, 0), entry_key(Index::new(u64::MAX), u16::MAX)) {
        let (key, value) = item?;
        let (index, part) = parse_entry_key(&key).ok_or_else(bad_key)?;
        match &mut gathered {
            Some(value_so_far) if value_so_far.index == index => {
                if part != value_so_far.parts {
                    return Err(bad_key());
                }
                value_so_far.bytes.extend_from_slice(&value);
                value_so_far.parts += 1;
            }
            _ => {
                if let Some(whole) = gathered.take()
                    && whole.hand_on(database, &mut take)?.is_break()
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
    gathered.map_or(Ok(()), |whole| whole.hand_on(database, &mut take).map(drop))
}

/// A value, of which the parts are being read.
struct Gathered {
    index: Index,
    parts: u16,
    bytes: BytesMut,
}

impl Gathered {
    fn hand_on(
        self,
        database: &Database,
        take: &mut impl FnMut(SealedEntry) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut expected = self.index;
        let mut rest = self.bytes.freeze();
        while !rest.is_empty() {
            let entry = check(database, SealedEntry::parse(split_first(&mut rest)))?;
            if entry.id().index != expected {
                return Err(StoreError::damage(database.folder(), BAD_KEY));
            }
            expected = expected.next();
            if take(entry)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn check<T>(database: &Database, result: Result<T, EntryError>) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::damage(database.folder(), error))
}

fn head_key(part: u32) -> Vec<u8> {
    [&[HEAD_KIND][..], &part.to_be_bytes()].concat()
}

fn entry_key(index: Index, part: u16) -> Vec<u8> {
    [&[ENTRY_KIND][..], &index.get().to_be_bytes(), &part.to_be_bytes()].concat()
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::testing::{Log, hex};
    use super::*;
    use crate::store::barrier::DB_FILE;

    #[test]
    fn golden_bytes_of_keys() {
        assert_eq!(hex(&head_key(2)), "0100000002");
        assert_eq!(hex(&entry_key(Index::new(258), 3)), "0300000000000001020003");
        assert_eq!(
            hex(&offset_key(LogNumber::new(1), Offset::new(2))),
            "04000000010000000000000002"
        );
        assert_eq!(folder_name(Index::new(258)), "00000000000000000258");
        assert_eq!(first_in_name("00000000000000000258"), Some(Index::new(258)));
        assert_eq!(first_in_name("00000000000000000258.head"), None);
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
        ];
        assert!(keys.is_sorted());
        assert_eq!(parse_entry_key(&keys[3]), Some((Index::new(1), u16::MAX)));
        assert_eq!(parse_entry_key(&keys[6]), None);
    }

    /// Makes a segment of these entries.
    fn made(folder: &Path, head: &Head, entries: &[SealedEntry]) -> Contents {
        let shape = segment_shape();
        let mut filling = Filling::begin(&Disk::real(), folder, head, shape).unwrap();
        let lengths: Vec<_> = entries.iter().map(|entry| entry.bytes().len()).collect();
        filling.put_keys(&lengths).unwrap();
        for entry in entries {
            filling.push(entry).unwrap();
        }
        let made = filling.finish().unwrap();
        wait_until_released(&Disk::real(), folder).unwrap();
        made
    }

    fn opened(folder: &Path, first: u64) -> Segment {
        Segment::open(&Disk::real(), folder, Index::new(first), segment_shape()).unwrap()
    }

    /// Small ones, one that fills a value, larger ones.
    fn of_all_sizes() -> Log {
        let mut log = Log::new();
        for bytes in
            [10, 0, 300, STORE_VALUE_BYTES_MAX - 200, 5, 200_000, 1 << 20, 3, 70_000, 70_000]
        {
            log.add(bytes);
        }
        log
    }

    #[test]
    fn a_segment_holds_what_it_was_filled_with() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("segment");
        let log = of_all_sizes();
        let head = Log::of(&log.entries[..1]).head();
        let contents = made(&place, &head, &log.entries[1..]);
        assert_eq!(contents.tip, log.tip());
        let segment = opened(&place, 2);
        assert_eq!(segment.settle().unwrap(), contents);
        let loaded = load(&segment.database, Index::new(2)).unwrap();
        assert_eq!((loaded.head, &loaded.entries[..]), (head, &log.entries[1..]));
        let all = |first, last, bytes| segment.entries(Index::new(first), Index::new(last), bytes);
        let last = log.entries.len() as u64;
        for first in 2..=last {
            let from = usize::try_from(first - 1).unwrap();
            assert_eq!(all(first, u64::MAX, usize::MAX).unwrap(), log.entries[from..]);
            assert_eq!(all(first, first, 0).unwrap(), log.entries[from..=from]);
            let to = from + 2.min(log.entries.len() - from);
            assert_eq!(all(first, first + 1, usize::MAX).unwrap(), log.entries[from..to]);
        }
        assert_eq!(all(last + 1, u64::MAX, usize::MAX).unwrap(), []);
    }

    /// One bit of one entry or of the head more or less is another content.
    #[test]
    fn the_content_is_that_of_the_head_and_the_entries() {
        let folder = tempfile::tempdir().unwrap();
        let log = of_all_sizes();
        let head = Log::new().head();
        let hash = |name: &str, head: &Head, entries: &[SealedEntry]| {
            made(&folder.path().join(name), head, entries).content
        };
        let content = hash("one", &head, &log.entries);
        assert_eq!(hash("again", &head, &log.entries), content);
        let other = Head { sessions: Bytes::from_static(b"sessionr"), ..head.clone() };
        assert_ne!(hash("head", &other, &log.entries), content);
        assert_ne!(hash("shorter", &head, &log.entries[..9]), content);
    }

    #[test]
    fn an_entry_that_is_missing_or_not_its_own_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let log = of_all_sizes();
        let of = |name: &str, key: Vec<u8>, value: &[u8]| {
            let place = folder.path().join(name);
            let written = made(&place, &Log::new().head(), &log.entries);
            let segment = opened(&place, 1);
            segment.database.insert(key, value).unwrap();
            // It is not taken for what was written either.
            assert!(
                segment.settle().map_or_else(|error| error.is_damage(), |read| read != written)
            );
            load(&segment.database, Index::new(1)).unwrap_err()
        };
        let sixth = entry_key(Index::new(6), 0);
        for (name, key, value) in [
            ("gone", sixth.clone(), &[][..]),
            ("part", entry_key(Index::new(6), 1), &[][..]),
            ("other", sixth, &log.entries[6].bytes()[..]),
            ("head", HEAD_SEAL_KEY.to_vec(), &[][..]),
        ] {
            let error = of(name, key, value);
            assert!(error.is_damage(), "{name}: {error}");
        }
    }

    #[test]
    fn entries_are_not_written_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("segment");
        let mut log = Log::new();
        for bytes in vec![1000; 20_000].into_iter().chain([100 << 10; 300]) {
            log.add(bytes);
        }
        let bytes: u64 = log.entries.iter().map(|entry| entry.bytes().len() as u64).sum();
        made(&place, &Log::new().head(), &log.entries);
        // sled takes room by its segments, one of which may be hardly begun.
        let length = std::fs::metadata(place.join(DB_FILE)).unwrap().len();
        let bound = bytes + bytes / 10 + SLED_SEGMENT_BYTES as u64;
        assert!(length <= bound, "{length} bytes for entries of {bytes}");
    }
}
