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
//!   replica        writer (a thread)              journal                     disk
//!      │ write(7)      │                             │                          │
//!      ├──────────────>│ take all that waits,        │                          │
//!      │ write(8)      │ ≤ 4 MiB, as one group ─────>│ one write ──────────────>│ (may be lost)
//!      ├──────────────>│                             │ one fdatasync ──────────>│ (lasts)
//!      │ Persisted(8)  │                             │                          │
//!      │<──────────────┤
//!      │ committed(8)  │ upkeep (a thread)             sled: a new segment
//!      ├────────────────>│ a segment's worth is committed? copy it ──> seal it, tell `meta`
//! ```
//!
//! A promise is kept by the `journal`: a few files of fixed size, written from front to back, in which
//! each group says term and vote as well. So an append, a vote, a truncation cost one sync each. What is
//! committed goes from there into sled, a segment at a time and behind everybody's back (`settling`);
//! after an orderly stop all of it is there, with term and vote.
//!
//! # Where things are
//!
//! `layout` draws the folder. The log is a row of `segments`: sealed ones, each one sled database with
//! the keys of `segment`, and behind them the journal. A segment begins with a [`Head`], so that a start
//! reads none that is sealed; that of the first which is not has a file of its own (`head`). `meta` says
//! which segments there are, whose they are, and from which file on the journal is needed.
//!
//! All of it runs over a real disk or over one in `memory`, a [`MemoryDisk`], which can lose, tear
//! and damage what a real one can (`disk` and `engine` say what is asked of either); a [`SteppedWriter`] does the writer's work and the upkeep without
//! their threads. So a simulator breaks the very lines that run in production.
//!
//! **Segments are a function of the log.** One ends with the entry that fills it, and its head says what
//! the entries before it come to, whatever was written together and whichever node wrote it. So two
//! nodes have the same segments, and one hash tells whether they do.
//!
//! **Space comes back from the front.** The oldest segments go when nothing in them is live
//! (`releasing`). Nothing that is behind them changes: the head of the first that is kept stands for
//! what was before it. So a backup (`backup`) is such a head with the entries behind it, and the folder of a
//! node can be made of one (`restoring`); and a node that lacks what all others have given up begins at
//! their first head (`install`).
//!
//! # Goals of recovery
//!
//! 1. Everything that was acknowledged is there, or the start is refused with a sentence about what
//!    is wrong and where.
//! 2. What a start hands on has been checked, entry by entry and as a chain, from the head of the
//!    oldest segment that is not sealed; sealed ones are checked, by the hash of their files, when
//!    they are first read and by the `scrub`, and if they fail nobody reads them until they are mended.
//! 3. A damaged folder is left exactly as it was found. The journal can be read without a change; of
//!    `meta` a copy is looked at first (`trial-…`), for sled writes when it opens.
//! 4. A crash at any moment, also during a start, leaves something that the next start understands.
//! 5. What a start vouches for is on the disk. A page whose writing failed can still be read and
//!    counts as clean; the next process would find it good, sync without an error, and acknowledge
//!    what follows behind a hole. So before a file is examined it is synced (an error refuses the
//!    start, and is no damage), the page cache is made to forget it, and it is read from the disk
//!    itself where the file system lets us: see `cache`.
//!
//! **Torn or rotten is a fact.** One group at a time is on its way, so only the last can be torn, and
//! nobody was told of it. Each says which one it follows on, by number and checksum: what breaks off
//! before a later one that is whole is damage. To the last group of all the same applies as soon as one
//! stands behind it, which half a second without a write sees to, or as soon as `meta` names it.
//!
//! # What is assumed of the disk
//!
//! 1. `fdatasync` and `fsync` tell the truth, once. One that fails is never tried again: the process
//!    ends, and what it should have synced may be read from the page cache until the power fails.
//! 2. What was synced may rot. Every entry has its checksum and its place in a chain, every group and
//!    every other value a checksum, every closed file a hash.
//! 3. What was not synced may be there, or not, or in part, in any order.
//! 4. Files may be replaced by older ones. An older `meta` is noticed by its generation, which groups
//!    remember, or by a file of the journal that it needs and that is gone; an older journal by the group
//!    that `meta` names; an older segment by its hash. A whole folder put back to an earlier day is not
//!    noticed here: the peers remember its starts and what it promised ([`crate::raft::Lineage`]).
//!
//! # Limits
//!
//! - Rot in the last group of all, within half a second of its writing and right before a crash, looks
//!   like a torn end and is cut like one. The report says how many bytes were cut.
//! - A start reads the whole journal: what is not committed, and as a rule one segment and a half.
//!   Entries of 100 bytes, each in a group by itself, take a block of 4 KiB there.
//! - Past the page cache goes what is *in* files. That a name whose sync failed is not on the disk
//!   cannot be asked: a start makes and syncs another in the same folder instead. File systems with a
//!   journal stop when that cannot be written.
//! - Rot in a sealed segment is noticed when the scrub comes to it, or somebody reads it (`scrub`).
//! - sled never gives space back; a segment's folder is deleted as a whole or not at all, the oldest
//!   first. One live record keeps its segment, and all behind that.
//! - Of what is damaged only sealed segments are mended (`mending`). Where `meta` or the journal is, what
//!   was promised is not known any more, and the store is set aside as a whole (`anew`).
//! - All sled databases of a process share one lock: long reads are done in small steps, and are best
//!   served from the window of recent entries.
//! - The next offset of each log is in the head of each segment and in memory: 100,000 logs are some
//!   megabytes for each.

