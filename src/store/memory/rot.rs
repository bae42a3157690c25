//! Damage to what was synced long ago: bytes that change by themselves, files that vanish or are cut
//! short, files and folders put back to an earlier day.

use std::fmt;
use std::path::{Path, PathBuf};

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
    /// A bit of a value or of a block is another.
    Bit,
    /// A value or a block is all zero.
    Zeroed,
    /// A file is gone.
    FileGone,
    /// A folder with all in it is gone.
    FolderGone,
    /// The file or folder is as it was some syncs ago.
    Older,
    /// The end of a file is gone.
    Short,
}

/// Damage that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rot {
    /// The file or folder.
    pub place: PathBuf,
    /// What happened to it.
    pub kind: RotKind,
    /// The lowest entry that is not what it was, or that cannot be trusted any more; `None` if only
    /// `meta`, or a term or a vote, is hurt.
    pub lowest: Option<Index>,
    /// The first entry of the sealed segment that is hurt, if it is one.
    pub segment: Option<Index>,
}

impl fmt::Display for Rot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RotKind::Batch => "a batch is unreadable",
            RotKind::Bit => "a bit flipped",
            RotKind::Zeroed => "a part is all zero",
            RotKind::FileGone | RotKind::FolderGone => "it is gone",
            RotKind::Older => "it is an older self",
            RotKind::Short => "its end is gone",
        };
        write!(f, "{}: {what}", self.place.display())?;
        match self.lowest {
            Some(lowest) => write!(f, ", from entry {lowest} on"),
            None => Ok(()),
        }
    }
}

/// Chooses a number below the one given.
pub(super) type Choose<'a> = &'a mut dyn FnMut(u64) -> u64;

impl MemoryDisk {
    /// Damages something that was synced and that the store answers for: `meta`, a sealed segment,
    /// the head of what is not sealed, or the journal but for its newest group. `choose(n)` chooses,
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
pub(super) struct Target {
    pub(super) folder: PathBuf,
    /// Its first entry; `None` for `meta`.
    pub(super) first: Option<Index>,
    /// The file.
    pub(super) data: NodeNumber,
}

impl State {
    fn rot_once(&mut self, choose: Choose) -> Option<Rot> {
        match choose(6) {
            0 => {
                let meta = self.database(Path::new(ROOT).join("meta"), None)?;
                self.rot_database(&meta, choose)
            }
            1 => self.rot_head(choose),
            2 | 3 => {
                let firsts = platter::sealed_firsts(&self.tree);
                let first = *pick(&firsts, choose)?;
                let folder = Path::new(ROOT).join("log").join(platter::segment_name(first));
                let segment = self.database(folder, Some(first))?;
                self.rot_database(&segment, choose)
            }
            _ => self.rot_journal(choose),
        }
    }

    fn database(&self, folder: PathBuf, first: Option<Index>) -> Option<Target> {
        let data = self.tree.find(View::Platter, &folder.join("db"))?;
        Some(Target { folder, first, data })
    }

    /// The head of the oldest segment that is not sealed.
    fn rot_head(&mut self, choose: Choose) -> Option<Rot> {
        let first = platter::last_sealed(&self.tree).next();
        let name = format!("{}.head", platter::segment_name(first));
        let place = Path::new(ROOT).join("log").join(name);
        let number = self.tree.find(View::Platter, &place)?;
        let record = platter::record(&self.tree)?;
        let log = self.judge.look(&self.tree, record.journal_from);
        let lowest = log.entry(first).map(|_| first);
        let file = self.tree.file_of_mut(number)?;
        if !file.is_synced || file.contents.is_empty() {
            return None;
        }
        let kind = match choose(4) {
            0 => {
                flip(&mut file.contents, choose);
                RotKind::Bit
            }
            1 => {
                file.contents.fill(0);
                RotKind::Zeroed
            }
            2 => {
                let length = choose(file.contents.len() as u64);
                file.contents.truncate(usize::try_from(length).ok()?);
                RotKind::Short
            }
            _ => {
                self.tree.lose(&place);
                RotKind::FileGone
            }
        };
        Some(Rot { place, kind, lowest, segment: None })
    }
}

/// Flips one bit.
pub(super) fn flip(bytes: &mut [u8], choose: Choose) {
    let bit = usize::try_from(choose(bytes.len() as u64 * 8)).unwrap_or_default();
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

pub(super) fn pick<'a, T>(items: &'a [T], choose: Choose) -> Option<&'a T> {
    if items.is_empty() {
        return None;
    }
    items.get(usize::try_from(choose(items.len() as u64)).ok()?)
}
