//! Making a store, and finding out at the start what the disk still holds.
//!
//! First everything is looked at, on copies or on files known to be those that were closed; only
//! when all of it holds together is anything opened in place. So a damaged store is left exactly as
//! it was found.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::barrier::DB_FILE;
use super::database::{Database, hash_of, on_copy};
use super::engine::Shape;
use super::error::{Fault, StoreError};
use super::layout::Layout;
use super::lock::FolderLock;
use super::memory::MemoryDisk;
use super::meta::{Contents, Floor, META_SHAPE, Meta, Record};
use super::opened::Store;
use super::segment::{self, Appender, Loaded, Segment, State, has_entries, segment_shape};
use super::segments::{Closing, Live, Segments};
use super::{Head, Identity};
use crate::entry::{SealedEntry, Tip};
use crate::limits::{SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN, SLED_CACHE_BYTES_DEFAULT};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::raft::{Configuration, HardState, Lineage};
use crate::types::{Incarnation, Index, LogId};

/// What can be chosen for a store. It may differ from start to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of entries after which a segment is full; at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// Bytes of pages that sled keeps in memory for each open segment.
    pub sled_cache_bytes: u64,
    /// This start of the process, drawn at random: the store writes it down before anybody hears of
    /// it. A store is known by the start that made it.
    pub start: Incarnation,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            sled_cache_bytes: SLED_CACHE_BYTES_DEFAULT,
            start: Incarnation::default(),
        }
    }
}

/// What a start found.
#[derive(Debug)]
pub struct Recovered {
    /// Term and vote.
    pub hard_state: HardState,
    /// A commit index that this node has known: a hint, at most the last index.
    pub commit_index: Index,
    /// The head of the oldest segment that is not sealed: what `entries` follow on.
    pub head: Head,
    /// All entries after `head`, each checked, up to the end of the log.
    pub entries: Vec<SealedEntry>,
    /// The first index of the segment that is written to.
    pub active_first: Index,
    /// Bytes of the entries in it.
    pub active_bytes: u64,
    /// What to tell the user.
    pub report: RecoveryReport,
}

/// What a start has to tell. Shown as one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// How many segments the log has.
    pub segments: usize,
    /// How many entries were read and checked, one by one and as a chain.
    pub entries_verified: u64,
    /// Bytes behind the last whole batch, the remains of a write that never ended, that were cut.
    pub torn_bytes: u64,
    /// What was known to have been synced.
    pub floor: LogId,
    /// The last entry.
    pub last: LogId,
    /// Whether the stop before was a clean one.
    pub clean: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl std::fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stop = if self.clean { "clean stop" } else { "crash" };
        let (verified, took) = (self.entries_verified, self.elapsed.as_millis());
        write!(f, "verified {verified} and their chain in {took} ms after a {stop}")?;
        if self.torn_bytes > 0 {
            write!(f, ", cut {} bytes of an unfinished write", self.torn_bytes)?;
        }
        Ok(())
    }
}

/// Whether there is a store in `data`.
///
/// # Errors
/// [`StoreError::Io`] if that cannot be told: what cannot be looked at is not lost.
pub fn exists(data: &Path) -> Result<bool, StoreError> {
    let layout = Layout::of(data);
    layout.disk.exists(&layout.meta())
}

/// Makes the store of a new node in `data`, a folder that exists, and closes it again.
///
/// It is on the disk when this returns, and before that [`exists`] says that there is none. A
/// making that was interrupted is simply done again.
///
/// # Errors
/// [`StoreError::Exists`] if there is a store already, [`StoreError::Damage`] if there is a log with
/// entries whose `meta` is gone, and others if the disk refuses.
pub fn create(
    data: &Path,
    identity: Identity,
    configuration: &Configuration,
    options: &Options,
) -> Result<(), StoreError> {
    create_at(&Layout::of(data), identity, configuration, options)
}

/// As [`create`], on a simulated disk.
///
/// # Errors
/// As [`create`].
pub fn create_in(
    disk: &MemoryDisk,
    identity: Identity,
    configuration: &Configuration,
    options: &Options,
) -> Result<(), StoreError> {
    create_at(&Layout::in_memory(disk.mount()), identity, configuration, options)
}

