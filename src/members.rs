//! Members of a cluster: what people ask to be changed of them, and what a leader says of it.
//!
//! A change says how it should be, and not what to do: asked for twice, it is there once. What becomes of it
//! is a configuration entry, with all that is still to come of it (`raft/configuration.rs`).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::Address;
use crate::bounded;
use crate::limits::NODES_MAX;
use crate::types::{Incarnation, Index, NodeId, Term};

/// What a learner is for that does not simply become a voter as soon as it has what the others have.
///
/// Its variants are numbered by their order, on the wire and on disk: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Aim {
    /// It stays a learner.
    Stay,
    /// It becomes a voter in this one's place.
    Replace(NodeId),
}

/// What is asked of a leader.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// This node is a member: a learner first, then what it is for.
    Add {
        /// Which.
        node: NodeId,
        /// Where the others reach it.
        address: Address,
        /// What it is for; `None`: to vote.
        aim: Option<Aim>,
    },
    /// This node is no member.
    Remove {
        /// Which.
        node: NodeId,
    },
    /// This member is reached there.
    Move {
        /// Which.
        node: NodeId,
        /// Where.
        address: Address,
    },
    /// Another node leads.
    Transfer {
        /// Which; `None`: whoever has most.
        to: Option<NodeId>,
    },
}

/// What became of a change that was asked for.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberReply {
    /// It is so already.
    IsSo,
    /// An entry was appended that says so. It may still be lost.
    Begun {
        /// Its index.
        index: Index,
    },
    /// The leader makes way for another one first: to be asked of that one again.
    HandsOver {
        /// To whom.
        to: NodeId,
    },
    /// Nothing is done.
    Refused(MemberRefusal),
}

/// Why a leader does not change the members.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum MemberRefusal {
    /// It does not lead.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, if it knows.
        leader: Option<NodeId>,
    },
    /// It may do it in a moment: it has just been elected, hands over, or another change is not committed
    /// yet.
    #[error("another change is under way")]
    Busy,
    /// The members are not those that whoever asks has seen.
    #[error("the members were changed by somebody else meanwhile")]
    Outdated,
    /// Only admins may.
    #[error("only an admin may change members")]
    NotAdmin,
    /// Of the voters that there would be, too few are heard.
    #[error(
        "of the {voters} voters that there would be, {heard} are heard by the leader, which is no majority"
    )]
    NoMajority {
        /// How many there would be.
        voters: u16,
        /// How many of those are heard.
        heard: u16,
    },
    /// A cluster has a voter.
    #[error("it is the only voter")]
    LastVoter,
    /// There is no such member.
    #[error("{node} is no member")]
    NoMember {
        /// Which.
        node: NodeId,
    },
    /// It does not vote.
    #[error("{node} is no voter")]
    NoVoter {
        /// Which.
        node: NodeId,
    },
    /// Nobody hears it.
    #[error("the leader does not hear {node}")]
    Unheard {
        /// Which.
        node: NodeId,
    },
    /// There are too many.
    #[error("a cluster has at most {} members", NODES_MAX)]
    TooMany,
    /// Another member is there.
    #[error("{node} is at that address")]
    SameAddress {
        /// Which.
        node: NodeId,
    },
}

impl MemberRefusal {
    /// Whether to ask again, in a moment or of another node, may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NotLeader { .. } | Self::Busy | Self::Outdated)
    }
}

/// What a member is.
///
/// Its variants are numbered by their order on the wire: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// It votes.
    Voter,
    /// It receives the log, and does not vote.
    Learner,
    /// It votes until the change that is under way is committed.
    Outgoing,
}

/// A member, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub node: NodeId,
    /// What it is.
    pub part: Part,
    /// What it is for, if it is a learner that is for something else than to vote.
    pub aim: Option<Aim>,
    /// Where the others reach it; nothing, if nobody knows.
    pub address: Option<Address>,
    /// The store that it is meant with, if that is not the one it began with.
    pub store: Option<Incarnation>,
    /// The last entry that it has on its disk, as far as the leader knows.
    pub match_index: Index,
    /// Whether the leader hears it, with that store.
    pub heard: bool,
}

/// The members of a cluster, as its leader sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Who leads.
    pub leader: NodeId,
    /// In which term.
    pub term: Term,
    /// The entry that says who they are.
    pub as_of: Index,
    /// Whether that is committed, and no change is under way.
    pub settled: bool,
    /// The leader's last entry.
    pub last_index: Index,
    /// Each of them.
    #[serde(deserialize_with = "bounded::list::<_, _, NODES_MAX>")]
    pub members: Vec<Member>,
    /// How the leader's node is set up: a new one is set up like it.
    pub settings: MemberSettings,
}

/// How a node is set up, as far as all nodes of a cluster should be set up alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSettings {
    /// The time between two heartbeats, in ms.
    pub heartbeat_ms: u64,
    /// The shortest and the longest election timeout, in ms.
    pub election_timeout_ms: (u64, u64),
    /// Bytes of entries after which the log takes a new segment: the same for all.
    pub segment_bytes: u64,
    /// Whether the leader may be crashed on purpose.
    pub fault_injection: bool,
}

impl Members {
    /// A member, if it is one.
    pub fn get(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// Whether a node votes, and goes on voting.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.get(node).is_some_and(|member| member.part == Part::Voter)
    }
}
