//! A node whose store was lost begins anew: what is in the folder is set aside, and a new store is made
//! that the others fill.
//!
//! ```text
//!  data/n3/recovering-2      what is there is being set aside under number 2
//!  data/n3/emptied-2         all of it is; the new store is being made
//!  data/n3/suspect-2-meta    … -log, -journal: what was there, unchanged
//! ```
//!
//! Each name changes by one renaming, so a crash at any moment leaves what [`begin_anew`] goes on with:
//! a start asks [`began_anew`] first. Nothing is deleted here.

use std::path::Path;

use super::Identity;
use super::error::StoreError;
use super::fatal::MARK;
use super::installed;
use super::layout::Layout;
use super::lock::FolderLock;
use super::memory::MemoryDisk;
use super::recovery::{Options, create_at};
use crate::raft::{Configuration, Lineage};

/// How the names of what was set aside begin.
const SUSPECT: &str = "suspect-";
const RECOVERING: &str = "recovering-";
const EMPTIED: &str = "emptied-";

/// What a store consists of.
const PARTS: [&str; 3] = ["meta", "log", "journal"];

/// Sets aside what is in the folder `data`, and makes a new store that says that it comes in the place of
/// one that was lost. Goes on with what was begun before. Returns the number under which it is set aside:
/// names that begin with `suspect-`, the number, and a dash.
///
/// # Errors
/// The disk refuses. To be called again then.
pub fn begin_anew(
    data: &Path,
    identity: Identity,
    configuration: &Configuration,
    options: &Options,
    _lock: &FolderLock,
) -> Result<u32, StoreError> {
    begin_anew_at(&Layout::of(data), identity, configuration, options)
}

/// As [`begin_anew`], on a simulated disk.
///
/// # Errors
/// As [`begin_anew`].
pub fn begin_anew_in(
    disk: &MemoryDisk,
    identity: Identity,
    configuration: &Configuration,
    options: &Options,
) -> Result<u32, StoreError> {
    begin_anew_at(&Layout::in_memory(disk.mount()), identity, configuration, options)
}

/// Whether the folder `data` was being emptied, and has no new store yet: [`begin_anew`] has to go on.
///
/// # Errors
/// That cannot be told.
pub fn began_anew(data: &Path) -> Result<bool, StoreError> {
    Ok(Folder::look(&Layout::of(data))?.is_begun())
}

/// As [`began_anew`], on a simulated disk.
///
/// # Errors
/// As [`began_anew`].
pub fn began_anew_in(disk: &MemoryDisk) -> Result<bool, StoreError> {
    Ok(Folder::look(&Layout::in_memory(disk.mount()))?.is_begun())
}

/// The numbers under which something is set aside in `data`, in order.
///
/// # Errors
/// That cannot be told.
pub fn set_aside(data: &Path) -> Result<Vec<u32>, StoreError> {
    Ok(Folder::look(&Layout::of(data))?.suspects)
}

/// What the names in a folder say.
#[derive(Debug, Default)]
struct Folder {
    recovering: Option<u32>,
    emptied: Option<u32>,
    suspects: Vec<u32>,
}

impl Folder {
    fn look(layout: &Layout) -> Result<Self, StoreError> {
        let mut folder = Self::default();
        for name in layout.disk.names_in(&layout.data)? {
            folder.recovering = number_behind(RECOVERING, &name).or(folder.recovering);
            folder.emptied = number_behind(EMPTIED, &name).or(folder.emptied);
            folder.suspects.extend(number_behind(SUSPECT, &name));
        }
        folder.suspects.sort_unstable();
        folder.suspects.dedup();
        Ok(folder)
    }

    fn is_begun(&self) -> bool {
        self.recovering.is_some() || self.emptied.is_some()
    }
}

/// The number in a name that begins so.
fn number_behind(prefix: &str, name: &str) -> Option<u32> {
    let rest = name.strip_prefix(prefix)?;
    let number = rest.split_once('-').map_or(rest, |(number, _)| number);
    number.parse().ok()
}

fn begin_anew_at(
    layout: &Layout,
    identity: Identity,
    configuration: &Configuration,
    options: &Options,
) -> Result<u32, StoreError> {
    let Layout { disk, data, .. } = layout;
    // What takes the place of the store that is lost has to be that one first.
    installed::finish(layout)?;
    let folder = Folder::look(layout)?;
    let next = folder.suspects.last().map_or(1, |last| last.saturating_add(1));
    let number = folder.emptied.or(folder.recovering).unwrap_or(next);
    let [recovering, emptied] =
        [RECOVERING, EMPTIED].map(|prefix| data.join(format!("{prefix}{number}")));
    if folder.emptied.is_none() {
        if folder.recovering.is_none() {
            disk.create_mark(&recovering)?;
        }
        disk.sync_folder(data)?;
        for part in PARTS {
            for name in [part.to_owned(), format!("{part}{MARK}")] {
                let (from, to) = (data.join(&name), data.join(format!("{SUSPECT}{number}-{name}")));
                if disk.exists(&from)? {
                    disk.rename(&from, &to)?;
                }
            }
        }
        disk.sync_folder(data)?;
        disk.rename(&recovering, &emptied)?;
    }
    disk.sync_folder(data)?;
    if !disk.exists(&layout.meta())? {
        create_at(layout, identity, configuration, (options, Lineage::in_place(options.start)))?;
    }
    disk.remove_file(&emptied)?;
    disk.sync_folder(data)?;
    Ok(number)
}
