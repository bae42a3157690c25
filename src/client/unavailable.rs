//! Why nobody was found who leads, and what to do about it.

use thiserror::Error;

use super::route::Leading;
use crate::net::Problem;
use crate::outcome::Outcome;
use crate::types::{ByteCount, DiskFull, NodeId};

/// Nobody could be found who leads.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// No node answered.
    #[error("none of the {known} known nodes answers")]
    Unreachable {
        /// Nodes of which an address is known.
        known: usize,
    },
    /// The nodes take no connection: they have too many, or are on their way out, which looks the same.
    #[error("the nodes take no more connections: they have too many, or are being stopped")]
    Crowded,
    /// Fewer nodes answered than a leader needs.
    #[error("no quorum: {answered} of {known} nodes answer")]
    NoQuorum {
        /// Nodes that answered.
        answered: usize,
        /// Nodes of which an address is known.
        known: usize,
    },
    /// Enough nodes answered, and none of them leads.
    #[error("no leader: {answered} of {known} nodes answer, and none of them can serve yet")]
    NoLeader {
        /// Nodes that answered.
        answered: usize,
        /// Nodes of which an address is known.
        known: usize,
    },
    /// Nodes that answer say who leads, and that one does not answer here.
    #[error(
        "according to {} the leader is {} (term {}), and it does not answer here",
        list(by), leading.node, leading.term
    )]
    OutOfReach {
        /// Who leads, as they say.
        leading: Leading,
        /// Who says so.
        by: Vec<NodeId>,
    },
    /// The leader refused all the time because it had too much to do.
    #[error("the leader {node} has too much to do")]
    Busy {
        /// Who.
        node: NodeId,
    },
    /// The leader refused all the time because a disk is full.
    #[error(
        "{node}'s disk is full: {} free, {} needed",
        ByteCount(full.free_bytes), ByteCount(full.needed_bytes)
    )]
    DiskFull {
        /// Whose.
        node: NodeId,
        /// What it has and needs.
        full: DiskFull,
    },
    /// The nodes and this client do not accept each other's certificates.
    #[error("{node}: {problem}")]
    Refused {
        /// One of the nodes.
        node: NodeId,
        /// Why.
        problem: Problem,
    },
}

impl Unavailable {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Refused { .. } => Outcome::Failed,
            _ => Outcome::NoLeader,
        }
    }

    /// What to do about it; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "check that the nodes run (`annal up`) and that --dir or --nodes is right"
            }
            Self::NoQuorum { .. } => "a majority of the nodes must run: start the others",
            Self::NoLeader { .. } => {
                "an election may be under way: try again, or see `annal client status`"
            }
            Self::OutOfReach { .. } => {
                "appends and reads go by way of these nodes; check the way to the leader itself"
            }
            Self::Crowded | Self::Busy { .. } => {
                "try again in a moment, or allow more time with --timeout"
            }
            Self::DiskFull { .. } => {
                "make room on that node's disk: appends go on by themselves, and reads never stopped"
            }
            Self::Refused { problem, .. } => problem.hint(),
        }
    }
}

/// Names side by side: `n1, n2`.
fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