mod anew;
mod backup;
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
mod head;
mod inspect;
mod install;
mod installed;
mod journal;
mod layout;
mod lock;
mod memory;
mod mending;
mod meta;
mod offset_index;
mod opened;
mod reader;
mod real;
mod recovery;
mod releasing;
mod reserve;
mod restoring;
mod scrub;
mod segment;
mod segments;
mod settling;
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

pub use anew::{began_anew, began_anew_in, begin_anew, begin_anew_in, set_aside};
pub use backup::{
    Backup, BackupEnd, BackupError, BackupFault, BackupWriter, Beginning, outline as backup_outline,
};
pub use disk_map::DiskMap;
pub use error::{Fault, ReadError, StoreError};
pub use fatal::{end_at_damage, install_panic_hook};
pub use inspect::{Inspection, Seen, inspect, inspect_each};
pub use install::{Installation, install, install_in};
pub use lock::{FolderLock, lock};
pub use memory::{Failing, FaultCounts, MemoryDisk, Rot, RotKind, SealedSegment};
pub use mending::{MendError, Mender, Mending};
pub use opened::{Done, Store};
pub use reader::{Lacking, Reader};
pub use recovery::{
    Options, Recovered, RecoveryReport, create, create_in, create_to_join, exists, open, open_in,
};
pub use restoring::Restoring;
pub use segment::decode_head;
pub use segments::{Damaged, Kept};
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
    /// The next offset of each log that has a record, in the order of their numbers.
    pub next_offsets: Vec<(LogNumber, Offset)>,
    /// The configuration in force.
    pub configuration: Configuration,
    /// Where each term so far begins, oldest first.
    pub terms: Vec<TermStart>,
    /// The table of clients, in the form of the floor that owns it.
    pub sessions: Bytes,
}

impl Head {
    /// The offset of the next record of a log.
    pub fn next_offset(&self, log: LogNumber) -> Offset {
        let place = self.next_offsets.binary_search_by_key(&log, |(number, _)| *number);
        let found = place.ok().and_then(|place| self.next_offsets.get(place));
        found.map_or(Offset::ZERO, |(_, next)| *next)
    }
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
    /// Segments that these entries, or earlier ones, fill: the heads of those behind them, in order.
    pub heads: Vec<Head>,
}
