//! What would survive if the power failed now and everything unsynced were lost, as somebody sees it
//! who takes the disk out and reads it elsewhere.
//!
//! NB: this judges the store, so it must not ask the store. It knows the names of files, the keys and
//! the forms of values from their tables, looks them up on the platter, and checks each entry by
//! itself. Up to the last sealed entry the log is in the sealed segments, behind it in the journal.

use std::collections::btree_map::Range;
use std::path::Path;

use sled::IVec;

use super::super::fatal::MARK;
use super::super::meta::{LastEntry, Record, SealedRow, decode};
use super::data::{Data, Map};
use super::disk::MemoryDisk;
use super::entries::{self, Found};
use super::tree::{self, ROOT, Tree, View};
use crate::entry::Chain;
use crate::raft::HardState;
use crate::types::{Index, LogId};

const RECORD_KEY: &[u8] = &[3];
const BASE_KEY: &[u8] = &[8];
const SEALED_KIND: u8 = 4;
const ENTRY_KIND: u8 = 3;
const LAST_INDEX: Index = Index::new(u64::MAX);

/// What a disk lists of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its first entry.
    pub first: Index,
    /// Its last entry.
    pub last: Index,
    /// The hash of what it holds, which is the same on every node.
    pub content: [u8; 32],
}

impl MemoryDisk {
    /// Term and vote, as they would survive.
    pub fn durable_hard_state(&self) -> HardState {
        let state = &mut *self.state();
        let Some(record) = record(&state.tree) else { return HardState::default() };
        let log = state.judge.look(&state.tree, record.journal_from);
        let both = [record.hard_state, log.hard_state].into_iter();
        both.max_by_key(|found| (found.current_term, found.voted_for.is_some())).unwrap_or_default()
    }

    /// The entry at an index, if it would survive whole.
    pub fn durable_entry(&self, index: Index) -> Option<(LogId, Chain)> {
        let state = &mut *self.state();
        let record = record(&state.tree)?;
        if let Some(base) = base(&state.tree).filter(|base| base.id.index == index) {
            return Some((base.id, base.chain));
        }
        if index <= last_sealed(&state.tree) {
            let first = segment_of(&state.tree, index)?;
            return sealed_entry(segment(&state.tree, first)?, index);
        }
        state.judge.look(&state.tree, record.journal_from).entry(index)
    }

    /// The index of the first entry that would survive: those before it were given up.
    pub fn durable_first(&self) -> Index {
        let tree = &self.state().tree;
        let begun = || base(tree).map_or(Index::new(1), |base| base.id.index.next());
        sealed_firsts(tree).first().copied().unwrap_or_else(begun)
    }

    /// The index of the last entry that would survive.
    pub fn durable_last(&self) -> Index {
        let state = &mut *self.state();
        let Some(record) = record(&state.tree) else { return Index::ZERO };
        let sealed = last_sealed(&state.tree);
        state.judge.look(&state.tree, record.journal_from).last_behind(sealed)
    }

    /// The sealed segments that would survive and that begin behind an index, in order.
    pub fn sealed_after(&self, index: Index) -> Vec<SealedSegment> {
        let state = self.state();
        let Some(meta) = meta(&state.tree) else { return vec![] };
        let (lowest, highest) = (key(SEALED_KIND, index.next()), key(SEALED_KIND, LAST_INDEX));
        let rows = between(meta, &lowest, &highest);
        rows.filter_map(|(_, value)| decode::<SealedRow>(value).as_ref().map(Into::into)).collect()
    }
}

impl MemoryDisk {
    /// The segments that have a mark that says that they are damaged, by their first entries, as a process sees it.
    pub fn marked(&self) -> Vec<Index> {
        let state = self.state();
        let log = state.tree.find(View::Now, &Path::new(ROOT).join("log"));
        let names = log.and_then(|log| state.tree.names(View::Now, log));
        let names = names.into_iter().flat_map(|names| names.keys());
        let marked = names.filter_map(|name| name.strip_suffix(MARK)?.parse().ok());
        marked.map(Index::new).collect()
    }
}

impl From<&SealedRow> for SealedSegment {
    fn from(row: &SealedRow) -> Self {
        Self { first: row.first, last: row.last.id.index, content: row.content.bytes() }
    }
}

