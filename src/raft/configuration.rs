//! Who votes: the configuration (thesis 4.1), joint or not (thesis 4.3).
//!
//! A *server* of the thesis is a node with its store: what was promised is in the store. A node whose
//! store was lost and that begins anew is another server under the old name, so the configuration says
//! which store it means, and whoever counts votes or acknowledgements counts only what comes from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::quorum;
use crate::address::Address;
use crate::members::Aim;
use crate::mutants::{self, Mutant};
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
    /// What those learners are for that are not simply to vote once they are filled.
    pub aims: BTreeMap<NodeId, Aim>,
    /// Where members are that came later or have moved. All others are where the nodes' files say. An
    /// attribute: nothing is decided by it.
    pub addresses: BTreeMap<NodeId, Address>,
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
            aims: BTreeMap::new(),
            addresses: BTreeMap::new(),
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

    /// Whether this is a learner that is being filled, and is to vote then.
    pub fn is_refilling(&self, node: NodeId) -> bool {
        self.learners.contains(&node) && self.aims.get(&node) != Some(&Aim::Stay)
    }

    /// The same with a member more, which does not vote; or with what a learner is for.
    #[must_use]
    pub fn with_learner(&self, node: NodeId, address: &Address, aim: Option<Aim>) -> Self {
        let mut next = self.moved(node, address);
        next.learners.insert(node);
        next.aims.remove(&node);
        next.aims.extend(aim.map(|aim| (node, aim)));
        next
    }

    /// The same without a member.
    #[must_use]
    pub fn without(&self, node: NodeId) -> Self {
        let mut next = self.clone();
        next.voters.remove(&node);
        next.learners.remove(&node);
        // Whoever was to come in its place comes all the same.
        next.aims.retain(|_, aim| *aim != Aim::Replace(node));
        next.tidied()
    }

    /// The same with a member that is somewhere else.
    #[must_use]
    pub fn moved(&self, node: NodeId, address: &Address) -> Self {
        let mut next = self.clone();
        next.addresses.insert(node, address.clone());
        next
    }

    /// The same without those that are on their way out, once that is decided.
    #[must_use]
    pub fn left(&self) -> Self {
        let mut next = self.clone();
        next.outgoing.clear();
        next.tidied()
    }

    /// The same without what is said of those that are no members.
    fn tidied(mut self) -> Self {
        let members = self.members();
        self.aims.retain(|node, _| self.learners.contains(node));
        self.stores.retain(|node, _| members.contains(node));
        self.addresses.retain(|node, _| members.contains(node));
        self
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

    /// The same with a learner that votes: one voter more, or one in the place of another, which takes a
    /// joint configuration.
    #[must_use]
    pub fn promoted(&self, node: NodeId) -> Self {
        let mut next = self.clone();
        next.learners.remove(&node);
        next.voters.insert(node);
        if let Some(Aim::Replace(other)) = next.aims.remove(&node)
            && next.voters.remove(&other)
        {
            next.outgoing.clone_from(&self.voters);
        }
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
            let mut all: Vec<Index> = voters.iter().map(|node| reached(*node)).collect();
            if mutants::is_on(Mutant::LearnerCounts) {
                // In the places of those that are furthest behind.
                all.sort_unstable();
                let others = self.learners.iter().map(|node| reached(*node));
                all.iter_mut().zip(others).for_each(|(one, other)| *one = other.max(*one));
            }
            quorum::majority_index(all)
        };
        let incoming = of(&self.voters);
        if self.outgoing.is_empty() { incoming } else { incoming.min(of(&self.outgoing)) }
    }
}
