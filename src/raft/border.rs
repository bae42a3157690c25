//! The whole border of the core on a page: [`Input`] goes in, [`Effect`] comes out.
//!
//! The driver's duty is one sentence: *perform `Persist` effects in the order given, everything
//! else in any order, in parallel; any `Send` may be lost.* The core's part of the contract: *no
//! message rests on state that is not yet on disk*, but for the leader's own AppendEntries, which
//! may go out while its disk is busy (thesis 10.2.1).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::configuration::Configuration;
use super::message::{EntryInfo, HeadInfo, Message};
use crate::entry::NoOp;
use crate::types::{DiskFull, Incarnation, Index, LogId, NodeId, Term, Ticket};

/// What must survive a crash besides the log (thesis, figure 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HardState {
    /// The highest term this node has seen. Never goes down.
    pub current_term: Term,
    /// Whom it voted for in that term. Never changes within a term once set.
    pub voted_for: Option<NodeId>,
}

/// Names a read that waits; chosen by the driver, handed back in [`Effect::Reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// What can happen to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A tick of the clock has passed. Missed ticks are not made up for.
    Tick {
        /// Fresh entropy: the election timeout is drawn from it whenever the timer is armed.
        random: u64,
    },
    /// A message came. Duplicates, losses and any order are expected.
    Receive {
        /// The sender, proven by its certificate.
        from: NodeId,
        /// What it said. The sealed entries beside it were checked and are kept by the caller.
        message: Message,
    },
    /// Append an entry of clients' records. Only a leader is asked; see `Raft::may_propose`.
    Propose {
        /// The size of the entry that will be sealed, in bytes.
        bytes: u32,
    },
    /// Append a configuration (thesis 4.3), as `Raft::plan` has found it. Only a leader is asked.
    ProposeConfiguration(Configuration),
    /// Find out up to where a read must see (ReadIndex, thesis 6.4).
    Read(ReadToken),
    /// The write of [`Effect::Persist`] with this ticket, and so all before it, is on disk.
    Persisted {
        /// The newest such ticket.
        ticket: Ticket,
    },
    /// Entries asked for by [`Effect::Fetch`] were read.
    Fetched {
        /// For whom they were read.
        to: NodeId,
        /// The entry before them.
        prev_log_id: LogId,
        /// The entries. The caller keeps their bytes at hand for the message that follows.
        entries: Vec<EntryInfo>,
    },
    /// Entries asked for by [`Effect::Fetch`] were given up: the head of the first segment that is there
    /// stands for them.
    GivenUp {
        /// For whom they were asked.
        to: NodeId,
        /// The entry before them.
        prev_log_id: LogId,
        /// The head. The caller keeps its bytes at hand, and those of no other, for as long as
        /// `Raft::sends_head` says so.
        head: HeadInfo,
    },
    /// How full this node's disk is, whenever that has changed: `None` if it has room.
    Space {
        /// What it has and should have.
        disk_full: Option<DiskFull>,
    },
    /// Whose wall clocks are far ahead of the others', whenever that has changed. The time of every
    /// entry is its leader's clock and never goes back: such a node does not lead while another can.
    Clocks {
        /// Who, this node included.
        ahead: BTreeSet<NodeId>,
    },
    /// Hand over leadership to the most advanced follower (thesis 3.10), if there is a choice to
    /// one whose disk is not full.
    Transfer {
        /// To this one and to no other.
        to: Option<NodeId>,
    },
    /// The next message of this node comes from a new start of it: what was believed of the one before
    /// is to be heard again. From here on nothing comes of a former start.
    Restarted {
        /// The node.
        peer: NodeId,
        /// Its store, if that was made in place of one that was lost: then it is another server.
        store: Option<Incarnation>,
    },
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The leader's log got a new last entry: seal it now, before any other effect of this step is
    /// performed. Others name the entry.
    Seal {
        /// The new entry.
        log_id: LogId,
        /// What goes into it.
        content: Content,
    },
    /// Write, in the order of tickets; then hand in [`Input::Persisted`].
    Persist(Persist),
    /// Send, if possible. Never waits for a `Persist` of the same step: what has to wait is held
    /// back by the core.
    Send {
        /// The receiver.
        to: NodeId,
        /// The message. With entries, their sealed bytes go beside it.
        message: Message,
    },
    /// A follower needs entries that have left the recent window: read some and hand in
    /// [`Input::Fetched`]. If it does not come, the core asks again; for too long, and it steps down.
    Fetch {
        /// The follower.
        to: NodeId,
        /// The entry before the first.
        prev_log_id: LogId,
        /// The last entry of use. Reading fewer is fine.
        last: Index,
    },
    /// All of this head has come, and this node lacks what is before it: begin its store there, with the
    /// term and the vote that it has now, and this core anew on that. Nothing more is done with this one.
    Install {
        /// The head.
        head: HeadInfo,
    },
    /// All entries up to here are committed. They may not be on this node's own disk yet.
    Commit {
        /// The new commit index; never goes down.
        through: Index,
    },
    /// The answer to [`Input::Read`].
    Reply {
        /// Which read.
        token: ReadToken,
        /// The read has to see everything up to this index; `None`: not the leader (any more).
        read_index: Option<Index>,
    },
    /// Something worth telling, for logs, traces and scripts. Nothing depends on it.
    Notice(Notice),
}

