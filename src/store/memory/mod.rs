//! A disk in memory, for simulation: the store runs on it line by line as on a real one, and it can
//! do to the store what real disks do, at the moment that the caller chooses.
//!
//! # What is modelled
//!
//! ```text
//!   folder ── names ──┬─> folder …
//!                     ├─> small file: a mark, a conf, a head
//!                     ├─> db: what sled's file holds, as batches
//!                     └─> journal: blocks of 4 KiB, those that are not all zero
//!
//!   what the process sees     │  what the platter has
//!   now: keys and values      │  platter: keys and values
//!      └ unsynced batches, ─── sync ──> in their order
//!   pages of the cache        │  platter: blocks, and a length
//!      └ unsynced ones, ────── sync ──> each for itself
//!   now: names                │  platter: names
//!      └ unsynced changes, ─── sync of the folder ──> each for itself
//! ```
//!
//! A disk may keep any of the sectors that were not synced, in any order. sled writes one log and opens
//! it up to the first message that is not whole; so whichever sectors are kept, of the batches that were
//! not synced the first few are left, and perhaps half of the next, which the next open cuts off. That
//! this is so is asked of sled itself, on real files (`tests/tearing`). Files lose each for itself, in
//! no order. A file that is written in blocks is what we read ourselves: of the blocks that were not
//! synced each is kept or lost, in no order, and of what the file grew a part. Names are worse: of those made, changed and removed since their folder was synced, each is
//! kept or lost by itself.
//!
//! A full disk takes what is written to blocks that a file has already, and nothing more: this is why
//! the journal's files are made ahead.
//!
//! # What can go wrong
//!
//! | [`MemoryDisk`]       | what happens                                                          |
//! |----------------------|-----------------------------------------------------------------------|
//! | `fail_after`         | the process is killed between two operations; what is written stays   |
//! | `power_cut`          | what is not synced is kept, lost or torn, as the caller chooses       |
//! | `fail_sync_once`     | a sync fails; what it should have synced is seen and will never be    |
//! | `fail_from_now_on`   | every read, or every write, is an error                               |
//! | `leave_room`         | so many more bytes fit, and then none                                 |
//! | `rot`                | what was synced is damaged, gone, cut short or an older self          |
//!
//! Nothing here is random: where there is a choice, the caller makes it. After a kill or a power cut
//! nothing works until [`MemoryDisk::restart`]; whatever was opened before that never works again.
//!
//! # What is judged from outside
//!
//! `platter` tells what would survive if all that is not synced were lost: the log, term and vote,
//! which segments are sealed. It knows names, keys and forms from the store's tables (`journal` those of
//! the journal, `entries` those of entries), but shares no line with its recovery. `judge` puts the
//! journal's groups together, and looks again only at what has changed: it is asked after every
//! operation.
//!
//! `rot` counts damage only if the store can know of it: of `meta`, of what is sealed, of the head of
//! what is not, and of a group of the journal that `meta` knows of or behind which another still stands.
//! An end of the journal that is gone without a trace looks as if it had never been written.
//!
//! # Limits
//!
//! - A batch is whole or gone. That sled moves old values to new places is not modelled, nor is any
//!   of its own damage: its checksums turn that into the end of the log.
//! - A block is whole: what was written, or what was there before. Of two writes to a block between
//!   two syncs only the later can be kept.
//! - A sync fails as a whole. As with a real page cache, what it should have synced can be read on,
//!   by the next process too, until the cache is made to forget the file or the power fails. A block
//!   that is written again counts anew. Names last if another name in their folder is changed and
//!   synced.
//! - Syncs of different files do not order each other, and there is no time: whoever simulates says
//!   how long an operation takes.

mod blocks;
mod data;
mod database;
mod disk;
mod entries;
mod faults;
mod handle;
mod journal;
mod judge;
mod mount;
mod platter;
mod rot;
mod rot_database;
mod rot_journal;
#[cfg(test)]
mod tests;
mod tree;

pub use disk::MemoryDisk;
pub use faults::{Failing, FaultCounts};
pub(super) use mount::Mount;
pub use platter::SealedSegment;
pub use rot::{Rot, RotKind};
pub(super) use tree::ROOT;
