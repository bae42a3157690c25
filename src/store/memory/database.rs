//! One open database of a simulated disk.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use sled::IVec;

use super::super::barrier::{CONF_FILE, DB_FILE};
use super::super::disk::Files as _;
use super::super::engine::{Batch, Engine, Pairs};
use super::super::error::StoreError;
use super::data::{Data, Map};
use super::disk::State;
use super::faults::Operation;
use super::mount::Mount;
use super::tree::{File, Node, NodeNumber, View};

/// One open database of a simulated disk. Dropping it closes it, and writes nothing.
#[derive(Debug)]
pub(in super::super) struct MemoryDatabase {
    mount: Mount,
    number: NodeNumber,
    file: PathBuf,
}

impl Mount {
    /// Opens the database in a folder, or makes an empty one there, as sled does.
    pub(in super::super) fn open(&self, folder: &Path) -> Result<MemoryDatabase, sled::Error> {
        let (file, settings) = (folder.join(DB_FILE), folder.join(CONF_FILE));
        if !self.is_file(&settings)? {
            self.create(&settings, Node::File(File::default()))?;
        }
        if !self.is_file(&file)? {
            self.create(&file, Node::Data(Box::default()))?;
        }
        let is_lost = self.perform(Operation::Read, |state| {
            Ok(matches!(state.tree.node(&settings)?, Node::File(file) if file.is_lost))
        })?;
        if is_lost {
            return Err(sled::Error::Corruption { at: None, bt: () });
        }
        let process = self.process();
        let number = self.perform(Operation::Write, |state| {
            let number = state.tree.find(View::Now, &file).ok_or(ErrorKind::NotFound)?;
            let data: &mut Data = state.tree.data_of_mut(number).ok_or(ErrorKind::InvalidInput)?;
            if data.holder().is_some() {
                return Err(ErrorKind::WouldBlock.into());
            }
            data.open(process);
            Ok(number)
        })?;
        Ok(MemoryDatabase { mount: self.clone(), number, file })
    }
}

impl MemoryDatabase {
    fn between(&self, first: Bound<IVec>, last: Bound<IVec>) -> Pairs {
        let (mount, number) = (self.mount.clone(), self.number);
        Box::new(MemoryRange { mount, number, first, last, is_over: false })
    }

    fn data<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Data> {
        state.tree.data_of_mut(self.number).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Engine for MemoryDatabase {
    fn apply(&self, batch: Batch) -> sled::Result<()> {
        let applied = self.mount.attempt(Operation::Write, |state, fails| {
            let data = self.data(state)?;
            if fails {
                data.fail_to_apply(&batch);
            } else {
                data.apply(batch);
            }
            Ok(())
        });
        applied.map_err(sled::Error::Io)
    }

    fn insert(&self, key: IVec, value: IVec) -> sled::Result<()> {
        self.apply(Batch::of(key, value))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let synced = self.mount.attempt(Operation::Sync, |state, fails| {
            let data = self.data(state)?;
            if fails {
                data.fail_to_sync();
            } else {
                data.sync();
            }
            Ok(())
        });
        synced.map_err(StoreError::io("sync", &self.file))
    }

    fn get(&self, key: &[u8]) -> sled::Result<Option<IVec>> {
        let found = |state: &mut State| Ok(self.data(state)?.now().get(key).cloned());
        self.mount.perform(Operation::Read, found).map_err(sled::Error::Io)
    }

    fn range(&self, first: Vec<u8>, last: Vec<u8>) -> Pairs {
        self.between(Bound::Included(first.into()), Bound::Included(last.into()))
    }

    fn of_kind(&self, kind: u8) -> Pairs {
        let end =
            kind.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded([next][..].into()));
        self.between(Bound::Included([kind][..].into()), end)
    }
}

impl Drop for MemoryDatabase {
    fn drop(&mut self) {
        self.mount.close(|state| {
            if let Some(data) = state.tree.data_of_mut(self.number) {
                data.close();
            }
        });
    }
}

/// Goes through keys and values. As with sled, what changes meanwhile may be seen or not.
#[derive(Debug)]
struct MemoryRange {
    mount: Mount,
    number: NodeNumber,
    first: Bound<IVec>,
    last: Bound<IVec>,
    is_over: bool,
}

impl MemoryRange {
    fn step(
        &mut self,
        take: impl FnOnce(&Map, (Bound<IVec>, Bound<IVec>)) -> Option<(IVec, IVec)>,
    ) -> Option<sled::Result<(IVec, IVec)>> {
        if self.is_over {
            return None;
        }
        let bounds = (self.first.clone(), self.last.clone());
        let number = self.number;
        let found = self.mount.perform(Operation::Read, |state| {
            let data = state.tree.data_of(number).ok_or(ErrorKind::NotFound)?;
            Ok(if is_empty(&bounds) { None } else { take(data.now(), bounds) })
        });
        self.is_over = !matches!(found, Ok(Some(_)));
        found.map_err(sled::Error::Io).transpose()
    }
}

/// A map's range panics over bounds that leave nothing between them.
fn is_empty((first, last): &(Bound<IVec>, Bound<IVec>)) -> bool {
    match (first, last) {
        (Bound::Included(first), Bound::Included(last)) => first > last,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (
            Bound::Included(first) | Bound::Excluded(first),
            Bound::Included(last) | Bound::Excluded(last),
        ) => first >= last,
    }
}

impl Iterator for MemoryRange {
    type Item = sled::Result<(IVec, IVec)>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step(|map, bounds| {
            map.range(bounds).next().map(|(key, value)| (key.clone(), value.clone()))
        });
        if let Some(Ok((key, _))) = &item {
            self.first = Bound::Excluded(key.clone());
        }
        item
    }
}

impl DoubleEndedIterator for MemoryRange {
    fn next_back(&mut self) -> Option<Self::Item> {
        let item = self.step(|map, bounds| {
            map.range(bounds).next_back().map(|(key, value)| (key.clone(), value.clone()))
        });
        if let Some(Ok((key, _))) = &item {
            self.last = Bound::Excluded(key.clone());
        }
        item
    }
}
