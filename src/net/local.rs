//! Who this process is to its peers.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::roll::Roll;
use crate::raft::Standing;
use crate::types::{ClusterId, NodeId};
use crate::wire::Introduction;

/// Who this process is to its peers.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Its name.
    pub node: NodeId,
    /// Its store, as this start of its process found it.
    pub standing: Standing,
    /// The members that its cluster began with, as it is configured, and their addresses; empty, where it
    /// knows none.
    pub founders: BTreeMap<NodeId, String>,
    /// Who the members are, as it knows it now.
    pub roll: watch::Receiver<Roll>,
}

impl LocalNode {
    /// What it says of itself now.
    pub(super) fn introduction(&self) -> Introduction {
        let (standing, founders) = (self.standing.clone(), self.founders.clone());
        Introduction { standing, founders, as_of: self.roll.borrow().as_of }
    }
}
