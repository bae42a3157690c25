//! The row of segments: which there are, which one holds what, and how one becomes the next.
//!
//! ```text
//!     sealed      sealed      closing      active
//!   |---------| |---------| |---------| |------>
//!   never written again      full, may   written
//!   opened when its files    still be    to
//!   are those in `meta`      truncated
//! ```
//!
//! The full segment is *closing* until everything in it is committed; then it is *sealed*: read from
//! end to end, closed, opened and closed once more (after that sled changes nothing in it, however
//! often it is read), hashed, and put into `meta`'s table. At most one segment is closing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::Head;
use super::database::{FilesHash, hash_of, wait_until_released};
use super::disk::Disk;
use super::engine::Shape;
use super::error::{Fault, ReadError, StoreError};
use super::layout::Layout;
use super::meta::{Ends, Floor, Meta, OffsetIndex, SealedRow};
use super::segment::{Segment, State};
use crate::entry::Tip;
use crate::limits::{READERS_WAIT, SEALED_OPEN_MAX, SEGMENT_WAIT};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{Index, LogNumber, Offset};

/// No segment waits to be sealed.
const NOTHING_TO_SEAL: u64 = u64::MAX;

const PAUSE: Duration = Duration::from_millis(1);

const UNPOISONED: &str = "a panic ends the process";

/// The segments of a running store, shared by its writer, its upkeep and its readers.
#[derive(Debug)]
pub(super) struct Segments {
    layout: Layout,
    shape: Shape,
    table: Mutex<Table>,
    /// Signalled when a sealing is over.
    sealed_one: Condvar,
    /// The last index of the closing segment, once: whoever sees it committed wakes the upkeep.
    seal_at: AtomicU64,
    /// How many times the files of a sealed segment were hashed.
    verified: AtomicU64,
    /// Whoever reads does not wait for a segment that is being sealed, and is told at once.
    is_stepped: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    sealed: BTreeMap<Index, Arc<Sealed>>,
    /// Which of them has what of each log.
    offsets: OffsetIndex,
    closing: Option<Closing>,
    /// `None` once the store is closed.
    active: Option<Live>,
    /// The sealed segments that are open, the one used last at the end.
    open: Vec<Index>,
}

/// A segment that is open for good.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) segment: Arc<Segment>,
    /// The next offset of each log before its first entry.
    pub(super) next_offsets: Vec<(LogNumber, Offset)>,
}

/// The full segment before the active one.
#[derive(Debug)]
pub(super) struct Closing {
    /// `None` while it is being sealed.
    pub(super) live: Option<Live>,
    pub(super) first: Index,
    /// Its last entry.
    pub(super) tip: Tip,
    /// Bytes of its entries.
    pub(super) bytes: u64,
}

/// A segment that is being sealed: nobody can read it until it is.
#[derive(Debug)]
pub(super) struct Sealing {
    segment: Arc<Segment>,
    /// Its last entry.
    last: Floor,
    /// Where the logs end of which it has records.
    ends: Ends,
}

#[derive(Debug)]
struct Sealed {
    row: SealedRow,
    opened: Mutex<Opened>,
}

/// What has been made of a sealed segment.
#[derive(Debug, Default)]
struct Opened {
    /// Kept open.
    kept: Option<Arc<Segment>>,
    /// Open as long as somebody reads from it.
    newest: Weak<Segment>,
    /// This process has found its files to be those that were closed. Entries are checked as they
    /// are read; the whole is hashed once, or readers of more segments than are kept open would hash
    /// without end.
    is_verified: bool,
}

impl Sealed {
    fn new(row: SealedRow) -> Arc<Self> {
        Arc::new(Self { row, opened: Mutex::default() })
    }
}

/// Where an index or an offset is to be found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segment: Arc<Segment>,
    /// The last index of the segment; `None` for the active one.
    pub(super) last: Option<Index>,
}

enum Place {
    Live(Found),
    Sealed(Arc<Sealed>),
    Busy(Index),
    Nowhere,
}

impl Segments {
    pub(super) fn new(
        layout: Layout,
        shape: Shape,
        (sealed, offsets): (&BTreeMap<Index, SealedRow>, OffsetIndex),
        closing: Option<Closing>,
        active: Live,
    ) -> Self {
        let seal_at = closing.as_ref().map_or(NOTHING_TO_SEAL, |c| c.tip.id.index.get());
        let border = closing.as_ref().map(|closing| closing.tip.id.index.next());
        let first = active.segment.first();
        assert!(border.is_none_or(|border| border == first), "{first} follows the closing segment");
        let sealed = sealed.iter().map(|(first, row)| (*first, Sealed::new(row.clone()))).collect();
        let table = Table { sealed, offsets, closing, active: Some(active), open: vec![] };
        Self {
            layout,
            shape,
            table: Mutex::new(table),
            sealed_one: Condvar::new(),
            seal_at: AtomicU64::new(seal_at),
            verified: AtomicU64::new(0),
            is_stepped: AtomicBool::new(false),
        }
    }