/// The file of a database, by the names on the platter.
fn file<'a>(tree: &'a Tree, name: &str, path: &[&str]) -> Option<&'a Data> {
    let mut number = tree::part(tree, name)?;
    for name in path.iter().chain(&["db"]) {
        number = *tree.names(View::Platter, number)?.get(*name)?;
    }
    tree.data_of(number)
}

fn meta(tree: &Tree) -> Option<&Map> {
    file(tree, "meta", &[]).map(Data::platter)
}

fn segment(tree: &Tree, first: Index) -> Option<&Map> {
    file(tree, "log", &[&segment_name(first)]).map(Data::platter)
}

/// The name of a segment's folder, and the beginning of its head's.
pub(super) fn segment_name(first: Index) -> String {
    format!("{:020}", first.get())
}

pub(super) fn record(tree: &Tree) -> Option<Record> {
    decode(meta(tree)?.get(RECORD_KEY)?)
}

/// What the store was begun behind, if that is not entry 0.
fn base(tree: &Tree) -> Option<LastEntry> {
    decode(meta(tree)?.get(BASE_KEY)?)
}

/// The last entry that is in a sealed segment; if none is, the one that the store was begun behind.
pub(super) fn last_sealed(tree: &Tree) -> Index {
    let last = meta(tree).and_then(|meta| of_kind(meta, SEALED_KIND).next_back());
    let row = last.and_then(|(_, value)| decode::<SealedRow>(value));
    row.map_or_else(|| base(tree).unwrap_or_default(), |row| row.last).id.index
}

/// The first index of each sealed segment.
pub(super) fn sealed_firsts(tree: &Tree) -> Vec<Index> {
    let Some(meta) = meta(tree) else { return vec![] };
    of_kind(meta, SEALED_KIND).filter_map(|(key, _)| first_in(key)).collect()
}

fn first_in(key: &[u8]) -> Option<Index> {
    key.split_last_chunk::<8>().map(|(_, first)| Index::new(u64::from_be_bytes(*first)))
}

/// The first index of the sealed segment that has this index, if any has.
fn segment_of(tree: &Tree, index: Index) -> Option<Index> {
    let (lowest, highest) = (key(SEALED_KIND, Index::ZERO), key(SEALED_KIND, index));
    let (found, _) = between(meta(tree)?, &lowest, &highest).next_back()?;
    first_in(found)
}

fn key(kind: u8, index: Index) -> Vec<u8> {
    [&[kind][..], &index.get().to_be_bytes()].concat()
}

/// What the key of a value with entries says: the index of the first, and which part of it this is.
pub(super) fn place_in(key: &[u8]) -> Option<(Index, u16)> {
    let (kind, rest) = key.split_first()?;
    let (index, rest) = rest.split_first_chunk::<8>()?;
    let part = u16::from_be_bytes(rest.try_into().ok()?);
    (*kind == ENTRY_KIND).then(|| (Index::new(u64::from_be_bytes(*index)), part))
}

fn between<'a>(map: &'a Map, lowest: &[u8], highest: &[u8]) -> Range<'a, IVec, IVec> {
    map.range(IVec::from(lowest)..=IVec::from(highest))
}

/// The pairs whose keys begin with this byte; no key of the next kind is that byte alone.
fn of_kind(map: &Map, kind: u8) -> Range<'_, IVec, IVec> {
    map.range(IVec::from(&[kind][..])..IVec::from(&[kind + 1][..]))
}

/// The entry at an index: in the run that begins there or last before it, or in parts.
fn sealed_entry(segment: &Map, index: Index) -> Option<Found> {
    let lowest = key(ENTRY_KIND, Index::ZERO);
    let highest = [&key(ENTRY_KIND, index)[..], &[0xff; 2]].concat();
    let (last, value) = between(segment, &lowest, &highest).next_back()?;
    let (first, part) = place_in(last)?;
    if part == 0 {
        return entries::one(value, first, index);
    }
    let parts: Vec<&[u8]> =
        between(segment, &key(ENTRY_KIND, first), &highest).map(|(_, part)| &part[..]).collect();
    entries::one(&parts.concat(), first, index)
}