fn create_at(
    layout: &Layout,
    identity: Identity,
    configuration: &Configuration,
    options: &Options,
) -> Result<(), StoreError> {
    let Layout { disk, data } = layout;
    if disk.exists(&layout.meta())? {
        return Err(StoreError::Exists { folder: data.clone() });
    }
    let shape = segment_shape(options.sled_cache_bytes);
    if disk.exists(&layout.log())? {
        for first in layout.segments()? {
            check_has_no_entries(layout, first, shape)?;
        }
    }
    disk.remove_folder(&layout.log())?;
    disk.create_folder(&layout.log())?;
    let head = Head {
        tip: Tip::default(),
        next_offsets: vec![],
        hard_state: HardState::default(),
        configuration: configuration.clone(),
        terms: vec![],
        sessions: bytes::Bytes::new(),
    };
    let first = Index::new(1);
    layout.begin_making(first)?;
    drop(Segment::create(disk, &layout.segment(first), &head, &State::default(), shape)?);
    layout.made(first)?;
    disk.sync_folder(data)?;

    let unfinished = data.join("meta-unfinished");
    disk.remove_folder(&unfinished)?;
    let record = Record {
        generation: 0,
        hard_state: HardState::default(),
        commit_index: Index::ZERO,
        floor: Floor::default(),
        active: first,
        closing: None,
        discarded: None,
        clean: None,
    };
    let lineage = Lineage::new(options.start);
    drop(Meta::create(disk, &unfinished, identity, record, &lineage)?);
    disk.rename(&unfinished, &layout.meta())?;
    disk.sync_folder(data)
}

/// A segment that `meta` does not know may be the rest of a roll that was interrupted, but only if
/// it holds no entries.
fn check_has_no_entries(layout: &Layout, first: Index, shape: Shape) -> Result<(), StoreError> {
    let folder = layout.segment(first);
    // What was never finished holds nothing that anybody was promised.
    if layout.is_unfinished(first)? || !layout.disk.exists(&folder.join(DB_FILE))? {
        return Ok(());
    }
    match on_copy(&layout.disk, &folder, &layout.trial(&folder), shape, has_entries) {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::damage(&folder, Fault::SegmentUnknown)),
        Err(error) => Err(error),
    }
}

/// Opens the store in `data`, after having checked all that a start rests on.
///
/// # Errors
/// [`StoreError`]. Where [`StoreError::is_damage`] holds, nothing in `data` was changed.
pub fn open(
    data: &Path,
    identity: Identity,
    options: Options,
    lock: FolderLock,
) -> Result<(Store, Recovered), StoreError> {
    open_at(Layout::of(data), identity, options, Some(lock))
}

/// As [`open`], on a simulated disk. Nothing else may have the store open.
///
/// # Errors
/// As [`open`].
pub fn open_in(
    disk: &MemoryDisk,
    identity: Identity,
    options: Options,
) -> Result<(Store, Recovered), StoreError> {
    open_at(Layout::in_memory(disk.mount()), identity, options, None)
}

