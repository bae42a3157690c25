//! Space that a node keeps for its own start.
//!
//! A start looks at a copy of `meta`, for which a disk that others have filled has no room; and a
//! node that cannot start cannot vote, nor serve what it has, nor say that its disk is full. So a file
//! that nobody reads stands in its folder. A start that has no room removes it, and makes it again as soon as
//! there is room for both.

use std::sync::atomic::{AtomicU64, Ordering};

use super::database::copy_bytes;
use super::disk::Blocks;
use super::error::StoreError;
use super::layout::Layout;
use super::meta::META_SHAPE;
use crate::limits::{JOURNAL_BLOCK_BYTES, RESERVE_BESIDE_COPY_BYTES};

const BLOCK_BYTES: u64 = JOURNAL_BLOCK_BYTES as u64;

/// The reserve of a store.
#[derive(Debug)]
pub(super) struct Reserve {
    layout: Layout,
    /// Bytes that it should have.
    wanted: AtomicU64,
}

impl Reserve {
    /// That of a store whose `meta` is closed.
    pub(super) fn of(layout: &Layout) -> Result<Self, StoreError> {
        let wanted = AtomicU64::new(wanted_bytes(layout)?);
        Ok(Self { layout: layout.clone(), wanted })
    }

    /// `meta` has got longer, and so has a copy of it.
    pub(super) fn follow_meta(&self) {
        // While it is open its files come and go: whoever misses one looks again the next time.
        if let Ok(bytes) = wanted_bytes(&self.layout) {
            self.wanted.fetch_max(bytes, Ordering::Relaxed);
        }
    }

    /// Makes it, unless it stands or there is no room for it.
    pub(super) fn keep(&self) -> Result<(), StoreError> {
        let Layout { disk, data, .. } = &self.layout;
        let (path, bytes) = (self.layout.reserve(), self.wanted.load(Ordering::Relaxed));
        let stands = disk.exists(&path)? && disk.length(&path)? >= bytes;
        if stands || disk.free_bytes(data)? < 2 * bytes {
            return Ok(());
        }
        match self.make(bytes) {
            // Somebody was faster. What there is of it may be the last space.
            Err(error) if error.is_full() && disk.exists(&path)? => disk.remove_file(&path)?,
            Err(error) if error.is_full() => (),
            outcome => outcome?,
        }
        disk.sync_folder(data)
    }

    fn make(&self, bytes: u64) -> Result<(), StoreError> {
        let path = self.layout.reserve();
        let blocks = self.layout.disk.create_blocks(&path)?;
        let made = fill(&*blocks, bytes).and_then(|()| blocks.sync());
        made.map_err(StoreError::io("write to", &path))
    }
}

/// Two copies of `meta`, so that it may get longer meanwhile, and what a start begins anew.
fn wanted_bytes(layout: &Layout) -> Result<u64, StoreError> {
    let copy = copy_bytes(&layout.disk, &layout.meta(), META_SHAPE)?;
    Ok((2 * copy + RESERVE_BESIDE_COPY_BYTES).next_multiple_of(BLOCK_BYTES))
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

/// What no file system can make smaller: zeros may take no space at all.
fn fill(blocks: &dyn Blocks, bytes: u64) -> std::io::Result<()> {
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut block = [0; JOURNAL_BLOCK_BYTES];
    (0..bytes).step_by(block.len()).try_for_each(|at| {
        noise.fill(&mut block);
        blocks.write_at(at, &block)
    })
}
