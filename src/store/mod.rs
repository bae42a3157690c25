//! (chapter)

mod barrier;
mod database;
mod error;
mod guard;
mod inspect;
mod layout;
mod ledger;
mod lock;
mod meta;
mod reader;
mod recovery;
mod segment;
mod segments;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod writer;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::entry::{SealedEntry, TermStart, Tip};
use crate::raft::{Configuration, HardState};
use crate::types::{ClusterId, Index, LogNumber, NodeId, Offset, Ticket};

pub use error::{Fault, ReadError, StoreError};
pub use guard::install_panic_hook;
pub use inspect::{Inspection, inspect};
pub use ledger::Ledger;
pub use lock::{FolderLock, lock};
pub use reader::Reader;
pub use recovery::{Options, Recovered, RecoveryReport, create, exists, open};
pub use writer::{Done, Store, Writer};

/// Whose store it is. A store of another node or cluster is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

/// The state of a node just before a segment's first entry: with it, a start needs no older segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The entry before the segment's first.
    pub tip: Tip,
    /// The next offset of each log.
    pub next_offsets: Vec<(LogNumber, Offset)>,
    /// Term and vote when the segment was taken.
    pub hard_state: HardState,
    /// The configuration in force.
    pub configuration: Configuration,
    /// Where each term so far begins, oldest first.
    pub terms: Vec<TermStart>,
    /// The table of clients, in the form of the floor that owns it.
    pub sessions: Bytes,
}

/// One write, as the writer gets it. Writes are performed in the order given.
#[derive(Clone, Debug)]
pub struct Write {
    /// Names it when it is done.
    pub ticket: Ticket,
    /// Term and vote, if they changed.
    pub hard_state: Option<HardState>,
    /// The commit index as known now: a hint, kept with the write.
    pub commit_index: Index,
    /// Entries from this index on are removed first.
    pub truncate_from: Option<Index>,
    /// Entries to write, each following on the one before.
    pub entries: Vec<SealedEntry>,
    /// The segment is full: entries after these go to a new one, which begins with this head.
    pub roll: Option<Box<Head>>,
}
