//! Who votes: the configuration (thesis 4.1), joint or not (thesis 4.3).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::quorum;
use crate::types::{Index, NodeId};

/// The members of the cluster, as the log's newest configuration entry has them.
///
/// A node uses the newest configuration in its log, committed or not (thesis 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// Those whose majority decides (`C_new` while a change is under way).
    pub voters: BTreeSet<NodeId>,
    /// Those whose majority must agree as well while a change is under way (`C_old`); empty otherwise.
    pub outgoing: BTreeSet<NodeId>,
    /// Those that receive the log and do not vote.
    pub learners: BTreeSet<NodeId>,
}

impl Configuration {
    /// A configuration of these voters, with no change under way.
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let voters: BTreeSet<_> = voters.into_iter().collect();
        assert!(!voters.is_empty(), "a cluster has at least one voter");
        Self { voters, outgoing: BTreeSet::new(), learners: BTreeSet::new() }
    }

    /// Whether a change is under way.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether this node's vote counts.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// All members, voters and learners.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// Whether the nodes that satisfy `agrees` are a quorum: a majority, and a majority of both
    /// sides while a change is under way.
    pub fn is_quorum(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        let majority = |voters: &BTreeSet<NodeId>| {
            quorum::is_majority(voters.iter().filter(|node| agrees(**node)).count(), voters.len())
        };
        majority(&self.voters) && (self.outgoing.is_empty() || majority(&self.outgoing))
    }

    /// The highest index that a quorum has reached, given how far each node has come.
    pub fn quorum_index(&self, reached: impl Fn(NodeId) -> Index) -> Index {
        let of = |voters: &BTreeSet<NodeId>| {
            quorum::majority_index(voters.iter().map(|node| reached(*node)).collect())
        };
        let incoming = of(&self.voters);
        if self.outgoing.is_empty() { incoming } else { incoming.min(of(&self.outgoing)) }
    }
}
