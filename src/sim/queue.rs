//! What is still to happen, in the order of virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;

use super::network::StreamNumber;
use super::time::Time;
use crate::raft::ReadToken;
use crate::types::{Incarnation, Index, LogId, NodeId};

/// Who asked the registry something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// In which of its attempts to announce itself.
    Node(NodeId, Incarnation, u64),
    Client(usize),
}

/// A client that asked a question, in which of its lives, and which question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) client: usize,
    pub(super) life: u64,
    pub(super) question: u64,
    /// Whom it asked, over which of its connections.
    pub(super) node: NodeId,
    pub(super) link: u64,
    /// The node that asks for it, to serve its read itself.
    pub(super) behind: Option<Behind>,
}

/// A node that asks how far a read must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// Its read.
    pub(super) token: ReadToken,
}

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A node's tick is due.
    Tick { node: NodeId, incarnation: Incarnation },
    /// A node looks at what has gathered.
    Wake { node: NodeId, incarnation: Incarnation },
    /// A node's disk is done with a group of writes.
    DiskDone { node: NodeId, incarnation: Incarnation, write: u64 },
    /// What a node does twice a second is due, when the upkeep comes to it.
    KeepUp { node: NodeId, incarnation: Incarnation },
    /// A node's upkeep has done the chore that it had begun.
    UpkeepDone { node: NodeId, incarnation: Incarnation, chore: u64 },
    /// A node's disk has read entries for a follower.
    Fetched { node: NodeId, incarnation: Incarnation, to: NodeId, prev_log_id: LogId, last: Index },
    /// A message between nodes arrives.
    Peer { from: (NodeId, Incarnation), to: NodeId, bytes: Bytes },
    /// A client's question, on a stream of its own, arrives at a node.
    Question { caller: Caller, node: NodeId, bytes: Bytes },
    /// The answer of a leader to another node arrives there.
    Index { behind: Behind, bytes: Bytes },
    /// A node's answer to one arrives.
    Answer { caller: Caller, bytes: Bytes },
    /// A frame on a long stream arrives at its node.
    ToNode { stream: StreamNumber, bytes: Bytes },
    /// A frame on a long stream, handed on by the node that it was opened to, arrives at the leader.
    ToLeader { stream: StreamNumber, bytes: Bytes },
    /// A frame on a long stream arrives at its client.
    ToClient { stream: StreamNumber, bytes: Bytes },
    /// A client notices that a stream is over.
    StreamEnds { stream: StreamNumber },
    /// A question arrives at the registry.
    AskRegistry { asker: Asker, bytes: Bytes },
    /// The registry's disk has what an announcement came to.
    RegistrySynced { start: u64 },
    /// The registry's answer arrives.
    RegistryAnswers { asker: Asker, bytes: Bytes },
    /// The registry starts again.
    RegistryStarts,
    /// A client looks at the time.
    Poll { client: usize, life: u64 },
    /// Something goes wrong.
    Fault { number: usize },
    /// A node's process is started.
    Start { node: NodeId },
    /// Somebody who wants the members to be changed asks again.
    Errand { number: usize },
    /// A copy of a node's folder is put in its place.
    PutBack { node: NodeId },
    /// A node that stood still goes on.
    Resume { node: NodeId, incarnation: Incarnation },
    /// Something that went wrong is over.
    Heal { number: usize },
}

#[derive(Debug)]
struct Scheduled {
    at: Time,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The earliest is the greatest; of one time, the one that was scheduled first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// What is still to happen.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Scheduled>,
    scheduled: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.heap.push(Scheduled { at, number: self.scheduled, event });
    }

    /// The next, unless that is after `end`.
    pub(super) fn pop_until(&mut self, end: Time) -> Option<(Time, Event)> {
        if self.heap.peek()?.at > end {
            return None;
        }
        self.heap.pop().map(|scheduled| (scheduled.at, scheduled.event))
    }
}
