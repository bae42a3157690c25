//! The form of what stands in a journal's file: the block that begins it, and groups behind it.
//!
//! All numbers are little-endian. A file begins with a block of its own:
//!
//! ```text
//!  at  size
//!   0     8  "annaljnl"
//!   8     4  version, 1
//!  12     4  zero
//!  16     8  number of the file
//!  24    16  id of the file, drawn at random each time it is begun
//!  40    16  cluster
//!  56     2  node
//!  58     2  zero
//!  60     4  CRC32C over bytes 0 to 60
//!  64        zero
//! ```
//!
//! A group takes whole blocks, of which the last is filled up with zeros:
//!
//! ```text
//!   0     4  "jgrp"
//!   4     4  CRC32C over bytes 8 to the end of the entries
//!   8     4  bytes of the entries
//!  12     4  how many there are
//!  16    16  id of the file
//!  32     8  number of the group, one more than that of the group before
//!  40     4  CRC32C of the group before, 0 for the first of all
//!  44     4  zero
//!  48     8  term
//!  56     8  who got this node's vote in it, 0 for nobody
//!  64     8  entries from this index on are removed first, 0 for none
//!  72     8  a commit index that was known then
//!  80     8  the generation of `meta` that was known then
//!  88     8  index of the entry before the first of these, and so of the log's last if there are none
//!  96     8  its term
//! 104     8  its time
//! 112    32  its chain
//! 144        the entries, sealed, one behind the other
//! ```
//!
//! So each group says all that a start has to know besides entries, and no group needs an older one
//! to be understood. The id is what makes a group belong to its file: a file is used again and again,
//! and its blocks hold groups of its earlier lives until they are overwritten; and no client can send
//! a record that would pass for a group.

use bytes::{BufMut, Bytes};

use super::super::Identity;
use crate::entry::{Chain, SealedEntry, Tip, length_in_header};
use crate::limits::JOURNAL_BLOCK_BYTES;
use crate::raft::HardState;
use crate::types::{Index, LogId, NodeId, Term, Timestamp};

const FILE_MAGIC: &[u8; 8] = b"annaljnl";
const VERSION: u32 = 1;
/// Bytes of a file's first block that say something.
const FILE_HEADER_BYTES: usize = 64;
const FILE_CRC_AT: usize = 60;

const GROUP_MAGIC: &[u8; 4] = b"jgrp";
/// Bytes of a group before its entries.
pub(in super::super) const GROUP_HEADER_BYTES: usize = 144;
/// Where what the CRC covers begins.
const COVERED_AT: usize = 8;

/// What makes one life of a file differ from all others.
pub(in super::super) type FileId = u128;

/// How a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct FileHeader {
    /// Files are numbered in the order in which they were begun.
    pub(in super::super) number: u64,
    pub(in super::super) id: FileId,
    pub(in super::super) identity: Identity,
}

impl FileHeader {
    /// The block.
    pub(in super::super) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(JOURNAL_BLOCK_BYTES);
        block.put_slice(FILE_MAGIC);
        block.put_u32_le(VERSION);
        block.put_u32_le(0);
        block.put_u64_le(self.number);
        block.put_u128_le(self.id);
        block.put_u128_le(self.identity.cluster.get());
        block.put_u16_le(self.identity.node.get());
        block.put_u16_le(0);
        let crc = crc32c::crc32c(&block);
        block.put_u32_le(crc);
        block.resize(JOURNAL_BLOCK_BYTES, 0);
        block
    }

    /// What a block says; `None` if it is not the first of a file.
    pub(in super::super) fn decode(block: &[u8]) -> Option<Self> {
        let header: &[u8; FILE_HEADER_BYTES] = block.first_chunk()?;
        let (covered, crc) = header.split_at(FILE_CRC_AT);
        let mut fields = Fields(covered);
        let is_ours = fields.array()? == *FILE_MAGIC
            && fields.u32()? == VERSION
            && fields.u32()? == 0
            && crc == crc32c::crc32c(covered).to_le_bytes();
        let (number, id) = (fields.u64()?, fields.u128()?);
        let cluster = crate::types::ClusterId::new(fields.u128()?);
        let node = NodeId::new(u16::from_le_bytes(fields.array()?))?;
        is_ours.then_some(Self { number, id, identity: Identity { cluster, node } })
    }
}