fn open_at(
    layout: Layout,
    identity: Identity,
    options: Options,
    lock: Option<FolderLock>,
) -> Result<(Store, Recovered), StoreError> {
    assert!(options.segment_bytes >= SEGMENT_BYTES_MIN, "segments of {}", options.segment_bytes);
    let started = Instant::now();
    let shape = segment_shape(options.sled_cache_bytes);

    layout.remove_trials()?;
    let contents = examine_meta(&layout, identity)?;
    let unknown = check_folders(&layout, &contents, shape)?;
    let clean = contents.record.clean.is_some();
    if clean {
        hit(Mark::CleanStart);
    }
    let examined = if clean {
        check_closed_files(&layout, &contents.record)?;
        None
    } else {
        let tail = Tail::examine(&layout, &contents.record, shape)?;
        tail.check(&layout, &contents)?;
        Some(tail)
    };

    // So far everything was only read. From here on it is opened in place.
    layout.sync_names()?;
    let mut meta = open_meta(&layout, &contents)?;
    // Opening changes the files: they will not be those that were closed.
    let lineage = contents.lineage.started(options.start);
    meta.start(&lineage, |record| record.clean = None)?;
    let opened = OpenTail::open(&layout, &contents.record, shape)?;
    let tail = opened.load(examined)?;
    tail.check(&layout, &contents)?;
    let hard_state = tail.hard_state(&layout, &contents.record)?;
    let mut appender = Appender::new(opened.active.clone(), tail.tip(), tail.active.bytes)?;
    for first in unknown {
        layout.discard(first)?;
        if layout.is_unfinished(first)? {
            hit(Mark::UnfinishedSegment);
            layout.made(first)?;
        }
    }
    repair(&mut meta, &mut appender, tail.active.state, hard_state)?;
    layout.trash()?.iter().try_for_each(|folder| layout.disk.remove_folder(folder))?;

    let report = RecoveryReport {
        segments: contents.sealed.len() + tail.closing.iter().count() + 1,
        entries_verified: tail.entries_count(),
        torn_bytes: tail.torn_bytes,
        floor: contents.record.floor.id,
        last: appender.tip().id,
        clean,
        elapsed: started.elapsed(),
    };
    let commit_index = tail.commit_index(&contents.record);
    let segments = opened.into_segments(&layout, &contents, shape, &tail);
    let recovered = tail.into_recovered(hard_state, commit_index, report);
    let store = Store {
        layout,
        segments: Arc::new(segments),
        meta,
        appender,
        hard_state,
        commit_index,
        options,
        lineage,
        remembered: contents.remembered,
        lock,
    };
    Ok((store, recovered))
}

/// Reads `meta` from a copy, and refuses what is not ours.
fn examine_meta(layout: &Layout, identity: Identity) -> Result<Contents, StoreError> {
    let folder = layout.meta();
    if !layout.disk.exists(&folder)? {
        return Err(StoreError::Missing { folder: layout.data.clone() });
    }
    if !layout.disk.exists(&layout.log())? {
        return Err(StoreError::Missing { folder: layout.log() });
    }
    layout.check_marks()?;
    let contents =
        on_copy(&layout.disk, &folder, &layout.trial(&folder), META_SHAPE, Contents::read)?;
    if contents.identity == identity {
        Ok(contents)
    } else {
        let folder = layout.data.clone();
        Err(StoreError::Foreign { folder, found: contents.identity, expected: identity })
    }
}

/// Checks that each segment that `meta` names has its folder, and that they follow on each other.
/// Returns the segments with a folder that `meta` does not name.
fn check_folders(
    layout: &Layout,
    contents: &Contents,
    shape: Shape,
) -> Result<Vec<Index>, StoreError> {
    let discarded = contents.record.discarded;
    let mut unknown = layout.segments()?;
    for first in contents.segments() {
        let Some(place) = unknown.iter().position(|found| *found == first) else {
            return Err(StoreError::damage(&layout.log(), Fault::SegmentGone { first }));
        };
        unknown.remove(place);
    }
    let mut next = Index::new(1);
    for row in contents.sealed.values() {
        let first = row.first.index;
        if first != next {
            return Err(StoreError::damage(&layout.meta(), Fault::Border { first }));
        }
        next = row.last.id.index.next();
    }
    for first in unknown.iter().filter(|first| Some(**first) != discarded) {
        check_has_no_entries(layout, *first, shape)?;
    }
    Ok(unknown)
}

/// After a clean stop: the files are those that were closed.
fn check_closed_files(layout: &Layout, record: &Record) -> Result<(), StoreError> {
    let mark = record.clean.expect("the caller saw the mark");
    let closing = record.closing.zip(mark.closing);
    for (first, files) in closing.into_iter().chain([(record.active, mark.active)]) {
        let folder = layout.segment(first);
        if hash_of(&layout.disk, &folder)? != files {
            return Err(StoreError::damage(&folder, Fault::Hash));
        }
    }
    Ok(())
}

fn open_meta(layout: &Layout, contents: &Contents) -> Result<Meta, StoreError> {
    let (meta, found) = Meta::open(&layout.disk, &layout.meta())?;
    if found == *contents {
        Ok(meta)
    } else {
        Err(StoreError::damage(&layout.meta(), Fault::Value { what: "record" }))
    }
}

