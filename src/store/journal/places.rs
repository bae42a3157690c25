//! Where the entries stand that are in the journal and not in a sealed segment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::super::error::StoreError;
use super::files::JournalFile;
use crate::entry::SealedEntry;
use crate::limits::{OFFSET_KEY_BYTES, OFFSET_KEY_ENTRIES};
use crate::types::{Index, LogNumber, Offset};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Place {
    /// The number of the file.
    pub(in super::super) file: u64,
    /// Its first byte.
    pub(in super::super) at: u64,
    /// Its bytes.
    pub(in super::super) length: usize,
}

/// Entries that stand side by side in one file.
#[derive(Clone, Debug)]
pub(in super::super) struct Piece {
    pub(in super::super) file: Arc<JournalFile>,
    pub(in super::super) at: u64,
    /// The bytes of each.
    pub(in super::super) lengths: Vec<usize>,
}

impl Piece {
    /// Reads the entries.
    ///
    /// # Errors
    /// [`StoreError`]: the file is not what was written, or cannot be read.
    pub(in super::super) fn read(&self) -> Result<Vec<SealedEntry>, StoreError> {
        let mut rest = Bytes::from(self.file.read(self.at, self.lengths.iter().sum())?);
        let parsed = self.lengths.iter().map(|length| SealedEntry::parse(rest.split_to(*length)));
        parsed
            .map(|entry| entry.map_err(|error| StoreError::damage(self.file.path(), error)))
            .collect()
    }
}

/// The places of consecutive entries, up to the end of the log.
#[derive(Debug)]
pub(in super::super) struct Places {
    first: Index,
    entries: VecDeque<Place>,
    files: BTreeMap<u64, Arc<JournalFile>>,
    offsets: OffsetKeys,
}

impl Places {
    /// None yet: the next entry will be `first`.
    pub(in super::super) fn new(first: Index) -> Self {
        let (entries, files) = (VecDeque::new(), BTreeMap::new());
        Self { first, entries, files, offsets: OffsetKeys::default() }
    }

    /// The first entry that is here, if any is.
    pub(in super::super) fn first(&self) -> Index {
        self.first
    }

    /// The last entry that is here, or the one before the first.
    pub(in super::super) fn last(&self) -> Index {
        self.first.previous().plus(self.entries.len() as u64)
    }

    /// Notes the file that is written to.
    pub(in super::super) fn add_file(&mut self, file: &Arc<JournalFile>) {
        self.files.entry(file.number).or_insert_with(|| file.clone());
    }

    /// Adds the next entry, which stands in a file that was noted.
    pub(in super::super) fn push(&mut self, entry: &SealedEntry, place: Place) {
        assert_eq!(entry.id().index, self.last().next(), "entries leave no gap");
        assert!(self.files.contains_key(&place.file), "file {} is known", place.file);
        self.offsets.push(entry);
        self.entries.push_back(place);
    }

    /// Entries from this index on are gone.
    pub(in super::super) fn truncate(&mut self, from: Index) {
        assert!(from >= self.first, "{from} is sealed");
        let keep = usize::try_from(from.since(self.first)).expect("places fit into memory");
        self.entries.truncate(keep);
        self.offsets.truncate(from);
    }

    /// The entries before `first` are in a sealed segment, and the next start will read the files from
    /// number `from` on. Returns those before that.
    pub(in super::super) fn seal_before(
        &mut self,
        first: Index,
        from: u64,
    ) -> Vec<Arc<JournalFile>> {
        let sealed = usize::try_from(first.since(self.first)).expect("places fit into memory");
        self.entries.drain(..sealed.min(self.entries.len()));
        self.first = first;
        self.offsets.drop_before(first);
        let needed = self.files.split_off(&from);
        std::mem::replace(&mut self.files, needed).into_values().collect()
    }

