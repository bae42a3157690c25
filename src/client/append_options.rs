//! What must be so for an append to be taken.

use crate::label::FenceToken;
use crate::types::Offset;
use crate::wire::conditions::Conditions;

/// What must be so for an append. The default asks for nothing; the rest is said as in
/// `AppendOptions { expect_offset: Some(offset), ..AppendOptions::default() }`.
///
/// The leader judges in the order in which appends get into the log: of two that expect one offset
/// one is taken. What is not taken is certainly not in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// The log must end here: the first record gets this offset. Of an appender this is so for its first
    /// request, and each later one must follow on the one before it.
    pub expect_offset: Option<Offset>,
    /// This must be the log's fence token, which [`crate::Client::set_fence`] sets: from then on appends
    /// that name another one are refused. Who names none is not asked.
    pub fence: Option<FenceToken>,
}

impl AppendOptions {
    /// As the nodes are told.
    pub(super) fn conditions(&self) -> Conditions {
        Conditions { expect_offset: self.expect_offset, fence: self.fence, producer: None }
    }
}
