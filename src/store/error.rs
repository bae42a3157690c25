//! What can go wrong in the store, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Identity;
use crate::entry::EntryError;
use crate::raft::HardState;
use crate::remedy;
use crate::types::{ByteCount, Index, LogId, NodeId};

/// Trouble with a store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store where one was expected.
    #[error("there is no store in {}", folder.display())]
    Missing {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Another store is about to take its place, and some of its parts may be of that.
    #[error("the store in {} was being replaced by one that begins further on", folder.display())]
    Installing {
        /// Where.
        folder: PathBuf,
    },
    /// There is a store where none was expected.
    #[error("there is a store in {} already", folder.display())]
    Exists {
        /// Where.
        folder: PathBuf,
    },
    /// Another process uses the folder.
    #[error("another process holds {}", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The store of another node, or of another cluster.
    #[error(
        "{} belongs to {} of cluster {}, not to {} of cluster {}",
        folder.display(), found.node, found.cluster, expected.node, expected.cluster
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: Identity,
        /// Whose it should be.
        expected: Identity,
    },
    /// A format that this program does not know.
    #[error("{} has format {found}; this program knows format {known}", folder.display())]
    Format {
        /// The folder.
        folder: PathBuf,
        /// What was found.
        found: u32,
        /// The one that it should be.
        known: u32,
    },
    /// The disk does not hold what this node promised to keep.
    #[error("{} is damaged: {fault}", place.display())]
    Damage {
        /// The file or folder.
        place: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A sync failed, so nothing more is promised.
    #[error("an earlier write to {} failed", folder.display())]
    Failed {
        /// The database.
        folder: PathBuf,
    },
    /// A copy of a database, which a start or an inspection looks at first, would not fit.
    #[error(
        "needs {} free in {} to look at a copy of {}, and has {}",
        ByteCount(*needed_bytes), data.display(), folder.display(), ByteCount(*free_bytes)
    )]
    NoRoom {
        /// Where the copy would be.
        data: PathBuf,
        /// The database.
        folder: PathBuf,
        /// Bytes that are free.
        free_bytes: u64,
        /// Bytes that it takes.
        needed_bytes: u64,
    },
    /// The page cache holds on to what is not on the disk.
    #[error("the page cache shows other bytes of {} than the disk holds", path.display())]
    Cached {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// sled refused.
    #[error("sled cannot {action} {}: {source}", folder.display())]
    Sled {
        /// What was tried.
        action: &'static str,
        /// The database.
        folder: PathBuf,
        /// What it said.
        source: sled::Error,
    },
}

/// What is wrong with a damaged store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// An earlier start ended while it opened this folder.
    #[error("an earlier start failed while it opened this folder")]
    Marked,
    /// A file that every database has is not there.
    #[error("the file {name} is gone")]
    FileGone {
        /// Its name.
        name: &'static str,
    },
    /// sled cannot open it.
    #[error("its contents are not what was written")]
    Unreadable {
        /// What sled said.
        source: sled::Error,
    },
    /// sled panicked over it.
    #[error("sled cannot make sense of it")]
    Panicked,
    /// sled wrote a page to a file that it never syncs.
    #[error("there is a blob file, which sled never syncs")]
    Blob,
    /// A value is missing, or is not of its form.
    #[error("its {what} is missing or not of its form")]
    Value {
        /// Which value.
        what: &'static str,
    },
    /// An entry is not what was stored.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// An entry is missing although a later one is there.
    #[error("entry {expected} is missing")]
    Gap {
        /// Which.
        expected: Index,
    },
    /// Groups of the journal are missing or broken, though they, or later ones, were synced.
    #[error("what was written behind entry {last} is not what is there, though it was synced")]
    Hole {
        /// The last entry that is intact.
        last: LogId,
    },
    /// A file of the journal is not there.
    #[error("file {number} of the journal is gone")]
    JournalGone {
        /// Its number.
        number: u64,
    },
    /// What was read back of a new segment is not what was written, twice.
    #[error("what is read back of it is not what was written")]
    ReadBack,
    /// Two segments that do not fit together.
    #[error("the segment that begins at {first} does not follow on the one before it")]
    Border {
        /// The first index of the later one.
        first: Index,
    },
    /// A segment that `meta` names is not there.
    #[error("the segment that begins at {first} is gone")]
    SegmentGone {
        /// Its first index.
        first: Index,
    },
    /// Entries without the `meta` that names them.
    #[error("it holds entries, but there is no meta")]
    MetaGone,
    /// `meta` is older than what a segment has seen of it.
    #[error("it is in its state {found}, but the log has seen state {seen}: it is an older copy")]
    OlderMeta {
        /// The generation of `meta`.
        found: u64,
        /// The generation that the journal has seen.
        seen: u64,
    },
    /// The files of a segment are not those that were closed.
    #[error("its files are not those that were closed")]
    Hash,
    /// A segment is whole, and is not the one that was sealed.
    #[error("what it holds is not what was sealed")]
    Content,
    /// The node voted twice in a term.
    #[error("it voted for {} and for {} in term {}", one, other, hard_state.current_term)]
    TwoVotes {
        /// Term and one vote.
        hard_state: HardState,
        /// That vote.
        one: NodeId,
        /// The other vote.
        other: NodeId,
    },
}