/// A group, named for good: what follows on it, or remembers it, means this one and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in super::super) struct GroupMark {
    /// Its number; 0 before the first.
    pub(in super::super) number: u64,
    /// Its CRC32C.
    pub(in super::super) crc: u32,
}

/// What a group says besides its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct GroupHeader {
    /// Term and vote.
    pub(in super::super) hard_state: HardState,
    /// Entries from this index on are removed first.
    pub(in super::super) truncate_from: Option<Index>,
    /// A commit index that was known then: a hint.
    pub(in super::super) commit_index: Index,
    /// The generation of `meta` that was known then.
    pub(in super::super) meta_generation: u64,
    /// The entry before the first of the group, or before all that follow.
    pub(in super::super) tip: Tip,
}

/// Writes the group behind `previous` into `blocks`, which is whole blocks long afterwards, and returns
/// its mark.
pub(in super::super) fn encode_group(
    header: &GroupHeader,
    previous: GroupMark,
    id: FileId,
    entries: &[SealedEntry],
    blocks: &mut Vec<u8>,
) -> GroupMark {
    let bytes: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
    let number = previous.number + 1;
    blocks.clear();
    blocks.reserve(blocks_for(bytes) * JOURNAL_BLOCK_BYTES);
    blocks.put_slice(GROUP_MAGIC);
    blocks.put_u32_le(0);
    blocks.put_u32_le(u32::try_from(bytes).expect("a group is a few MiB"));
    blocks.put_u32_le(u32::try_from(entries.len()).expect("a group is a few MiB"));
    blocks.put_u128_le(id);
    blocks.put_u64_le(number);
    blocks.put_u32_le(previous.crc);
    blocks.put_u32_le(0);
    blocks.put_u64_le(header.hard_state.current_term.get());
    blocks.put_u64_le(header.hard_state.voted_for.map_or(0, |node| u64::from(node.get())));
    blocks.put_u64_le(header.truncate_from.map_or(0, Index::get));
    blocks.put_u64_le(header.commit_index.get());
    blocks.put_u64_le(header.meta_generation);
    blocks.put_u64_le(header.tip.id.index.get());
    blocks.put_u64_le(header.tip.id.term.get());
    blocks.put_u64_le(header.tip.time.get());
    blocks.put_slice(header.tip.chain.as_bytes());
    assert_eq!(blocks.len(), GROUP_HEADER_BYTES, "the table above");
    for entry in entries {
        blocks.put_slice(entry.bytes());
    }
    let (head, covered) = blocks.split_at_mut(COVERED_AT);
    let crc = crc32c::crc32c(covered);
    let (_, place) = head.split_at_mut(GROUP_MAGIC.len());
    place.copy_from_slice(&crc.to_le_bytes());
    blocks.resize(blocks_for(bytes) * JOURNAL_BLOCK_BYTES, 0);
    GroupMark { number, crc }
}

/// How many blocks a group takes that has so many bytes of entries.
pub(in super::super) fn blocks_for(bytes: usize) -> usize {
    (GROUP_HEADER_BYTES + bytes).div_ceil(JOURNAL_BLOCK_BYTES)
}

/// A group that is whole.
#[derive(Clone, Debug)]
pub(in super::super) struct FoundGroup {
    pub(in super::super) header: GroupHeader,
    /// The group before it.
    pub(in super::super) previous: GroupMark,
    pub(in super::super) mark: GroupMark,
    /// The bytes of its entries.
    pub(in super::super) body: Bytes,
    pub(in super::super) entries: u32,
}

impl FoundGroup {
    /// The group at the beginning of `blocks`, if a whole one stands there, of this life of a file or, if
    /// that is not known, of any.
    pub(in super::super) fn parse(blocks: &Bytes, of: Option<FileId>) -> Option<Self> {
        let header: &[u8; GROUP_HEADER_BYTES] = blocks.first_chunk()?;
        let mut fields = Fields(header);
        if fields.array()? != *GROUP_MAGIC {
            return None;
        }
        let crc = fields.u32()?;
        let length = fields.u32()? as usize;
        let (entries, id, number) = (fields.u32()?, fields.u128()?, fields.u64()?);
        if of.is_some_and(|of| of != id) {
            return None;
        }
        let covered = blocks.get(COVERED_AT..GROUP_HEADER_BYTES.checked_add(length)?)?;
        if crc32c::crc32c(covered) != crc {
            return None;
        }
        let previous = GroupMark { number: number.checked_sub(1)?, crc: fields.u32()? };
        fields.u32()?;
        let header = read_header(&mut fields)?;
        let body = blocks.slice(GROUP_HEADER_BYTES..GROUP_HEADER_BYTES + length);
        Some(Self { header, previous, mark: GroupMark { number, crc }, body, entries })
    }

