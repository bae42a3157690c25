//! The log of a running store, as its readers find it: sealed segments, and the journal behind them.
//!
//! ```text
//!     sealed      sealed         full           filling
//!   |---------| |---------| |.............|..............>
//!   sled, never written again  the journal
//!   opened when its files      may be truncated into, as far
//!   are those in `meta`        as it is not committed
//! ```
//!
//! A segment ends with the entry that fills it, wherever writes begin and end. When all of it is
//! committed it is *sealed* (`settling`): copied from the journal into a database of its own, read back,
//! and put into `meta`'s table. Until then, and all that while, readers find it in the journal.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::Head;
use super::database::{FilesHash, hash_of, wait_until_released};
use super::engine::Shape;
use super::error::{Fault, ReadError, StoreError};
use super::fatal::mark_of;
use super::journal::{JournalFile, Piece, Place, Places, Written};
use super::layout::Layout;
use super::meta::SealedRow;
use super::offset_index::{Ends, OffsetIndex, Starts};
use super::segment::{Segment, encode_head};
use crate::entry::{SealedEntry, Tip};
use crate::limits::{SEALED_OPEN_MAX, SLED_REOPEN_TIMEOUT, UNSEALED_SEGMENTS_MAX};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::types::{Index, LogNumber, Offset};

/// No segment can be sealed.
const NOTHING_TO_SEAL: u64 = u64::MAX;

const UNPOISONED: &str = "a panic ends the process";

/// The segments of a running store, shared by its writer, its upkeep and its readers.
#[derive(Debug)]
pub(super) struct Segments {
    layout: Layout,
    shape: Shape,
    table: Mutex<Table>,
    /// Signalled when a segment was sealed.
    sealed_one: Condvar,
    /// The last index of the oldest full segment, once: whoever sees it committed wakes the upkeep.
    seal_at: AtomicU64,
    /// How many times the files of a sealed segment were hashed.
    verified: AtomicU64,
    /// How many times a sealed segment was opened.
    opened: AtomicU64,
    /// How many sealed segments were scrubbed.
    scrubbed: AtomicU64,
}

#[derive(Debug)]
struct Table {
    sealed: BTreeMap<Index, Arc<Sealed>>,
    /// Which of them has what of each log.
    offsets: OffsetIndex,
    /// The sealed segments that are open, the one used last at the end.
    open: Vec<Index>,
    /// `None` once the store is closed.
    unsealed: Option<Unsealed>,
    /// The last index of the full segment that `seal_at` was set for.
    announced: u64,
    /// The disk has no room for another segment: nobody waits for one.
    lacks_room: bool,
    /// Sealed segments that were given up, and may still be read by somebody who found them before.
    given_up: Vec<Arc<Sealed>>,
    /// From where on entries are needed by those who take them along.
    kept: Vec<Weak<AtomicU64>>,
    /// Sealed segments that are not what was sealed.
    damaged: BTreeMap<Index, Damaged>,
}

/// What is in the journal alone.
#[derive(Debug)]
pub(super) struct Unsealed {
    /// That of the oldest segment that is not sealed.
    pub(super) head: Arc<Head>,
    /// Those of the segments behind it, each of which ends the one before.
    pub(super) heads: VecDeque<Arc<Head>>,
    pub(super) places: Places,
}

/// A full segment, and where it ends.
#[derive(Clone, Debug)]
pub(super) struct Full {
    pub(super) head: Arc<Head>,
    pub(super) next: Arc<Head>,
}

impl Full {
    pub(super) fn first(&self) -> Index {
        self.head.tip.id.index.next()
    }

    pub(super) fn last(&self) -> Index {
        self.next.tip.id.index
    }

    /// Where the logs end of which it has records.
    pub(super) fn ends(&self) -> Ends {
        ends_between(&self.head, &self.next)
    }
}

/// Where the logs end of which there are records between two heads.
pub(super) fn ends_between(head: &Head, next: &Head) -> Ends {
    let before: BTreeMap<_, _> = head.next_offsets.iter().copied().collect();
    let has_records = |(log, next): &&(LogNumber, Offset)| before.get(log) != Some(next);
    next.next_offsets.iter().filter(has_records).copied().collect()
}

