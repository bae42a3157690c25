//! The parts of a cluster as child processes.
//!
//! Each child is in a process group of its own, so that a Ctrl-C in the terminal is the parent's
//! alone, and reads a pipe whose other end the parent holds: when that end closes, however the
//! parent died, the child stops in an orderly way. A task for each child passes on its log lines
//! and, at last, how it ended. Lines that come faster than they are taken are left out: a terminal
//! that was halted must not halt the cluster.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::allocator;
use super::args::Shared;
use super::failure::Failure;
use super::parent::{self, ChildWord};
use super::quote::{command_line, program};
use crate::config::{DATA_FOLDER, REGISTRY_FOLDER};
use crate::outcome::Outcome;
use crate::remedy;
use crate::types::NodeId;

/// Events that wait to be taken.
const EVENTS_MAX: usize = 4096;

/// How long the last words of a child that ended may take to come.
const LAST_WORDS_TIME: Duration = Duration::from_millis(500);

/// A part of a cluster that is a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The registry.
    Registry,
    /// A node.
    Node(NodeId),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry => f.pad("registry"),
            Self::Node(node) => f.pad(&node.to_string()),
        }
    }
}

impl Part {
    /// Its folder in a cluster's directory.
    pub(super) fn data(self, directory: &Path) -> PathBuf {
        let data = directory.join(DATA_FOLDER);
        match self {
            Self::Registry => data.join(REGISTRY_FOLDER),
            Self::Node(node) => data.join(node.to_string()),
        }
    }

    /// The command that starts it, without the program's name.
    fn arguments(self, directory: &Path) -> Vec<OsString> {
        let noun = match self {
            Self::Registry => "registry",
            Self::Node(_) => "node",
        };
        let data = self.data(directory).into_os_string();
        vec![noun.into(), "start".into(), "--data".into(), data]
    }

    /// The command that starts it, for people.
    pub(super) fn command(self, directory: &Path) -> String {
        command_line([OsString::from(program())].into_iter().chain(self.arguments(directory)))
    }
}

/// What a child did.
#[derive(Debug)]
pub(super) enum Event {
    /// It said something on stderr.
    Line {
        /// Who.
        part: Part,
        /// What, without the newline.
        text: String,
    },
    /// It said something that is for its parent only.
    Told {
        /// Who.
        part: Part,
        /// What.
        word: ChildWord,
    },
    /// It ended.
    Ended {
        /// Who.
        part: Part,
        /// How.
        status: ExitStatus,
    },
}

/// How a process ended, in words.
pub(super) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "stopped".to_owned(),
        (Some(4), _) => "ended: it is no member any more (exit 4)".to_owned(),
        (Some(6), _) => "refused to go on: damage was found (exit 6)".to_owned(),
        (Some(code), _) => format!("failed (exit {code})"),
        (None, Some(6)) => "crashed (aborted, signal 6)".to_owned(),
        (None, Some(9)) => "was killed (signal 9)".to_owned(),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
    }
}

/// The parent's hold on a child: dropping `pipe` asks it to stop, `kill` ends it.
struct Hold {
    pipe: Option<ChildStdin>,
    kill: Option<oneshot::Sender<()>>,
}

impl Hold {
    fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            // The task may be gone already, and with it the child.
            let _ = kill.send(());
        }
    }
}

/// The children of this process.
pub(super) struct Children {
    directory: PathBuf,
    shared: Shared,
    running: BTreeMap<Part, Hold>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

impl Children {
    /// No children yet, of the cluster in `directory`.
    pub(super) fn new(directory: &Path, shared: &Shared) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (directory, shared) = (directory.to_owned(), shared.clone());
        Self { directory, shared, running: BTreeMap::new(), sender, events }
    }

    /// Starts a part, which must not be running.
    ///
    /// # Errors
    /// The process cannot be started.
    pub(super) fn start(&mut self, part: Part) -> Result<(), Failure> {
        assert!(!self.running.contains_key(&part), "{part} is running");
        let mut command = self.command(part)?;
        command.arg("--parent-pipe").stdin(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| cannot_start(part, &error))?;
        let pipe = child.stdin.take();
        let lines = child.stderr.take().expect("stderr was asked to be a pipe");
        let (kill, killed) = oneshot::channel();
        tokio::spawn(watch(part, (child, lines), killed, self.sender.clone()));
        self.running.insert(part, Hold { pipe, kill: Some(kill) });
        Ok(())
    }