/// Makes both places of term and vote say the same, and forgets what the start has dealt with.
fn repair(
    meta: &mut Meta,
    appender: &mut Appender,
    found: State,
    hard_state: HardState,
) -> Result<(), StoreError> {
    let is_stale = meta.record().hard_state != hard_state || meta.record().discarded.is_some();
    if is_stale {
        hit(Mark::HardStateRepaired);
        meta.update(|record| {
            record.hard_state = hard_state;
            record.discarded = None;
        })?;
    }
    if found.hard_state != hard_state {
        let meta_generation = meta.record().generation;
        appender.write(None, &[], &State { hard_state, meta_generation, ..found })?;
    }
    Ok(())
}

/// What is not sealed: the active segment and, if there is one, the closing one.
struct Tail {
    closing: Option<Loaded>,
    active: Loaded,
    torn_bytes: u64,
}

impl Tail {
    /// Reads it from copies.
    fn examine(layout: &Layout, record: &Record, shape: Shape) -> Result<Self, StoreError> {
        let mut torn_bytes = 0;
        let mut examine = |first| {
            let folder = layout.segment(first);
            let trial = layout.trial(&folder);
            let disk = &layout.disk;
            let (loaded, torn) = on_copy(disk, &folder, &trial, shape, |database: &Database| {
                let loaded = segment::load(database, first)?;
                Ok((loaded, disk.bytes_torn(&folder.join(DB_FILE), &trial.join(DB_FILE))?))
            })?;
            torn_bytes += torn;
            Ok::<_, StoreError>(loaded)
        };
        let closing = record.closing.map(&mut examine).transpose()?;
        let active = examine(record.active)?;
        Ok(Self { closing, active, torn_bytes })
    }

    /// The head of the older one.
    fn head(&self) -> &Head {
        self.closing.as_ref().map_or(&self.active.head, |closing| &closing.head)
    }

    fn tip(&self) -> Tip {
        self.active.tip()
    }

    fn parts(&self) -> impl Iterator<Item = &Loaded> {
        self.closing.iter().chain([&self.active])
    }

    fn entries_count(&self) -> u64 {
        self.parts().map(|loaded| loaded.entries.len() as u64).sum()
    }

    /// Checks everything that ties it to `meta` and to the segments before it.
    fn check(&self, layout: &Layout, contents: &Contents) -> Result<(), StoreError> {
        let record = &contents.record;
        self.check_borders(layout, contents)?;
        self.check_floor(&layout.segment(record.active), &record.floor)?;
        let seen = self.parts().map(|loaded| loaded.state.meta_generation).max();
        let seen = seen.expect("a log has an active segment");
        if seen > record.generation {
            let found = record.generation;
            return Err(StoreError::damage(&layout.meta(), Fault::OlderMeta { found, seen }));
        }
        self.hard_state(layout, record).map(drop)
    }

    /// Index, term and chain go on from each segment to the next.
    fn check_borders(&self, layout: &Layout, contents: &Contents) -> Result<(), StoreError> {
        let before = contents.sealed.values().last().map_or(Floor::default(), |row| row.last);
        let head = self.head().tip;
        if Floor::from(&head) != before {
            let first = head.id.index.next();
            return Err(StoreError::damage(&layout.segment(first), Fault::Border { first }));
        }
        if let Some(closing) = &self.closing
            && closing.tip() != self.active.head.tip
        {
            let first = contents.record.active;
            return Err(StoreError::damage(&layout.segment(first), Fault::Border { first }));
        }
        Ok(())
    }

    /// What is known to have been synced is there. Above it, a torn end may be missing: nobody was
    /// told of it more than a second ago without the floor having been raised since.
    fn check_floor(&self, place: &Path, floor: &Floor) -> Result<(), StoreError> {
        let (last, wanted) = (self.tip().id, floor.id.index);
        if mutants::is_on(Mutant::CutDamage) {
            return Ok(());
        }
        if last.index < wanted {
            let fault = Fault::BelowFloor { last, floor: floor.id };
            return Err(StoreError::damage(place, fault));
        }
        let head = [self.head().tip];
        let entries = self.parts().flat_map(|loaded| &loaded.entries).map(SealedEntry::tip);
        let found = head.into_iter().chain(entries).find(|tip| tip.id.index == wanted);
        match found {
            Some(tip) if Floor::from(&tip) != *floor => {
                Err(StoreError::damage(place, Fault::OtherFloor { floor: floor.id }))
            }
            // A floor before the head is in a sealed segment, which the head stands for.
            _ => Ok(()),
        }
    }