    /// The number of the oldest file that is needed once the entries before `first` are sealed.
    pub(in super::super) fn oldest_file_from(&self, first: Index) -> Option<u64> {
        let sealed = usize::try_from(first.since(self.first)).ok()?;
        let of_place = self.entries.get(sealed).map(|place| place.file);
        of_place.or_else(|| self.files.keys().next_back().copied())
    }

    /// Where entries from `first` to `last` stand, as far as they are here, fit into `bytes_max`, and
    /// stand side by side; the first always fits.
    pub(in super::super) fn piece(
        &self,
        first: Index,
        last: Index,
        bytes_max: usize,
    ) -> Option<Piece> {
        let skipped = usize::try_from(first.since(self.first)).ok()?;
        let count = usize::try_from(last.get().checked_sub(first.get())?).ok()?.saturating_add(1);
        let mut places = self.entries.iter().skip(skipped).take(count);
        let begin = *places.next()?;
        let (mut lengths, mut bytes) = (vec![begin.length], begin.length);
        for place in places {
            let is_next = place.file == begin.file && place.at == begin.at + bytes as u64;
            if !is_next || bytes + place.length > bytes_max {
                break;
            }
            lengths.push(place.length);
            bytes += place.length;
        }
        Some(Piece { file: self.files.get(&begin.file)?.clone(), at: begin.at, lengths })
    }

    /// The bytes of each entry from `first` to `last`, as far as they are here.
    pub(in super::super) fn lengths(&self, first: Index, last: Index) -> Vec<usize> {
        let skipped = usize::try_from(first.since(self.first)).expect("places fit into memory");
        let count = usize::try_from(last.next().since(first)).expect("places fit into memory");
        self.entries.iter().skip(skipped).take(count).map(|place| place.length).collect()
    }

    /// An entry from which on a record is to be looked for, at most so far before it as keys are apart.
    pub(in super::super) fn start_for(&self, log: LogNumber, offset: Offset) -> Index {
        self.offsets.find(log, offset).map_or(self.first, |index| index.max(self.first))
    }
}

/// From offsets to entries: for each log one key every so many entries, so that a look-up scans no more.
#[derive(Debug, Default)]
pub(in super::super) struct OffsetKeys {
    bytes: u64,
    entries: u64,
    of_logs: BTreeMap<LogNumber, VecDeque<OffsetKey>>,
}

#[derive(Clone, Copy, Debug)]
struct OffsetKey {
    offset: Offset,
    index: Index,
    /// Bytes and entries so far.
    bytes: u64,
    entries: u64,
}

impl OffsetKeys {
    /// Notes the next entry, if a key is due.
    fn push(&mut self, entry: &SealedEntry) {
        let index = entry.id().index;
        for run in entry.runs().expect("an entry is checked before it is stored") {
            let keys = self.of_logs.entry(run.log).or_default();
            let is_near = keys.back().is_some_and(|key| {
                self.bytes - key.bytes < OFFSET_KEY_BYTES
                    && self.entries - key.entries < OFFSET_KEY_ENTRIES
            });
            if !is_near {
                let (bytes, entries) = (self.bytes, self.entries);
                keys.push_back(OffsetKey { offset: run.first_offset, index, bytes, entries });
            }
        }
        self.bytes += entry.bytes().len() as u64;
        self.entries += 1;
    }

    fn truncate(&mut self, from: Index) {
        for keys in self.of_logs.values_mut() {
            while keys.pop_back_if(|key| key.index >= from).is_some() {}
        }
    }

    fn drop_before(&mut self, first: Index) {
        for keys in self.of_logs.values_mut() {
            while keys.pop_front_if(|key| key.index < first).is_some() {}
        }
        self.of_logs.retain(|_, keys| !keys.is_empty());
    }

    /// The newest entry with a key at or before this record.
    fn find(&self, log: LogNumber, offset: Offset) -> Option<Index> {
        let keys = self.of_logs.get(&log)?;
        let behind = keys.partition_point(|key| key.offset <= offset);
        behind.checked_sub(1).and_then(|place| keys.get(place)).map(|key| key.index)
    }
}
