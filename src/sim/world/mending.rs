//! Sealed segments that have rotted: found by the scrub or by whoever reads them, and mended of what another
//! node has, as running nodes do it (`node::mending`).

use bytes::Bytes;

use super::World;
use crate::sim::class::Class;
use crate::sim::laws::LawName;
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

    /// What a process knew to be damaged, the next one knows.
    pub(super) fn judge_what_is_known(&mut self, node: NodeId) {
        let machine = self.machine(node);
        let Some(process) = &machine.process else { return };
        let damaged = process.reader.damaged();
        let listed = machine.disk.memory.sealed_after(Index::ZERO);
        let is_listed = |first: &Index| listed.iter().any(|segment| segment.first == *first);
        let is_known = |first: &Index| damaged.iter().any(|it| it.first == *first);
        let mut marked = machine.disk.memory.marked().into_iter();
        if let Some(first) = marked.find(|first| is_listed(first) && !is_known(first)) {
            let what = format!(
                "{node} starts, and does not know any more that the segment from {first} on is damaged"
            );
            self.violate(LawName::NoSilentRepair, what);
        }
    }

    /// What takes the place of a damaged segment is what the other node has.
    fn judge_mended(&mut self, node: NodeId, source: &Reader, (first, last): (Index, Index)) {
        let Some(process) = self.process(node) else { return };
        let shows = |reader: &Reader| {
            let head = reader.head_before(first).ok()??;
            let entries = reader.entries(first, last, usize::MAX).ok()?;
            let entries: Vec<Bytes> = entries.iter().map(|entry| entry.bytes().clone()).collect();
            Some((head, entries))
        };
        // What cannot be read now is no other.
        let found = shows(&process.reader).zip(shows(source));
        if found.is_some_and(|(mended, other)| mended != other) {
            let what = format!("the segment from {first} on is mended on {node}, and another");
            self.violate(LawName::SegmentsEqual, what);
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
        // A node may send what it should not.
        let is_corrupt = self.options.faults.has(Class::Corrupt) && self.chance.below(2) == 0;
        let spoils = is_corrupt.then(|| self.chance.number());
        let Some(process) = self.process(node) else { return Ok(()) };
        let Some(mut mending) = process.writer.mender().begin(first) else { return Ok(()) };
        match copy(&source, &mut mending, spoils).and_then(|()| Ok(mending.finish()?)) {
            Ok(()) => {
                self.judge_mended(node, &source, (first, last));
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

/// Passes on what a node has. With `spoils` a byte of the head is another.
fn copy(source: &Reader, mending: &mut Mending, spoils: Option<u64>) -> Result<(), Trouble> {
    let (mut next, last) = mending.range();
    let mut head = source.head_before(next)?.ok_or(Trouble::Source)?.to_vec();
    let length = head.len() as u64;
    if let Some(byte) =
        spoils.and_then(|spoils| head.get_mut(usize::try_from(spoils % length).ok()?))
    {
        *byte ^= 1;
    }
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
