//! What the store's tests share: a node's folder, and logs to put into it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::disk::Disk;
use super::layout::Layout;
use super::meta::Meta;
use super::*;
use crate::entry::{EntryKind, Request, SealedEntry, Tip, encode_requests};
use crate::types::{ClientId, Incarnation, Seq, Term, Timestamp};

pub(super) const IDENTITY: Identity =
    Identity { cluster: ClusterId::new(7), node: NodeId::new(1).unwrap() };

/// Bytes of a file of the journal in these tests: a block for itself, and fifteen for groups.
pub(super) const FILE_BYTES: u64 = 64 << 10;

/// Small ones, with another start each time, as every process has.
pub(super) fn small() -> Options {
    static STARTS: AtomicU64 = AtomicU64::new(1);
    Options {
        journal_file_bytes: FILE_BYTES,
        start: Incarnation::new(STARTS.fetch_add(1, Ordering::Relaxed)),
    }
}

pub(super) fn configuration() -> Configuration {
    Configuration::of([1, 2, 3].map(|number| NodeId::new(number).unwrap()))
}

/// A node's folder that is gone at the end.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    /// An empty one, in memory if that can be: these tests are about what is written, and only
    /// `power_cut` is about what lasts.
    pub(super) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self(folder.unwrap())
    }

    /// An empty one on a disk.
    pub(super) fn on_disk() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with a new store.
    pub(super) fn with_store() -> Self {
        let folder = Self::new();
        create(folder.path(), IDENTITY, &configuration(), &small()).unwrap();
        folder
    }

    /// One with a store, on a disk.
    pub(super) fn on_disk_with_store() -> Self {
        let folder = Self::on_disk();
        create(folder.path(), IDENTITY, &configuration(), &small()).unwrap();
        folder
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn segment(&self, first: u64) -> PathBuf {
        Layout::of(self.path()).segment(Index::new(first))
    }

    /// The files of the journal, in the order of their numbers.
    pub(super) fn journal(&self) -> Vec<PathBuf> {
        let layout = Layout::of(self.path());
        let numbers = layout.journal_files().unwrap();
        numbers.into_iter().map(|number| layout.journal_file(number)).collect()
    }

    pub(super) fn try_open(&self) -> Result<(Store, Recovered), StoreError> {
        open(self.path(), IDENTITY, small(), lock(self.path())?)
    }

    pub(super) fn open(&self) -> (Running, Recovered) {
        let (store, recovered) = self.try_open().unwrap();
        (Running::start(store, &recovered), recovered)
    }

    /// Starts a store that holds this log, and tells it again where segments end.
    pub(super) fn open_with(&self, log: Log) -> (Running, Recovered) {
        let (mut running, recovered) = self.open();
        let before = usize::try_from(recovered.head.tip.id.index.get()).unwrap();
        assert_eq!(recovered.entries, log.entries[before..]);
        let heads = log.heads_behind(recovered.head.tip.id.index);
        running.log = log;
        running.tell(heads);
        (running, recovered)
    }

    /// Every file and folder in it with its contents, but for the lock.
    pub(super) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        contents_of(self.path())
    }
}

