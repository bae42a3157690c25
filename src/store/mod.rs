//! The store: what a node keeps, and how it finds out after a crash what it still has.
//!
//! # The disaster
//!
//! Three nodes. n1 leads and sends entry 7; n2 writes it, flushes it, and answers; n1 counts two of
//! three, commits, and tells the client. Then the power fails in the whole building. n2 comes up, and
//! entry 7 is not there: the flush had handed it to the kernel, and the kernel to nobody. n2 and n3
//! elect a leader that never saw it, which fills index 7 with something else. An acknowledged append
//! is gone, and every node is sure that all is well.
//!
//! The same with a vote: n2 votes for n1 in term 4, forgets it in the power cut, and votes for n3 in
//! term 4 as well. Two leaders, one term. And the same once more with one flipped bit: the database
//! opens, says nothing, and ends before the bit; what stood behind it is not only unread but zeroed.
//!
//! # The rule
//!
//! *Nothing is promised before it is behind a barrier, and nothing that was promised is given up
//! without saying so.* Behind a barrier means written, flushed and `fdatasync`ed, with the names of
//! all new files synced too. Saying so means that the node refuses to start: one that does not know
//! what it promised must neither vote nor lead nor acknowledge.
//!
//! # The write path
//!
//! ```text
//!   replica        writer (a thread)              sled: the active segment         disk
//!      │ write(7)      │                                   │                        │
//!      ├──────────────>│ take all that waits, ≤ 4 MiB      │                        │
//!      │ write(8)      │ entries, offset keys, state; with │                        │
//!      ├──────────────>│ removals first, as one batch ────>│                        │
//!      │               │ flush ───────────────────────────>│ sync_file_range ──────>│ (may be lost)
//!      │               │ fdatasync ────────────────────────────────────────────────>│ (lasts)
//!      │               │ term or vote changed? the same to `meta`, with its barrier │
//!      │ Persisted(8)  │                                   │                        │
//!      │<──────────────┤ segment full? the next one, with its head, with a barrier  │
//! ```
//!
//! # Where things are
//!
//! `layout` draws the folder. The log is a row of `segments`, each one sled database with the
//! keys of `segment`; a segment begins with a [`Head`], so that a start reads only the last one or
//! two. `meta` says which there are, whose they are, the term and the vote, and the *floor*.
//!
//! All of it runs over a real disk or over one in `memory`, a [`MemoryDisk`], which can lose, tear
//! and damage what a real one can (`disk` and `engine` say what is asked of either); a [`SteppedWriter`] does the writer's work and the upkeep without
//! their threads. So a simulator breaks the very lines that run in production.
//!
//! **The floor** is an entry, with its chain, that is known to have been synced. It is raised when a
//! segment is sealed, at a clean stop, and else at most a second late, never on an append's path;
//! it is lowered, behind a barrier, before a truncation goes below it. At the start it tells two
//! things apart that look alike: an end that was torn off while it was being written, which nobody
//! was told of, and an end that was lost.
//!
//! # Goals of recovery
//!
//! 1. Everything that was acknowledged is there, or the start is refused with a sentence about what
//!    is wrong and where.
//! 2. What a start hands on has been checked, entry by entry and as a chain, from the head of the
//!    oldest segment that is not sealed; sealed ones are checked, by the hash of their files, when
//!    they are first read, and if they fail the process ends.
//! 3. A damaged folder is left exactly as it was found. sled writes when it opens, so everything is
//!    examined on copies (`trial-…`) or on files whose hash is known, and only then opened.
//! 4. A crash at any moment, also during a start, leaves something that the next start understands.
//! 5. What a start vouches for is on the disk. A page whose writing failed can still be read and
//!    counts as clean; the next process would find it good, sync without an error, and acknowledge
//!    what follows behind a hole. So before a file is examined it is synced (an error refuses the
//!    start, and is no damage), the page cache is made to forget it, and the copy is read from the
//!    disk itself where the file system lets us: see `cache`.
//!
//! # What is assumed of the disk
//!
//! 1. `fdatasync` and `fsync` tell the truth, once. One that fails is never tried again: the process
//!    ends, and what it should have synced may be read from the page cache until the power fails.
//! 2. What was synced may rot. Every entry has its checksum and its place in a chain, every other
//!    value a checksum, every closed file a hash.
//! 3. What was not synced may be there, or not, or in part, in any order.
//! 4. Files may be replaced by older ones. An older `meta` is noticed by its generation, which the
//!    active segment remembers, or by a segment that it does not know; an older segment by the floor
//!    or by its hash. A whole folder put back to an earlier day is not noticed
//!    here: the peers remember its starts and what it promised ([`crate::raft::Lineage`]).
//!
//! # Limits
//!
//! - Rot that strikes within a second of a crash (longer while a segment is being sealed), in entries
//!   above the floor, looks like a torn end and is cut like one. The report says how many bytes were
//!   cut.
//! - A start reads the whole of the active segment, and unless the stop was clean it copies it first,
//!   past the page cache, and reads it a second time to compare: a fraction of a second with segments
//!   of 64 MiB. A log of our own form, which can be checked where it stands, will need no copy.
//! - Past the page cache goes what is *in* files. That a name whose sync failed is not on the disk
//!   cannot be asked: a start makes and syncs another in the same folder instead. File systems with a
//!   journal stop when that cannot be written.
//! - sled never gives space back; a segment's folder is deleted as a whole or not at all. Nothing is
//!   trimmed yet, and nothing is refilled from peers yet.
//! - All sled databases of a process share one lock: long reads are done in small steps, and are best
//!   served from the window of recent entries.
//! - The next offset of each log is in the head of each segment and in memory: 100,000 logs are some
//!   megabytes for each.

mod barrier;
mod cache;
mod database;
mod disk;
mod disk_map;
mod engine;
mod error;
mod fatal;
mod group;
mod group_writer;
mod inspect;
mod layout;
mod lock;
mod memory;
mod meta;
mod opened;
mod reader;
mod real;
mod recovery;
mod segment;
mod segments;
mod sled_engine;
mod stepped_writer;
mod term;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::entry::{SealedEntry, TermStart, Tip};
use crate::raft::{Configuration, HardState};
use crate::types::{ClusterId, Index, LogNumber, NodeId, Offset, Ticket};

pub use disk_map::DiskMap;
pub use error::{Fault, ReadError, StoreError};
pub use fatal::{end_at_damage, install_panic_hook};
pub use inspect::{Inspection, inspect};
pub use lock::{FolderLock, lock};
pub use memory::{Failing, FaultCounts, MemoryDisk, Rot, RotKind};
pub use opened::{Done, Store};
pub use reader::Reader;
pub use recovery::{Options, Recovered, RecoveryReport, create, create_in, exists, open, open_in};
pub use stepped_writer::SteppedWriter;
pub use term::SetTermError;
pub use writer::Writer;

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