    /// Starts a part that outlives this process, with its log in a file. Returns its process id.
    ///
    /// # Errors
    /// The process cannot be started, or the file not be written.
    pub(super) fn leave_behind(&self, part: Part, log: &Path) -> Result<u32, Failure> {
        let log = File::create(log).map_err(|error| cannot_start(part, &error))?;
        let mut command = self.command(part)?;
        command.stdin(Stdio::null()).stderr(Stdio::from(log));
        let child = command.spawn().map_err(|error| cannot_start(part, &error))?;
        Ok(child.id().unwrap_or_default())
    }

    fn command(&self, part: Part) -> Result<Command, Failure> {
        let program = env::current_exe().map_err(|error| cannot_start(part, &error))?;
        let mut command = Command::new(program);
        allocator::set_for(command.as_std_mut());
        command.args(part.arguments(&self.directory));
        command.arg("--dir").arg(&self.directory);
        command.args(["--log-format", self.shared.log_format.word()]);
        if let Some(filter) = &self.shared.log_filter {
            command.args(["--log-filter", filter]);
        }
        // Their complaints are read here, as lines for people.
        command.env_remove("ANNAL_JSON");
        command.stdout(Stdio::null()).process_group(0);
        Ok(command)
    }

    /// The next thing that a child does. Waits for ever when there are none.
    pub(super) async fn next(&mut self) -> Event {
        let event = self.events.recv().await.expect("this end holds a sender itself");
        if let Event::Ended { part, .. } = &event {
            self.running.remove(part);
        }
        event
    }

    /// The next thing that a child has done already, if any.
    pub(super) fn try_next(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok()?;
        if let Event::Ended { part, .. } = &event {
            self.running.remove(part);
        }
        Some(event)
    }

    /// The next thing that a child does before the deadline.
    pub(super) async fn next_until(&mut self, deadline: Instant) -> Option<Event> {
        timeout_at(deadline, self.next()).await.ok()
    }

    /// Which are running.
    pub(super) fn running(&self) -> Vec<Part> {
        self.running.keys().copied().collect()
    }

    /// Asks all to stop. They end on their own, or are killed later.
    pub(super) fn ask_to_stop(&mut self) {
        for hold in self.running.values_mut() {
            hold.pipe = None;
        }
    }

    /// Ends all that are still running, at once.
    pub(super) fn kill(&mut self) {
        self.running.values_mut().for_each(Hold::kill);
    }

    /// Ends one, at once, if it is running: signal 9.
    pub(super) fn kill_one(&mut self, part: Part) {
        if let Some(hold) = self.running.get_mut(&part) {
            hold.kill();
        }
    }
}

/// Passes on what a child says, and how it ends.
async fn watch(
    part: Part,
    (mut child, lines): (Child, ChildStderr),
    mut killed: oneshot::Receiver<()>,
    events: mpsc::Sender<Event>,
) {
    let passing = tokio::spawn(pass_lines(part, lines, events.clone()));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            asked = &mut killed, if !killed.is_terminated() => {
                // An error means that the parent's hold is gone, as after a panic: end it, too.
                let _ = asked;
                let _ = child.start_kill();
            }
        }
    };
    // A process that the child has left behind may keep the pipe open.
    let _ = tokio::time::timeout(LAST_WORDS_TIME, passing).await;
    let status = status.unwrap_or_else(|_| ExitStatus::from_raw(0));
    // With nobody listening, nobody cares.
    let _ = events.send(Event::Ended { part, status }).await;
}

async fn pass_lines(part: Part, lines: ChildStderr, events: mpsc::Sender<Event>) {
    let mut lines = BufReader::new(lines);
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if let Some(word) = parent::heard(&text) {
                    // There are few of these, and none may be missed.
                    let _ = events.send(Event::Told { part, word }).await;
                    continue;
                }
                // Full: left out, see above.
                let _ = events.try_send(Event::Line { part, text });
            }
        }
    }
}

fn cannot_start(part: Part, error: &io::Error) -> Failure {
    let sentence = format!("{part} could not be started: {error}");
    Failure::new(Outcome::Failed, sentence, remedy::of_spawn(error))
}
