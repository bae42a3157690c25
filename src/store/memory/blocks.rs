//! A file that is written in blocks: what its process sees, what the page cache holds, what the
//! platter has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};

use bytes::Bytes;

use super::data::Cut;
use crate::limits::JOURNAL_BLOCK_BYTES;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: u64 = JOURNAL_BLOCK_BYTES as u64;

/// How many changes of a platter are remembered, so that an older self can come back.
const HISTORY_MAX: usize = 64;

/// What a block of nothing but zeros holds: such blocks take no memory.
static ZEROS: [u8; JOURNAL_BLOCK_BYTES] = [0; JOURNAL_BLOCK_BYTES];

/// What a block holds; `None` if it is all zero.
type Block = Option<Bytes>;

/// A file that is written in blocks.
///
/// Invariant: a page is here only if the page cache shows its block otherwise than the platter has
/// it, or may do so.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockFile {
    platter: Platter,
    /// What the page cache has besides, by the number of the block.
    pages: BTreeMap<u64, Page>,
    /// Bytes, as whoever has it open sees them.
    length: u64,
    /// It was emptied and not synced since: nothing of the platter is seen.
    is_emptied: bool,
    /// The platter was changed by nobody: what the page cache shows of it is not what it has.
    is_rotten: bool,
    /// How to take back the newest changes of the platter, oldest first.
    history: VecDeque<Undo>,
    /// How often the process that runs has it open.
    handles: u64,
}

/// What would be left if all that is not synced were lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Platter {
    /// The blocks that are not all zero.
    blocks: BTreeMap<u64, Bytes>,
    /// Bytes of the file.
    length: u64,
    /// How often it was changed.
    version: u64,
    /// The lowest block that the last change has touched.
    changed_from: u64,
}

/// What the page cache has of a block.
#[derive(Clone, Debug)]
struct Page {
    block: Block,
    state: PageState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageState {
    /// It is not on the platter yet.
    Unsynced,
    /// A sync failed: it will never be on the platter. The page cache calls it clean.
    Failed,
    /// It is what the platter had before it rotted.
    Former,
}

/// How to take back one change of a platter.
#[derive(Clone, Debug)]
struct Undo {
    /// Blocks with what they held.
    blocks: Vec<(u64, Block)>,
    length: u64,
}

impl Platter {
    /// How often it was changed.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The lowest block that the last change has touched.
    pub(super) fn changed_from(&self) -> u64 {
        self.changed_from
    }

    /// A block that the file has.
    pub(super) fn block(&self, number: u64) -> Option<&[u8]> {
        let is_there = number.checked_mul(BLOCK_BYTES).is_some_and(|begin| begin < self.length);
        is_there.then(|| self.blocks.get(&number).map_or(&ZEROS[..], |block| block))
    }

    /// So many bytes from the beginning of a block on, if the file has them.
    pub(super) fn bytes(&self, number: u64, length: u64) -> Option<Vec<u8>> {
        let begin = number.checked_mul(BLOCK_BYTES)?;
        let is_there = begin.checked_add(length).is_some_and(|end| end <= self.length);
        is_there.then(|| join(begin, length, |number| self.blocks.get(&number)))
    }

    fn put(&mut self, number: u64, block: Block) -> Block {
        match block {
            Some(block) => self.blocks.insert(number, block),
            None => self.blocks.remove(&number),
        }
    }

    fn changed(&mut self, from: u64) {
        self.version += 1;
        self.changed_from = from;
    }

    /// Makes it so many bytes long; what is behind that is gone.
    fn cut(&mut self, length: u64) -> Vec<(u64, Block)> {
        let whole = length / BLOCK_BYTES;
        let gone = self.blocks.split_off(&whole);
        let kept = usize::try_from(length % BLOCK_BYTES).unwrap_or_default();
        if let Some(block) = gone.get(&whole)
            && kept > 0
        {
            let mut rest = block.to_vec();
            rest.iter_mut().skip(kept).for_each(|byte| *byte = 0);
            self.put(whole, block_of(&rest));
        }
        self.length = self.length.min(length);
        gone.into_iter().map(|(number, block)| (number, Some(block))).collect()
    }
}

impl BlockFile {
    pub(super) fn platter(&self) -> &Platter {
        &self.platter
    }

    /// Bytes, as whoever has it open sees them.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    // ---- the process that has it open ----

    pub(super) fn open(&mut self) {
        self.handles += 1;
    }

    pub(super) fn close(&mut self) {
        self.handles = self.handles.saturating_sub(1);
    }

    pub(super) fn is_open(&self) -> bool {
        self.handles > 0
    }

    /// Nothing is in it any more, once that is synced.
    pub(super) fn empty(&mut self) {
        self.pages.clear();
        self.length = 0;
        self.is_emptied = true;
    }

    /// How much longer the file gets if so many bytes are written at this place.
    pub(super) fn growth(&self, at: u64, bytes: u64) -> u64 {
        at.saturating_add(bytes).saturating_sub(self.length)
    }

