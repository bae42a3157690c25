//! Making a store, and finding out at the start what the disk still holds.
//!
//! First everything is looked at; only when all of it holds together is anything changed. So a damaged
//! store is left exactly as it was found.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::database::{hash_of, on_copy, wait_until_released};
use super::error::{Fault, StoreError};
use super::fatal::mark_of;
use super::head;
use super::installed;
use super::journal::{GroupMark, Journal, JournalFile, Places, Scan, Spares};
use super::layout::Layout;
use super::lock::FolderLock;
use super::memory::MemoryDisk;
use super::meta::{Contents, LastEntry, META_SHAPE, Meta, Record, SealedRow};
use super::opened::Store;
use super::reserve::{self, Reserve};
use super::segment::segment_shape;
use super::segments::{Segments, Unsealed};
use super::{Head, Identity};
use crate::entry::{SealedEntry, Tip};
use crate::limits::JOURNAL_FILE_BYTES_DEFAULT;
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::raft::{Configuration, HardState, Lineage};
use crate::types::{Incarnation, Index, LogId};

/// What can be chosen for a store. It may differ from start to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a file of the journal that is made ahead.
    pub journal_file_bytes: u64,
    /// This start of the process, drawn at random: the store writes it down before anybody hears of
    /// it. A store is known by the start that made it.
    pub start: Incarnation,
}

