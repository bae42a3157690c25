//! What to read, and what it must reflect.

use crate::types::NodeId;
use crate::wire::api::ReadFrom;

/// What to read, and how. The default is the whole log as it is now; the rest is said as in
/// `ReadOptions { follow: true, ..ReadOptions::default() }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Where to begin.
    pub from: ReadFrom,
    /// At most so many records; `None`: all up to the end.
    pub limit: Option<u64>,
    /// What the records must reflect.
    pub consistency: Consistency,
    /// Whether to go on with what is committed later.
    pub follow: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            from: ReadFrom::Start,
            limit: None,
            consistency: Consistency::Linearizable,
            follow: false,
        }
    }
}

/// What a read must reflect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Everything that was acknowledged before the read began, to anybody.
    Linearizable,
    /// As much, served by this node, which asks the leader how far that is: reads take no time of the
    /// leader's so. Not for a read that follows.
    LinearizableAt {
        /// Which.
        node: NodeId,
    },
    /// What one node knows to be committed: this one, or any that answers.
    Stale {
        /// Which.
        node: Option<NodeId>,
    },
}
