//! Who the members are, as a node knows it now: whom it dials, where, and whom it takes in.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::raft::Belonging;
use crate::types::{Index, LogId, NodeId};

/// See the module. It is published by whoever owns the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// The entry of the newest configuration that is known to be committed.
    pub as_of: Index,
    /// The entry of the newest of all.
    pub newest: LogId,
    /// All that are members of a configuration that may be in force, this node maybe among them, and where
    /// they are reached, if that is known.
    pub members: BTreeMap<NodeId, Option<Address>>,
    /// What this node is itself, by what is known to be committed.
    pub belonging: Belonging,
}

impl Roll {
    /// Whether another node, which knows the members as of an entry, has no business here: see
    /// `Raft::is_stranger`.
    pub(super) fn is_stranger(&self, node: NodeId, as_of: Index) -> bool {
        as_of <= self.as_of && !self.members.contains_key(&node)
    }

    /// Whether this node, which is a stranger to somebody who knows the members as of an entry, was removed.
    pub(super) fn is_removed_by(&self, as_of: Index) -> bool {
        self.belonging == Belonging::Member && as_of > self.as_of
    }

    /// Where the members are, as far as that is known.
    pub fn addresses(&self) -> BTreeMap<NodeId, Address> {
        let known = self.members.iter();
        known.filter_map(|(node, at)| Some((*node, at.clone()?))).collect()
    }
}