    /// Term and vote: the higher of the places that have them.
    fn hard_state(&self, layout: &Layout, record: &Record) -> Result<HardState, StoreError> {
        let mut hard_state = record.hard_state;
        for loaded in self.parts() {
            hard_state = higher(&layout.data, hard_state, loaded.state.hard_state)?;
        }
        Ok(hard_state)
    }

    fn commit_index(&self, record: &Record) -> Index {
        let hints = self.parts().map(|loaded| loaded.state.commit_index);
        let highest = hints.chain([record.commit_index]).max().unwrap_or_default();
        highest.min(self.tip().id.index)
    }

    fn into_recovered(
        self,
        hard_state: HardState,
        commit_index: Index,
        report: RecoveryReport,
    ) -> Recovered {
        let Self { closing, active, .. } = self;
        let active_first = active.head.tip.id.index.next();
        let active_bytes = active.bytes;
        let (head, entries) = match closing {
            None => (active.head, active.entries),
            Some(mut closing) => {
                closing.entries.extend(active.entries);
                (closing.head, closing.entries)
            }
        };
        Recovered { hard_state, commit_index, head, entries, active_first, active_bytes, report }
    }
}

/// The same segments, open in place.
struct OpenTail {
    closing: Option<Arc<Segment>>,
    active: Arc<Segment>,
}

impl OpenTail {
    fn open(layout: &Layout, record: &Record, shape: Shape) -> Result<Self, StoreError> {
        let open =
            |first| Segment::open(&layout.disk, &layout.segment(first), first, shape).map(Arc::new);
        Ok(Self { closing: record.closing.map(open).transpose()?, active: open(record.active)? })
    }

    /// What was examined on copies, after a look that the originals are not less; or all of it,
    /// read now.
    fn load(&self, examined: Option<Tail>) -> Result<Tail, StoreError> {
        let Some(tail) = examined else {
            let closing = self.closing.as_ref().map(|segment| segment.load()).transpose()?;
            return Ok(Tail { closing, active: self.active.load()?, torn_bytes: 0 });
        };
        for (segment, loaded) in self.closing.iter().chain([&self.active]).zip(tail.parts()) {
            let last = segment.last()?.map_or(loaded.head.tip, |entry| entry.tip());
            if last != loaded.tip() || segment.state()? != loaded.state {
                let fault = Fault::Gap { expected: loaded.tip().id.index };
                return Err(StoreError::damage(segment.folder(), fault));
            }
        }
        Ok(tail)
    }

    fn into_segments(
        self,
        layout: &Layout,
        contents: &Contents,
        shape: Shape,
        tail: &Tail,
    ) -> Segments {
        let live = |segment: Arc<Segment>, loaded: &Loaded| Live {
            segment,
            next_offsets: loaded.head.next_offsets.clone(),
        };
        let closing = self.closing.zip(tail.closing.as_ref()).map(|(segment, loaded)| Closing {
            first: segment.first(),
            live: Some(live(segment, loaded)),
            tip: loaded.tip(),
            bytes: loaded.bytes,
        });
        let active = live(self.active, &tail.active);
        let sealed = (&contents.sealed, contents.offsets.clone());
        Segments::new(layout.clone(), shape, sealed, closing, active)
    }
}

/// The higher of two terms; of one term, the one with a vote.
pub(super) fn higher(
    data: &Path,
    one: HardState,
    other: HardState,
) -> Result<HardState, StoreError> {
    if one.current_term != other.current_term {
        return Ok(if one.current_term > other.current_term { one } else { other });
    }
    match (one.voted_for, other.voted_for) {
        (Some(first), Some(second)) if first != second => {
            let fault = Fault::TwoVotes { hard_state: one, one: first, other: second };
            Err(StoreError::damage(data, fault))
        }
        (Some(_), _) => Ok(one),
        (None, _) => Ok(other),
    }
}
