//! The whole border of a replica: what can happen to it, and what it wants done.

use std::time::Duration;

use bytes::Bytes;

use super::incoming::{BadEntries, Contradiction};
use crate::marks::{Mark, hit};
use crate::mutants::{self, Mutant};
use crate::raft::{self, Notice, ReadToken};
use crate::store::{Installation, Lacking, Write};
use crate::types::{Incarnation, Index, LogId, LogNumber, NodeId, SeqRange, Ticket};
use crate::wire::api::{AppendRefusal, AppendRun, Appended, Read, ReadRefusal};
use crate::wire::peer::PeerMessage;

/// Names a run of append requests that wait for their answers; chosen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendToken(pub u64);

/// What a replica is told once and keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// For the core.
    pub raft: raft::Options,
    /// Bytes of entries after which the log takes a new segment.
    pub segment_bytes: u64,
    /// Clients that are remembered; the same for all nodes of a cluster, for ever.
    pub sessions_max: usize,
    /// Bytes of requests that may wait to be proposed.
    pub proposals_bytes_max: usize,
    /// Bytes that are to stay free on the disk: below them no records are taken.
    pub reserve_bytes: u64,
    /// How long a tick takes, at least.
    pub tick: Duration,
}

/// What can happen to a replica.
#[derive(Clone, Debug)]
pub enum Event {
    /// A tick of the clock has passed.
    Tick {
        /// Fresh entropy.
        random: u64,
    },
    /// A message came from another node, proven to be `from` by its certificate.
    Peer {
        /// The sender.
        from: NodeId,
        /// The message, nothing of which has been checked.
        message: PeerMessage,
    },
    /// A client asks to append. Each request is answered once, by an [`Action::Append`].
    Append {
        /// Names the run of requests.
        token: AppendToken,
        /// What it asks, nothing of which has been checked but that the lengths are the records'.
        run: AppendRun,
        /// The records, one after the other.
        records: Bytes,
    },
    /// A client asks up to where a read must see. Answered by [`Action::Read`].
    Read {
        /// Names the read.
        token: ReadToken,
        /// The log that is used by it.
        log: LogNumber,
    },
    /// The write with this ticket, and all before it, are on disk.
    Persisted(Ticket),
    /// What an [`Action::Fetch`] asked for was read, or what stands for it.
    Fetched {
        /// For whom.
        to: NodeId,
        /// As it was asked.
        prev_log_id: LogId,
        /// What there is.
        found: Lacking,
    },
    /// So many bytes are free on this node's disk. To be told whenever that has changed, and soon
    /// after the start: until then there is room.
    Space {
        /// How many.
        free_bytes: u64,
    },
    /// Hand over leadership, if this node leads.
    Transfer,
    /// The next message of a node comes from a new process of it.
    Restarted {
        /// The node.
        peer: NodeId,
        /// Its store, if that was made in place of one that was lost.
        store: Option<Incarnation>,
    },
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write, in the order given; then hand in [`Event::Persisted`].
    Write(Write),
    /// Send, if possible.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// Read entries from the store; then hand in [`Event::Fetched`].
    Fetch {
        /// For whom.
        to: NodeId,
        /// The entry before those of use.
        prev_log_id: LogId,
        /// The last entry of use.
        last: Index,
    },
    /// The answer to the requests of an [`Event::Append`], or to some of them.
    Append {
        /// Which run.
        token: AppendToken,
        /// Which of its requests.
        seqs: SeqRange,
        /// What became of them; if they are in the log, of the first of them.
        result: Result<Appended, AppendRefusal>,
    },
    /// The answer to [`Event::Read`].
    Read {
        /// Which read.
        token: ReadToken,
        /// Up to where it must see.
        answer: ReadAnswer,
    },
    /// All entries up to here are committed and on this node's own disk.
    Committed(Index),
    /// Sealed segments that end before this entry hold nothing that anybody needs: they can go.
    Release(Index),
    /// Begin the node's store at this head, and the node on that: with this replica nothing more is done.
    Install(Box<Installation>),
    /// Entries of a leader, or a piece of a head, were not taken.
    BadEntries {
        /// The leader.
        from: NodeId,
        /// What is wrong with them.
        error: BadEntries,
    },
    /// Another node's log and this one's cannot both be right. This node ends: nothing more is done.
    Contradiction(Contradiction),
    /// Something worth telling.
    Notice(Notice),
}

/// Up to where a read must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAnswer {
    /// Everything up to this index.
    At(Index),
    /// This node does not lead, or ceased to while the read waited.
    NotLeader,
    /// Too many reads wait.
    Busy,
}

/// What a node does with a read that must see what was acknowledged before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadNext {
    /// Serve it, once everything up to here can be read.
    See(Index),
    /// Ask this node, which leads, up to where it must see ([`Read::of_index`]); then serve it.
    Ask(NodeId),
    /// Refuse it.
    Refuse(ReadRefusal),
}

impl ReadAnswer {
    /// What a node that knows this leader does with a read.
    ///
    /// One that goes on for ever is the leader's: its records come there first. Nor is a question asked on:
    /// who is asked in a leader's place has none.
    pub fn next(self, read: &Read, leader: Option<NodeId>) -> ReadNext {
        let is_once = !read.follow && read.inquiry.is_none();
        match (self, leader) {
            (Self::At(index), _) => ReadNext::See(index),
            (Self::NotLeader, Some(_)) if is_once && mutants::is_on(Mutant::ServeUnasked) => {
                ReadNext::See(Index::ZERO)
            }
            (Self::NotLeader, Some(leader)) if is_once => {
                hit(Mark::IndexAsked);
                ReadNext::Ask(leader)
            }
            (Self::NotLeader, leader) => ReadNext::Refuse(ReadRefusal::NotLeader { leader }),
            (Self::Busy, _) => ReadNext::Refuse(ReadRefusal::Busy),
        }
    }
}

/// What was recovered cannot be understood, although its checksums hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The table of clients in the segment's head.
    #[error("the table of clients in the head of a segment is not of its form")]
    Table,
    /// An entry.
    #[error("entry {id} is not of its form")]
    Entry {
        /// Which.
        id: LogId,
    },
}
