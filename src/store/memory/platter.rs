//! What would survive if the power failed now and everything unsynced were lost, as somebody sees it
//! who takes the disk out and reads it elsewhere.
//!
//! NB: this judges the store, so it must not ask the store. It knows the keys and the forms of values
//! from their tables, looks them up under the names on the platter, and checks each entry by itself.

use std::collections::btree_map::Range;

use sled::IVec;

use super::super::meta::{Record, decode};
use super::super::segment::{State as SegmentState, folder_name};
use super::data::{Data, Map};
use super::disk::MemoryDisk;
use super::tree::{ROOT_NUMBER, Tree, View};
use crate::entry::Chain;
use crate::raft::HardState;
use crate::types::{Index, LogId, Term};

/// Bytes of an entry's header, and where its parts stand.
const HEADER_BYTES: usize = 68;
const LENGTH_AT: usize = 4;
const INDEX_AT: usize = 8;
const TERM_AT: usize = 16;
const CRC_AT: usize = 32;
const CHAIN_AT: usize = 36;

impl MemoryDisk {
    /// Term and vote, as they would survive.
    pub fn durable_hard_state(&self) -> HardState {
        let state = self.state();
        let Some(record) = record(&state.tree) else { return HardState::default() };
        let of_segments = record.closing.into_iter().chain([record.active]).filter_map(|first| {
            let value = segment(&state.tree, first)?.get(&[5_u8][..])?;
            decode::<SegmentState>(value).map(|found| found.hard_state)
        });
        let all = of_segments.chain([record.hard_state]);
        all.max_by_key(|found| (found.current_term, found.voted_for.is_some())).unwrap_or_default()
    }

    /// The entry at an index, if it would survive whole.
    pub fn durable_entry(&self, index: Index) -> Option<(LogId, Chain)> {
        let state = self.state();
        let record = record(&state.tree)?;
        let first = segment_of(&state.tree, &record, index)?;
        parse(&entry_bytes(segment(&state.tree, first)?, index), index)
    }

    /// The index of the last entry that would survive.
    pub fn durable_last(&self) -> Index {
        let state = self.state();
        let Some(record) = record(&state.tree) else { return Index::ZERO };
        for first in [Some(record.active), record.closing].into_iter().flatten() {
            if let Some(map) = segment(&state.tree, first) {
                return last_of(map).unwrap_or(first.previous());
            }
        }
        record.closing.unwrap_or(record.active).previous()
    }
}

/// The file of a database, by the names on the platter.
fn file<'a>(tree: &'a Tree, path: &[&str]) -> Option<&'a Data> {
    let mut number = ROOT_NUMBER;
    for name in path.iter().chain(&["db"]) {
        number = *tree.names(View::Platter, number)?.get(*name)?;
    }
    tree.data_of(number)
}

pub(super) fn meta(tree: &Tree) -> Option<&Map> {
    file(tree, &["meta"]).map(Data::platter)
}

pub(super) fn segment(tree: &Tree, first: Index) -> Option<&Map> {
    file(tree, &["log", &folder_name(first)]).map(Data::platter)
}

pub(super) fn record(tree: &Tree) -> Option<Record> {
    decode(meta(tree)?.get(&[3_u8][..])?)
}

/// The first index of the segment that has this index, if any has.
fn segment_of(tree: &Tree, record: &Record, index: Index) -> Option<Index> {
    let newer = [Some(record.active), record.closing].into_iter().flatten();
    if let Some(first) = newer.into_iter().find(|first| index >= *first) {
        return Some(first);
    }
    let (lowest, highest) = (key(4, Index::ZERO), key(4, index));
    let (found, _) = between(meta(tree)?, &lowest, &highest).next_back()?;
    found.split_last_chunk::<8>().map(|(_, first)| Index::new(u64::from_be_bytes(*first)))
}

fn key(kind: u8, index: Index) -> Vec<u8> {
    [&[kind][..], &index.get().to_be_bytes()].concat()
}

/// The index in the key of a part of an entry.
pub(super) fn index_in(key: &[u8]) -> Option<Index> {
    let (kind, rest) = key.split_first()?;
    let (index, _) = rest.split_first_chunk::<8>()?;
    (*kind == 3).then(|| Index::new(u64::from_be_bytes(*index)))
}

fn between<'a>(map: &'a Map, lowest: &[u8], highest: &[u8]) -> Range<'a, IVec, IVec> {
    map.range(IVec::from(lowest)..=IVec::from(highest))
}

/// The pairs whose keys begin with this byte; no key of the next kind is that byte alone.
pub(super) fn of_kind(map: &Map, kind: u8) -> Range<'_, IVec, IVec> {
    map.range(IVec::from(&[kind][..])..IVec::from(&[kind + 1][..]))
}

fn last_of(segment: &Map) -> Option<Index> {
    let (key, _) = of_kind(segment, 3).rfind(|(_, part)| !part.is_empty())?;
    index_in(key)
}

/// The parts of an entry put together.
fn entry_bytes(segment: &Map, index: Index) -> Vec<u8> {
    let (lowest, highest) = (key(3, index), [&key(3, index)[..], &[0xff; 2]].concat());
    let mut bytes = vec![];
    for (_, part) in between(segment, &lowest, &highest) {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn parse(bytes: &[u8], index: Index) -> Option<(LogId, Chain)> {
    let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let word = |at: usize| header.get(at..)?.first_chunk::<4>().copied().map(u32::from_le_bytes);
    let number = |at: usize| header.get(at..)?.first_chunk::<8>().copied().map(u64::from_le_bytes);
    let crc = crc32c::crc32c_append(crc32c::crc32c(header.get(..CRC_AT)?), payload);
    let is_whole = word(LENGTH_AT)? as usize == payload.len()
        && word(CRC_AT)? == crc
        && number(INDEX_AT)? == index.get();
    let chain = header.get(CHAIN_AT..)?.first_chunk::<32>()?;
    is_whole.then_some((LogId::new(index, Term::new(number(TERM_AT)?)), Chain::new(*chain)))
}