/// As long as it lives, no entry is given up that its holder has not come to yet.
#[derive(Debug)]
pub struct Kept {
    first: Index,
    /// The next that it needs.
    needed: Arc<AtomicU64>,
}

impl Kept {
    /// The first entry that was there when it began.
    pub fn first(&self) -> Index {
        self.first
    }

    /// What is before this entry is needed no more.
    pub fn move_to(&self, next: Index) {
        self.needed.fetch_max(next.get(), Ordering::AcqRel);
    }
}

/// A sealed segment that is not what was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its first entry.
    pub first: Index,
    /// Its last entry.
    pub last: Index,
    /// What is wrong, in words.
    pub why: String,
}

#[derive(Debug)]
struct Sealed {
    /// As it was sealed.
    row: SealedRow,
    opened: Mutex<Opened>,
}

/// What has been made of a sealed segment.
#[derive(Debug)]
struct Opened {
    /// Its files: others than those that were sealed once it was mended.
    files: FilesHash,
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
        let opened =
            Opened { files: row.files, kept: None, newest: Weak::new(), is_verified: false };
        Arc::new(Self { row, opened: Mutex::new(opened) })
    }
}

/// Where entries are to be found.
#[derive(Debug)]
pub(super) enum Found {
    /// In a sealed segment, with its last index.
    Sealed(Arc<Segment>, Index),
    /// In the journal.
    Journal(Piece),
}

/// Where a record is to be looked for.
#[derive(Debug)]
pub(super) enum FoundOffset {
    /// In a sealed segment.
    Sealed(Arc<Segment>),
    /// In the journal, from this entry on.
    Journal(Index),
}

