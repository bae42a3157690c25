//! Who votes: the configuration (thesis 4.1), joint or not (thesis 4.3).
//!
//! A *server* of the thesis is a node with its store: what was promised is in the store. A node whose
//! store was lost and that begins anew is another server under the old name, so the configuration says
//! which store it means, and whoever counts votes or acknowledgements counts only what comes from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::quorum;
use crate::types::{Incarnation, Index, NodeId};

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
    /// The stores of members that came back with another than they began with. All others are meant
    /// with the store that they began with.
    pub stores: BTreeMap<NodeId, Incarnation>,
}

impl Configuration {
    /// A configuration of these voters, with no change under way.
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let voters: BTreeSet<_> = voters.into_iter().collect();
        assert!(!voters.is_empty(), "a cluster has at least one voter");
        Self {
            voters,
            outgoing: BTreeSet::new(),
            learners: BTreeSet::new(),
            stores: BTreeMap::new(),
        }
    }

    /// Whether a change is under way.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether this node's vote counts.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// The store that a member is meant with, if that is not the one it began with.
    pub fn store(&self, node: NodeId) -> Option<Incarnation> {
        self.stores.get(&node).copied()
    }

    /// Whether the vote of this node counts if it has this store.
    pub fn has_voter(&self, node: NodeId, store: Option<Incarnation>) -> bool {
        self.is_voter(node) && self.store(node) == store
    }

    /// Whether this is a member that came back with a new store, is being filled, and is to vote again.
    pub fn is_refilling(&self, node: NodeId) -> bool {
        self.learners.contains(&node) && self.stores.contains_key(&node)
    }

    /// The same with a member that begins anew, with another store: it is filled before it votes.
    #[must_use]
    pub fn refilling(&self, node: NodeId, store: Incarnation) -> Self {
        let mut next = self.clone();
        next.voters.remove(&node);
        next.learners.insert(node);
        next.stores.insert(node, store);
        next
    }

    /// The same with a learner that votes.
    #[must_use]
    pub fn promoted(&self, node: NodeId) -> Self {
        let mut next = self.clone();
        next.learners.remove(&node);
        next.voters.insert(node);
        next
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