/// What goes into an entry that the leader appends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The first entry of the leader's term.
    NoOp(NoOp),
    /// A configuration.
    Configuration(Configuration),
    /// The records of the [`Input::Propose`] that is being handled.
    Proposal,
}

/// One write: what it names becomes durable together, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Persist {
    /// Names this write in [`Input::Persisted`].
    pub ticket: Ticket,
    /// The new term and vote, if they changed.
    pub hard_state: Option<HardState>,
    /// Entries from this index on are removed first.
    pub truncate_from: Option<Index>,
    /// The first and the last index of the entries to write, if any.
    pub range: Option<(Index, Index)>,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// This node asks whether it would be elected.
    BecamePreCandidate {
        /// The term it would campaign in.
        term: Term,
    },
    /// This node campaigns.
    BecameCandidate {
        /// The term it campaigns in.
        term: Term,
    },
    /// This node was elected.
    BecameLeader {
        /// Its term.
        term: Term,
        /// The index of its no-op.
        no_op: Index,
    },
    /// This node follows.
    BecameFollower {
        /// Its term.
        term: Term,
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// This node was leader and is no longer.
    SteppedDown {
        /// The term it led.
        term: Term,
        /// Why.
        reason: StepDownReason,
    },
    /// This node voted.
    Voted {
        /// The term.
        term: Term,
        /// For whom.
        candidate: NodeId,
    },
    /// This node's log had entries that the leader's does not have.
    Truncated {
        /// The first entry removed.
        from: LogId,
    },
    /// A follower started again without entries that it had acknowledged to this leader.
    Forgot {
        /// The follower.
        follower: NodeId,
        /// The first entry that it cannot have any more.
        from: Index,
        /// The last that it had acknowledged.
        acknowledged: Index,
    },
    /// The leader begins to send a follower the head that stands for what it has given up.
    SendsHead {
        /// The follower.
        to: NodeId,
        /// The entry before the first that it will have.
        head: LogId,
    },
    /// The leader takes a node that came back with a new store as a learner, to be filled.
    Refilling {
        /// The node.
        node: NodeId,
    },
    /// The leader takes a node that was filled as a voter again.
    Reinstated {
        /// The node.
        node: NodeId,
    },
    /// The leader hands over.
    TransferStarted {
        /// To whom.
        to: NodeId,
    },
    /// A message was refused because nobody can have said it: it speaks of a stolen key, or of damage.
    Refused {
        /// Whose certificate it came with.
        from: NodeId,
        /// The message's term.
        term: Term,
        /// What is wrong with it.
        what: Implausible,
    },
    /// This node cannot stand for election: there is no term after its own.
    NoTermLeft,
    /// This node's disk took longer for a write than the shortest election timeout.
    DiskSlow {
        /// How long.
        ticks: u32,
    },
    /// This node's disk has been at a write for so long that it may never end.
    DiskStuck {
        /// How long.
        ticks: u32,
    },
}

/// What nobody can have said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Implausible {
    /// A term that no number of elections can have led to.
    Term,
    /// Entries where none can be.
    Entries,
    /// A head where none can be.
    Head,
    /// The sender leads a term of which this node knows another leader.
    SecondLeader,
}

/// Why a leader stepped down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepDownReason {
    /// A message of a higher term came.
    HigherTerm,
    /// No quorum was heard for an election timeout (thesis 6.2).
    QuorumLost,
    /// Its disk has not finished for a long time what other disks have, or has not given what was
    /// asked of it.
    DiskStalled,
    /// It is not in the newest committed configuration (thesis 4.2.2).
    Removed,
}
