//! Space that a node keeps for its own start.
//!
//! A start looks at a copy of `meta`, for which a disk that others have filled has no room; and a
//! node that cannot start cannot vote, nor serve what it has, nor say that its disk is full. So a file
//! of zeros stands in its folder. A start that has no room removes it, and makes it again as soon as
//! there is room for both.

use super::database::copy_bytes;
use super::disk::Blocks;
use super::error::StoreError;
use super::layout::Layout;
use super::meta::META_SHAPE;
use crate::limits::{JOURNAL_BLOCK_BYTES, RESERVE_BESIDE_COPY_BYTES};

const BLOCK_BYTES: u64 = JOURNAL_BLOCK_BYTES as u64;

/// The reserve of a store.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    layout: Layout,
    bytes: u64,
}

impl Reserve {
    /// What a store wants to keep whose `meta` is closed: a copy of it, which grows until the next
    /// start, and what is begun anew.
    pub(super) fn of(layout: &Layout) -> Result<Self, StoreError> {
        let copy = copy_bytes(&layout.disk, &layout.meta(), META_SHAPE)?;
        let bytes = (2 * copy + RESERVE_BESIDE_COPY_BYTES).next_multiple_of(BLOCK_BYTES);
        Ok(Self { layout: layout.clone(), bytes })
    }

    /// Makes it, unless it stands or there is no room for it.
    pub(super) fn keep(&self) -> Result<(), StoreError> {
        let Layout { disk, data } = &self.layout;
        let path = self.layout.reserve();
        let stands = disk.exists(&path)? && disk.length(&path)? >= self.bytes;
        if stands || disk.free_bytes(data)? < 2 * self.bytes {
            return Ok(());
        }
        let blocks = disk.create_blocks(&path)?;
        let made = fill(&*blocks, self.bytes).and_then(|()| blocks.sync());
        match made.map_err(StoreError::io("write to", &path)) {
            // Somebody was faster. What there is of it may be the last space.
            Err(error) if error.is_full() => disk.remove_file(&path)?,
            outcome => outcome?,
        }
        disk.sync_folder(data)
    }
}

/// Gives the reserve up. Says whether there was one.
pub(super) fn give_up(layout: &Layout) -> Result<bool, StoreError> {
    let stands = layout.disk.exists(&layout.reserve())?;
    if stands {
        tracing::warn!("the disk is full: the start takes the space that was kept for it");
        layout.disk.remove_file(&layout.reserve())?;
        // Before that its blocks are not free.
        layout.disk.sync_folder(&layout.data)?;
    }
    Ok(stands)
}

fn fill(blocks: &dyn Blocks, bytes: u64) -> std::io::Result<()> {
    let block = [0; JOURNAL_BLOCK_BYTES];
    (0..bytes).step_by(block.len()).try_for_each(|at| blocks.write_at(at, &block))
}
