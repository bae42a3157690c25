//! The writer: group commit on a thread of its own, and the keeper beside it.
//!
//! ```text
//!   driver ── write ──> queue ──> writer: drain ─ batch ─ flush ─ fdatasync ──> Done::Persisted
//!                                   │        └ term or vote changed? `meta`, behind its own barrier
//!                                   └ segment full? the next one, with its head behind a barrier
//!   driver ── committed ──> keeper: seal the closing segment · raise the floor · delete trash
//! ```
//!
//! Whatever the keeper does, an append does not wait for it; only a write that changes `meta` may,
//! for the length of one barrier.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::Write;
use super::database::{hash_of, remove_folder, wait_until_released};
use super::error::StoreError;
use super::layout::Layout;
use super::lock::FolderLock;
use super::meta::{CleanMark, Floor, Meta};
use super::reader::Reader;
use super::segment::{Appender, State};
use super::segments::Segments;
use super::{Head, Options};
use crate::limits::{
    FLOOR_RAISE_INTERVAL, GROUP_COMMIT_BYTES_MAX, GROUP_COMMIT_ENTRIES_MAX, SEGMENT_GROWTH_MAX,
};
use crate::raft::HardState;
use crate::types::{Index, Ticket};

const UNPOISONED: &str = "a panic ends the process";

/// An open store, not yet written to.
#[derive(Debug)]
pub struct Store {
    pub(super) layout: Layout,
    pub(super) segments: Arc<Segments>,
    pub(super) meta: Meta,
    pub(super) appender: Appender,
    pub(super) hard_state: HardState,
    pub(super) commit_index: Index,
    pub(super) options: Options,
    pub(super) lock: FolderLock,
}

/// What the writer has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// The write with this ticket, and so all before it, is on the disk.
    Persisted(Ticket),
}

impl Store {
    /// A reader of this store. It goes on reading while the writer writes.
    pub fn reader(&self) -> Reader {
        Reader::new(self.segments.clone())
    }

    /// Starts the writer. `on_done` is called on its thread, after each group commit, with the
    /// newest ticket that is on the disk; it should not wait for anything.
    pub fn start_writer(self, on_done: impl Fn(Done) + Send + 'static) -> Writer {
        let synced = Floor::from(&self.appender.tip());
        let shared = Arc::new(Shared {
            layout: self.layout,
            segments: self.segments,
            generation: self.meta.generation_cell(),
            meta: Mutex::new(self.meta),
            synced: Mutex::new(synced),
            commit_index: AtomicU64::new(self.commit_index.get()),
            abandoned: AtomicBool::new(false),
        });
        let (errands, keeper_inbox) = mpsc::channel();
        let (commands, writer_inbox) = mpsc::channel();
        let worker = Worker {
            shared: shared.clone(),
            appender: self.appender,
            hard_state: self.hard_state,
            segment_bytes: self.options.segment_bytes,
            errands: errands.clone(),
            inbox: writer_inbox,
            held: None,
            on_done,
        };
        let spawned = "a process may have another two threads";
        let writer = thread::Builder::new().name("store-writer".into());
        let writer = writer.spawn(move || worker.run()).expect(spawned);
        let keeper = thread::Builder::new().name("store-keeper".into());
        let for_keeper = shared.clone();
        let keeper = keeper.spawn(move || keep(&for_keeper, &keeper_inbox)).expect(spawned);
        let threads = Some(Threads { writer, keeper });
        Writer { shared, commands, errands, threads, _lock: self.lock }
    }
}

/// What the threads of a store share.
struct Shared {
    layout: Layout,
    segments: Arc<Segments>,
    meta: Mutex<Meta>,
    /// The generation of `meta`, for those who must not wait for it.
    generation: Arc<AtomicU64>,
    /// What is on the disk, and so may become the floor. Taken after `meta`, if both are.
    synced: Mutex<Floor>,
    /// The highest commit index heard of.
    commit_index: AtomicU64,
    /// Nothing more is to be written: the store is dropped without having been closed.
    abandoned: AtomicBool,
}

impl Shared {
    fn commit_index(&self) -> Index {
        Index::new(self.commit_index.load(Ordering::Acquire))
    }

    fn note_committed(&self, index: Index) {
        self.commit_index.fetch_max(index.get(), Ordering::AcqRel);
    }