    /// How many blocks it takes.
    pub(in super::super) fn blocks(&self) -> usize {
        blocks_for(self.body.len())
    }

    /// Its entries, each with where it begins in the body. `None` if they are not of their form, which
    /// a group that is whole cannot be unless another program wrote it.
    pub(in super::super) fn entries(&self) -> Option<Vec<(usize, SealedEntry)>> {
        let mut found = vec![];
        let mut at = 0;
        while at < self.body.len() {
            let end = at.checked_add(length_in_header(self.body.get(at..)?)?)?;
            let bytes = (end <= self.body.len()).then(|| self.body.slice(at..end))?;
            found.push((at, SealedEntry::parse(bytes).ok()?));
            at = end;
        }
        (found.len() == self.entries as usize).then_some(found)
    }
}

/// Whether a group of this file was begun here, whole or not; and how many blocks it would take.
pub(in super::super) fn begun_group(blocks: &[u8], id: FileId) -> Option<usize> {
    let header: &[u8; GROUP_HEADER_BYTES] = blocks.first_chunk()?;
    let mut fields = Fields(header);
    let is_magic = fields.array()? == *GROUP_MAGIC;
    fields.u32()?;
    let length = fields.u32()? as usize;
    fields.u32()?;
    (is_magic && fields.u128()? == id).then(|| blocks_for(length))
}

fn read_header(fields: &mut Fields<'_>) -> Option<GroupHeader> {
    let current_term = Term::new(fields.u64()?);
    let vote = u16::try_from(fields.u64()?).ok()?;
    let voted_for = if vote == 0 { None } else { Some(NodeId::new(vote)?) };
    let from = fields.u64()?;
    let truncate_from = (from > 0).then(|| Index::new(from));
    let commit_index = Index::new(fields.u64()?);
    let meta_generation = fields.u64()?;
    let id = LogId::new(Index::new(fields.u64()?), Term::new(fields.u64()?));
    let time = Timestamp::new(fields.u64()?);
    let chain = Chain::new(fields.array()?);
    Some(GroupHeader {
        hard_state: HardState { current_term, voted_for },
        truncate_from,
        commit_index,
        meta_generation,
        tip: Tip { id, chain, time },
    })
}

