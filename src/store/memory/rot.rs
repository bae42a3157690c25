//! Damage to what was synced long ago: bytes that change by themselves, files that vanish, folders
//! put back to an earlier day.

use std::fmt;
use std::path::{Path, PathBuf};

use super::super::barrier::{CONF_FILE, DB_FILE};
use super::super::segment::folder_name;
use super::data::Rewound;
use super::disk::{MemoryDisk, State};
use super::platter;
use super::tree::{NodeNumber, ROOT, View};
use crate::types::Index;

/// How often another place is looked for if the one chosen has nothing that would count.
const ATTEMPTS: usize = 16;

/// What happened to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotKind {
    /// A batch is not what was written: for sled, its log ends before it.
    Batch,
    /// A bit of a value is another.
    Bit,
    /// A value is all zero.
    Zeroed,
    /// A file is gone.
    FileGone,
    /// A folder with all in it is gone.
    FolderGone,
    /// The folder is as it was some batches ago.
    Older,
}

/// Damage that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rot {
    /// The file or folder.
    pub place: PathBuf,
    /// What happened to it.
    pub kind: RotKind,
    /// The lowest entry that is not what it was; `None` if only `meta` is hurt.
    pub lowest: Option<Index>,
}

impl fmt::Display for Rot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RotKind::Batch => "a batch is unreadable",
            RotKind::Bit => "a bit of a value flipped",
            RotKind::Zeroed => "a value is all zero",
            RotKind::FileGone | RotKind::FolderGone => "it is gone",
            RotKind::Older => "it is an older self",
        };
        write!(f, "{}: {what}", self.place.display())?;
        match self.lowest {
            Some(lowest) => write!(f, ", from entry {lowest} on"),
            None => Ok(()),
        }
    }
}

impl MemoryDisk {
    /// Damages something that was synced and that the store answers for: `meta`, or an entry that it
    /// knows to have been synced (a sealed one, or one at or below the floor). `choose(n)` chooses,
    /// below `n`, the place and the kind. A process that runs goes on seeing what it saw; what is
    /// opened next sees the damage. `None` if nothing was found that counts.
    pub fn rot(&self, choose: &mut dyn FnMut(u64) -> u64) -> Option<Rot> {
        let state = &mut *self.state();
        let rot = (0..ATTEMPTS).find_map(|_| state.rot_once(choose))?;
        state.faults.counts.rots += 1;
        Some(rot)
    }
}

/// A database that may be damaged.
struct Target {
    folder: PathBuf,
    /// Its first entry; `None` for `meta`.
    first: Option<Index>,
    /// The file.
    data: NodeNumber,
}

impl State {
    fn rot_once(&mut self, choose: &mut dyn FnMut(u64) -> u64) -> Option<Rot> {
        let target = self.choose_target(choose)?;
        match choose(6) {
            0 => self.rewind(&target, RotKind::Batch, choose),
            1 => self.rewind(&target, RotKind::Older, choose),
            2 => self.change_value(&target, RotKind::Bit, choose),
            3 => self.change_value(&target, RotKind::Zeroed, choose),
            4 => {
                let name = if choose(2) == 0 { DB_FILE } else { CONF_FILE };
                let path = target.folder.join(name);
                self.lose(&target, &path, RotKind::FileGone)
            }
            _ => self.lose(&target, &target.folder, RotKind::FolderGone),
        }
    }

    fn choose_target(&self, choose: &mut dyn FnMut(u64) -> u64) -> Option<Target> {
        let record = platter::record(&self.tree)?;
        let mut firsts: Vec<Option<Index>> = vec![None, Some(record.active)];
        firsts.extend(record.closing.map(Some));
        let meta = platter::meta(&self.tree)?;
        let sealed = platter::of_kind(meta, 4);
        firsts.extend(sealed.filter_map(|(key, _)| {
            let (_, first) = key.split_last_chunk::<8>()?;
            Some(Some(Index::new(u64::from_be_bytes(*first))))
        }));
        let first = *pick(&firsts, choose)?;
        let folder = match first {
            None => Path::new(ROOT).join("meta"),
            Some(first) => Path::new(ROOT).join("log").join(folder_name(first)),
        };
        let data = self.tree.find(View::Platter, &folder.join(DB_FILE))?;
        Some(Target { folder, first, data })
    }

    /// Whether the store answers for this entry.
    fn answers_for(&self, index: Index) -> bool {
        platter::record(&self.tree).is_some_and(|record| {
            let live = record.closing.unwrap_or(record.active);
            index <= record.floor.id.index || index < live
        })
    }

    fn rewind(
        &mut self,
        target: &Target,
        kind: RotKind,
        choose: &mut dyn FnMut(u64) -> u64,
    ) -> Option<Rot> {
        let data = self.tree.data_of(target.data)?;
        let count = data.history_length();
        if count == 0 {
            return None;
        }
        let rewound = data.rewound(1 + usize::try_from(choose(count)).ok()?);
        // A key that was made ahead of its entry holds nothing that could be lost.
        let held = rewound
            .changed
            .iter()
            .filter(|key| data.platter().get(*key).is_some_and(|value| !value.is_empty()));
        let lowest = held.filter_map(|key| platter::index_in(key)).min();
        if target.first.is_some() && !lowest.is_some_and(|lowest| self.answers_for(lowest)) {
            return None;
        }
        let Rewound { map, .. } = rewound;
        self.tree.data_of_mut(target.data)?.put_back(map, rewound.batches, kind == RotKind::Batch);
        Some(Rot { place: target.folder.clone(), kind, lowest })
    }

    fn change_value(
        &mut self,
        target: &Target,
        kind: RotKind,
        choose: &mut dyn FnMut(u64) -> u64,
    ) -> Option<Rot> {
        let pairs = self.tree.data_of(target.data)?.platter().iter();
        let keys: Vec<_> =
            pairs.filter(|(_, value)| !value.is_empty()).map(|(key, _)| key.clone()).collect();
        let key = pick(&keys, choose)?;
        let lowest = platter::index_in(key);
        if target.first.is_some() && !lowest.is_some_and(|lowest| self.answers_for(lowest)) {
            return None;
        }
        let data = self.tree.data_of_mut(target.data)?;
        data.change_value(key, |bytes| {
            if kind == RotKind::Zeroed {
                bytes.fill(0);
                return;
            }
            let bit = usize::try_from(choose(bytes.len() as u64 * 8)).unwrap_or_default();
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        });
        Some(Rot { place: target.folder.join(DB_FILE), kind, lowest })
    }

    fn lose(&mut self, target: &Target, path: &Path, kind: RotKind) -> Option<Rot> {
        if target.first.is_some_and(|first| !self.answers_for(first)) {
            return None;
        }
        self.tree.lose(path);
        Some(Rot { place: path.to_owned(), kind, lowest: target.first })
    }
}

fn pick<'a, T>(items: &'a [T], choose: &mut dyn FnMut(u64) -> u64) -> Option<&'a T> {
    if items.is_empty() {
        return None;
    }
    items.get(usize::try_from(choose(items.len() as u64)).ok()?)
}