pub(super) fn contents_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), vec![]);
            found.extend(contents_of(&path));
        } else if !path.ends_with("lock") {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Copies a folder and all in it.
pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A log in memory: what the store should hold.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) entries: Vec<SealedEntry>,
    pub(super) next_offsets: BTreeMap<LogNumber, Offset>,
    /// Of the segments that it is cut into, all but the first one's.
    pub(super) heads: Vec<Head>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { entries: vec![], next_offsets: BTreeMap::new(), heads: vec![] }
    }

    pub(super) fn of(entries: &[SealedEntry]) -> Self {
        let mut log = Self::new();
        for entry in entries {
            log.push(entry.clone());
        }
        log
    }

    pub(super) fn tip(&self) -> Tip {
        self.entries.last().map_or(Tip::default(), SealedEntry::tip)
    }

    pub(super) fn next_offset(&self, log: LogNumber) -> Offset {
        self.next_offsets.get(&log).copied().unwrap_or_default()
    }

    /// Adds an entry that was made elsewhere.
    pub(super) fn push(&mut self, entry: SealedEntry) {
        for request in entry.requests().unwrap() {
            self.next_offsets.insert(request.log, request.next_offset());
        }
        self.entries.push(entry);
    }

    /// Adds an entry with one record of `bytes` bytes for the log with this number.
    pub(super) fn add_to(&mut self, log: u32, term: u64, bytes: usize) -> SealedEntry {
        let request = self.request(log, bytes);
        self.seal(&[request], Term::new(term))
    }

    /// Adds an entry with a short record for each of these logs.
    pub(super) fn add_to_all(&mut self, logs: std::ops::Range<u32>) -> SealedEntry {
        let requests: Vec<_> = logs.map(|log| self.request(log, 1)).collect();
        self.seal(&requests, self.tip().id.term.max(Term::new(1)))
    }

    /// For each record of a log, in order, the index of its entry.
    pub(super) fn holders(&self, log: LogNumber) -> Vec<Index> {
        let mut holders = vec![];
        for entry in &self.entries {
            for request in entry.requests().unwrap().iter().filter(|request| request.log == log) {
                holders.extend(request.records.iter().map(|_| entry.id().index));
            }
        }
        holders
    }

    fn request(&self, log: u32, bytes: usize) -> Request {
        let log = LogNumber::new(log);
        Request {
            log,
            first_offset: self.next_offset(log),
            client: ClientId::new(9),
            seq: Seq::FIRST,
            first_unanswered: Seq::FIRST,
            records: vec![Bytes::from(vec![bytes.to_le_bytes()[0]; bytes])],
            command: None,
        }
    }

    fn seal(&mut self, requests: &[Request], term: Term) -> SealedEntry {
        let payload = encode_requests(requests);
        let now = Timestamp::new(1_000 + self.entries.len() as u64);
        let entry = SealedEntry::seal(&self.tip(), EntryKind::Records, term, now, &payload);
        self.push(entry.clone());
        entry
    }

    pub(super) fn add(&mut self, bytes: usize) -> SealedEntry {
        self.add_to(0, self.tip().id.term.get().max(1), bytes)
    }

    /// Removes the entries from `from` on.
    pub(super) fn truncate(&mut self, from: Index) {
        let keep = usize::try_from(from.get() - 1).unwrap();
        let heads = std::mem::take(&mut self.heads).into_iter();
        let heads = heads.filter(|head| head.tip.id.index < from).collect();
        *self = Self { heads, ..Self::of(&self.entries[..keep]) };
    }

    /// Ends a segment with the last entry, unless it would have none: the head of the next one.
    pub(super) fn end_segment(&mut self) -> Vec<Head> {
        let newest = self.heads.last().map_or(Index::ZERO, |head| head.tip.id.index);
        if self.tip().id.index == newest {
            return vec![];
        }
        self.heads.push(self.head());
        vec![self.head()]
    }

    /// The heads of the segments that begin behind an entry, but for the one right behind it.
    pub(super) fn heads_behind(&self, index: Index) -> Vec<Head> {
        self.heads.iter().filter(|head| head.tip.id.index > index).cloned().collect()
    }

    /// The head of a segment that begins now.
    pub(super) fn head(&self) -> Head {
        Head {
            tip: self.tip(),
            next_offsets: self.next_offsets.iter().map(|(log, next)| (*log, *next)).collect(),
            configuration: configuration(),
            terms: vec![],
            sessions: Bytes::from_static(b"sessions"),
        }
    }
}

/// A store with its writer started, and somebody who waits for tickets.
pub(super) struct Running {
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) log: Log,
    done: Arc<(Mutex<u64>, Condvar)>,
    ticket: u64,
}

impl Running {
    /// For a store whose log begins with what was recovered, or with what the caller knows better.
    pub(super) fn start(store: Store, recovered: &Recovered) -> Self {
        let reader = store.reader();
        let done = Arc::new((Mutex::new(0), Condvar::new()));
        let told = done.clone();
        let writer = store.start_writer(move |Done::Persisted(ticket)| {
            *told.0.lock().unwrap() = ticket.get();
            told.1.notify_all();
        });
        Self { writer, reader, log: Log::of(&recovered.entries), done, ticket: 0 }
    }

    /// Queues a write.
    pub(super) fn queue(&mut self, write: Write) {
        self.ticket += 1;
        self.writer.write(Write { ticket: Ticket::new(self.ticket), ..write });
    }

    /// Waits until everything queued is on the disk.
    pub(super) fn wait(&self) {
        let (done, changed) = &*self.done;
        let mut done = done.lock().unwrap();
        while *done < self.ticket {
            let (next, timeout) = changed.wait_timeout(done, Duration::from_secs(20)).unwrap();
            assert!(!timeout.timed_out(), "ticket {} does not come", self.ticket);
            done = next;
        }
    }

    pub(super) fn write(&mut self, write: Write) {
        self.queue(write);
        self.wait();
    }

