//! The store in a process that is killed, or that kills itself.
//!
//! Each test is run a second time, in a child, with a job in the environment.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use annal::entry::{SealedEntry, Tip};
use annal::raft::HardState;
use annal::store::{self, Write};
use annal::types::{Index, Term};

use crate::store_rig::{
    OPTIONS, Worker, create, entry_after, head, identity, job, node, open, start, tell, write,
};

const FILL: &str = "fill";
const GROW: &str = "grow";

/// Entries in a segment.
const SEGMENT: u64 = 50;
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// Mostly small, now and then large; a segment is full after some dozens.
pub(crate) fn bytes_of(index: u64) -> usize {
    if index.is_multiple_of(37) { 150_000 } else { usize::try_from(index * 31 % 3000).unwrap() }
}

/// Opens the store, says what it found, and writes until it is killed: appends, now and then a vote,
/// a truncation, the end of a segment. Says what is acknowledged. With the job `fill` it only appends, to
/// one segment, and with the job `grow` twice as much each time.
pub(crate) fn write_for_ever(data: &Path, job: &str) -> ! {
    store::install_panic_hook();
    let (opened, recovered) = match open(data) {
        Ok(found) => found,
        Err(error) => {
            tell(format_args!("refused: {error}"));
            std::process::exit(6);
        }
    };
    let mut tip = recovered.entries.last().map_or(recovered.head.tip, SealedEntry::tip);
    let mut term = recovered.hard_state.current_term.get();
    tell(format_args!("found: {} {term}", tip.id.index));
    let (writer, done) = start(opened);
    let mut tips = vec![tip];
    let is_even = job == FILL || job == GROW;
    let ends = |entry: &SealedEntry| !is_even && entry.id().index.get().is_multiple_of(SEGMENT);
    let found = recovered.entries.iter().filter(|entry| ends(entry));
    let mut heads: Vec<_> = found.map(|entry| head(entry.tip())).collect();
    for ticket in 1.. {
        let mut next = write(ticket);
        next.heads.append(&mut heads);
        if ticket % 23 == 0 {
            term += 1;
            let voted_for = Some(node(1));
            next.hard_state = Some(HardState { current_term: Term::new(term), voted_for });
        }
        // Two entries are taken back and written again, as a conflict would have it.
        if !is_even && ticket % 11 == 0 && tips.len() > 2 {
            tips.truncate(tips.len() - 2);
            tip = *tips.last().unwrap();
            next.truncate_from = Some(tip.id.index.next());
            tell(format_args!("truncating: {}", tip.id.index));
        }
        for _ in 0..if job == GROW { 3 << ticket.min(16) } else { 3 } {
            let entry = entry_after(&tip, bytes_of);
            tip = entry.tip();
            tips.push(tip);
            if ends(&entry) {
                next.heads.push(head(tip));
            }
            next.entries.push(entry);
        }
        if ticket % 5 == 0 {
            // Everything but what may still be taken back is committed.
            let keep = tips.len().saturating_sub(6);
            let committed = tips.get(keep).map_or(Index::ZERO, |tip| tip.id.index);
            tips.drain(..keep);
            next.commit_index = committed;
            writer.committed(committed);
        }
        writer.write(next);
        while done.recv().unwrap() < ticket {}
        tell(format_args!("acknowledged: {} {term}", tip.id.index));
    }
    unreachable!("it is killed before it has counted so far")
}

/// What a child has acknowledged, as far as it was heard: the last index and the term.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Promise {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) count: u64,
}

impl Promise {
    /// Takes in a line of the child's.
    pub(crate) fn hear(&mut self, line: &str) {
        if let Some((_, words)) = line.split_once("acknowledged: ") {
            (self.index, self.term) = two_numbers(words);
            self.count += 1;
        }
        // From here on the longer log may be there, or not.
        if let Some((_, index)) = line.split_once("truncating: ") {
            self.index = index.parse().unwrap();
        }
    }

    /// Takes in all that is left of what a child said before it was killed.
    pub(crate) fn hear_all(&mut self, child: &Worker) {
        for line in &child.lines {
            self.hear(&line);
        }
    }

    pub(crate) fn check(&self, index: u64, term: u64) {
        assert!(
            index >= self.index && term >= self.term,
            "{index} and {term}: {self:?} was acknowledged"
        );
    }
}

fn two_numbers(words: &str) -> (u64, u64) {
    let (one, other) = words.trim().split_once(' ').unwrap();
    (one.parse().unwrap(), other.parse().unwrap())
}

