//! How far logs reach, for those who read them.

use crate::types::{Index, Offset};

/// The end of a read: the records before this offset, in entries up to this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// The last entry.
    pub commit_index: Index,
    /// The offset after its last record.
    pub next_offset: Offset,
}

/// How far a log reaches, as far as is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The offset of its first record.
    pub start: Offset,
    /// Where it ends.
    pub end: ReadEnd,
    /// Nothing comes after that.
    pub is_closed: bool,
}
