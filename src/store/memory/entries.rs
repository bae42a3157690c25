//! Sealed entries, one behind the other, read by their table and by nothing of the store.

use crate::entry::Chain;
use crate::types::{Index, LogId, Term};

/// Bytes of an entry's header, and where its parts stand.
const HEADER_BYTES: usize = 68;
const LENGTH_AT: usize = 4;
const INDEX_AT: usize = 8;
const TERM_AT: usize = 16;
const CRC_AT: usize = 32;
const CHAIN_AT: usize = 36;

/// An entry that is whole.
pub(super) type Found = (LogId, Chain);

/// All of them, if they are whole, the first has this index, and each the next.
pub(super) fn all(bytes: &[u8], first: Index) -> Option<Vec<Found>> {
    let mut found = vec![];
    let mut index = first;
    for (_, entry) in each(bytes) {
        found.push(parse(entry, index)?);
        index = index.next();
    }
    Some(found)
}

/// The entry with this index, if it is whole, of a row that begins with the index `first`.
pub(super) fn one(bytes: &[u8], first: Index, index: Index) -> Option<Found> {
    let place = usize::try_from(index.get().checked_sub(first.get())?).ok()?;
    let (_, entry) = each(bytes).nth(place)?;
    parse(entry, index)
}

/// The lowest entry of a row, which begins with the index `first`, that is not the same in another.
pub(super) fn first_changed(before: &[u8], after: &[u8], first: Index) -> Option<Index> {
    let changed = |(at, entry): (usize, &[u8])| {
        after.get(at..).and_then(|rest| rest.get(..entry.len())) != Some(entry)
    };
    let place = each(before).position(changed)?;
    Some(Index::new(first.get() + place as u64))
}

/// Each entry with its place, by what the headers say of lengths. The last may be cut short.
fn each(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let length = HEADER_BYTES.saturating_add(length_in(rest).unwrap_or_default());
        let (entry, _) = rest.split_at(length.min(rest.len()));
        let place = at;
        at += entry.len();
        Some((place, entry))
    })
}

/// The length of the payload of the entry that begins here.
fn length_in(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(LENGTH_AT..)?.first_chunk().copied().map(u32::from_le_bytes)?;
    usize::try_from(length).ok()
}

fn parse(bytes: &[u8], index: Index) -> Option<Found> {
    let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let word = |at: usize| header.get(at..)?.first_chunk::<4>().copied().map(u32::from_le_bytes);
    let number = |at: usize| header.get(at..)?.first_chunk::<8>().copied().map(u64::from_le_bytes);
    let crc = crc32c::crc32c_append(crc32c::crc32c(header.get(..CRC_AT)?), payload);
    let is_whole = word(LENGTH_AT)? as usize == payload.len()
        && word(CRC_AT)? == crc
        && number(INDEX_AT)? == index.get();
    if !is_whole {
        return None;
    }
    found(index.get(), number(TERM_AT)?, header.get(CHAIN_AT..)?)
}

/// An entry by its parts; the chain is what the bytes begin with.
pub(super) fn found(index: u64, term: u64, chain: &[u8]) -> Option<Found> {
    let id = LogId::new(Index::new(index), Term::new(term));
    Some((id, Chain::new(*chain.first_chunk()?)))
}