    /// Takes whole blocks into the page cache.
    pub(super) fn write(&mut self, at: u64, blocks: &[u8]) {
        for (number, block) in (at / BLOCK_BYTES..).zip(blocks.chunks(JOURNAL_BLOCK_BYTES)) {
            let page = Page { block: block_of(block), state: PageState::Unsynced };
            self.pages.insert(number, page);
        }
        self.length = self.length.max(at + blocks.len() as u64);
    }

    /// A write that failed: the first half of its blocks was written, as far as there was room.
    pub(super) fn fail_to_write(&mut self, at: u64, blocks: &[u8], room: u64) {
        let count = blocks.len() as u64 / BLOCK_BYTES;
        let fits = |count: &u64| self.growth(at, count * BLOCK_BYTES) <= room;
        let written = (0..=count / 2).rev().find(fits).unwrap_or_default() * BLOCK_BYTES;
        if let Some((written, _)) =
            usize::try_from(written).ok().and_then(|length| blocks.split_at_checked(length))
            && !written.is_empty()
        {
            self.write(at, written);
        }
    }

    /// So many bytes from a place on, as the page cache has them.
    pub(super) fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let length = length as u64;
        if at.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(join(at, length, |number| self.shown(number)))
    }

    /// All of it, as the page cache has it.
    pub(super) fn contents(&self) -> Vec<u8> {
        join(0, self.length, |number| self.shown(number))
    }

    /// All of it, read past the page cache: as with Linux, what is not written yet is written first,
    /// and what counts as clean is not asked for.
    pub(super) fn read_past_cache(&self) -> Vec<u8> {
        join(0, self.length, |number| match self.pages.get(&number) {
            Some(page) if page.state == PageState::Unsynced => page.block.as_ref(),
            _ => self.beneath(number),
        })
    }

    /// What a block holds for whoever has the file open.
    fn shown(&self, number: u64) -> Option<&Bytes> {
        self.pages.get(&number).map_or_else(|| self.beneath(number), |page| page.block.as_ref())
    }

    /// What is seen of a block that the page cache has nothing of.
    fn beneath(&self, number: u64) -> Option<&Bytes> {
        if self.is_emptied { None } else { self.platter.blocks.get(&number) }
    }

    /// Takes its length and its contents into a hash, zeros only by leaving them out.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&self.length.to_le_bytes());
        let numbers: BTreeSet<u64> =
            self.platter.blocks.keys().chain(self.pages.keys()).copied().collect();
        for number in numbers {
            if let Some(block) = self.shown(number) {
                hasher.update(&number.to_le_bytes()).update(block);
            }
        }
    }

    /// Everything that was written is on the platter afterwards, but for what an earlier sync failed
    /// to bring there.
    pub(super) fn sync(&mut self) {
        let unsynced = self.take_unsynced();
        if unsynced.is_empty() && !self.is_emptied {
            return;
        }
        let mut undo = self.begin_change();
        let end = unsynced.last_key_value().map_or(0, |(number, _)| end_of(*number));
        self.platter.length = self.platter.length.max(end);
        for (number, block) in unsynced {
            undo.blocks.push((number, self.platter.put(number, block)));
        }
        self.end_change(undo);
    }

    /// A sync that failed: what it should have synced will never be, whatever later syncs say. But
    /// it can be read, by later processes too, until it is written again or the power fails.
    pub(super) fn fail_to_sync(&mut self) {
        for page in self.pages.values_mut().filter(|page| page.state == PageState::Unsynced) {
            page.state = PageState::Failed;
        }
    }

    fn take_unsynced(&mut self) -> BTreeMap<u64, Block> {
        let unsynced = self.pages.extract_if(.., |_, page| page.state == PageState::Unsynced);
        unsynced.map(|(number, page)| (number, page.block)).collect()
    }

    /// Begins a change of the platter; that the file was emptied is a part of it.
    fn begin_change(&mut self) -> Undo {
        let length = self.platter.length;
        let blocks =
            if std::mem::take(&mut self.is_emptied) { self.platter.cut(0) } else { vec![] };
        Undo { blocks, length }
    }

    fn end_change(&mut self, undo: Undo) {
        let Undo { blocks, length } = &undo;
        let shorter = self.platter.length.min(*length) / BLOCK_BYTES;
        let behind = (self.platter.length != *length).then_some(shorter);
        let Some(lowest) = blocks.iter().map(|(number, _)| *number).chain(behind).min() else {
            return;
        };
        self.platter.changed(lowest);
        self.history.push_back(undo);
        if self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
    }

    // ---- between two processes ----

    /// The page cache forgets the file: what is read from now on is what the platter has. As on a
    /// real disk the machine still knows how long the file was.
    pub(super) fn forget_cached(&mut self) {
        self.pages.retain(|_, page| page.state == PageState::Unsynced);
        self.forget_former();
    }

    /// The process is gone, the machine is not.
    pub(super) fn restart(&mut self) {
        self.handles = 0;
        self.forget_former();
    }

    fn forget_former(&mut self) {
        if std::mem::take(&mut self.is_rotten) {
            self.pages.retain(|_, page| page.state != PageState::Former);
            let end = self.pages.last_key_value().map_or(0, |(number, _)| end_of(*number));
            self.length = self.platter.length.max(end);
        }
    }

    /// The power fails: that the file was emptied is kept or lost, and with it all that came after;
    /// of what it grew a part is kept; and of the blocks that were written each for itself.
    pub(super) fn power_cut(&mut self, choose: &mut dyn FnMut(u64) -> u64) -> Cut {
        let unsynced = self.take_unsynced();
        let mut cut = Cut::default();
        if self.is_emptied && choose(2) == 0 {
            self.is_emptied = false;
            cut.blocks_lost = unsynced.len() as u64;
        } else if self.is_emptied || !unsynced.is_empty() {
            self.keep_some(unsynced, &mut cut, choose);
        }
        self.pages.clear();
        self.length = self.platter.length;
        self.is_rotten = false;
        self.handles = 0;
        cut
    }

    fn keep_some(
        &mut self,
        unsynced: BTreeMap<u64, Block>,
        cut: &mut Cut,
        choose: &mut dyn FnMut(u64) -> u64,
    ) {
        let mut undo = self.begin_change();
        let end = unsynced.last_key_value().map_or(0, |(number, _)| end_of(*number));
        let growth = end.saturating_sub(self.platter.length).div_ceil(BLOCK_BYTES);
        if growth > 0 {
            let lost = growth - choose(growth + 1).min(growth);
            self.platter.length = self.platter.length.max(end - lost * BLOCK_BYTES);
        }
        for (number, block) in unsynced {
            // There is nothing to choose where nothing changes.
            if end_of(number) <= self.platter.length
                && self.platter.blocks.get(&number) == block.as_ref()
            {
                continue;
            }
            if end_of(number) <= self.platter.length && choose(2) == 1 {
                undo.blocks.push((number, self.platter.put(number, block)));
                cut.blocks_kept += 1;
            } else {
                cut.blocks_lost += 1;
            }
        }
        self.end_change(undo);
    }
}

