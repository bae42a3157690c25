//! Damage to `meta` and to sealed segments.

use std::path::Path;

use sled::IVec;

use super::super::barrier::{CONF_FILE, DB_FILE};
use super::data::{Map, Rewound};
use super::disk::State;
use super::entries;
use super::platter;
use super::rot::{Choose, Rot, RotKind, Target, flip, pick};
use crate::types::Index;

impl State {
    pub(super) fn rot_database(&mut self, target: &Target, choose: Choose) -> Option<Rot> {
        match choose(6) {
            0 => self.rewind(target, RotKind::Batch, choose),
            1 => self.rewind(target, RotKind::Older, choose),
            2 => self.change_value(target, RotKind::Bit, choose),
            3 => self.change_value(target, RotKind::Zeroed, choose),
            4 => {
                let name = if choose(2) == 0 { DB_FILE } else { CONF_FILE };
                let path = target.folder.join(name);
                Some(self.lose(target, &path, RotKind::FileGone))
            }
            _ => Some(self.lose(target, &target.folder, RotKind::FolderGone)),
        }
    }

    fn rewind(&mut self, target: &Target, kind: RotKind, choose: Choose) -> Option<Rot> {
        let data = self.tree.data_of(target.data)?;
        let count = data.history_length();
        if count == 0 {
            return None;
        }
        let rewound = data.rewound(1 + usize::try_from(choose(count)).ok()?);
        let hurt = rewound.changed.iter();
        let hurt = hurt.filter_map(|key| first_hurt(key, data.platter(), rewound.map.get(key)));
        let lowest = hurt.min();
        if target.first.is_some() && lowest.is_none() {
            return None;
        }
        let Rewound { map, batches, .. } = rewound;
        self.tree.data_of_mut(target.data)?.put_back(map, batches, kind == RotKind::Batch);
        Some(Rot { place: target.folder.clone(), kind, lowest, segment: target.first })
    }

    fn change_value(&mut self, target: &Target, kind: RotKind, choose: Choose) -> Option<Rot> {
        let platter = self.tree.data_of(target.data)?.platter();
        let pairs = platter.iter().filter(|(_, value)| !value.is_empty());
        let keys: Vec<_> = pairs.map(|(key, _)| key.clone()).collect();
        let key = pick(&keys, choose)?;
        let mut bytes = platter.get(key)?.to_vec();
        if kind == RotKind::Bit {
            flip(&mut bytes, choose);
        } else {
            bytes.fill(0);
        }
        let lowest = first_hurt(key, platter, Some(&bytes.as_slice().into()));
        if target.first.is_some() && lowest.is_none() {
            return None;
        }
        let data = self.tree.data_of_mut(target.data)?;
        data.change_value(key, |value| value.copy_from_slice(&bytes));
        Some(Rot { place: target.folder.join(DB_FILE), kind, lowest, segment: target.first })
    }

    fn lose(&mut self, target: &Target, path: &Path, kind: RotKind) -> Rot {
        self.tree.lose(path);
        Rot { place: path.to_owned(), kind, lowest: target.first, segment: target.first }
    }
}

/// The lowest entry that is not what it was if the value of a key becomes another; `None` if the key
/// is not one of entries.
fn first_hurt(key: &IVec, platter: &Map, after: Option<&IVec>) -> Option<Index> {
    let before = platter.get(key).filter(|value| !value.is_empty())?;
    let (first, part) = platter::place_in(key)?;
    let after = after.map_or(&[][..], |value| value);
    if part == 0 { entries::first_changed(before, after, first) } else { Some(first) }
}