/// The whole log, of which each entry can be made again.
pub(crate) fn check_log(opened: &store::Store, recovered: &store::Recovered) {
    let last = recovered.report.last.index;
    let all = opened.reader().entries(Index::new(1), last, usize::MAX).unwrap();
    let mut tip = Tip::default();
    for entry in &all {
        assert_eq!(*entry, entry_after(&tip, bytes_of));
        tip = entry.tip();
    }
    assert_eq!(tip.id.index, last);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    if let Some((job, folder)) = job() {
        write_for_ever(&folder, &job);
    }
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let name = "store_crash::nothing_acknowledged_is_lost_when_the_process_is_killed";
    let mut promise = Promise::default();
    for round in 0..12_u64 {
        let mut child = Worker::start(name, "write", folder.path());
        let found = child.next("found:").expect("the store was refused");
        let (index, term) = two_numbers(&found);
        promise.check(index, term);
        (promise.index, promise.term) = (index, term);
        // However slow the machine is, it gets somewhere.
        for _ in 0..10 + round * 37 % 41 {
            promise.hear(&child.lines.recv().expect("it ended before it was killed"));
        }
        // At a random moment: the machine is no clockwork, and the rounds differ.
        thread::sleep(Duration::from_millis(round * 37 % 29));
        child.child.kill().unwrap();
        let status = child.child.wait().unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "it ended before it was killed: {status}");
        promise.hear_all(&child);
    }
    assert!(promise.count > 100, "{promise:?}: the test shows little");
    let (opened, recovered) = open(folder.path()).unwrap();
    assert!(recovered.report.segments > 2, "{}", recovered.report);
    check_log(&opened, &recovered);
}

/// A write that fails is final: the process ends at once, with one line, and nothing that was
/// acknowledged before is lost.
#[test]
fn a_failed_write_ends_the_process() {
    if let Some((job, folder)) = job() {
        write_for_ever(&folder, &job);
    }
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let name = "store_crash::a_failed_write_ends_the_process";
    // A limit of a file's size: 20 MiB if the shell counts in 512 bytes, 40 MiB if in 1024.
    let script = "trap '' XFSZ; ulimit -f 40960; exec \"$0\" \"$@\"";
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program).args([name, "--exact", "--nocapture"]);
    let mut child = Worker::run(&mut command, GROW, folder.path());
    let (mut last, mut stderr) = (0, String::new());
    while let Some(words) = child.next("acknowledged:") {
        last = two_numbers(&words).0;
    }
    let status = child.child.wait().unwrap();
    child.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{status}: {stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
    assert!(stderr.contains("the store cannot go on") && stderr.contains("hint: "), "{stderr}");
    assert!(last > 0, "nothing was acknowledged");
    let (_, recovered) = open(folder.path()).unwrap();
    let found = recovered.report.last.index.get();
    assert!(found >= last, "{found} after {last}");
}

/// A truncation of what is committed is a broken law: the process ends before anything is written.
#[test]
fn a_truncation_of_what_is_committed_ends_the_process() {
    if let Some((_, folder)) = job() {
        store::install_panic_hook();
        let (opened, _) = open(&folder).unwrap();
        let (writer, done) = start(opened);
        let one = entry_after(&Tip::default(), bytes_of);
        let two = entry_after(&one.tip(), bytes_of);
        let commit_index = Index::new(2);
        writer.write(Write { entries: vec![one, two], commit_index, ..write(1) });
        done.recv().unwrap();
        writer.write(Write { truncate_from: Some(Index::new(2)), ..write(2) });
        let _ = done.recv_timeout(Duration::from_secs(10));
        unreachable!("the process goes on");
    }
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let name = "store_crash::a_truncation_of_what_is_committed_ends_the_process";
    let mut child = Worker::start(name, "truncate", folder.path());
    let mut stderr = String::new();
    child.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let status = child.child.wait().unwrap();
    assert_eq!(status.signal(), Some(SIGABRT), "{status}: {stderr}");
    assert!(stderr.contains("2 is committed"), "{stderr}");
    assert_eq!(open(folder.path()).unwrap().1.entries.len(), 2);
}

#[test]
fn a_second_process_is_refused() {
    if let Some((_, folder)) = job() {
        match store::lock(&folder) {
            Ok(_) => tell(format_args!("told: locked it")),
            Err(error) => tell(format_args!("told: {error}")),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let lock = store::lock(folder.path()).unwrap();
    let name = "store_crash::a_second_process_is_refused";
    let said = Worker::start(name, "lock", folder.path()).next("told:").unwrap();
    assert!(said.contains("another process holds"), "{said}");
    drop(lock);
    let said = Worker::start(name, "lock", folder.path()).next("told:").unwrap();
    assert_eq!(said, "locked it");
    store::open(folder.path(), identity(), OPTIONS, store::lock(folder.path()).unwrap()).unwrap();
    assert!(fs::exists(folder.path().join("lock")).unwrap());
}
