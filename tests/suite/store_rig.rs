//! What the tests of the store need: logs that can be made again from their indexes, and children,
//! which are this very binary with a job in the environment.

use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use annal::entry::{EntryKind, Request, SealedEntry, Tip, encode_requests};
use annal::raft::Configuration;
use annal::store::{self, Done, Head, Identity, Options, Recovered, StoreError, Write, Writer};
use annal::types::{
    ClientId, ClusterId, Incarnation, Index, LogNumber, NodeId, Offset, Seq, Term, Ticket,
    Timestamp,
};
use bytes::Bytes;

/// Names the job of a child.
const JOB: &str = "ANNAL_TEST_STORE_JOB";
/// The folder that it works in.
const FOLDER: &str = "ANNAL_TEST_STORE_FOLDER";

pub(crate) const OPTIONS: Options =
    Options { journal_file_bytes: 256 << 10, start: Incarnation::new(5) };

pub(crate) fn identity() -> Identity {
    Identity { cluster: ClusterId::new(7), node: node(1) }
}

pub(crate) fn node(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

pub(crate) fn create(data: &Path) {
    store::create(data, identity(), &Configuration::of([node(1)]), &OPTIONS).unwrap();
}

pub(crate) fn open(data: &Path) -> Result<(store::Store, Recovered), StoreError> {
    store::open(data, identity(), OPTIONS, store::lock(data)?)
}

/// The entry after `tip`, the same whoever makes it: its size and contents follow from its index.
pub(crate) fn entry_after(tip: &Tip, bytes: impl Fn(u64) -> usize) -> SealedEntry {
    let index = tip.id.index.next().get();
    let request = Request {
        log: LogNumber::MAIN,
        first_offset: Offset::new(index - 1),
        client: ClientId::new(1),
        seq: Seq::new(index),
        first_unanswered: Seq::new(index),
        records: vec![Bytes::from(vec![index.to_le_bytes()[0]; bytes(index)])],
        command: None,
    };
    let payload = encode_requests(&[request]);
    let now = Timestamp::new(index);
    SealedEntry::seal(tip, EntryKind::Records, Term::new(1), now, &payload)
}

pub(crate) fn head(tip: Tip) -> Head {
    Head {
        tip,
        next_offsets: vec![(LogNumber::MAIN, Offset::new(tip.id.index.get()))],
        configuration: Configuration::of([node(1)]),
        terms: vec![],
        sessions: Bytes::new(),
    }
}

pub(crate) fn write(ticket: u64) -> Write {
    Write {
        ticket: Ticket::new(ticket),
        hard_state: None,
        commit_index: Index::ZERO,
        truncate_from: None,
        entries: vec![],
        heads: vec![],
    }
}

/// A writer, and the tickets that it has done.
pub(crate) fn start(store: store::Store) -> (Writer, mpsc::Receiver<u64>) {
    let (sender, receiver) = mpsc::channel();
    let writer = store.start_writer(move |done| {
        if let Done::Persisted(ticket) = done {
            let _ = sender.send(ticket.get());
        }
    });
    (writer, receiver)
}

/// Says something to the parent. Nothing is buffered: what was said was said.
pub(crate) fn tell(words: std::fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    // A parent that is gone has its reasons.
    let _ = writeln!(stdout, "{words}").and_then(|()| stdout.flush());
}

/// The job and the folder, in a child; `None` in the test itself.
pub(crate) fn job() -> Option<(String, std::path::PathBuf)> {
    Some((env::var(JOB).ok()?, env::var_os(FOLDER)?.into()))
}

/// This binary once more, with the test `name` and a job for it. It is killed when dropped.
pub(crate) struct Worker {
    pub(crate) child: Child,
    /// Its whole lines. A thread takes them in, so that it never waits for somebody to listen.
    pub(crate) lines: mpsc::Receiver<String>,
}

fn listen(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|length| length > 0) {
            // What the kill cut off was not said.
            if let Some(whole) = line.strip_suffix('\n') {
                let _ = sender.send(whole.to_owned());
            }
            line.clear();
        }
    });
    receiver
}

impl Worker {
    pub(crate) fn start(name: &str, job: &str, folder: &Path) -> Self {
        let program = env::current_exe().unwrap();
        Self::run(
            Command::new(program).args([name, "--exact", "--nocapture", "--include-ignored"]),
            job,
            folder,
        )
    }

    pub(crate) fn run(command: &mut Command, job: &str, folder: &Path) -> Self {
        let mut child = command
            .env(JOB, job)
            .env(FOLDER, folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = listen(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next word that the child says after `key`; `None` when it has ended.
    pub(crate) fn next(&self, key: &str) -> Option<String> {
        let words = |line: String| line.split_once(key).map(|(_, rest)| rest.trim().to_owned());
        self.lines.iter().find_map(words)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
