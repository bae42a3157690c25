//! The head of the oldest segment that is not sealed, in a file of its own: BLAKE3 over its one form,
//! and that.
//!
//! It is on the disk before `meta` says that the segment before it is sealed; once its own segment is,
//! which begins with it too, the file goes.

use super::Head;
use super::error::{Fault, StoreError};
use super::layout::Layout;
use super::segment::encode_head;
use crate::types::Index;

/// Returns when the head is on the disk. A file that an interrupted run began is written anew.
pub(super) fn write(layout: &Layout, head: &Head) -> Result<(), StoreError> {
    let path = layout.head_file(head.tip.id.index.next());
    let form = encode_head(head);
    let mut bytes = blake3::hash(&form).as_bytes().to_vec();
    bytes.extend_from_slice(&form);
    layout.disk.write_file(&path, &bytes)?;
    layout.disk.sync_file(&path)?;
    layout.disk.sync_folder(&layout.log())
}

/// Reads the head of the segment that begins with `first`, as it is on the disk.
///
/// # Errors
/// [`StoreError::Damage`] if it is not there, or not what was written.
pub(super) fn read(layout: &Layout, first: Index) -> Result<Head, StoreError> {
    let path = layout.head_file(first);
    let damage = |fault| StoreError::damage(&path, fault);
    if !layout.disk.is_file(&path)? {
        return Err(damage(Fault::FileGone { name: "head" }));
    }
    layout.disk.forget_cached(&path)?;
    let bytes = layout.disk.read_file(&path)?;
    let whole = || {
        let (hash, form) = bytes.split_first_chunk::<32>()?;
        let head: Head = postcard::from_bytes(form).ok()?;
        (blake3::hash(form).as_bytes() == hash && head.tip.id.index.next() == first).then_some(head)
    };
    whole().ok_or_else(|| damage(Fault::Value { what: "head" }))
}
