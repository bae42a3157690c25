//! The log of a backup for the nodes of a new cluster: all get the same, segment by segment, before any of
//! them has started.
//!
//! What the new cluster is of itself it says by one entry more, behind those of the backup: its configuration.
//! From there on it has another history than the cluster from which the backup came.

use std::path::{Path, PathBuf};
use std::thread;

use crate::config::ClusterConfig;
use crate::date::wall_clock;
use crate::entry::{EntryKind, SealedEntry, Tip};
use crate::limits::SEGMENT_BYTES_DEFAULT;
use crate::outcome::Outcome;
use crate::raft::Configuration;
use crate::replica::{Derived, RecoverError};
use crate::store::{self, Backup, BackupError, Head, Identity, Restoring, StoreError};
use crate::types::{ClusterId, Incarnation, Timestamp};

use super::driver;

/// Why a backup was not put into a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A node's store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Though it is what was written, it is not understood.
    #[error("{} is not understood: {error}", path.display())]
    Recover {
        /// The file.
        path: PathBuf,
        /// What is not understood.
        error: RecoverError,
    },
}

impl RestoreError {
    /// What it means for scripts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Backup(error) => error.outcome(),
            Self::Store(error) if error.is_damage() => Outcome::Damage,
            Self::Recover { .. } => Outcome::Damage,
            Self::Store(_) => Outcome::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Backup(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Recover { .. } => {
                "another version of annal may have written it: see `annal --version`".to_owned()
            }
        }
    }
}

/// What a backup was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The cluster that it came from.
    pub cluster: ClusterId,
    /// Its last entry.
    pub tip: Tip,
}

/// Goes through a whole backup and those that follow on it, in this order, from the first entry to the last.
/// `take` gets each of them, and true with the last of a segment.
///
/// # Errors
/// [`RestoreError`], also that of `take`.
pub fn read_all(
    paths: &[PathBuf],
    mut take: impl FnMut(&Derived, SealedEntry, bool) -> Result<(), RestoreError>,
) -> Result<(Derived, Origin), RestoreError> {
    let mut derived: Option<(Derived, ClusterId)> = None;
    for path in paths {
        let not_understood = |error| RestoreError::Recover { path: path.clone(), error };
        let mut backup = Backup::open(path)?;
        let (derived, _) = if let Some(before) = &mut derived {
            backup.check_follows(&before.0.tip())?;
            before
        } else {
            let first = Derived::of(backup.whole_head()?, SEGMENT_BYTES_DEFAULT);
            derived.insert((first.map_err(not_understood)?, backup.beginning().cluster))
        };
        while let Some(entry) = backup.next_entry()? {
            let is_last = derived.take(&entry).map_err(not_understood)?;
            take(derived, entry, is_last)?;
        }
    }
    let (derived, cluster) = derived.expect("there is a backup");
    let tip = derived.tip();
    Ok((derived, Origin { cluster, tip }))
}

/// Gives the log of a backup to the nodes of a new cluster, each of which has its folder below `data`.
pub(super) fn restore(
    paths: &[PathBuf],
    cluster: &ClusterConfig,
    data: &Path,
) -> Result<Origin, RestoreError> {
    let first = Backup::open(first_of(paths))?.whole_head()?.clone();
    let mut nodes = Nodes::begin(cluster, data, first)?;
    let (mut derived, origin) = read_all(paths, |derived, entry, is_last| {
        nodes.entries.push(entry);
        if is_last { nodes.seal(derived.head()) } else { Ok(()) }
    })?;
    let entry = configuration_entry(cluster, &derived.tip());
    let ours = derived.take(&entry);
    ours.map_err(|error| RestoreError::Recover { path: first_of(paths).clone(), error })?;
    nodes.entries.push(entry);
    nodes.seal(derived.head())?;
    nodes.finish()?;
    Ok(origin)
}

fn first_of(paths: &[PathBuf]) -> &PathBuf {
    paths.first().expect("there is a backup")
}

/// Who the members are from now on.
fn configuration_entry(cluster: &ClusterConfig, tip: &Tip) -> SealedEntry {
    let configuration = Configuration::of(cluster.nodes.keys().copied());
    let payload = postcard::to_stdvec(&configuration).expect("a configuration is plain data");
    let now: Timestamp = wall_clock();
    SealedEntry::seal(tip, EntryKind::Configuration, tip.id.term, now, &payload)
}

/// The stores that are being made.
struct Nodes {
    stores: Vec<Restoring>,
    /// The head of the segment that is being gathered, and its entries.
    head: Head,
    entries: Vec<SealedEntry>,
}

impl Nodes {
    fn begin(cluster: &ClusterConfig, data: &Path, head: Head) -> Result<Self, RestoreError> {
        let begin = |node| {
            let identity = Identity { cluster: cluster.cluster, node };
            let start = Incarnation::new(driver::random());
            let options = store::Options { start, ..Default::default() };
            Restoring::begin(&data.join(node.to_string()), identity, &head, options)
        };
        let stores = cluster.nodes.keys().map(|node| begin(*node)).collect::<Result<_, _>>()?;
        Ok(Self { stores, head, entries: vec![] })
    }

    /// Makes a segment of what was gathered, at all nodes at once.
    fn seal(&mut self, next: Head) -> Result<(), RestoreError> {
        let Self { stores, head, entries } = self;
        let (head_now, entries_now, next_now) = (&*head, &entries[..], &next);
        thread::scope(|scope| {
            let seal = |store: &mut Restoring| store.seal(head_now, entries_now, next_now);
            let sealing: Vec<_> =
                stores.iter_mut().map(|store| scope.spawn(move || seal(store))).collect();
            let mut sealed = sealing.into_iter().map(|it| it.join().expect("it does not panic"));
            sealed.try_for_each(|sealed| sealed)
        })?;
        *head = next;
        entries.clear();
        Ok(())
    }

    fn finish(self) -> Result<(), RestoreError> {
        for store in self.stores {
            store.finish(&self.head)?;
        }
        Ok(())
    }
}
