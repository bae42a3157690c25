//! How far logs reach, for those who read them.

use std::sync::Arc;

use crate::mutants::{self, Mutant};
use crate::types::{Index, LogNumber, Offset};

/// The end of a read: the records before this offset, in entries up to this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// The last entry.
    pub commit_index: Index,
    /// The offset after its last record.
    pub next_offset: Offset,
}

/// Whose records a fork begins with. It never changes: what a fork has of others it had from its first entry
/// on. Cloning shares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Option<Arc<[(LogNumber, Offset)]>>);

impl Lineage {
    /// Of logs, each with the offset up to which it is its records, in the order of these.
    pub(super) fn of(parts: Vec<(LogNumber, Offset)>) -> Self {
        Self((!parts.is_empty()).then(|| parts.into()))
    }

    /// How many logs there are above it.
    pub(super) fn depth(&self) -> usize {
        self.0.as_ref().map_or(0, |parts| parts.len())
    }

    /// The log that has this record of a log, and the offset up to which it has them; none, if there is
    /// no end.
    pub(super) fn find(&self, log: LogNumber, offset: Offset) -> (LogNumber, Option<Offset>) {
        let parts = self.0.as_deref().unwrap_or_default();
        let sees_on = mutants::is_on(Mutant::ForkSeesSource);
        match parts.iter().find(|(_, until)| offset < *until || sees_on) {
            Some((owner, until)) => (*owner, Some(*until).filter(|_| !sees_on)),
            None => (log, None),
        }
    }
}

/// How far a log reaches, as far as is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The offset of its first record.
    pub start: Offset,
    /// Where it ends.
    pub end: ReadEnd,
    /// Nothing comes after that.
    pub is_closed: bool,
    /// Whose records it begins with, if it is a fork.
    pub lineage: Lineage,
}