impl Segments {
    pub(super) fn new(
        layout: Layout,
        shape: Shape,
        (sealed, offsets): (&BTreeMap<Index, SealedRow>, OffsetIndex),
        unsealed: Unsealed,
    ) -> Self {
        let sealed = sealed.iter().map(|(first, row)| (*first, Sealed::new(row.clone()))).collect();
        let table = Table {
            sealed,
            offsets,
            open: vec![],
            unsealed: Some(unsealed),
            announced: NOTHING_TO_SEAL,
            lacks_room: false,
            given_up: vec![],
            kept: vec![],
            damaged: BTreeMap::new(),
        };
        Self {
            layout,
            shape,
            table: Mutex::new(table),
            sealed_one: Condvar::new(),
            seal_at: AtomicU64::new(NOTHING_TO_SEAL),
            verified: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            scrubbed: AtomicU64::new(0),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect(UNPOISONED)
    }

    // ---- readers ----

    /// Where the entries from `first` on are to be found, if the log reaches so far back and forth: in
    /// one place those up to `last` that fit into `bytes_max`, the first in any case.
    pub(super) fn find(
        &self,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Result<Option<Found>, ReadError> {
        let mut table = self.table();
        let places = &table.unsealed()?.places;
        if first >= places.first() {
            return Ok(places.piece(first, last, bytes_max).map(Found::Journal));
        }
        let found = table.sealed.range(..=first).next_back().map(|(_, sealed)| sealed.clone());
        let Some(sealed) = found else { return Ok(None) };
        table.check_sound(&sealed)?;
        let surplus = table.note_use(sealed.row.first);
        drop(table);
        let segment = self.of_segment(sealed.row.first, self.open_sealed(&sealed, &surplus))?;
        Ok(Some(Found::Sealed(segment, sealed.row.last.id.index)))
    }

    /// Where this record is to be looked for, if the log may hold it.
    pub(super) fn find_offset(
        &self,
        log: LogNumber,
        offset: Offset,
    ) -> Result<Option<FoundOffset>, ReadError> {
        let mut table = self.table();
        let Unsealed { head, places, .. } = table.unsealed()?;
        if offset >= head.next_offset(log) {
            return Ok(Some(FoundOffset::Journal(places.start_for(log, offset))));
        }
        let first = table.offsets.find(log, offset);
        let sealed = first.and_then(|first| table.sealed.get(&first)).cloned();
        let Some(sealed) = sealed else { return Ok(None) };
        table.check_sound(&sealed)?;
        let surplus = table.note_use(sealed.row.first);
        drop(table);
        let segment = self.of_segment(sealed.row.first, self.open_sealed(&sealed, &surplus))?;
        Ok(Some(FoundOffset::Sealed(segment)))
    }

    /// The form of the head that the first entry follows on.
    pub(super) fn first_head(&self) -> Result<Vec<u8>, ReadError> {
        self.head_before(self.first()).map(|form| form.expect("a segment begins with the first"))
    }

    /// The form of the head of the segment that begins with this entry, if there is one.
    pub(super) fn head_before(&self, first: Index) -> Result<Option<Vec<u8>>, ReadError> {
        {
            let table = self.table();
            let Unsealed { head, heads, .. } = table.unsealed()?;
            let mut heads = std::iter::once(head).chain(heads);
            if let Some(head) = heads.find(|head| head.tip.id.index.next() == first) {
                return Ok(Some(encode_head(head)));
            }
        }
        match self.find(first, first, 0)? {
            Some(Found::Sealed(segment, _)) if segment.first() == first => {
                self.of_segment(first, segment.head_form()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What came of reading in a sealed segment. Damage is noted: what is there may be had elsewhere.
    pub(super) fn of_segment<T>(
        &self,
        first: Index,
        outcome: Result<T, StoreError>,
    ) -> Result<T, ReadError> {
        match outcome {
            Err(error) if is_of_disk(&error) => match self.mark_damaged(first, &error) {
                Some(last) => Err(ReadError::Damaged { first, last }),
                // It was given up meanwhile.
                None => Err(error.into()),
            },
            outcome => Ok(outcome?),
        }
    }

    /// From now on no entry is given up that is here, until what this returns says so.
    pub(super) fn keep(&self) -> Kept {
        let mut table = self.table();
        let first = table.first();
        let needed = Arc::new(AtomicU64::new(first.get()));
        table.kept.push(Arc::downgrade(&needed));
        Kept { first, needed }
    }

    /// A sealed segment is opened only when its files are those that were closed. Those that are open
    /// and too many are kept no longer.
    fn open_sealed(
        &self,
        sealed: &Sealed,
        surplus: &[Arc<Sealed>],
    ) -> Result<Arc<Segment>, StoreError> {
        for old in surplus {
            old.opened.lock().expect(UNPOISONED).kept = None;
        }
        let mut opened = sealed.opened.lock().expect(UNPOISONED);
        let first = sealed.row.first;
        if opened.kept.as_ref().is_some_and(|kept| kept.is_worn()) {
            opened.kept = None;
            wait_until_unread(&opened.newest);
        }
        // One that is kept no longer may still be read from: sled would not open it twice.
        let segment = if let Some(segment) = opened.newest.upgrade() {
            segment
        } else {
            let folder = self.layout.segment(first);
            wait_until_released(&self.layout.disk, &folder)?;
            if !opened.is_verified {
                self.verify(&folder, opened.files)?;
                opened.is_verified = true;
            }
            self.opened.fetch_add(1, Ordering::Relaxed);
            Arc::new(Segment::open_sealed(&self.layout.disk, &folder, first, self.shape)?)
        };
        opened.newest = Arc::downgrade(&segment);
        opened.kept = Some(segment.clone());
        Ok(segment)
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

    /// How many times a sealed segment was opened.
    #[cfg(test)]
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    // ---- the writer ----

    /// The end of the log once the entries from `from` on are gone, none of which is sealed.
    pub(super) fn tip_before(&self, from: Index) -> Result<Tip, ReadError> {
        let previous = from.previous();
        let piece = {
            let table = self.table();
            let Unsealed { head, places, .. } = table.unsealed()?;
            if previous == head.tip.id.index {
                return Ok(head.tip);
            }
            places.piece(previous, previous, usize::MAX)
        };
        let piece = piece.expect("what is truncated is behind what is sealed");
        let entry = piece.read()?.pop().expect("a piece has an entry");
        Ok(entry.tip())
    }

    /// Notes what a group has changed, once it is on the disk.
    pub(super) fn note_written(
        &self,
        truncate_from: Option<Index>,
        entries: &[SealedEntry],
        written: &Written,
    ) {
        let mut table = self.table();
        let unsealed = table.unsealed.as_mut().expect("the store is open");
        if let Some(from) = truncate_from {
            unsealed.heads.retain(|head| head.tip.id.index < from);
            unsealed.places.truncate(from);
        }
        unsealed.places.add_file(&written.file);
        let mut at = written.entries_at;
        for entry in entries {
            let length = entry.bytes().len();
            unsealed.places.push(entry, Place { file: written.file.number, at, length });
            at += length as u64;
        }
        self.look_what_is_full(&mut table);
    }

    /// Notes where segments end, all of whose entries were written.
    pub(super) fn note_heads(&self, heads: Vec<Head>) {
        if heads.is_empty() {
            return;
        }
        let mut table = self.table();
        let unsealed = table.unsealed.as_mut().expect("the store is open");
        for head in heads {
            let newest = unsealed.heads.back().unwrap_or(&unsealed.head).tip.id.index;
            assert!(head.tip.id.index > newest, "a segment has entries: {} {newest}", head.tip.id);
            assert!(head.tip.id.index <= unsealed.places.last(), "the end of a segment is written");
            unsealed.heads.push_back(Arc::new(head));
        }
        self.look_what_is_full(&mut table);
    }

    /// Once for each oldest full segment, `seal_at` is set: whoever takes it seals that.
    fn look_what_is_full(&self, table: &mut Table) {
        let oldest = table.unsealed.as_ref().and_then(|unsealed| unsealed.heads.front());
        let last = oldest.map_or(NOTHING_TO_SEAL, |head| head.tip.id.index.get());
        if last != table.announced {
            table.announced = last;
            self.seal_at.store(last, Ordering::Release);
        }
    }

    /// Waits as long as so many committed segments are not sealed that the journal grows too long, and
    /// not once nothing is sealed any more: whoever ends that [wakes](Self::wake) those who wait.
    pub(super) fn wait_for_sealing(&self, committed: Index, is_over: impl Fn() -> bool) {
        let mut table = self.table();
        while table.is_behind(committed) && !is_over() {
            table = self.sealed_one.wait(table).expect(UNPOISONED);
        }
    }

    /// Notes whether the disk has room for another segment.
    pub(super) fn note_room(&self, has_room: bool) {
        self.table().lacks_room = !has_room;
        self.sealed_one.notify_all();
    }

    /// Whether segments are not sealed because the disk had no room for them.
    pub(super) fn lacks_room(&self) -> bool {
        self.table().lacks_room
    }

    /// Lets those who wait for sealing look again whether it is over.
    pub(super) fn wake(&self) {
        // NB: whoever has looked and does not wait yet holds the table.
        let _table = self.table();
        self.sealed_one.notify_all();
    }

    /// Whether so many committed segments are not sealed that the journal grows too long.
    pub(super) fn is_behind(&self, committed: Index) -> bool {
        self.table().is_behind(committed)
    }

    // ---- upkeep ----

    /// Whether the oldest full segment may be sealed now; says so once for each.
    pub(super) fn is_due(&self, committed: Index) -> bool {
        let seal_at = self.seal_at.load(Ordering::Acquire);
        committed.get() >= seal_at
            && self
                .seal_at
                .compare_exchange(seal_at, NOTHING_TO_SEAL, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// The oldest segment that is not sealed, if it is full and all of it is committed.
    pub(super) fn full(&self, committed: Index) -> Option<Full> {
        let table = self.table();
        let Unsealed { head, heads, .. } = table.unsealed.as_ref()?;
        let next = heads.front().filter(|next| next.tip.id.index <= committed)?;
        Some(Full { head: head.clone(), next: next.clone() })
    }

    /// The head of the oldest segment that is not sealed, and the last entry behind it.
    pub(super) fn rest(&self) -> Option<(Arc<Head>, Index)> {
        let table = self.table();
        let Unsealed { head, heads, places } = table.unsealed.as_ref()?;
        let end = heads.front().map_or(places.last(), |next| next.tip.id.index);
        Some((head.clone(), end))
    }

    /// The bytes of each entry from `first` to `last`, all of which are in the journal.
    pub(super) fn lengths(&self, first: Index, last: Index) -> Vec<usize> {
        let table = self.table();
        let places = table.unsealed.as_ref().map(|unsealed| &unsealed.places);
        places.map_or(vec![], |places| places.lengths(first, last))
    }

    /// The number of the oldest file of the journal that is needed once the entries before `first` are
    /// sealed.
    pub(super) fn journal_from(&self, first: Index) -> Option<u64> {
        let table = self.table();
        table.unsealed.as_ref()?.places.oldest_file_from(first)
    }

    /// Takes a sealed segment over from the journal. Returns the files that nobody needs any more: those
    /// before number `journal_from`, as `meta` has it. By now fewer may be needed, but the next start
    /// does not know.
    pub(super) fn note_sealed(
        &self,
        full: &Full,
        row: SealedRow,
        journal_from: u64,
    ) -> Vec<Arc<JournalFile>> {
        let mut table = self.table();
        let Table { sealed, offsets, unsealed, .. } = &mut *table;
        let before = sealed.last_key_value().map(|(_, sealed)| sealed.row.last.id.index);
        let first = full.first();
        assert!(before.is_none_or(|last| last.next() == first), "{first} after {before:?}");
        sealed.insert(first, Sealed::new(row));
        offsets.add(first, &full.ends());
        let Some(unsealed) = unsealed else { return vec![] };
        let next = unsealed.heads.pop_front().expect("a full segment is followed by a head");
        assert_eq!(next.tip, full.next.tip, "what is committed is not truncated");
        unsealed.head = next;
        let files = unsealed.places.seal_before(full.last().next(), journal_from);
        self.look_what_is_full(&mut table);
        self.sealed_one.notify_all();
        files
    }

    // ---- scrubbing ----

    /// The first sealed segment that begins at `next` or behind it, else the oldest; and how many there are.
    pub(super) fn sealed_from(&self, next: Index) -> Option<(SealedRow, u32)> {
        let table = self.table();
        let (_, sealed) = table.sealed.range(next..).next().or(table.sealed.first_key_value())?;
        Some((sealed.row.clone(), u32::try_from(table.sealed.len()).unwrap_or(u32::MAX)))
    }

    /// The hash of the files that a sealed segment is to have, if it is still on the list.
    pub(super) fn files_of(&self, first: Index) -> Option<FilesHash> {
        let sealed = self.table().sealed.get(&first).cloned()?;
        let files = sealed.opened.lock().expect(UNPOISONED).files;
        Some(files)
    }

    /// A sealed segment was scrubbed.
    pub(super) fn note_scrubbed(&self) {
        self.scrubbed.fetch_add(1, Ordering::Relaxed);
    }

    /// A sealed segment is not what was sealed: nobody reads it until it is mended. Returns its last entry,
    /// if it is still on the list.
    pub(super) fn note_damaged(&self, first: Index, why: &dyn std::fmt::Display) -> Option<Index> {
        let mut table = self.table();
        let last = table.sealed.get(&first)?.row.last.id.index;
        table.damaged.entry(first).or_insert_with(|| {
            hit(Mark::SegmentDamaged);
            Damaged { first, last, why: why.to_string() }
        });
        Some(last)
    }

    /// As [`Self::note_damaged`], by who has found it out: the segment gets a mark, so that the next start knows it
    /// as well. Not where the disk did not let it be read: the next start may find it whole.
    pub(super) fn mark_damaged(&self, first: Index, why: &StoreError) -> Option<Index> {
        let is_known = self.table().damaged.contains_key(&first);
        let last = self.note_damaged(first, why)?;
        if !is_known && why.is_damage() {
            let disk = &self.layout.disk;
            let mark = mark_of(&self.layout.segment(first));
            let marked =
                disk.create_mark(&mark).and_then(|()| disk.sync_folder(&self.layout.log()));
            if let Err(error) = marked {
                // A reader or the scrub will find it once more.
                tracing::warn!(%first, %error, "a damaged segment cannot be marked");
            }
        }
        Some(last)
    }

    /// The sealed segments that are known to be damaged.
    pub(super) fn damaged(&self) -> Vec<Damaged> {
        self.table().damaged.values().cloned().collect()
    }

    /// A damaged segment, as it was sealed.
    pub(super) fn damaged_row(&self, first: Index) -> Option<SealedRow> {
        let table = self.table();
        let sealed = table.sealed.get(&first).filter(|_| table.damaged.contains_key(&first))?;
        Some(sealed.row.clone())
    }

    /// Another segment takes the place of a damaged one when `put_in_place` puts it there, as long as
    /// nobody reads the old one. Says whether that was done.
    pub(super) fn replace(
        &self,
        first: Index,
        files: FilesHash,
        put_in_place: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let sealed = {
            let table = self.table();
            table.sealed.get(&first).filter(|_| table.damaged.contains_key(&first)).cloned()
        };
        let Some(sealed) = sealed else { return Ok(false) };
        let mut opened = sealed.opened.lock().expect(UNPOISONED);
        opened.kept = None;
        wait_until_unread(&opened.newest);
        match wait_until_released(&self.layout.disk, &self.layout.segment(first)) {
            // It is the damage that is mended.
            Err(error) if !error.is_damage() => return Err(error),
            _ => (),
        }
        // Whoever gives it up meanwhile waits for its last reader, and that is this one.
        if !put_in_place()? {
            return Ok(false);
        }
        (opened.files, opened.is_verified) = (files, true);
        self.table().damaged.remove(&first);
        Ok(true)
    }

    /// How many sealed segments were scrubbed by this process.
    pub(super) fn scrubbed(&self) -> u64 {
        self.scrubbed.load(Ordering::Relaxed)
    }

    // ---- giving up ----

    /// The first entry that is here.
    pub(super) fn first(&self) -> Index {
        self.table().first()
    }

    /// The first entry that is kept when all is given up that can be: of the sealed segments from the
    /// oldest on those that end before `below` and have no live record.
    pub(super) fn dead_before(&self, below: Index, starts: Starts<'_>) -> Index {
        let mut table = self.table();
        let mut extra = usize::from(mutants::is_on(Mutant::ReleaseLive));
        let Table { sealed, offsets, .. } = &mut *table;
        // The newest stays: it is what the head behind it is compared with at a start.
        let before_newest = sealed.len().saturating_sub(1);
        let mut dead = sealed.values().take(before_newest).take_while(|sealed| {
            let SealedRow { first, last, .. } = &sealed.row;
            let is_free = last.id.index < below;
            is_free && (offsets.pin(*first, starts).is_none() || std::mem::take(&mut extra) > 0)
        });
        let last = dead.by_ref().last().map(|sealed| sealed.row.last.id.index);
        last.map_or_else(|| table.first(), Index::next)
    }

    /// The oldest sealed segment, if it ends before `before`, nobody takes it along, and it is not the newest
    /// as well.
    pub(super) fn oldest_before(&self, before: Index) -> Option<SealedRow> {
        let mut table = self.table();
        let before = before.min(table.needed());
        let oldest = table.sealed.values().next().filter(|_| table.sealed.len() > 1)?;
        (oldest.row.last.id.index < before).then(|| oldest.row.clone())
    }

    /// The oldest sealed segment is not on the list any more: nobody new finds it.
    pub(super) fn give_up(&self, first: Index) {
        let mut table = self.table();
        let oldest = table.sealed.remove(&first).expect("it is on the list");
        table.open.retain(|open| *open != first);
        table.offsets.forget(first);
        table.damaged.remove(&first);
        table.given_up.push(oldest);
    }

    /// Those that were given up and that nobody reads from: from now on nobody has them open.
    pub(super) fn take_unread(&self) -> Vec<Index> {
        let mut unread = vec![];
        self.table().given_up.retain_mut(|sealed| {
            let is_read = !is_unread(sealed);
            if !is_read {
                unread.push(sealed.row.first);
            }
            is_read
        });
        unread
    }

    // ---- the end ----

    /// Closes everything. Readers find the store closed from now on.
    pub(super) fn close(&self) {
        let mut table = self.table();
        table.unsealed = None;
        let given_up = std::mem::take(&mut table.given_up);
        for sealed in std::mem::take(&mut table.sealed).values().chain(&given_up) {
            sealed.opened.lock().expect(UNPOISONED).kept = None;
        }
        self.sealed_one.notify_all();
    }
}

/// Whether the disk is to blame, and not what the process or the system lacks just now.
pub(super) fn is_of_disk(error: &StoreError) -> bool {
    let eio = rustix::io::Errno::IO.raw_os_error();
    let is_eio = |source: &std::io::Error| source.raw_os_error() == Some(eio);
    matches!(error, StoreError::Io { source, .. } if is_eio(source)) || error.is_damage()
}

/// Waits until those have finished who read from a segment that is to be closed. Nobody new gets it
/// meanwhile, and each of them reads some MiB at most and waits for nothing; who takes longer has it on.
fn wait_until_unread(segment: &Weak<Segment>) {
    let give_up = Instant::now() + SLED_REOPEN_TIMEOUT;
    while segment.strong_count() > 0 && Instant::now() < give_up {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether nobody reads from a segment that is on no list. Whoever has found it before holds it until it
/// is open, and what is open as long as it is read.
fn is_unread(sealed: &mut Arc<Sealed>) -> bool {
    let Some(sealed) = Arc::get_mut(sealed) else { return false };
    let opened = sealed.opened.get_mut().expect(UNPOISONED);
    opened.kept = None;
    opened.newest.strong_count() == 0
}

impl Table {
    /// The first entry that is here.
    fn first(&self) -> Index {
        let of_sealed = self.sealed.keys().next().copied();
        let of_journal = || self.unsealed.as_ref().map(|unsealed| unsealed.places.first());
        of_sealed.or_else(of_journal).unwrap_or(Index::new(1))
    }

    /// The first entry that somebody needs who takes the log along.
    fn needed(&mut self) -> Index {
        self.kept.retain(|needed| needed.strong_count() > 0);
        let needed = self.kept.iter().filter_map(Weak::upgrade);
        let first = needed.map(|needed| needed.load(Ordering::Acquire)).min();
        first.map_or(Index::new(u64::MAX), Index::new)
    }

    /// What is damaged is read by nobody.
    fn check_sound(&self, sealed: &Sealed) -> Result<(), ReadError> {
        let first = sealed.row.first;
        match self.damaged.get(&first) {
            Some(damaged) => Err(ReadError::Damaged { first, last: damaged.last }),
            None => Ok(()),
        }
    }

    fn unsealed(&self) -> Result<&Unsealed, ReadError> {
        self.unsealed.as_ref().ok_or(ReadError::Closed)
    }

    fn is_behind(&self, committed: Index) -> bool {
        self.unsealed.as_ref().is_some_and(|unsealed| {
            let full = unsealed.heads.iter().filter(|head| head.tip.id.index <= committed);
            full.count() >= UNSEALED_SEGMENTS_MAX && !self.lacks_room
        })
    }

    /// Notes that a sealed segment is used, and returns those that are open and too many.
    fn note_use(&mut self, first: Index) -> Vec<Arc<Sealed>> {
        self.open.retain(|open| *open != first);
        self.open.push(first);
        let surplus = self.open.len().saturating_sub(SEALED_OPEN_MAX);
        self.open.drain(..surplus).filter_map(|old| self.sealed.get(&old).cloned()).collect()
    }
}
