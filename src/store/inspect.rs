//! Looking at a store from outside, while no node runs on it. Everything is looked at on copies in
//! a temporary folder; the store itself is only read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Identity;
use super::database::{hash_of, on_copy};
use super::disk::Disk;
use super::error::{Fault, StoreError};
use super::layout::Layout;
use super::lock::lock_to_look;
use super::meta::{Contents, Floor, META_SHAPE};
use super::recovery::higher;
use super::segment::{Loaded, load, segment_shape};
use crate::entry::{Chain, Tip};
use crate::limits::SLED_CACHE_BYTES_DEFAULT;
use crate::raft::HardState;
use crate::types::{Index, LogNumber, Offset};

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// Whose it is.
    pub identity: Identity,
    /// Term and vote.
    pub hard_state: HardState,
    /// How many segments the log has.
    pub segments: usize,
    /// The first entry that is there.
    pub first_index: Index,
    /// The last entry that is there.
    pub last: Tip,
    /// A commit index that the node has known.
    pub commit_index: Index,
    /// The next offset of the log `main`.
    pub next_offset: Offset,
    /// The chain up to the index asked for, or to the last: equal on two nodes if everything up to
    /// there is. `None` if the log does not reach so far, or not intact.
    pub chain: Option<Chain>,
    /// What is wrong, a sentence each. A node does not start with any of it.
    pub damage: Vec<String>,
}

/// Reads all of the store in `data`, checks it, and takes the chain at `at` (default: at the end).
///
/// Copies one segment at a time, so it needs the space of one in the temporary folder.
///
/// # Errors
/// [`StoreError::Locked`] while a node runs on it; [`StoreError`] if it cannot even be told whose it
/// is. Other damage is listed in the answer.
pub fn inspect(data: &Path, at: Option<Index>) -> Result<Inspection, StoreError> {
    let layout = Layout::of(data);
    if !layout.disk.exists(&layout.meta())? {
        return Err(StoreError::Missing { folder: data.to_owned() });
    }
    let _lock = lock_to_look(data)?;
    let scratch = Scratch::new()?;
    let copy = scratch.0.join("copy");
    let contents = on_copy(&Disk::real(), &layout.meta(), &copy, META_SHAPE, Contents::read)?;
    let mut inspector = Inspector::new(&layout, &contents, at);
    inspector.note(layout.check_marks());
    for first in contents.segments() {
        inspector.look_at(first, &copy);
    }
    Ok(inspector.finish())
}

/// A temporary folder that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, StoreError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("annal-inspect-{}-{count}", process::id()));
        Disk::real().remove_folder(&folder)?;
        fs::create_dir(&folder).map_err(StoreError::io("create", &folder))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = Disk::real().remove_folder(&self.0) {
            tracing::warn!(%error, "a temporary folder stays behind");
        }
    }
}

/// Goes through the segments from the first to the last.
struct Inspector<'a> {
    layout: &'a Layout,
    contents: &'a Contents,
    at: Option<Index>,
    /// The end of what was found intact so far; `None` behind something that was not.
    intact: Option<Tip>,
    floor_seen: bool,
    found: Inspection,
}

impl<'a> Inspector<'a> {
    fn new(layout: &'a Layout, contents: &'a Contents, at: Option<Index>) -> Self {
        let segments = contents.segments();
        let found = Inspection {
            identity: contents.identity,
            hard_state: contents.record.hard_state,
            segments: segments.len(),
            first_index: segments.first().copied().unwrap_or_default(),
            last: Tip::default(),
            commit_index: contents.record.commit_index,
            next_offset: Offset::ZERO,
            chain: None,
            damage: vec![],
        };
        let floor_seen = contents.record.floor == Floor::default();
        Self { layout, contents, at, intact: Some(Tip::default()), floor_seen, found }
    }

