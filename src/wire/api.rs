//! What clients and nodes say to each other.
//!
//! A client opens a stream for each thing it does; the first frame says what. Appends share one
//! long stream: requests go out pipelined, answers come back as their entries commit.

use serde::{Deserialize, Serialize};

use crate::types::{
    ClientId, ClusterId, Incarnation, Index, LogNumber, NodeId, Offset, Seq, Term, Timestamp,
};

/// The first frame of a stream that a client opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Who are you, and who leads? Answered by one [`Welcome`].
    Hello,
    /// This stream carries appends: [`AppendRequest`] frames follow, answered by [`AppendReplies`].
    Appends,
    /// Answered by [`Records`] frames, the last with `end` set, or one refusal.
    Read(Read),
    /// Crash as leader of this term (admins only). Answered by one [`CrashReply`].
    CrashLeader {
        /// The term that the client believes the node leads.
        term: Term,
    },
}

/// A node's account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub node: NodeId,
    /// This start of its process.
    pub incarnation: Incarnation,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader of that term, if it knows one.
    pub leader: Option<NodeId>,
    /// Whether it is a leader whose no-op is committed: then it serves appends and reads.
    pub ready: bool,
    /// Its last index.
    pub last_index: Index,
    /// Its commit index. A new client's `born`.
    pub commit_index: Index,
    /// The offset after the last committed record of `main`.
    pub next_offset: Offset,
    /// Every member and where it listens, as this node is configured.
    pub nodes: Vec<(NodeId, String)>,
}

/// A node's role, as shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}

/// Header of a frame with one append request; the records' bytes follow, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendRequest {
    /// Who asks (thesis 6.3).
    pub client: ClientId,
    /// The number of this request.
    pub seq: Seq,
    /// The client has the answers of all its requests before this one.
    pub first_unanswered: Seq,
    /// The commit index of the node that greeted the client when it was new.
    pub born: Index,
    /// Where to.
    pub log: LogNumber,
    /// The length of each record in bytes.
    pub lengths: Vec<u32>,
}

/// Header of a frame with answers to append requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendReplies {
    /// The answers, in no particular order.
    pub replies: Vec<AppendReply>,
}

/// The answer to one append request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendReply {
    /// Whose request.
    pub client: ClientId,
    /// Which.
    pub seq: Seq,
    /// What became of it.
    pub result: Result<Appended, AppendRefusal>,
}

/// An acknowledged request: on the disks of a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The offset of its first record.
    pub offset: Offset,
    /// How many records it has.
    pub count: u32,
    /// The term of the entry that holds it.
    pub term: Term,
    /// The index of that entry.
    pub index: Index,
    /// Who acknowledges.
    pub leader: NodeId,
}

/// Why an append request was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendRefusal {
    /// Not taken: this node does not lead. Try the leader.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Not taken: too much is waiting. Try again.
    Busy,
    /// Not taken: requests before it are missing. Send them again, in order, from this one on.
    Gap {
        /// The number that the node expects next.
        expected: Seq,
    },
    /// Outcome unknown for ever: the table of clients no longer remembers.
    Expired,
    /// Outcome unknown: the node had taken it and stepped down. Send the same again elsewhere.
    Unknown,
    /// Not taken: it breaks a limit, or names a log that does not exist.
    Invalid,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// From which log.
    pub log: LogNumber,
    /// Where to begin.
    pub from: ReadFrom,
    /// At most so many records; `None`: all up to the end.
    pub limit: Option<u64>,
    /// Whether the answer must reflect everything acknowledged before (thesis 6.4), which only the
    /// leader can tell; else it is this node's committed prefix.
    pub linearizable: bool,
    /// Whether to go on with what is committed later, until the client closes the stream.
    pub follow: bool,
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadFrom {
    /// At this offset.
    Offset(Offset),
    /// So many records before the end.
    Last(u64),
}

/// Header of a frame with records; their bytes follow, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// The offset of the first record; the others follow without a gap.
    pub first_offset: Offset,
    /// Runs of records of one entry: how many, and the entry's term, index and time.
    pub runs: Vec<Run>,
    /// The length of each record in bytes.
    pub lengths: Vec<u32>,
    /// Set in the last frame of a read that does not follow.
    pub end: bool,
    /// Why there is nothing, if the read was refused.
    pub refusal: Option<ReadRefusal>,
}

/// Records of one entry, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// How many records.
    pub count: u32,
    /// The term of their entry.
    pub term: Term,
    /// The index of their entry.
    pub index: Index,
    /// The time of their entry.
    pub time: Timestamp,
}

/// Why a read was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadRefusal {
    /// This node does not lead, or ceased to while the read waited. Try the leader.
    NotLeader {
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// Too many reads wait. Try again.
    Busy,
    /// The log does not exist.
    UnknownLog,
    /// The node could not read its store.
    Failed,
}

/// The answer to [`Request::CrashLeader`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CrashReply {
    /// It aborts as soon as this has arrived.
    Crashing {
        /// Who.
        node: NodeId,
        /// The term that it led.
        term: Term,
        /// The start of its process that ends with this.
        incarnation: Incarnation,
    },
    /// It does not lead that term.
    NotLeader {
        /// Its term.
        term: Term,
        /// The leader, if known.
        leader: Option<NodeId>,
    },
    /// The certificate is not an admin's.
    NotAdmin,
    /// The cluster was created without fault injection.
    NotAllowed,
}