    fn raise_floor(&self) -> Result<(), StoreError> {
        let mut meta = self.meta.lock().expect(UNPOISONED);
        let synced = *self.synced.lock().expect(UNPOISONED);
        if synced == meta.record().floor {
            return Ok(());
        }
        let commit_index = self.commit_index().min(synced.id.index);
        meta.update(|record| {
            record.floor = synced;
            record.commit_index = commit_index;
        })
    }
}

struct Threads {
    writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

enum Command {
    Write(Write),
    /// Do what is queued, then end.
    Close,
}

enum Errand {
    /// The closing segment may be sealed.
    Seal,
    /// A folder that was given up.
    Delete(PathBuf),
    /// End.
    Stop,
}

/// Takes writes. Dropping it is a stop without [`Writer::close`]: what was not written yet is not,
/// and the next start has more to check.
pub struct Writer {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    errands: Sender<Errand>,
    threads: Option<Threads>,
    /// Given back last of all.
    _lock: FolderLock,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("layout", &self.shared.layout).finish_non_exhaustive()
    }
}

impl Writer {
    /// Queues a write and returns at once. Writes are performed in the order given.
    ///
    /// The queue has no bound of its own: what the core lets be under way has.
    pub fn write(&self, write: Write) {
        // NB: its commit index speaks of the log behind this write and all before it. It is noted
        // when they are done: until then other entries may stand there.
        // The receiver is gone only when the process is about to end.
        let _ = self.commands.send(Command::Write(write));
    }

    /// Tells that the entries up to `index` are committed *and on this disk* (as `Persisted` had
    /// it): an index beyond may hold other entries still. A full segment of nothing else can be
    /// sealed. Cheap, and nothing is lost when it is told late or never.
    pub fn committed(&self, index: Index) {
        self.shared.note_committed(index);
        if self.shared.segments.is_due(index) {
            let _ = self.errands.send(Errand::Seal);
        }
    }

    /// Does what is queued, raises the floor, closes all files and marks the store as cleanly
    /// stopped. The lock is given back when this returns.
    ///
    /// # Errors
    /// [`StoreError`] if a file cannot be closed; the next start then checks as after a crash.
    pub fn close(mut self) -> Result<(), StoreError> {
        let _ = self.commands.send(Command::Close);
        self.stop_threads();
        let shared = &self.shared;
        shared.raise_floor()?;
        let mut folders = shared.segments.close()?.into_iter();
        let mut meta = shared.meta.lock().expect(UNPOISONED);
        let active = folders.next().expect("an open store has an active segment");
        let mark = CleanMark {
            active: hash_of(&active)?,
            closing: folders.next().map(|closing| hash_of(&closing)).transpose()?,
        };
        let commit_index = shared.commit_index().min(meta.record().floor.id.index);
        meta.update(|record| {
            record.clean = Some(mark);
            record.commit_index = commit_index;
        })?;
        meta.close();
        wait_until_released(&shared.layout.meta())
    }

    /// Whether no full segment waits to be sealed.
    #[cfg(test)]
    pub(super) fn is_sealed(&self) -> bool {
        self.shared.segments.closing_last().is_none()
    }

    /// What `meta` knows to be synced.
    #[cfg(test)]
    pub(super) fn floor(&self) -> crate::types::LogId {
        self.shared.meta.lock().expect(UNPOISONED).record().floor.id
    }

    fn stop_threads(&mut self) {
        if let Some(Threads { writer, keeper }) = self.threads.take() {
            writer.join().expect(UNPOISONED);
            let _ = self.errands.send(Errand::Stop);
            keeper.join().expect(UNPOISONED);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.threads.is_none() || thread::panicking() {
            return;
        }
        self.shared.abandoned.store(true, Ordering::Release);
        let _ = self.commands.send(Command::Close);
        self.stop_threads();
        if let Err(error) = self.shared.segments.close() {
            tracing::warn!(%error, "a segment could not be closed");
        }
        self.shared.meta.lock().expect(UNPOISONED).close();
    }
}

/// The writer's thread.
struct Worker<F> {
    shared: Arc<Shared>,
    appender: Appender,
    hard_state: HardState,
    segment_bytes: u64,
    errands: Sender<Errand>,
    inbox: Receiver<Command>,
    /// A write that was taken from the queue and belongs to the next group.
    held: Option<Write>,
    on_done: F,
}

/// Writes that share a barrier.
struct Group {
    ticket: Ticket,
    hard_state: Option<HardState>,
    truncate_from: Option<Index>,
    entries: Vec<crate::entry::SealedEntry>,
    bytes: usize,
    /// As known with the newest of the writes: it speaks of the log behind them.
    commit_index: Index,
    roll: Option<Box<Head>>,
}

impl Group {
    fn of(write: Write) -> Self {
        let bytes = bytes_of(&write);
        let Write { ticket, hard_state, commit_index, truncate_from, entries, roll } = write;
        Self { ticket, hard_state, truncate_from, entries, bytes, commit_index, roll }
    }