    /// Keeps what went wrong.
    fn note(&mut self, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            self.found.damage.push(error.to_string());
        }
    }

    fn look_at(&mut self, first: Index, copy: &Path) {
        let folder = self.layout.segment(first);
        let gone = || Err(StoreError::damage(&folder, Fault::SegmentGone { first }));
        let is_there = self.layout.disk.exists(&folder);
        if let Err(error) = is_there.and_then(|is_there| if is_there { Ok(()) } else { gone() }) {
            self.intact = None;
            self.note(Err(error));
            return;
        }
        let hash = self.check_hash(first, &folder);
        self.note(hash);
        let shape = segment_shape(SLED_CACHE_BYTES_DEFAULT);
        match on_copy(&Disk::real(), &folder, copy, shape, |database| load(database, first)) {
            Ok(loaded) => self.take(&folder, &loaded),
            Err(error) => {
                self.intact = None;
                self.note(Err(error));
            }
        }
    }

    /// The files are those that were closed, if they were.
    fn check_hash(&self, first: Index, folder: &Path) -> Result<(), StoreError> {
        let Contents { record, sealed, .. } = self.contents;
        let of_stop = record
            .clean
            .and_then(|mark| if first == record.active { Some(mark.active) } else { mark.closing });
        match sealed.get(&first).map(|row| row.files).or(of_stop) {
            Some(files) if hash_of(&Disk::real(), folder)? != files => {
                Err(StoreError::damage(folder, Fault::Hash))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, folder: &Path, loaded: &Loaded) {
        let first = loaded.head.tip.id.index.next();
        if self.intact.is_some_and(|tip| tip != loaded.head.tip) {
            self.intact = None;
            self.note(Err(StoreError::damage(folder, Fault::Border { first })));
        }
        self.take_state(loaded);
        let of_main = |offsets: &[(LogNumber, Offset)]| {
            offsets.iter().find(|(log, _)| *log == LogNumber::MAIN).map(|(_, next)| *next)
        };
        self.found.next_offset = of_main(&loaded.head.next_offsets).unwrap_or_default();
        self.pass(folder, &loaded.head.tip);
        for entry in &loaded.entries {
            self.pass(folder, &entry.tip());
            let runs = entry.runs().unwrap_or_default();
            if let Some(run) = runs.iter().rev().find(|run| run.log == LogNumber::MAIN) {
                self.found.next_offset = run.next_offset();
            }
        }
        self.found.last = loaded.tip();
        if self.intact.is_some() {
            self.intact = Some(loaded.tip());
        }
    }

    fn take_state(&mut self, loaded: &Loaded) {
        match higher(&self.layout.data, self.found.hard_state, loaded.state.hard_state) {
            Ok(hard_state) => self.found.hard_state = hard_state,
            Err(error) => self.note(Err(error)),
        }
        let (found, seen) = (self.contents.record.generation, loaded.state.meta_generation);
        if seen > found {
            let fault = Fault::OlderMeta { found, seen };
            self.note(Err(StoreError::damage(&self.layout.meta(), fault)));
        }
        self.found.commit_index = self.found.commit_index.max(loaded.state.commit_index);
    }

    /// One entry, or the end of the segment before.
    fn pass(&mut self, folder: &Path, tip: &Tip) {
        let floor = self.contents.record.floor;
        if tip.id.index == floor.id.index && !self.floor_seen {
            self.floor_seen = true;
            if Floor::from(tip) != floor {
                let fault = Fault::OtherFloor { floor: floor.id };
                self.note(Err(StoreError::damage(folder, fault)));
            }
        }
        if self.intact.is_some() && self.at == Some(tip.id.index) {
            self.found.chain = Some(tip.chain);
        }
    }

    fn finish(mut self) -> Inspection {
        if !self.floor_seen {
            let (last, floor) = (self.found.last.id, self.contents.record.floor.id);
            let fault = Fault::BelowFloor { last, floor };
            self.note(Err(StoreError::damage(&self.layout.log(), fault)));
        }
        if self.at.is_none() {
            self.found.chain = self.intact.map(|tip| tip.chain);
        }
        self.found.commit_index = self.found.commit_index.min(self.found.last.id.index);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    /// A sealed, a closing and an active segment, stopped cleanly or not.
    fn three_segments(clean: bool) -> (Folder, Log) {
        let folder = Folder::with_store();
        let (mut running, _) = folder.open();
        running.append(&[10, 20]);
        running.roll();
        running.writer.committed(Index::new(2));
        eventually("sealing", || running.writer.is_sealed());
        running.append(&[30]);
        running.roll();
        running.append(&[40]);
        running.write(Write { hard_state: Some(hard_state(4, Some(2))), ..nothing() });
        let log = if clean { running.close() } else { running.crash() };
        (folder, log)
    }

    #[test]
    fn an_inspection_tells_what_is_there_and_changes_nothing() {
        for clean in [false, true] {
            let (folder, log) = three_segments(clean);
            let before = folder.contents();
            let found = inspect(folder.path(), None).unwrap();
            assert_eq!(found.damage, [""; 0]);
            assert_eq!(found.identity, IDENTITY);
            assert_eq!(found.hard_state, hard_state(4, Some(2)));
            assert_eq!((found.segments, found.first_index), (3, Index::new(1)));
            assert_eq!((found.last, found.chain), (log.tip(), Some(log.tip().chain)));
            assert_eq!(found.commit_index, Index::new(2));
            assert_eq!(found.next_offset, Offset::new(4));
            for entry in &log.entries {
                let found = inspect(folder.path(), Some(entry.id().index)).unwrap();
                assert_eq!(found.chain, Some(entry.chain()));
            }
            assert_eq!(inspect(folder.path(), Some(Index::new(5))).unwrap().chain, None);
            assert!(folder.contents() == before);
        }
    }

    #[test]
    fn damage_is_listed_and_everything_else_told() {
        let (folder, log) = three_segments(false);
        let file = folder.segment(1).join("db");
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[last / 2] ^= 1;
        fs::write(&file, bytes).unwrap();
        let before = folder.contents();
        let found = inspect(folder.path(), None).unwrap();
        assert!(!found.damage.is_empty());
        assert!(found.damage[0].contains("00000000000000000001"), "{:?}", found.damage);
        assert_eq!(found.last, log.tip());
        assert!(folder.contents() == before);
    }

    #[test]
    fn a_lost_end_is_damage() {
        let (folder, _) = three_segments(false);
        fs::remove_dir_all(folder.segment(4)).unwrap();
        let found = inspect(folder.path(), None).unwrap();
        assert_eq!(found.last.id.index, Index::new(3));
        assert_eq!(found.chain, None);
        assert!(!found.damage.is_empty());
    }

    #[test]
    fn a_running_store_is_left_alone() {
        let folder = Folder::with_store();
        let (running, _) = folder.open();
        assert!(matches!(inspect(folder.path(), None), Err(StoreError::Locked { .. })));
        running.close();
        fs::remove_dir_all(folder.path().join("meta")).unwrap();
        assert!(matches!(inspect(folder.path(), None), Err(StoreError::Missing { .. })));
    }
}
