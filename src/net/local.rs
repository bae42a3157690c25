//! Who this process is to its peers.

use crate::types::{ClusterId, NodeId};
use crate::wire::Introduction;

/// Who this process is to its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Its name.
    pub node: NodeId,
    /// What it says of itself.
    pub introduction: Introduction,
}