    /// A truncation begins a group, a new segment ends one.
    fn takes(&self, write: &Write) -> bool {
        write.truncate_from.is_none()
            && self.roll.is_none()
            && self.entries.len() + write.entries.len() <= GROUP_COMMIT_ENTRIES_MAX
            && self.bytes + bytes_of(write) <= GROUP_COMMIT_BYTES_MAX
    }

    fn add(&mut self, write: Write) {
        assert!(write.ticket > self.ticket, "tickets grow: {} {}", write.ticket, self.ticket);
        self.bytes += bytes_of(&write);
        self.ticket = write.ticket;
        self.hard_state = write.hard_state.or(self.hard_state);
        self.entries.extend(write.entries);
        self.commit_index = self.commit_index.max(write.commit_index);
        self.roll = write.roll;
    }
}

fn bytes_of(write: &Write) -> usize {
    write.entries.iter().map(|entry| entry.bytes().len()).sum()
}

impl<F: Fn(Done)> Worker<F> {
    fn run(mut self) {
        while let Some(group) = self.next_group() {
            if self.shared.abandoned.load(Ordering::Acquire) {
                return;
            }
            if let Err(error) = self.perform(group) {
                end_process(&error);
            }
        }
    }

    /// Waits for a write and takes those that share its barrier; `None` at the end.
    fn next_group(&mut self) -> Option<Group> {
        let first = match self.held.take() {
            Some(write) => write,
            None => match self.inbox.recv() {
                Ok(Command::Write(write)) => write,
                Ok(Command::Close) | Err(_) => return None,
            },
        };
        let mut group = Group::of(first);
        while self.gather(&mut group).is_continue() {}
        Some(group)
    }

