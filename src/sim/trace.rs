//! What happened in a run: a hash of everything, and lines for who wants to read them.
//!
//! ```text
//!      time ms  who   what
//!     1234.567  n2    campaigns in term 3
//!     1234.601  n2    to n1 at 1235.020: RequestVote@3 last=17@2
//! ```

use blake3::Hasher;

use super::queue::Event;
use super::time::Time;
use crate::raft::Notice;
use crate::types::NodeId;
use crate::wire::peer::PeerMessage;

/// Bytes that gather before they are hashed.
const GATHER_BYTES: usize = 16 << 10;

/// See the module.
pub(super) struct Trace {
    hasher: Hasher,
    gathered: Vec<u8>,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// With lines, or with the hash alone.
    pub(super) fn new(with_lines: bool) -> Self {
        Self {
            hasher: Hasher::new(),
            gathered: Vec::with_capacity(GATHER_BYTES * 2),
            lines: with_lines.then(Vec::new),
        }
    }

    /// An event begins. Its bytes go into the hash: two runs with the same hash had the same events
    /// at the same times, and carried the same messages.
    pub(super) fn event(&mut self, now: Time, event: &Event) {
        self.number(now.micros());
        match event {
            Event::Tick { node, .. } => self.mark(1, *node),
            Event::Wake { node, .. } => self.mark(2, *node),
            Event::DiskDone { node, .. } => self.mark(3, *node),
            Event::KeepUp { node, .. } => self.mark(4, *node),
            Event::UpkeepDone { node, .. } => self.mark(11, *node),
            Event::Fetched { node, last, .. } => {
                self.mark(5, *node);
                self.number(last.get());
            }
            Event::Peer { from, to, bytes } => {
                self.mark(6, from.0);
                self.mark(6, *to);
                self.bytes(bytes);
            }
            Event::Question { node, bytes, .. } => {
                self.mark(7, *node);
                self.bytes(bytes);
            }
            Event::Index { behind, bytes } => {
                self.mark(12, behind.node);
                self.bytes(bytes);
            }
            Event::Answer { caller, bytes } => {
                self.number(8 + caller.question);
                self.bytes(bytes);
            }
            Event::ToNode { stream, bytes }
            | Event::ToLeader { stream, bytes }
            | Event::ToClient { stream, bytes } => {
                self.number(stream.0);
                self.bytes(bytes);
            }
            Event::StreamEnds { stream } => self.number(stream.0),
            Event::AskRegistry { bytes, .. } | Event::RegistryAnswers { bytes, .. } => {
                self.bytes(bytes);
            }
            Event::RegistrySynced { start } => self.number(*start),
            Event::RegistryStarts => self.number(9),
            Event::Poll { client, .. } => self.number(*client as u64),
            Event::Fault { number } | Event::Heal { number } => self.number(*number as u64),
            Event::Errand { number } => self.number(13 << 16 | *number as u64),
            Event::Start { node } | Event::PutBack { node } | Event::Resume { node, .. } => {
                self.mark(10, *node);
            }
        }
    }

    /// A line about a node; made only if lines are wanted, and part of the hash in any case by the
    /// events that it is about.
    pub(super) fn text(&mut self, now: Time, node: NodeId, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line(now, &node.to_string(), &text()));
        }
    }

    /// A line about a client.
    pub(super) fn client(&mut self, now: Time, client: usize, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line(now, &format!("c{client}"), &text()));
        }
    }

    /// A line about the run.
    pub(super) fn note(&mut self, now: Time, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line(now, "-", &text()));
        }
    }

    pub(super) fn notice(&mut self, now: Time, node: NodeId, notice: &Notice) {
        self.text(now, node, || notice.to_string());
    }

    pub(super) fn sent(
        &mut self,
        now: Time,
        (from, to): (NodeId, NodeId),
        at: Time,
        message: &PeerMessage,
    ) {
        self.text(now, from, || {
            let entries = match message.entries.len() {
                0 => String::new(),
                count => format!(" with {count} entries"),
            };
            format!("to {to} at {}: {}{entries}", at.to_string().trim_start(), message.message)
        });
    }

    /// The hash of all that was put in, and the lines.
    pub(super) fn finish(mut self) -> (String, Vec<String>) {
        self.hasher.update(&self.gathered);
        let hash = self.hasher.finalize().to_hex();
        (hash[..32].to_owned(), self.lines.unwrap_or_default())
    }

    fn mark(&mut self, kind: u64, node: NodeId) {
        self.number(kind << 16 | u64::from(node.get()));
    }

    fn number(&mut self, number: u64) {
        self.gathered.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHER_BYTES {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
    }
}

fn line(now: Time, who: &str, what: &str) -> String {
    format!("{now:>12}  {who:<4}  {what}")
}