/// Reads little-endian fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{IDENTITY, Log, hard_state, hex};
    use super::*;

    const PREVIOUS: GroupMark = GroupMark { number: 6, crc: 0xaabb_ccdd };
    const ID: FileId = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;

    fn header() -> GroupHeader {
        GroupHeader {
            hard_state: hard_state(9, Some(3)),
            truncate_from: Some(Index::new(301)),
            commit_index: Index::new(299),
            meta_generation: 5,
            tip: Tip {
                id: LogId::new(Index::new(300), Term::new(8)),
                time: Timestamp::new(1_000),
                chain: Chain::new([0xee; 32]),
            },
        }
    }

    /// A group, its mark, and how many bytes of it say something.
    fn group(sizes: &[usize]) -> (Vec<u8>, GroupMark, usize) {
        let mut log = Log::new();
        let entries: Vec<_> = sizes.iter().map(|bytes| log.add(*bytes)).collect();
        let mut blocks = vec![0xff; 10];
        let mark = encode_group(&header(), PREVIOUS, ID, &entries, &mut blocks);
        let bytes: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
        (blocks, mark, GROUP_HEADER_BYTES + bytes)
    }

    #[test]
    fn golden_bytes_of_a_file_header() {
        let header = FileHeader { number: 258, id: ID, identity: IDENTITY };
        let block = header.encode();
        let said = "616e6e616c6a6e6c 01000000 00000000 0201000000000000 \
                    100f0e0d0c0b0a090807060504030201 07000000000000000000000000000000 \
                    0100 0000 4b1d5f94";
        assert_eq!(hex(&block[..FILE_HEADER_BYTES]), said.replace(' ', ""));
        assert_eq!(block.len(), JOURNAL_BLOCK_BYTES);
        assert!(block[FILE_HEADER_BYTES..].iter().all(|byte| *byte == 0));
        assert_eq!(FileHeader::decode(&block), Some(header));
    }

    #[test]
    fn a_changed_file_header_is_none() {
        let block = FileHeader { number: 7, id: ID, identity: IDENTITY }.encode();
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut changed = block.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&changed), None, "bit {bit}");
        }
        for length in 0..FILE_HEADER_BYTES {
            assert_eq!(FileHeader::decode(&block[..length]), None);
        }
        assert_eq!(FileHeader::decode(&[0; JOURNAL_BLOCK_BYTES]), None);
    }

    #[test]
    fn golden_bytes_of_a_group() {
        let (blocks, mark, length) = group(&[]);
        let said = "6a677270 c064711e 00000000 00000000 100f0e0d0c0b0a090807060504030201 \
                    0700000000000000 ddccbbaa 00000000 0900000000000000 0300000000000000 \
                    2d01000000000000 2b01000000000000 0500000000000000 \
                    2c01000000000000 0800000000000000 e803000000000000";
        let said = said.replace(' ', "") + &"ee".repeat(32);
        assert_eq!(hex(&blocks[..length]), said);
        assert_eq!(mark.number, 7);
        assert_eq!(hex(&mark.crc.to_le_bytes()), hex(&blocks[4..8]));
        assert_eq!(blocks.len(), JOURNAL_BLOCK_BYTES);
        assert!(blocks[length..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_group_says_what_was_put_into_it() {
        for sizes in [&[][..], &[10], &[3000, 0, 2000], &[3500, 20_000]] {
            let (blocks, mark, length) = group(sizes);
            let mut log = Log::new();
            let entries: Vec<_> = sizes.iter().map(|bytes| log.add(*bytes)).collect();
            // Whatever stands behind it.
            let more = [&blocks[..], &[7; 5000]].concat();
            for blocks in [blocks, more] {
                let found = FoundGroup::parse(&Bytes::from(blocks), None).unwrap();
                assert_eq!((found.header, found.mark), (header(), mark));
                assert_eq!(found.blocks(), length.div_ceil(JOURNAL_BLOCK_BYTES));
                let mut at = 0;
                for ((place, entry), expected) in found.entries().unwrap().iter().zip(&entries) {
                    assert_eq!((*place, entry), (at, expected));
                    at += expected.bytes().len();
                }
                assert_eq!(found.entries().unwrap().len(), entries.len());
            }
        }
    }

    #[test]
    fn a_changed_group_is_none_and_its_padding_says_nothing() {
        let (blocks, _, length) = group(&[50, 4000]);
        let parse = |blocks: Vec<u8>| FoundGroup::parse(&Bytes::from(blocks), None);
        for bit in 0..length * 8 {
            let mut changed = blocks.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(changed).is_none(), "bit {bit}");
        }
        for at in [length, blocks.len() - 1] {
            let mut changed = blocks.clone();
            changed[at] ^= 1;
            assert!(parse(changed).is_some());
        }
        for length in [0, 7, GROUP_HEADER_BYTES - 1, GROUP_HEADER_BYTES, length - 1] {
            assert!(parse(blocks[..length].to_vec()).is_none(), "{length} bytes");
        }
        assert!(parse(vec![0; JOURNAL_BLOCK_BYTES]).is_none());
    }

    #[test]
    fn a_group_belongs_to_its_file_and_to_the_group_before_it() {
        let mut blocks = vec![];
        let mut marks = vec![];
        for (id, previous) in [
            (ID, GroupMark { number: 6, crc: 1 }),
            (ID + 1, GroupMark { number: 6, crc: 1 }),
            (ID, GroupMark { number: 6, crc: 2 }),
            (ID, GroupMark { number: 7, crc: 1 }),
        ] {
            let mark = encode_group(&header(), previous, id, &[], &mut blocks);
            let bytes = Bytes::from(blocks.clone());
            for of in [None, Some(id)] {
                assert_eq!(FoundGroup::parse(&bytes, of).unwrap().previous, previous);
            }
            assert!(FoundGroup::parse(&bytes, Some(id + 2)).is_none());
            assert!(!marks.contains(&mark), "{mark:?} names another group, too");
            marks.push(mark);
            assert_eq!(begun_group(&blocks, id), Some(1));
            assert_eq!(begun_group(&blocks, id + 2), None);
        }
    }
}
