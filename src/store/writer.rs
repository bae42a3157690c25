//! The writer: group commit on a thread of its own, and the upkeep beside it.
//!
//! ```text
//!   driver ── write ──> queue ──> writer: drain ─ one write, one sync of the journal ──> Done::Persisted
//!                                   └ nothing for half a second? one empty group behind the last
//!   driver ── committed ──> upkeep: seal full segments · a file ahead · what is remembered of peers
//! ```
//!
//! Whatever the upkeep does, an append does not wait for it, unless the journal grows too long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Write;
use super::error::StoreError;
use super::fatal::end_at_failure;
use super::group::Group;
use super::group_writer::GroupWriter;
use super::lock::FolderLock;
use super::mending::Mender;
use super::opened::{Done, Store};
use super::upkeep::{Chore, Shared, UNPOISONED, Upkeep};
use crate::limits::{UPKEEP_INTERVAL, UPKEEP_NICENESS};
use crate::raft::Remembered;
use crate::types::{Index, NodeId};

impl Store {
    /// Starts the writer. `on_done` is called on its thread, after each group commit, with the
    /// newest ticket that is on the disk; it should not wait for anything.
    pub fn start_writer(mut self, on_done: impl Fn(Done) + Send + 'static) -> Writer {
        let lock = self.lock.take();
        let (chores, upkeep_inbox) = mpsc::channel();
        let (commands, inbox) = mpsc::channel();
        let group_writer = GroupWriter::new(self, Upkeep::Thread(chores.clone()));
        let shared = group_writer.shared().clone();
        let queue = Queue { inbox, waiting: VecDeque::new(), is_closed: false };
        let spawned = "a process may have another three threads";
        let writer = thread::Builder::new().name("store-writer".into());
        let writer =
            writer.spawn(move || write_groups(group_writer, queue, on_done)).expect(spawned);
        let upkeep = thread::Builder::new().name("store-upkeep".into());
        let for_upkeep = shared.clone();
        let upkeep = upkeep.spawn(move || keep_up(&for_upkeep, &upkeep_inbox)).expect(spawned);
        let (scrub_ends, ended) = mpsc::channel();
        let scrub = thread::Builder::new().name("store-scrub".into());
        let for_scrub = shared.clone();
        let scrub = scrub.spawn(move || scrub_in_turn(&for_scrub, &ended)).expect(spawned);
        let threads = Some(Threads { writer, upkeep, scrub, scrub_ends });
        Writer { shared, commands, chores, threads, _lock: lock }
    }
}

struct Threads {
    writer: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    scrub: JoinHandle<()>,
    /// Dropped, it ends the scrub.
    scrub_ends: Sender<()>,
}

enum Command {
    Write(Write),
    /// Do what is queued, then end.
    Close,
}

/// Takes writes. Dropping it is a stop without [`Writer::close`]: what was not written yet is not,
/// and the next start has more to check.
pub struct Writer {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    chores: Sender<Option<Chore>>,
    threads: Option<Threads>,
    /// Given back last of all.
    _lock: Option<FolderLock>,
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
            let _ = self.chores.send(Some(Chore::Seal));
        }
    }

    /// Lets sealed segments go that end before this entry: the oldest, one after the other. Whoever says
    /// so answers for it that nothing in them is live. Nothing is lost when it is told late or never.
    pub fn release_before(&self, before: Index) {
        if self.shared.note_release(before) {
            let _ = self.chores.send(Some(Chore::Release));
        }
    }

    /// Bytes that are free on the store's disk, as of its newest write, or of half a second ago.
    pub fn free_bytes(&self) -> u64 {
        self.shared.free_bytes()
    }

    /// Lets what is remembered of peers be written down: soon, and at the latest by [`Self::close`].
    /// Nothing waits for it.
    pub fn remember(&self, rows: impl IntoIterator<Item = (NodeId, Remembered)>) {
        self.shared.remember(rows);
    }

    /// From now on each sealed segment is read once in this time, or none is.
    pub fn scrub_every(&self, period: Option<Duration>) {
        self.shared.scrub_every(period);
    }

    /// What mends its sealed segments.
    pub fn mender(&self) -> Mender {
        Mender::new(self.shared.clone())
    }

    /// Does what is queued, brings all that is committed into sled, closes all files and marks the
    /// store as cleanly stopped. The lock is given back when this returns.
    ///
    /// # Errors
    /// [`StoreError`] if a file cannot be closed; the next start then checks as after a crash.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.shared.hurry();
        let _ = self.commands.send(Command::Close);
        self.stop_threads();
        self.shared.close()
    }

    /// Whether no full segment waits to be sealed.
    #[cfg(test)]
    pub(super) fn is_sealed(&self) -> bool {
        self.shared.segments.full(self.shared.commit_index()).is_none()
    }

    /// How many times the files of a sealed segment were hashed.
    #[cfg(test)]
    pub(super) fn verified(&self) -> u64 {
        self.shared.segments.verified()
    }

    /// How many times a sealed segment was opened.
    #[cfg(test)]
    pub(super) fn opened(&self) -> u64 {
        self.shared.segments.opened()
    }

    fn stop_threads(&mut self) {
        if let Some(Threads { writer, upkeep, scrub, scrub_ends }) = self.threads.take() {
            drop(scrub_ends);
            writer.join().expect(UNPOISONED);
            let _ = self.chores.send(None);
            upkeep.join().expect(UNPOISONED);
            scrub.join().expect(UNPOISONED);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.threads.is_none() || thread::panicking() {
            return;
        }
        self.shared.abandon();
        let _ = self.commands.send(Command::Close);
        self.stop_threads();
        self.shared.segments.close();
        self.shared.meta.lock().expect(UNPOISONED).close();
    }
}