    /// Adds entries of these sizes, in one write.
    pub(super) fn append(&mut self, sizes: &[usize]) {
        let entries = sizes.iter().map(|bytes| self.log.add(*bytes)).collect();
        self.write(Write { entries, ..nothing() });
    }

    /// Ends a segment with the last entry.
    pub(super) fn roll(&mut self) {
        let heads = self.log.end_segment();
        self.tell(heads);
    }

    /// Tells where segments end.
    pub(super) fn tell(&mut self, heads: Vec<Head>) {
        self.write(Write { heads, ..nothing() });
        // The ticket comes before the heads are noted: one more write is behind that.
        self.write(nothing());
    }

    /// Lets everything so far be committed, and waits until what is full is sealed.
    pub(super) fn seal(&mut self) {
        self.writer.committed(self.log.tip().id.index);
        eventually("sealing", || self.writer.is_sealed());
    }

    /// Removes entries and adds others, of a higher term.
    pub(super) fn replace(&mut self, from: u64, sizes: &[usize]) {
        let from = Index::new(from);
        let term = self.log.tip().id.term.get() + 1;
        self.log.truncate(from);
        let entries = sizes.iter().map(|bytes| self.log.add_to(0, term, *bytes)).collect();
        self.write(Write { truncate_from: Some(from), entries, ..nothing() });
    }

    pub(super) fn all(&self) -> Vec<SealedEntry> {
        read_all(&self.reader).unwrap()
    }

    pub(super) fn close(self) -> Log {
        self.writer.close().unwrap();
        self.log
    }

    /// Ends as a crash would: nothing is marked as clean.
    pub(super) fn crash(self) -> Log {
        drop(self.writer);
        self.log
    }
}

/// How much of a file is written: sled makes it larger ahead of its use.
pub(super) fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Flips a bit in the middle of what is written in a file.
pub(super) fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = used(&bytes) / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// All that a reader finds.
pub(super) fn read_all(reader: &Reader) -> Result<Vec<SealedEntry>, ReadError> {
    reader.entries(Index::new(1), Index::new(u64::MAX), usize::MAX)
}

/// What is known to be damaged.
pub(super) fn damaged(reader: &Reader) -> Vec<(Index, Index)> {
    reader.damaged().iter().map(|it| (it.first, it.last)).collect()
}

/// A write of nothing; its ticket is given later.
pub(super) fn nothing() -> Write {
    Write {
        ticket: Ticket::new(0),
        hard_state: None,
        commit_index: Index::ZERO,
        truncate_from: None,
        entries: vec![],
        heads: vec![],
    }
}

/// Does all of the upkeep that is to be done.
pub(super) fn run_chores(writer: &mut SteppedWriter) -> Result<(), StoreError> {
    while writer.begin_chore() {
        writer.finish_chore()?;
    }
    Ok(())
}

pub(super) fn hard_state(term: u64, vote: Option<u16>) -> HardState {
    HardState { current_term: Term::new(term), voted_for: vote.and_then(NodeId::new) }
}

/// Waits until something holds.
pub(super) fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} does not come");
}

pub(super) fn index(number: u64) -> Index {
    Index::new(number)
}

/// The damage that an open finds; the folder must be as it was before.
pub(super) fn damage_found(folder: &Folder) -> Fault {
    let before = folder.contents();
    let error = folder.try_open().map(|(_, recovered)| recovered.report).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert!(!error.hint().is_empty());
    assert!(folder.contents() == before, "a damaged folder was changed: {error}");
    match error {
        StoreError::Damage { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

pub(super) fn open_meta(folder: &Folder) -> Meta {
    Meta::open(&Disk::real(), &Layout::of(folder.path()).meta()).unwrap().0
}

/// The file of a simulated disk is changed by nobody, while no process runs.
pub(super) fn change_file(disk: &MemoryDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let files = Layout::in_memory(disk.mount()).disk;
    let mut bytes = files.read_file(path).unwrap();
    change(&mut bytes);
    let blocks = files.create_blocks(path).unwrap();
    blocks.write_at(0, &bytes).unwrap();
    blocks.sync().unwrap();
    drop(blocks);
    disk.restart();
}

/// The files of a simulated disk's journal, in the order of their numbers.
pub(super) fn journal_of(disk: &MemoryDisk) -> Vec<PathBuf> {
    let layout = Layout::in_memory(disk.mount());
    let numbers = layout.journal_files().unwrap();
    numbers.into_iter().map(|number| layout.journal_file(number)).collect()
}

/// Puts a saved copy of a folder in its place.
pub(super) fn put_back(saved: &Path, place: &Path) {
    fs::remove_dir_all(place).unwrap();
    copy_folder(saved, place);
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