    /// For a simulation, which waits in its own time.
    pub(super) fn never_wait(&self) {
        self.is_stepped.store(true, Ordering::Release);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect(UNPOISONED)
    }

    // ---- readers ----

    /// The segment that holds this index, if the log reaches so far back.
    pub(super) fn find(&self, index: Index) -> Result<Option<Found>, ReadError> {
        self.wait_for(|table| table.place_of(index))
    }

    /// The segment that holds this record, if any does.
    pub(super) fn find_offset(
        &self,
        log: LogNumber,
        offset: Offset,
    ) -> Result<Option<Found>, ReadError> {
        self.wait_for(|table| table.place_of_offset(log, offset))
    }

    fn wait_for(&self, place: impl Fn(&Table) -> Place) -> Result<Option<Found>, ReadError> {
        let is_stepped = self.is_stepped.load(Ordering::Acquire);
        let give_up = Instant::now() + if is_stepped { Duration::ZERO } else { SEGMENT_WAIT };
        let mut table = self.table();
        loop {
            if table.active.is_none() {
                return Err(ReadError::Closed);
            }
            match place(&table) {
                Place::Nowhere => return Ok(None),
                Place::Live(found) => return Ok(Some(found)),
                Place::Sealed(sealed) => {
                    let surplus = table.note_use(sealed.row.first.index);
                    drop(table);
                    for old in surplus {
                        old.opened.lock().expect(UNPOISONED).kept = None;
                    }
                    return Ok(Some(self.open_sealed(&sealed)?));
                }
                Place::Busy(_) if mutants::is_on(Mutant::SealingIsTheEnd) => return Ok(None),
                Place::Busy(first) => {
                    hit(Mark::SegmentBusy);
                    let left = give_up.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(ReadError::Busy { first });
                    }
                    table = self.sealed_one.wait_timeout(table, left).expect(UNPOISONED).0;
                }
            }
        }
    }

    /// A sealed segment is opened only when its files are those that were closed.
    fn open_sealed(&self, sealed: &Sealed) -> Result<Found, StoreError> {
        let mut opened = sealed.opened.lock().expect(UNPOISONED);
        let first = sealed.row.first.index;
        // One that is kept no longer may still be read from: sled would not open it twice.
        let segment = if let Some(segment) = opened.newest.upgrade() {
            segment
        } else {
            let folder = self.layout.segment(first);
            wait_until_released(&self.layout.disk, &folder)?;
            if !opened.is_verified {
                self.verify(&folder, sealed.row.files)?;
                opened.is_verified = true;
            }
            Arc::new(Segment::open(&self.layout.disk, &folder, first, self.shape)?)
        };
        opened.newest = Arc::downgrade(&segment);
        opened.kept = Some(segment.clone());
        Ok(Found { segment, last: Some(sealed.row.last.id.index) })
    }

    fn verify(&self, folder: &Path, files: FilesHash) -> Result<(), StoreError> {
        self.verified.fetch_add(1, Ordering::Relaxed);
        if hash_of(&self.layout.disk, folder)? == files {
            Ok(())
        } else {
            Err(StoreError::damage(folder, Fault::Hash))
        }
    }

    /// How many times the files of a sealed segment were hashed.
    #[cfg(test)]
    pub(super) fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    // ---- the writer ----

    /// Takes a new segment, which begins with `head`; the active one becomes the closing one.
    ///
    /// The new one is on the disk with its head before `meta` names it, and `meta` names it before
    /// an entry goes in.
    pub(super) fn roll(
        &self,
        head: &Head,
        state: &State,
        bytes: u64,
        meta: &Mutex<Meta>,
    ) -> Result<Arc<Segment>, StoreError> {
        let first = head.tip.id.index.next();
        let folder = self.layout.segment(first);
        self.layout.disk.remove_folder(&folder)?;
        self.layout.begin_making(first)?;
        let segment =
            Arc::new(Segment::create(&self.layout.disk, &folder, head, state, self.shape)?);
        self.layout.made(first)?;

        let closing = self.active_first();
        assert!(closing < first, "the active segment has entries");
        meta.lock().expect(UNPOISONED).update(|record| {
            assert_eq!(record.closing, None, "at most one segment is closing");
            record.active = first;
            record.closing = Some(closing);
            record.discarded = None;
        })?;

        let mut table = self.table();
        let live = Live { segment: segment.clone(), next_offsets: head.next_offsets.clone() };
        let full = table.active.replace(live);
        assert!(full.is_some() && table.closing.is_none(), "nobody else rolls");
        table.closing = Some(Closing { live: full, first: closing, tip: head.tip, bytes });
        self.seal_at.store(head.tip.id.index.get(), Ordering::Release);
        Ok(segment)
    }

    fn active_first(&self) -> Index {
        let table = self.table();
        table.active.as_ref().expect("the store is open").segment.first()
    }

    /// The last index of the closing segment, if there is one.
    pub(super) fn closing_last(&self) -> Option<Index> {
        self.table().closing.as_ref().map(|closing| closing.tip.id.index)
    }

    /// The closing segment, its last entry and its size, for a truncation into it.
    pub(super) fn closing(&self) -> Option<(Arc<Segment>, Tip, u64)> {
        let table = self.table();
        let closing = table.closing.as_ref()?;
        let live = closing.live.as_ref().expect("what is being sealed is committed");
        Some((live.segment.clone(), closing.tip, closing.bytes))
    }

    /// Waits until no segment is closing. Only for a sealing that is under way.
    pub(super) fn wait_until_sealed(&self) {
        let mut table = self.table();
        while table.closing.is_some() {
            table = self.sealed_one.wait(table).expect(UNPOISONED);
        }
    }

    /// Makes the closing segment the active one again, for a truncation into it.
    ///
    /// `meta` says so, behind its barrier and with `floor`, before the newer folder gets another
    /// name, and that is on the disk before an entry is removed. Whenever a crash comes, the log is
    /// the old one or a shorter one. Returns the folder to delete.
    pub(super) fn give_up_active(
        &self,
        floor: Option<Floor>,
        meta: &Mutex<Meta>,
    ) -> Result<PathBuf, StoreError> {
        self.seal_at.store(NOTHING_TO_SEAL, Ordering::Release);
        let newer = self.active_first();
        let mut table = self.table();
        let closing = table.closing.take().expect("a truncation reaches the closing segment");
        assert!(closing.first < newer, "the closing segment is the one before");
        let live = closing.live.expect("what is being sealed is committed");
        table.active = Some(live);
        drop(table);

        give_up_in_meta(&mut meta.lock().expect(UNPOISONED), floor)?;
        self.layout.discard(newer)
    }

    // ---- upkeep ----

    /// Whether the closing segment may be sealed now; says so once for each.
    pub(super) fn is_due(&self, committed: Index) -> bool {
        let seal_at = self.seal_at.load(Ordering::Acquire);
        committed.get() >= seal_at
            && self
                .seal_at
                .compare_exchange(seal_at, NOTHING_TO_SEAL, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// Takes the closing segment away from its readers, if all of it is committed and it is not taken
    /// yet.
    pub(super) fn begin_seal(&self, committed: Index) -> Option<Sealing> {
        let mut table = self.table();
        let Table { closing, active, .. } = &mut *table;
        let closing = closing.as_mut()?;
        if closing.tip.id.index > committed {
            return None;
        }
        let behind = &active.as_ref()?.next_offsets;
        let Live { segment, next_offsets } = closing.live.take()?;
        let before: BTreeMap<_, _> = next_offsets.into_iter().collect();
        let has_records = |(log, next): &&(LogNumber, Offset)| before.get(log) != Some(next);
        let ends = behind.iter().filter(has_records).copied().collect();
        Some(Sealing { segment, last: Floor::from(&closing.tip), ends })
    }

    /// Seals it.
    pub(super) fn seal(&self, sealing: Sealing, meta: &Mutex<Meta>) -> Result<(), StoreError> {
        let Sealing { segment, last, ends } = sealing;
        let first = segment.first();
        let entry = segment
            .entry(first)?
            .ok_or_else(|| StoreError::damage(segment.folder(), Fault::Gap { expected: first }))?;
        segment.settle()?;
        let files = self.close_for_good(segment)?;

        hit(Mark::Sealed);
        assert!(first <= last.id.index, "only a segment with entries is sealed");
        let row = SealedRow { first: entry.id(), last, files, ends_parts: 0 };
        meta.lock().expect(UNPOISONED).seal(row.clone(), &ends, |record| {
            assert_eq!(record.closing, Some(first), "nobody else seals");
            record.closing = None;
            if record.floor.id.index < last.id.index {
                record.floor = last;
            }
        })?;
        let mut table = self.table();
        let before = table.sealed.last_key_value().map(|(_, sealed)| sealed.row.last.id.index);
        assert!(before.is_none_or(|last| last.next() == first), "{first} after {before:?}");
        table.sealed.insert(first, Sealed::new(row));
        table.offsets.add(first, &ends);
        table.closing = None;
        self.sealed_one.notify_all();
        Ok(())
    }

    /// Closes a segment, opens and closes it once more, and hashes its files: sled writes a
    /// snapshot when it opens what it has not opened before, and nothing the next time.
    fn close_for_good(&self, segment: Arc<Segment>) -> Result<FilesHash, StoreError> {
        let first = segment.first();
        let folder = self.layout.segment(first);
        close(&self.layout.disk, segment)?;
        drop(Segment::open(&self.layout.disk, &folder, first, self.shape)?);
        wait_until_released(&self.layout.disk, &folder)?;
        hash_of(&self.layout.disk, &folder)
    }

    // ---- the end ----

    /// Closes everything. Readers find the store closed from now on. Returns the folders of the
    /// active segment and, if there is one, of the closing one.
    pub(super) fn close(&self) -> Result<Vec<PathBuf>, StoreError> {
        let Table { active, closing, sealed, .. } = std::mem::take(&mut *self.table());
        self.sealed_one.notify_all();
        for sealed in sealed.values() {
            sealed.opened.lock().expect(UNPOISONED).kept = None;
        }
        let closed = |live: Live| {
            let folder = live.segment.folder().to_owned();
            live.segment.sync()?;
            close(&self.layout.disk, live.segment).map(|()| folder)
        };
        let active = active.map(closed).transpose()?;
        let closing = closing.and_then(|closing| closing.live).map(closed).transpose()?;
        Ok(active.into_iter().chain(closing).collect())
    }
}

/// Step 1 of a truncation into the closing segment: `meta` says so, behind its barrier.
pub(super) fn give_up_in_meta(meta: &mut Meta, floor: Option<Floor>) -> Result<(), StoreError> {
    meta.update(|record| {
        let closing = record.closing.take().expect("a segment is closing");
        record.discarded = Some(record.active);
        record.active = closing;
        if let Some(floor) = floor {
            record.floor = floor;
        }
    })
}

/// Closes a segment once the last reader has let go of it, and waits for sled to do so too.
fn close(disk: &Disk, segment: Arc<Segment>) -> Result<(), StoreError> {
    let folder = segment.folder().to_owned();
    let give_up = Instant::now() + READERS_WAIT;
    while Arc::strong_count(&segment) > 1 && Instant::now() < give_up {
        thread::sleep(PAUSE);
    }
    drop(segment);
    wait_until_released(disk, &folder)
}

impl Table {
    fn place_of(&self, index: Index) -> Place {
        let active = self.active.as_ref().expect("checked by the caller");
        if index >= active.segment.first() {
            return Place::Live(Found { segment: active.segment.clone(), last: None });
        }
        if let Some(closing) = &self.closing
            && index >= closing.first
        {
            return closing.place();
        }
        match self.sealed.range(..=index).next_back() {
            Some((_, sealed)) => Place::Sealed(sealed.clone()),
            None => Place::Nowhere,
        }
    }

    /// The newest segment before whose first entry the log had not come further than this.
    fn place_of_offset(&self, log: LogNumber, offset: Offset) -> Place {
        let reaches = |next_offsets: &[(LogNumber, Offset)]| {
            let start = next_offsets.iter().find(|(number, _)| *number == log);
            offset >= start.map_or(Offset::ZERO, |(_, next)| *next)
        };
        let active = self.active.as_ref().expect("checked by the caller");
        if reaches(&active.next_offsets) {
            return Place::Live(Found { segment: active.segment.clone(), last: None });
        }
        if let Some(closing) = &self.closing
            && closing.live.as_ref().is_none_or(|live| reaches(&live.next_offsets))
        {
            return closing.place();
        }
        let first = self.offsets.find(log, offset);
        let sealed = first.and_then(|first| self.sealed.get(&first));
        sealed.map_or(Place::Nowhere, |sealed| Place::Sealed(sealed.clone()))
    }

    /// Notes that a sealed segment is used, and returns those that are open and too many.
    fn note_use(&mut self, first: Index) -> Vec<Arc<Sealed>> {
        self.open.retain(|open| *open != first);
        self.open.push(first);
        let surplus = self.open.len().saturating_sub(SEALED_OPEN_MAX);
        self.open.drain(..surplus).filter_map(|old| self.sealed.get(&old).cloned()).collect()
    }
}

impl Closing {
    fn place(&self) -> Place {
        match &self.live {
            Some(live) => {
                Place::Live(Found { segment: live.segment.clone(), last: Some(self.tip.id.index) })
            }
            None => Place::Busy(self.first),
        }
    }
}
