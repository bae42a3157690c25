//! A store that was made whole beside the one that there is takes its place: see `install`. Whoever opens the
//! store, or makes another, first goes on with that.

use std::path::PathBuf;

use super::error::StoreError;
use super::layout::Layout;

/// How the names of the new store's parts begin.
pub(super) const INSTALLING: &str = "installing-";
/// The new store is whole.
pub(super) const INSTALLED: &str = "installed";

fn mark(layout: &Layout) -> PathBuf {
    layout.data.join(INSTALLED)
}

/// All of the new store is there: from here on it is the node's.
pub(super) fn note_ready(layout: &Layout) -> Result<(), StoreError> {
    layout.disk.create_mark(&mark(layout))?;
    layout.disk.sync_folder(&layout.data)
}

/// Whether a store is there that is to take the place of the one that is or was there.
pub(super) fn is_ready(layout: &Layout) -> Result<bool, StoreError> {
    layout.disk.exists(&mark(layout))
}

/// Moves a store in that was made whole, and removes what is left of one that was not.
pub(super) fn finish(layout: &Layout) -> Result<(), StoreError> {
    let disk = &layout.disk;
    let new = layout.beside(INSTALLING);
    if !is_ready(layout)? {
        disk.remove_folder(&new.unfinished_meta())?;
        return new.parts().iter().try_for_each(|part| disk.remove_folder(part));
    }
    // The mark may be in the page cache alone, if the process ended before its sync.
    layout.sync_names_in(&layout.data)?;
    for (from, to) in new.parts().iter().zip(layout.parts()) {
        if disk.exists(from)? {
            disk.remove_folder(&to)?;
            disk.rename(from, &to)?;
            disk.sync_folder(&layout.data)?;
        }
    }
    disk.remove_file(&mark(layout))?;
    disk.sync_folder(&layout.data)
}
