//! An open store: what can be asked before anything is written. [`Store::start_writer`] goes on from it with
//! threads, [`Store::into_stepped_writer`] without.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::journal::Journal;
use super::layout::Layout;
use super::lock::FolderLock;
use super::meta::Meta;
use super::reader::Reader;
use super::reserve::Reserve;
use super::segments::Segments;
use crate::entry::Tip;
use crate::raft::{HardState, Lineage, Remembered};
use crate::types::{Index, NodeId, Ticket};

/// An open store, not yet written to.
#[derive(Debug)]
pub struct Store {
    pub(super) layout: Layout,
    pub(super) segments: Arc<Segments>,
    pub(super) meta: Meta,
    pub(super) journal: Journal,
    pub(super) reserve: Reserve,
    /// The last entry.
    pub(super) tip: Tip,
    pub(super) hard_state: HardState,
    pub(super) commit_index: Index,
    pub(super) lineage: Lineage,
    pub(super) remembered: BTreeMap<NodeId, Remembered>,
    /// That of a real folder.
    pub(super) lock: Option<FolderLock>,
}

/// What the writer has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// The write with this ticket, and so all before it, is on the disk.
    Persisted(Ticket),
}

impl Store {
    /// Its starts, this one last: on the disk, and told to nobody yet.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// What this node remembers of the others.
    pub fn remembered(&self) -> &BTreeMap<NodeId, Remembered> {
        &self.remembered
    }

    /// A reader of this store. It goes on reading while the writer writes.
    pub fn reader(&self) -> Reader {
        Reader::new(self.segments.clone())
    }
}
