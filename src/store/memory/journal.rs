//! A file of the journal as it stands on the platter, read by its table and by nothing of the store.
//!
//! A file that was read is remembered: what is looked at again is what changed since.

use super::blocks::{BLOCK_BYTES, Platter};
use super::entries::{self, Found};
use crate::raft::HardState;
use crate::types::{Index, NodeId, Term};

/// Where the parts of a file's first block stand, and how many bytes of it say something.
const FILE_MAGIC: &[u8] = b"annaljnl";
const FILE_VERSION: (usize, u32) = (8, 1);
const FILE_NUMBER_AT: usize = 16;
const FILE_ID_AT: usize = 24;
const FILE_CRC_AT: usize = 60;
const FILE_HEADER_BYTES: u64 = 64;

/// Where the parts of a group stand, and where its entries begin.
const GROUP_MAGIC: &[u8] = b"jgrp";
const CRC_AT: usize = 4;
const LENGTH_AT: usize = 8;
const COUNT_AT: usize = 12;
const ID_AT: usize = 16;
const NUMBER_AT: usize = 32;
const PREVIOUS_CRC_AT: usize = 40;
const TERM_AT: usize = 48;
const VOTE_AT: usize = 56;
const TRUNCATE_AT: usize = 64;
const TIP_INDEX_AT: usize = 88;
const TIP_TERM_AT: usize = 96;
const TIP_CHAIN_AT: usize = 112;
const ENTRIES_AT: u64 = 144;

/// Names a group: its number and its CRC.
pub(super) type Mark = (u64, u32);

/// A group that is whole.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The block that it begins with, and the first behind it.
    pub(super) block: u64,
    pub(super) end: u64,
    /// Its bytes, but for the zeros that fill its last block.
    pub(super) bytes: u64,
    pub(super) mark: Mark,
    pub(super) previous: Mark,
    pub(super) hard_state: HardState,
    /// Entries from here on were removed first; zero for none.
    pub(super) truncate_from: Index,
    /// The entry before its first.
    pub(super) tip: Found,
    pub(super) entries: Vec<Found>,
}

/// What one file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// The change of the platter that was looked at last; `None` before the first.
    version: Option<u64>,
    /// Counts how often something was found that is not only more than what was found before.
    pub(super) revision: u64,
    /// The file's number and its id, if it begins as it should.
    header: Option<(u64, u128)>,
    /// One following on the other, from the second block on.
    pub(super) groups: Vec<Group>,
}

impl Scan {
    /// Looks at what changed since the last time.
    pub(super) fn follow(&mut self, platter: &Platter) {
        let version = platter.version();
        if self.version == Some(version) {
            return;
        }
        let is_next = self.version.is_some_and(|seen| seen + 1 == version);
        self.forget_from(if is_next { platter.changed_from() } else { 0 });
        if self.header.is_none() {
            self.header = header(platter);
        }
        while let Some(group) = self.next(platter) {
            self.groups.push(group);
        }
        self.version = Some(version);
    }

    /// Forgets what stands in this block or behind it.
    fn forget_from(&mut self, block: u64) {
        let kept = self.groups.partition_point(|group| group.end <= block);
        if kept < self.groups.len() || block == 0 {
            self.groups.truncate(kept);
            self.revision += 1;
        }
        if block == 0 {
            self.header = None;
        }
    }

    fn next(&self, platter: &Platter) -> Option<Group> {
        let (_, id) = self.header?;
        let last = self.groups.last();
        let group = group(platter, last.map_or(1, |last| last.end), id)?;
        last.is_none_or(|last| group.previous == last.mark).then_some(group)
    }

    /// Whether it is the file of this number.
    pub(super) fn is_number(&self, number: u64) -> bool {
        self.header.is_some_and(|(found, _)| found == number)
    }

    /// Bytes of its first block that say something.
    pub(super) fn header_bytes() -> u64 {
        FILE_HEADER_BYTES
    }
}

fn header(platter: &Platter) -> Option<(u64, u128)> {
    let block = platter.block(0)?;
    let (version_at, version) = FILE_VERSION;
    let is_whole = block.starts_with(FILE_MAGIC)
        && u32_at(block, version_at)? == version
        && u32_at(block, FILE_CRC_AT)? == crc32c::crc32c(block.get(..FILE_CRC_AT)?);
    is_whole.then_some((u64_at(block, FILE_NUMBER_AT)?, u128_at(block, FILE_ID_AT)?))
}

/// The group that begins with a block, if a whole one of this file does.
fn group(platter: &Platter, block: u64, id: u128) -> Option<Group> {
    let first = platter.block(block)?;
    if !first.starts_with(GROUP_MAGIC) || u128_at(first, ID_AT)? != id {
        return None;
    }
    let bytes = ENTRIES_AT + u64::from(u32_at(first, LENGTH_AT)?);
    let whole = platter.bytes(block, bytes)?;
    if crc32c::crc32c(whole.get(LENGTH_AT..)?) != u32_at(&whole, CRC_AT)? {
        return None;
    }
    let vote = u16::try_from(u64_at(&whole, VOTE_AT)?).ok()?;
    let current_term = Term::new(u64_at(&whole, TERM_AT)?);
    let number = u64_at(&whole, NUMBER_AT)?;
    let (tip_index, tip_term) = (u64_at(&whole, TIP_INDEX_AT)?, u64_at(&whole, TIP_TERM_AT)?);
    let (_, body) = whole.split_at_checked(usize::try_from(ENTRIES_AT).ok()?)?;
    let entries = entries::all(body, Index::new(tip_index).next())?;
    (entries.len() == u32_at(&whole, COUNT_AT)? as usize).then_some(())?;
    Some(Group {
        block,
        end: block + bytes.div_ceil(BLOCK_BYTES),
        bytes,
        mark: (number, u32_at(&whole, CRC_AT)?),
        previous: (number.checked_sub(1)?, u32_at(&whole, PREVIOUS_CRC_AT)?),
        hard_state: HardState { current_term, voted_for: NodeId::new(vote) },
        truncate_from: Index::new(u64_at(&whole, TRUNCATE_AT)?),
        tip: entries::found(tip_index, tip_term, whole.get(TIP_CHAIN_AT..)?)?,
        entries,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    bytes.get(at..)?.first_chunk().copied().map(u128::from_le_bytes)
}