/// The writes that wait.
struct Queue {
    inbox: Receiver<Command>,
    waiting: VecDeque<Write>,
    /// Nobody writes after a close.
    is_closed: bool,
}

/// What the writer does next.
enum Next {
    Write(Group),
    /// Nothing came for a while.
    Confirm,
    End,
}

impl Queue {
    /// Waits for a write and takes those that share its barrier.
    fn next(&mut self) -> Next {
        if self.waiting.is_empty() && !self.is_closed {
            match self.inbox.recv_timeout(UPKEEP_INTERVAL) {
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) => return Next::Confirm,
                Err(RecvTimeoutError::Disconnected) => self.is_closed = true,
            }
        }
        while let Ok(command) = self.inbox.try_recv() {
            self.take(command);
        }
        Group::take_from(&mut self.waiting).map_or(Next::End, Next::Write)
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Write(write) => self.waiting.push_back(write),
            Command::Close => self.is_closed = true,
        }
    }
}

/// The writer's thread.
fn write_groups(mut group_writer: GroupWriter, mut queue: Queue, on_done: impl Fn(Done)) {
    loop {
        let next = queue.next();
        if group_writer.shared().is_abandoned() {
            return;
        }
        let outcome = match next {
            Next::Write(group) => group_writer.perform(group, &on_done),
            Next::Confirm => group_writer.confirm(),
            Next::End => return,
        };
        if let Err(error) = outcome {
            end(group_writer.shared(), &error);
        }
    }
}

/// Whoever answers clients comes first. Linux has priorities by thread, sled's own threads get that of
/// who needs them first, and a refusal only costs speed.
fn yield_to_others() {
    if let Err(error) = rustix::process::setpriority_process(None, UPKEEP_NICENESS) {
        tracing::debug!(%error, "settling has the priority of everything else");
    }
}

/// The thread of the upkeep.
fn keep_up(shared: &Shared, inbox: &Receiver<Option<Chore>>) {
    yield_to_others();
    let mut remember_at = Instant::now() + UPKEEP_INTERVAL;
    loop {
        let chore = inbox.recv_timeout(remember_at.saturating_duration_since(Instant::now()));
        let mut outcome = match chore {
            Ok(Some(chore)) => shared.perform(chore),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => Ok(()),
        };
        if Instant::now() >= remember_at {
            remember_at = Instant::now() + UPKEEP_INTERVAL;
            outcome = outcome.and_then(|()| shared.keep_up());
        }
        if let Err(error) = outcome {
            end(shared, &error);
        }
    }
}

/// The thread of the scrub: it rests for so long that nothing may wait for it.
fn scrub_in_turn(shared: &Shared, ended: &Receiver<()>) {
    yield_to_others();
    while ended.recv_timeout(UPKEEP_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        shared.scrub();
    }
}

/// A sync that failed is never tried again: the page cache may say afterwards that all is well. So
/// the process ends, and what the disk really holds is found out by the next start.
fn end(shared: &Shared, error: &StoreError) -> ! {
    shared.look_for_space();
    end_at_failure(error, Some(shared.free_bytes()))
}
