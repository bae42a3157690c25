//! Where everything lies in a node's folder.
//!
//! ```text
//!  data/n1/lock                            held while a process uses the folder
//!  data/n1/meta/                           the database `meta`
//!  data/n1/log/00000000000000000001/       one segment each, named after its first index
//!  data/n1/log/00000000000000000001.damaged    a mark: see `fatal`
//!  data/n1/log/00000000000000000002.unfinished    a segment that is being made
//!  data/n1/log/trash-…                     given up, deleted soon
//!  data/n1/trial-…                         a copy that is being looked at, deleted soon
//!  data/n1/syncing, data/n1/log/syncing    there for a moment: see `sync_names`
//! ```

use std::path::{Path, PathBuf};

use super::disk::{Disk, paths_with_prefix};
use super::error::{Fault, StoreError};
use super::fatal::mark_of;
use super::memory::{Mount, ROOT};
use super::segment::{first_in_name, folder_name};
use crate::types::Index;

const TRASH: &str = "trash-";
const TRIAL: &str = "trial-";
const UNFINISHED: &str = ".unfinished";
const SYNCING: &str = "syncing";

/// The paths in a node's folder, and the disk that it is on.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) disk: Disk,
    pub(super) data: PathBuf,
}

impl Layout {
    pub(super) fn of(data: &Path) -> Self {
        Self { disk: Disk::real(), data: data.to_owned() }
    }

    /// That of a simulated disk.
    pub(super) fn in_memory(mount: Mount) -> Self {
        Self { disk: Disk::over(mount), data: PathBuf::from(ROOT) }
    }

    pub(super) fn meta(&self) -> PathBuf {
        self.data.join("meta")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.data.join("log")
    }

    pub(super) fn segment(&self, first: Index) -> PathBuf {
        self.log().join(folder_name(first))
    }

    /// Returns when the names that a start has found are on the disk. A process that was killed
    /// between a change of a name and its sync left it in the page cache alone, and what is done next
    /// rests on it. Where the sync failed, a folder would have nothing to write any more: so a name is
    /// made and removed first.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        for folder in [&self.data, &self.log()] {
            let mark = folder.join(SYNCING);
            self.disk.create_mark(&mark)?;
            self.disk.remove_file(&mark)?;
            self.disk.sync_folder(folder)?;
        }
        Ok(())
    }

    /// Notes, on the disk, that a segment is about to be made: until [`Self::made`], what is in its
    /// folder may be half there after a power cut, and nobody was promised anything of it.
    pub(super) fn begin_making(&self, first: Index) -> Result<(), StoreError> {
        let mark = self.unfinished(first);
        self.disk.create_mark(&mark)?;
        self.disk.sync_folder(&self.log())
    }

    /// Notes, on the disk, that a segment is made, or that what was begun is gone.
    pub(super) fn made(&self, first: Index) -> Result<(), StoreError> {
        let mark = self.unfinished(first);
        self.disk.remove_file(&mark)?;
        self.disk.sync_folder(&self.log())
    }

    /// Whether a segment was begun and not made.
    pub(super) fn is_unfinished(&self, first: Index) -> Result<bool, StoreError> {
        self.disk.exists(&self.unfinished(first))
    }

    fn unfinished(&self, first: Index) -> PathBuf {
        self.log().join(format!("{}{UNFINISHED}", folder_name(first)))
    }

    /// Where a copy of a folder is put to be looked at.
    pub(super) fn trial(&self, folder: &Path) -> PathBuf {
        let name = folder.file_name().expect("a database's folder has a name");
        self.data.join(format!("{TRIAL}{}", name.to_string_lossy()))
    }

    /// The first indexes of all segments that have a folder, in order.
    pub(super) fn segments(&self) -> Result<Vec<Index>, StoreError> {
        let names = self.disk.names_in(&self.log())?;
        let mut found: Vec<Index> = names.iter().filter_map(|name| first_in_name(name)).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Refuses a folder in which an earlier start failed.
    pub(super) fn check_marks(&self) -> Result<(), StoreError> {
        let segments = self.segments()?.into_iter().map(|first| self.segment(first));
        for folder in segments.chain([self.meta()]) {
            self.check_mark(&folder)?;
        }
        Ok(())
    }

    /// Refuses one folder, if it is marked.
    pub(super) fn check_mark(&self, folder: &Path) -> Result<(), StoreError> {
        if self.disk.exists(&mark_of(folder))? {
            return Err(StoreError::damage(folder, Fault::Marked));
        }
        Ok(())
    }

    /// Gives a segment's folder up: it has another name, on the disk, when this returns.
    pub(super) fn discard(&self, first: Index) -> Result<PathBuf, StoreError> {
        let folder = self.segment(first);
        let taken = self.disk.names_in(&self.log())?;
        let trash = (0..u32::MAX)
            .map(|number| format!("{TRASH}{}-{number}", folder_name(first)))
            .find(|name| !taken.contains(name))
            .expect("a folder holds fewer names than there are numbers");
        let trash = self.log().join(trash);
        self.disk.rename(&folder, &trash)?;
        self.disk.sync_folder(&self.log())?;
        Ok(trash)
    }

    /// Removes the copies that an earlier run was looking at when it ended: a start needs their room.
    pub(super) fn remove_trials(&self) -> Result<(), StoreError> {
        let trials = paths_with_prefix(&self.data, self.disk.names_in(&self.data)?, TRIAL);
        trials.iter().try_for_each(|folder| self.disk.remove_folder(folder))
    }

    /// The folders that earlier runs gave up.
    pub(super) fn trash(&self) -> Result<Vec<PathBuf>, StoreError> {
        let log = self.log();
        Ok(paths_with_prefix(&log, self.disk.names_in(&log)?, TRASH))
    }
}
