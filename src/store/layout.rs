//! Where everything lies in a node's folder.
//!
//! ```text
//!  data/n1/lock                            held while a process uses the folder
//!  data/n1/meta/                           the database `meta`
//!  data/n1/journal/00000000000000000007.journal    files of the journal, numbered as they are begun
//!  data/n1/log/00000000000000000001/       one segment each, named after its first index
//!  data/n1/log/00000000000000000901.head   the head of the oldest segment that is not sealed
//!  data/n1/log/00000000000000000001.mending/   what is to take its place: see `mending`
//!  data/n1/log/00000000000000000001.damaged    a mark: see `fatal`
//!  data/n1/reserve                         space for a start on a full disk: see `reserve`
//!  data/n1/scrub                           how far the scrub is: see there
//!  data/n1/trial-…                         a copy that is being looked at, deleted soon
//!  data/n1/syncing, and in the others too  there for a moment: see `sync_names`
//!  data/n1/installing-…, installed         a store that takes this one's place: see `install`
//! ```
//!
//! A segment's folder that `meta` does not name is a copy of what is in the journal: the last one is
//! left behind by an orderly stop, and a start deletes it.

use std::path::{Path, PathBuf};

use super::disk::{Disk, paths_with_prefix};
use super::error::{Fault, StoreError};
use super::fatal::{MARK, mark_of};
use super::memory::{Mount, ROOT};
use super::segment::{first_in_name, folder_name};
use crate::types::Index;

const TRIAL: &str = "trial-";
const SYNCING: &str = "syncing";
const JOURNAL_FILE: &str = ".journal";
const HEAD_FILE: &str = ".head";
const MENDING: &str = ".mending";

/// The paths in a node's folder, and the disk that it is on.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) disk: Disk,
    pub(super) data: PathBuf,
    /// How the names of the three parts of the store begin.
    prefix: &'static str,
}

impl Layout {
    pub(super) fn of(data: &Path) -> Self {
        Self { disk: Disk::real(), data: data.to_owned(), prefix: "" }
    }

    /// That of a simulated disk.
    pub(super) fn in_memory(mount: Mount) -> Self {
        Self { disk: Disk::over(mount), data: PathBuf::from(ROOT), prefix: "" }
    }

    /// That of another store in the same folder, the names of whose parts begin so.
    pub(super) fn beside(&self, prefix: &'static str) -> Self {
        Self { prefix, ..self.clone() }
    }

    /// The three parts of a store.
    pub(super) fn parts(&self) -> [PathBuf; 3] {
        [self.log(), self.journal(), self.meta()]
    }

    fn part(&self, name: &str) -> PathBuf {
        self.data.join(format!("{}{name}", self.prefix))
    }

    pub(super) fn meta(&self) -> PathBuf {
        self.part("meta")
    }

    /// Where `meta` is made.
    pub(super) fn unfinished_meta(&self) -> PathBuf {
        self.part("meta-unfinished")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.part("log")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.part("journal")
    }

    pub(super) fn reserve(&self) -> PathBuf {
        self.data.join("reserve")
    }

    pub(super) fn segment(&self, first: Index) -> PathBuf {
        self.log().join(folder_name(first))
    }

    pub(super) fn head_file(&self, first: Index) -> PathBuf {
        self.log().join(format!("{}{HEAD_FILE}", folder_name(first)))
    }

    /// Where a segment is made that is to take the place of a damaged one.
    pub(super) fn mending(&self, first: Index) -> PathBuf {
        self.log().join(format!("{}{MENDING}", folder_name(first)))
    }

    pub(super) fn journal_file(&self, number: u64) -> PathBuf {
        self.journal().join(format!("{number:020}{JOURNAL_FILE}"))
    }

    /// Returns when the names that a start has found are on the disk. A process that was killed
    /// between a change of a name and its sync left it in the page cache alone, and what is done next
    /// rests on it. Where the sync failed, a folder would have nothing to write any more: so a name is
    /// made and removed first.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        [&self.data, &self.log(), &self.journal()]
            .into_iter()
            .try_for_each(|folder| self.sync_names_in(folder))
    }

    /// The same of one folder.
    pub(super) fn sync_names_in(&self, folder: &Path) -> Result<(), StoreError> {
        let mark = folder.join(SYNCING);
        self.disk.create_mark(&mark)?;
        self.disk.remove_file(&mark)?;
        self.disk.sync_folder(folder)
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

    /// The first indexes of all segments of which there is a file with the head.
    pub(super) fn head_files(&self) -> Result<Vec<Index>, StoreError> {
        let names = self.disk.names_in(&self.log())?;
        let firsts = names.iter().filter_map(|name| first_in_name(name.strip_suffix(HEAD_FILE)?));
        Ok(firsts.collect())
    }

    /// The numbers of all files of the journal, in order.
    pub(super) fn journal_files(&self) -> Result<Vec<u64>, StoreError> {
        let names = self.disk.names_in(&self.journal())?;
        let number = |name: &String| name.strip_suffix(JOURNAL_FILE)?.parse().ok();
        let mut found: Vec<u64> = names.iter().filter_map(number).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Refuses a folder in which an earlier start failed, or something else was found to be damaged; not
    /// because of one of the sealed segments in `mendable`: it returns those of them that are marked. What begins
    /// before `kept` was given up.
    pub(super) fn check_marks(
        &self,
        mendable: &[Index],
        kept: Index,
    ) -> Result<Vec<Index>, StoreError> {
        self.check_mark(&self.meta())?;
        let mut found = vec![];
        for folder in [self.log(), self.journal()] {
            let names = self.disk.names_in(&folder)?;
            for name in names.iter().filter_map(|name| name.strip_suffix(MARK)) {
                match first_in_name(name).filter(|first| mendable.contains(first)) {
                    Some(first) => found.push(first),
                    None if is_left_over(name, kept) => (),
                    None => return Err(StoreError::damage(&folder.join(name), Fault::Marked)),
                }
            }
        }
        Ok(found)
    }

    /// Removes segments that were being made to take the place of damaged ones, and marks of what begins before
    /// `kept`.
    pub(super) fn remove_mending(&self, kept: Index) -> Result<(), StoreError> {
        for name in self.disk.names_in(&self.log())? {
            let place = self.log().join(&name);
            if name.ends_with(MENDING) {
                self.disk.remove_folder(&place)?;
            } else if name.strip_suffix(MARK).is_some_and(|name| is_left_over(name, kept)) {
                self.disk.remove_file(&place)?;
            }
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

    /// Removes the copies that an earlier run was looking at when it ended: a start needs their room.
    pub(super) fn remove_trials(&self) -> Result<(), StoreError> {
        let trials = paths_with_prefix(&self.data, self.disk.names_in(&self.data)?, TRIAL);
        trials.iter().try_for_each(|folder| self.disk.remove_folder(folder))
    }
}

/// Whether a mark is of something that nobody needs: what was being made, or begins before `kept`.
fn is_left_over(name: &str, kept: Index) -> bool {
    name.ends_with(MENDING) || first_in_name(name).is_some_and(|first| first < kept)
}
