//! Sealed segments that have rotted: found by the scrub or by whoever reads them, and mended of what another
//! node has, as running nodes do it (`node::mending`).

use super::World;
use crate::sim::machine::Process;
use crate::store::{Damaged, MendError, Mending, ReadError, Reader, StoreError};
use crate::types::{Index, NodeId};

/// Bytes of entries that are passed on at once.
const PIECE_BYTES: usize = 4 << 10;

impl World {
    /// Mends what is known to be damaged, if the node that is asked can help.
    pub(super) fn mend(&mut self, node: NodeId) -> Result<(), StoreError> {
        let Some(process) = self.process(node) else { return Ok(()) };
        let damaged = process.reader.damaged();
        let first = process.reader.first();
        for Damaged { first, last, .. } in damaged {
            self.mend_one(node, (first, last))?;
        }
        let machine = self.machine_mut(node);
        if !machine.rotten.is_empty() {
            // What was given up is missed by nobody.
            machine.rotten.retain(|segment| *segment >= first);
            self.look_whether_it_is_sound(node);
        }
        Ok(())
    }

    /// A node that had nothing but rotten segments, and has none any more, is as good as any.
    fn look_whether_it_is_sound(&mut self, node: NodeId) {
        let machine = self.machine_mut(node);
        if machine.rotten.is_empty() {
            machine.lost = false;
            self.trace.text(self.now, node, || "has nothing rotten any more".to_owned());
        }
    }

    fn mend_one(&mut self, node: NodeId, (first, last): (Index, Index)) -> Result<(), StoreError> {
        let others: Vec<NodeId> = self.options.cluster.all_but(node).into_iter().collect();
        if others.is_empty() {
            // Nobody else has it.
            return Ok(());
        }
        let other = self.chance.one_of(&others);
        let has_it = |process: &&Process| process.replica.readable() >= last;
        let Some(source) = self.process(other).filter(has_it) else { return Ok(()) };
        let source = source.reader.clone();
        let Some(process) = self.process(node) else { return Ok(()) };
        let Some(mut mending) = process.writer.mender().begin(first) else { return Ok(()) };
        match copy(&source, &mut mending).and_then(|()| Ok(mending.finish()?)) {
            Ok(()) => {
                self.counts.mended += 1;
                self.trace.text(self.now, node, || format!("mended from {first} on of {other}"));
                if self.machine_mut(node).rotten.remove(&first) {
                    self.look_whether_it_is_sound(node);
                }
                Ok(())
            }
            Err(Trouble::Mend(MendError::Store(error))) => Err(error),
            Err(trouble) => {
                self.trace.text(self.now, node, || format!("{other} cannot help: {trouble:?}"));
                Ok(())
            }
        }
    }
}

/// Why a segment is not mended.
#[derive(Debug)]
enum Trouble {
    /// The other node has it not, or damaged as well.
    Source,
    /// The own store.
    Mend(MendError),
}

impl From<MendError> for Trouble {
    fn from(error: MendError) -> Self {
        Self::Mend(error)
    }
}

impl From<ReadError> for Trouble {
    fn from(_: ReadError) -> Self {
        Self::Source
    }
}

fn copy(source: &Reader, mending: &mut Mending) -> Result<(), Trouble> {
    let (mut next, last) = mending.range();
    let head = source.head_before(next)?.ok_or(Trouble::Source)?;
    head.chunks(PIECE_BYTES).try_for_each(|piece| mending.take_head(piece))?;
    while next <= last {
        let entries = source.entries(next, last, PIECE_BYTES)?;
        next = entries.last().ok_or(Trouble::Source)?.id().index.next();
        for entry in entries {
            mending.take_entries(entry.bytes().clone())?;
        }
    }
    Ok(())
}