    fn gather(&mut self, group: &mut Group) -> ControlFlow<()> {
        match self.inbox.try_recv() {
            Ok(Command::Write(write)) if group.takes(&write) => {
                group.add(write);
                ControlFlow::Continue(())
            }
            Ok(Command::Write(write)) => {
                self.held = Some(write);
                ControlFlow::Break(())
            }
            // Nobody writes after a close: the next wait for a command ends at once, and so does
            // this thread.
            Ok(Command::Close) => {
                self.inbox = mpsc::channel().1;
                ControlFlow::Break(())
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => ControlFlow::Break(()),
        }
    }

    fn perform(&mut self, group: Group) -> Result<(), StoreError> {
        let changed = group.hard_state.filter(|new| *new != self.hard_state);
        if let Some(new) = changed {
            check_hard_state(self.hard_state, new);
            self.hard_state = new;
        }
        let from = self.begin_truncation(group.truncate_from)?;
        self.shared.note_committed(group.commit_index);
        let state = self.state();
        self.appender.write(from, &group.entries, &state)?;
        if changed.is_some() {
            self.write_to_meta()?;
        }
        *self.shared.synced.lock().expect(UNPOISONED) = Floor::from(&self.appender.tip());
        (self.on_done)(Done::Persisted(group.ticket));
        if let Some(head) = group.roll {
            self.maybe_roll(&head)?;
        }
        Ok(())
    }

    fn state(&self) -> State {
        State {
            hard_state: self.hard_state,
            commit_index: self.shared.commit_index(),
            meta_generation: self.shared.generation.load(Ordering::Acquire),
        }
    }

    /// A changed term or vote counts only when `meta` has it too.
    fn write_to_meta(&self) -> Result<(), StoreError> {
        let hard_state = self.hard_state;
        let mut meta = self.shared.meta.lock().expect(UNPOISONED);
        meta.update(|record| record.hard_state = hard_state)
    }

    /// Makes everything ready for the removal of entries: the floor is lowered, behind a barrier,
    /// before anything at or below it goes, and the segment to remove from is the active one.
    ///
    /// Returns from where on to remove, if there is anything to remove.
    fn begin_truncation(&mut self, from: Option<Index>) -> Result<Option<Index>, StoreError> {
        let Some(from) = from.filter(|from| *from <= self.appender.tip().id.index) else {
            return Ok(None);
        };
        let committed = self.shared.commit_index();
        assert!(from > committed, "{from} is committed: the commit index is {committed}");
        let crosses = from < self.appender.segment().first();
        if crosses {
            self.truncate_into_closing(from)?;
        } else {
            let below = Floor::from(&self.appender.tip_before(from)?);
            self.lower_floor(below)?;
        }
        Ok(Some(from))
    }

    fn lower_floor(&self, below: Floor) -> Result<(), StoreError> {
        let mut meta = self.shared.meta.lock().expect(UNPOISONED);
        *self.shared.synced.lock().expect(UNPOISONED) = below;
        if meta.record().floor.id.index <= below.id.index {
            return Ok(());
        }
        meta.update(|record| record.floor = below)
    }

    fn truncate_into_closing(&mut self, from: Index) -> Result<(), StoreError> {
        let segments = &self.shared.segments;
        let (closing, tip, bytes) =
            segments.closing().expect("a sealed segment is never truncated");
        assert!(from >= closing.first(), "{from} is sealed");
        let appender = Appender::new(closing, tip, bytes);
        let below = Floor::from(&appender.tip_before(from)?);
        let floor = {
            let meta = self.shared.meta.lock().expect(UNPOISONED);
            *self.shared.synced.lock().expect(UNPOISONED) = below;
            (meta.record().floor.id.index > below.id.index).then_some(below)
        };
        let trash = segments.give_up_active(floor, &self.shared.meta)?;
        self.appender = appender;
        let _ = self.errands.send(Errand::Delete(trash));
        Ok(())
    }

    /// Takes a new segment, unless another is still closing: then this one grows on, and the next
    /// call may find it sealed.
    fn maybe_roll(&mut self, head: &Head) -> Result<(), StoreError> {
        assert_eq!(head.tip, self.appender.tip(), "a head is the end of the segment before it");
        let segments = &self.shared.segments;
        if let Some(last) = segments.closing_last() {
            let is_committed = last <= self.shared.commit_index();
            let is_huge = self.appender.bytes() >= self.segment_bytes * SEGMENT_GROWTH_MAX;
            if !(is_committed && is_huge) {
                return Ok(());
            }
            let _ = self.errands.send(Errand::Seal);
            segments.wait_until_sealed();
        }
        if self.appender.bytes() == 0 {
            return Ok(());
        }
        let state = self.state();
        let segment = segments.roll(head, &state, self.appender.bytes(), &self.shared.meta)?;
        self.appender = Appender::new(segment, head.tip, 0);
        if segments.is_due(self.shared.commit_index()) {
            let _ = self.errands.send(Errand::Seal);
        }
        Ok(())
    }
}

/// Invariant: a term never goes down, and a vote in a term never changes.
fn check_hard_state(old: HardState, new: HardState) {
    assert!(new.current_term >= old.current_term, "the term went down: {old:?} {new:?}");
    if new.current_term == old.current_term {
        assert!(old.voted_for.is_none(), "a second vote in a term: {old:?} {new:?}");
    }
}

/// The keeper's thread.
fn keep(shared: &Shared, inbox: &Receiver<Errand>) {
    let mut raise_at = Instant::now() + FLOOR_RAISE_INTERVAL;
    loop {
        let errand = inbox.recv_timeout(raise_at.saturating_duration_since(Instant::now()));
        let mut outcome = match errand {
            Ok(Errand::Seal) => shared.segments.seal(shared.commit_index(), &shared.meta),
            Ok(Errand::Delete(folder)) => {
                // The next start tries again.
                if let Err(error) = remove_folder(&folder) {
                    tracing::warn!(%error, "a segment that was given up stays behind");
                }
                Ok(())
            }
            Ok(Errand::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => Ok(()),
        };
        if Instant::now() >= raise_at {
            raise_at = Instant::now() + FLOOR_RAISE_INTERVAL;
            outcome = outcome.and_then(|()| shared.raise_floor());
        }
        if let Err(error) = outcome {
            end_process(&error);
        }
    }
}

/// A sync that failed is never tried again: the page cache may say afterwards that all is well. So
/// the process ends, and what the disk really holds is found out by the next start.
#[expect(clippy::print_stderr, reason = "the last words of a process that ends here")]
fn end_process(error: &StoreError) -> ! {
    tracing::error!(%error, "the store cannot go on, so this process ends");
    eprintln!("error: the store cannot go on, so this process ends: {error}");
    eprintln!("hint: {}", error.hint());
    std::process::abort()
}