impl Default for Options {
    fn default() -> Self {
        Self { journal_file_bytes: JOURNAL_FILE_BYTES_DEFAULT, start: Incarnation::default() }
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
    /// Bytes of a write that never ended, which will be overwritten.
    pub torn_bytes: u64,
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
    Ok(layout.disk.exists(&layout.meta())? || installed::is_ready(&layout)?)
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
    create_at(&Layout::of(data), identity, configuration, (options, Lineage::new(options.start)))
}

/// As [`create`], of a node that joins a cluster: the store says that it came later, so that it is never taken
/// for one that the cluster began with.
///
/// # Errors
/// As [`create`].
pub fn create_to_join(
    data: &Path,
    identity: Identity,
    configuration: &Configuration,
    options: &Options,
) -> Result<(), StoreError> {
    let lineage = Lineage::in_place(options.start);
    create_at(&Layout::of(data), identity, configuration, (options, lineage))
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
    let layout = Layout::in_memory(disk.mount());
    create_at(&layout, identity, configuration, (options, Lineage::new(options.start)))
}

pub(super) fn create_at(
    layout: &Layout,
    identity: Identity,
    configuration: &Configuration,
    (options, lineage): (&Options, Lineage),
) -> Result<(), StoreError> {
    let Layout { disk, data, .. } = layout;
    if disk.exists(&layout.meta())? {
        return Err(StoreError::Exists { folder: data.clone() });
    }
    check_has_no_entries(layout, identity)?;
    for folder in [layout.log(), layout.journal()] {
        disk.remove_folder(&folder)?;
        disk.create_folder(&folder)?;
    }
    let first = Head {
        tip: Tip::default(),
        next_offsets: vec![],
        configuration: configuration.clone(),
        terms: vec![],
        sessions: bytes::Bytes::new(),
    };
    head::write(layout, &first)?;
    let number = 1;
    let Options { journal_file_bytes, start, .. } = *options;
    Spares::new(layout.clone(), identity, start, journal_file_bytes, number).begin()?;
    disk.sync_folder(data)?;

    let record = Record {
        generation: 0,
        hard_state: HardState::default(),
        commit_index: Index::ZERO,
        synced: GroupMark::default(),
        journal_from: number,
        first: Index::new(1),
        is_clean: false,
    };
    create_meta(layout, identity, (record, &lineage), |_| Ok(()))
}

/// Makes `meta` with what `fill` adds, under another name until all of it is there.
pub(super) fn create_meta(
    layout: &Layout,
    identity: Identity,
    (record, lineage): (Record, &Lineage),
    fill: impl FnOnce(&mut Meta) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Layout { disk, data, .. } = layout;
    let unfinished = layout.unfinished_meta();
    disk.remove_folder(&unfinished)?;
    let mut meta = Meta::create(disk, &unfinished, identity, record, lineage)?;
    fill(&mut meta)?;
    drop(meta);
    disk.rename(&unfinished, &layout.meta())?;
    disk.sync_folder(data)
}

/// What is there without a `meta` may be the rest of a making that was interrupted, but only if nobody
/// wrote anything.
fn check_has_no_entries(layout: &Layout, identity: Identity) -> Result<(), StoreError> {
    let gone = |place: &Path| StoreError::damage(place, Fault::MetaGone);
    if layout.disk.exists(&layout.log())?
        && let Some(first) = layout.segments()?.first()
    {
        return Err(gone(&layout.segment(*first)));
    }
    if !layout.disk.exists(&layout.journal())? {
        return Ok(());
    }
    let Some(from) = layout.journal_files()?.first().copied() else { return Ok(()) };
    match Scan::read(layout, identity, from, GroupMark::default()) {
        Ok(scan) if scan.first.is_some() => Err(gone(&layout.journal_file(from))),
        // The first block of a file that was never begun.
        Err(error) if !matches!(error, StoreError::Damage { fault: Fault::Value { .. }, .. }) => {
            Err(error)
        }
        _ => Ok(()),
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
    open_at(&Layout::of(data), identity, options, Some(lock))
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
    open_at(&Layout::in_memory(disk.mount()), identity, options, None)
}

fn open_at(
    layout: &Layout,
    identity: Identity,
    options: Options,
    lock: Option<FolderLock>,
) -> Result<(Store, Recovered), StoreError> {
    let opened = match try_to_open(layout, identity, &options) {
        Err(error) if error.is_full() && reserve::give_up(layout)? => {
            wait_until_released(&layout.disk, &layout.meta())?;
            try_to_open(layout, identity, &options)
        }
        outcome => outcome,
    };
    let (store, recovered) = opened?;
    Ok((Store { lock, ..store }, recovered))
}

fn try_to_open(
    layout: &Layout,
    identity: Identity,
    options: &Options,
) -> Result<(Store, Recovered), StoreError> {
    let started = Instant::now();
    layout.remove_trials()?;
    installed::finish(layout)?;
    let found = Examined::look(layout, identity)?;
    let Contents { record, sealed, remembered, .. } = &found.contents;
    let clean = record.is_clean;
    if clean {
        hit(Mark::CleanStart);
    }

    // So far everything was only read.
    layout.sync_names()?;
    let reserve = Reserve::of(layout)?;
    let mut meta = open_meta(layout, &found.contents)?;
    let lineage = found.contents.lineage.started(options.start);
    meta.start(&lineage, |record| {
        record.is_clean = false;
        record.hard_state = found.hard_state;
    })?;
    remove_copies(layout, &found)?;
    layout.remove_mending(record.first)?;
    let listed: Vec<_> = sealed.keys().copied().collect();
    for first in layout.check_marks(&listed, record.first)? {
        if !found.damaged.contains(&first) {
            layout.disk.remove_file(&mark_of(&layout.segment(first)))?;
        }
    }
    let (journal, unsealed) = found.go_on(layout, identity, options)?;
    reserve.keep()?;
    let shape = segment_shape();
    let rows = (sealed, found.contents.offsets.clone());
    let segments = Arc::new(Segments::new(layout.clone(), shape, rows, unsealed));
    let forgets = mutants::is_on(Mutant::ForgetDamage);
    for first in found.damaged.iter().filter(|_| !forgets) {
        segments.note_damaged(*first, &"it is gone or marked");
    }
    let report = RecoveryReport {
        segments: sealed.len() + 1,
        entries_verified: found.entries_verified,
        torn_bytes: found.scan.torn_bytes,
        last: found.tip().id,
        clean,
        elapsed: started.elapsed(),
    };
    let store = Store {
        layout: layout.clone(),
        segments,
        meta,
        journal,
        reserve,
        tip: found.tip(),
        hard_state: found.hard_state,
        commit_index: found.commit_index(),
        lineage,
        remembered: remembered.clone(),
        lock: None,
    };
    Ok((store, found.into_recovered(report)))
}

/// All that a start rests on, looked at and found to hold together.
pub(super) struct Examined {
    pub(super) contents: Contents,
    /// That of the oldest segment that is not sealed.
    pub(super) head: Head,
    /// The journal; its entries are those behind `head`.
    pub(super) scan: Scan,
    pub(super) hard_state: HardState,
    /// Sealed segments that are known to be damaged.
    damaged: Vec<Index>,
    entries_verified: u64,
}

impl Examined {
    /// Reads everything that is not in sealed segments, and checks it against `meta`. Changes nothing.
    pub(super) fn look(layout: &Layout, identity: Identity) -> Result<Self, StoreError> {
        let contents = examine_meta(layout, identity)?;
        let damaged = check_segments(layout, &contents)?;
        Ok(Self { damaged, ..Self::of(layout, contents)? })
    }

    /// Reads the journal, and checks it against `meta`. Changes nothing.
    pub(super) fn of(layout: &Layout, contents: Contents) -> Result<Self, StoreError> {
        let record = &contents.record;
        let (from, synced) = (record.journal_from, record.synced);
        let mut scan = Scan::read(layout, contents.identity, from, synced)?;
        if scan.meta_generation > record.generation {
            let (found, seen) = (record.generation, scan.meta_generation);
            return Err(StoreError::damage(&layout.meta(), Fault::OlderMeta { found, seen }));
        }
        let hard_state = match scan.hard_state {
            Some(of_journal) => higher(&layout.data, record.hard_state, of_journal)?,
            None => record.hard_state,
        };
        if hard_state != record.hard_state {
            hit(Mark::HardStateRepaired);
        }
        let entries_verified = scan.entries.len() as u64;
        let head = head::read(layout, contents.last_sealed().id.index.next())?;
        check_border(layout, &contents, &head, &mut scan)?;
        Ok(Self { contents, head, scan, hard_state, damaged: vec![], entries_verified })
    }

    /// The last entry.
    pub(super) fn tip(&self) -> Tip {
        self.scan.entries.last().map_or(self.head.tip, |(entry, _)| entry.tip())
    }

    /// A commit index that was known, as far as the log reaches.
    pub(super) fn commit_index(&self) -> Index {
        let known = self.scan.commit_index.max(self.contents.record.commit_index);
        known.max(self.head.tip.id.index).min(self.tip().id.index)
    }

    /// Opens the journal to write on where it ends.
    fn go_on(
        &self,
        layout: &Layout,
        identity: Identity,
        options: &Options,
    ) -> Result<(Journal, Unsealed), StoreError> {
        let Scan { files, entries, end, last, next_number, free, .. } = &self.scan;
        let Options { start, journal_file_bytes, .. } = *options;
        let spares = Spares::new(layout.clone(), identity, start, journal_file_bytes, *next_number);
        spares.give_back(free.iter().cloned())?;
        let mut places = Places::new(self.head.tip.id.index.next());
        let mut newest = None;
        for header in files {
            let file = Arc::new(JournalFile::open(layout, header)?);
            places.add_file(&file);
            newest = Some(file);
        }
        for (entry, place) in entries {
            places.push(entry, *place);
        }
        let newest = newest.expect("a journal has a file");
        let journal = Journal::new(Arc::new(spares), newest, *end, *last);
        let head = Arc::new(self.head.clone());
        Ok((journal, Unsealed { head, heads: std::collections::VecDeque::new(), places }))
    }

    fn into_recovered(self, report: RecoveryReport) -> Recovered {
        let commit_index = self.commit_index();
        let Self { head, scan, hard_state, .. } = self;
        let entries = scan.entries.into_iter().map(|(entry, _)| entry).collect();
        Recovered { hard_state, commit_index, head, entries, report }
    }
}

/// Reads `meta` from a copy, and refuses what is not ours.
pub(super) fn examine_meta(layout: &Layout, identity: Identity) -> Result<Contents, StoreError> {
    let folder = layout.meta();
    if !layout.disk.exists(&folder)? {
        return Err(StoreError::Missing { folder: layout.data.clone() });
    }
    for folder in [layout.log(), layout.journal()] {
        if !layout.disk.exists(&folder)? {
            return Err(StoreError::Missing { folder });
        }
    }
    layout.check_mark(&layout.meta())?;
    let contents =
        on_copy(&layout.disk, &folder, &layout.trial(&folder), META_SHAPE, Contents::read)?;
    if contents.identity == identity {
        Ok(contents)
    } else {
        let folder = layout.data.clone();
        Err(StoreError::Foreign { folder, found: contents.identity, expected: identity })
    }
}

/// Checks that the segments that `meta` names follow on each other, from the first entry on that was not
/// given up. Returns those that have no folder, or one that is marked: what they held can be had again
/// (`mending`).
fn check_segments(layout: &Layout, contents: &Contents) -> Result<Vec<Index>, StoreError> {
    check_first(layout, contents)?;
    let sealed: Vec<_> = contents.sealed.keys().copied().collect();
    let marked = layout.check_marks(&sealed, contents.record.first)?;
    let there = layout.segments()?;
    let mut damaged = vec![];
    let mut next = contents.record.first;
    for row in contents.sealed.values() {
        let first = row.first;
        let is_gone = there.binary_search(&first).is_err();
        if is_gone || marked.contains(&first) && !is_put_right(layout, row)? {
            damaged.push(first);
        }
        if first != next {
            return Err(StoreError::damage(&layout.meta(), Fault::Border { first }));
        }
        next = row.last.id.index.next();
    }
    Ok(damaged)
}

/// Whether a segment that was found not to be what was closed is that again: somebody has put it back. What sled
/// could not open has a mark with words, and stays what it is.
fn is_put_right(layout: &Layout, row: &SealedRow) -> Result<bool, StoreError> {
    let (disk, folder) = (&layout.disk, layout.segment(row.first));
    let is_found = disk.length(&mark_of(&folder))? == 0;
    Ok(is_found && hash_of(disk, &folder).is_ok_and(|files| files == row.files))
}

/// Checks that the list of segments begins with the first entry that was not given up. The newest never
/// is: a log without any begins where the store did.
pub(super) fn check_first(layout: &Layout, contents: &Contents) -> Result<(), StoreError> {
    let first = contents.record.first;
    let listed = contents.sealed.keys().next().copied().unwrap_or(contents.base.id.index.next());
    if listed == first {
        Ok(())
    } else {
        Err(StoreError::damage(&layout.meta(), Fault::SegmentGone { first }))
    }
}

/// Checks that the journal goes on where the sealed segments end, and forgets what is in these.
fn check_border(
    layout: &Layout,
    contents: &Contents,
    head: &Head,
    scan: &mut Scan,
) -> Result<(), StoreError> {
    let sealed = contents.last_sealed();
    let first = sealed.id.index.next();
    let border = |place: &Path| Err(StoreError::damage(place, Fault::Border { first }));
    if LastEntry::from(&head.tip) != sealed {
        return border(&layout.head_file(first));
    }
    if scan.first.is_none() {
        return Ok(());
    }
    let place = layout.journal_file(contents.record.journal_from);
    if scan.base.id.index > sealed.id.index || scan.tip().id.index < sealed.id.index {
        return border(&place);
    }
    let keep = scan.entries.partition_point(|(entry, _)| entry.id().index <= sealed.id.index);
    let before = scan.entries.drain(..keep).next_back();
    let tip = before.map_or(scan.base, |(entry, _)| entry.tip());
    scan.base = tip;
    if tip == head.tip { Ok(()) } else { border(&place) }
}

fn open_meta(layout: &Layout, contents: &Contents) -> Result<Meta, StoreError> {
    let (meta, found) = Meta::open(&layout.disk, &layout.meta())?;
    if found == *contents {
        Ok(meta)
    } else {
        Err(StoreError::damage(&layout.meta(), Fault::Value { what: "record" }))
    }
}

/// Deletes what is only a copy: the segment that was being made or that an orderly stop left behind,
/// and heads of segments that have their own or do not begin yet.
fn remove_copies(layout: &Layout, found: &Examined) -> Result<(), StoreError> {
    let copies = layout.segments()?.into_iter();
    for first in copies.filter(|first| !found.contents.sealed.contains_key(first)) {
        layout.disk.remove_folder(&layout.segment(first))?;
    }
    let needed = found.head.tip.id.index.next();
    for first in layout.head_files()?.into_iter().filter(|first| *first != needed) {
        layout.disk.remove_file(&layout.head_file(first))?;
    }
    Ok(())
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
