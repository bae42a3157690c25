//! A node that lacks what the others have given up begins its store anew where theirs begins: at the head of
//! the first segment that they still have.
//!
//! ```text
//!  data/n3/installing-log, -journal, -meta   the new store is being made, beside the one that there is
//!  data/n3/installed                         all of it is there: from here on it is the node's
//!  data/n3/log, journal, meta                each part takes its place, `meta` last
//! ```
//!
//! It is the same node with the same store, only that its log begins further on: term, vote, its starts and
//! what it remembers of its peers are taken along. Until the mark is on the disk the old store is untouched,
//! and what was begun is removed by the next start; from then on it is moved in, by this process or by any start. What
//! it takes the place of is deleted: a log that ends before the head, or went another way before it, and of which
//! nothing is live.

use std::path::Path;

use super::error::StoreError;
use super::installed::{self, INSTALLING};
use super::layout::Layout;
use super::lock::FolderLock;
use super::memory::MemoryDisk;
use super::recovery::{Options, examine_meta, higher};
use super::restoring::{Past, Restoring};
use super::{Head, Identity};
use crate::mutants;
use crate::raft::HardState;

/// Where a node begins, and what it has promised by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// What was before the first entry that it will have.
    pub head: Head,
    /// Its term and vote.
    pub hard_state: HardState,
}

/// Makes a store in the folder `data` that begins at a head, in place of the one that is there and is closed. The
/// next start has it.
///
/// # Errors
/// [`StoreError`]: the disk refuses, or what is there is damaged. Then the store is what it was.
pub fn install(
    data: &Path,
    identity: Identity,
    options: Options,
    installation: &Installation,
    _lock: &FolderLock,
) -> Result<(), StoreError> {
    install_at(&Layout::of(data), identity, options, installation)
}

/// As [`install`], on a simulated disk.
///
/// # Errors
/// As [`install`].
pub fn install_in(
    disk: &MemoryDisk,
    identity: Identity,
    options: Options,
    installation: &Installation,
) -> Result<(), StoreError> {
    install_at(&Layout::in_memory(disk.mount()), identity, options, installation)
}

fn install_at(
    layout: &Layout,
    identity: Identity,
    options: Options,
    installation: &Installation,
) -> Result<(), StoreError> {
    installed::finish(layout)?;
    let Installation { head, hard_state } = installation;
    let found = examine_meta(layout, identity)?;
    let is_behind = found.last_sealed().id.index < head.tip.id.index;
    assert!(mutants::any() || is_behind, "what is sealed is committed");
    let past = Past {
        // After an orderly stop these are those on the disk, or older.
        hard_state: higher(&layout.data, found.record.hard_state, *hard_state)?,
        lineage: found.lineage,
        remembered: found.remembered,
    };
    let new = layout.beside(INSTALLING);
    Restoring::begin_at(new, identity, head, options)?.finish_as(head, past)?;
    installed::note_ready(layout)
}