// ---- damage ----

impl BlockFile {
    /// How many changes of the platter can be taken back.
    pub(super) fn history_length(&self) -> u64 {
        self.history.len() as u64
    }

    /// Changes the bytes of a block of the platter.
    pub(super) fn change_block(&mut self, number: u64, change: impl FnOnce(&mut [u8])) {
        let Some(block) = self.platter.block(number) else { return };
        let mut bytes = block.to_vec();
        change(&mut bytes);
        let former = self.platter.put(number, block_of(&bytes));
        self.rotted(vec![(number, former)]);
    }

    /// Cuts the platter's file off. What was not synced is lost with its end.
    pub(super) fn cut_short(&mut self, length: u64) {
        self.give_up_unsynced();
        let former = self.platter.cut(length);
        self.rotted(former);
    }

    /// Makes the platter what it was so many changes ago.
    pub(super) fn rewind(&mut self, changes: usize) {
        self.give_up_unsynced();
        let mut former = BTreeMap::new();
        for _ in 0..changes {
            let Some(undo) = self.history.pop_back() else { break };
            for (number, block) in undo.blocks.into_iter().rev() {
                let newer = self.platter.put(number, block);
                former.entry(number).or_insert(newer);
            }
            self.platter.length = undo.length;
        }
        self.rotted(former.into_iter().collect());
    }

    /// A process that runs goes on seeing what it wrote, and nobody else will.
    fn give_up_unsynced(&mut self) {
        for page in self.pages.values_mut().filter(|page| page.state == PageState::Unsynced) {
            page.state = PageState::Former;
        }
    }

    /// The platter was changed by nobody. A process that runs goes on seeing what these blocks held.
    fn rotted(&mut self, former: Vec<(u64, Block)>) {
        self.platter.changed(former.iter().map(|(number, _)| *number).min().unwrap_or_default());
        self.is_rotten = true;
        if self.is_emptied {
            return;
        }
        for (number, block) in former {
            let page = Page { block, state: PageState::Former };
            self.pages.entry(number).or_insert(page);
        }
    }
}

/// Where a block ends.
fn end_of(number: u64) -> u64 {
    (number + 1) * BLOCK_BYTES
}

fn block_of(bytes: &[u8]) -> Block {
    (bytes != ZEROS).then(|| Bytes::copy_from_slice(bytes))
}

/// So many bytes from a place on, put together from the blocks that are not all zero.
fn join<'a>(at: u64, length: u64, block: impl Fn(u64) -> Option<&'a Bytes>) -> Vec<u8> {
    let end = at + length;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    for number in at / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
        let begin = number * BLOCK_BYTES;
        let from = at.saturating_sub(begin);
        let to = (end - begin).min(BLOCK_BYTES);
        let place = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        let block = block(number).map_or(&ZEROS[..], |block| block);
        bytes.extend_from_slice(place.and_then(|(from, to)| block.get(from..to)).unwrap_or(&[]));
    }
    bytes
}