impl StoreError {
    /// Whether another process has the folder.
    pub fn is_occupied(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// Whether the disk does not hold what this node promised to keep. Such a node must not take
    /// part: its process ends with exit code 6.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damage { .. } | Self::Missing { .. })
    }

    /// Whether the disk is full. What was acknowledged is not touched by that.
    pub fn is_full(&self) -> bool {
        match self {
            Self::NoRoom { .. } => true,
            Self::Io { source, .. } => {
                let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
                kinds.contains(&source.kind())
            }
            _ => false,
        }
    }

    /// What the user can do about it, in one sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => {
                "if this node was ever part of the cluster, starting it empty could break what it \
                 promised; restore its folder, or replace the node"
            }
            Self::Installing { .. } => "start the node once: its start ends that",
            Self::Exists { .. } => "choose another folder, or start what is there",
            Self::Locked { .. } => "stop the process that uses it first",
            Self::Foreign { .. } => "check --data, and that folders were not mixed up",
            Self::Format { .. } => {
                "start it with the version of annal that wrote it; to carry its records over, let \
                 `annal client read` of that one feed `annal client append -` of a new cluster"
            }
            Self::Damage { .. } => {
                "nothing was changed; keep the folder, look at it with `annal node inspect`, and \
                 let the other nodes carry on without this one"
            }
            error if error.is_full() => {
                "make room there and start again; nothing that was acknowledged is lost"
            }
            Self::Failed { .. } => "check the disk, and start again",
            Self::NoRoom { .. } => unreachable!("it is about a full disk"),
            Self::Cached { .. } => {
                "another process keeps its pages in memory; end that, or restart the machine, and \
                 start again"
            }
            Self::Io { source, .. } => remedy::of(source, "check the disk"),
            Self::Sled { .. } => "check the disk",
        }
        .to_owned()
    }

    pub(super) fn damage(place: &Path, fault: impl Into<Fault>) -> Self {
        Self::Damage { place: place.to_owned(), fault: fault.into() }
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn sled(action: &'static str, folder: &Path, source: sled::Error) -> Self {
        let folder = folder.to_owned();
        match source {
            sled::Error::Io(source) => Self::Io { action, path: folder, source },
            source @ (sled::Error::Corruption { .. } | sled::Error::ReportableBug(_)) => {
                Self::damage(&folder, Fault::Unreadable { source })
            }
            source => Self::Sled { action, folder, source },
        }
    }
}

/// Trouble with reading from a running store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// These entries are damaged on this disk, and may be mended.
    #[error("entries {first} to {last} are damaged on this disk")]
    Damaged {
        /// The first of the segment.
        first: Index,
        /// The last of it.
        last: Index,
    },
    /// The store is in trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadError {
    /// For whoever has the store open, and so cannot find it closed.
    pub(super) fn into_store_error(self, folder: &Path) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Damaged { first, .. } => StoreError::damage(folder, Fault::SegmentGone { first }),
            Self::Closed => StoreError::Missing { folder: folder.to_owned() },
        }
    }
}
